//! The rules of each command as tables: one fixture, one command, what it answers.

use super::{
    Command, Rejection, Reply, Secret, SlotRange, State,
    command::{ClusterKey, DownNode, FailOver, MigrationOutcome, NewNode},
    model::{Cluster, FailoverCause, Phase, Role},
    query,
    settings::{AdoptPolicy, SettingsChange},
    topology::{self, Topology, TopologyNode, TopologyShard},
};
use crate::domain::Context;

pub(super) fn key(name: &str) -> ClusterKey {
    ClusterKey { namespace: "ns".to_owned(), name: name.to_owned() }
}

pub(super) fn id(port: u16) -> String {
    format!("{port:040}")
}

pub(super) fn new_node(port: u16) -> NewNode {
    NewNode { id: id(port), addr: format!("10.0.0.1:{port}") }
}

fn range(text: &str) -> SlotRange {
    text.parse().unwrap()
}

/// One state, driven command by command; time passes by a second each.
struct Fixture {
    state: State,
    time_ms: u64,
}

impl Fixture {
    /// A namespace `ns` with cluster `c`: shards of two nodes on ports 1 and 2, 3 and 4, 5 and 6.
    fn new() -> Self {
        let mut fixture = Self { state: State::default(), time_ms: 1_000_000 };
        fixture.ok(Command::CreateNamespace { namespace: "ns".to_owned() });
        fixture.ok(create("c", 1..=6, 2));
        fixture
    }

    fn apply(&mut self, command: Command) -> Result<Reply, Rejection> {
        self.time_ms += 1_000;
        let context = Context { index: 1, term: 1, time_ms: self.time_ms, actor: "" };
        let before = self.state.clone();
        let reply = self.state.apply(&context, command);
        if reply.is_err() {
            assert_eq!(self.state, before, "a refusal changes nothing");
        }
        for (_, cluster) in query::clusters(&self.state) {
            cluster.validate().unwrap();
        }
        reply
    }

    fn ok(&mut self, command: Command) -> Reply {
        self.apply(command).unwrap()
    }

    fn refused(&mut self, command: Command, text: &str) {
        assert_eq!(self.apply(command).unwrap_err().to_string(), text);
    }

    fn cluster(&self) -> Cluster {
        query::cluster(&self.state, &key("c")).unwrap().as_ref().clone()
    }

    fn slots(&self) -> Vec<String> {
        let list = |shard: &super::model::Shard| {
            let texts: Vec<_> = shard.slots.iter().map(ToString::to_string).collect();
            texts.join(",")
        };
        self.cluster().shards.iter().map(list).collect()
    }

    fn migrate(&mut self, slots: &str, target: i64) -> Result<Reply, Rejection> {
        self.apply(Command::StartMigration { cluster: key("c"), range: range(slots), target })
    }

