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
pub(super) mod describe;
mod error;
mod failover;
mod handle;
mod import;
mod load;
mod metrics;
mod migrate;
mod operate;
mod probe;
mod rehearse;
mod route;
mod status;
mod wire;

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header::LOCATION, request::Parts},
    response::Response,
    routing::any,
};
use futures::FutureExt;
use tokio::time::Instant;

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
        // The profiles of the original's runtime; there is nothing like them to show.
        .route("/debug/pprof", any(serve))
        .route("/debug/pprof/", any(serve))
        .route("/debug/pprof/{*path}", any(serve))
        .with_state(Arc::new(Family { edge, nodes }))
}

/// Admits a request, finds its route and answers it; never fails.
async fn serve(State(family): State<Arc<Family>>, request: Request) -> Response {
    let since = Instant::now();
    let (head, body) = request.into_parts();
    let found = route::parse(&head.method, head.uri.path());
    let pattern = match &found {
        route::Found::Route(route) => route.pattern(),
        route::Found::Slashless(_) | route::Found::Nothing => metrics::NOT_FOUND,
    };
    let response = answer(&family, found, &head, body).await;
    metrics::count(pattern, &head.method, since, &response);
    response
}

async fn answer(family: &Family, found: route::Found, head: &Parts, body: Body) -> Response {
    let default = family.edge.settings.kvrocks.profile;
    let visit = match family.edge.admit(FAMILY, default, head) {
        Ok(visit) => visit,
        Err(refusal) => {
            // Also who is turned away is answered as asked, if that can be told.
            let profile = Profile::of(&head.headers, default).unwrap_or(default);
            return error::respond(&refusal.into(), profile);
        }
    };
    let handled = match found {
        route::Found::Nothing => Err(Failure::NoRoute),
        route::Found::Slashless(path) => Ok(redirect(&head.method, &path, head.uri.query())),
        route::Found::Route(route) => {
            guarded(handle::handle(family, &visit, route, head, body)).await
        }
    };
    let mut response = handled.unwrap_or_else(|failure| error::respond(&failure, visit.profile));
    if let Some(request_id) = visit.call.request_id {
        response.extensions_mut().insert(request_id);
    }
    response
}

/// A fault of a handler is answered, where the original drops the connection.
async fn guarded(handled: impl Future<Output = handle::Answer>) -> handle::Answer {
    let caught = AssertUnwindSafe(handled).catch_unwind().await;
    caught.unwrap_or_else(|_| Err(Failure::Answer("a handler panicked".to_owned())))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fault_of_a_handler_is_an_answer() {
        let handled = guarded(async { panic!("a fault") }).await;
        let response = error::respond(&handled.unwrap_err(), Profile::Program);
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
        assert_eq!(body, r#"{"error":{"message":"internal error"},"data":null}"#);
    }
}
