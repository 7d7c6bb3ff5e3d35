//! Every way a request of the family can fail, and its status, code and body.

use axum::{
    body::Body,
    http::{
        HeaderValue, Response, StatusCode,
        header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Dialect, route::Generation};
use crate::{
    api::{auth, limit::Refusal, profile::Profile},
    broker::{ProposeError, ReadError},
    domain::undermoon::{Action, Rejection, reject::ConfigFault},
};

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The state refused.
    #[error("refused")]
    Rejected(#[source] Rejection, Operation),
    /// The log did not take the command, or did not say so in time.
    #[error("not proposed")]
    Propose(#[from] ProposeError),
    /// The state could not be read as currently as asked.
    #[error("not read")]
    Read(#[from] ReadError),
    /// Turned away before anything was asked of the state.
    #[error("turned away")]
    Refused(#[from] Refusal),
    /// Neither path nor method belong to a route.
    #[error("no such route")]
    NoRoute,
    /// The body has a content type that is not JSON.
    #[error("the content type is not JSON")]
    MediaType,
    /// The body is not the JSON the route takes.
    #[error("the body does not decode: {0}")]
    Json(String),
    /// The query string does not decode.
    #[error("the query does not decode: {0}")]
    Query(String),
    /// The document's version is missing or unknown.
    #[error("unknown version of the metadata")]
    MetaVersion,
    /// Route 14: proxies did not take the new metadata.
    #[error("the proxies did not reach the epoch")]
    ProxyNotSync,
    /// Committed, but this replica has not applied it within the deadline.
    #[error("committed but not yet applied here")]
    NotVisible,
    /// The answer could not be built.
    #[error("the answer could not be built: {0}")]
    Answer(String),
}

/// Operations whose refusals the documents name differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Route 12.
    Expand,
    /// Route 13.
    Shrink,
    /// Any other.
    Other,
}

impl From<&Action> for Operation {
    fn from(action: &Action) -> Self {
        match action {
            Action::Expand { .. } => Self::Expand,
            Action::Shrink { .. } => Self::Shrink,
            _ => Self::Other,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ErrorJson<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl<'a> ErrorJson<'a> {
    fn code(error: &'a str) -> Self {
        Self { error, key: None, value: None, message: None }
    }

    fn invalid_request(message: &'a str) -> Self {
        Self { message: Some(message), ..Self::code("INVALID_REQUEST") }
    }
}

/// The answer for a failure.
pub(super) fn respond(failure: &Failure, dialect: Dialect) -> Response<Body> {
    match failure {
        Failure::Rejected(rejection, operation) => rejected(rejection, *operation, dialect),
        Failure::Propose(error) => not_proposed(error),
        Failure::Refused(refusal) => refused(refusal),
        Failure::Read(ReadError::Quarantined) => quarantined(),
        Failure::Read(_) | Failure::NotVisible => {
            answer(StatusCode::GATEWAY_TIMEOUT, &ErrorJson::code("EXTERNAL_TIMEOUT"))
        }
        Failure::NoRoute => no_route(dialect),
        Failure::MediaType => {
            let message = "the request's content type is not application/json";
            answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, &ErrorJson::invalid_request(message))
        }
        Failure::Json(message) | Failure::Query(message) => {
            answer(StatusCode::BAD_REQUEST, &ErrorJson::invalid_request(message))
        }
        Failure::MetaVersion => {
            answer(StatusCode::CONFLICT, &ErrorJson::code("INVALID_META_VERSION"))
        }
        Failure::ProxyNotSync => {
            answer(StatusCode::INTERNAL_SERVER_ERROR, &ErrorJson::code("PROXY_NOT_SYNC"))
        }
        Failure::Answer(message) => {
            tracing::error!(reason = message, "answer could not be encoded");
            answer(StatusCode::INTERNAL_SERVER_ERROR, &ErrorJson::code("EXTERNAL"))
        }
    }
}

fn rejected(rejection: &Rejection, operation: Operation, dialect: Dialect) -> Response<Body> {
    let (status, code) = told(rejection, operation, dialect.profile);
    let mut body = ErrorJson::code(code);
    match rejection {
        Rejection::InvalidConfig { field, value, reason } => {
            body.key = Some(field);
            body.value = Some(value);
            body.message = Some(match reason {
                ConfigFault::FieldNotFound => "FIELD_NOT_FOUND",
                ConfigFault::InvalidValue => "INVALID_VALUE",
            });
        }
        Rejection::InvalidMetadata(message) | Rejection::InvalidSetting(message) => {
            body.message = Some(message);
        }
        _ => {}
    }
    answer(status, &body)
}

/// Status and code of a refusal.
pub(super) fn told(
    rejection: &Rejection,
    operation: Operation,
    profile: Profile,
) -> (StatusCode, &'static str) {
    let by_document = || by_document(rejection, operation).filter(|_| profile == Profile::Document);
    by_document().unwrap_or_else(|| by_program(rejection))
}

/// Status and code of the released programs (spec 2.3), and of the conditions added here.
fn by_program(rejection: &Rejection) -> (StatusCode, &'static str) {
    match rejection {
        Rejection::InUse => (StatusCode::CONFLICT, "IN_USE"),
        Rejection::NoAvailableResource => (StatusCode::CONFLICT, "NO_AVAILABLE_RESOURCE"),
        Rejection::AlreadyExisted => (StatusCode::CONFLICT, "ALREADY_EXISTED"),
        Rejection::ClusterNotFound => (StatusCode::NOT_FOUND, "CLUSTER_NOT_FOUND"),
        Rejection::ProxyNotFound => (StatusCode::NOT_FOUND, "PROXY_NOT_FOUND"),
        Rejection::FreeNodeNotFound => (StatusCode::NOT_FOUND, "FREE_NODE_NOT_FOUND"),
        Rejection::MigrationTaskNotFound => (StatusCode::NOT_FOUND, "MIGRATION_TASK_NOT_FOUND"),
        Rejection::FreeNodeFound => (StatusCode::CONFLICT, "FREE_NODE_FOUND"),
        Rejection::NodeNumAlreadyEnough => (StatusCode::CONFLICT, "NODE_NUM_ALREADY_ENOUGH"),
        Rejection::InvalidClusterName => (StatusCode::BAD_REQUEST, "INVALID_CLUSTER_NAME"),
        Rejection::InvalidNodeNumber => (StatusCode::BAD_REQUEST, "INVALID_NODE_NUMBER"),
        Rejection::InvalidProxyAddress => (StatusCode::BAD_REQUEST, "INVALID_PROXY_ADDRESS"),
        Rejection::InvalidMigrationTask => (StatusCode::BAD_REQUEST, "INVALID_MIGRATION_TASK"),
        Rejection::InvalidConfig { .. } => (StatusCode::BAD_REQUEST, "INVALID_CONFIG"),
        Rejection::SlotsAlreadyEven => (StatusCode::BAD_REQUEST, "SLOTS_ALREADY_EVEN"),
        Rejection::InvalidMetaVersion => (StatusCode::CONFLICT, "INVALID_META_VERSION"),
        Rejection::InvalidMetadata(_) => (StatusCode::BAD_REQUEST, "INVALID_METADATA"),
        Rejection::EpochSmallerThanCurrent => (StatusCode::CONFLICT, "EPOCH_SMALLER_THAN_CURRENT"),
        Rejection::MigrationRunning => (StatusCode::CONFLICT, "MIGRATION_RUNNING"),
        Rejection::ProxyResourceOutOfOrder => (StatusCode::CONFLICT, "PROXY_RESOURCE_OUT_OF_ORDER"),
        Rejection::OneClusterAlreadyExisted => {
            (StatusCode::CONFLICT, "ONE_CLUSTER_ALREADY_EXISTED")
        }
        Rejection::MissingServerProxyIndex => {
            (StatusCode::BAD_REQUEST, "MISSING_SERVER_PROXY_INDEX")
        }
        Rejection::NodeNumberChanging => (StatusCode::CONFLICT, "NODE_NUMBER_CHANGING"),
        Rejection::FailoverInOrderedMode => (StatusCode::CONFLICT, "ORDERED_PROXY_ENABLED"),
        Rejection::InvalidSetting(_) => (StatusCode::BAD_REQUEST, "INVALID_SETTING"),
    }
}

/// Where the documents name another status or code for the same refusal.
fn by_document(rejection: &Rejection, operation: Operation) -> Option<(StatusCode, &'static str)> {
    Some(match (operation, rejection) {
        (Operation::Expand, Rejection::SlotsAlreadyEven) => (StatusCode::CONFLICT, "FreeNodeFound"),
        (Operation::Shrink, Rejection::FreeNodeFound) => {
            (StatusCode::CONFLICT, "SLOTS_ALREADY_EVEN")
        }
        (_, Rejection::FreeNodeNotFound) => (StatusCode::CONFLICT, "FREE_NODE_NOT_FOUND"),
        (_, Rejection::InvalidConfig { .. }) => (StatusCode::CONFLICT, "INVALID_CONFIG"),
        _ => return None,
    })
}

/// Codes that existing clients understand for what a single broker never had to say. Never 404:
/// a committing coordinator takes that for success.
fn not_proposed(error: &ProposeError) -> Response<Body> {
    match error {
        ProposeError::NotAccepted { retry_after_ms, .. } => {
            let mut response = answer(StatusCode::CONFLICT, &ErrorJson::code("RETRY"));
            let seconds = retry_after_ms.div_ceil(1000).max(1);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        ProposeError::Fenced => answer(StatusCode::CONFLICT, &ErrorJson::code("RETRY")),
        ProposeError::Unknown { .. } => {
            answer(StatusCode::GATEWAY_TIMEOUT, &ErrorJson::code("EXTERNAL_TIMEOUT"))
        }
        ProposeError::RequestIdReused => {
            let message = "the idempotency key was used before for another request";
            let body = ErrorJson { message: Some(message), ..ErrorJson::code("REQUEST_ID_REUSED") };
            answer(StatusCode::UNPROCESSABLE_ENTITY, &body)
        }
        ProposeError::Invalid(message) => {
            answer(StatusCode::BAD_REQUEST, &ErrorJson::invalid_request(message))
        }
    }
}

/// Nothing this replica says can be believed; another one has the truth.
fn quarantined() -> Response<Body> {
    let message = Refusal::Quarantined.to_string();
    let body = ErrorJson { message: Some(&message), ..ErrorJson::code("RETRY") };
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, &body);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(1));
    response
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let later = |status: StatusCode, seconds: u64| {
        let mut response = answer(status, &ErrorJson::code("RETRY"));
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        response
    };
    let barred = |status: StatusCode, code: &'static str, message: &'static str| {
        answer(status, &ErrorJson { message: Some(message), ..ErrorJson::code(code) })
    };
    let status = match refusal {
        Refusal::Busy => return later(StatusCode::SERVICE_UNAVAILABLE, 1),
        Refusal::Quarantined => return quarantined(),
        Refusal::TooFast { retry_after_s } => {
            return later(StatusCode::TOO_MANY_REQUESTS, *retry_after_s);
        }
        Refusal::Unauthenticated(message) => {
            let mut response = barred(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message);
            response.headers_mut().insert(WWW_AUTHENTICATE, auth::CHALLENGE);
            return response;
        }
        Refusal::Forbidden(message) => {
            return barred(StatusCode::FORBIDDEN, "FORBIDDEN", message);
        }
        Refusal::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::BodySlow => StatusCode::REQUEST_TIMEOUT,
        Refusal::BodyBroken(_) | Refusal::BadHeader(_) => StatusCode::BAD_REQUEST,
    };
    let mut response = answer(status, &ErrorJson::invalid_request(&refusal.to_string()));
    if !matches!(refusal, Refusal::BadHeader(_)) {
        // The rest of the body may still be coming; nothing else can be read from here.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The programs answer 405 on `/api/v3` and 404 on `/api/v2`, for unknown paths and wrong methods
/// alike.
fn no_route(dialect: Dialect) -> Response<Body> {
    let status = match dialect.generation {
        Generation::V2 => StatusCode::NOT_FOUND,
        Generation::V3 => StatusCode::METHOD_NOT_ALLOWED,
    };
    answer(status, &ErrorJson::invalid_request("no route has this method and path"))
}

fn answer(status: StatusCode, body: &ErrorJson<'_>) -> Response<Body> {
    // Text and optional text always encode; an empty body would still carry the status.
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[cfg(test)]
#[path = "error_test.rs"]
mod tests;
