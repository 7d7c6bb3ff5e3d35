//! HTTP of the client port: parses, maps errors, decides nothing.
//!
//! One folder a family. What all families share lies in the files beside them: how current an
//! answer is ([`consistency`]), which wish it stands for ([`identity`]), its bounds ([`limit`]),
//! whose promises it keeps ([`profile`]), and its encoding. A new family is one more folder, one
//! field of [`Settings`] and one line in [`router`].

pub mod admin;
pub mod cello;
pub mod consistency;
mod encoding;
pub mod identity;
pub mod kvrocks;
pub mod limit;
pub mod profile;
pub mod undermoon;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{Method, request::Parts},
    middleware::{self, Next},
    response::Response,
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use self::{
    consistency::Consistency,
    limit::{Gate, Refusal},
    profile::Profile,
};
use crate::broker::{Broker, Call, Position, ReadError, RequestId, View};

/// What the configuration says about one client listener.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Time for an ordinary request.
    pub request_timeout: Duration,
    /// Oldest local state that is served; `None` serves any.
    pub read_staleness_max: Option<Duration>,
    /// Whether reads that do not say how current they must be are linearizable.
    pub is_linearizable_by_default: bool,
    /// Most requests at a time; more are refused at once.
    pub requests_in_flight_max: usize,
    /// The undermoon family.
    pub undermoon: undermoon::Settings,
    /// The kvrocks family.
    pub kvrocks: kvrocks::Settings,
    /// The cello family.
    pub cello: cello::Settings,
    /// The admin family.
    pub admin: admin::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_timeout: limit::REQUEST_TIMEOUT,
            read_staleness_max: Some(Duration::from_secs(2)),
            is_linearizable_by_default: false,
            requests_in_flight_max: limit::REQUESTS_IN_FLIGHT_MAX,
            undermoon: undermoon::Settings::default(),
            kvrocks: kvrocks::Settings::default(),
            cello: cello::Settings::default(),
            admin: admin::Settings::default(),
        }
    }
}

/// Every family of the client port. What no family serves is answered 404 with an empty body.
pub fn router(broker: Broker, settings: Settings) -> Router {
    let edge = Arc::new(Edge::new(broker, settings));
    Router::new()
        .merge(undermoon::router(Arc::clone(&edge)))
        .merge(kvrocks::router(Arc::clone(&edge)))
        .merge(cello::router(Arc::clone(&edge)))
        .merge(admin::router(Arc::clone(&edge)))
        .layer(middleware::from_fn_with_state(edge, stamp))
}

/// What every family's handlers work with.
pub(crate) struct Edge {
    pub(crate) broker: Broker,
    pub(crate) settings: Settings,
    gate: Gate,
    restore_gate: Gate,
}

/// One admitted request; holds its place in the gate until it is answered.
pub(crate) struct Visit {
    /// Who calls, with which id, and until when.
    pub(crate) call: Call,
    /// Whose promises the answer keeps.
    pub(crate) profile: Profile,
    /// Whether the answer may be compressed.
    pub(crate) takes_gzip: bool,
    consistency: Consistency,
    _place: OwnedSemaphorePermit,
}

impl Edge {
    fn new(broker: Broker, settings: Settings) -> Self {
        let gate = Gate::new(settings.requests_in_flight_max);
        Self { broker, settings, gate, restore_gate: Gate::new(limit::RESTORES_IN_FLIGHT_MAX) }
    }

    /// Admits a request, or says why not.
    pub(crate) fn admit(
        &self,
        family: &str,
        default: Profile,
        head: &Parts,
    ) -> Result<Visit, Refusal> {
        let place = self.gate.enter()?;
        let name = format!("{} {}", head.method, head.uri);
        let key = identity::request_id(family, &name, &head.headers);
        let is_change = head.method != Method::GET;
        let request_id = key.or_else(|| is_change.then(|| self.broker.new_request_id()));
        let caller = head.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Visit {
            call: Call {
                request_id,
                actor: caller.map_or_else(String::new, |info| info.0.ip().to_string()),
                deadline: Instant::now() + self.settings.request_timeout,
            },
            profile: Profile::of(&head.headers, default)?,
            takes_gzip: encoding::takes_gzip(&head.headers),
            consistency: Consistency::of(
                &head.uri,
                &head.headers,
                self.settings.is_linearizable_by_default,
            )?,
            _place: place,
        })
    }

    /// A place among the few requests that carry a whole state.
    pub(crate) fn admit_restore(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.restore_gate.enter()
    }

    /// The state, as current as the visit asks.
    pub(crate) async fn view(&self, visit: &Visit) -> Result<View, ReadError> {
        let staleness_max = self.settings.read_staleness_max;
        visit.consistency.view(&self.broker, staleness_max, visit.call.deadline).await
    }
}

/// Puts position and request id into the headers of every answer, errors included. A handler that
/// knows better leaves a [`Position`] or a [`RequestId`] in the answer's extensions.
async fn stamp(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let known = response.extensions().get::<Position>().copied();
    let position = known.unwrap_or_else(|| edge.broker.latest().position());
    let request_id = response.extensions().get::<RequestId>().copied();
    consistency::stamp(response.headers_mut(), position);
    if let Some(request_id) = request_id {
        identity::stamp(response.headers_mut(), request_id);
    }
    response
}
