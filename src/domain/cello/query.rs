//! What readers ask of the state: the interface, and the loops on the leader.

use std::{collections::BTreeSet, sync::Arc};

use imbl::ordmap::DiffItem;

use super::{
    State,
    model::{Cluster, Health, Host, Phase, PowerOutcome, Task, TaskKind},
    settings::Settings,
    template::Template,
};

/// Something to be done on a host, with all that is needed to do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What, under which `op`, and not before when.
    pub task: Task,
    /// Where. Nothing can be done on an inactive host; its tasks wait for it.
    pub host: Arc<Host>,
    /// For which cluster; `None` for tasks of the host itself.
    pub cluster: Option<Arc<Cluster>>,
}

/// Everything to be done on hosts, in the order of creation of its records. Follows from the state
/// alone, so a new leader finds what its predecessor left; every item stands until an outcome with
/// its `op` takes it away.
#[must_use]
pub fn pending_effects(state: &State) -> Vec<Effect> {
    let departed = state.departed.iter();
    let of_hosts = state.hosts.values().chain(departed).filter_map(|host| {
        let task = host.task.clone()?;
        Some(Effect { task, host: Arc::clone(host), cluster: None })
    });
    let of_clusters = state.clusters.values().filter_map(|cluster| {
        let task = cluster.task.clone()?;
        let host = state.host(&cluster.host_id).ok()?;
        Some(Effect { task, host: Arc::clone(host), cluster: Some(Arc::clone(cluster)) })
    });
    of_hosts.chain(of_clusters).collect()
}

/// What of [`pending_effects`] is to be done on one host.
#[must_use]
pub fn effects_of(state: &State, host_id: &str) -> Vec<Effect> {
    let departed = || state.departed.iter().find(|host| host.id == host_id);
    let Some(host) = state.host(host_id).ok().or_else(departed) else { return Vec::new() };
    let effect = |task: &Option<Task>, cluster: Option<&Arc<Cluster>>| {
        let (host, cluster) = (Arc::clone(host), cluster.cloned());
        task.clone().map(|task| Effect { task, host, cluster })
    };
    let of_clusters = state.clusters_of(host_id);
    let of_clusters = of_clusters.filter_map(|cluster| effect(&cluster.task, Some(cluster)));
    effect(&host.task, None).into_iter().chain(of_clusters).collect()
}

/// Hosts of the newer state that differ from the older one, or whose clusters do. Costs as much as
/// differs.
#[must_use]
pub fn touched_hosts(old: &State, new: &State) -> BTreeSet<String> {
    let mut touched = BTreeSet::new();
    for item in old.hosts.diff(&new.hosts) {
        if let DiffItem::Add(_, host) | DiffItem::Update { new: (_, host), .. } = item {
            touched.insert(host.id.clone());
        }
    }
    for item in old.clusters.diff(&new.clusters) {
        let (DiffItem::Add(_, cluster)
        | DiffItem::Update { new: (_, cluster), .. }
        | DiffItem::Remove(_, cluster)) = item;
        touched.insert(cluster.host_id.clone());
    }
    if !old.departed.ptr_eq(&new.departed) {
        touched.extend(new.departed.iter().map(|host| host.id.clone()));
    }
    touched
}

/// Whether a task still stands as it did. Asked again just before every step on a host.
#[must_use]
pub fn is_current(state: &State, effect: &Effect) -> bool {
    let (kind, op) = (effect.task.kind, effect.task.op);
    let is_same =
        |task: &Option<Task>| task.as_ref().is_some_and(|task| task.op == op && task.kind == kind);
    match &effect.cluster {
        Some(cluster) => state.cluster(&cluster.id).is_ok_and(|found| is_same(&found.task)),
        None => {
            let departed = state.departed.iter();
            let mut hosts = state.hosts.values().chain(departed);
            hosts.any(|host| host.id == effect.host.id && is_same(&host.task))
        }
    }
}

