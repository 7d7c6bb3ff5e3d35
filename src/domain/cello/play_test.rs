//! A pool at play: commands against a state, effects against hosts that remember containers, and
//! what must hold of both at any time (spec 7.1).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Command, Rejection, Reply, State,
    command::{Failure, HealthReport},
    model::{Cluster, Health, Host, Phase, TaskKind},
    query::{self, Effect},
};
use crate::domain::Context;

/// Containers of a host: by name, the cluster and whether they run.
type Containers = BTreeMap<String, (String, bool)>;

/// How an effect goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Luck {
    /// As it should.
    Good,
    /// It is done, but the leader dies before it says so.
    Silent,
    /// It breaks in the middle.
    Bad(Failure),
}

/// What became of a cluster id.
#[derive(Clone, Debug, Default)]
struct Life {
    owner: Option<String>,
    is_gone: bool,
}

/// A state, its log's position, and the hosts.
#[derive(Default)]
pub(super) struct Play {
    pub(super) state: State,
    twin: State,
    pub(super) index: u64,
    pub(super) now_ms: u64,
    pub(super) hosts: BTreeMap<String, Containers>,
    /// Outcomes that were proposed; said again they must change nothing.
    pub(super) outcomes: Vec<Command>,
    lives: BTreeMap<String, Life>,
}

impl Play {
    /// Applies a command and checks everything.
    pub(super) fn apply(&mut self, command: Command) -> Result<Reply, Rejection> {
        self.index += 1;
        self.now_ms += 1;
        let context = Context { index: self.index, term: 1, time_ms: self.now_ms, actor: "" };
        let before = self.state.clone();
        let bytes = postcard::to_stdvec(&command).unwrap();
        let again: Command = postcard::from_bytes(&bytes).unwrap();
        let reply = self.state.apply(&context, command.clone());
        assert_eq!(self.twin.apply(&context, again), reply);
        if matches!(reply, Err(_) | Ok(Reply::Unchanged)) {
            assert_eq!(self.state, before, "{command:?} changed something: {reply:?}");
        }
        self.check_reply(&before, &command, &reply);
        self.check_state();
        self.check_lives(&before);
        reply
    }

    /// Carries out an effect, as the leader would.
    pub(super) fn act(&mut self, effect: &Effect, luck: Luck) {
        if let Luck::Bad(failure) = luck {
            self.act_on_host(effect, false);
            self.report(effect, Some(failure));
        } else {
            self.act_on_host(effect, true);
            if luck == Luck::Good {
                self.report(effect, None);
            }
        }
    }

    fn act_on_host(&mut self, effect: &Effect, is_whole: bool) {
        let containers = self.hosts.entry(effect.host.id.clone()).or_default();
        let Some(cluster) = &effect.cluster else {
            if is_whole {
                containers.clear();
            } else {
                containers.pop_first();
            }
            return;
        };
        let size = cluster.kind().size;
        let size = if is_whole { size } else { size / 2 };
        for name in (0..size).map(|index| cluster.container_name(index)) {
            match effect.task.kind {
                TaskKind::Create | TaskKind::Start | TaskKind::Restart => {
                    containers.insert(name, (cluster.id.clone(), true));
                }
                TaskKind::Stop => {
                    containers.insert(name, (cluster.id.clone(), false));
                }
                TaskKind::Destroy | TaskKind::ResetHost | TaskKind::CleanUpHost => {
                    containers.remove(&name);
                }
            }
        }
    }

    fn report(&mut self, effect: &Effect, failure: Option<Failure>) {
        let op = effect.task.op;
        let reason = "it broke".to_owned();
        let command = match (&effect.cluster, failure) {
            (None, None) => Command::HostTaskDone { host_id: effect.host.id.clone(), op },
            (None, Some(_)) => {
                Command::HostTaskFailed { host_id: effect.host.id.clone(), op, reason }
            }
            (Some(cluster), Some(failure)) => {
                let cluster_id = cluster.id.clone();
                Command::OperationFailed { cluster_id, op, failure, reason }
            }
            (Some(cluster), None) => done(cluster, effect),
        };
        self.outcomes.push(command.clone());
        self.apply(command).unwrap();
    }

