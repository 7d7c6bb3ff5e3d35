//! Ids of hosts and clusters, made from what every replica knows (spec 6.2).

use sha2::{Digest, Sha256};

use super::State;
use crate::domain::Context;

/// Bytes of an id; it is written in twice as many hexadecimal digits.
const ID_BYTES: usize = 12;

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl State {
    /// An id that no host and no cluster has, or had as far as is remembered. Two calls for one
    /// entry differ because the first one's record is in the state by then.
    pub(super) fn new_id(&self, context: &Context<'_>) -> String {
        let installation = self.installation.unwrap_or_default();
        let mut ordinal = self.last_seq;
        loop {
            let mut hasher = Sha256::new();
            hasher.update(installation);
            hasher.update(context.index.to_le_bytes());
            hasher.update(ordinal.to_le_bytes());
            let id = hex(&hasher.finalize()[..ID_BYTES]);
            let is_used = self.host_ids.contains_key(&id)
                || self.cluster_ids.contains_key(&id)
                || self.departed.iter().any(|host| host.id == id);
            if !is_used {
                return id;
            }
            ordinal = ordinal.wrapping_add(1);
        }
    }
}
