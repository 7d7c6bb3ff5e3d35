//! Every way a request of the family can fail, and its status and text (spec 2.1).

use axum::{
    body::Body,
    http::{
        HeaderValue, Response, StatusCode,
        header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use schemars::JsonSchema;
use serde::Serialize;

use super::wire::NotOpened;
use crate::{
    api::{auth, limit::Refusal, profile::Profile},
    broker::{ProposeError, ReadError, engine::MemberError},
    domain::kvrocks::Rejection,
};

/// What the documents call anything that is there already.
const EXISTED: &str = "the entry already existed";
/// What the documents call anything that is not there.
const NOT_THERE: &str = "the entry does not exist";
const NO_LEADER: &str = "no leader now, please retry later";

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The state refused.
    #[error("refused")]
    Rejected(#[from] Rejection),
    /// The log did not take the command, or did not say so in time.
    #[error("not proposed")]
    Propose(#[from] ProposeError),
    /// The members stay as they are, or may not have.
    #[error("members not changed")]
    Members(#[from] MemberError),
    /// The state could not be read as currently as asked.
    #[error("not read")]
    Read(#[from] ReadError),
    /// Turned away before anything was asked of the state.
    #[error("turned away")]
    Refused(#[from] Refusal),
    /// Neither path nor method belong to a route.
    #[error("no such route")]
    NoRoute,
    /// The request means nothing.
    #[error("bad request: {0}")]
    BadRequest(String),
    /// Somebody else has to lead first.
    #[error("no leader")]
    NoLeader,
    /// A node did not do its part.
    #[error("node: {0}")]
    Node(String),
    /// Committed, but this replica has not applied it within the deadline.
    #[error("committed but not yet applied here")]
    NotVisible,
    /// A password was asked for that this replica cannot open.
    #[error("sealed: {0}")]
    Sealed(#[from] NotOpened),
    /// The settings forbid it.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// The answer could not be built.
    #[error("the answer could not be built: {0}")]
    Answer(String),
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ErrorJson<'a> {
    error: MessageJson<'a>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ProgramErrorJson<'a> {
    error: MessageJson<'a>,
    data: (),
}

#[derive(Serialize, JsonSchema)]
pub(super) struct MessageJson<'a> {
    message: &'a str,
}

/// The answer for a failure.
pub(super) fn respond(failure: &Failure, profile: Profile) -> Response<Body> {
    match failure {
        Failure::Rejected(rejection) => {
            let (status, text) = rejected(rejection, profile);
            answer(status, &text, profile)
        }
        Failure::Propose(error) => not_proposed(error, profile),
        Failure::Members(error) => members_kept(error, profile),
        Failure::Read(ReadError::Quarantined) => refused(&Refusal::Quarantined, profile),
        Failure::Read(_) | Failure::NoLeader => no_leader(1, profile),
        Failure::Refused(refusal) => refused(refusal, profile),
        Failure::NoRoute => answer(StatusCode::NOT_FOUND, "not found", profile),
        Failure::BadRequest(message) => answer(StatusCode::BAD_REQUEST, message, profile),
        Failure::Node(message) => answer(StatusCode::INTERNAL_SERVER_ERROR, message, profile),
        Failure::Sealed(error) => {
            answer(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string(), profile)
        }
        Failure::NotVisible => {
            let text = "done, but this replica is behind and cannot show it yet";
            answer(StatusCode::GATEWAY_TIMEOUT, text, profile)
        }
        Failure::Forbidden(message) => answer(StatusCode::FORBIDDEN, message, profile),
        Failure::Answer(message) => {
            tracing::error!(error = message, "answer could not be built");
            answer(StatusCode::INTERNAL_SERVER_ERROR, "internal error", profile)
        }
    }
}

/// The original names no refusal of its own for these; what it would not judge is in conflict.
fn members_kept(error: &MemberError, profile: Profile) -> Response<Body> {
    let status = match error {
        MemberError::Invalid(_) => StatusCode::BAD_REQUEST,
        MemberError::NotFound(_) => StatusCode::NOT_FOUND,
        MemberError::Refused(_) | MemberError::AnotherDisk(_) | MemberError::Removed(_) => {
            StatusCode::CONFLICT
        }
        MemberError::InProgress | MemberError::NotAccepted(_) => return no_leader(1, profile),
        MemberError::Unknown(_) => StatusCode::GATEWAY_TIMEOUT,
    };
    answer(status, &error.to_string(), profile)
}

/// Status and text of a refusal.
pub(super) fn rejected(rejection: &Rejection, profile: Profile) -> (StatusCode, String) {
    let status = status(rejection);
    let text = match (profile, status) {
        (Profile::Document, StatusCode::CONFLICT) => EXISTED.to_owned(),
        (Profile::Document, StatusCode::NOT_FOUND) => NOT_THERE.to_owned(),
        _ => rejection.to_string(),
    };
    (status, text)
}

fn status(rejection: &Rejection) -> StatusCode {
    match rejection {
        Rejection::NamespaceEmpty
        | Rejection::ClusterNameEmpty
        | Rejection::InvalidName
        | Rejection::NamespaceRequired
        | Rejection::ClusterNodesEmpty
        | Rejection::NodesEmpty
        | Rejection::ReplicasNegative
        | Rejection::NotDivisible
        | Rejection::InvalidAddress(_)
        | Rejection::AddressRepeated(_)
        | Rejection::InvalidNodeId(_)
        | Rejection::TooMany { .. }
        | Rejection::IndexOutOfRange
        | Rejection::ShardServicing
        | Rejection::InvalidRole
        | Rejection::RemoveMaster
        | Rejection::JobPhase { .. }
        | Rejection::Invalid(_)
        | Rejection::InvalidSetting(_) => StatusCode::BAD_REQUEST,
        Rejection::NamespaceNotEmpty => StatusCode::FORBIDDEN,
        Rejection::NamespaceNotFound
        | Rejection::ClusterNotFound
        | Rejection::NodeNotFound
        | Rejection::JobNotFound
        | Rejection::SyncNotFound => StatusCode::NOT_FOUND,
        Rejection::NamespaceExists
        | Rejection::ClusterExists
        | Rejection::AddressesUsed(_)
        | Rejection::NodeExists
        | Rejection::MasterExists => StatusCode::CONFLICT,
        Rejection::NoReplica
        | Rejection::NoOldMaster
        | Rejection::OldNodeNotMaster
        | Rejection::NoNewMaster
        | Rejection::Updated
        | Rejection::NotAgreed { .. }
        | Rejection::FailoverDisabled
        | Rejection::SameShard
        | Rejection::SlotUnassigned
        | Rejection::SlotsDivided
        | Rejection::ShardMigrating
        | Rejection::NotAdopted(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn not_proposed(error: &ProposeError, profile: Profile) -> Response<Body> {
    match error {
        ProposeError::NotAccepted { retry_after_ms, .. } => {
            no_leader(retry_after_ms.div_ceil(1000).max(1), profile)
        }
        ProposeError::Fenced => no_leader(1, profile),
        ProposeError::Unknown { .. } => {
            let text = "the outcome is unknown, retry with the same idempotency key";
            answer(StatusCode::GATEWAY_TIMEOUT, text, profile)
        }
        ProposeError::RequestIdReused => {
            let text = "the idempotency key was used before for another request";
            answer(StatusCode::UNPROCESSABLE_ENTITY, text, profile)
        }
        ProposeError::Invalid(message) => answer(StatusCode::BAD_REQUEST, message, profile),
    }
}

fn no_leader(retry_after_s: u64, profile: Profile) -> Response<Body> {
    let mut response = answer(StatusCode::BAD_REQUEST, NO_LEADER, profile);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
    response
}

fn refused(refusal: &Refusal, profile: Profile) -> Response<Body> {
    let status = match refusal {
        Refusal::Busy | Refusal::Quarantined => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::TooFast { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
        Refusal::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::BodySlow => StatusCode::REQUEST_TIMEOUT,
        Refusal::BodyBroken(_) | Refusal::BadHeader(_) => StatusCode::BAD_REQUEST,
    };
    let mut response = answer(status, &refusal.to_string(), profile);
    match refusal {
        Refusal::Busy | Refusal::Quarantined => {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(1));
        }
        Refusal::TooFast { retry_after_s } => {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*retry_after_s));
        }
        Refusal::Unauthenticated(_) => {
            response.headers_mut().insert(WWW_AUTHENTICATE, auth::CHALLENGE);
        }
        Refusal::Forbidden(_) | Refusal::BadHeader(_) => {}
        Refusal::BodyTooLarge(_) | Refusal::BodySlow | Refusal::BodyBroken(_) => {
            // The rest of the body may still be coming; nothing else can be read from here.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    response
}

fn answer(status: StatusCode, message: &str, profile: Profile) -> Response<Body> {
    let error = MessageJson { message };
    // Text always encodes; an empty body would still carry the status.
    let bytes = match profile {
        Profile::Document => serde_json::to_vec(&ErrorJson { error }),
        Profile::Program => serde_json::to_vec(&ProgramErrorJson { error, data: () }),
    };
    let mut response = Response::new(Body::from(bytes.unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