    /// Removes containers that no record owns, as the leader's sweep does.
    pub(super) fn sweep(&mut self) {
        for (host_id, containers) in &mut self.hosts {
            let kept = query::kept(&self.state, host_id);
            containers.retain(|_, (cluster, _)| kept.contains(cluster));
        }
    }

    /// Lets everything that is to be done be done, and everything be found healthy.
    pub(super) fn settle(&mut self) {
        let hosts: Vec<_> = query::hosts(&self.state).map(|host| host.id.clone()).collect();
        for host_id in hosts {
            let reason = String::new();
            self.apply(Command::ReportHost { host_id, is_reachable: true, reason }).unwrap();
        }
        for _ in 0..200 {
            let effects = query::pending_effects(&self.state);
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.now_ms = self.now_ms.max(effect.task.not_before_ms);
                if query::is_current(&self.state, &effect) {
                    self.act(&effect, Luck::Good);
                }
            }
        }
        assert!(query::pending_effects(&self.state).is_empty(), "something is stuck");
        self.mend();
        self.probe(Health::Ok);
        self.sweep();
        self.check_hosts();
    }

    /// Brings containers to the state of their record, as the leader does before it counts a bad
    /// probe: an action that broke in the middle may have left some in another.
    fn mend(&mut self) {
        for (host, cluster) in query::probed(&self.state) {
            let containers = self.hosts.entry(host.id.clone()).or_default();
            let own = containers.values_mut().filter(|(owner, _)| *owner == cluster.id);
            own.for_each(|(_, is_running)| *is_running = cluster.is_running);
        }
    }

    /// Has every cluster found healthy, or not.
    pub(super) fn probe(&mut self, health: Health) {
        let reports = query::probed(&self.state).map(|(_, cluster)| HealthReport {
            cluster_id: cluster.id.clone(),
            seen_op: cluster.op,
            health,
            reason: "it looks bad".to_owned(),
        });
        let reports = reports.collect();
        self.apply(Command::ReportHealth { reports }).unwrap();
    }

    /// After the sweep of a quiet pool: every container belongs to exactly one record, and every
    /// record has all of its containers, in its state.
    fn check_hosts(&self) {
        let mut wanted: BTreeMap<String, Containers> = BTreeMap::new();
        for cluster in query::clusters(&self.state) {
            assert_eq!(cluster.phase, Phase::Ready);
            let containers = wanted.entry(cluster.host_id.clone()).or_default();
            for index in 0..cluster.kind().size {
                let state = (cluster.id.clone(), cluster.is_running);
                let was_there = containers.insert(cluster.container_name(index), state);
                assert!(was_there.is_none(), "two records own {}", cluster.container_name(index));
            }
        }
        let found = self.hosts.iter().filter(|(_, containers)| !containers.is_empty());
        let found: BTreeMap<_, _> = found.map(|(id, found)| (id.clone(), found.clone())).collect();
        assert_eq!(found, wanted);
    }

    fn check_reply(&self, before: &State, command: &Command, reply: &Result<Reply, Rejection>) {
        match (command, reply) {
            (Command::Apply { user_id, .. }, Ok(Reply::Cluster(cluster))) => {
                self.check_hand_out(before, user_id, cluster);
            }
            (Command::Release { .. } | Command::ReleaseUser { .. }, Ok(Reply::Clusters(ids))) => {
                for id in ids {
                    let (old, new) = (query::cluster(before, id), query::cluster(&self.state, id));
                    let (old, new) = old.zip(new).expect("it was there, and is to be removed");
                    assert_eq!((new.phase, new.is_replaced), (Phase::Deleting, true));
                    let named = match command {
                        Command::ReleaseUser { user_id } => Some(user_id),
                        Command::Release { user_id, .. } => user_id.as_ref(),
                        _ => None,
                    };
                    assert!(named.is_none_or(|user| *user == old.user_id), "not the owner's wish");
                }
                let history: Vec<_> = query::released(&self.state).collect();
                let limit = query::settings(&self.state).history_max as usize;
                for (id, record) in ids.iter().rev().zip(history.iter().rev()).take(limit) {
                    assert_eq!(record.id, *id);
                    assert!(!record.user_id.is_empty());
                    assert!(record.released_ms >= record.applied_ms, "time goes on");
                    assert_eq!(record.released_ms, Some(self.now_ms));
                }
            }
            _ => {}
        }
    }

    fn check_hand_out(&self, before: &State, user_id: &str, cluster: &Cluster) {
        assert_eq!(cluster.user_id, user_id);
        assert_eq!((cluster.phase, cluster.health), (Phase::Ready, Health::Ok));
        let old = query::cluster(before, &cluster.id).expect("it was there");
        if old.user_id == user_id {
            assert_eq!(*old, *cluster, "what a user has already is not touched");
        } else {
            let host = query::host(before, &old.host_id).expect("its host was there");
            assert!(host.is_active && host.is_schedulable);
            assert_eq!((old.phase, old.health, &*old.user_id), (Phase::Ready, Health::Ok, ""));
            assert!(old.is_running && old.task.is_none(), "somebody works on it");
            assert_eq!(cluster.applied_ms, Some(self.now_ms));
        }
    }

    fn check_state(&self) {
        let state = &self.state;
        let limit = query::settings(state).history_max as usize;
        assert!(query::released(state).count() <= limit);
        for host in query::hosts(state) {
            check_host(state, host);
        }
        let mut ids = BTreeSet::new();
        for cluster in query::clusters(state) {
            assert!(ids.insert(&cluster.id));
            assert_eq!(cluster.id.len(), 24);
            assert!(query::host(state, &cluster.host_id).is_some(), "no cluster without host");
            let is_busy = cluster.task.is_some();
            assert!(is_busy || cluster.phase == Phase::Ready, "nobody works on {cluster:?}");
            if cluster.health == Health::Ok {
                assert!(cluster.is_running && cluster.phase == Phase::Ready);
            }
            if let Some(task) = &cluster.task {
                assert_eq!(task.op, cluster.op);
                assert_eq!(cluster.phase == Phase::Creating, task.kind == TaskKind::Create);
            }
        }
        let counts = query::counts(state);
        let total = counts.clusters_free + counts.clusters_used + counts.clusters_held();
        assert_eq!(total, ids.len() as u64);
    }

    /// Nobody is in two places: an id has one owner in its life, and never comes back.
    fn check_lives(&mut self, before: &State) {
        for cluster in query::clusters(&self.state) {
            let life = self.lives.entry(cluster.id.clone()).or_default();
            assert!(!life.is_gone, "{} came back", cluster.id);
            if cluster.phase == Phase::Ready && !cluster.user_id.is_empty() {
                let owner = life.owner.get_or_insert_with(|| cluster.user_id.clone());
                assert_eq!(*owner, cluster.user_id, "two users of {}", cluster.id);
            } else if cluster.phase == Phase::Ready {
                assert_eq!(life.owner, None, "{} is free again under its old id", cluster.id);
            }
            let old = query::cluster(before, &cluster.id);
            let has_new_ports = old.as_ref().is_none_or(|old| old.port_start != cluster.port_start);
            if has_new_ports && !is_replacement(before, cluster) {
                self.check_new_ports(before, cluster);
            }
            let old = old.map_or(Phase::Creating, |old| old.phase);
            let is_allowed = matches!(
                (old, cluster.phase),
                (Phase::Creating, Phase::Creating | Phase::Ready | Phase::Deleting)
                    | (Phase::Ready, Phase::Ready | Phase::Deleting | Phase::Resetting)
                    | (Phase::Deleting, Phase::Deleting)
                    | (Phase::Resetting, Phase::Resetting)
            );
            assert!(is_allowed, "from {old:?} to {:?}", cluster.phase);
        }
        for cluster in query::clusters(before) {
            if query::cluster(&self.state, &cluster.id).is_none() {
                self.lives.entry(cluster.id.clone()).or_default().is_gone = true;
                self.check_gone(cluster);
            }
        }
    }

    /// Nobody is sent where a stranger was seen a moment ago.
    fn check_new_ports(&self, before: &State, cluster: &Cluster) {
        let Some(host) = query::host(before, &cluster.host_id) else { return };
        let (start, end) = (cluster.port_start, cluster.port_start + (cluster.port_count - 1));
        for (first, blocked) in &host.blocked {
            let last = first + (blocked.count - 1);
            let is_apart = end < *first || last < start;
            assert!(is_apart || blocked.until_ms <= self.now_ms, "port {first} is a stranger's");
        }
    }

    /// A record goes only after its containers, and leaves its place to its replacement.
    fn check_gone(&self, old: &Cluster) {
        let Some(host) = query::host(&self.state, &old.host_id) else { return };
        assert!(matches!(old.phase, Phase::Deleting | Phase::Resetting));
        assert_eq!(old.task.as_ref().map(|task| task.kind), Some(TaskKind::Destroy));
        let mut clusters = query::clusters(&self.state).filter(|new| new.host_id == host.id);
        let replacement = clusters.find(|new| new.port_start == old.port_start);
        if old.is_replaced {
            let new = replacement.expect("a cluster is lost");
            assert_eq!(
                (&new.name, new.kind(), new.phase),
                (&old.name, old.kind(), Phase::Creating)
            );
        } else {
            assert!(replacement.is_none(), "nobody wanted a replacement");
        }
    }

    /// The state survives a snapshot, and the twin that replayed the same log is equal.
    pub(super) fn check_restored(&self) {
        assert_eq!(self.state, self.twin);
        let mut restored = State::default();
        let mut bytes = Vec::new();
        for record in self.state.records() {
            let encoded = postcard::to_stdvec(&record).unwrap();
            restored.restore_record(postcard::from_bytes(&encoded).unwrap()).unwrap();
            bytes.push(encoded);
        }
        assert_eq!(restored, self.state);
        let again = restored.records().map(|record| postcard::to_stdvec(&record).unwrap());
        assert!(again.eq(bytes));
    }

    /// Goes on from a snapshot, as a replica that was restarted does.
    pub(super) fn restart(&mut self) {
        let mut restored = State::default();
        for record in self.state.records() {
            restored.restore_record(record).unwrap();
        }
        self.state = restored;
    }
}

