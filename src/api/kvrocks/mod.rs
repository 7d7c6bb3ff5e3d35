//! The Kvrocks controller's HTTP interface under `/api/v1`.
//!
//! Begin with `route` (which request is which) and `handle` (what is done with it). What needs
//! a node before it is proposed has a file of its own: `create`, `import`, `failover`;
//! `migrate` waits for the leader to give the order. Inputs are read leniently in `body`;
//! answers are shaped in `wire`, failures in `error`. Section numbers in comments refer to the
//! family's specification.
//!
//! Besides the routes of the original there are a queue of migrations, requested pushes, rehearsals
//! (`?dry_run=true`), and, under `/quorate/v1/kvrocks`, settings and what our replicas observe.

mod body;
mod create;
mod error;
mod failover;
mod handle;
mod import;
mod migrate;
mod operate;
mod probe;
mod rehearse;
mod route;
mod status;
mod wire;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header::LOCATION},
    response::Response,
    routing::any,
};

use self::error::Failure;
use super::{Edge, Visit, profile::Profile};
use crate::{client::node_call::NodeCall, observe::kvrocks::Observatory};

/// Name of the family, in request ids and logs.
const FAMILY: &str = "kvrocks";
const PREFIX: &str = "/api/v1";

/// What the configuration says about the family on one listener.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whose promises `/api/v1` keeps.
    pub profile: Profile,
    /// What this replica sees of the nodes.
    pub observatory: Arc<Observatory>,
}

/// What the handlers of the family share.
pub(super) struct Family {
    edge: Arc<Edge>,
    nodes: Arc<dyn NodeCall>,
}

/// The family's part of the client port.
pub(super) fn router(edge: Arc<Edge>) -> Router {
    let nodes: Arc<dyn NodeCall> = edge.settings.kvrocks.observatory.shared_nodes();
    Router::new()
        .route(PREFIX, any(serve))
        .route("/api/v1/", any(serve))
        .route("/api/v1/{*path}", any(serve))
        .route("/quorate/v1/kvrocks/{*path}", any(serve))
        .with_state(Arc::new(Family { edge, nodes }))
}

/// Admits a request, finds its route and answers it; never fails.
async fn serve(State(family): State<Arc<Family>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let default = family.edge.settings.kvrocks.profile;
    let visit = match family.edge.admit(FAMILY, default, &head) {
        Ok(visit) => visit,
        Err(refusal) => return error::respond(&refusal.into(), default),
    };
    let handled = match route::parse(&head.method, head.uri.path()) {
        route::Found::Nothing => Err(Failure::NoRoute),
        route::Found::Slashless(path) => Ok(redirect(&head.method, &path, head.uri.query())),
        route::Found::Route(route) => handle::handle(&family, &visit, route, &head, body).await,
    };
    let mut response = handled.unwrap_or_else(|failure| error::respond(&failure, visit.profile));
    tracing::debug!(
        family = FAMILY,
        method = %head.method,
        path = head.uri.path(),
        status = response.status().as_u16(),
        "request"
    );
    if let Some(request_id) = visit.call.request_id {
        response.extensions_mut().insert(request_id);
    }
    response
}

/// A known route with a slash too many is elsewhere.
fn redirect(method: &axum::http::Method, path: &str, query: Option<&str>) -> Response {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::default();
    *response.status_mut() = match *method {
        axum::http::Method::GET => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::TEMPORARY_REDIRECT,
    };
    if let Ok(location) = HeaderValue::from_str(&format!("{path}{query}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
