//! Hands proposals to the consensus core of the leader, many in one message.
//!
//! Every message to the core is an append here and at each follower, a sync, and a publication. A
//! message that takes long is not waited for: a leader that has lost its quorum must hand over what
//! comes, so that its core can refuse it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::StreamExt;
use openraft::errors::ClientWriteError;
use tokio::sync::oneshot;

use super::{
    admission::Permit,
    core::Handle,
    propose::Tried,
    turns::{Cargo, Turns, trip},
};
use crate::{Machine, rt, transport::wire::ProposeAnswer, types::Payload};

/// What waits to be handed to the core. Bounded by admission.
#[derive(Default)]
pub(crate) struct Gather {
    queue: Mutex<Turns<Item>>,
}

/// A proposal that was admitted. Its room is given back when the core is done with it, whether or
/// not anybody waits for it any more.
struct Item {
    entry: Bytes,
    permit: Permit,
    sender: oneshot::Sender<Tried>,
}

impl Cargo for Item {
    fn bytes(&self) -> usize {
        self.entry.len()
    }

    fn is_given_up(&self) -> bool {
        self.sender.is_closed()
    }
}

/// What becomes of a proposal.
pub(super) type Placed = oneshot::Receiver<Tried>;

impl Gather {
    /// Hands over proposals; what becomes of each is told in order.
    pub(super) fn place<M: Machine>(
        self: &Arc<Self>,
        raft: &Handle<M>,
        proposals: Vec<(Bytes, Permit)>,
    ) -> Vec<Placed> {
        let mut placed = Vec::with_capacity(proposals.len());
        let departing = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            for (entry, permit) in proposals {
                let (sender, receiver) = oneshot::channel();
                queue.enter(Item { entry, permit, sender });
                placed.push(receiver);
            }
            queue.depart()
        };
        if let Some(items) = departing {
            drop(rt::spawn(Arc::clone(self).run(raft.clone(), items)));
        }
        placed
    }

    /// Hands over one message after the other while there is enough for one.
    async fn run<M: Machine>(self: Arc<Self>, raft: Handle<M>, mut items: Vec<Item>) {
        loop {
            let count = items.len();
            let handle = raft.clone();
            trip(async move { write(&handle, items).await }).await;
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.arrive(count);
            match queue.depart() {
                Some(next) => items = next,
                None => return,
            }
        }
    }
}

/// Writes all, and tells each what became of it.
async fn write<M: Machine>(raft: &Handle<M>, items: Vec<Item>) {
    let (mut payloads, mut waiting) = (Vec::new(), VecDeque::new());
    for Item { entry, permit, sender } in items {
        payloads.push(Payload(entry));
        waiting.push_back((permit, sender));
    }
    let end = match raft.client_write_many(payloads).await {
        Err(error) => error.to_string(),
        Ok(mut written) => loop {
            let fate = match written.next().await {
                None => break "the core has stopped".to_owned(),
                Some(Err(error)) => break error.to_string(),
                Some(Ok(Ok(response))) => Tried::Done(ProposeAnswer {
                    index: response.log_id.index(),
                    term: response.log_id.committed_leader_id().term,
                    outcome: response.response,
                }),
                // Answered before anything is appended; an entry that was appended and lost again
                // is reported as discarded.
                Some(Ok(Err(ClientWriteError::ForwardToLeader(_)))) => {
                    Tried::Refused("the leader cannot take proposals yet, or any more")
                }
                Some(Ok(Err(error))) => Tried::Doubtful(error.to_string()),
            };
            if let Some((permit, sender)) = waiting.pop_front() {
                drop(permit);
                // Whoever has given up waiting does not need to know.
                drop(sender.send(fate));
            }
        },
    };
    for (_, sender) in waiting {
        drop(sender.send(Tried::Dead(end.clone())));
    }
}
