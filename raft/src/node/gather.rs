//! Hands proposals to the consensus core of the leader, many in one message.
//!
//! Every message to the core is an append here and at each follower, a sync, and a publication, so
//! few with much in them carry more than many with little. There is no linger: a proposal goes at
//! once while nothing is being committed. A second message goes beside the first when it is no
//! smaller, so that the two take turns and neither leaves with the first of many that are about to
//! come. A message that takes long is not waited for any more: a leader that has lost its quorum
//! must hand over what comes, so that its core can refuse it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use openraft::errors::ClientWriteError;
use tokio::{sync::oneshot, time::timeout};

use super::{admission::Permit, core::Handle, propose::Tried};
use crate::{Machine, rt, transport::wire::ProposeAnswer, types::Payload};

/// Messages with proposals that are being committed at a time.
const MESSAGES_MAX: usize = 2;
/// How long a message keeps others back. What a quorum and its disks need is well below.
const MESSAGE_TIME: Duration = Duration::from_millis(50);
/// Most proposals in one message.
const PROPOSALS_MAX: usize = 1024;

/// What waits to be handed to the core. Bounded by admission.
#[derive(Default)]
pub(crate) struct Gather {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Item>,
    /// Messages that are being committed, of those that are still waited for.
    messages: usize,
    /// Proposals in them.
    under_way: usize,
}

impl Queue {
    /// The next message, if it is time for one.
    fn depart(&mut self) -> Option<Vec<Item>> {
        let is_free = self.messages < MESSAGES_MAX && self.waiting.len() >= self.under_way;
        if !is_free || self.waiting.is_empty() {
            return None;
        }
        // Whoever has given up was told that it is not known; not doing it is the better half.
        self.waiting.retain(|item| !item.sender.is_closed());
        let count = self.waiting.len().min(PROPOSALS_MAX);
        let items: Vec<_> = self.waiting.drain(..count).collect();
        self.messages += usize::from(count > 0);
        self.under_way += count;
        Some(items).filter(|items| !items.is_empty())
    }

    /// A message is not waited for any more.
    fn arrive(&mut self, count: usize) {
        self.messages -= 1;
        self.under_way -= count;
    }
}

/// A proposal that was admitted. Its room is given back when the core is done with it, whether or
/// not anybody waits for it any more.
struct Item {
    entry: Bytes,
    permit: Permit,
    sender: oneshot::Sender<Tried>,
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
                queue.waiting.push_back(Item { entry, permit, sender });
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
            let written = rt::spawn(async move { write(&handle, items).await });
            // It goes on by itself when it takes longer, and only its place is free again.
            drop(timeout(MESSAGE_TIME, written).await);
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
