//! Secrets on their way into the log: sealed before they are proposed, and sealed anew when the
//! operator wants another key.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;

use super::{Broker, Call, ProposeError, ReadError, ReadMode, RequestId};
use crate::{
    clock,
    domain::{
        Command, Reply,
        kvrocks::{
            self, Rejection, Secret,
            command::ClusterKey,
            model::Cluster,
            query,
            reseal::{Resealed, Secrets, count},
        },
        system::FEATURE_LEVEL_SEALED,
    },
    seal::{KeyRing, OpenError, Purpose},
};

/// Most faults told of one round.
const FAULTS_MAX: usize = 8;

/// How the secrets of the cluster are kept, and what this replica can do with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SecretsReport {
    /// Whether the cluster is at the feature level that sealed secrets need.
    pub is_allowed: bool,
    /// Name of the key this replica seals with; none without a key file.
    pub sealing_key: Option<String>,
    /// All keys of this replica.
    pub keys: Vec<String>,
    /// Keys that secrets need and this replica does not have.
    pub missing: Vec<String>,
    /// How many secrets there are.
    #[serde(flatten)]
    pub secrets: Secrets,
}

impl SecretsReport {
    /// How many secrets this replica cannot open for want of their key.
    #[must_use]
    pub fn unopenable(&self) -> u64 {
        self.missing.iter().filter_map(|key_id| self.secrets.sealed.get(key_id)).sum()
    }

    /// What an operator must do; `None` if nothing.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if self.missing.is_empty() {
            return None;
        }
        Some(format!(
            "{} secrets cannot be opened here: put the keys {} into secrets_key_file, as the other \
             replicas have them, and restart this replica",
            self.unopenable(),
            self.missing.join(", ")
        ))
    }
}

/// What one round of sealing came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Round {
    /// Secrets that are sealed with the first key by now and were not before.
    pub resealed: u64,
    /// Secrets that are not.
    pub left: u64,
    /// Why some could not be; not all are told.
    pub faults: Vec<String>,
}

/// Why secrets are not sealed.
#[derive(Debug, thiserror::Error)]
pub enum ResealError {
    /// Nothing to seal with.
    #[error(
        "this replica has no secrets_key_file in its configuration; make one with `quorate secrets \
         generate-key`, give it to every replica, and restart them"
    )]
    NoKey,
    /// Older programs could not read what would be written.
    #[error(
        "the cluster is at feature level {present}, and sealed secrets need {FEATURE_LEVEL_SEALED}; \
         upgrade every replica and raise the level first"
    )]
    FeatureLevel {
        /// In use.
        present: u64,
    },
    /// The state could not be made current.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log did not take it, or may have; the next round goes on.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

impl Broker {
    /// The same, with keys to seal and to open secrets.
    #[must_use]
    pub fn with_keys(self, keys: KeyRing) -> Self {
        Self { keys, ..self }
    }

    /// The keys of this replica.
    #[must_use]
    pub const fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// How secrets are kept in the state as this replica has it.
    #[must_use]
    pub fn secrets(&self) -> SecretsReport {
        let view = self.latest();
        let secrets = count(&view.kvrocks);
        let missing = self.keys.missing(secrets.sealed.keys().map(String::as_str));
        SecretsReport {
            is_allowed: view.system.feature_level >= FEATURE_LEVEL_SEALED,
            sealing_key: self.keys.first().map(str::to_owned),
            keys: self.keys.ids().map(str::to_owned).collect(),
            missing: missing.into_iter().map(str::to_owned).collect(),
            secrets,
        }
    }

    /// In how many ways the secrets of a command can be sealed; 0 if it goes as it is, because there
    /// is nothing to seal or no way to.
    pub(super) fn sealings(&self, command: &mut Command) -> usize {
        let is_due = command.secrets_mut().iter().any(|secret| secret.is_bare());
        if !is_due || self.latest().system.feature_level < FEATURE_LEVEL_SEALED {
            return 0;
        }
        self.keys.len()
    }

    /// The command with its secrets sealed by one of the keys: by the first, or by another as it may
    /// have been proposed before under the same request id.
    pub(super) fn sealed(
        &self,
        number: usize,
        request_id: RequestId,
        command: &Command,
    ) -> Command {
        let mut sealed = command.clone();
        for secret in sealed.secrets_mut() {
            seal(&self.keys, number, request_id, secret);
        }
        sealed
    }

