//! Stand-in server proxies: they keep the two epochs, refuse what is not newer, run migrations to
//! their end, and write down everything that must never happen.
//!
//! They are driven by [`super::coordinator`]. The commands are those of the original; the form of
//! the metadata argument is the stand-ins' own: the proxy's meta as JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use super::resp::{Connection, Reply};

/// Time a migration takes once both ends know of it.
const MIGRATION: Duration = Duration::from_millis(150);

/// Slots of a cluster.
const SLOTS: u64 = 16_384;

/// All proxies of a test.
#[derive(Clone, Default)]
pub struct Fleet {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    proxies: BTreeMap<String, Proxy>,
    /// Migrations by identity, with the ends that know of them.
    tasks: BTreeMap<String, Task>,
    violations: Vec<String>,
    refused: u64,
}

/// One proxy.
#[derive(Default)]
struct Proxy {
    repl_epoch: u64,
    cluster_epoch: u64,
    meta: Value,
    /// Every content that was ever pushed, by epoch; survives a restart of the proxy.
    pushed: BTreeMap<u64, String>,
    /// Epochs before and after every push that was taken, of either command.
    steps: Vec<(u64, u64)>,
    server: Option<JoinHandle<()>>,
}

struct Task {
    ends: BTreeSet<&'static str>,
    complete: Option<Instant>,
}

impl Fleet {
    /// Starts a proxy on a port the system picks; returns its address.
    pub async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        self.serve(address.clone(), listener);
        address
    }

    /// Ends a proxy: its port is closed, what it knew is gone.
    pub fn kill(&self, address: &str) {
        let mut shared = self.lock();
        let proxy = shared.proxies.get_mut(address).expect("a known proxy");
        proxy.server.take().expect("the proxy runs").abort();
        (proxy.repl_epoch, proxy.cluster_epoch, proxy.meta) = (0, 0, Value::Null);
    }

    /// The metadata a proxy holds.
    pub fn meta(&self, address: &str) -> Value {
        self.lock().proxies.get(address).map(|proxy| proxy.meta.clone()).unwrap_or_default()
    }

    /// The greater of the two epochs a proxy holds.
    pub fn epoch(&self, address: &str) -> u64 {
        let shared = self.lock();
        let proxy = &shared.proxies[address];
        proxy.repl_epoch.max(proxy.cluster_epoch)
    }

    /// Epochs before and after every push that a proxy has taken.
    pub fn steps(&self, address: &str) -> Vec<(u64, u64)> {
        self.lock().proxies[address].steps.clone()
    }

    /// What should never have happened.
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// Pushes that were refused because they were not newer.
    pub fn refused(&self) -> u64 {
        self.lock().refused
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, address: String, listener: TcpListener) {
        let fleet = self.clone();
        let name = address.clone();
        let server = tokio::spawn(async move {
            // The connections end with the proxy.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(fleet.clone().talk(name.clone(), Connection::new(stream)));
            }
        });
        self.lock().proxies.entry(address).or_default().server = Some(server);
    }

    async fn talk(self, address: String, mut connection: Connection) {
        while let Ok(Some(Reply::Texts(command))) = connection.read().await {
            let reply = self.lock().answer(&address, &command);
            if connection.write(&reply).await.is_err() {
                break;
            }
        }
    }
}

impl Shared {
    fn answer(&mut self, address: &str, command: &[String]) -> Reply {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match words[..] {
            ["PING"] => Reply::Simple("PONG".to_owned()),
            ["UMCTL", "GETEPOCH"] => Reply::Integer(self.proxies[address].cluster_epoch),
            ["UMCTL", "SETREPL", epoch, _flags, meta] => self.set_repl(address, epoch, meta),
            ["UMCTL", "SETCLUSTER", "v2", epoch, _flags, meta] => {
                self.set_cluster(address, epoch, meta)
            }
            ["UMCTL", "INFOMGR"] => Reply::Texts(self.finished(address)),
            _ => Reply::Error(format!("unknown command {words:?}")),
        }
    }

    fn set_repl(&mut self, address: &str, epoch: &str, meta: &str) -> Reply {
        let Some((epoch, _)) = self.judge(address, epoch, meta) else {
            return Reply::Error("INVALID_ARGUMENT".to_owned());
        };
        let Some(proxy) = self.proxies.get_mut(address).filter(|proxy| epoch > proxy.repl_epoch)
        else {
            return self.refuse();
        };
        proxy.steps.push((proxy.repl_epoch, epoch));
        proxy.repl_epoch = epoch;
        Reply::Simple("OK".to_owned())
    }

