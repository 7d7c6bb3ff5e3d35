//! Counts, times and tells every request of a client, whatever family it is for.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    http::{Method, request::Parts},
    response::Response,
};
use metrics::{Counter, Gauge, Histogram};

use crate::{
    broker::{RequestId, engine::Throttle},
    telemetry,
};

/// A change that takes longer is worth a warning, and so is a read of a family.
const SLOW: Duration = Duration::from_secs(1);
/// Warnings a second; the rest is told as everything else is, at `debug`.
const WARNINGS_PER_S: u32 = 20;

static WARNINGS: Throttle = Throttle::new(WARNINGS_PER_S);

/// What labels are made of; a request is counted at its places in these lists.
const FAMILIES: [&str; 5] = ["undermoon", "kvrocks", "cello", "admin", "none"];
const KINDS: [&str; 2] = ["read", "change"];
const STATUSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Counters of requests, each looked up in the registry once: there it takes as long as answering
/// a read does. What never happened is not there, so it is not exported either.
#[derive(Default)]
pub(super) struct Meters {
    in_flight: OnceLock<Gauge>,
    total: [[[OnceLock<Counter>; STATUSES.len()]; KINDS.len()]; FAMILIES.len()],
    seconds: [[OnceLock<Histogram>; KINDS.len()]; FAMILIES.len()],
}

impl Meters {
    fn in_flight(&self) -> &Gauge {
        self.in_flight.get_or_init(|| metrics::gauge!(telemetry::REQUESTS_IN_FLIGHT))
    }

    fn total(&self, (family, kind, status): (usize, usize, usize)) -> &Counter {
        self.total[family][kind][status].get_or_init(|| {
            let labels =
                [("family", FAMILIES[family]), ("kind", KINDS[kind]), ("status", STATUSES[status])];
            metrics::counter!(telemetry::REQUESTS_TOTAL, &labels)
        })
    }

    fn seconds(&self, (family, kind): (usize, usize)) -> &Histogram {
        self.seconds[family][kind].get_or_init(|| {
            let labels = [("family", FAMILIES[family]), ("kind", KINDS[kind])];
            metrics::histogram!(telemetry::REQUEST_SECONDS, &labels)
        })
    }
}

/// A request that is being answered; counted as one in flight until it is dropped.
pub(super) struct Measured {
    meters: Arc<Meters>,
    family: usize,
    kind: usize,
    begun: Instant,
}

impl Measured {
    pub(super) fn begin(meters: &Arc<Meters>, head: &Parts) -> Self {
        meters.in_flight().increment(1.0);
        let is_read = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        Self {
            meters: Arc::clone(meters),
            family: family_of(head.uri.path()),
            kind: usize::from(!is_read),
            begun: Instant::now(),
        }
    }

    /// Whether the request changes nothing, by its method.
    pub(super) const fn is_read(&self) -> bool {
        self.kind == 0
    }

    /// Counts the answer. A request whose client went away has none.
    pub(super) fn end(self, head: &Parts, response: &Response, request_id: Option<RequestId>) {
        let elapsed = self.begun.elapsed();
        self.tell(head, response.status().as_u16(), elapsed, request_id);
        let status = match response.status().as_u16() {
            500.. => 3,
            400.. => 2,
            300.. => 1,
            _ => 0,
        };
        self.meters.total((self.family, self.kind, status)).increment(1);
        self.meters.seconds((self.family, self.kind)).record(elapsed);
    }
}

impl Measured {
    fn tell(&self, head: &Parts, status: u16, elapsed: Duration, request_id: Option<RequestId>) {
        let Parts { method, uri, .. } = head;
        let (family, kind) = (FAMILIES[self.family], KINDS[self.kind]);
        let (path, elapsed_ms) = (uri.path(), telemetry::millis(elapsed));
        let request_id = request_id.map(tracing::field::display);
        // Looks at health and waiting readers of the change feed are no trouble.
        let is_watched = kind == "change" || !matches!(family, "admin" | "none");
        let is_bad = is_watched && (status >= 500 || elapsed >= SLOW);
        if is_bad && WARNINGS.passes() {
            tracing::warn!(family, %method, path, status, elapsed_ms, request_id, "request");
        } else {
            tracing::debug!(family, %method, path, status, elapsed_ms, request_id, "request");
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.meters.in_flight().decrement(1.0);
    }
}

/// The family that a path belongs to, whether it has such a route or not; its place in
/// [`FAMILIES`].
fn family_of(path: &str) -> usize {
    let below = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if below("/api/v2") || below("/api/v3") {
        0
    } else if below("/api/v1") || below("/quorate/v1/kvrocks") || below("/debug/pprof") {
        1
    } else if below("/v2") || below("/quorate/v1/pool") {
        2
    } else if ["/quorate", "/livez", "/readyz", "/metrics", "/openapi"].into_iter().any(below) {
        3
    } else if below("/api") {
        // The pool's own console.
        2
    } else {
        4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_families() {
        for (path, family) in [
            ("/api/v3/metadata", "undermoon"),
            ("/api/v2", "undermoon"),
            ("/api/v1/namespaces", "kvrocks"),
            ("/v2/clusters", "cello"),
            ("/api/host/1", "cello"),
            ("/quorate/v1/pool/hosts", "cello"),
            ("/quorate/v1/kvrocks/settings", "kvrocks"),
            ("/v20", "none"),
            ("/readyz", "admin"),
            ("/quorate/v1/status", "admin"),
            ("/", "none"),
        ] {
            assert_eq!(FAMILIES[family_of(path)], family, "{path}");
        }
    }
}
