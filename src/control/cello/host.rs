//! Tends one host: pings, effects, probes, sweeps, each at its pace.
//!
//! What is remembered here is pace alone. What has to be done follows from the state, so a worker
//! can be dropped at any point, and the next leader's begins with nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{
    desk::Desk,
    effect::{self, Ended},
    probe::{self, Finding, Verdict},
    sweep,
};
use crate::domain::cello::{
    Command, State,
    command::HealthReport,
    model::{Cluster, Health, Host, TaskKind},
    query::{self, Effect},
    settings::Settings,
};

/// Longest time between two looks at what is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Pause before an effect that did not come to an outcome is begun again.
const AGAIN_PAUSE: Duration = Duration::from_millis(500);
/// Looks in a row that find nothing out, after which the host is pinged out of turn.
const UNKNOWN_MAX: u32 = 3;
/// Key of the work on the host itself among the keys of clusters.
const HOST: &str = "";

/// Something that went on and is over.
enum Finished {
    Ping,
    Effect(String, Ended),
    Looked(Vec<Finding>),
    Mended(Finding),
    Swept,
}

/// What is remembered of a cluster between two looks.
struct Watch {
    /// The cluster's `op`; the rest is about the time since it changed.
    op: u64,
    since: Instant,
    next: Instant,
    bad: u32,
    unknown: u32,
}

/// One host and what goes on there.
pub(super) struct Worker {
    desk: Arc<Desk>,
    host_id: String,
    works: FuturesUnordered<BoxFuture<'static, Finished>>,
    /// Clusters, or the host, on which something goes on.
    busy: BTreeSet<String>,
    /// Clusters, or the host, that have to wait, whatever the state says.
    pauses: BTreeMap<String, Instant>,
    watches: BTreeMap<String, Watch>,
    effects: u32,
    is_pinging: bool,
    is_looking: bool,
    is_sweeping: bool,
    next_ping: Instant,
    next_sweep: Instant,
}

impl Worker {
    pub(super) fn new(desk: Arc<Desk>, host_id: String) -> Self {
        let now = Instant::now();
        Self {
            desk,
            host_id,
            works: FuturesUnordered::new(),
            busy: BTreeSet::new(),
            pauses: BTreeMap::new(),
            watches: BTreeMap::new(),
            effects: 0,
            is_pinging: false,
            is_looking: false,
            is_sweeping: false,
            next_ping: now,
            next_sweep: now,
        }
    }

