//! Appends of a leader that does not wait for one to be answered before it sends the next.
//!
//! The consensus core takes them in order and answers each once its entries are on the disk, so
//! several share a sync. Whatever an append that travels alone is checked for, each of these is,
//! too: a connection may outlive what its sender was when it was made.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::{Body, BodyDataStream},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use openraft::{
    errors::Fatal,
    raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult},
};
use tokio::time::Instant;

use super::{core::Core, peer_api::Reject};
use crate::{
    Machine,
    transport::{
        Caller,
        frames::{AnswerFrame, AppendFrame, Frames},
        wire::{self, AppendAnswer},
    },
    types::TypeConfig,
};

/// What is known of an append that the core has not answered yet.
struct Note {
    /// When it showed how far the log was committed.
    shown_at: Option<Instant>,
    /// How far that was.
    committed: u64,
}

/// Where the appends of one stream come from.
struct Source<M: Machine> {
    core: Arc<Core<M>>,
    caller: Caller,
    frames: Frames<BodyDataStream>,
    notes: Arc<Mutex<VecDeque<Note>>>,
}

/// Takes a stream of appends, and answers with a stream of answers.
pub(super) async fn append_stream<M: Machine>(
    State(core): State<Arc<Core<M>>>,
    request: Request,
) -> Result<Response, Reject> {
    let caller = core.admit_append(&request)?;
    let frames = Frames::new(request.into_body().into_data_stream());
    // As many as the consensus library lets wait in its pipeline.
    let notes = Arc::new(Mutex::new(VecDeque::new()));
    let source = Source { core: core.clone(), caller, frames, notes: notes.clone() };
    let answers = core.raft.stream_append(source.appends()).map(move |result| {
        let note = notes.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        answer(&core, note, result)
    });
    Ok(Body::from_stream(answers).into_response())
}

impl<M: Machine> Source<M> {
    fn appends(self) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + 'static {
        stream::unfold(self, async |mut source| match source.next().await {
            Ok(append) => append.map(|append| (append, source)),
            Err(reason) => {
                let replica = source.core.here();
                tracing::debug!(replica, reason, "a stream of appends ended");
                None
            }
        })
    }

    /// The next append; `None` if the sender has no more.
    async fn next(&mut self) -> Result<Option<AppendEntriesRequest<TypeConfig>>, String> {
        let frame = self.frames.next().await.map_err(|error| error.to_string())?;
        let Some(frame) = frame else { return Ok(None) };
        self.core.check_append(&self.caller).map_err(|reject| reject.reason)?;
        let frame = AppendFrame::decode(frame).map_err(|error| error.to_string())?;
        let shown_at = self.core.contact.shown_at(frame.moment, frame.confirmed_ms);
        let append = self.core.read_append(&frame.append).map_err(|reject| reject.reason)?;
        let committed = append.leader_commit.as_ref().map_or(0, |commit| commit.index());
        let note = Note { shown_at, committed };
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push_back(note);
        Ok(Some(append))
    }
}

fn answer<M: Machine>(
    core: &Core<M>,
    note: Option<Note>,
    result: Result<StreamAppendResult<TypeConfig>, Fatal<TypeConfig>>,
) -> io::Result<Bytes> {
    let answer = AppendEntriesResponse::from(result.map_err(io::Error::other)?);
    let Note { shown_at, committed } = note.unwrap_or(Note { shown_at: None, committed: 0 });
    core.note_append(&answer, shown_at, committed);
    let frame = AnswerFrame {
        moment: core.contact.moment(),
        is_quarantined: core.standing.is_quarantined(),
        answer: wire::encode(&AppendAnswer::of(&answer))?,
    };
    Ok(frame.encode())
}
