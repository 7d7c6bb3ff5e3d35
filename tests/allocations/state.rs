//! A state of a given size, made by the commands of its families.

use quorate::{
    domain::{
        Command, Reply,
        cello::{
            self,
            command::{HealthReport, NewHost},
            model::{Health, LogType},
        },
        kvrocks::{
            self, Secret,
            command::{ClusterKey, NewNode},
        },
        undermoon::{self, Action, Profile},
    },
    replica::Replica,
};
use quorate_raft::{Context, Machine, RequestId};

/// Of the first command, milliseconds since the Unix epoch.
const START_MS: u64 = 1_770_000_000_000;

/// A state that commands are applied to.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) replica: Replica,
    index: u64,
}

/// At 100 it is 50 000 proxies in 500 clusters, 20 000 Kvrocks nodes, and 5 000 clusters of the
/// pool.
pub(crate) fn built(factor: u64) -> World {
    let mut world = World { replica: Replica::default(), index: 0 };
    let hosts = 10 * factor;
    for number in 0..500 * factor {
        world.good(proxy(&format!("h{}:{}", number % hosts, 6000 + number / hosts)));
    }
    for number in 0..5 * factor - 1 {
        world.good(create(&format!("c{number}"), 192));
    }
    world.good(create("small", 8));
    world.good(Command::Kvrocks(kvrocks::Command::CreateNamespace { namespace: "n".to_owned() }));
    for number in 0..10 * factor {
        world.good(kvrocks_cluster(&format!("c{number}"), 20 * number, 20));
    }
    for number in 0..factor {
        world.fill_host(number);
    }
    world
}

impl World {
    /// Applies a command as an entry of the log would be.
    pub(crate) fn apply(&mut self, command: Command) -> Reply {
        self.index += 1;
        let mut request_id = [0; 16];
        request_id[..8].copy_from_slice(&self.index.to_be_bytes());
        let context = Context {
            index: self.index,
            term: 1,
            time_ms: START_MS + self.index,
            actor: "guard",
            request_id: RequestId(request_id),
        };
        self.replica.apply(&context, command, &mut Vec::new())
    }

    /// Applies a command that must not be refused.
    pub(crate) fn good(&mut self, command: Command) -> Reply {
        let reply = self.apply(command.clone());
        assert!(!reply.is_refusal(), "{command:?} came to {reply:?}");
        reply
    }

    /// Adds a host, and makes its clusters ready and healthy.
    fn fill_host(&mut self, number: u64) {
        let host = NewHost {
            installation: [7; 16],
            name: format!("host{number}"),
            daemon_url: format!("tcp://10.{}.{}.1:2375", number / 250, number % 250),
            is_tls: false,
            service_address: String::new(),
            capacity: 50,
            log_level: "INFO".to_owned(),
            log_type: LogType::Local,
            log_server: String::new(),
            is_schedulable: true,
            is_autofill: true,
        };
        self.good(Command::Cello(cello::Command::AddHost(Box::new(host))));
        let op = self.index;
        let clusters: Vec<_> = cello::query::clusters(&self.replica.0.cello)
            .filter(|cluster| cluster.op == op)
            .cloned()
            .collect();
        assert_eq!(clusters.len(), 50, "the host is filled");
        for cluster in &clusters {
            let names = (0..cluster.kind().size).map(|index| cluster.container_name(index));
            let containers = names.map(|name| (name.clone(), name)).collect();
            let cluster_id = cluster.id.clone();
            self.good(Command::Cello(cello::Command::ClusterCreated {
                cluster_id,
                op,
                containers,
            }));
        }
        let well = |cluster: &std::sync::Arc<cello::model::Cluster>| HealthReport {
            cluster_id: cluster.id.clone(),
            seen_op: op,
            health: Health::Ok,
            reason: String::new(),
        };
        let reports = clusters.iter().map(well).collect();
        self.good(Command::Cello(cello::Command::ReportHealth { reports }));
    }
}

/// A command of the broker.
pub(crate) fn undermoon(action: Action) -> Command {
    Command::Undermoon(undermoon::Command { profile: Profile::Program, action })
}

/// Registers a proxy.
pub(crate) fn proxy(address: &str) -> Command {
    let nodes = [format!("{address}1"), format!("{address}2")];
    undermoon(Action::RegisterProxy { address: address.to_owned(), nodes, host: None, index: None })
}

/// Makes a cluster.
pub(crate) fn create(name: &str, node_number: u64) -> Command {
    undermoon(Action::CreateCluster { name: name.to_owned(), node_number })
}

/// A node that no other has the number of.
pub(crate) fn kvrocks_node(number: u64) -> NewNode {
    NewNode {
        id: format!("{number:040x}"),
        addr: format!("10.0.{}.1:{}", number / 10_000, 1 + number % 10_000),
    }
}

/// Names a Kvrocks cluster.
pub(crate) fn key(name: &str) -> ClusterKey {
    ClusterKey { namespace: "n".to_owned(), name: name.to_owned() }
}

/// Makes a Kvrocks cluster of nodes from a number on.
pub(crate) fn kvrocks_cluster(name: &str, first: u64, count: u64) -> Command {
    Command::Kvrocks(kvrocks::Command::CreateCluster {
        cluster: key(name),
        nodes: (first..first + count).map(|number| kvrocks_node(number + 1)).collect(),
        replicas: 2,
        password: Secret::default(),
    })
}
