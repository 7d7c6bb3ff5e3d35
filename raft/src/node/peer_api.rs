//! What other replicas may ask of this one.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use futures::StreamExt;
use metrics::counter;
use openraft::raft::AppendEntriesResponse;
use serde::Serialize;
use tokio::time::{Instant, timeout};

use super::{core::Core, propose::Tried, receive, turns::LOAD_MAX};
use crate::{
    Machine,
    agreement::rounds,
    members::{Ask, MemberError, Reply, Standing, change::Attempt},
    metrics::PEER_REFUSALS_TOTAL,
    transport::{
        BODY_BYTES_MAX, Caller, ENTRY_BODY_BYTES_MAX, header, route,
        status::{BUSY, FAILED, MALFORMED, NOT_LEADER, STOPPED, STRANGER, TOO_LARGE, UNKNOWN},
        wire::{
            self, AppendAnswer, Fate, HelloAnswer, ReadIndexAnswer, TransferAnswer, TransferAsk,
            VoteAnswer, VoteAsk,
        },
    },
};

/// How long a forwarded proposal is waited for when the sender does not say.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest such wait.
const PATIENCE_MAX: Duration = Duration::from_secs(600);
/// A body that stops arriving is given up after this long.
const BODY_STALL: Duration = Duration::from_secs(10);

/// A request that is not answered as asked.
#[derive(Debug)]
pub(crate) struct Reject {
    status: u16,
    reason: String,
    retry_after_ms: Option<u64>,
}

impl Reject {
    /// A refusal; see [`crate::transport::status`].
    pub(crate) fn new(status: u16, reason: impl ToString) -> Self {
        Self { status, reason: reason.to_string(), retry_after_ms: None }
    }
}

impl IntoResponse for Reject {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.reason).into_response();
        if let Some(retry_after_ms) = self.retry_after_ms {
            response.headers_mut().insert(header::RETRY_AFTER_MS, retry_after_ms.into());
        }
        response
    }
}

/// The routes of the peer port.
pub(crate) fn router<M: Machine>(core: Arc<Core<M>>) -> Router {
    Router::new()
        .route(route::APPEND, post(append::<M>))
        .route(route::VOTE, post(vote::<M>))
        .route(route::PRE_VOTE, post(pre_vote::<M>))
        .route(route::SNAPSHOT, post(receive::snapshot::<M>))
        .route(route::TRANSFER, post(transfer::<M>))
        .route(route::PROPOSE, post(propose::<M>))
        .route(route::PROPOSE_ALL, post(propose_all::<M>))
        .route(route::READ_INDEX, post(read_index::<M>))
        .route(route::HELLO, post(hello::<M>))
        .route(route::MEMBERS, post(members::<M>))
        .route(route::AGREEMENT, post(rounds::answer::<M>))
        .with_state(core)
}

impl<M: Machine> Core<M> {
    /// Checks who sends a request, and whether it means this disk.
    pub(crate) fn admit(&self, request: &Request) -> Result<Caller, Reject> {
        let caller = self.identify(request)?;
        self.check_disks(&caller).inspect_err(|_| counter!(PEER_REFUSALS_TOTAL).increment(1))?;
        Ok(caller)
    }

    fn check_disks(&self, caller: &Caller) -> Result<(), Reject> {
        if !caller.is_addressed_to_disk {
            return Err(Reject::new(STRANGER, "the request does not name the disk it is for"));
        }
        if self.board.latest().retired().contains(&caller.from.id) {
            return Err(Reject::new(
                STRANGER,
                format!("replica {} was removed from this cluster", caller.from.id),
            ));
        }
        // The sender's disk must be the one the membership knows. A replica that is not in the
        // membership here may be one this replica has not heard of yet.
        match self.peer(caller.from.id) {
            Some(peer) if peer.incarnation != caller.from.incarnation => Err(Reject::new(
                STRANGER,
                format!("replica {} is known here with another disk", caller.from.id),
            )),
            _ => Ok(()),
        }
    }