/// [`probed_on`] every active host.
pub fn probed(state: &State) -> impl Iterator<Item = (&Arc<Host>, &Arc<Cluster>)> {
    let active = state.hosts.values().filter(|host| host.is_active);
    active.flat_map(|host| probed_on(state, &host.id).map(move |cluster| (host, cluster)))
}

/// Clusters of a host to be probed: made, without a task. Stopped ones are among them, so that what
/// runs against the record can be stopped; their health is not to be reported.
pub fn probed_on<'a>(state: &'a State, host_id: &'a str) -> impl Iterator<Item = &'a Arc<Cluster>> {
    let clusters = state.clusters_of(host_id);
    clusters.filter(|cluster| cluster.phase == Phase::Ready && cluster.task.is_none())
}

/// Hosts that [`FillHost`](super::Command::FillHost) by the loop would fill now.
pub fn hosts_to_fill(state: &State, now_ms: u64) -> impl Iterator<Item = &Arc<Host>> {
    state.hosts.values().filter(move |host| state.is_to_be_filled(host, now_ms))
}

/// Ids of every cluster that has a record on the host, whatever its phase. What a sweep keeps; only
/// containers labelled with an `op` up to the index of this very state may be swept.
#[must_use]
pub fn kept(state: &State, host_id: &str) -> BTreeSet<String> {
    state.clusters_of(host_id).map(|cluster| cluster.id.clone()).collect()
}

/// Whether a container that was made for an intent may be swept once no record owns it: not if the
/// intent is one of a lost cluster that this state has never seen. See [`LostOps`](super::LostOps).
#[must_use]
pub fn may_sweep(state: &State, op: u64) -> bool {
    !state.lost.iter().any(|lost| lost.after < op && op <= lost.upto)
}

/// Id of this installation, 32 hexadecimal digits; `None` before there ever was a host.
#[must_use]
pub fn installation(state: &State) -> Option<String> {
    state.installation.map(super::ids::hex)
}

/// How a power action stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Waiting,
    /// It is done.
    Done,
    /// It failed, for this reason.
    Failed(String),
    /// Something else took its place, a release for one, or the record is gone.
    Superseded,
}

fn progress(task: Option<&Task>, last: Option<&PowerOutcome>, op: u64) -> Progress {
    if task.is_some_and(|task| task.op == op) {
        return Progress::Waiting;
    }
    match last {
        Some(PowerOutcome { op: last, error: None }) if *last == op => Progress::Done,
        Some(PowerOutcome { op: last, error: Some(error) }) if *last == op => {
            Progress::Failed(error.clone())
        }
        _ => Progress::Superseded,
    }
}

/// How a start, stop or restart stands.
#[must_use]
pub fn power_outcome(state: &State, cluster_id: &str, op: u64) -> Progress {
    state.cluster(cluster_id).map_or(Progress::Superseded, |cluster| {
        progress(cluster.task.as_ref(), cluster.last_power.as_ref(), op)
    })
}

/// How the reset of a host stands.
#[must_use]
pub fn reset_outcome(state: &State, host_id: &str, op: u64) -> Progress {
    state.host(host_id).map_or(Progress::Superseded, |host| {
        progress(host.task.as_ref(), host.last_reset.as_ref(), op)
    })
}

/// A host by its id.
#[must_use]
pub fn host(state: &State, id: &str) -> Option<Arc<Host>> {
    state.host(id).ok().cloned()
}

/// Every host, in the order of creation.
pub fn hosts(state: &State) -> impl Iterator<Item = &Arc<Host>> {
    state.hosts.values()
}

/// Hosts that are forgotten but for what is left on them.
pub fn departed(state: &State) -> impl Iterator<Item = &Arc<Host>> {
    state.departed.iter()
}

/// Ids of a host's clusters, in the order of creation.
#[must_use]
pub fn cluster_ids(state: &State, host_id: &str) -> Vec<String> {
    state.clusters_of(host_id).map(|cluster| cluster.id.clone()).collect()
}

/// A cluster by its id.
#[must_use]
pub fn cluster(state: &State, id: &str) -> Option<Arc<Cluster>> {
    state.cluster(id).ok().cloned()
}

