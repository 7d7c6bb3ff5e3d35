//! The family's part of a snapshot: records that follow from the state alone, in a fixed order.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    State,
    command::ClusterKey,
    model::{Cluster, Observer},
    settings::Settings,
    state::Namespace,
};

/// One record of a snapshot. Variants are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record(Content);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Content {
    Head { settings: Settings },
    Namespace(String),
    Cluster(String, Box<Cluster>),
    Observer(u64, Observer),
    Bare(u64),
}

/// A record contradicts those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot has the same kvrocks record twice")]
pub struct Repeated;

impl State {
    /// The state as records, the same for equal states.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let head = Content::Head { settings: self.settings.clone() };
        let namespaces = self.namespaces.iter().flat_map(|(namespace, clusters)| {
            let clusters = clusters.values().map(move |cluster| {
                Content::Cluster(namespace.clone(), Box::new(cluster.as_ref().clone()))
            });
            std::iter::once(Content::Namespace(namespace.clone())).chain(clusters)
        });
        let observers = self.observers.iter();
        let observers =
            observers.map(|(id, observer)| Content::Observer(*id, observer.as_ref().clone()));
        let bare = (self.bare_index > 0).then_some(Content::Bare(self.bare_index));
        std::iter::once(head).chain(namespaces).chain(observers).chain(bare).map(Record)
    }

    /// Adds a record of [`State::records`] to a state that began empty.
    ///
    /// # Errors
    /// [`Repeated`] if the record was added before.
    pub fn restore_record(&mut self, Record(content): Record) -> Result<(), Repeated> {
        let is_new = match content {
            Content::Head { settings } => {
                self.settings = settings;
                true
            }
            Content::Namespace(namespace) => {
                self.namespaces.insert(namespace, Namespace::default()).is_none()
            }
            Content::Cluster(namespace, cluster) => {
                let key = ClusterKey { namespace, name: cluster.name.clone() };
                let is_new = self.find(&key).is_err();
                self.put(&key, *cluster);
                is_new
            }
            Content::Observer(id, observer) => {
                self.observers.insert(id, Arc::new(observer)).is_none()
            }
            Content::Bare(index) => std::mem::replace(&mut self.bare_index, index) == 0,
        };
        if is_new { Ok(()) } else { Err(Repeated) }
    }
}
