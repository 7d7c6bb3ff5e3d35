//! The active work on Kvrocks nodes, on the leader alone: failover of dead masters, pushes of the
//! topology, adoption of newer ones, migrations, requested pushes.
//!
//! One task tends one cluster, so nothing of a cluster happens twice at once. Each time it wakes it
//! looks at the applied state and at what the nodes were seen to be, and does what is due; what it
//! remembers in between ([`memory`]) is pace, never truth. A task wakes when its cluster changes,
//! when its nodes were probed, and when something it put off is due. Everything ends with the term:
//! what was going on is derived anew from the state by the next leader.
//!
//! What is due is decided by pure functions: [`push`], [`migration`], [`failover::due`],
//! [`adopt::newest`]. The rest of each file does as it is told.

mod adopt;
mod desk;
mod failover;
#[cfg(test)]
#[path = "fixture_test.rs"]
mod fixture;
mod hand_over;
mod jobs;
mod memory;
mod migration;
mod push;
mod pushes;
mod syncs;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use self::{desk::Desk, memory::Memory};
use crate::{
    broker::Broker,
    domain::kvrocks::{
        State,
        command::ClusterKey,
        model::{Cluster, Observer},
        query,
    },
    observe::kvrocks::Observatory,
};

/// Longest time between two looks at which clusters there are.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a look: a burst of entries is looked at once.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// Runs for ever, and acts while this replica leads.
pub(super) async fn run(broker: Broker, observatory: Arc<Observatory>) {
    let mut leadership = broker.watch_leadership();
    loop {
        let now = *leadership.borrow_and_update();
        if now.is_leader_here {
            let desk = Desk::new(broker.clone(), Arc::clone(&observatory), now.term);
            let is_over = leadership.wait_for(|new| !new.is_leader_here || new.term != now.term);
            tokio::select! {
                () = supervise(Arc::new(desk)) => {}
                over = is_over => if over.is_err() { return },
            }
        } else if leadership.changed().await.is_err() {
            return;
        }
    }
}

/// A task and what it was last told of.
struct Tended {
    cluster: Arc<Cluster>,
    wake: Arc<Notify>,
    task: AbortHandle,
}

/// Keeps one task a cluster. Dropping it ends them all, in the middle of whatever they do.
async fn supervise(desk: Arc<Desk>) {
    let mut applied = desk.broker.watch_applied();
    let mut tasks = JoinSet::new();
    let mut tended: BTreeMap<ClusterKey, Tended> = BTreeMap::new();
    let mut observers: Vec<Arc<Observer>> = Vec::new();
    let mut last: Option<State> = None;
    let mut hand_over = hand_over::Watch::default();
    loop {
        applied.mark_unchanged();
        if desk.broker.is_founded() {
            // Other families write all the time; that must cost nothing here.
            let now = desk.broker.latest().kvrocks.clone();
            if !last.as_ref().is_some_and(|last| query::is_untouched(last, &now)) {
                assign(&desk, &now, &mut tended, &mut tasks);
                wake_for_the_dead(&now, &mut observers, &tended);
                hand_over.look(&desk).await;
            }
            last = Some(now);
        }
        while tasks.try_join_next().is_some() {}
        sleep(LOOK_PAUSE).await;
        // Nothing new is as good a reason to look as something new.
        let _ = timeout(LOOK_INTERVAL, applied.changed()).await;
    }
}

/// Begins, wakes and ends tasks as clusters come, change and go.
fn assign(
    desk: &Arc<Desk>,
    state: &State,
    tended: &mut BTreeMap<ClusterKey, Tended>,
    tasks: &mut JoinSet<()>,
) {
    let mut gone: BTreeSet<ClusterKey> = tended.keys().cloned().collect();
    for (key, cluster) in query::clusters(state) {
        gone.remove(&key);
        match tended.get_mut(&key) {
            Some(known) if Arc::ptr_eq(&known.cluster, cluster) => {}
            Some(known) if !known.task.is_finished() => {
                known.cluster = Arc::clone(cluster);
                known.wake.notify_one();
            }
            _ => {
                let wake = Arc::new(Notify::new());
                let task = tasks.spawn(tend(Arc::clone(desk), key.clone(), Arc::clone(&wake)));
                tended.insert(key, Tended { cluster: Arc::clone(cluster), wake, task });
            }
        }
    }
    for key in gone {
        if let Some(known) = tended.remove(&key) {
            known.task.abort();
        }
    }
}

/// A report of a dead node is news for whoever tends its cluster.
fn wake_for_the_dead(
    state: &State,
    known: &mut Vec<Arc<Observer>>,
    tended: &BTreeMap<ClusterKey, Tended>,
) {
    let observers: Vec<_> =
        query::observers(state).map(|(_, observer)| Arc::clone(observer)).collect();
    let is_same = observers.len() == known.len()
        && observers.iter().zip(known.iter()).all(|(new, old)| Arc::ptr_eq(new, old));
    if is_same {
        return;
    }
    for id in observers.iter().flat_map(|observer| observer.down.keys()) {
        let key = query::owner_of_node(state, id);
        if let Some(known) = key.and_then(|key| tended.get(key)) {
            known.wake.notify_one();
        }
    }
    *known = observers;
}

/// Tends one cluster until it is gone.
async fn tend(desk: Arc<Desk>, key: ClusterKey, wake: Arc<Notify>) {
    let mut memory = Memory::default();
    let mut cycles = desk.observatory.watch_cycles();
    cycles.mark_unchanged();
    while let Some(pause) = step(&desk, &key, &mut memory).await {
        tokio::select! {
            () = wake.notified() => {}
            _ = cycles.changed() => {}
            () = sleep(pause) => {}
        }
    }
}

/// Does what is due, in the order in which one thing makes room for the next; tells when to look
/// again. `None` if the cluster is gone.
async fn step(desk: &Desk, key: &ClusterKey, memory: &mut Memory) -> Option<Duration> {
    let (cluster, settings) = desk.cluster(key)?;
    memory.retain(
        |id| cluster.nodes().any(|(_, node)| node.id == id),
        |id| cluster.job(id).is_some_and(|job| job.phase.is_active()),
    );
    desk.look_at_strangers(&cluster, &settings).await;
    failover::tend(desk, key, memory).await?;
    adopt::tend(desk, key, memory).await?;
    pushes::tend(desk, key, memory).await?;
    jobs::tend(desk, key, memory).await?;
    syncs::tend(desk, key, memory).await?;
    let (cluster, settings) = desk.cluster(key)?;
    let is_busy = cluster.active_jobs().next().is_some();
    let interval_ms = settings.ping_interval_ms;
    let longest_ms = if is_busy { interval_ms.min(jobs::POLL_MS_MAX) } else { interval_ms };
    let wait_ms = memory.next_ms().map_or(longest_ms, |next_ms| {
        next_ms.saturating_sub(desk.now_ms()).clamp(10, longest_ms.max(10))
    });
    Some(Duration::from_millis(wait_ms))
}