/// The good outcome of an effect on a cluster.
fn done(cluster: &Cluster, effect: &Effect) -> Command {
    let (cluster_id, op) = (cluster.id.clone(), effect.task.op);
    match effect.task.kind {
        TaskKind::Create => {
            let names = (0..cluster.kind().size).map(|index| cluster.container_name(index));
            let containers = names.map(|name| (format!("docker {name}"), name));
            let containers = containers.map(|(id, name)| (name, id)).collect();
            Command::ClusterCreated { cluster_id, op, containers }
        }
        TaskKind::Destroy => Command::ClusterDestroyed { cluster_id, op },
        TaskKind::Start | TaskKind::Stop | TaskKind::Restart => {
            Command::PowerDone { cluster_id, op }
        }
        TaskKind::ResetHost | TaskKind::CleanUpHost => unreachable!("a cluster has no such task"),
    }
}

/// Whether a cluster takes the place of one that was there before.
fn is_replacement(before: &State, cluster: &Cluster) -> bool {
    query::clusters(before)
        .any(|old| old.host_id == cluster.host_id && old.port_start == cluster.port_start)
}

/// No more clusters than it may have, and no port twice.
fn check_host(state: &State, host: &Host) {
    let ids = query::cluster_ids(state, &host.id);
    assert!(ids.len() <= host.capacity as usize, "{} of {}", ids.len(), host.capacity);
    let mut blocks: Vec<(u32, u32)> = Vec::new();
    for cluster in ids.iter().filter_map(|id| query::cluster(state, id)) {
        assert_eq!(cluster.daemon_url, host.daemon_url);
        let start = u32::from(cluster.port_start);
        let end = start + u32::from(cluster.port_count);
        assert!(start > 0 && end <= 65_536, "ports {start} to {end}");
        assert!(cluster.ports().all(|(_, port)| u32::from(port) < end));
        blocks.push((start, end));
    }
    blocks.sort_unstable();
    assert!(blocks.windows(2).all(|pair| pair[0].1 <= pair[1].0), "ports overlap: {blocks:?}");
}
