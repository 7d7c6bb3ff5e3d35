//! What the gateway tells of itself, on a port of its own.
//!
//! - `GET /gateway/healthz`: 200 while a replica can be reached, else 503; how each one is.
//! - `GET /metrics`: Prometheus text.

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;

use super::{
    Gateway,
    upstream::{Health, Sight},
};
use crate::telemetry;

/// The routes.
pub(super) fn router(gateway: Gateway) -> Router {
    Router::new()
        .route("/gateway/healthz", get(health))
        .route("/metrics", get(metrics))
        .with_state(gateway)
}

#[derive(Serialize)]
struct Report {
    is_serving: bool,
    in_use: Option<String>,
    shown_index: u64,
    endpoints: Vec<EndpointReport>,
}

#[derive(Serialize)]
struct EndpointReport {
    endpoint: String,
    health: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    index: u64,
    is_configured: bool,
}

async fn health(State(gateway): State<Gateway>) -> Response {
    let report = report(&gateway);
    let status = if report.is_serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

fn report(gateway: &Gateway) -> Report {
    let roster = &gateway.roster;
    let endpoints: Vec<EndpointReport> = roster
        .upstreams()
        .iter()
        .map(|upstream| {
            let Sight { health, reason, index } = upstream.sight();
            EndpointReport {
                endpoint: upstream.endpoint.to_string(),
                health: health.name(),
                reason,
                index,
                is_configured: upstream.is_configured,
            }
        })
        .collect();
    Report {
        is_serving: endpoints.iter().any(|one| one.health == Health::Ready.name()),
        in_use: roster.current().map(|upstream| upstream.endpoint.to_string()),
        shown_index: roster.shown(),
        endpoints,
    }
}

async fn metrics(State(gateway): State<Gateway>) -> Response {
    let upstreams = gateway.roster.upstreams();
    let ready = upstreams.iter().filter(|upstream| upstream.health() == Health::Ready).count();
    metrics::gauge!(telemetry::GATEWAY_ENDPOINTS).set(upstreams.len() as f64);
    metrics::gauge!(telemetry::GATEWAY_ENDPOINTS_READY).set(ready as f64);
    telemetry::tidy_metrics();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], telemetry::render_metrics()).into_response()
}
