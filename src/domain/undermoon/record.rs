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

/// A record contradicts those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot has the same undermoon record twice")]
pub struct Repeated;

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

    /// Adds a record of [`State::records`] to a state that began empty.
    ///
    /// # Errors
    /// [`Repeated`] if the record was added before.
    pub fn restore_record(&mut self, Record(content): Record) -> Result<(), Repeated> {
        let is_new = match content {
            Content::Head { global_epoch, is_ordered, settings, scale_lease } => {
                self.global_epoch = global_epoch;
                self.is_ordered = is_ordered;
                self.settings = settings;
                self.scale_lease = scale_lease;
                true
            }
            Content::Proxy(proxy) => {
                self.proxies.insert(proxy.proxy_address.clone(), Arc::new(proxy)).is_none()
            }
            Content::Cluster(stored) => {
                let cluster = Arc::new(Cluster::from(&stored));
                self.clusters.insert(stored.name, cluster).is_none()
            }
            Content::Failed(address) => self.failed.insert(address).is_none(),
            Content::Failures(address, reports) => {
                self.failures.insert(address, Arc::new(reports)).is_none()
            }
        };
        if is_new { Ok(()) } else { Err(Repeated) }
    }

    /// Completes a state after its last record.
    pub fn finish_records(&mut self) {
        self.rebuild_indexes();
    }
}
