//! Sends requests to other replicas.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    error::Error,
    fmt, io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::Stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Response,
    body::Frame,
    header::{HeaderMap, HeaderValue},
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};

use super::{
    Credentials, Name,
    connect::Connector,
    header,
    status::{NOT_LEADER, STOPPED, STRANGER},
};
use crate::{ReplicaId, tls::PeerTls, types::StoredMembership};

/// Idle connections are kept that long.
const IDLE: Duration = Duration::from_secs(90);
/// Idle connections kept to one peer for proposals and reads; one is in use for each in flight.
const CALLS_IDLE_MAX: usize = 512;
/// Most bytes of a refusal that are kept.
const REASON_BYTES_MAX: usize = 512;

/// What a connection is used for. On HTTP/1.1 a long append would delay a heartbeat behind it, so
/// each use has its own connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Entries, votes and transfers of leadership.
    Log,
    /// Heartbeats.
    Heartbeat,
    /// Snapshots.
    Snapshot,
    /// Proposals, read indexes and hellos.
    Calls,
}

/// A replica to talk to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Whom the requests are meant for.
    pub(crate) name: Name,
    base: Arc<str>,
    headers: Arc<HeaderMap>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum CallError {
    /// No connection: the peer took nothing.
    Unreachable(String),
    /// The peer answered with a refusal.
    Refused(RefusedCall),
    /// The peer did not answer in time; it may have taken the request.
    Timeout(Duration),
    /// The connection broke, or the answer makes no sense; the peer may have taken the request.
    Broken(String),
}

/// A refusal by the peer.
#[derive(Debug)]
pub(crate) struct RefusedCall {
    /// Status of the answer; see [`super::status`].
    pub(crate) status: u16,
    /// What the peer said.
    pub(crate) reason: String,
    /// When a retry makes sense, if the peer said so.
    pub(crate) retry_after_ms: Option<u64>,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => write!(f, "no connection: {reason}"),
            Self::Refused(refused) => {
                write!(f, "refused with status {}: {}", refused.status, refused.reason)
            }
            Self::Timeout(patience) => write!(f, "no answer in {patience:?}"),
            Self::Broken(reason) => write!(f, "the connection broke: {reason}"),
        }
    }
}

impl Error for CallError {}

impl CallError {
    /// Whether the peer is not there, or is not who it should be: waiting before the next attempt
    /// makes sense.
    pub(crate) fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused(refused) => [STRANGER, STOPPED, NOT_LEADER].contains(&refused.status),
            Self::Timeout(_) | Self::Broken(_) => false,
        }
    }
}

/// The connections of this replica to all others.
pub(crate) struct Peers {
    credentials: Arc<Credentials>,
    /// The members as this replica knows them now: the consensus library goes on with the address
    /// a replica had when the connection to it was set up.
    book: ArcSwap<StoredMembership>,
    /// The last moment each replica told, in its own terms.
    moments: Mutex<HashMap<ReplicaId, u64>>,
    /// The replicas that said last that they are in quarantine.
    quarantined: Mutex<BTreeSet<ReplicaId>>,
    /// How long ago a quorum confirmed that this replica leads; set once the core runs.
    confirmed: OnceLock<Box<dyn Fn() -> Option<Duration> + Send + Sync>>,
    log: Client<Connector, Body>,
    heartbeat: Client<Connector, Body>,
    snapshot: Client<Connector, Body>,
    calls: Client<Connector, Body>,
}

/// What a request carries.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

