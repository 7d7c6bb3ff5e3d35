//! A client of the nodes that follows redirects, repeats what was not taken, and keeps a record of
//! what was.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::kvrocks_node::resp::{Reply, Wire};

const PATIENCE: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

/// Connections to nodes, and where slots were last found.
pub struct Client {
    seeds: Vec<String>,
    wires: BTreeMap<String, Wire>,
    last: String,
    turn: usize,
}

impl Client {
    pub fn new(seeds: &[String]) -> Self {
        let last = seeds[0].clone();
        Self { seeds: seeds.to_vec(), wires: BTreeMap::new(), last, turn: 0 }
    }

    /// Sends a command until a node takes it.
    pub async fn ask(&mut self, command: &[&str]) -> Result<String, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut addr = self.last.clone();
        let mut last = String::new();
        while Instant::now() < deadline {
            match self.ask_at(&addr, command).await {
                Some(Reply::Error(error)) if error.starts_with("MOVED ") => {
                    last = error.clone();
                    let to = error.rsplit(' ').next().unwrap_or_default().to_owned();
                    // A node that names itself or points back: somebody knows more in a moment.
                    if to == addr || to == self.last {
                        sleep(PAUSE).await;
                    }
                    addr = to;
                }
                Some(Reply::Error(error)) => {
                    last = error;
                    sleep(PAUSE).await;
                }
                Some(reply) => {
                    self.last = addr;
                    return Ok(reply.text());
                }
                None => {
                    last = format!("{addr} is silent");
                    self.turn += 1;
                    addr = self.seeds[self.turn % self.seeds.len()].clone();
                    sleep(PAUSE).await;
                }
            }
        }
        Err(format!("{command:?}: {last}"))
    }

    async fn ask_at(&mut self, addr: &str, command: &[&str]) -> Option<Reply> {
        let mut wire = match self.wires.remove(addr) {
            Some(wire) => wire,
            None => Wire::connect(addr).await.ok()?,
        };
        let reply = timeout(ANSWER, wire.ask(command)).await.ok()?.ok()?;
        self.wires.insert(addr.to_owned(), wire);
        Some(reply)
    }
}

/// Writes until it is stopped.
pub struct Writer {
    stop: CancellationToken,
    writes: watch::Receiver<u64>,
    task: JoinHandle<BTreeMap<String, String>>,
}

impl Writer {
    /// Begins to write keys that begin with `name`, over all slots.
    pub fn start(name: &str, seeds: &[String]) -> Self {
        let stop = CancellationToken::new();
        let (name, mut client) = (name.to_owned(), Client::new(seeds));
        let stopped = stop.clone();
        let (count, writes) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut taken = BTreeMap::new();
            for number in 0_u64.. {
                if stopped.is_cancelled() {
                    break;
                }
                let (key, value) = (format!("{name}-{}", number % 400), number.to_string());
                match client.ask(&["SET", &key, &value]).await {
                    Ok(_) => {
                        taken.insert(key, value);
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

    /// Stops; what was taken.
    pub async fn stop(self) -> BTreeMap<String, String> {
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
