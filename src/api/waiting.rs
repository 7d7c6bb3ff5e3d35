//! What a replica answers while it waits to be taken in by the cluster it joins: that it is alive,
//! that it is not ready, and nothing else.

use axum::{
    Router,
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
    routing::{any, get},
};

/// Seconds after which asking again makes sense.
const RETRY_AFTER_S: u32 = 1;

/// `GET /livez`, and 503 with the reason for everything else, `GET /readyz` included.
pub fn router() -> Router {
    Router::new().route("/livez", get(async || "ok\n")).fallback(any(later))
}

/// As `GET /readyz` of a running replica answers, with the one check that fails.
async fn later() -> Response {
    let text = "[-] joining: not taken in by the cluster yet\nnot ready\n";
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, RETRY_AFTER_S)], text).into_response()
}