    fn set_cluster(&mut self, address: &str, epoch: &str, meta: &str) -> Reply {
        let Some((epoch, meta)) = self.judge(address, epoch, meta) else {
            return Reply::Error("INVALID_ARGUMENT".to_owned());
        };
        let Some(proxy) = self.proxies.get_mut(address).filter(|proxy| epoch > proxy.cluster_epoch)
        else {
            return self.refuse();
        };
        proxy.steps.push((proxy.cluster_epoch, epoch));
        proxy.cluster_epoch = epoch;
        proxy.meta = meta.clone();
        for (end, key) in migrations(&meta) {
            let task = Task { ends: BTreeSet::new(), complete: None };
            let task = self.tasks.entry(key).or_insert(task);
            task.ends.insert(end);
            if task.ends.len() == 2 && task.complete.is_none() {
                task.complete = Some(Instant::now() + MIGRATION);
            }
        }
        Reply::Simple("OK".to_owned())
    }

    fn refuse(&mut self) -> Reply {
        self.refused += 1;
        Reply::Error("OLD_EPOCH".to_owned())
    }

    /// Reads a push, and notes what no broker may ever say: an epoch with other content than
    /// before, another proxy's metadata, nodes elsewhere, a cluster not covered once.
    fn judge(&mut self, address: &str, epoch: &str, meta: &str) -> Option<(u64, Value)> {
        let epoch: u64 = epoch.parse().ok()?;
        let value: Value = serde_json::from_str(meta).ok()?;
        let proxy = self.proxies.get_mut(address)?;
        let known = proxy.pushed.entry(epoch).or_insert_with(|| meta.to_owned());
        if known != meta {
            let violation = format!("{address}: epoch {epoch} is {known} and {meta}");
            self.violations.push(violation);
        }
        if value["epoch"].as_u64() != Some(epoch) || value["address"] != address {
            self.violations.push(format!("{address}: not its metadata of epoch {epoch}: {meta}"));
        }
        if !nodes_are_here(address, &value) {
            self.violations.push(format!("{address}: nodes on another host: {meta}"));
        }
        if !(value["cluster_name"].is_null() || slots_are_covered(&value)) {
            self.violations.push(format!("{address}: slots missing or served twice: {meta}"));
        }
        Some((epoch, value))
    }

    /// Finished migrations that this proxy holds an end of, as slot ranges with their tags.
    fn finished(&self, address: &str) -> Vec<String> {
        let Some(proxy) = self.proxies.get(address) else {
            return Vec::new();
        };
        let is_over = |key: &String| {
            let end = self.tasks.get(key).and_then(|task| task.complete);
            end.is_some_and(|end| end <= Instant::now())
        };
        let ranges = local_ranges(&proxy.meta).filter(|range| {
            let cluster = &proxy.meta["cluster_name"];
            task_of(cluster, range).is_some_and(|(_, key)| is_over(&key))
        });
        let cluster = &proxy.meta["cluster_name"];
        ranges
            .map(|range| {
                serde_json::json!({ "cluster_name": cluster, "slot_range": range }).to_string()
            })
            .collect()
    }
}

/// Whether what this proxy and its peers own covers every slot once. A slot on its way belongs
/// to the end it leaves.
fn slots_are_covered(meta: &Value) -> bool {
    let peers = meta["peers"].as_array().into_iter().flatten();
    let of_peers = peers.flat_map(|peer| peer["slots"].as_array().into_iter().flatten());
    let is_owned = |range: &&Value| range["tag"].get("Importing").is_none();
    let mut pairs: Vec<(u64, u64)> =
        local_ranges(meta).chain(of_peers).filter(is_owned).flat_map(pairs_of).collect();
    pairs.sort_unstable();
    let end = pairs.iter().try_fold(0, |next, &(first, last)| {
        let continues = first == next && first <= last;
        continues.then_some(last + 1)
    });
    end == Some(SLOTS)
}

fn pairs_of(range: &Value) -> Vec<(u64, u64)> {
    let pairs = range["range_list"].as_array().into_iter().flatten();
    pairs.filter_map(|pair| Some((pair[0].as_u64()?, pair[1].as_u64()?))).collect()
}

/// A real proxy takes no metadata whose nodes are not on its own host.
fn nodes_are_here(address: &str, meta: &Value) -> bool {
    let host = |text: &str| text.split(':').next().map(ToOwned::to_owned);
    meta["nodes"].as_array().is_some_and(|nodes| {
        nodes.iter().all(|node| node["address"].as_str().and_then(host) == host(address))
    })
}

fn local_ranges(meta: &Value) -> impl Iterator<Item = &Value> {
    let nodes = meta["nodes"].as_array().into_iter().flatten();
    nodes.flat_map(|node| node["slots"].as_array().into_iter().flatten())
}

fn migrations(meta: &Value) -> Vec<(&'static str, String)> {
    local_ranges(meta).filter_map(|range| task_of(&meta["cluster_name"], range)).collect()
}

/// Which end of which migration a slot range is; the whole tag identifies it.
fn task_of(cluster: &Value, range: &Value) -> Option<(&'static str, String)> {
    ["Migrating", "Importing"].into_iter().find_map(|end| {
        let tag = range["tag"].get(end)?;
        Some((end, format!("{cluster} {} {tag}", range["range_list"])))
    })
}
