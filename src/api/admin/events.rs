//! The change feed: what happened, in the order of the log.
//!
//! `GET /quorate/v1/events?from=&wait=&limit=&family=&kind=&object=`
//!
//! Without `wait` the answer is a stream of server-sent events that goes on until one side ends
//! it; with `wait`, seconds, it is one page, as soon as there is something for it. The revision of
//! an event is the log index of its command, on every replica the same, so a reader goes on where
//! it was on any replica: with `from`, or with `Last-Event-ID`, which wins. Without both the feed
//! begins with what comes next; `from=0` with the oldest event that is kept.
//!
//! A replica keeps a bounded number of events. Whoever asks for older ones gets 410 with the
//! oldest revision: it reads the state, whose `Quorate-Index` says where to go on. A reader takes
//! events at its own pace and is cut off when it falls behind what is kept or takes nothing at
//! all; nobody who writes waits for it.

use std::{convert::Infallible, fmt::Write, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{Query, Request, State},
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep, timeout_at},
};

use super::{Edge, FAMILY, Stopping, error::Failure, routes::admit};
use crate::{
    api::limit::Refusal,
    broker::{Broker, ReadError, engine::Compacted},
    domain::{Event, system::access::Family},
    telemetry,
};

/// Most events of one page, and of one step of a stream.
const PAGE_EVENTS_MAX: usize = 1_000;
/// Events looked at in one go.
const STEP_EVENTS: usize = 256;
/// Longest wait for a page.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Longest silence of a stream; a sign of life also tells how far it has looked.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Pause after something was applied, so that a busy log wakes a reader only so often.
const GATHER: Duration = Duration::from_millis(5);
/// Header by which a stream is taken up again.
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Parameters {
    from: Option<u64>,
    wait: Option<f64>,
    limit: Option<usize>,
    family: Option<String>,
    kind: Option<String>,
    object: Option<String>,
}

/// Answer to a reader who waits.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Page {
    events: Vec<Event>,
    /// Where to go on.
    next: u64,
    /// The oldest revision that is kept.
    oldest: u64,
}

/// Which events a reader wants.
#[derive(Debug, Default)]
struct Filter {
    /// Any of them; all if empty.
    families: Vec<Family>,
    /// Any of them; all if empty.
    kinds: Vec<String>,
    /// How the object begins.
    object: String,
}

impl Filter {
    fn of(parameters: &Parameters) -> Result<Self, Failure> {
        let words = |text: &Option<String>| -> Vec<String> {
            let words = text.iter().flat_map(|text| text.split(',')).map(str::trim);
            words.filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect()
        };
        let families = [Family::Undermoon, Family::Kvrocks, Family::Cello, Family::Admin];
        let family = |word: &String| {
            let unknown = || Failure::Malformed(format!("there is no family {word}"));
            families.into_iter().find(|family| family.name() == word).ok_or_else(unknown)
        };
        Ok(Self {
            families: words(&parameters.family).iter().map(family).collect::<Result<_, _>>()?,
            kinds: words(&parameters.kind),
            object: parameters.object.clone().unwrap_or_default(),
        })
    }

    fn takes(&self, event: &Event) -> bool {
        (self.families.is_empty() || self.families.contains(&event.family))
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == event.kind))
            && event.object.starts_with(&self.object)
    }
}

