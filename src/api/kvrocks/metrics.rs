//! The metrics that dashboards of the original read (spec 2.7), by route pattern.

use axum::{
    body::{Body, HttpBody},
    http::{Method, Response},
};
use tokio::time::Instant;

use crate::telemetry;

/// The original labels with the `Host` header, which clients choose; one value bounds it.
const HOST: &str = "-";
/// Pattern of whatever is no route.
pub(super) const NOT_FOUND: &str = "/not_found";

/// Counts an answer.
pub(super) fn count(
    pattern: &'static str,
    method: &Method,
    since: Instant,
    answer: &Response<Body>,
) {
    let labels = [
        ("host", HOST.to_owned()),
        ("uri", pattern.to_owned()),
        ("method", name(method).to_owned()),
        ("code", answer.status().as_str().to_owned()),
    ];
    let elapsed_ms = since.elapsed().as_secs_f64() * 1_000.0;
    metrics::histogram!(telemetry::KVROCKS_REQUEST_LATENCY, &labels).record(elapsed_ms);
    metrics::counter!(telemetry::KVROCKS_HTTP_CODE, &labels).increment(1);
    let bytes = answer.body().size_hint().exact().unwrap_or_default();
    metrics::counter!(telemetry::KVROCKS_HTTP_PAYLOAD, &labels).increment(bytes);
}

/// Clients may send any word for a method.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
