//! The request ids that were answered, so that a retry is answered again and not applied again.
//!
//! Part of the replicated state: looked up and changed in `apply` alone, so that every replica
//! remembers and forgets the same ids at the same entry.

use std::{io, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{RequestId, config::WindowLimits, storage::wire::damaged};

/// Identifies a command without keeping it.
pub(crate) type CommandHash = [u8; 16];

/// What was answered to one request id. Encoded with `postcard`: fields are never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answered {
    /// The id.
    pub(crate) request_id: RequestId,
    /// Index of the entry that was applied.
    pub(crate) index: u64,
    /// Its stamped time.
    pub(crate) time_ms: u64,
    /// What was asked.
    pub(crate) command: CommandHash,
    /// What was answered, encoded.
    pub(crate) reply: Bytes,
}

/// What the window knows of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// Nothing: it must be applied.
    New,
    /// It was applied before, with this reply.
    Duplicate(Bytes),
    /// Its id was used for another command.
    Reused,
}

/// Request ids in the order in which they were answered; clones share their structure.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    limits: WindowLimits,
    by_id: imbl::OrdMap<RequestId, Arc<Answered>>,
    in_order: imbl::Vector<Arc<Answered>>,
    reply_bytes: u64,
}

impl Window {
    /// A window that remembers nothing yet.
    pub(crate) fn new(limits: WindowLimits) -> Self {
        Self { limits, by_id: imbl::OrdMap::new(), in_order: imbl::Vector::new(), reply_bytes: 0 }
    }

    /// Its bounds, equal on all replicas.
    pub(crate) fn limits(&self) -> WindowLimits {
        self.limits
    }

    /// How many request ids are remembered.
    pub(crate) fn len(&self) -> usize {
        self.in_order.len()
    }

    /// What is remembered, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Answered> {
        self.in_order.iter().map(Arc::as_ref)
    }

    /// What is known of a request.
    pub(crate) fn look_up(&self, request_id: RequestId, command: &CommandHash) -> Lookup {
        match self.by_id.get(&request_id) {
            None => Lookup::New,
            Some(answered) if answered.command == *command => {
                Lookup::Duplicate(answered.reply.clone())
            }
            Some(_) => Lookup::Reused,
        }
    }

    /// Forgets what is too old at a stamped time.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        while let Some(oldest) = self.in_order.front() {
            if now_ms.saturating_sub(oldest.time_ms) <= self.limits.age_max_ms {
                return;
            }
            self.forget_oldest();
        }
    }

    /// Remembers an answer, and forgets the oldest ones beyond the bounds; never the newest.
    pub(crate) fn remember(&mut self, answered: Answered) {
        self.reply_bytes += answered.reply.len() as u64;
        let answered = Arc::new(answered);
        self.by_id.insert(answered.request_id, answered.clone());
        self.in_order.push_back(answered);
        while self.in_order.len() > 1
            && (self.in_order.len() as u64 > self.limits.requests_max
                || self.reply_bytes > self.limits.reply_bytes_max)
        {
            self.forget_oldest();
        }
    }

    /// Puts back an answer from a snapshot, in the order in which it was written.
    ///
    /// # Errors
    /// `InvalidData` if the id is there already, or the order is not that of the log.
    pub(crate) fn restore(&mut self, answered: Answered) -> io::Result<()> {
        let is_out_of_order =
            self.in_order.back().is_some_and(|newest| newest.index >= answered.index);
        if is_out_of_order || self.by_id.contains_key(&answered.request_id) {
            return Err(damaged("the request window of the snapshot is not in order"));
        }
        self.reply_bytes += answered.reply.len() as u64;
        let answered = Arc::new(answered);
        self.by_id.insert(answered.request_id, answered.clone());
        self.in_order.push_back(answered);
        Ok(())
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.in_order.pop_front() {
            self.reply_bytes -= oldest.reply.len() as u64;
            self.by_id.remove(&oldest.request_id);
        }
    }
}

/// Identifies an encoded command.
pub(crate) fn hash_command(command: &[u8]) -> CommandHash {
    let mut hash = CommandHash::default();
    hash.copy_from_slice(&Sha256::digest(command)[..16]);
    hash
}
