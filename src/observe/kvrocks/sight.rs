//! What this replica saw of each node when it last probed it. In memory only; every replica has its
//! own, and begins anew when it starts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::info::{ClusterInfo, Replication};

/// Longest error text kept, bytes.
const ERROR_BYTES_MAX: usize = 256;

/// How a probe went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// The node answered in full.
    Answered {
        /// `CLUSTER INFO`.
        info: ClusterInfo,
        /// `INFO replication`, if it was asked.
        replication: Option<Replication>,
    },
    /// The node has no topology.
    Uninitialised,
    /// The node restores a copy; neither alive nor dead.
    Loading,
    /// The node answered, but lets us not in or makes no sense: somebody must look.
    Refused(String),
    /// The node did not answer.
    Silent(String),
}

/// What `CLUSTER NODES` of a node was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Version of the record it was compared with; the node said the same.
    pub version: u64,
    /// What is wrong with it.
    pub fault: Option<String>,
}

/// A node as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// `host:port` it was probed at.
    pub addr: String,
    /// How the last probe went.
    pub probed: Probed,
    /// Probes in a row that were not answered.
    pub failures: u64,
    /// Number of the probe; grows.
    pub round: u64,
    /// Milliseconds since the Unix epoch of the last probe.
    pub time_ms: u64,
    /// The last replication it told of, also if it does not answer any more.
    pub replication: Option<Replication>,
    /// The last comparison of its whole view.
    pub compared: Option<Compared>,
}

impl Sight {
    /// What it said, if it answered in full.
    #[must_use]
    pub const fn info(&self) -> Option<&ClusterInfo> {
        match &self.probed {
            Probed::Answered { info, .. } => Some(info),
            _ => None,
        }
    }

    /// Its version: -1 without a topology, `None` if it did not say.
    #[must_use]
    pub fn epoch(&self) -> Option<i64> {
        match &self.probed {
            Probed::Answered { info, .. } => Some(info.epoch),
            Probed::Uninitialised => Some(-1),
            Probed::Loading | Probed::Refused(_) | Probed::Silent(_) => None,
        }
    }

    /// Whether the last probe was not answered.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        matches!(self.probed, Probed::Silent(_))
    }

    /// What went wrong last; empty if nothing did.
    #[must_use]
    pub fn error(&self) -> &str {
        match &self.probed {
            Probed::Refused(error) | Probed::Silent(error) => error,
            Probed::Loading => "the node restores a copy",
            Probed::Answered { .. } | Probed::Uninitialised => "",
        }
    }
}

/// Nodes as they were last seen, by id.
pub type SightMap = BTreeMap<String, Sight>;

/// The sights of this replica, shared by those who probe and those who act.
#[derive(Debug, Default)]
pub struct Sights {
    nodes: Mutex<SightMap>,
}

impl Sights {
    fn lock(&self) -> MutexGuard<'_, SightMap> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a probe of a node went.
    pub fn note(&self, node_id: &str, addr: &str, probed: Probed, time_ms: u64) {
        let probed = match probed {
            Probed::Refused(error) => Probed::Refused(shortened(error)),
            Probed::Silent(error) => Probed::Silent(shortened(error)),
            probed => probed,
        };
        let mut nodes = self.lock();
        // Another address is another process.
        let old = nodes.remove(node_id).filter(|old| old.addr == addr);
        let failures_before = old.as_ref().map_or(0, |old| old.failures);
        let failures = match &probed {
            Probed::Silent(_) => failures_before + 1,
            Probed::Loading => failures_before,
            Probed::Answered { .. } | Probed::Uninitialised | Probed::Refused(_) => 0,
        };
        let told = match &probed {
            Probed::Answered { replication, .. } => replication.clone(),
            _ => None,
        };
        let sight = Sight {
            addr: addr.to_owned(),
            failures,
            round: old.as_ref().map_or(0, |old| old.round) + 1,
            time_ms,
            replication: told.or_else(|| old.as_ref().and_then(|old| old.replication.clone())),
            compared: old.and_then(|old| old.compared),
            probed,
        };
        nodes.insert(node_id.to_owned(), sight);
    }

    /// Notes what the whole view of a node was found to be.
    pub fn note_compared(&self, node_id: &str, compared: Compared) {
        if let Some(sight) = self.lock().get_mut(node_id) {
            sight.compared = Some(compared);
        }
    }

    /// Sights of some nodes, as they are now.
    #[must_use]
    pub fn of<'a>(&self, ids: impl Iterator<Item = &'a str>) -> SightMap {
        let nodes = self.lock();
        ids.filter_map(|id| nodes.get(id).map(|sight| (id.to_owned(), sight.clone()))).collect()
    }

    /// Forgets nodes that are no more.
    pub fn retain(&self, ids: &BTreeSet<&str>) {
        self.lock().retain(|id, _| ids.contains(id.as_str()));
    }
}

fn shortened(mut text: String) -> String {
    let mut end = text.len().min(ERROR_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(sights: &Sights) -> (u64, u64) {
        let sight = &sights.of(["n"].into_iter())["n"];
        (sight.failures, sight.round)
    }

    #[test]
    fn only_silence_counts_as_failure_and_loading_counts_as_nothing() {
        let sights = Sights::default();
        let silent = || Probed::Silent("gone".to_owned());
        for (probed, expected) in [
            (silent(), 1),
            (silent(), 2),
            (Probed::Loading, 2),
            (silent(), 3),
            (Probed::Refused("NOAUTH".to_owned()), 0),
            (silent(), 1),
            (Probed::Uninitialised, 0),
        ] {
            sights.note("n", "a:1", probed.clone(), 5);
            assert_eq!(seen(&sights).0, expected, "{probed:?}");
        }
        assert_eq!(seen(&sights).1, 7);
        sights.note("n", "a:2", silent(), 5);
        assert_eq!(seen(&sights), (1, 1), "another address is another process");
    }

    #[test]
    fn the_last_replication_outlives_the_node() {
        let sights = Sights::default();
        let replication = Replication::parse("role:master\r\nmaster_repl_offset:4\r\n");
        let info = ClusterInfo::default();
        sights.note("n", "a:1", Probed::Answered { info, replication: replication.clone() }, 1);
        sights.note("n", "a:1", Probed::Silent("é".repeat(1000)), 2);
        let sight = &sights.of(["n", "m"].into_iter())["n"];
        assert_eq!(sight.replication, replication);
        assert_eq!(sight.error().len(), ERROR_BYTES_MAX);
        sights.retain(&BTreeSet::new());
        assert!(sights.of(["n"].into_iter()).is_empty());
    }
}