    /// Whoever is in quarantine neither votes nor takes over.
    fn check_votes(&self) -> Result<(), Reject> {
        match self.standing.is_quarantined() {
            true => Err(Reject::new(FAILED, "this replica is in quarantine and does not vote")),
            false => Ok(()),
        }
    }

    /// As [`Core::admit`], for what a leader is asked to propose; with how long the caller waits.
    fn admit_forward(&self, request: &Request) -> Result<(Caller, Duration), Reject> {
        let caller = self.admit(request)?;
        if number(request, header::HOPS) != Some(1) {
            return Err(Reject::new(MALFORMED, "a proposal is forwarded once"));
        }
        if !self.leadership().is_leader_here {
            // Before the body is read: it may be large, and is for another replica.
            return Err(Reject::new(NOT_LEADER, "this replica does not lead"));
        }
        Ok((caller, patience_of(request)))
    }

    fn identify(&self, request: &Request) -> Result<Caller, Reject> {
        let checked = self.credentials.check(request.headers());
        let caller = checked.map_err(|refusal| {
            counter!(PEER_REFUSALS_TOTAL).increment(1);
            tracing::warn!(%refusal, "a peer request was refused");
            Reject::new(STRANGER, refusal)
        })?;
        if self.is_alive() { Ok(caller) } else { Err(Reject::new(STOPPED, "stopping")) }
    }
}

async fn append<M: Machine>(
    State(core): State<Arc<Core<M>>>,
    request: Request,
) -> Result<Response, Reject> {
    core.admit(&request)?;
    if core.standing.is_awaiting_state.load(Ordering::Acquire) {
        return Err(Reject::new(STOPPED, "no entries are taken before the new state is here"));
    }
    let is_single = number(&request, header::ENTRIES).is_some_and(|entries| entries <= 1);
    let limit = if is_single { ENTRY_BODY_BYTES_MAX } else { BODY_BYTES_MAX };
    let confirmed_ms = number(&request, header::CONFIRMED_MS);
    let moment = number(&request, header::MOMENT);
    let body = body_of(request, limit).await?;
    let shown_at = match confirmed_ms {
        Some(confirmed_ms) => core.contact.shown_at(moment, confirmed_ms),
        // A leader of an earlier version does not say how old its message is.
        None => Some(Instant::now()),
    };
    let append = wire::decode_append(&body).map_err(|error| {
        if error.kind() == std::io::ErrorKind::Unsupported {
            // Nothing was taken. Without the entry this replica can only fall behind.
            core.fatal.raise(error.to_string());
        }
        malformed(error)
    })?;
    let committed = append.leader_commit.as_ref().map_or(0, |commit| commit.index());
    let answer = core.raft.append_entries(append).await.map_err(stopped)?;
    if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
        core.election.heard();
    }
    if let (true, Some(shown_at)) = (answer.is_success(), shown_at) {
        core.contact.heard(shown_at, committed, core.applied());
    }
    let mut response = reply(&AppendAnswer::of(&answer))?;
    response.headers_mut().insert(header::MOMENT, core.contact.moment().into());
    if core.standing.is_quarantined() {
        response.headers_mut().insert(header::QUARANTINED, 1.into());
    }
    Ok(response)
}

async fn vote<M: Machine>(
    State(core): State<Arc<Core<M>>>,
    request: Request,
) -> Result<Response, Reject> {
    core.admit(&request)?;
    core.check_votes()?;
    let ask: VoteAsk = message(request).await?;
    let answer = core.raft.vote(ask.request()).await.map_err(stopped)?;
    if answer.vote_granted {
        core.election.attempted();
    }
    reply(&VoteAnswer::of(&answer))
}

async fn pre_vote<M: Machine>(
    State(core): State<Arc<Core<M>>>,
    request: Request,
) -> Result<Response, Reject> {
    core.admit(&request)?;
    core.check_votes()?;
    let ask: VoteAsk = message(request).await?;
    let answer = core.raft.pre_vote(ask.request()).await.map_err(stopped)?;
    if answer.vote_granted {
        core.election.attempted();
    }
    reply(&VoteAnswer::of(&answer))
}

