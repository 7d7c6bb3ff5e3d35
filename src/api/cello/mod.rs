//! The cluster pool's HTTP interface: `/v2` for users, `/api` and `/quorate/v1/pool` for operators.
//!
//! Begin with `route` (which request is which) and `handle` (what users ask); `hosts` and `admin`
//! have what operators ask. `input` says where parameters come from, answers are shaped in `wire`,
//! failures in `error`. Section numbers in comments refer to the family's specification.
//!
//! Nothing here touches a host, but for the ping before one is added. What has to be done there is
//! proposed as an intent and carried out by the leader; requests that have to wait for it look at
//! the state until it is done.

mod admin;
pub(super) mod describe;
mod error;
mod filter;
mod handle;
mod hosts;
mod input;
mod route;
mod template;
mod time;
mod wire;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
    routing::any,
};

use self::{
    error::Failure,
    route::{Door, Found},
};
use super::{Edge, Visit, profile::Profile};
use crate::client::host_ping::HostPing;

/// Name of the family, in request ids and logs.
const FAMILY: &str = "cello";
/// Where operators find everything.
const OPERATE: &str = "/quorate/v1/pool";

/// What the original's operators know below `/api`.
const ORIGINAL_PATHS: [&str; 10] = [
    "hosts",
    "host",
    "host/{id}",
    "host_op",
    "clusters",
    "cluster",
    "cluster/{id}",
    "cluster_op",
    "stat",
    "health",
];

/// Which of the family's doors a listener has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doors {
    /// For users and for operators.
    #[default]
    All,
    /// `/v2` alone.
    Users,
    /// `/api` and `/quorate/v1/pool` alone.
    Operators,
    /// None.
    None,
}

/// What the configuration says about the family on one listener.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which doors it has.
    pub doors: Doors,
    /// Pings the daemon of a host before it is added; without, the leader's loop finds out.
    pub ping: Option<Arc<dyn HostPing>>,
}

/// The family's part of the client port.
pub(super) fn router(edge: Arc<Edge>) -> Router {
    let doors = edge.settings.cello.doors;
    let mut router = Router::new();
    if matches!(doors, Doors::All | Doors::Users) {
        for path in ["/v2", "/v2/", "/v2/{*path}"] {
            router = router.route(path, any(serve));
        }
    }
    if matches!(doors, Doors::All | Doors::Operators) {
        for path in ORIGINAL_PATHS {
            // With a slash behind it nothing is meant, which is said in an envelope too.
            router = router.route(&format!("/api/{path}"), any(serve));
            router = router.route(&format!("/api/{path}/"), any(serve));
        }
        for path in ["", "/", "/{*path}"] {
            router = router.route(&format!("{OPERATE}{path}"), any(serve));
        }
    }
    router.with_state(edge)
}

/// Admits a request, finds its route and answers it; never fails.
async fn serve(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let visit = match edge.admit(FAMILY, Profile::default(), &head) {
        Ok(visit) => visit,
        Err(refusal) => return error::respond(&refusal.into()),
    };
    let handled = match Door::of(head.uri.path()) {
        None => Err(Failure::NoRoute),
        Some((door, rest)) => match route::parse(&head.method, door, rest) {
            Found::Nothing => Err(Failure::NoRoute),
            Found::Method(allowed) => Err(Failure::Method(allowed)),
            Found::Route(route) => handle::handle(&edge, &visit, (door, route), &head, body).await,
        },
    };
    let mut response = handled.unwrap_or_else(|failure| error::respond(&failure));
    if let Some(request_id) = visit.call.request_id {
        response.extensions_mut().insert(request_id);
    }
    response
}