    /// Seals at most `limit` secrets that are readable, or sealed with another key than the first, and
    /// fewer if time runs out. One that somebody changes meanwhile stays as it was changed.
    ///
    /// # Errors
    /// [`ResealError`]; what was sealed before it stays sealed.
    pub async fn reseal(&self, call: &Call, limit: usize) -> Result<Round, ResealError> {
        let first = self.keys.first().ok_or(ResealError::NoKey)?;
        let view = self.view(ReadMode::Linearizable, call.deadline).await?;
        let present = view.system.feature_level;
        if present < FEATURE_LEVEL_SEALED {
            return Err(ResealError::FeatureLevel { present });
        }
        let base_index = view.position().index;
        // What is left of the time is for the last proposal and for counting what is left.
        let enough = Instant::now() + call.deadline.saturating_duration_since(Instant::now()) / 2;
        let mut faults = BTreeSet::new();
        let (mut resealed, mut room) = (0, limit);
        for (key, cluster) in query::clusters(&view.kvrocks) {
            if room == 0 || Instant::now() >= enough {
                break;
            }
            let changes = self.plan(&key, cluster, (first, room), &mut faults);
            if !changes.is_empty() {
                room -= changes.len();
                resealed += self.carry_out(call, key, base_index, changes).await?;
            }
        }
        let after = self.view(ReadMode::Linearizable, call.deadline).await?;
        let counted = count(&after.kvrocks);
        let others = counted.sealed.iter().filter(|(key_id, _)| key_id.as_str() != first);
        let left = counted.readable + others.map(|(_, count)| count).sum::<u64>();
        Ok(Round { resealed, left, faults: faults.into_iter().collect() })
    }

    /// At most `room` passwords of a cluster to be sealed; those that do not open are no reason to
    /// leave others.
    fn plan(
        &self,
        key: &ClusterKey,
        cluster: &Cluster,
        (first, room): (&str, usize),
        faults: &mut BTreeSet<String>,
    ) -> Vec<Resealed> {
        let mut changes = Vec::new();
        let nodes = cluster.nodes().map(|(_, node)| node);
        for node in nodes.filter(|node| is_due(&node.password, first)) {
            match self.resealed(&node.id, &node.password) {
                Ok(_) if changes.len() == room => break,
                Ok(change) => changes.push(change),
                Err(error) if faults.len() < FAULTS_MAX => {
                    let ClusterKey { namespace, name } = key;
                    faults.insert(format!("{namespace}/{name}, {}: {error}", node.addr));
                }
                Err(_) => {}
            }
        }
        changes
    }

    fn resealed(&self, node_id: &str, password: &Secret) -> Result<Resealed, OpenError> {
        let (text, old) = match password.sealed() {
            Some(sealed) => {
                (self.keys.open(Purpose::NodePassword, sealed)?, Some(password.clone()))
            }
            None => (password.readable().unwrap_or_default().to_owned(), None),
        };
        let mut new = Secret::new(text);
        seal(&self.keys, 0, RequestId(clock::random_id()), &mut new);
        Ok(Resealed { node_id: node_id.to_owned(), old, new })
    }

    async fn carry_out(
        &self,
        call: &Call,
        cluster: ClusterKey,
        base_index: u64,
        changes: Vec<Resealed>,
    ) -> Result<u64, ProposeError> {
        let command = kvrocks::Command::ResealPasswords { cluster, base_index, changes };
        // Several commands answer one request, so each has an id of its own.
        let call = Call { request_id: None, ..call.clone() };
        match self.propose(&call, Command::Kvrocks(command)).await?.reply {
            Reply::Kvrocks(Ok(kvrocks::Reply::Resealed { changed })) => Ok(changed),
            // The cluster is gone, and its passwords with it.
            Reply::Kvrocks(Err(Rejection::ClusterNotFound)) => Ok(0),
            other => Err(ProposeError::Invalid(format!("unexpected reply: {other:?}"))),
        }
    }
}

fn is_due(secret: &Secret, first: &str) -> bool {
    match secret.sealed() {
        Some(sealed) => sealed.key_id() != Some(first),
        None => secret.is_bare(),
    }
}

fn seal(keys: &KeyRing, number: usize, RequestId(request): RequestId, secret: &mut Secret) {
    let Some(text) = secret.readable().filter(|text| !text.is_empty()) else { return };
    if let Some(sealed) = keys.seal(number, Purpose::NodePassword, &request, text) {
        *secret = sealed.into();
    }
}
