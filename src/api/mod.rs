//! HTTP of the client port: parses, maps errors, decides nothing.
//!
//! One folder a family. What all families share lies in the files beside them: how current an
//! answer is ([`consistency`]), which wish it stands for ([`identity`]), its bounds ([`limit`]),
//! whose promises it keeps ([`profile`]), who may ask ([`auth`]), how often ([`share`]), and its
//! encoding; also the web console, and the refusal of what foreign pages send. A new family is one more folder, one
//! field of [`Settings`] and one line in [`App::new`].

pub mod admin;
pub mod auth;
pub mod cello;
pub mod consistency;
mod console;
mod encoding;
pub mod identity;
pub mod kvrocks;
pub mod limit;
mod measure;
pub mod openapi;
mod origin;
pub mod profile;
pub mod share;
pub mod undermoon;
pub mod waiting;

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant as StdInstant},
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    http::{Method, request::Parts},
    response::Response,
};
use futures::FutureExt;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tower::ServiceExt;

use self::{
    auth::{Anonymous, Keeper},
    consistency::Consistency,
    identity::Wish,
    limit::{Gate, Refusal},
    measure::{Measured, Meters},
    profile::Profile,
    share::{Share, Shares},
};
use crate::{
    broker::{Actor, Broker, Call, Position, ReadError, RequestId, View},
    domain::system::access::{Family, Role},
    telemetry,
};

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
    /// Who may do what, and how often.
    pub guard: Guard,
    /// The undermoon family.
    pub undermoon: undermoon::Settings,
    /// The kvrocks family.
    pub kvrocks: kvrocks::Settings,
    /// The cello family.
    pub cello: cello::Settings,
    /// The admin family.
    pub admin: admin::Settings,
}

/// Who may do what on a listener, and how often.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Checks tokens.
    pub keeper: Keeper,
    /// What may be done without a token.
    pub anonymous: Anonymous,
    /// Bounds of each client.
    pub shares: Arc<Shares>,
}

impl Default for Guard {
    /// Everybody may do everything.
    fn default() -> Self {
        let families = [Family::Undermoon, Family::Kvrocks, Family::Cello, Family::Admin];
        Self {
            keeper: Keeper::new("", None),
            anonymous: families.into_iter().map(|family| (family, Role::Admin)).collect(),
            shares: Arc::default(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_timeout: limit::REQUEST_TIMEOUT,
            read_staleness_max: Some(Duration::from_secs(2)),
            is_linearizable_by_default: false,
            requests_in_flight_max: limit::REQUESTS_IN_FLIGHT_MAX,
            guard: Guard::default(),
            undermoon: undermoon::Settings::default(),
            kvrocks: kvrocks::Settings::default(),
            cello: cello::Settings::default(),
            admin: admin::Settings::default(),
        }
    }
}

/// The client port of a replica: every family. Cheap to clone.
///
/// What server proxies and coordinators ask all day goes to its family at once; the rest is found by
/// a router, which costs as much as such an answer does.
#[derive(Clone)]
pub struct App(Arc<Families>);

struct Families {
    edge: Arc<Edge>,
    undermoon: undermoon::Family,
    others: Router,
}

impl App {
    /// Answers for a replica.
    #[must_use]
    pub fn new(broker: Broker, settings: Settings) -> Self {
        let edge = Arc::new(Edge::new(broker, settings));
        let others = Router::new()
            .merge(kvrocks::router(Arc::clone(&edge)))
            .merge(cello::router(Arc::clone(&edge)))
            .merge(admin::router(Arc::clone(&edge)))
            .merge(openapi::router())
            .merge(console::router());
        Self(Arc::new(Families { undermoon: undermoon::Family::new(&edge), edge, others }))
    }

