//! What a command answers when it is not refused.

use serde::{Deserialize, Serialize};

use super::view::{NodeView, ProxyView};

/// The answer to a command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Carried out; nothing to tell.
    Done,
    /// Routes 9 and 10: the nodes that were added, in cluster order.
    NodesAdded(Vec<NodeView>),
    /// Route 23: the replacement's meta, or nothing if no replacement was needed.
    FailedOver(Option<Box<ProxyView>>),
    /// Route 15: serving proxies of the cluster after the commit, in node order without repeats
    /// (the `document` profile shows them).
    Committed {
        /// Proxy addresses.
        addresses: Vec<String>,
    },
    /// Route 14, first step: nodes were added; wait until these proxies know `epoch`.
    ScaleStarted {
        /// Proxies to ask.
        proxies: Vec<String>,
        /// Epoch they must have reached.
        epoch: u64,
    },
}
