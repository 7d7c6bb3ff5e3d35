//! The real client of Kvrocks nodes: connections are kept between calls.
//!
//! A connection is kept for the address and the password it was opened with; a call with another
//! password opens a new one and forgets the old. Nothing is sent twice: a connection that the node
//! has closed meanwhile is noticed before it is used, and whatever breaks later is an error.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::time::{Instant, timeout};

use super::{
    node_call::{NodeAccess, NodeCall, NodeError, Password},
    node_tls::NodeTls,
    node_wire::Wire,
};
use crate::seal::{KeyRing, Purpose};

/// Connections kept of one node; a call that finds none opens one.
const KEPT_MAX: usize = 2;
/// A connection that nobody used for this long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Asks nodes over connections that it keeps.
#[derive(Default)]
pub struct NodePool {
    tls: Option<NodeTls>,
    keys: KeyRing,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    nodes: BTreeMap<String, Idle>,
    swept: Option<Instant>,
}

struct Idle {
    /// As it is stored: sealed ones are opened for a new connection only.
    password: Vec<u8>,
    /// Last used last.
    wires: Vec<(Wire, Instant)>,
}

impl fmt::Debug for NodePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections: usize = self.lock().nodes.values().map(|idle| idle.wires.len()).sum();
        f.debug_struct("NodePool").field("connections", &connections).finish_non_exhaustive()
    }
}

impl NodeCall for NodePool {
    fn exchange<'a>(
        &'a self,
        node: NodeAccess<'a>,
        commands: &'a [&'a [&'a str]],
        time: Duration,
    ) -> BoxFuture<'a, Result<Vec<String>, NodeError>> {
        Box::pin(async move {
            let exchange = async {
                let mut wire = match self.take(node).await {
                    Some(wire) => wire,
                    None => self.open(node).await?,
                };
                let answers = ask_all(&mut wire, node, commands).await;
                // An error that the node itself told leaves the connection usable.
                if matches!(answers, Ok(_) | Err(NodeError::Refused { .. })) {
                    self.keep(node, wire);
                }
                answers
            };
            let late = |_| NodeError::Timeout { addr: node.addr.to_owned() };
            timeout(time, exchange).await.map_err(late)?
        })
    }
}

async fn ask_all(
    wire: &mut Wire,
    node: NodeAccess<'_>,
    commands: &[&[&str]],
) -> Result<Vec<String>, NodeError> {
    let mut answers = Vec::with_capacity(commands.len());
    for command in commands {
        answers.push(wire.ask(node.addr, command).await?);
    }
    Ok(answers)
}

impl NodePool {
    /// Nothing kept yet. With `tls` every node is spoken to in TLS, without it none. Sealed
    /// passwords are opened with `keys`.
    #[must_use]
    pub fn new(tls: Option<NodeTls>, keys: KeyRing) -> Self {
        Self { tls, keys, kept: Mutex::default() }
    }

    /// A new connection. Nobody is spoken to whose password cannot be opened.
    async fn open(&self, node: NodeAccess<'_>) -> Result<Wire, NodeError> {
        let opened = match node.password {
            Password::Readable(text) => Cow::Borrowed(text),
            Password::Sealed(sealed) => {
                let opened = self.keys.open(Purpose::NodePassword, sealed);
                let sealed = |source| NodeError::Sealed { addr: node.addr.to_owned(), source };
                Cow::Owned(opened.map_err(sealed)?)
            }
        };
        Wire::open(node.addr, &opened, self.tls.as_ref()).await
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kept connection that is still open and was opened with this password.
    async fn take(&self, node: NodeAccess<'_>) -> Option<Wire> {
        loop {
            let mut wire = self.lock().take(node)?;
            if wire.is_quiet().await {
                return Some(wire);
            }
        }
    }

    fn keep(&self, node: NodeAccess<'_>, wire: Wire) {
        let now = Instant::now();
        let mut kept = self.lock();
        kept.sweep(now);
        kept.keep(node, wire, now);
    }
}

impl Kept {
    fn take(&mut self, node: NodeAccess<'_>) -> Option<Wire> {
        let idle = self.nodes.get_mut(node.addr)?;
        if idle.password != node.password.bytes() {
            self.nodes.remove(node.addr);
            return None;
        }
        idle.wires.pop().map(|(wire, _)| wire)
    }

    fn keep(&mut self, node: NodeAccess<'_>, wire: Wire, now: Instant) {
        let fresh = || Idle { password: node.password.bytes().to_vec(), wires: Vec::new() };
        let idle = self.nodes.entry(node.addr.to_owned()).or_insert_with(fresh);
        if idle.password == node.password.bytes() && idle.wires.len() < KEPT_MAX {
            idle.wires.push((wire, now));
        }
    }

    /// Closes what nobody used for long; nodes that left the state go this way too.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now < swept + IDLE_MAX / 2) {
            return;
        }
        self.swept = Some(now);
        self.nodes.retain(|_, idle| {
            idle.wires.retain(|(_, used)| now < *used + IDLE_MAX);
            !idle.wires.is_empty()
        });
    }
}