    /// Answers a request; never fails. What no family serves is answered 404 with an empty body.
    ///
    /// Puts position and request id into the headers of every answer, errors included. A handler
    /// that knows better leaves a [`Position`] or a [`RequestId`] in the answer's extensions.
    pub async fn answer(self, request: Request) -> Response {
        let Families { edge, undermoon, .. } = &*self.0;
        let (mut head, body) = request.into_parts();
        let measured = Measured::begin(&edge.meters, &head);
        let wish = if measured.is_read() { Wish::default() } else { Wish::of_change() };
        if !measured.is_read() {
            head.extensions.insert(wish.clone());
        }
        let mut response = match origin::refusal(&head) {
            Some(refused) => refused,
            None => match undermoon::generation_of(head.uri.path()) {
                Some(generation) => undermoon.serve(generation, &head, body).await,
                None => self.0.routed(&head, body).await,
            },
        };
        measured.end(&head, &response, wish.get());
        let known = response.extensions().get::<Position>().copied();
        let position = known.unwrap_or_else(|| edge.broker.latest().position());
        let request_id = response.extensions().get::<RequestId>().copied();
        consistency::stamp(response.headers_mut(), position);
        if let Some(request_id) = request_id {
            identity::stamp(response.headers_mut(), request_id);
        }
        response
    }
}

impl Families {
    fn routed(&self, head: &Parts, body: Body) -> impl Future<Output = Response> + use<> {
        let answered = self.others.clone().oneshot(Request::from_parts(head.clone(), body));
        answered
            .map(|answered: Result<_, Infallible>| answered.unwrap_or_else(|never| match never {}))
    }
}

/// What every family's handlers work with.
pub(crate) struct Edge {
    pub(crate) broker: Broker,
    pub(crate) settings: Settings,
    meters: Arc<Meters>,
    gate: Gate,
    restore_gate: Gate,
    reader_gate: Gate,
}

/// One admitted request; holds its place in the gate until it is answered.
pub(crate) struct Visit {
    /// Who calls, with which id, and until when.
    pub(crate) call: Call,
    /// Whose promises the answer keeps.
    pub(crate) profile: Profile,
    /// Whether the answer may be compressed.
    pub(crate) takes_gzip: bool,
    /// Under which id the request is told in the log.
    pub(crate) wish: Wish,
    consistency: Consistency,
    _place: OwnedSemaphorePermit,
    _share: Option<Share>,
}

impl Edge {
    fn new(broker: Broker, settings: Settings) -> Self {
        let gate = Gate::new(settings.requests_in_flight_max);
        let restore_gate = Gate::new(limit::RESTORES_IN_FLIGHT_MAX);
        let reader_gate = Gate::new(limit::EVENT_READERS_MAX);
        Self { broker, settings, meters: Arc::default(), gate, restore_gate, reader_gate }
    }

    /// Admits a request, or says why not.
    pub(crate) fn admit(
        &self,
        family: &str,
        default: Profile,
        head: &Parts,
    ) -> Result<Visit, Refusal> {
        let place = self.gate.enter()?;
        let (actor, share) = self.identify(family, head)?;
        // Operators are let in, so that they can look and heal; reads of the state fail for them.
        if family != "admin" && self.broker.is_quarantined() {
            return Err(Refusal::Quarantined);
        }
        let key = identity::request_id(family, (&head.method, &head.uri), &head.headers);
        let is_change = head.method != Method::GET;
        let request_id = key.or_else(|| is_change.then(|| self.broker.new_request_id()));
        let wish = head.extensions.get::<Wish>().cloned().unwrap_or_default();
        wish.set(request_id);
        Ok(Visit {
            call: Call {
                request_id,
                actor,
                deadline: Instant::now() + self.settings.request_timeout,
            },
            profile: Profile::of(&head.headers, default)?,
            takes_gzip: encoding::takes_gzip(&head.headers),
            consistency: Consistency::of(
                &head.uri,
                &head.headers,
                self.settings.is_linearizable_by_default,
            )?,
            wish,
            _place: place,
            _share: share,
        })
    }

    /// Who asks, as the audit trail names it, and its share of this replica.
    fn identify(&self, family: &str, head: &Parts) -> Result<(Actor, Option<Share>), Refusal> {
        let Guard { keeper, anonymous, shares } = &self.settings.guard;
        let family = match family {
            "undermoon" => Family::Undermoon,
            "kvrocks" => Family::Kvrocks,
            "cello" => Family::Cello,
            _ => Family::Admin,
        };
        let caller = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let state = self.broker.state();
        let asked = (family, &head.method, head.uri.path());
        let now_ms = self.broker.now_ms();
        let judged = auth::judge((keeper, anonymous), &state.access, asked, &head.headers, now_ms);
        let entered = match &judged {
            _ if !shares.are_bounded() => Ok(None),
            Ok(who) if who != auth::ANONYMOUS => shares.enter(who, StdInstant::now()),
            // Also of who guesses: otherwise guessing would be free.
            Ok(_) | Err(_) => {
                let client = caller.map(share::client_at).unwrap_or_default();
                shares.enter(&client, StdInstant::now())
            }
        };
        let refused = |refusal: Refusal| {
            metrics::counter!(telemetry::ACCESS_REFUSALS_TOTAL, "outcome" => refusal.name())
                .increment(1);
            refusal
        };
        let share = entered.map_err(refused)?;
        match judged {
            Ok(who) => Ok((Actor::Client { who, address: caller }, share)),
            // A replica that has not caught up does not know all tokens yet.
            Err(Refusal::Unauthenticated(_)) if !self.broker.is_founded() => Err(Refusal::Busy),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    /// A place among the few requests that carry a whole state.
    pub(crate) fn admit_restore(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.restore_gate.enter()
    }

    /// A place among the readers of the change feed.
    pub(crate) fn admit_reader(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.reader_gate.enter()
    }

    /// The state, as current as the visit asks.
    pub(crate) async fn view(&self, visit: &Visit) -> Result<View, ReadError> {
        let staleness_max = self.settings.read_staleness_max;
        visit.consistency.view(&self.broker, staleness_max, visit.call.deadline).await
    }
}