/// A place among the readers.
struct Reader {
    edge: Arc<Edge>,
    /// The request, which is judged again from time to time: tokens end.
    head: Parts,
    judged: Instant,
    broker: Broker,
    stopping: Stopping,
    filter: Filter,
    /// The next revision to look at.
    next: u64,
    applied: watch::Receiver<u64>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Reader {
    fn drop(&mut self) {
        metrics::gauge!(telemetry::EVENT_READERS).decrement(1.0);
    }
}

/// `GET /quorate/v1/events`: see the head of this file.
pub(super) async fn events(
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Result<Response, Failure> {
    let (head, _) = request.into_parts();
    // Its place among the ordinary requests is free again as soon as it waits.
    drop(admit(&edge, &head)?);
    let Query(parameters) = Query::<Parameters>::try_from_uri(&head.uri)
        .map_err(|error| Failure::Malformed(error.body_text()))?;
    let filter = Filter::of(&parameters)?;
    if !edge.broker.is_founded() {
        return Err(Failure::Read(ReadError::NotReady));
    }
    if edge.broker.is_quarantined() {
        return Err(Failure::Read(ReadError::Quarantined));
    }
    let wait = parameters.wait.map(Duration::try_from_secs_f64).transpose();
    let wait = wait.map_err(|_| Failure::Malformed("wait is a number of seconds".to_owned()))?;
    let (oldest, present) = edge.broker.event_bounds();
    let next = match begin(&head, &parameters)? {
        None => present,
        Some(0) => oldest,
        Some(from) => from,
    };
    let applied = edge.broker.watch_applied();
    let place = edge.admit_reader()?;
    metrics::gauge!(telemetry::EVENT_READERS).increment(1.0);
    let reader = Reader {
        broker: edge.broker.clone(),
        stopping: edge.settings.admin.stopping.clone(),
        edge,
        head,
        judged: Instant::now(),
        filter,
        next,
        applied,
        _place: place,
    };
    match wait {
        Some(wait) => {
            let limit = parameters.limit.unwrap_or(PAGE_EVENTS_MAX).clamp(1, PAGE_EVENTS_MAX);
            reader.page(Instant::now() + wait.min(WAIT_MAX), limit).await
        }
        None => reader.stream(),
    }
}

/// Where the feed begins; `None` with what comes next.
fn begin(head: &Parts, parameters: &Parameters) -> Result<Option<u64>, Failure> {
    let Some(seen) = head.headers.get(LAST_EVENT_ID) else { return Ok(parameters.from) };
    let seen = seen.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    let unknown = || Failure::Malformed("Last-Event-ID is a revision".to_owned());
    Ok(Some(seen.ok_or_else(unknown)?.saturating_add(1)))
}

impl Reader {
    /// One page, once there is something for it or the time is over.
    async fn page(mut self, until: Instant, limit: usize) -> Result<Response, Failure> {
        let mut taken: Vec<Event> = Vec::new();
        loop {
            self.applied.borrow_and_update();
            while taken.len() < limit {
                let before = self.next;
                // An event's whole revision or nothing of it: the page may be a little longer.
                taken.append(&mut self.step(limit - taken.len())?);
                if self.next == before {
                    break;
                }
            }
            let is_over = tokio::select! {
                changed = timeout_at(until, self.applied.changed()), if taken.is_empty() => {
                    !matches!(changed, Ok(Ok(())))
                }
                () = self.stopping.wait() => true,
                () = std::future::ready(()), if !taken.is_empty() => true,
            };
            if self.broker.is_quarantined() {
                return Err(Failure::Read(ReadError::Quarantined));
            }
            if is_over {
                let (oldest, _) = self.broker.event_bounds();
                let page = Page { events: taken, next: self.next, oldest };
                return Ok(Json(page).into_response());
            }
        }
    }

    /// What is wanted of the next few events.
    fn step(&mut self, limit: usize) -> Result<Vec<Event>, Compacted> {
        let page = self.broker.events(self.next, limit.min(STEP_EVENTS))?;
        self.next = page.next;
        let events = page.events.into_iter().map(|(_, event)| event);
        Ok(events.filter(|event| self.filter.takes(event)).collect())
    }

    fn stream(mut self) -> Result<Response, Failure> {
        // What is no longer kept is refused before the stream begins.
        self.broker.events(self.next, 1)?;
        self.applied.borrow_and_update();
        let begin = format!("retry: 1000\nid: {}\n\n", self.next.saturating_sub(1));
        let steps = stream::unfold((Some(self), Some(begin)), |(reader, begin)| async move {
            let reader = reader?;
            if let Some(begin) = begin {
                return Some((Ok::<_, Infallible>(Bytes::from(begin)), (Some(reader), None)));
            }
            let (text, reader) = reader.next_text().await?;
            Some((Ok(Bytes::from(text)), (reader, None)))
        });
        let mut response = Response::new(Body::from_stream(steps));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    /// Whether the token of a stream is still good; looked at as often as there is a sign of life.
    fn is_still_allowed(&mut self) -> bool {
        if self.judged.elapsed() < SIGN_OF_LIFE {
            return true;
        }
        self.judged = Instant::now();
        let judged = self.edge.identify(FAMILY, &self.head);
        !matches!(judged, Err(Refusal::Unauthenticated(_) | Refusal::Forbidden(_)))
    }

    /// The next part of a stream, and who reads on; `None` at its end.
    async fn next_text(mut self) -> Option<(String, Option<Self>)> {
        let silent_until = Instant::now() + SIGN_OF_LIFE;
        loop {
            // What follows from a wrong state is not told.
            if !self.is_still_allowed() || self.broker.is_quarantined() {
                return None;
            }
            self.applied.borrow_and_update();
            let before = self.next;
            match self.step(STEP_EVENTS) {
                Ok(events) if !events.is_empty() => return Some((render(&events), Some(self))),
                Ok(_) if self.next != before => continue,
                Ok(_) => {}
                Err(Compacted { oldest }) => {
                    metrics::counter!(telemetry::EVENT_READERS_CUT_TOTAL).increment(1);
                    return Some((
                        format!("event: compacted\ndata: {{\"oldest\":{oldest}}}\n\n"),
                        None,
                    ));
                }
            }
            tokio::select! {
                // The replica lives at least as long as its broker.
                _ = self.applied.changed() => sleep(GATHER).await,
                () = tokio::time::sleep_until(silent_until) => {
                    let seen = self.next.saturating_sub(1);
                    return Some((format!(": nothing new\nid: {seen}\n\n"), Some(self)));
                }
                () = self.stopping.wait() => return None,
            }
        }
    }
}

/// Events as the lines of a stream. Only the last event of a revision carries the id, so that a
/// reader who stops between two of them is shown both again.
fn render(events: &[Event]) -> String {
    let mut text = String::with_capacity(events.len() * 128);
    for (at, event) in events.iter().enumerate() {
        let is_last = events.get(at + 1).is_none_or(|next| next.revision != event.revision);
        // Writing to a string does not fail, and numbers and texts always encode.
        if is_last {
            let _ = writeln!(text, "id: {}", event.revision);
        }
        let _ = writeln!(text, "data: {}\n", serde_json::to_string(event).unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: u64, family: Family, kind: &'static str, object: &str) -> Event {
        Event { revision, time_ms: 5, family, kind, object: object.to_owned() }
    }

    fn check(query: &str, expected: &[u64]) {
        let events = [
            event(1, Family::Undermoon, "proxy_registered", "a:1"),
            event(2, Family::Kvrocks, "cluster_created", "ns/c1"),
            event(3, Family::Kvrocks, "cluster_deleted", "other/c1"),
            event(4, Family::Cello, "host_added", "h"),
        ];
        let uri = format!("/quorate/v1/events?{query}").parse().unwrap();
        let Query(parameters) = Query::<Parameters>::try_from_uri(&uri).unwrap();
        let filter = Filter::of(&parameters).unwrap();
        let found: Vec<u64> =
            events.iter().filter(|event| filter.takes(event)).map(|event| event.revision).collect();
        assert_eq!(found, expected, "{query}");
    }

    #[test]
    fn filters_take_what_they_name() {
        check("", &[1, 2, 3, 4]);
        check("family=kvrocks", &[2, 3]);
        check("family=kvrocks,cello", &[2, 3, 4]);
        check("object=ns/", &[2]);
        check("kind=cluster_created,host_added", &[2, 4]);
        check("kind=cluster_created&family=cello", &[]);
    }

    #[test]
    fn only_the_last_event_of_a_revision_has_its_id() {
        let events = [
            event(7, Family::Cello, "host_filled", "h"),
            event(7, Family::Cello, "cluster_planned", "c"),
            event(8, Family::Cello, "host_added", "i"),
        ];
        let text = render(&events);
        let ids: Vec<usize> = text.match_indices("id: ").map(|(at, _)| at).collect();
        assert_eq!(ids.len(), 2, "{text}");
        assert!(text.starts_with("data: {\"revision\":7"), "{text}");
        assert!(text.contains("id: 7\ndata: {\"revision\":7,\"time_ms\":5,\"family\":\"cello\""));
    }
}
