//! Every way a request of the family can fail, and its envelope (spec 2.3).

use axum::{
    body::Body,
    http::{
        HeaderValue, Response, StatusCode,
        header::{ALLOW, CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::wire::envelope;
use crate::{
    api::{auth, limit::Refusal},
    broker::{ProposeError, ReadError},
    domain::cello::Rejection,
};

const NO_LEADER: &str = "no leader";
const NOT_COMMITTED: &str = "not committed";
const OUTCOME_UNKNOWN: &str = "outcome unknown";

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The state refused, with a text of its own.
    #[error("refused")]
    Rejected(#[from] Rejection),
    /// The log did not take the command, or did not say so in time.
    #[error("not proposed")]
    Propose(#[from] ProposeError),
    /// The state could not be read as currently as asked.
    #[error("not read")]
    Read(#[from] ReadError),
    /// Turned away before anything was asked of the state.
    #[error("turned away")]
    Refused(#[from] Refusal),
    /// The path belongs to no route.
    #[error("no such route")]
    NoRoute,
    /// The path has routes for these methods only.
    #[error("no such method")]
    Method(&'static str),
    /// The request means nothing, or cannot be carried out.
    #[error("bad request: {0}")]
    Bad(String),
    /// An operator's request cannot be carried out, for a reason.
    #[error("{text}: {reason}")]
    Failed {
        /// The text of the interface.
        text: String,
        /// Why, for people.
        reason: String,
    },
    /// What was asked for is not there.
    #[error("not found: {0}")]
    NotFound(String),
    /// What was begun goes on, or is not applied here yet.
    #[error("outcome unknown")]
    Waiting,
    /// The answer could not be built.
    #[error("the answer could not be built: {0}")]
    Answer(String),
}

/// What the envelope of a failure has in it.
#[derive(Serialize, JsonSchema)]
pub(super) struct FailureData<'a> {
    /// Why an operator's request was not carried out, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl Failure {
    /// A request that means nothing.
    pub(super) fn bad(text: &str) -> Self {
        Self::Bad(text.to_owned())
    }
}

/// Whatever the state refuses of an operation is told in the operation's own words; what is not
/// its refusal stays what it is.
pub(super) fn in_words(failure: Failure, text: &str) -> Failure {
    match failure {
        Failure::Rejected(rejection) => {
            Failure::Failed { text: text.to_owned(), reason: rejection.to_string() }
        }
        failure => failure,
    }
}

/// The answer for a failure.
pub(super) fn respond(failure: &Failure) -> Response<Body> {
    match failure {
        Failure::Rejected(rejection) => failed(StatusCode::BAD_REQUEST, &rejection.to_string()),
        Failure::Propose(error) => not_proposed(error),
        Failure::Read(error @ ReadError::Quarantined) => unavailable(&error.to_string()),
        Failure::Read(_) => unavailable(NO_LEADER),
        Failure::Waiting => unavailable(OUTCOME_UNKNOWN),
        Failure::Refused(refusal) => refused(refusal),
        Failure::NoRoute => failed(StatusCode::NOT_FOUND, "not found"),
        Failure::Method(allowed) => {
            let mut response = failed(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            response
        }
        Failure::Bad(text) => failed(StatusCode::BAD_REQUEST, text),
        Failure::Failed { text, reason } => {
            envelope(StatusCode::BAD_REQUEST, json!(FailureData { reason: Some(reason) }), text)
        }
        Failure::NotFound(text) => failed(StatusCode::NOT_FOUND, text),
        Failure::Answer(message) => {
            tracing::error!(error = message, "answer could not be built");
            unavailable(OUTCOME_UNKNOWN)
        }
    }
}

fn not_proposed(error: &ProposeError) -> Response<Body> {
    match error {
        ProposeError::NotAccepted { .. } => unavailable(NO_LEADER),
        ProposeError::Fenced => unavailable(NOT_COMMITTED),
        ProposeError::Unknown { .. } => unavailable(OUTCOME_UNKNOWN),
        ProposeError::RequestIdReused => {
            let text = "the request id was used before for another request";
            failed(StatusCode::BAD_REQUEST, text)
        }
        ProposeError::Invalid(message) => failed(StatusCode::BAD_REQUEST, message),
    }
}

fn refused(refusal: &Refusal) -> Response<Body> {
    match refusal {
        Refusal::Busy => unavailable(NOT_COMMITTED),
        Refusal::Quarantined => unavailable(&refusal.to_string()),
        Refusal::TooFast { retry_after_s } => {
            let mut response = failed(StatusCode::TOO_MANY_REQUESTS, &refusal.to_string());
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*retry_after_s));
            response
        }
        Refusal::Unauthenticated(text) => {
            let mut response = failed(StatusCode::UNAUTHORIZED, text);
            response.headers_mut().insert(WWW_AUTHENTICATE, auth::CHALLENGE);
            response
        }
        Refusal::Forbidden(text) => failed(StatusCode::FORBIDDEN, text),
        Refusal::BadHeader(_) => failed(StatusCode::BAD_REQUEST, &refusal.to_string()),
        Refusal::BodyTooLarge(_) | Refusal::BodySlow | Refusal::BodyBroken(_) => {
            let status = match refusal {
                Refusal::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
                _ => StatusCode::BAD_REQUEST,
            };
            let mut response = failed(status, &refusal.to_string());
            // The rest of the body may still be coming; nothing else can be read from here.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}

fn unavailable(text: &str) -> Response<Body> {
    let mut response = failed(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(1));
    response
}

fn failed(status: StatusCode, text: &str) -> Response<Body> {
    envelope(status, json!(FailureData { reason: None }), text)
}
