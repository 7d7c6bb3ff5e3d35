//! Writes down what came of wishes to change the members, through the log.
//!
//! A note follows the change it is about, in an entry of its own. A leader that is lost between the
//! two leaves no note; the change itself is in the log all the same.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Joiner, MemberChange, MemberChanged, MemberError, MemberNote, MemberVerb, Requester};
use crate::{
    Machine, Proposal, ReplicaId, RequestId,
    entry::encode,
    node::{core::Core, propose::Tried},
    storage::identity::Identity,
    types::Outcome,
};

/// How long a note may take; the change it is about is committed by then.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who acts when nobody asks.
const OURSELVES: &str = "quorate";

/// What a replica is called that asks for itself.
fn name_of(joiner: &Joiner) -> String {
    let host = joiner.peer_addr.rsplit_once(':').map_or("", |(host, _)| host);
    format!("replica@{host}")
}

impl<M: Machine> Core<M> {
    /// Notes what came of a change that somebody asked for.
    pub(crate) async fn note_change(
        self: &Arc<Self>,
        change: &MemberChange,
        by: &Requester,
        result: &Result<MemberChanged, MemberError>,
    ) {
        let (verb, id) = change.subject();
        self.note_result(verb, id, result, by).await;
    }

    /// Notes what came of a replica's wish to be a member.
    pub(crate) async fn note_join(
        self: &Arc<Self>,
        joiner: &Joiner,
        result: &Result<MemberChanged, MemberError>,
    ) {
        if let Some(by) = requester(name_of(joiner)) {
            self.note_result(MemberVerb::Join, joiner.id, result, &by).await;
        }
    }

    /// Notes that a learner got its vote, and who left for it.
    pub(crate) async fn note_vote(self: &Arc<Self>, id: ReplicaId, left: Option<ReplicaId>) {
        let promoted = (MemberVerb::Promote, Some(id));
        let removed = left.map(|left| (MemberVerb::Remove, Some(left)));
        for (verb, id) in std::iter::once(promoted).chain(removed) {
            if let Some(by) = requester(OURSELVES.to_owned()) {
                self.note(MemberNote { verb, id, is_refused: false }, &by).await;
            }
        }
    }

    /// What was so already, and what may still end differently, is not noted.
    async fn note_result(
        self: &Arc<Self>,
        verb: MemberVerb,
        id: Option<ReplicaId>,
        result: &Result<MemberChanged, MemberError>,
        by: &Requester,
    ) {
        let note = match result {
            Ok(MemberChanged { is_new: false, .. }) => return,
            // The removed or replaced one is what the note is about, and a new one has its id now.
            Ok(changed) => MemberNote { verb, id: id.or(Some(changed.id)), is_refused: false },
            Err(error) if error.is_passing() => return,
            Err(_) => MemberNote { verb, id, is_refused: true },
        };
        self.note(note, by).await;
    }

    async fn note(self: &Arc<Self>, note: MemberNote, by: &Requester) {
        let Some(command) = M::note_members(&note) else { return };
        if M::level_needed(&command) > self.level() {
            return;
        }
        let again = Identity::draw().ok().map(RequestId);
        // The id of the request may stand for the note of an earlier attempt.
        for request_id in std::iter::once(by.request_id).chain(again) {
            let (actor, command) = (by.actor.clone(), command.clone());
            let proposal = Proposal { request_id, actor, fence_term: None, command };
            let Ok(entry) = encode(&proposal) else { return };
            let placed = timeout(PATIENCE, self.append(entry)).await;
            match placed.unwrap_or_else(|_| Tried::Doubtful("no quorum in time".to_owned())) {
                Tried::Done(answer) if answer.outcome == Outcome::RequestIdReused => {}
                Tried::Done(_) => return,
                tried => {
                    tracing::warn!(outcome = ?tried, "a change of the members was not written down");
                    return;
                }
            }
        }
    }
}

fn requester(actor: String) -> Option<Requester> {
    let request_id = Identity::draw().ok().map(RequestId)?;
    Some(Requester { actor, request_id })
}
