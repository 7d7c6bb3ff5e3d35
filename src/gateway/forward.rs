//! The way of one request: to the replica in use, to another one if that fails, and back.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri, Version,
        header::{HOST, RETRY_AFTER},
        request::Parts,
    },
    response::Response,
};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::{
    Gateway,
    content::{Bounds, Content, Fault},
    head,
    pool::Lease,
    refusal::{Family, Refusal},
    relay::Relay,
    upstream::{Health, Upstream},
};
use crate::telemetry;

/// Most times a request is sent.
const ATTEMPTS_MAX: usize = 6;
/// Most answers that are not passed on because another replica may have a better one.
const SECOND_OPINIONS_MAX: usize = 2;

/// A request on its way.
struct Errand {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    content: Content,
    fault: Fault,
    /// Whether sending it again, when it may have arrived before, does no harm.
    is_repeatable: bool,
    deadline: Instant,
}

/// Why an attempt brought no answer.
enum Failed {
    /// Nothing was sent.
    Unsent(String),
    /// Something may have been sent.
    Lost(String),
    /// The time of the request is over.
    Late,
    /// The client's part of the request is at fault.
    Client(Refusal),
}

/// Every request of every client.
pub(super) async fn forward(State(gateway): State<Gateway>, request: Request) -> Response {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let family = Family::of(head.uri.path());
    let wishes = head.headers.clone();
    let carried = gateway.carry(head, body, family, begun).await;
    let outcome = carried.as_ref().map_or_else(Refusal::name, |_| "answered");
    metrics::counter!(telemetry::GATEWAY_REQUESTS_TOTAL, "outcome" => outcome).increment(1);
    metrics::histogram!(telemetry::GATEWAY_REQUEST_SECONDS).record(begun.elapsed().as_secs_f64());
    carried.unwrap_or_else(|refusal| refusal.respond(family, &wishes))
}

