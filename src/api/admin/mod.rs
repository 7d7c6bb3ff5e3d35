//! What operators and monitoring ask of a replica: health, metrics, status, settings.
//!
//! - `GET /livez`: the process is fine; never depends on other replicas.
//! - `GET /readyz[?verbose]`: whether clients should be sent here.
//! - `GET /metrics`: Prometheus text.
//! - `GET /quorate/v1/status`, `/digest`, `/log?from=&to=`: what this replica knows and has.
//! - `GET`, `PUT /quorate/v1/undermoon/settings`: replicated settings, changed through the log.
//! - `GET /quorate/v1/events`: the change feed.
//! - `GET`, `POST /quorate/v1/members`, and below them `DELETE`, `PATCH /{id}`, `POST
//!   /{id}/promote`, `/{id}/replace`: the members of the cluster.
//! - `GET`, `POST /quorate/v1/feature-level`: which meanings the log uses, and letting more in.
//! - `POST /quorate/v1/leader/transfer`, `/snapshot`; `GET /quorate/v1/leaders`: who led lately.
//! - `GET`, `POST /quorate/v1/tokens`, `DELETE /quorate/v1/tokens/{id}`: who may do what.
//! - `GET /quorate/v1/secrets`, `POST /quorate/v1/secrets/rotate`: how secrets are kept; seals them
//!   with the first key.
//! - `GET /quorate/v1/audit`: who changed what, as JSON lines.
//! - `GET /quorate/v1/backup`: a backup, as it comes; `POST`, `GET /quorate/v1/backups`: those in
//!   this replica's own directory.
//!
//! Errors are `{"error":{"code","message"}}`.

mod audit;
mod backup;
pub(super) mod describe;
mod error;
mod events;
mod feature_level;
mod health;
mod members;
mod routes;
mod secrets;
mod tokens;
mod wire;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    routing::{any, delete, get, post},
};
use tokio_util::sync::CancellationToken;

use super::Edge;
use crate::client::backups::Backups;

/// Name of the family, in request ids and logs.
const FAMILY: &str = "admin";
/// Most entries one look at the log returns.
const LOG_ENTRIES_MAX: usize = 1_000;
/// Time for another replica to take over.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the program tells the family.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether the replica is stopping; shared by all listeners.
    pub stopping: Stopping,
    /// Where this replica keeps backups, if anywhere.
    pub backups: Option<Arc<Backups>>,
}

/// Set once, when the replica begins to stop.
#[derive(Clone, Debug, Default)]
pub struct Stopping(CancellationToken);

impl Stopping {
    /// From now on the replica is not ready.
    pub fn set(&self) {
        self.0.cancel();
    }

    fn get(&self) -> bool {
        self.0.is_cancelled()
    }

    async fn wait(&self) {
        self.0.cancelled().await;
    }
}

/// The family's part of the client port.
pub(super) fn router(edge: Arc<Edge>) -> Router {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/quorate/v1/status", get(routes::status))
        .route("/quorate/v1/digest", get(routes::digest))
        .route("/quorate/v1/log", get(routes::log))
        .route("/quorate/v1/events", get(events::events))
        .route("/quorate/v1/undermoon/settings", get(routes::settings).put(routes::change_settings))
        .route("/quorate/v1/leaders", get(routes::leaders))
        .route("/quorate/v1/leader/transfer", post(routes::transfer_leader))
        .route("/quorate/v1/members", get(members::list).post(members::add))
        .route("/quorate/v1/members/{id}", delete(members::remove).patch(members::update))
        .route("/quorate/v1/members/{id}/promote", post(members::promote))
        .route("/quorate/v1/members/{id}/heal", post(members::heal))
        .route("/quorate/v1/members/{id}/replace", post(members::replace))
        .route("/quorate/v1/feature-level", get(feature_level::show).post(feature_level::raise))
        .route("/quorate/v1/snapshot", post(routes::snapshot))
        .route("/quorate/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/quorate/v1/tokens/{id}", delete(tokens::revoke))
        .route("/quorate/v1/secrets", get(secrets::report))
        .route("/quorate/v1/secrets/rotate", post(secrets::rotate))
        .route("/quorate/v1/audit", get(audit::range))
        .route("/quorate/v1/backup", get(backup::stream))
        .route("/quorate/v1/backups", get(backup::list).post(backup::create))
        .route("/quorate/v1/backups/{name}", get(backup::fetch))
        .route("/quorate/{*path}", any(error::no_route))
        .method_not_allowed_fallback(error::no_method)
        .with_state(edge)
}