    fn queue(&mut self, slots: &[&str], target: i64) -> Vec<u64> {
        let ranges = slots.iter().map(|text| range(text)).collect();
        match self.ok(Command::QueueMigrations {
            cluster: key("c"),
            ranges,
            target,
            attempts_max: 2,
        }) {
            Reply::Queued { jobs } => jobs,
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, job: u64, outcome: MigrationOutcome) -> Result<Reply, Rejection> {
        let attempt = self.cluster().job(job).map_or(0, |job| job.attempt);
        self.apply(Command::EndMigration { cluster: key("c"), job, attempt, outcome })
    }

    fn phase(&self, job: u64) -> Phase {
        self.cluster().job(job).unwrap().phase
    }

    fn fail_over(&self, shard: i64, ports: (u16, u16), cause: FailoverCause) -> Command {
        Command::FailOver(FailOver {
            cluster: key("c"),
            shard,
            old_master: id(ports.0),
            new_master: id(ports.1),
            base_version: self.cluster().version,
            cause,
            request: [0; 16],
        })
    }

    fn report(&mut self, observer: u64, (probed, failed): (u64, u64), down: &[u16]) {
        let down = down.iter().map(|port| DownNode {
            node_id: id(*port),
            failures: 5,
            error: "connection refused".to_owned(),
        });
        self.ok(Command::ReportHealth { observer, probed, failed, down: down.collect() });
    }
}

fn create(name: &str, ports: impl Iterator<Item = u16>, replicas: i64) -> Command {
    Command::CreateCluster {
        cluster: key(name),
        nodes: ports.map(new_node).collect(),
        replicas,
        password: Secret::new("secret"),
    }
}

fn failed() -> MigrationOutcome {
    MigrationOutcome::Failed { error: "it broke".to_owned() }
}

#[test]
fn namespaces_come_and_go() {
    let mut fixture = Fixture::new();
    let create = |name: &str| Command::CreateNamespace { namespace: name.to_owned() };
    let delete = |name: &str| Command::DeleteNamespace { namespace: name.to_owned() };
    fixture.refused(create("ns"), "already exists");
    fixture.refused(create(""), "namespace should NOT be empty");
    fixture.refused(create("a/cluster/b"), "invalid argument: name");
    fixture.refused(delete("ns"), "forbidden: please delete clusters first");
    fixture.refused(delete("zz"), "not found");
    fixture.ok(Command::DeleteCluster { cluster: key("c") });
    fixture.ok(delete("ns"));
    fixture.refused(delete("ns"), "not found");
}

#[test]
fn a_new_cluster_has_even_slots_and_its_first_nodes_are_masters() {
    let fixture = Fixture::new();
    let cluster = fixture.cluster();
    assert_eq!(cluster.version, 1);
    assert_eq!(fixture.slots(), ["0-5460", "5461-10921", "10922-16383"]);
    let roles: Vec<Role> = cluster.nodes().map(|(_, node)| node.role).collect();
    assert_eq!(roles, [Role::Master, Role::Slave].repeat(3));
    assert_eq!(cluster.shards[0].nodes[0].created_at, 1_002);
    assert_eq!(
        topology::render(&cluster).unwrap().lines().next().unwrap(),
        format!("{} 10.0.0.1 1 master - 0-5460", id(1))
    );
}

#[test]
fn creation_is_refused_in_the_order_of_the_original() {
    let mut fixture = Fixture::new();
    let with = |addr: &str| Command::CreateCluster {
        cluster: key("d"),
        nodes: vec![NewNode { id: id(90), addr: addr.to_owned() }],
        replicas: 1,
        password: Secret::default(),
    };
    let nowhere = Command::CreateCluster {
        cluster: ClusterKey { namespace: "zz".to_owned(), name: "d".to_owned() },
        nodes: Vec::new(),
        replicas: 1,
        password: Secret::default(),
    };
    fixture.refused(nowhere, "namespace not found");
    fixture.refused(create("", 11..=12, 2), "cluster name should NOT be empty");
    fixture.refused(create("d/e", 11..=12, 2), "invalid argument: name");
    fixture.refused(create("c", 11..=12, 2), "cluster: already exists");
    let used = "node: already exists: [10.0.0.1:5 10.0.0.1:6]";
    fixture.refused(create("d", 5..=7, 2), used);
    fixture.refused(create("d", 11..11, -1), "cluster nodes should NOT be empty");
    fixture.refused(create("d", 11..=12, -1), "replicas should NOT be less than 0");
    fixture.refused(create("d", 11..=13, 2), "cluster nodes should be divisible by replicas");
    fixture.refused(
        create("d", [11, 11].into_iter(), 2),
        "invalid argument: node address \"10.0.0.1:11\" is given twice",
    );
    fixture.refused(
        with("[::1]:7"),
        "invalid argument: node address must be host:port, got \"[::1]:7\"",
    );
    let mut taken = create("d", 11..=11, 1);
    if let Command::CreateCluster { nodes, .. } = &mut taken {
        nodes[0].id = id(1);
    }
    fixture.refused(taken, &format!("invalid node id: {}", id(1)));
    fixture.ok(create("d", 11..=13, 0));
    assert_eq!(query::cluster(&fixture.state, &key("d")).unwrap().shards.len(), 3);
}

#[test]
fn shards_are_added_empty_and_removed_only_when_idle() {
    let mut fixture = Fixture::new();
    let add = |ports: &[u16]| Command::AddShard {
        cluster: key("c"),
        nodes: ports.iter().map(|port| new_node(*port)).collect(),
        password: Secret::default(),
    };
    let remove = |shard| Command::RemoveShard { cluster: key("c"), shard };
    fixture.refused(add(&[]), "nodes should NOT be empty");
    fixture.refused(add(&[1, 21]), "node: already exists: [10.0.0.1:1]");
    fixture.ok(add(&[21, 22]));
    assert_eq!(fixture.cluster().version, 2);
    assert_eq!(fixture.slots()[3], "");
    let text = topology::render(&fixture.cluster()).unwrap();
    assert!(text.contains(&format!("{} 10.0.0.1 21 master - \n", id(21))), "{text}");
    fixture.refused(remove(0), "shard is servicing");
    fixture.refused(remove(9), "index out of range");
    fixture.refused(remove(-1), "index out of range");
    fixture.ok(remove(3));
    assert_eq!(fixture.cluster().version, 3);
    fixture.ok(add(&[21, 22]));
}

#[test]
fn removing_a_shard_keeps_targets_on_their_shard() {
    let mut fixture = Fixture::new();
    let empty = Command::MoveSlots { cluster: key("c"), range: range("5461-10921"), target: 0 };
    fixture.ok(empty);
    fixture.migrate("7", 2).unwrap();
    let queued = fixture.queue(&["100"], 2)[0];
    fixture.refused(Command::RemoveShard { cluster: key("c"), shard: 2 }, "shard is servicing");
    fixture.ok(Command::RemoveShard { cluster: key("c"), shard: 1 });
    let cluster = fixture.cluster();
    assert_eq!(cluster.shards[0].mark.unwrap().target, 1);
    assert_eq!(cluster.job(queued).unwrap().target, 1);
}

#[test]
fn a_queued_migration_keeps_its_target_shard() {
    let mut fixture = Fixture::new();
    let add = Command::AddShard {
        cluster: key("c"),
        nodes: vec![new_node(21)],
        password: Secret::default(),
    };
    fixture.ok(add);
    fixture.migrate("0", 1).unwrap();
    let queued = fixture.queue(&["1"], 3)[0];
    assert_eq!(fixture.phase(queued), Phase::Queued);
    fixture.refused(Command::RemoveShard { cluster: key("c"), shard: 3 }, "shard is servicing");
    fixture.ok(Command::CancelMigration { cluster: key("c"), job: queued });
    fixture.ok(Command::RemoveShard { cluster: key("c"), shard: 3 });
}

#[test]
fn nodes_are_added_as_replicas_and_masters_stay() {
    let mut fixture = Fixture::new();
    let add = |shard, port, role: &str| Command::AddNode {
        cluster: key("c"),
        shard,
        node: new_node(port),
        role: role.to_owned(),
        password: Secret::default(),
    };
    let remove = |shard, port| Command::RemoveNode { cluster: key("c"), shard, node_id: id(port) };
    fixture.refused(add(9, 31, ""), "index out of range");
    fixture.refused(add(0, 31, "boss"), "invalid argument: role");
    fixture.refused(add(0, 1, ""), "already exists");
    fixture.refused(add(0, 31, "master"), "master node already exists");
    fixture.refused(add(0, 3, ""), "node: already exists: [10.0.0.1:3]");
    assert_eq!(fixture.ok(add(0, 31, "")), Reply::NodeAdded { id: id(31) });
    assert_eq!(fixture.cluster().shards[0].nodes[2].role, Role::Slave);
    fixture.refused(remove(0, 1), "cannot remove master node: invalid argument");
    fixture.refused(remove(0, 3), "not found");
    fixture.ok(remove(0, 31));
    assert_eq!(fixture.cluster().version, 3);
}

#[test]
fn a_failover_swaps_roles_and_nothing_else() {
    let mut fixture = Fixture::new();
    let swap = fixture.fail_over(1, (3, 4), FailoverCause::Manual);
    let reply = fixture.ok(swap.clone());
    assert_eq!(reply, Reply::FailedOver { new_master: id(4), version: 2 });
    let cluster = fixture.cluster();
    assert_eq!(cluster.shards[1].nodes[0].role, Role::Slave);
    assert_eq!(cluster.shards[1].nodes[0].id, id(3));
    assert_eq!(cluster.failovers.len(), 1);
    fixture.refused(swap, "the old node is not master");
    let stale = fixture.fail_over(1, (4, 3), FailoverCause::Manual);
    fixture.migrate("0", 2).unwrap();
    fixture.refused(stale, "the cluster has been updated by others");
    let stranger = fixture.fail_over(1, (4, 5), FailoverCause::Manual);
    fixture.refused(stranger, "no match new master in shard");
    fixture.ok(create("single", [41].into_iter(), 1));
    let mut lonely = fixture.fail_over(0, (41, 41), FailoverCause::Manual);
    if let Command::FailOver(command) = &mut lonely {
        command.cluster = key("single");
    }
    fixture.refused(lonely, "no replica in shard");
}

#[test]
fn an_automatic_failover_needs_a_majority_of_those_that_see() {
    let mut fixture = Fixture::new();
    let auto = |fixture: &Fixture| fixture.fail_over(0, (1, 2), FailoverCause::Automatic);
    fixture.refused(auto(&fixture), "failover refused: 0 of 0 observers find the master dead");
    fixture.report(1, (6, 1), &[1]);
    fixture.report(2, (6, 0), &[]);
    fixture.report(3, (6, 0), &[]);
    fixture.refused(auto(&fixture), "failover refused: 1 of 3 observers find the master dead");
    // An observer that reaches nobody has no voice, whatever it says.
    fixture.report(2, (6, 6), &[1, 2, 3, 4, 5, 6]);
    fixture.refused(auto(&fixture), "failover refused: 1 of 2 observers find the master dead");
    // A master that answers again counts for nothing any more.
    fixture.report(1, (6, 0), &[]);
    fixture.refused(auto(&fixture), "failover refused: 0 of 2 observers find the master dead");
    fixture.report(1, (6, 1), &[1]);
    fixture.report(3, (6, 1), &[1]);
    let off = SettingsChange { is_failover_automatic: Some(false), ..SettingsChange::default() };
    fixture.ok(Command::ChangeSettings(off));
    fixture.refused(auto(&fixture), "failover refused: automatic failover is disabled");
    let on = SettingsChange { is_failover_automatic: Some(true), ..SettingsChange::default() };
    fixture.ok(Command::ChangeSettings(on));
    let mut late = Fixture { state: fixture.state.clone(), time_ms: fixture.time_ms + 60_000 };
    late.refused(auto(&late), "failover refused: 0 of 0 observers find the master dead");
    fixture.ok(auto(&fixture));
}

#[test]
fn an_observer_that_misses_most_of_many_nodes_has_no_voice() {
    let mut fixture = Fixture::new();
    fixture.report(1, (20, 13), &[1]);
    let auto = fixture.fail_over(0, (1, 2), FailoverCause::Automatic);
    fixture.refused(auto.clone(), "failover refused: 0 of 0 observers find the master dead");
    fixture.report(1, (20, 12), &[1]);
    fixture.ok(auto);
}

#[test]
fn slots_move_at_once_on_request() {
    let mut fixture = Fixture::new();
    let only =
        |slots: &str, target| Command::MoveSlots { cluster: key("c"), range: range(slots), target };
    fixture.ok(only("5", 1));
    assert_eq!(fixture.slots()[..2], ["0-4,6-5460", "5,5461-10921"]);
    assert_eq!(fixture.cluster().version, 2);
    fixture.refused(only("5", 1), "source and target shard is same");
    fixture.refused(only("4-6", 2), "slot range belongs to multiple shards");
    fixture.refused(only("4-5", 2), "slot range belongs to multiple shards");
    fixture.refused(only("0", 99), "index out of range");
    fixture.migrate("100-200", 1).unwrap();
    fixture.refused(only("150", 2), "shard slot is migrating");
    fixture.ok(only("300", 2));
    assert!(fixture.cluster().shards[0].mark.is_some());
}

#[test]
fn unassigned_slots_cannot_move() {
    let mut fixture = Fixture::new();
    let node = |port: u16| TopologyNode {
        id: id(port),
        addr: format!("10.0.0.1:{port}"),
        is_failed: false,
    };
    let shard = |port: u16, slots: &[&str]| TopologyShard {
        master: node(port),
        replicas: Vec::new(),
        slots: slots.iter().map(|text| range(text)).collect(),
        migrating: None,
    };
    let topology =
        Topology { version: 9, shards: vec![shard(51, &["0-9"]), shard(52, &["11-20"])] };
    fixture.ok(Command::ImportCluster { cluster: key("d"), topology, password: Secret::default() });
    for (slots, expected) in [
        ("10", "slot not belong to any shard"),
        ("9-10", "slot range belongs to multiple shards"),
        ("8-12", "slot range belongs to multiple shards"),
    ] {
        let migrate = Command::StartMigration { cluster: key("d"), range: range(slots), target: 1 };
        fixture.refused(migrate, expected);
    }
}

#[test]
fn a_migration_is_marked_first_and_moves_when_it_ends_well() {
    let mut fixture = Fixture::new();
    let job = match fixture.migrate("5", 1).unwrap() {
        Reply::MigrationBegun { job, cluster } => {
            assert_eq!(cluster.version, 2);
            job
        }
        other => panic!("{other:?}"),
    };
    let cluster = fixture.cluster();
    let begun = cluster.job(job).unwrap();
    assert_eq!((begun.source, begun.target, begun.phase), (Some(0), 1, Phase::Pending));
    assert_eq!((&begun.source_node, &begun.target_node), (&id(1), &id(3)));
    assert_eq!(fixture.migrate("6", 1).unwrap_err(), Rejection::ShardMigrating);
    assert_eq!(fixture.migrate("6000", 2).unwrap_err(), Rejection::ShardMigrating);
    fixture.ok(Command::MigrationAccepted { cluster: key("c"), job, attempt: 1 });
    assert_eq!(fixture.phase(job), Phase::Running);
    assert_eq!(fixture.cluster().version, 2);
    fixture.end(job, MigrationOutcome::Moved).unwrap();
    assert_eq!(fixture.slots()[..2], ["0-4,6-5460", "5,5461-10921"]);
    assert_eq!(fixture.cluster().version, 3);
    assert_eq!(fixture.phase(job), Phase::Succeeded);
    let late = fixture.end(job, MigrationOutcome::Moved).unwrap_err();
    assert_eq!(late.to_string(), format!("migration {job} is succeeded"));
    assert!(query::returned_by(&fixture.cluster(), range("0-9"), 0).is_some());
    assert!(query::returned_by(&fixture.cluster(), range("0-4"), 0).is_none());
}

#[test]
fn a_failed_migration_leaves_no_marks_and_may_be_asked_for_again() {
    let mut fixture = Fixture::new();
    let before = fixture.slots();
    for outcome in [failed(), MigrationOutcome::Refused { error: "no".to_owned() }] {
        let Reply::MigrationBegun { job, .. } = fixture.migrate("5", 1).unwrap() else { panic!() };
        fixture.end(job, outcome).unwrap();
        assert_eq!(fixture.phase(job), Phase::Failed);
        assert_eq!(fixture.slots(), before);
        assert_eq!(fixture.cluster().active_jobs().count(), 0);
    }
    assert_eq!(fixture.cluster().version, 5);
}

#[test]
fn queued_migrations_run_one_after_another_and_are_tried_again() {
    let mut fixture = Fixture::new();
    let jobs = fixture.queue(&["1", "2-8"], 1);
    assert_eq!((fixture.phase(jobs[0]), fixture.phase(jobs[1])), (Phase::Pending, Phase::Queued));
    fixture.end(jobs[0], failed()).unwrap();
    assert_eq!((fixture.phase(jobs[0]), fixture.phase(jobs[1])), (Phase::Pending, Phase::Queued));
    assert_eq!(fixture.cluster().job(jobs[0]).unwrap().attempt, 2);
    fixture.end(jobs[0], failed()).unwrap();
    assert_eq!((fixture.phase(jobs[0]), fixture.phase(jobs[1])), (Phase::Failed, Phase::Pending));
    fixture.end(jobs[1], MigrationOutcome::Moved).unwrap();
    assert_eq!(fixture.slots()[0], "0-1,9-5460");
    fixture.ok(Command::RetryMigration { cluster: key("c"), job: jobs[0] });
    let again = fixture.cluster().jobs.last().unwrap().clone();
    assert_eq!((again.range, again.target, again.phase), (range("1"), 1, Phase::Pending));
    fixture.refused(
        Command::RetryMigration { cluster: key("c"), job: jobs[1] },
        &format!("migration {} is succeeded", jobs[1]),
    );
}

#[test]
fn a_queued_migration_waits_for_the_owner_it_will_have() {
    let mut fixture = Fixture::new();
    let first = fixture.queue(&["5"], 1)[0];
    let second = fixture.queue(&["5"], 2)[0];
    assert_eq!(fixture.phase(second), Phase::Queued);
    fixture.end(first, MigrationOutcome::Moved).unwrap();
    let cluster = fixture.cluster();
    assert_eq!(cluster.job(second).unwrap().source, Some(1));
    fixture.end(second, MigrationOutcome::Moved).unwrap();
    assert_eq!(fixture.slots()[2], "5,10922-16383");
}

#[test]
fn cancelling_takes_a_waiting_job_out_and_asks_for_the_end_of_a_running_one() {
    let mut fixture = Fixture::new();
    let cancel = |job| Command::CancelMigration { cluster: key("c"), job };
    let jobs = fixture.queue(&["1", "2"], 1);
    fixture.ok(cancel(jobs[1]));
    assert_eq!(fixture.phase(jobs[1]), Phase::Cancelled);
    fixture.ok(cancel(jobs[0]));
    assert_eq!(fixture.phase(jobs[0]), Phase::Pending);
    assert!(fixture.cluster().job(jobs[0]).unwrap().is_cancel_requested);
    fixture.end(jobs[0], failed()).unwrap();
    assert_eq!(fixture.phase(jobs[0]), Phase::Cancelled);
    fixture.refused(cancel(jobs[0]), &format!("migration {} is cancelled", jobs[0]));
    fixture.refused(cancel(999), "migration: not found");
}

#[test]
fn a_failover_ends_the_migrations_of_its_shard() {
    for (shard, ports) in [(0, (1, 2)), (1, (3, 4))] {
        let mut fixture = Fixture::new();
        let Reply::MigrationBegun { job, .. } = fixture.migrate("5", 1).unwrap() else { panic!() };
        fixture.ok(fixture.fail_over(shard, ports, FailoverCause::Manual));
        assert_eq!(fixture.phase(job), Phase::Failed);
        assert_eq!(fixture.slots()[0], "0-5460");
        assert_eq!(fixture.cluster().version, 3);
    }
}

/// The cluster of the fixture as its nodes would tell it, at another version.
pub(super) fn told(cluster: &Cluster, version: u64) -> Topology {
    let node = |node: &super::model::Node| TopologyNode {
        id: node.id.clone(),
        addr: node.addr.clone(),
        is_failed: false,
    };
    let shards = cluster.shards.iter().map(|shard| TopologyShard {
        master: node(shard.master().unwrap()),
        replicas: shard.nodes.iter().filter(|n| n.role == Role::Slave).map(node).collect(),
        slots: shard.slots.clone(),
        migrating: None,
    });
    Topology { version, shards: shards.collect() }
}

#[test]
fn a_newer_topology_is_adopted_as_the_policy_says() {
    let mut fixture = Fixture::new();
    let adopt = |base_version, topology: &Topology| Command::AdoptTopology {
        cluster: key("c"),
        base_version,
        topology: topology.clone(),
    };
    let mut newer = told(&fixture.cluster(), 7);
    newer.shards.swap(0, 2);
    newer.shards[0].slots = vec![range("10922-16000")];
    newer.shards[1].slots = vec![range("5461-10921"), range("16001-16383")];
    fixture.refused(adopt(3, &newer), "the cluster has been updated by others");
    let mut others = newer.clone();
    others.shards[0].replicas.clear();
    fixture.refused(adopt(1, &others), "topology not adopted: the nodes are others");
    let created = fixture.cluster().shards[0].nodes[0].created_at;
    fixture.ok(adopt(1, &newer));
    let cluster = fixture.cluster();
    assert_eq!(cluster.version, 7);
    assert_eq!(fixture.slots(), ["0-5460", "5461-10921,16001-16383", "10922-16000"]);
    let node = &cluster.shards[0].nodes[0];
    assert_eq!((node.password.readable().unwrap(), node.created_at), ("secret", created));
    fixture.refused(adopt(7, &newer), "the cluster has been updated by others");
    let policy = |policy| {
        let adopt_policy = Some(policy);
        Command::ChangeSettings(SettingsChange { adopt_policy, ..SettingsChange::default() })
    };
    fixture.ok(policy(AdoptPolicy::Never));
    newer.version = 8;
    fixture.refused(adopt(7, &newer), "topology not adopted: the settings say never");
    fixture.ok(policy(AdoptPolicy::Always));
    others.version = 9;
    fixture.ok(adopt(7, &others));
    assert_eq!(fixture.cluster().nodes().count(), 5);
    fixture.ok(create("freed", [6].into_iter(), 1));
    newer.version = 10;
    fixture.refused(adopt(9, &newer), "node: already exists: [10.0.0.1:6]");
}

#[test]
fn adoption_keeps_follows_or_ends_running_migrations() {
    let begin = || {
        let mut fixture = Fixture::new();
        let Reply::MigrationBegun { job, .. } = fixture.migrate("5", 1).unwrap() else { panic!() };
        (fixture, job)
    };
    let adopt = |fixture: &mut Fixture, topology| {
        fixture.ok(Command::AdoptTopology { cluster: key("c"), base_version: 2, topology });
    };
    let (mut fixture, job) = begin();
    let same = told(&fixture.cluster(), 9);
    adopt(&mut fixture, same);
    assert_eq!(fixture.phase(job), Phase::Pending);
    let (mut fixture, job) = begin();
    let mut moved = told(&fixture.cluster(), 9);
    moved.shards[0].slots = vec![range("0-4"), range("6-5460")];
    moved.shards[1].slots = vec![range("5"), range("5461-10921")];
    adopt(&mut fixture, moved);
    assert_eq!(fixture.phase(job), Phase::Succeeded);
    let (mut fixture, job) = begin();
    let mut elsewhere = told(&fixture.cluster(), 9);
    elsewhere.shards[0].slots = vec![range("0-4"), range("6-5460")];
    elsewhere.shards[2].slots = vec![range("5"), range("10922-16383")];
    adopt(&mut fixture, elsewhere);
    assert_eq!(fixture.phase(job), Phase::Failed);
}

#[test]
fn an_import_keeps_what_the_nodes_say() {
    let mut fixture = Fixture::new();
    let mut topology = told(&fixture.cluster(), 9);
    let import = |name: &str, topology: &Topology| Command::ImportCluster {
        cluster: key(name),
        topology: topology.clone(),
        password: Secret::new("pw"),
    };
    let all = "10.0.0.1:1 10.0.0.1:2 10.0.0.1:3 10.0.0.1:4 10.0.0.1:5 10.0.0.1:6";
    fixture.refused(import("d", &topology), &format!("node: already exists: [{all}]"));
    fixture.ok(Command::DeleteCluster { cluster: key("c") });
    topology.shards[0].migrating = Some((range("7"), id(5)));
    fixture.ok(import("c", &topology));
    let cluster = fixture.cluster();
    assert_eq!(cluster.version, 9);
    assert_eq!(cluster.shards[0].mark.unwrap().target, 2);
    assert_eq!(cluster.active_jobs().next().unwrap().phase, Phase::Running);
    topology.shards[1].slots = vec![range("0-9")];
    fixture.ok(Command::DeleteCluster { cluster: key("c") });
    fixture.refused(import("c", &topology), "invalid argument: slot 0 belongs to two shards");
    topology.shards.clear();
    fixture.refused(import("c", &topology), "cluster nodes should NOT be empty");
}

#[test]
fn a_loaded_cluster_is_taken_as_it_is_or_not_at_all() {
    let mut fixture = Fixture::new();
    let record = fixture.cluster();
    let load = |record: &Cluster| Command::LoadCluster {
        cluster: ClusterKey { namespace: "old".to_owned(), name: "c".to_owned() },
        record: Box::new(record.clone()),
    };
    assert!(fixture.apply(load(&record)).is_err());
    fixture.ok(Command::DeleteCluster { cluster: key("c") });
    let mut headless = record.clone();
    headless.shards[0].nodes[0].role = Role::Slave;
    fixture.refused(load(&headless), "invalid argument: shard 0 has 0 masters");
    fixture.ok(load(&record));
    assert_eq!(query::namespaces(&fixture.state), ["ns", "old"]);
    let loaded = query::clusters(&fixture.state).next().unwrap().1.as_ref().clone();
    assert_eq!(loaded, record);
}

#[test]
fn a_push_is_asked_for_and_answered_once() {
    let mut fixture = Fixture::new();
    let request = Command::RequestSync { cluster: key("c"), is_forced: true };
    let Reply::SyncRequested { sync } = fixture.ok(request) else { panic!() };
    let finish = Command::FinishSync {
        cluster: key("c"),
        sync,
        failures: vec![("10.0.0.1:1".to_owned(), "refused".to_owned())],
    };
    fixture.ok(finish.clone());
    assert_eq!(fixture.cluster().sync.unwrap().failures.unwrap().len(), 1);
    fixture.refused(finish, "sync: not found");
    assert_eq!(fixture.cluster().version, 1);
}

#[test]
fn settings_out_of_range_change_nothing() {
    let mut fixture = Fixture::new();
    let change = SettingsChange {
        ping_interval_ms: Some(99),
        ping_failures_max: Some(3),
        ..SettingsChange::default()
    };
    fixture.refused(
        Command::ChangeSettings(change),
        "invalid argument: ping_interval_ms is 100 to 600000, not 99",
    );
}

#[test]
fn passwords_change_without_a_new_version_and_never_print() {
    let mut fixture = Fixture::new();
    let change = |node_id| Command::ChangePassword {
        cluster: key("c"),
        node_id,
        password: Secret::new("other-word"),
    };
    fixture.refused(change(Some(id(77))), "not found");
    fixture.ok(change(Some(id(1))));
    let cluster = fixture.cluster();
    assert_eq!(cluster.version, 1);
    assert_eq!(cluster.shards[0].nodes[0].password.readable().unwrap(), "other-word");
    assert_eq!(cluster.shards[0].nodes[1].password.readable().unwrap(), "secret");
    let printed = format!("{:?} {:?}", cluster, change(None));
    assert!(!printed.contains("other-word") && !printed.contains("secret\""), "{printed}");
}
