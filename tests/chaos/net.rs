//! The network between the replicas: a relay before the peer port of each, in this process.
//!
//! A replica calls from an address of its own (see `shim.c`), so a relay knows both ends of a
//! connection, and bytes from one replica to another obey the rule for this direction. A cut
//! direction swallows nothing: what was sent waits, as with TCP, until the cut is healed or the
//! connection is given up.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::plan::Dice;

/// Most bytes that are passed on at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Most chunks on their way in one direction of a connection.
const CHUNKS_MAX: usize = 256;
/// How long a connection is kept of which one end is gone.
const HALF_OPEN: Duration = Duration::from_secs(120);

/// What happens to bytes on their way from one replica to another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rule {
    /// Nothing arrives.
    pub is_cut: bool,
    /// Everything arrives so much later.
    pub delay: Duration,
    /// How many of a thousand chunks get lost, and are sent again after a while. Every tenth such
    /// loss breaks the connection.
    pub lost_per_mille: u64,
}

#[derive(Clone, Default)]
struct Rules {
    ways: BTreeMap<(u64, u64), Rule>,
    /// Raised to take one end away from every connection there is.
    half_opened: u64,
}

impl Rules {
    fn of(&self, way: (u64, u64)) -> Rule {
        self.ways.get(&way).copied().unwrap_or_default()
    }
}

/// All relays of a site.
pub struct Net {
    rules: Arc<watch::Sender<Rules>>,
    passed: Arc<AtomicU64>,
    struck: Arc<AtomicU64>,
    relays: Vec<JoinHandle<()>>,
}

impl Default for Net {
    fn default() -> Self {
        Self {
            rules: Arc::new(watch::Sender::new(Rules::default())),
            passed: Arc::default(),
            struck: Arc::default(),
            relays: Vec::new(),
        }
    }
}

impl Net {
    /// Sets a relay before the peer port of a replica.
    pub async fn relay(&mut self, listen: &str, id: u64, peer_addr: &str) {
        let listener = TcpListener::bind(listen).await.expect("the relay's port is free");
        let peer_addr: SocketAddr = peer_addr.parse().expect("an address");
        let relay = Relay {
            target: id,
            peer_addr,
            rules: self.rules.clone(),
            passed: self.passed.clone(),
            struck: self.struck.clone(),
        };
        self.relays.push(tokio::spawn(relay.serve(listener)));
    }

    /// Sets the rule for one direction.
    pub fn set(&self, from: u64, to: u64, rule: Rule) {
        self.rules.send_modify(|rules| {
            rules.ways.insert((from, to), rule);
        });
    }

    /// Sets the rule for both directions.
    pub fn set_both(&self, one: u64, other: u64, rule: Rule) {
        self.set(one, other, rule);
        self.set(other, one, rule);
    }

    /// Cuts one direction.
    pub fn cut(&self, from: u64, to: u64) {
        self.set(from, to, Rule { is_cut: true, ..Rule::default() });
    }

    /// Cuts both directions.
    pub fn cut_both(&self, one: u64, other: u64) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Takes one end away from every connection; the other end is not told.
    pub fn half_open(&self) {
        self.rules.send_modify(|rules| rules.half_opened += 1);
    }

    /// Everything arrives again, at once.
    pub fn heal(&self) {
        self.rules.send_modify(|rules| rules.ways.clear());
    }

    /// Chunks that were passed on, and how many of them any rule had struck.
    pub fn counts(&self) -> (u64, u64) {
        (self.passed.load(Ordering::Relaxed), self.struck.load(Ordering::Relaxed))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.relays.iter().for_each(JoinHandle::abort);
    }
}

/// Waits until connections that were there before lose one end.
async fn half_opened(rules: &mut watch::Receiver<Rules>, before: u64) {
    let _ = rules.wait_for(|rules| rules.half_opened > before).await;
}

#[derive(Clone)]
struct Relay {
    target: u64,
    peer_addr: SocketAddr,
    rules: Arc<watch::Sender<Rules>>,
    passed: Arc<AtomicU64>,
    struck: Arc<AtomicU64>,
}

impl Relay {
    async fn serve(self, listener: TcpListener) {
        loop {
            let Ok((caller, addr)) = listener.accept().await else {
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            tokio::spawn(self.clone().connection(caller, addr));
        }
    }

    async fn connection(self, caller: TcpStream, addr: SocketAddr) {
        let from = match addr.ip() {
            IpAddr::V4(ip) if ip.octets()[2] == 1 => u64::from(ip.octets()[3]),
            // Somebody else, as this process itself.
            _ => 0,
        };
        // A replica that is away refuses; the caller is told the same way.
        let Ok(callee) = TcpStream::connect(self.peer_addr).await else {
            return;
        };
        let _ = (caller.set_nodelay(true), callee.set_nodelay(true));
        let (caller_reads, caller_writes) = caller.into_split();
        let (callee_reads, callee_writes) = callee.into_split();
        let there = self.clone().pump((from, self.target), caller_reads, callee_writes);
        let back = self.clone().pump((self.target, from), callee_reads, caller_writes);
        let (mut there, mut back) = (tokio::spawn(there), tokio::spawn(back));
        let mut rules = self.rules.subscribe();
        let before = rules.borrow_and_update().half_opened;
        tokio::select! {
            _ = &mut there => {}
            _ = &mut back => {}
            () = half_opened(&mut rules, before) => {
                // The pump that reads from the callee goes, and with it what was sent to the
                // caller; the caller's end stays as it is.
                self.struck.fetch_add(1, Ordering::Relaxed);
                back.abort();
                sleep(HALF_OPEN).await;
            }
        }
        there.abort();
        back.abort();
    }

    /// Passes bytes on in one direction until the connection ends.
    async fn pump(self, way: (u64, u64), mut from: OwnedReadHalf, to: OwnedWriteHalf) {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        let writer = tokio::spawn(self.clone().deliver(way, receiver, to));
        let mut dice = Dice::new(way.0 * 31 + way.1 + self.passed.load(Ordering::Relaxed));
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let Ok(length @ 1..) = from.read(&mut chunk).await else { break };
            chunk.truncate(length);
            let rule = self.rules.borrow().of(way);
            let mut due = Instant::now() + rule.delay;
            let mut is_struck = !rule.delay.is_zero();
            if rule.lost_per_mille > 0 && dice.below(1_000) < rule.lost_per_mille {
                is_struck = true;
                due += Duration::from_millis(200 + dice.below(200));
                if dice.below(10) == 0 {
                    break;
                }
            }
            self.passed.fetch_add(1, Ordering::Relaxed);
            self.struck.fetch_add(u64::from(is_struck), Ordering::Relaxed);
            if sender.send((due, chunk)).await.is_err() {
                break;
            }
        }
        drop(sender);
        let _ = writer.await;
    }

    async fn deliver(
        self,
        way: (u64, u64),
        mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>,
        mut to: OwnedWriteHalf,
    ) {
        let mut rules = self.rules.subscribe();
        while let Some((due, chunk)) = chunks.recv().await {
            sleep_until(due).await;
            if rules.borrow().of(way).is_cut {
                self.struck.fetch_add(1, Ordering::Relaxed);
                if rules.wait_for(|rules| !rules.of(way).is_cut).await.is_err() {
                    return;
                }
            }
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    }
}
