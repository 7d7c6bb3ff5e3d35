//! Where secrets are, and how sealed ones take the place of others.
//!
//! Nobody can open a secret here, so a change names what it replaces: the very bytes of a sealed
//! password; and of a readable one, which must not be written down once more, the log index up to
//! which nobody had stored another. A password that was changed meanwhile is never lost.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, Rejection, Reply, Secret, State, command::ClusterKey, model::Node};

/// A password to be sealed, or to be sealed with another key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resealed {
    /// Which node's.
    pub node_id: String,
    /// What must still be stored; `None` stands for a readable password.
    pub old: Option<Secret>,
    /// The same password, sealed.
    pub new: Secret,
}

/// How many secrets there are, and what opens them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Secrets {
    /// Those that whoever reads the disk can read.
    pub readable: u64,
    /// Sealed ones, by the name of their key; an empty name stands for formats that are not known.
    pub sealed: BTreeMap<String, u64>,
}

impl Secrets {
    /// Counts one more; no password is no secret.
    pub fn add(&mut self, secret: &Secret) {
        if let Some(sealed) = secret.sealed() {
            let key_id = sealed.key_id().unwrap_or_default();
            *self.sealed.entry(key_id.to_owned()).or_default() += 1;
        } else if secret.is_bare() {
            self.readable += 1;
        }
    }
}

impl fmt::Display for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} readable", self.readable)?;
        for (key_id, count) in &self.sealed {
            let key_id = if key_id.is_empty() { "a later program" } else { key_id };
            write!(f, ", {count} sealed with {key_id}")?;
        }
        Ok(())
    }
}

/// The passwords of a command, borrowed as the command is, so that there is one list of them.
macro_rules! passwords {
    ($command:expr, $iter:ident, $($borrow:tt)+) => {
        match $command {
            Command::CreateCluster { password, .. }
            | Command::ImportCluster { password, .. }
            | Command::AddShard { password, .. }
            | Command::AddNode { password, .. }
            | Command::ChangePassword { password, .. } => vec![password],
            Command::LoadCluster { record, .. } => {
                let nodes = record.shards.$iter().flat_map(|shard| shard.nodes.$iter());
                nodes.map(|node| $($borrow)+ node.password).collect()
            }
            // What takes the place of others is sealed by whoever proposes it.
            Command::ResealPasswords { .. } => Vec::new(),
            Command::CreateNamespace { .. }
            | Command::DeleteNamespace { .. }
            | Command::DeleteCluster { .. }
            | Command::RemoveShard { .. }
            | Command::RemoveNode { .. }
            | Command::FailOver(_)
            | Command::MoveSlots { .. }
            | Command::StartMigration { .. }
            | Command::QueueMigrations { .. }
            | Command::MigrationAccepted { .. }
            | Command::EndMigration { .. }
            | Command::CancelMigration { .. }
            | Command::RetryMigration { .. }
            | Command::AdoptTopology { .. }
            | Command::RequestSync { .. }
            | Command::FinishSync { .. }
            | Command::ReportHealth { .. }
            | Command::ForgetObserver { .. }
            | Command::ChangeSettings(_) => Vec::new(),
        }
    };
}

impl Command {
    /// Every password the command brings, to be sealed before it is proposed.
    pub fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        passwords!(self, iter_mut, &mut)
    }

    /// Every password the command brings.
    fn secrets(&self) -> Vec<&Secret> {
        passwords!(self, iter, &)
    }

    /// Whether it brings a readable password.
    #[must_use]
    pub fn brings_bare(&self) -> bool {
        self.secrets().iter().any(|secret| secret.is_bare())
    }

    /// Whether programs that know no sealed secrets could not read it.
    #[must_use]
    pub fn needs_sealing(&self) -> bool {
        matches!(self, Self::ResealPasswords { .. })
            || self.secrets().iter().any(|secret| secret.sealed().is_some())
    }
}

impl State {
    /// Notes that a readable password may have been stored at a log index. From feature level 3 on.
    pub fn note_bare(&mut self, index: u64) {
        self.bare_index = index;
    }

    pub(super) fn reseal(
        &mut self,
        key: &ClusterKey,
        base_index: u64,
        changes: Vec<Resealed>,
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(key)?.as_ref().clone();
        let mut by_node: BTreeMap<&str, &Resealed> = BTreeMap::new();
        by_node.extend(changes.iter().map(|change| (change.node_id.as_str(), change)));
        let is_bare_known = self.bare_index <= base_index;
        let is_due = |node: &Node, change: &Resealed| {
            let is_old = match &change.old {
                Some(old) => node.password == *old && old.sealed().is_some(),
                None => node.password.is_bare() && is_bare_known,
            };
            is_old && change.new.sealed().is_some()
        };
        let mut changed = 0;
        for node in cluster.shards.iter_mut().flat_map(|shard| &mut shard.nodes) {
            let change = by_node.get(node.id.as_str()).filter(|change| is_due(node, change));
            if let Some(change) = change {
                node.password = change.new.clone();
                changed += 1;
            }
        }
        if changed > 0 {
            self.put(key, cluster);
        }
        Ok(Reply::Resealed { changed })
    }
}

/// What secrets the state has.
#[must_use]
pub fn count(state: &State) -> Secrets {
    let mut secrets = Secrets::default();
    let clusters = state.namespaces.values().flat_map(|clusters| clusters.values());
    for (_, node) in clusters.flat_map(|cluster| cluster.nodes()) {
        secrets.add(&node.password);
    }
    secrets
}

#[cfg(test)]
#[path = "reseal_test.rs"]
mod tests;
