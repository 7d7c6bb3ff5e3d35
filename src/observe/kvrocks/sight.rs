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
    /// The node was not asked: this replica cannot open its password. Says nothing of the node.
    Sealed(String),
    /// The node did not answer.
    Silent(String),
}

/// What `CLUSTER NODES` of a node was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Version of the record it was compared with; the node said the same.
    pub version: u64,
    /// [`Sight::round`] when it was compared.
    pub round: u64,
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
    /// What the leader last failed to do about it; on the leader only.
    pub trouble: Option<String>,
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

    /// What it says of its replication, if it answered.
    #[must_use]
    pub const fn said(&self) -> Option<&Replication> {
        match &self.probed {
            Probed::Answered { replication, .. } => replication.as_ref(),
            _ => None,
        }
    }

    /// Its version: -1 without a topology, `None` if it did not say.
    #[must_use]
    pub fn epoch(&self) -> Option<i64> {
        match &self.probed {
            Probed::Answered { info, .. } => Some(info.epoch),
            Probed::Uninitialised => Some(-1),
            Probed::Loading | Probed::Refused(_) | Probed::Sealed(_) | Probed::Silent(_) => None,
        }
    }

    /// Whether the last probe was not answered.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        matches!(self.probed, Probed::Silent(_))
    }

    /// Whether the last probe told anything of the node. A replica that cannot look is blind, as one
    /// whose network is broken.
    #[must_use]
    pub const fn is_unseen(&self) -> bool {
        matches!(self.probed, Probed::Silent(_) | Probed::Sealed(_))
    }

    /// What went wrong last; empty if nothing did.
    #[must_use]
    pub fn error(&self) -> &str {
        match &self.probed {
            Probed::Refused(error) | Probed::Sealed(error) | Probed::Silent(error) => error,
            Probed::Loading => "the node restores a copy",
            Probed::Answered { .. } | Probed::Uninitialised => "",
        }
    }
}

/// When a probe was made, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Part of a cycle over all nodes; else somebody wanted to know in between.
    pub is_cycle: bool,
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

    /// Notes how a probe of a node went. Only those of a cycle count as failures, so that a node
    /// which is asked more often is not found dead sooner.
    pub fn note(&self, node_id: &str, addr: &str, probed: Probed, moment: Moment) {
        let probed = match probed {
            Probed::Refused(error) => Probed::Refused(shortened(error)),
            Probed::Sealed(error) => Probed::Sealed(shortened(error)),
            Probed::Silent(error) => Probed::Silent(shortened(error)),
            probed => probed,
        };
        let mut nodes = self.lock();
        // Another address is another process.
        let old = nodes.remove(node_id).filter(|old| old.addr == addr);
        let failures_before = old.as_ref().map_or(0, |old| old.failures);
        let failures = match &probed {
            Probed::Silent(_) if moment.is_cycle => failures_before + 1,
            Probed::Silent(_) => failures_before,
            Probed::Loading | Probed::Sealed(_) => failures_before,
            Probed::Answered { .. } | Probed::Uninitialised | Probed::Refused(_) => 0,
        };
        let told = match &probed {
            Probed::Answered { replication, .. } => replication.clone(),
            _ => None,
        };
        let sight = Sight {
            addr: addr.to_owned(),
            failures,
            round: old.as_ref().map_or(0, |old| old.round) + u64::from(moment.is_cycle),
            time_ms: moment.time_ms,
            replication: told.or_else(|| old.as_ref().and_then(|old| old.replication.clone())),
            trouble: old.as_ref().and_then(|old| old.trouble.clone()),
            compared: old.and_then(|old| old.compared),
            probed,
        };
        nodes.insert(node_id.to_owned(), sight);
    }

    /// Notes what the whole view of a node was found to be; `None` if it has to be asked again.
    pub fn note_compared(&self, node_id: &str, compared: Option<Compared>) {
        if let Some(sight) = self.lock().get_mut(node_id) {
            sight.compared = compared;
        }
    }

    /// Notes what could not be done about a node, or that there is nothing any more.
    pub fn note_trouble(&self, node_id: &str, trouble: Option<String>) {
        if let Some(sight) = self.lock().get_mut(node_id) {
            sight.trouble = trouble.map(shortened);
        }
    }

    /// Whether a node was never seen at this address.
    #[must_use]
    pub fn is_stranger(&self, node_id: &str, addr: &str) -> bool {
        self.lock().get(node_id).is_none_or(|sight| sight.addr != addr)
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

    /// Goes over all sights as they are now.
    pub fn for_each(&self, mut visit: impl FnMut(&str, &Sight)) {
        self.lock().iter().for_each(|(id, sight)| visit(id, sight));
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

    const CYCLE: Moment = Moment { time_ms: 5, is_cycle: true };

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
            (Probed::Sealed("no key".to_owned()), 2),
            (silent(), 3),
            (Probed::Refused("NOAUTH".to_owned()), 0),
            (silent(), 1),
            (Probed::Uninitialised, 0),
        ] {
            sights.note("n", "a:1", probed.clone(), CYCLE);
            assert_eq!(seen(&sights).0, expected, "{probed:?}");
        }
        assert_eq!(seen(&sights).1, 8);
        sights.note("n", "a:1", silent(), CYCLE);
        sights.note("n", "a:1", silent(), Moment { is_cycle: false, ..CYCLE });
        assert_eq!(seen(&sights), (1, 9), "what is asked in between does not count");
        sights.note("n", "a:2", silent(), CYCLE);
        assert_eq!(seen(&sights), (1, 1), "another address is another process");
    }

    #[test]
    fn the_last_replication_outlives_the_node() {
        let sights = Sights::default();
        let replication = Replication::parse("role:master\r\nmaster_repl_offset:4\r\n");
        let info = ClusterInfo::default();
        sights.note("n", "a:1", Probed::Answered { info, replication: replication.clone() }, CYCLE);
        sights.note("n", "a:1", Probed::Silent("é".repeat(1000)), CYCLE);
        let sight = &sights.of(["n", "m"].into_iter())["n"];
        assert_eq!(sight.replication, replication);
        assert_eq!(sight.error().len(), ERROR_BYTES_MAX);
        sights.retain(&BTreeSet::new());
        assert!(sights.of(["n"].into_iter()).is_empty());
    }
}