    /// Works until the host is gone.
    pub(super) async fn run(mut self, wake: Arc<Notify>) {
        while let Some(pause) = self.begin_what_is_due() {
            tokio::select! {
                Some(finished) = self.works.next() => self.finish(finished).await,
                () = wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Begins everything that is due; tells when to look again. `None` if the host is gone.
    fn begin_what_is_due(&mut self) -> Option<Duration> {
        let (state, _) = self.desk.office.look();
        let settings = query::settings(&state).clone();
        let mut wait = LOOK_INTERVAL;
        let host = query::host(&state, &self.host_id);
        if let Some(host) = &host {
            self.begin_ping(host, &settings, &mut wait);
            if host.is_active {
                self.begin_look(&state, host, &settings, &mut wait);
                self.begin_sweep(host, &settings, &mut wait);
            }
        }
        let is_departed = || query::departed(&state).any(|host| host.id == self.host_id);
        if host.is_none() && !is_departed() {
            return None;
        }
        self.begin_effects(&state, &settings, &mut wait);
        Some(wait.max(LOOK_INTERVAL_MIN))
    }

    fn begin_ping(&mut self, host: &Arc<Host>, settings: &Settings, wait: &mut Duration) {
        if self.is_pinging || !is_due(self.next_ping, wait) {
            return;
        }
        self.is_pinging = true;
        let (desk, host, settings) = (Arc::clone(&self.desk), Arc::clone(host), settings.clone());
        self.works.push(Box::pin(async move {
            probe::ping(&desk, &host, &settings).await;
            Finished::Ping
        }));
    }

    fn begin_sweep(&mut self, host: &Arc<Host>, settings: &Settings, wait: &mut Duration) {
        let settled = self.desk.settled_at(Duration::from_millis(settings.call_timeout_ms));
        if self.is_sweeping || !is_due(self.next_sweep.max(settled), wait) {
            return;
        }
        self.is_sweeping = true;
        let (desk, host, settings) = (Arc::clone(&self.desk), Arc::clone(host), settings.clone());
        self.works.push(Box::pin(async move {
            sweep::sweep(&desk, &host, &settings).await;
            Finished::Swept
        }));
    }

    fn begin_look(
        &mut self,
        state: &State,
        host: &Arc<Host>,
        settings: &Settings,
        wait: &mut Duration,
    ) {
        let probed: Vec<_> = query::probed_on(state, &self.host_id).cloned().collect();
        let now = Instant::now();
        self.watches.retain(|id, _| probed.iter().any(|cluster| cluster.id == *id));
        for cluster in &probed {
            if self.watches.get(&cluster.id).is_none_or(|watch| watch.op != cluster.op) {
                let new = Watch { op: cluster.op, since: now, next: now, bad: 0, unknown: 0 };
                self.watches.insert(cluster.id.clone(), new);
            }
        }
        if self.is_looking {
            return;
        }
        let watches = &self.watches;
        let mut is_meant = |cluster: &Arc<Cluster>| {
            let next = watches.get(&cluster.id).map_or(now, |watch| watch.next);
            !self.busy.contains(&cluster.id) && is_due(next, wait)
        };
        let due: Vec<_> = probed.into_iter().filter(|cluster| is_meant(cluster)).collect();
        if due.is_empty() {
            return;
        }
        self.is_looking = true;
        let (desk, host, settings) = (Arc::clone(&self.desk), Arc::clone(host), settings.clone());
        self.works.push(Box::pin(async move {
            Finished::Looked(probe::look(&desk, &host, due, &settings).await)
        }));
    }

    fn begin_effects(&mut self, state: &State, settings: &Settings, wait: &mut Duration) {
        let now_ms = self.desk.office.now_ms();
        for effect in query::effects_of(state, &self.host_id) {
            let cluster = effect.cluster.as_ref();
            let key = cluster.map_or(HOST, |cluster| cluster.id.as_str());
            if !effect.host.is_active || self.busy.contains(key) {
                continue;
            }
            let until_ms = effect.task.not_before_ms.saturating_sub(now_ms);
            if until_ms > 0 {
                *wait = (*wait).min(Duration::from_millis(until_ms));
                continue;
            }
            let paused = self.pauses.get(key).copied().unwrap_or_else(Instant::now);
            if !is_due(paused.max(self.may_begin_at(&effect, settings)), wait) {
                continue;
            }
            if self.effects >= settings.calls_per_host_max {
                return;
            }
            self.effects += 1;
            self.busy.insert(key.to_owned());
            let (desk, key) = (Arc::clone(&self.desk), key.to_owned());
            self.works.push(Box::pin(async move {
                let ended = effect::carry_out(&desk, &effect).await;
                Finished::Effect(key, ended)
            }));
        }
    }

    /// A call of an earlier leader may still be on its way to a cluster that this one found when it
    /// took over; to a cluster that it has made itself there is none.
    fn may_begin_at(&self, effect: &Effect, settings: &Settings) -> Instant {
        let is_new = effect.task.kind == TaskKind::Create && self.desk.is_own(effect.task.op);
        match is_new {
            true => Instant::now(),
            false => self.desk.settled_at(Duration::from_millis(settings.call_timeout_ms)),
        }
    }

    async fn finish(&mut self, finished: Finished) {
        let (state, _) = self.desk.office.look();
        let settings = query::settings(&state).clone();
        let now = Instant::now();
        match finished {
            Finished::Ping => {
                self.is_pinging = false;
                self.next_ping = now + Duration::from_millis(settings.ping_interval_ms);
            }
            Finished::Swept => {
                self.is_sweeping = false;
                self.next_sweep = now + Duration::from_millis(settings.sweep_interval_ms);
            }
            Finished::Effect(key, ended) => {
                self.effects = self.effects.saturating_sub(1);
                self.busy.remove(&key);
                self.pauses.retain(|_, until| *until > now);
                if ended != Ended::Done {
                    self.pauses.insert(key, now + AGAIN_PAUSE);
                }
                if ended == Ended::Unreachable {
                    self.next_ping = now;
                }
            }
            Finished::Looked(findings) => {
                self.is_looking = false;
                self.note_all(findings, &settings).await;
            }
            Finished::Mended(finding) => {
                self.effects = self.effects.saturating_sub(1);
                self.busy.remove(&finding.cluster.id);
                self.note_mended(finding, &settings).await;
            }
        }
    }

    /// Good news are reported at once; what looks bad is mended first.
    async fn note_all(&mut self, findings: Vec<Finding>, settings: &Settings) {
        let mut reports = Vec::new();
        for finding in findings {
            let Some(watch) = self.watches.get_mut(&finding.cluster.id) else { continue };
            if watch.op != finding.cluster.op {
                continue;
            }
            watch.next = next_look(watch, &finding, settings);
            match finding.verdict {
                Verdict::Good => {
                    (watch.bad, watch.unknown) = (0, 0);
                    reports.extend(report(&finding));
                }
                Verdict::Unknown => {
                    watch.unknown += 1;
                    if watch.unknown >= UNKNOWN_MAX {
                        watch.unknown = 0;
                        self.next_ping = Instant::now();
                    }
                }
                Verdict::Bad(_) => {
                    watch.bad = watch.bad.saturating_add(1);
                    self.begin_mending(finding, settings);
                }
            }
        }
        if !reports.is_empty() {
            self.desk.report(Command::ReportHealth { reports }).await;
        }
    }

    fn begin_mending(&mut self, finding: Finding, settings: &Settings) {
        let settled = self.desk.settled_at(Duration::from_millis(settings.call_timeout_ms));
        let host = query::host(&self.desk.office.look().0, &self.host_id);
        let Some(host) = host.filter(|_| settled <= Instant::now()) else { return };
        // One above the limit rather than none: users' effects must not keep clusters sick.
        if self.effects > settings.calls_per_host_max
            || !self.busy.insert(finding.cluster.id.clone())
        {
            return;
        }
        self.effects += 1;
        let (desk, settings) = (Arc::clone(&self.desk), settings.clone());
        self.works.push(Box::pin(async move {
            Finished::Mended(probe::mend(&desk, &host, finding, &settings).await)
        }));
    }

    /// What stays bad, or has to be mended again and again, is reported; free clusters make room.
    async fn note_mended(&mut self, mut finding: Finding, settings: &Settings) {
        let id = finding.cluster.id.clone();
        let Some(watch) = self.watches.get(&id) else { return };
        let is_hopeless = watch.bad >= settings.bad_probes_max;
        if watch.op != finding.cluster.op || !finding.cluster.is_running {
            return;
        }
        if is_hopeless && finding.verdict == Verdict::Good {
            finding.verdict = Verdict::Bad("its containers do not keep running".to_owned());
        }
        if let Some(report) = report(&finding) {
            self.desk.report(Command::ReportHealth { reports: vec![report] }).await;
        }
        if let Verdict::Bad(reason) = finding.verdict
            && is_hopeless
            && finding.cluster.user_id.is_empty()
        {
            let seen_op = finding.cluster.op;
            self.desk.report(Command::ResetCluster { cluster_id: id, seen_op, reason }).await;
        }
    }
}

/// Whether a time has come; if not, nobody waits longer than until then.
fn is_due(at: Instant, wait: &mut Duration) -> bool {
    let left = at.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        *wait = (*wait).min(left);
    }
    left.is_zero()
}

fn report(finding: &Finding) -> Option<HealthReport> {
    let (health, reason) = probe::news(finding)?;
    let (cluster_id, seen_op) = (finding.cluster.id.clone(), finding.cluster.op);
    Some(HealthReport { cluster_id, seen_op, health, reason })
}

/// What is new, or bad, is looked at again sooner.
fn next_look(watch: &Watch, finding: &Finding, settings: &Settings) -> Instant {
    let now = Instant::now();
    let fast = Duration::from_millis(settings.fast_probe_interval_ms);
    let slow = Duration::from_millis(settings.probe_interval_ms);
    let is_new = now < watch.since + Duration::from_millis(settings.fast_probe_ms);
    let is_well = finding.cluster.health == Health::Ok || !finding.cluster.is_running;
    now + match &finding.verdict {
        Verdict::Good => slow,
        _ if is_new && !is_well => fast.min(slow),
        Verdict::Bad(_) => fast.max(slow / 3).min(slow),
        Verdict::Unknown => slow,
    }
}
