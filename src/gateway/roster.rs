//! All replicas, and which of them is the one in use.
//!
//! The gateway stays with one replica as long as that is ready. A move costs nothing but the time
//! the next replica takes to reach what was shown before, so it is made at once.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use super::{
    Settings,
    endpoint::Endpoint,
    upstream::{Health, Upstream},
};
use crate::{clock, telemetry};

/// Pause before a replica is tried again that failed the same request.
const AGAIN_PAUSE: Duration = Duration::from_millis(50);
/// A ready replica is current within its staleness bound. If all ready ones are behind what was
/// shown for longer than this, theirs is another history: the cluster was founded or restored
/// anew.
const OTHER_HISTORY: Duration = Duration::from_secs(10);

/// All replicas.
#[derive(Debug)]
pub(super) struct Roster {
    inner: Mutex<Inner>,
    /// Highest index that was shown to a client.
    shown: AtomicU64,
    /// Told of every change of health.
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    upstreams: Vec<Arc<Upstream>>,
    current: Option<Arc<Upstream>>,
    behind_since: Option<Instant>,
}

impl Roster {
    /// The replicas the gateway was told of. It begins anywhere among them, so that many gateways
    /// do not all begin with the first.
    pub(super) fn new(settings: &Settings) -> Self {
        let mut endpoints = settings.endpoints.clone();
        if !endpoints.is_empty() {
            let [pick, ..] = clock::random_id();
            let first = usize::from(pick) % endpoints.len();
            endpoints.rotate_left(first);
        }
        let upstream = |endpoint| Arc::new(Upstream::new(endpoint, true, settings));
        let upstreams = endpoints.into_iter().map(upstream).collect();
        Self {
            inner: Mutex::new(Inner { upstreams, ..Inner::default() }),
            shown: AtomicU64::new(0),
            changes: watch::Sender::new(()),
        }
    }

    /// All replicas at present.
    pub(super) fn upstreams(&self) -> Vec<Arc<Upstream>> {
        self.lock().upstreams.clone()
    }

    /// The replica in use.
    pub(super) fn current(&self) -> Option<Arc<Upstream>> {
        self.lock().current.clone()
    }

    /// The highest index that was shown to a client.
    pub(super) fn shown(&self) -> u64 {
        self.shown.load(Ordering::Acquire)
    }

    /// Notes an index that is about to be shown to a client.
    pub(super) fn show(&self, index: u64) {
        self.shown.fetch_max(index, Ordering::AcqRel);
    }

    /// The replica for a request that failed on those of `tried`; waits for one until `until`.
    pub(super) async fn choose(
        &self,
        tried: &mut Vec<Arc<Upstream>>,
        until: Instant,
    ) -> Option<Arc<Upstream>> {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(upstream) = self.pick(tried) {
                return Some(upstream);
            }
            if !tried.is_empty() {
                tried.clear();
                sleep(AGAIN_PAUSE).await;
                continue;
            }
            // The sender lives in `self`, so only the time can run out.
            timeout_at(until, changes.changed()).await.ok()?.ok()?;
        }
    }

    fn pick(&self, tried: &[Arc<Upstream>]) -> Option<Arc<Upstream>> {
        let mut inner = self.lock();
        let current = inner.current.as_ref();
        let is_current =
            |upstream: &Arc<Upstream>| current.is_some_and(|one| Arc::ptr_eq(one, upstream));
        let candidates: Vec<Candidate> = inner
            .upstreams
            .iter()
            .map(|upstream| Candidate {
                health: upstream.health(),
                is_current: is_current(upstream),
                is_tried: tried.iter().any(|one| Arc::ptr_eq(one, upstream)),
            })
            .collect();
        let chosen = Arc::clone(&inner.upstreams[best(&candidates)?]);
        let stays = candidates.iter().any(|one| one.is_current && one.health == Health::Ready);
        if !stays && !is_current(&chosen) {
            let from = current.map_or("none", |one| one.endpoint.as_str());
            tracing::info!(from, to = chosen.endpoint.as_str(), "replica in use changed");
            metrics::counter!(telemetry::GATEWAY_MOVES_TOTAL).increment(1);
            inner.current = Some(Arc::clone(&chosen));
        }
        Some(chosen)
    }

    /// Whether a ready replica is left that a request has not been to.
    pub(super) fn has_fresh(&self, tried: &[Arc<Upstream>]) -> bool {
        self.lock().upstreams.iter().any(|upstream| {
            upstream.health() == Health::Ready
                && !tried.iter().any(|one| Arc::ptr_eq(one, upstream))
        })
    }

    /// Notes how a replica is, and its applied index if it said it.
    pub(super) fn note(
        &self,
        upstream: &Upstream,
        health: Health,
        reason: String,
        index: Option<u64>,
    ) {
        let (address, said) = (upstream.endpoint.as_str(), reason.clone());
        if upstream.note(health, reason, index) {
            tracing::info!(address, status = health.name(), reason = said, "replica checked");
            self.changes.send_replace(());
        }
        self.look_for_other_history(Instant::now());
    }

    fn look_for_other_history(&self, now: Instant) {
        let mut inner = self.lock();
        let ready = inner.upstreams.iter().map(|upstream| upstream.sight());
        let ready = ready.filter(|sight| sight.health == Health::Ready);
        let Some(index) = ready.map(|sight| sight.index).max() else { return };
        if index >= self.shown() {
            inner.behind_since = None;
            return;
        }
        let since = *inner.behind_since.get_or_insert(now);
        if now.duration_since(since) > OTHER_HISTORY {
            inner.behind_since = None;
            let wanted = self.shown.swap(index, Ordering::AcqRel);
            tracing::warn!(wanted, found = index, "the log began anew, older answers are shown");
        }
    }

    /// Takes the members' endpoints over; returns the replicas that are new. Those the gateway was
    /// told of stay.
    pub(super) fn learn(&self, members: &[Endpoint], settings: &Settings) -> Vec<Arc<Upstream>> {
        let mut inner = self.lock();
        inner
            .upstreams
            .retain(|upstream| upstream.is_configured || members.contains(&upstream.endpoint));
        let mut added = Vec::new();
        for member in members {
            if inner.upstreams.iter().any(|upstream| upstream.endpoint == *member) {
                continue;
            }
            let upstream = Arc::new(Upstream::new(member.clone(), false, settings));
            tracing::info!(address = member.as_str(), "replica learned");
            inner.upstreams.push(Arc::clone(&upstream));
            added.push(upstream);
        }
        let Inner { upstreams, current, .. } = &mut *inner;
        if current.as_ref().is_some_and(|one| !upstreams.iter().any(|u| Arc::ptr_eq(one, u))) {
            *current = None;
        }
        added
    }

    /// Whether a replica is still one of those in use.
    pub(super) fn has(&self, upstream: &Arc<Upstream>) -> bool {
        self.lock().upstreams.iter().any(|one| Arc::ptr_eq(one, upstream))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    health: Health,
    is_current: bool,
    is_tried: bool,
}

