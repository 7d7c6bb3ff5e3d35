//! The family's part of a snapshot: records that follow from the state alone, in a fixed order.

use std::sync::Arc;

use imbl::Vector;
use serde::{Deserialize, Serialize};

use super::{
    LostOps, State,
    model::{Cluster, Host},
    settings::Settings,
    template::Template,
};

/// One record of a snapshot. Variants are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record(Content);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Content {
    Head { installation: Option<[u8; 16]>, last_seq: u64, settings: Box<Settings> },
    Template(Arc<Template>),
    Host(Arc<Host>),
    Cluster(Arc<Cluster>),
    Released(Arc<Cluster>),
    Departed(Arc<Host>),
    Lost(LostOps),
}

/// A record contradicts those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot has the same record of the pool twice")]
pub struct Repeated;

impl State {
    /// The state as records, the same for equal states.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let head = Content::Head {
            installation: self.installation,
            last_seq: self.last_seq,
            settings: Box::new(self.settings.clone()),
        };
        let templates = self.templates.iter().cloned().map(Content::Template);
        let hosts = self.hosts.values().cloned().map(Content::Host);
        let clusters = self.clusters.values().cloned().map(Content::Cluster);
        let released = self.released.iter().cloned().map(Content::Released);
        let departed = self.departed.iter().cloned().map(Content::Departed);
        let contents = std::iter::once(head).chain(templates).chain(hosts).chain(clusters);
        let lost = self.lost.iter().copied().map(Content::Lost);
        contents.chain(released).chain(departed).chain(lost).map(Record)
    }

    /// Adds a record of [`State::records`] to a state that began as the default one.
    ///
    /// # Errors
    /// [`Repeated`] if the record was added before.
    pub fn restore_record(&mut self, Record(content): Record) -> Result<(), Repeated> {
        match content {
            Content::Head { installation, last_seq, settings } => {
                self.installation = installation;
                self.last_seq = last_seq;
                self.settings = *settings;
                // The records bring those there were.
                self.templates = Vector::new();
            }
            Content::Template(template) if self.template(&template.kind).is_some() => {
                return Err(Repeated);
            }
            Content::Template(template) => self.templates.push_back(template),
            Content::Host(host) if self.hosts.contains_key(&host.seq) => return Err(Repeated),
            Content::Host(host) => self.put_host(Host::clone(&host)),
            Content::Cluster(cluster) if self.clusters.contains_key(&cluster.seq) => {
                return Err(Repeated);
            }
            Content::Cluster(cluster) => self.put_cluster(Cluster::clone(&cluster)),
            Content::Released(cluster) => self.released.push_back(cluster),
            Content::Departed(host) => self.departed.push_back(host),
            Content::Lost(lost) => self.lost.push_back(lost),
        }
        Ok(())
    }
}