impl Gateway {
    async fn carry(
        &self,
        head: Parts,
        body: Body,
        family: Family,
        begun: Instant,
    ) -> Result<Response, Refusal> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refusal::Busy)?;
        let mut errand = self.prepare(head, body, family, begun).await?;
        let (answer, lease) = self.deliver(&mut errand).await?;
        let lease = lease.filter(|_| errand.content.is_replayable());
        let (mut head, body) = answer.into_parts();
        if let Some(index) = head::index(&head.headers) {
            self.roster.show(index);
        }
        head::strip(&mut head.headers);
        head.version = Version::HTTP_11;
        let relay = Relay::new(body, lease, self.settings.idle_timeout, place);
        Ok(Response::from_parts(head, Body::new(relay)))
    }

    async fn prepare(
        &self,
        mut head: Parts,
        body: Body,
        family: Family,
        begun: Instant,
    ) -> Result<Errand, Refusal> {
        let bounds = Bounds {
            bytes_max: self.settings.body_bytes_max,
            replay_bytes_max: self.settings.replay_bytes_max,
            idle_timeout: self.settings.idle_timeout,
        };
        let fault = Fault::default();
        let content = Content::take(&head.headers, body, bounds, &fault).await?;
        let client = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        head::prepare(&mut head.headers, &head.method, client);
        let is_read = head::is_read(&head.method);
        // What operators ask of one replica does not all go through the log.
        let is_repeatable = is_read || content.is_replayable() && !matches!(family, Family::Admin);
        let limit = self.time_limit(family, is_read, head.uri.path());
        let target = head.uri.path_and_query().cloned();
        Ok(Errand {
            method: head.method,
            uri: target.map_or_else(|| Uri::from_static("/"), Uri::from),
            headers: head.headers,
            content,
            fault,
            is_repeatable,
            deadline: begun + limit,
        })
    }

    /// Every request a coordinator makes is an ordinary one; what carries a whole state, asks
    /// many nodes or waits for an effect takes longer by nature.
    fn time_limit(&self, family: Family, is_read: bool, path: &str) -> Duration {
        let is_long = match family {
            Family::Undermoon => {
                let slow = ["/metadata", "/epoch/recovery"];
                !is_read && (slow.iter().any(|end| path.ends_with(end)) || path.contains("/auto/"))
            }
            Family::Kvrocks | Family::Cello => !is_read,
            Family::Admin => true,
        };
        if is_long { self.settings.long_request_timeout } else { self.settings.request_timeout }
    }

    /// Sends a request until a replica has an answer that can be passed on.
    async fn deliver(
        &self,
        errand: &mut Errand,
    ) -> Result<(Response<Incoming>, Option<Lease>), Refusal> {
        let is_read = head::is_read(&errand.method);
        let (mut tried, mut opinions, mut may_have_arrived) = (Vec::new(), 0, false);
        for _ in 0..ATTEMPTS_MAX {
            let until = errand.deadline.min(Instant::now() + self.settings.wait_timeout);
            let Some(upstream) = self.roster.choose(&mut tried, until).await else { break };
            let attempt = self.attempt(&upstream, errand).await;
            tried.push(Arc::clone(&upstream));
            let reason = match attempt {
                Ok((answer, lease)) => {
                    let may_ask_again = errand.is_repeatable && errand.content.is_replayable();
                    let asks_again = may_ask_again
                        && opinions < SECOND_OPINIONS_MAX
                        && is_passing(answer.status(), answer.headers())
                        && self.roster.has_fresh(&tried);
                    if !asks_again {
                        return Ok((answer, Some(lease)));
                    }
                    opinions += 1;
                    "refused"
                }
                Err(Failed::Unsent(reason)) => {
                    self.roster.note(&upstream, Health::Dead, reason, None);
                    upstream.suspicion.notify_one();
                    "unsent"
                }
                Err(Failed::Lost(reason)) => {
                    let address = upstream.endpoint.as_str();
                    tracing::debug!(address, reason, "an answer was lost");
                    upstream.suspicion.notify_one();
                    may_have_arrived = true;
                    if !errand.is_repeatable || !errand.content.is_replayable() {
                        break;
                    }
                    "lost"
                }
                Err(Failed::Late) => {
                    return Err(if is_read { Refusal::Late } else { Refusal::Unknown });
                }
                Err(Failed::Client(refusal)) => return Err(refusal),
            };
            metrics::counter!(telemetry::GATEWAY_RETRIES_TOTAL, "reason" => reason).increment(1);
        }
        Err(match (may_have_arrived, is_read) {
            (false, _) => Refusal::NoReplica,
            (true, true) => Refusal::Broken,
            (true, false) => Refusal::Unknown,
        })
    }

    /// Sends a request to one replica, once.
    async fn attempt(
        &self,
        upstream: &Upstream,
        errand: &mut Errand,
    ) -> Result<(Response<Incoming>, Lease), Failed> {
        // A connection that waited may turn out to be closed, and what can be sent only once must
        // not be lost to that.
        let leased = if errand.content.is_replayable() {
            upstream.pool.lease().await
        } else {
            upstream.pool.connect().await
        };
        let mut lease = leased.map_err(|error| Failed::Unsent(error.to_string()))?;
        loop {
            let Some(request) = self.request(upstream, errand) else {
                return Err(Failed::Lost("the body is gone".to_owned()));
            };
            let sent = timeout_at(errand.deadline, lease.sender().send_request(request)).await;
            let error = match sent {
                Err(_) => return Err(Failed::Late),
                Ok(Ok(response)) => return Ok((response, lease)),
                Ok(Err(error)) => error,
            };
            if let Some(refusal) = errand.fault.get() {
                return Err(Failed::Client(refusal));
            }
            if !error.is_canceled() {
                return Err(Failed::Lost(error.to_string()));
            }
            if !lease.is_used {
                return Err(Failed::Unsent(error.to_string()));
            }
            let connected = upstream.pool.connect().await;
            lease = connected.map_err(|error| Failed::Unsent(error.to_string()))?;
        }
    }

    fn request(&self, upstream: &Upstream, errand: &mut Errand) -> Option<Request<Body>> {
        let mut request = Request::new(errand.content.next()?);
        *request.method_mut() = errand.method.clone();
        *request.uri_mut() = errand.uri.clone();
        let mut headers = errand.headers.clone();
        if !headers.contains_key(HOST) {
            let host = upstream.endpoint.host();
            headers.insert(HOST, host.unwrap_or_else(|| HeaderValue::from_static("quorate")));
        }
        head::require(&mut headers, self.roster.shown());
        *request.headers_mut() = headers;
        Some(request)
    }
}

/// Whether an answer is about the replica or the moment rather than about the request: another
/// replica may do better. A client that is too fast is so everywhere.
fn is_passing(status: StatusCode, headers: &HeaderMap) -> bool {
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            true
        }
        StatusCode::TOO_MANY_REQUESTS => false,
        _ => status.is_client_error() && headers.contains_key(RETRY_AFTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, has_retry_after: bool, expected: bool) {
        let mut headers = HeaderMap::new();
        if has_retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(is_passing(status, &headers), expected, "{status} {has_retry_after}");
    }

    #[test]
    fn answers_about_the_moment_are_asked_of_another_replica() {
        check(200, false, false);
        check(404, false, false);
        check(409, false, false);
        check(409, true, true);
        check(400, true, true);
        check(429, true, false);
        check(500, false, false);
        check(503, false, true);
        check(504, false, true);
    }
}