/// The ready one in use, any other ready one, and only then one that at least answers: it may
/// serve reads yet, and knows how to refuse. Never one that was not asked or is dead.
fn best(candidates: &[Candidate]) -> Option<usize> {
    let find = |health: Health, is_current: bool| {
        candidates.iter().position(|one| {
            !one.is_tried && one.health == health && (one.is_current || !is_current)
        })
    };
    let by_health = |health| find(health, true).or_else(|| find(health, false));
    by_health(Health::Ready).or_else(|| by_health(Health::Unready))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each candidate is a letter for its health, capital for the one in use, with `-` behind it
    /// if it was tried.
    fn check(candidates: &str, expected: Option<usize>) {
        let parsed: Vec<Candidate> = candidates
            .split_whitespace()
            .map(|word| {
                let letter = word.chars().next().unwrap();
                let health = match letter.to_ascii_lowercase() {
                    'r' => Health::Ready,
                    'u' => Health::Unready,
                    'd' => Health::Dead,
                    _ => Health::Unknown,
                };
                let (is_current, is_tried) = (letter.is_ascii_uppercase(), word.ends_with('-'));
                Candidate { health, is_current, is_tried }
            })
            .collect();
        assert_eq!(best(&parsed), expected, "{candidates}");
    }

    #[test]
    fn the_ready_replica_in_use_stays_in_use() {
        check("r R r", Some(1));
        check("r U r", Some(0));
        check("d D r", Some(2));
        check("u U d", Some(1));
        check("u D d", Some(0));
        check("d D x", None);
        check("x x x", None);
        check("", None);
    }

    #[test]
    fn a_request_goes_nowhere_twice_in_a_row() {
        check("r R- r", Some(0));
        check("r- R- r", Some(2));
        check("r- R- u", Some(2));
        check("r- R- d", None);
    }

    fn settings(endpoints: &[&str]) -> Settings {
        let second = Duration::from_secs(1);
        Settings {
            endpoints: endpoints.iter().map(|text| text.parse().unwrap()).collect(),
            learns_members: true,
            check_interval: second,
            check_timeout: second,
            connect_timeout: second,
            request_timeout: second,
            long_request_timeout: second,
            wait_timeout: second,
            idle_timeout: second,
            body_bytes_max: 1,
            replay_bytes_max: 1,
            requests_in_flight_max: 1,
        }
    }

    #[test]
    fn learned_replicas_come_and_go_and_told_ones_stay() {
        let settings = settings(&["a:1", "b:1"]);
        let roster = Roster::new(&settings);
        let members = |texts: &[&str]| -> Vec<Endpoint> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let names = || -> Vec<String> {
            let mut names: Vec<_> =
                roster.upstreams().iter().map(|one| one.endpoint.to_string()).collect();
            names.sort();
            names
        };
        assert_eq!(roster.learn(&members(&["b:1", "c:1"]), &settings).len(), 1);
        assert_eq!(names(), ["a:1", "b:1", "c:1"]);
        assert_eq!(roster.learn(&members(&["b:1", "d:1"]), &settings).len(), 1);
        assert_eq!(names(), ["a:1", "b:1", "d:1"]);
    }

    #[tokio::test]
    async fn a_log_that_began_anew_is_believed_after_a_while() {
        let roster = Roster::new(&settings(&["a:1"]));
        let replica = roster.upstreams().remove(0);
        let begun = Instant::now();
        let look = |index, seconds| {
            replica.note(Health::Ready, String::new(), Some(index));
            roster.look_for_other_history(begun + Duration::from_secs(seconds));
            roster.shown()
        };
        roster.show(100);
        assert_eq!(look(7, 0), 100);
        assert_eq!(look(100, 6), 100);
        assert_eq!(look(8, 7), 100);
        assert_eq!(look(8, 14), 100, "being behind for a while is no other history");
        assert_eq!(look(9, 18), 9);
    }
}
