//! The family's part of a snapshot: records that follow from the state alone, in a fixed order.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    State,
    document::{ClusterStore, ProxyResource},
    settings::Settings,
    state::{Cluster, Reports, ScaleLease},
};

/// One record of a snapshot. Variants are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record(Content);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Content {
    Head {
        global_epoch: u64,
        is_ordered: bool,
        settings: Settings,
        scale_lease: Option<ScaleLease>,
    },
    Proxy(ProxyResource),
    Cluster(ClusterStore),
    Failed(String),
    Failures(String, Reports),
}

/// Records that do not make a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// A record contradicts one before it.
    #[error("the snapshot has the same undermoon record twice")]
    Repeated,
    /// Epoch, mode and settings are not among them.
    #[error("the snapshot has no head record of the undermoon family")]
    NoHead,
}

/// Builds a state from the records of [`State::records`].
#[derive(Debug, Default)]
pub struct Loader {
    state: State,
    has_head: bool,
}

impl State {
    /// The state as records, the same for equal states.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let head = Content::Head {
            global_epoch: self.global_epoch,
            is_ordered: self.is_ordered,
            settings: self.settings.clone(),
            scale_lease: self.scale_lease,
        };
        let proxies = self.proxies.values().map(|proxy| Content::Proxy(proxy.as_ref().clone()));
        let clusters =
            self.clusters.values().map(|cluster| Content::Cluster(cluster.as_ref().into()));
        let failed = self.failed.iter().map(|address| Content::Failed(address.clone()));
        let failures = self
            .failures
            .iter()
            .map(|(address, reports)| Content::Failures(address.clone(), reports.as_ref().clone()));
        std::iter::once(head)
            .chain(proxies)
            .chain(clusters)
            .chain(failed)
            .chain(failures)
            .map(Record)
    }
}

impl Loader {
    /// Adds one record.
    ///
    /// # Errors
    /// [`RecordFault::Repeated`] if it was added before.
    pub fn add(&mut self, Record(content): Record) -> Result<(), RecordFault> {
        let state = &mut self.state;
        let is_new = match content {
            Content::Head { global_epoch, is_ordered, settings, scale_lease } => {
                state.global_epoch = global_epoch;
                state.is_ordered = is_ordered;
                state.settings = settings;
                state.scale_lease = scale_lease;
                !std::mem::replace(&mut self.has_head, true)
            }
            Content::Proxy(proxy) => {
                state.proxies.insert(proxy.proxy_address.clone(), Arc::new(proxy)).is_none()
            }
            Content::Cluster(stored) => {
                let cluster = Arc::new(Cluster::from(&stored));
                state.clusters.insert(stored.name, cluster).is_none()
            }
            Content::Failed(address) => state.failed.insert(address).is_none(),
            Content::Failures(address, reports) => {
                state.failures.insert(address, Arc::new(reports)).is_none()
            }
        };
        if is_new { Ok(()) } else { Err(RecordFault::Repeated) }
    }

    /// The state, after the last record.
    ///
    /// # Errors
    /// [`RecordFault::NoHead`] if the records were those of something else.
    pub fn finish(mut self) -> Result<State, RecordFault> {
        if !self.has_head {
            return Err(RecordFault::NoHead);
        }
        self.state.rebuild_indexes();
        Ok(self.state)
    }
}
