//! Failures of the admin routes, as `{"error":{"code","message"}}`.

use std::io;

use axum::{
    Json,
    http::{
        StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    api::{auth, limit::Refusal},
    broker::{
        ProposeError, ReadError,
        engine::{Compacted, MemberError, TransferError},
        secrets::ResealError,
    },
    domain::{system::access, undermoon::Rejection},
};

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Turned away before anything was asked.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Body or query do not decode.
    #[error("{0}")]
    Malformed(String),
    /// The state machine refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The state machine refused a token.
    #[error(transparent)]
    Access(#[from] access::Rejection),
    /// The log did not take it, or may have.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The state could not be made as current as asked.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Leadership stays where it is.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// What was asked for is no longer kept.
    #[error("{0}; read the state again and go on from the Quorate-Index of that answer plus one")]
    Compacted(#[from] Compacted),
    /// The members stay as they are, or may not have.
    #[error(transparent)]
    Members(#[from] MemberError),
    /// Secrets stay as they are.
    #[error(transparent)]
    Reseal(ResealError),
    /// The disk or the log could not do it.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// This replica keeps no backups.
    #[error(
        "this replica has no backup_dir and no backup_bucket in its configuration; set one, or have \
         the backup sent with `quorate ctl backup create --to FILE`"
    )]
    NoBackupDir,
    /// None of that name.
    #[error("there is no backup {0}; see `quorate ctl backup list`")]
    NoSuchBackup(String),
    /// One at a time.
    #[error("this replica is writing a backup already; try again when it is done")]
    BackupUnderWay,
    /// The answer has another kind than the command.
    #[error("unexpected reply: {0}")]
    Reply(String),
}

impl From<ResealError> for Failure {
    fn from(error: ResealError) -> Self {
        match error {
            ResealError::Read(error) => error.into(),
            ResealError::Propose(error) => error.into(),
            error @ (ResealError::NoKey | ResealError::FeatureLevel { .. }) => Self::Reseal(error),
        }
    }
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::Refused(Refusal::Busy | Refusal::Quarantined) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused(Refusal::TooFast { .. }) => StatusCode::TOO_MANY_REQUESTS,
            Self::Refused(Refusal::Unauthenticated(_)) => StatusCode::UNAUTHORIZED,
            Self::Refused(Refusal::Forbidden(_)) => StatusCode::FORBIDDEN,
            Self::Refused(Refusal::BodyTooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Refused(Refusal::BodySlow) => StatusCode::REQUEST_TIMEOUT,
            Self::Refused(Refusal::BodyBroken(_) | Refusal::BadHeader(_))
            | Self::Malformed(_)
            | Self::Members(MemberError::Invalid(_))
            | Self::Propose(ProposeError::Invalid(_))
            | Self::Access(access::Rejection::Invalid(_)) => StatusCode::BAD_REQUEST,
            Self::Access(access::Rejection::NotFound) | Self::NoSuchBackup(_) => {
                StatusCode::NOT_FOUND
            }
            Self::Rejected(_)
            | Self::Access(_)
            | Self::Propose(ProposeError::RequestIdReused | ProposeError::Fenced)
            | Self::NoBackupDir
            | Self::BackupUnderWay
            | Self::Reseal(_)
            | Self::Transfer(_)
            | Self::Members(
                MemberError::Refused(_) | MemberError::AnotherDisk(_) | MemberError::Removed(_),
            ) => StatusCode::CONFLICT,
            Self::Members(MemberError::NotFound(_)) => StatusCode::NOT_FOUND,
            Self::Members(MemberError::InProgress | MemberError::NotAccepted(_)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Members(MemberError::Unknown(_)) => StatusCode::GATEWAY_TIMEOUT,
            Self::Propose(ProposeError::NotAccepted { .. })
            | Self::Read(ReadError::NotReady | ReadError::Quarantined | ReadError::Stale { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Propose(ProposeError::Unknown { .. }) | Self::Read(ReadError::Timeout { .. }) => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::Compacted(_) => StatusCode::GONE,
            Self::Disk(_) | Self::Reply(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::Busy) => "overloaded",
            Self::Refused(Refusal::Quarantined) | Self::Read(ReadError::Quarantined) => {
                "quarantined"
            }
            Self::Refused(Refusal::TooFast { .. }) => "too_many_requests",
            Self::Refused(Refusal::Unauthenticated(_)) => "unauthenticated",
            Self::Refused(Refusal::Forbidden(_)) => "forbidden",
            Self::Access(access::Rejection::NotFound) | Self::NoSuchBackup(_) => "not_found",
            Self::Access(access::Rejection::Invalid(_)) => "invalid_request",
            Self::Access(_) => "refused",
            Self::Refused(_) | Self::Malformed(_) => "invalid_request",
            Self::Propose(ProposeError::Invalid(_)) => "invalid_request",
            Self::Rejected(_) => "refused",
            Self::Propose(ProposeError::NotAccepted { .. }) => "not_accepted",
            Self::Propose(ProposeError::Unknown { .. }) => "outcome_unknown",
            Self::Propose(ProposeError::RequestIdReused) => "request_id_reused",
            Self::Propose(ProposeError::Fenced) => "fenced",
            Self::Read(ReadError::NotReady) => "not_ready",
            Self::Read(ReadError::Stale { .. }) => "stale",
            Self::Read(ReadError::Timeout { .. }) => "timeout",
            Self::Transfer(_) => "not_transferred",
            Self::Compacted(_) => "compacted",
            Self::Reseal(ResealError::NoKey) => "no_secrets_key_file",
            Self::Reseal(_) => "feature_level",
            Self::NoBackupDir => "no_backup_dir",
            Self::BackupUnderWay => "backup_under_way",
            Self::Members(MemberError::Invalid(_)) => "invalid_request",
            Self::Members(MemberError::NotFound(_)) => "not_found",
            Self::Members(MemberError::Refused(_)) => "refused",
            Self::Members(MemberError::AnotherDisk(_)) => "another_disk",
            Self::Members(MemberError::Removed(_)) => "removed",
            Self::Members(MemberError::InProgress) => "in_progress",
            Self::Members(MemberError::NotAccepted(_)) => "not_accepted",
            Self::Members(MemberError::Unknown(_)) => "outcome_unknown",
            Self::Disk(_) | Self::Reply(_) => "internal",
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if let Self::Compacted(Compacted { oldest }) = self {
            return compacted(oldest, &self.to_string());
        }
        let mut response = answer(self.status(), self.code(), &self.to_string());
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, 1.into());
        }
        match self {
            Self::Refused(Refusal::TooFast { retry_after_s }) => {
                response.headers_mut().insert(RETRY_AFTER, retry_after_s.into());
            }
            Self::Refused(Refusal::Unauthenticated(_)) => {
                response.headers_mut().insert(WWW_AUTHENTICATE, auth::CHALLENGE);
            }
            _ => {}
        }
        response
    }
}

/// `{"error":{"code","message"}}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct ErrorAnswer<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize, JsonSchema)]
struct ErrorBody<'a> {
    /// For programs.
    code: &'a str,
    /// For people.
    message: &'a str,
    /// The oldest revision that is kept, with the code `compacted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<u64>,
}

/// Tells besides where what is kept begins.
fn compacted(oldest: u64, message: &str) -> Response {
    let error = ErrorBody { code: "compacted", message, oldest: Some(oldest) };
    (StatusCode::GONE, Json(ErrorAnswer { error })).into_response()
}

/// Every path below `/quorate` without a route.
pub(super) async fn no_route() -> Response {
    answer(StatusCode::NOT_FOUND, "not_found", "no such route")
}

/// A route that does not take the method.
pub(super) async fn no_method() -> Response {
    answer(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the route has no such method")
}

fn answer(status: StatusCode, code: &str, message: &str) -> Response {
    let error = ErrorBody { code, message, oldest: None };
    (status, Json(ErrorAnswer { error })).into_response()
}
