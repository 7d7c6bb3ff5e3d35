//! What the scenario tests share: a state to talk to, and short words for what is asked.
//!
//! Proxies are `p1:1`, `p2:1`, … on hosts `h1`, `h2`, … unless a scenario says otherwise; numbers
//! of scenarios are those of spec 10.2.

use super::{
    Action, Command, Profile, Rejection, Reply, State,
    document::{ChunkStore, MigrationMeta, RolePosition},
    query,
    settings::Seed,
    slots::RangeList,
};
use crate::domain::Context;

/// Milliseconds at which every play begins.
pub(super) const START_MS: u64 = 1_760_000_000_000;

/// A state, and the time at which it is asked.
#[derive(Clone)]
pub(super) struct Play {
    pub(super) state: State,
    pub(super) profile: Profile,
    pub(super) now_ms: u64,
}

impl Play {
    pub(super) fn new() -> Self {
        Self::seeded(&Seed::default())
    }

    pub(super) fn seeded(seed: &Seed) -> Self {
        Self { state: State::new(seed), profile: Profile::Program, now_ms: START_MS }
    }

    /// As [`Play::new`], with every migration shown at once.
    pub(super) fn unlimited() -> Self {
        let mut seed = Seed::default();
        seed.settings.migration_limit = 0;
        Self::seeded(&seed)
    }

    pub(super) fn ordered() -> Self {
        Self::seeded(&Seed { enable_ordered_proxy: true, ..Seed::default() })
    }

    /// Registers `p1` to `pN`, one a host.
    pub(super) fn with_proxies(mut self, proxies: u64) -> Self {
        for number in 1..=proxies {
            self.take(register(&format!("p{number}:1"), &format!("h{number}")));
        }
        self
    }

    /// Creates cluster `c`.
    pub(super) fn with_cluster(mut self, node_number: u64) -> Self {
        self.take(create("c", node_number));
        self
    }

    pub(super) fn ask(&mut self, action: Action) -> Result<Reply, Rejection> {
        let context = Context { index: 1, term: 1, time_ms: self.now_ms, actor: "" };
        self.state.apply(&context, Command { profile: self.profile, action })
    }

    /// Asks what must not be refused.
    #[track_caller]
    pub(super) fn take(&mut self, action: Action) -> Reply {
        let asked = format!("{action:?}");
        self.ask(action).unwrap_or_else(|rejection| panic!("{asked}: {rejection}"))
    }

    /// Asks, and compares the outcome and how far the global epoch rose.
    #[track_caller]
    pub(super) fn step(&mut self, action: Action, expected: Result<(), Rejection>, rise: u64) {
        let before = self.state.global_epoch;
        let asked = format!("{action:?}");
        assert_eq!(self.ask(action).map(drop), expected, "{asked}");
        assert_eq!(self.state.global_epoch - before, rise, "epochs of {asked}");
    }

    /// Global epoch, and epoch of cluster `c`.
    pub(super) fn epochs(&self) -> (u64, u64) {
        (self.state.global_epoch, self.state.clusters["c"].epoch)
    }

    pub(super) fn chunks(&self) -> Vec<ChunkStore> {
        self.state.clusters["c"].chunks.iter().map(|chunk| chunk.as_ref().clone()).collect()
    }

    pub(super) fn role(&self, chunk: usize) -> RolePosition {
        self.chunks()[chunk].role_position
    }

    /// Proxies of `c` in node order.
    pub(super) fn members(&self) -> Vec<String> {
        self.state.clusters["c"].proxy_addresses()
    }

    /// Outgoing migrations of `c` in stored order.
    pub(super) fn tasks(&self) -> Vec<(MigrationMeta, RangeList)> {
        let chunks = self.chunks();
        let entries = chunks.iter().flat_map(|chunk| chunk.migrating_slots.iter().flatten());
        entries
            .filter(|entry| entry.is_migrating)
            .map(|entry| (entry.meta, entry.range_list.clone()))
            .collect()
    }

    /// Commits the migrations of `c` one by one, as stored.
    pub(super) fn commit_all(&mut self) {
        while let Some((meta, ranges)) = self.tasks().first().cloned() {
            self.step(commit(&ranges, meta.epoch), Ok(()), 1);
        }
    }

    /// Ranges at rest of all parts of `c`.
    pub(super) fn stable(&self) -> Vec<Option<RangeList>> {
        self.chunks().into_iter().flat_map(|chunk| chunk.stable_slots).collect()
    }

    /// Nodes of `c`, nodes with slots, and whether slots are moving.
    pub(super) fn info(&self) -> (u64, u64, bool) {
        let info = query::cluster_info(&self.state, "c").expect("the cluster exists");
        (info.node_number, info.node_number_with_slots, info.is_migrating)
    }

    pub(super) fn failures(&self) -> Vec<String> {
        query::failures(&self.state, self.now_ms)
    }

    pub(super) fn free(&self) -> Vec<String> {
        let mut free: Vec<String> = self.state.free.values().flatten().cloned().collect();
        free.sort();
        free
    }
}

pub(super) fn register(address: &str, host: &str) -> Action {
    register_at(address, host, None)
}

pub(super) fn register_at(address: &str, host: &str, index: Option<u64>) -> Action {
    Action::RegisterProxy {
        address: address.to_owned(),
        nodes: [format!("{address}-0"), format!("{address}-1")],
        host: Some(host.to_owned()),
        index,
    }
}

pub(super) fn remove(address: &str) -> Action {
    Action::RemoveProxy { address: address.to_owned() }
}

pub(super) fn create(name: &str, node_number: u64) -> Action {
    Action::CreateCluster { name: name.to_owned(), node_number }
}

pub(super) fn delete() -> Action {
    Action::DeleteCluster { name: "c".to_owned() }
}

pub(super) fn add(node_number: u64) -> Action {
    Action::AddNodes { name: "c".to_owned(), node_number }
}

pub(super) fn add_up_to(node_number: u64) -> Action {
    Action::AddNodesUpTo { name: "c".to_owned(), node_number }
}

pub(super) fn delete_free() -> Action {
    Action::DeleteFreeNodes { name: "c".to_owned() }
}

pub(super) fn expand() -> Action {
    Action::Expand { name: "c".to_owned() }
}

pub(super) fn shrink(node_number: u64) -> Action {
    Action::Shrink { name: "c".to_owned(), node_number }
}

pub(super) fn auto(node_number: u64) -> Action {
    Action::AutoScale { name: "c".to_owned(), node_number, run: [1; 16], lease_ms: 10_000 }
}

pub(super) fn auto_expand(node_number: u64) -> Action {
    Action::AutoExpand { name: "c".to_owned(), node_number, run: [1; 16] }
}

pub(super) fn commit(ranges: &[(u64, u64)], epoch: u64) -> Action {
    Action::CommitMigration {
        cluster_name: "c".to_owned(),
        range_list: ranges.to_vec(),
        epoch: Some(epoch),
    }
}

pub(super) fn config(pairs: &[(&str, &str)]) -> Action {
    let pairs = pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned()));
    Action::ChangeConfig { name: "c".to_owned(), pairs: pairs.collect() }
}

pub(super) fn balance() -> Action {
    Action::BalanceMasters { name: "c".to_owned() }
}

pub(super) fn report(address: &str, reporter: &str) -> Action {
    Action::ReportFailure { address: address.to_owned(), reporter: reporter.to_owned() }
}

pub(super) fn fail_over(address: &str) -> Action {
    Action::Failover { address: address.to_owned() }
}