impl Peers {
    /// Prepares connections; none is made yet.
    pub(crate) fn new(credentials: Arc<Credentials>, tls: Option<PeerTls>) -> Self {
        let connector = Connector::new(credentials.clone(), tls);
        let client = |idle_max: usize| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(idle_max)
                .build(connector.clone())
        };
        Self {
            log: client(4),
            heartbeat: client(2),
            snapshot: client(1),
            calls: client(CALLS_IDLE_MAX),
            credentials,
            book: ArcSwap::default(),
            moments: Mutex::default(),
            quarantined: Mutex::default(),
            confirmed: OnceLock::new(),
        }
    }

    /// From now on appends say how long ago a quorum confirmed that this replica leads.
    pub(crate) fn say_confirmed(
        &self,
        confirmed: impl Fn() -> Option<Duration> + Send + Sync + 'static,
    ) {
        // The core is started once; there is nothing to replace.
        drop(self.confirmed.set(Box::new(confirmed)));
    }

    /// Adds to an append what its receiver needs to know how old it is.
    pub(crate) fn dated(&self, to: ReplicaId, request: Request) -> Request {
        let confirmed = self.confirmed.get().and_then(|confirmed| confirmed());
        let confirmed_ms = confirmed.map_or(u64::MAX, |ago| {
            // Rounded up, so that nothing looks newer than it is.
            u64::try_from(ago.as_millis()).map_or(u64::MAX, |ms| ms.saturating_add(1))
        });
        let request = request.with(header::CONFIRMED_MS, confirmed_ms);
        let moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        match moments.get(&to) {
            Some(moment) => request.with(header::MOMENT, *moment),
            None => request,
        }
    }

    fn note_moment(&self, of: ReplicaId, response: &Response<Body>) {
        let moment = response.headers().get(header::MOMENT);
        if let Some(moment) = moment.and_then(|value| value.to_str().ok()?.parse().ok()) {
            let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
            moments.insert(of, moment);
            drop(moments);
            let mut quarantined = self.quarantined.lock().unwrap_or_else(PoisonError::into_inner);
            match response.headers().contains_key(header::QUARANTINED) {
                true => quarantined.insert(of),
                false => quarantined.remove(&of),
            };
        }
    }

    /// Whether a replica said so of itself when it last answered an append.
    pub(crate) fn is_quarantined(&self, id: ReplicaId) -> bool {
        self.quarantined.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    /// From now on members are reached where this membership says.
    pub(crate) fn learn(&self, membership: Arc<StoredMembership>) {
        self.book.store(membership);
    }

    /// Where a replica is now, if that is not where a target says.
    pub(crate) fn moved(&self, target: &Target) -> Option<Target> {
        let book = self.book.load();
        let peer = book.membership().get_node(&target.name.id)?;
        let is_same = peer.incarnation == target.name.incarnation
            && target.base.strip_prefix("http://") == Some(peer.peer_addr.as_str());
        let name = Name { incarnation: peer.incarnation, ..target.name };
        (!is_same).then(|| self.target(name, &peer.peer_addr))
    }

    /// A replica at an address.
    pub(crate) fn target(&self, name: Name, peer_addr: &str) -> Target {
        Target {
            name,
            base: format!("http://{peer_addr}").into(),
            headers: Arc::new(self.credentials.headers(name)),
        }
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn call(
        &self,
        line: Line,
        target: &Target,
        request: Request,
        patience: Duration,
    ) -> Result<Bytes, CallError> {
        let exchange = async {
            let response = self.send(line, target, request).await?;
            self.note_moment(target.name.id, &response);
            collected(response).await
        };
        match tokio::time::timeout(patience, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::Timeout(patience)),
        }
    }

    /// Sends a request and waits for the head of the answer, without a deadline.
    ///
    /// # Errors
    /// [`CallError`], also for a refusal.
    pub(crate) async fn send(
        &self,
        line: Line,
        target: &Target,
        request: Request,
    ) -> Result<Response<Body>, CallError> {
        let Request { route, body, extra } = request;
        let mut request = hyper::Request::builder()
            .method(Method::POST)
            .uri(format!("{}{route}", target.base))
            .body(body)
            .map_err(|error| CallError::Unreachable(chain(&error)))?;
        *request.headers_mut() = HeaderMap::clone(&target.headers);
        for (name, value) in extra.into_iter().flatten() {
            request.headers_mut().insert(name, HeaderValue::from(value));
        }
        let response = self.exchange(line, request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let retry_after_ms = response
            .headers()
            .get(header::RETRY_AFTER_MS)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let reason = collected(response).await.unwrap_or_default();
        let reason = &reason[..reason.len().min(REASON_BYTES_MAX)];
        let reason = String::from_utf8_lossy(reason).into_owned();
        Err(CallError::Refused(RefusedCall { status, reason, retry_after_ms }))
    }

    /// Takes a request to its replica, and the answer back.
    async fn exchange(
        &self,
        line: Line,
        request: hyper::Request<Body>,
    ) -> Result<Response<Body>, CallError> {
        #[cfg(test)]
        if crate::testing::sim::runtime::is_simulated() {
            return crate::testing::sim::network::exchange(request).await;
        }
        let client = match line {
            Line::Log => &self.log,
            Line::Heartbeat => &self.heartbeat,
            Line::Snapshot => &self.snapshot,
            Line::Calls => &self.calls,
        };
        let answered = client.request(request).await;
        let response = answered.map_err(|error| match error.is_connect() {
            true => CallError::Unreachable(chain(&error)),
            false => CallError::Broken(chain(&error)),
        })?;
        Ok(response.map(|body| body.map_err(io::Error::other).boxed_unsync()))
    }
}

/// A request to a replica.
pub(crate) struct Request {
    route: &'static str,
    body: Body,
    extra: [Option<(&'static str, u64)>; 3],
}

impl Request {
    /// A request without further headers.
    pub(crate) fn new(route: &'static str, body: impl Into<Bytes>) -> Self {
        let whole = Full::new(body.into()).map_err(|never: Infallible| match never {});
        Self { route, body: whole.boxed_unsync(), extra: [None; 3] }
    }

    /// A request whose body is made while it is sent.
    pub(crate) fn streamed(
        route: &'static str,
        parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Self {
        let parts = futures::TryStreamExt::map_ok(parts, Frame::data);
        Self { route, body: StreamBody::new(parts).boxed_unsync(), extra: [None; 3] }
    }

    /// Adds a header; at most three fit.
    pub(crate) fn with(mut self, name: &'static str, value: u64) -> Self {
        if let Some(free) = self.extra.iter_mut().find(|slot| slot.is_none()) {
            *free = Some((name, value));
        }
        self
    }
}

/// The whole body of an answer.
async fn collected(response: Response<Body>) -> Result<Bytes, CallError> {
    let body = response.into_body().collect().await;
    body.map(|body| body.to_bytes()).map_err(|error| CallError::Broken(chain(&error)))
}

/// An error with everything that caused it.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