async fn transfer<M: Machine>(
    State(core): State<Arc<Core<M>>>,
    request: Request,
) -> Result<Response, Reject> {
    core.admit(&request)?;
    core.check_votes()?;
    let ask: TransferAsk = message(request).await?;
    let answer = core.raft.handle_transfer_leader(ask.request()).await.map_err(stopped)?;
    reply(&TransferAnswer::of(answer))
}

async fn propose<M: Machine>(
    State(core): State<Arc<Core<M>>>,
    request: Request,
) -> Result<Response, Reject> {
    let (caller, patience) = core.admit_forward(&request)?;
    let entry = body_of(request, ENTRY_BODY_BYTES_MAX).await?;
    let fate = core.take_forwards(caller.from.id, vec![entry], patience).await.pop();
    match fate.unwrap_or(Tried::Refused("there is no proposal")) {
        Tried::Done(answer) => reply(&answer),
        Tried::Refused(reason) => Err(Reject::new(NOT_LEADER, reason)),
        Tried::Busy { retry_after_ms } => Err(Reject {
            retry_after_ms: Some(retry_after_ms),
            ..Reject::new(BUSY, "too many proposals in flight")
        }),
        Tried::Doubtful(reason) | Tried::Dead(reason) => Err(Reject::new(UNKNOWN, reason)),
    }
}

async fn propose_all<M: Machine>(
    State(core): State<Arc<Core<M>>>,
    request: Request,
) -> Result<Response, Reject> {
    let (caller, patience) = core.admit_forward(&request)?;
    let entries: Vec<Bytes> = message(request).await?;
    if entries.len() > LOAD_MAX {
        return Err(Reject::new(MALFORMED, format!("more than {LOAD_MAX} proposals")));
    }
    let fates = core.take_forwards(caller.from.id, entries, patience).await;
    let fates = fates.into_iter().map(|fate| match fate {
        Tried::Done(answer) => Fate::Done(answer),
        Tried::Refused(reason) => Fate::Refused(reason.to_owned()),
        Tried::Busy { retry_after_ms } => Fate::Busy { retry_after_ms },
        Tried::Doubtful(reason) | Tried::Dead(reason) => Fate::Doubtful(reason),
    });
    reply(&fates.collect::<Vec<_>>())
}

async fn read_index<M: Machine>(
    State(core): State<Arc<Core<M>>>,
    request: Request,
) -> Result<Response, Reject> {
    core.admit(&request)?;
    if !core.leadership().is_leader_here {
        return Err(Reject::new(NOT_LEADER, "this replica does not lead"));
    }
    let patience = patience_of(&request);
    let index = timeout(patience, core.own_read_index()).await;
    match index {
        Ok(Ok(index)) => reply(&ReadIndexAnswer { index }),
        Ok(Err(reason)) => Err(Reject::new(NOT_LEADER, reason)),
        Err(_) => Err(Reject::new(FAILED, "no quorum confirmed the leader in time")),
    }
}

async fn hello<M: Machine>(
    State(core): State<Arc<Core<M>>>,
    request: Request,
) -> Result<Response, Reject> {
    core.identify(&request)?;
    reply(&core.hello_answer())
}