/// Every cluster, in the order of creation.
pub fn clusters(state: &State) -> impl Iterator<Item = &Arc<Cluster>> {
    state.clusters.values()
}

/// Released clusters as they were then, oldest first.
pub fn released(state: &State) -> impl Iterator<Item = &Arc<Cluster>> {
    state.released.iter()
}

/// Templates, in the order in which ties are broken.
pub fn templates(state: &State) -> impl Iterator<Item = &Arc<Template>> {
    state.templates.iter()
}

/// The replicated settings.
#[must_use]
pub const fn settings(state: &State) -> &Settings {
    &state.settings
}

/// What [`Command::Apply`](super::Command::Apply) judges before it looks for a cluster.
///
/// # Errors
/// The [`super::Rejection`] that the command would meet.
pub fn judge_wish(
    state: &State,
    user_id: &str,
    condition: &super::command::Condition,
) -> Result<(), super::Rejection> {
    super::text::judge_user(user_id)?;
    state.judge_condition(condition)
}

/// A daemon URL as the state would have it, with its scheme.
///
/// # Errors
/// [`super::Rejection::InvalidHost`] if it is none.
pub fn daemon_url(url: &str) -> Result<String, super::Rejection> {
    super::text::daemon_url(url)
}

/// How many there are of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Hosts whose daemon answers.
    pub hosts_active: u64,
    /// Hosts whose daemon does not.
    pub hosts_inactive: u64,
    /// Clusters that the hosts which are filled automatically should have.
    pub capacity: u64,
    /// Clusters of nobody.
    pub clusters_free: u64,
    /// Those of them that can be handed out at once.
    pub clusters_available: u64,
    /// Clusters of users.
    pub clusters_used: u64,
    /// Clusters that are being made.
    pub clusters_creating: u64,
    /// Clusters that were released or deleted and are being removed.
    pub clusters_deleting: u64,
    /// Clusters that went bad and are being removed to be replaced.
    pub clusters_resetting: u64,
    /// Clusters whose last probe was bad.
    pub clusters_unhealthy: u64,
    /// Things to be done on hosts.
    pub tasks: u64,
    /// Released clusters that are remembered.
    pub released: u64,
}

impl Counts {
    /// Clusters that the pool itself holds: those that are being made or removed.
    #[must_use]
    pub const fn clusters_held(&self) -> u64 {
        self.clusters_creating + self.clusters_deleting + self.clusters_resetting
    }
}

/// Counts everything.
#[must_use]
pub fn counts(state: &State) -> Counts {
    let mut counts = Counts { released: state.released.len() as u64, ..Counts::default() };
    for host in state.hosts.values() {
        let count =
            if host.is_active { &mut counts.hosts_active } else { &mut counts.hosts_inactive };
        *count += 1;
        counts.tasks += u64::from(host.task.is_some());
        counts.capacity += if host.is_autofill { u64::from(host.capacity) } else { 0 };
    }
    for cluster in state.clusters.values() {
        let count = match cluster.phase {
            Phase::Ready if cluster.user_id.is_empty() => &mut counts.clusters_free,
            Phase::Ready => &mut counts.clusters_used,
            Phase::Creating => &mut counts.clusters_creating,
            Phase::Deleting => &mut counts.clusters_deleting,
            Phase::Resetting => &mut counts.clusters_resetting,
        };
        *count += 1;
        counts.tasks += u64::from(cluster.task.is_some());
        counts.clusters_unhealthy += u64::from(cluster.health == Health::Fail);
        let is_open = |host: &Arc<Host>| host.is_active && host.is_schedulable;
        if cluster.is_available() && state.host(&cluster.host_id).is_ok_and(is_open) {
            counts.clusters_available += 1;
        }
    }
    counts
}

/// Whether anything of this kind is pending; for tests and metrics.
#[must_use]
pub fn has_pending(state: &State, kind: TaskKind) -> bool {
    pending_effects(state).iter().any(|effect| effect.task.kind == kind)
}
