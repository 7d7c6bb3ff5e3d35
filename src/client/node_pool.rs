//! Kvrocks nodes for callers that ask them all the time: connections are kept between calls.
//!
//! A connection is kept for the address and the password it was opened with; a call with another
//! password opens a new one and forgets the old. Nothing is sent twice: a connection that the node
//! has closed meanwhile is noticed before it is used, and whatever breaks later is an error.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{
    io::BufReader,
    net::TcpStream,
    time::{Instant, timeout},
};

use super::node_call::{self, NodeAccess, NodeCall, NodeError};

/// Connections kept of one node; a call that finds none opens one.
const KEPT_MAX: usize = 2;
/// A connection that nobody used for this long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The real client, with connections kept.
#[derive(Default)]
pub struct NodePool {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    nodes: BTreeMap<String, Idle>,
    swept: Option<Instant>,
}

struct Idle {
    password: String,
    /// Last used last.
    streams: Vec<(BufReader<TcpStream>, Instant)>,
}

impl fmt::Debug for NodePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections: usize = self.lock().nodes.values().map(|idle| idle.streams.len()).sum();
        f.debug_struct("NodePool").field("connections", &connections).finish_non_exhaustive()
    }
}

impl NodeCall for NodePool {
    fn call<'a>(
        &'a self,
        node: NodeAccess<'a>,
        command: &'a [&'a str],
        time: Duration,
    ) -> BoxFuture<'a, Result<String, NodeError>> {
        Box::pin(async move {
            let mut answers = self.exchange(node, &[command], time).await?;
            answers.pop().ok_or_else(|| NodeError::Protocol { addr: node.addr.to_owned() })
        })
    }

    fn exchange<'a>(
        &'a self,
        node: NodeAccess<'a>,
        commands: &'a [&'a [&'a str]],
        time: Duration,
    ) -> BoxFuture<'a, Result<Vec<String>, NodeError>> {
        Box::pin(async move {
            let exchange = async {
                let mut stream = match self.take(node) {
                    Some(stream) => stream,
                    None => node_call::connect(node).await?,
                };
                let answers = node_call::send_all(&mut stream, node.addr, commands).await;
                // An error that the node itself told leaves the connection usable.
                if matches!(answers, Ok(_) | Err(NodeError::Refused { .. })) {
                    self.keep(node, stream);
                }
                answers
            };
            let late = |_| NodeError::Timeout { addr: node.addr.to_owned() };
            timeout(time, exchange).await.map_err(late)?
        })
    }
}

impl NodePool {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kept connection that is still open and was opened with this password.
    fn take(&self, node: NodeAccess<'_>) -> Option<BufReader<TcpStream>> {
        let mut kept = self.lock();
        let idle = kept.nodes.get_mut(node.addr)?;
        if idle.password != node.password {
            kept.nodes.remove(node.addr);
            return None;
        }
        while let Some((stream, _)) = idle.streams.pop() {
            if is_quiet(&stream) {
                return Some(stream);
            }
        }
        None
    }

    fn keep(&self, node: NodeAccess<'_>, stream: BufReader<TcpStream>) {
        let now = Instant::now();
        let mut kept = self.lock();
        kept.sweep(now);
        if kept.nodes.get(node.addr).is_some_and(|idle| idle.password != node.password) {
            return;
        }
        let fresh = || Idle { password: node.password.to_owned(), streams: Vec::new() };
        let idle = kept.nodes.entry(node.addr.to_owned()).or_insert_with(fresh);
        if idle.streams.len() < KEPT_MAX {
            idle.streams.push((stream, now));
        }
    }
}

impl Kept {
    /// Closes what nobody used for long; nodes that left the state go this way too.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now < swept + IDLE_MAX / 2) {
            return;
        }
        self.swept = Some(now);
        self.nodes.retain(|_, idle| {
            idle.streams.retain(|(_, used)| now < *used + IDLE_MAX);
            !idle.streams.is_empty()
        });
    }
}

/// Open, and without anything to read that nobody asked for.
fn is_quiet(stream: &BufReader<TcpStream>) -> bool {
    let is_empty = stream.buffer().is_empty();
    let read = stream.get_ref().try_read(&mut [0]);
    is_empty && matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}
