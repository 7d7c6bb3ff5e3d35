//! Kvrocks nodes: a few commands, their texts.
//!
//! This file has what callers see; [`super::node_pool`] is the real thing and `fake` stands in
//! for it in unit tests. Every call is bounded in time and size, and nothing is sent twice.
//! Passwords go to the node and nowhere else.

use std::{fmt, io, time::Duration};

use futures::future::BoxFuture;

use crate::seal::{OpenError, Sealed};

/// Where a node is and how it lets one in.
#[derive(Clone, Copy)]
pub struct NodeAccess<'a> {
    /// `host:port`.
    pub addr: &'a str,
    /// Its `requirepass`.
    pub password: Password<'a>,
}

/// A password as it is at hand. Opened by whoever speaks to the node, and by nobody before.
#[derive(Clone, Copy)]
pub enum Password<'a> {
    /// As it is; empty if the node has none.
    Readable(&'a str),
    /// To be opened with a key of this replica.
    Sealed(&'a Sealed),
}

impl Password<'_> {
    /// What tells it from other ones; never sent to anybody.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Readable(text) => text.as_bytes(),
            Self::Sealed(sealed) => sealed.bytes(),
        }
    }
}

impl fmt::Debug for NodeAccess<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeAccess").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// Asks nodes.
pub trait NodeCall: Send + Sync {
    /// Sends several commands over one connection, each once the one before is answered, and reads
    /// their texts. The first error ends it: what follows is not sent.
    ///
    /// `time` bounds everything together, connecting included. After an error that is no
    /// [answer](NodeError::is_answer) nobody knows whether the last command was carried out.
    fn exchange<'a>(
        &'a self,
        node: NodeAccess<'a>,
        commands: &'a [&'a [&'a str]],
        time: Duration,
    ) -> BoxFuture<'a, Result<Vec<String>, NodeError>>;

    /// Sends one command and reads the text it is answered with.
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
}

/// Why a node's answer is not known.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Nothing answers at the address, the name does not resolve, or TLS came to nothing.
    #[error("{addr} cannot be reached: {source}")]
    Connect {
        /// The node.
        addr: String,
        /// What the system said.
        source: io::Error,
    },
    /// The password of the node is sealed, and this replica cannot open it. Nothing was sent.
    #[error("the password of {addr} cannot be opened: {source}")]
    Sealed {
        /// The node.
        addr: String,
        /// Why.
        source: OpenError,
    },
    /// The connection broke.
    #[error("{addr} closed the connection: {source}")]
    Broken {
        /// The node.
        addr: String,
        /// What the system said.
        source: io::Error,
    },
    /// It took longer than allowed.
    #[error("{addr} did not answer in time")]
    Timeout {
        /// The node.
        addr: String,
    },
    /// The node answered an error; its own text.
    #[error("{text}")]
    Refused {
        /// The node.
        addr: String,
        /// Without the leading minus.
        text: String,
    },
    /// The answer is no text, or longer than any answer should be.
    #[error("{addr} answered something that is no text")]
    Protocol {
        /// The node.
        addr: String,
    },
}

impl NodeError {
    /// Whether the node itself spoke.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Protocol { .. })
    }
}

#[cfg(test)]
#[path = "node_fake.rs"]
pub(crate) mod fake;
