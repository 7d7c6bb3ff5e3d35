//! The gateway's own answers: why a request was not carried to a replica, or not back.
//!
//! Each family's clients get an error of the shape they know. Never 404: a committing coordinator
//! takes that for success.

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER},
    },
    response::Response,
};
use serde_json::{Value, json};

/// Whose clients speak on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `/api/v2`, `/api/v3`.
    Undermoon,
    /// `/api/v1`.
    Kvrocks,
    /// `/v2`.
    Cello,
    /// Everything else.
    Admin,
}

impl Family {
    /// The family of a path.
    pub(super) fn of(path: &str) -> Self {
        let is_below = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if is_below("/api/v2") || is_below("/api/v3") {
            Self::Undermoon
        } else if is_below("/api/v1") {
            Self::Kvrocks
        } else if is_below("/v2") {
            Self::Cello
        } else {
            Self::Admin
        }
    }
}

/// Why a request was not answered by a replica.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Too many requests at a time.
    #[error("too many requests at a time")]
    Busy,
    /// The body is larger than the gateway takes.
    #[error("the request body is larger than {0} bytes")]
    BodyTooLarge(u64),
    /// The client stopped sending inside the body.
    #[error("the request body did not arrive in time")]
    BodySlow,
    /// The body cannot be read.
    #[error("the request body broke off: {0}")]
    BodyBroken(String),
    /// No replica took the request.
    #[error("no replica takes requests now, nothing was changed, please retry")]
    NoReplica,
    /// A replica took a read and did not answer it properly.
    #[error("the replica broke off its answer, please retry")]
    Broken,
    /// No replica answered a read in time.
    #[error("no replica answered in time, please retry")]
    Late,
    /// A replica took a change, and did not say what became of it.
    #[error("the outcome is unknown, retry with the same idempotency key")]
    Unknown,
}

impl Refusal {
    /// As a label of a metric.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::BodySlow => "body_slow",
            Self::BodyBroken(_) => "body_broken",
            Self::NoReplica => "no_replica",
            Self::Broken => "broken",
            Self::Late => "late",
            Self::Unknown => "unknown",
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Busy | Self::NoReplica => StatusCode::SERVICE_UNAVAILABLE,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodySlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken(_) => StatusCode::BAD_REQUEST,
            Self::Broken => StatusCode::BAD_GATEWAY,
            Self::Late | Self::Unknown => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The answer for the client of a family, whose request had these headers.
    pub(super) fn respond(&self, family: Family, headers: &HeaderMap) -> Response {
        let status = self.status();
        let body = match family {
            Family::Undermoon => self.undermoon(),
            Family::Kvrocks => self.kvrocks(headers),
            Family::Cello => json!({
                "code": status.as_u16(), "data": {}, "error": self.to_string(), "status": "FAIL",
            }),
            Family::Admin => {
                json!({ "error": { "code": self.name(), "message": self.to_string() } })
            }
        };
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let answer = response.headers_mut();
        answer.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self {
            Self::Busy | Self::NoReplica => {
                answer.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // The rest of the body may still be coming; nothing else can be read from here.
            Self::BodyTooLarge(_) | Self::BodySlow | Self::BodyBroken(_) => {
                answer.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Broken | Self::Late | Self::Unknown => {}
        }
        response
    }

    fn undermoon(&self) -> Value {
        let code = match self {
            Self::Busy | Self::NoReplica => "RETRY",
            Self::Broken => "EXTERNAL",
            Self::Late | Self::Unknown => "EXTERNAL_TIMEOUT",
            Self::BodyTooLarge(_) | Self::BodySlow | Self::BodyBroken(_) => "INVALID_REQUEST",
        };
        json!({ "error": code, "message": self.to_string() })
    }

    fn kvrocks(&self, headers: &HeaderMap) -> Value {
        let error = json!({ "message": self.to_string() });
        if headers.get("quorate-profile").is_some_and(|value| value == "program") {
            return json!({ "error": error, "data": null });
        }
        json!({ "error": error })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn paths_belong_to_families() {
        assert_eq!(Family::of("/api/v3/epoch"), Family::Undermoon);
        assert_eq!(Family::of("/api/v2"), Family::Undermoon);
        assert_eq!(Family::of("/api/v1/namespaces"), Family::Kvrocks);
        assert_eq!(Family::of("/v2/hosts"), Family::Cello);
        assert_eq!(Family::of("/v22/hosts"), Family::Admin);
        assert_eq!(Family::of("/quorate/v1/status"), Family::Admin);
    }

    async fn check(refusal: Refusal, path: &str, status: u16, body: &str) {
        let response = refusal.respond(Family::of(path), &HeaderMap::new());
        assert_eq!(response.status().as_u16(), status, "{refusal:?} {path}");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let found = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(found.starts_with(body), "{refusal:?} {path}: {found}");
    }

    #[tokio::test]
    async fn refusals_look_as_the_families_clients_expect() {
        check(Refusal::NoReplica, "/api/v3/epoch", 503, r#"{"error":"RETRY","#).await;
        check(Refusal::Unknown, "/api/v3/epoch", 504, r#"{"error":"EXTERNAL_TIMEOUT","#).await;
        check(Refusal::Broken, "/api/v2/epoch", 502, r#"{"error":"EXTERNAL","#).await;
        check(Refusal::NoReplica, "/api/v1/x", 503, r#"{"error":{"message":"no replica"#).await;
        check(Refusal::Busy, "/v2/hosts", 503, r#"{"code":503,"data":{},"error":"too many"#).await;
        let admin = r#"{"error":{"code":"body_too_large","message":"the request body"#;
        check(Refusal::BodyTooLarge(5), "/quorate/v1/x", 413, admin).await;
    }
}