/// Answers everybody who knows the cluster's token: whoever joins is no member yet, and whoever
/// was removed must be told so.
async fn members<M: Machine>(
    State(core): State<Arc<Core<M>>>,
    request: Request,
) -> Result<Response, Reject> {
    let caller = core.identify(&request)?;
    if !caller.is_addressed_to_disk {
        return Err(Reject::new(STRANGER, "the request does not name the disk it is for"));
    }
    let is_forwarded = number(&request, header::HOPS) != Some(0);
    let deadline = Instant::now() + patience_of(&request);
    let ask: Ask = message(request).await?;
    let standing = core.standing_of(caller.from);
    match (&ask, standing) {
        (Ask::Standing, _) => return reply(&Reply::Standing(standing)),
        (Ask::About, _) => return reply(&Reply::About(core.about())),
        (_, Standing::Removed) => {
            return reply(&Reply::Failed(MemberError::Removed(caller.from.id)));
        }
        _ => {}
    }
    if !is_forwarded {
        let answer = core.ask_leader(ask, deadline).await.unwrap_or_else(Reply::Failed);
        return reply(&answer);
    }
    if !core.leadership().is_leader_here {
        return Err(Reject::new(NOT_LEADER, "this replica does not lead"));
    }
    match core.answer_as_leader(&ask).await {
        Attempt::Done(answer) => reply(&answer),
        Attempt::Again(error) => reply(&Reply::Failed(error)),
    }
}

impl<M: Machine> Core<M> {
    fn hello_answer(&self) -> HelloAnswer {
        let here = self.credentials.here();
        let membership = self.membership.load();
        HelloAnswer {
            id: here.id,
            incarnation: here.incarnation,
            is_virgin: self.is_virgin(),
            known: membership.nodes().map(|(id, peer)| (*id, peer.incarnation)).collect(),
        }
    }
}

/// How long the sender waits for the answer.
pub(crate) fn patience_of(request: &Request) -> Duration {
    number(request, header::PATIENCE_MS).map_or(PATIENCE, Duration::from_millis).min(PATIENCE_MAX)
}

fn number(request: &Request, name: &str) -> Option<u64> {
    request.headers().get(name)?.to_str().ok()?.parse().ok()
}

/// The message that a request carries.
pub(crate) async fn message<T: serde::de::DeserializeOwned>(request: Request) -> Result<T, Reject> {
    let body = body_of(request, BODY_BYTES_MAX).await?;
    wire::decode(&body).map_err(malformed)
}

async fn body_of(request: Request, limit: usize) -> Result<Bytes, Reject> {
    let (parts, body) = request.into_parts();
    let announced = parts.headers.get("content-length");
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Reject::new(TOO_LARGE, format!("more than {limit} bytes")));
    }
    if announced.is_some_and(|length| length <= BODY_BYTES_MAX) {
        let whole = timeout(BODY_STALL, to_bytes(body, limit)).await;
        return match whole {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(Reject::new(MALFORMED, error)),
            Err(_) => Err(Reject::new(MALFORMED, "the body stopped arriving")),
        };
    }
    large_body(body, limit).await
}

/// A large body may take longer than any fixed time, so only its standstill ends it.
async fn large_body(body: Body, limit: usize) -> Result<Bytes, Reject> {
    let mut chunks = body.into_data_stream();
    let mut whole = Vec::new();
    let mut last = Instant::now();
    loop {
        let Ok(chunk) = timeout(BODY_STALL, chunks.next()).await else {
            let stalled_ms = last.elapsed().as_millis();
            return Err(Reject::new(MALFORMED, format!("nothing arrived for {stalled_ms} ms")));
        };
        last = Instant::now();
        match chunk {
            None => return Ok(whole.into()),
            Some(Err(error)) => return Err(Reject::new(MALFORMED, error)),
            Some(Ok(chunk)) if whole.len() + chunk.len() > limit => {
                return Err(Reject::new(TOO_LARGE, format!("more than {limit} bytes")));
            }
            Some(Ok(chunk)) => whole.extend_from_slice(&chunk),
        }
    }
}

/// An answer that carries a message.
pub(crate) fn reply<T: Serialize>(answer: &T) -> Result<Response, Reject> {
    wire::encode(answer)
        .map(|bytes| Body::from(bytes).into_response())
        .map_err(|error| Reject::new(FAILED, error))
}

fn malformed(error: std::io::Error) -> Reject {
    Reject::new(MALFORMED, error)
}

fn stopped(error: impl ToString) -> Reject {
    Reject::new(STOPPED, error)
}
