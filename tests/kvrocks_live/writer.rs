//! A client of the nodes that follows redirects, repeats what was not taken, and keeps a record of
//! what was.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::kvrocks_node::{
    resp::{Reply, Wire},
    topology::slot_of,
};

const PATIENCE: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

/// Connections to nodes, and where slots were last found.
///
/// A client that lost a node goes to others first: an old master that comes back takes writes until
/// it is told better, and no control plane can undo that.
pub struct Client {
    seeds: Vec<String>,
    wires: BTreeMap<String, Wire>,
    owners: BTreeMap<u16, String>,
    lost: BTreeSet<String>,
    turn: usize,
}

impl Client {
    pub fn new(seeds: &[String]) -> Self {
        Self {
            seeds: seeds.to_vec(),
            wires: BTreeMap::new(),
            owners: BTreeMap::new(),
            lost: BTreeSet::new(),
            turn: 0,
        }
    }

    /// Sends a command about a key until a node takes it.
    pub async fn ask(&mut self, command: &[&str]) -> Result<String, String> {
        self.told(command).await.map(|(reply, _)| reply)
    }

    /// As [`Client::ask`], and which node took it.
    pub async fn told(&mut self, command: &[&str]) -> Result<(String, String), String> {
        let slot = slot_of(command[1]);
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::new();
        let mut redirects = 0;
        while Instant::now() < deadline {
            let known = self.owners.get(&slot).cloned();
            let addr = known.unwrap_or_else(|| self.any());
            match self.ask_at(&addr, command).await {
                Some(Reply::Error(error)) => {
                    self.learn(slot, &addr, &error);
                    redirects += u32::from(error.starts_with("MOVED"));
                    last = error;
                    if last.starts_with("MOVED") && redirects < 3 {
                        continue;
                    }
                }
                Some(reply) => {
                    self.lost.remove(&addr);
                    self.owners.insert(slot, addr.clone());
                    return Ok((reply.text(), addr));
                }
                None => {
                    last = format!("{addr} is silent");
                    self.owners.retain(|_, owner| *owner != addr);
                    self.lost.insert(addr);
                }
            }
            sleep(PAUSE).await;
        }
        Err(format!("{command:?}: {last}"))
    }

    fn any(&mut self) -> String {
        if self.seeds.iter().all(|seed| self.lost.contains(seed)) {
            self.lost.clear();
        }
        loop {
            self.turn += 1;
            let seed = &self.seeds[self.turn % self.seeds.len()];
            if !self.lost.contains(seed) {
                return seed.clone();
            }
        }
    }

    fn learn(&mut self, slot: u16, addr: &str, error: &str) {
        match error.strip_prefix("MOVED ").and_then(|rest| rest.rsplit(' ').next()) {
            Some(to) if to != addr => {
                self.owners.insert(slot, to.to_owned());
            }
            // In a moment the node will take it.
            None if error.starts_with("TRYAGAIN") => {}
            // It names itself, or knows nothing: somebody else may know more.
            _ => {
                self.owners.remove(&slot);
            }
        }
    }

    async fn ask_at(&mut self, addr: &str, command: &[&str]) -> Option<Reply> {
        let asked = async {
            let mut wire = match self.wires.remove(addr) {
                Some(wire) => wire,
                None => Wire::connect(addr).await.ok()?,
            };
            let reply = wire.ask(command).await.ok()?;
            Some((reply, wire))
        };
        let (reply, wire) = timeout(ANSWER, asked).await.ok()??;
        self.wires.insert(addr.to_owned(), wire);
        Some(reply)
    }
}

/// A write that a node took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub key: String,
    pub value: String,
    /// Address of the node.
    pub by: String,
}

/// Writes until it is stopped.
pub struct Writer {
    stop: CancellationToken,
    writes: watch::Receiver<u64>,
    task: JoinHandle<Vec<Written>>,
}

impl Writer {
    /// Begins to write keys that begin with `name`, over all slots, again and again.
    pub fn start(name: &str, seeds: &[String]) -> Self {
        let name = name.to_owned();
        Self::begin(seeds, move |number| format!("{name}-{}", number % 400))
    }

    /// Begins to write every key once; every other one hashes to a word of `tags`.
    pub fn start_once(name: &str, seeds: &[String], tags: &[String]) -> Self {
        let (name, tags) = (name.to_owned(), tags.to_vec());
        Self::begin(seeds, move |number| {
            let turn = usize::try_from(number / 2).unwrap_or_default();
            match tags.get(turn % tags.len().max(1)).filter(|_| number % 2 == 0) {
                Some(tag) => format!("{{{tag}}}{name}-{number}"),
                None => format!("{name}-{number}"),
            }
        })
    }

    fn begin(seeds: &[String], key_of: impl Fn(u64) -> String + Send + 'static) -> Self {
        let stop = CancellationToken::new();
        let mut client = Client::new(seeds);
        let stopped = stop.clone();
        let (count, writes) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut taken = Vec::new();
            for number in 0_u64.. {
                if stopped.is_cancelled() {
                    break;
                }
                let (key, value) = (key_of(number), number.to_string());
                match client.told(&["SET", &key, &value]).await {
                    Ok((_, by)) => {
                        taken.push(Written { key, value, by });
                        count.send_modify(|count| *count += 1);
                    }
                    Err(error) => panic!("a write was never taken: {error}"),
                }
                sleep(Duration::from_millis(1)).await;
            }
            taken
        });
        Self { stop, writes, task }
    }

    /// Waits until so many more writes were taken.
    pub async fn more(&mut self, writes: u64) {
        let wanted = *self.writes.borrow() + writes;
        let reached = self.writes.wait_for(|count| *count >= wanted);
        let reached = timeout(PATIENCE, reached).await.expect("writes go on");
        reached.expect("the writer does not fail");
    }

    /// Stops; the last value of each key.
    pub async fn stop(self) -> BTreeMap<String, String> {
        self.written().await.into_iter().map(|write| (write.key, write.value)).collect()
    }

    /// Stops; every write in its order, and who took it.
    pub async fn written(self) -> Vec<Written> {
        self.stop.cancel();
        self.task.await.expect("the writer does not fail")
    }
}

/// Keys that do not have the value that was taken.
pub async fn lost(seeds: &[String], taken: &BTreeMap<String, String>) -> Vec<String> {
    let mut client = Client::new(seeds);
    let mut lost = Vec::new();
    for (key, value) in taken {
        match client.ask(&["GET", key]).await {
            Ok(found) if found == *value => {}
            found => lost.push(format!("{key}: {found:?}, not {value}")),
        }
    }
    lost
}
