//! One run: a cluster is founded, clients ask, faults come and go; then all faults end and the
//! cluster must work again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    clients::{Client, Numbers},
    disk::Disks,
    event::Event,
    faults,
    invariants::RECOVERY_MS_MAX,
    place::Places,
    plan::Plan,
    runtime::{OUTSIDE, World, lock},
    witness::{Broken, Witness},
};
use crate::{ReplicaId, storage::state_digest};

/// Pause between two looks at whether the cluster works again.
const LOOK: Duration = Duration::from_millis(50);
/// Longest time until a new cluster serves.
const FOUNDING_MS_MAX: u64 = 10_000;

/// What came of a run.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// What decided about it.
    pub(crate) plan: Plan,
    /// Hash of everything that happened.
    pub(crate) hash: u64,
    /// The first invariant that was broken.
    pub(crate) broken: Option<Broken>,
    /// What happened last.
    pub(crate) last: Vec<String>,
    /// How often each kind of thing happened.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// Turns of tasks.
    pub(crate) turns: u64,
    /// Simulated time.
    pub(crate) lasted_ms: u64,
    /// Simulated time from the end of the faults until the cluster worked again.
    pub(crate) recovery_ms: u64,
}

/// Carries out the plan of a seed.
pub(crate) fn run(seed: u64) -> Report {
    let dir = tempfile::tempdir_in(memory()).expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(carry_out(Plan::of(seed), dir.path()))
}

async fn carry_out(plan: Plan, dir: &Path) -> Report {
    let world = World::new(plan.seed, Disks::new(dir), Witness::new());
    lock(&world.network).usual = plan.link;
    let places = Places::new(world.clone(), Arc::new(plan.clone()));
    let watched = places.clone();
    world.run(life(places), |_| watched.look()).await;
    world.witness(|witness| Report {
        plan,
        hash: witness.hash(),
        broken: witness.broken(),
        last: witness.last().map(str::to_owned).collect(),
        counts: witness.counts().clone(),
        turns: witness.size().0,
        lasted_ms: world.now_ms(),
        recovery_ms: witness.recovery_ms(),
    })
}

async fn life(places: Places) {
    let world = places.world.clone();
    for id in places.ids() {
        places.disk(id).set_mood(|mood| *mood = places.plan.mood);
        places.start(id);
    }
    let client = Client { places: places.clone(), numbers: Numbers::default() };
    if !works_within(&client, FOUNDING_MS_MAX).await {
        world.witness(|witness| witness.fail("a cluster can be founded", status(&places)));
        return;
    }
    let end = Instant::now() + places.plan.faulty;
    let mut tasks = Vec::new();
    for _ in 0..places.plan.clients {
        tasks.push(world.spawn(OUTSIDE, client.clone().ask_until(end)));
    }
    tasks.push(world.spawn(OUTSIDE, faults::trouble(places.clone(), end)));
    tokio::time::sleep_until(end).await;
    faults::heal(&places);
    world.tell(&Event::Healed);
    let healed = Instant::now();
    // What was begun before may still end badly, and faults that are under way end by themselves;
    // both are given their time.
    for task in tasks {
        drop(task.await);
    }
    faults::heal(&places);
    if !works_within(&client, RECOVERY_MS_MAX).await {
        let what = status(&places);
        world.witness(|witness| {
            witness.fail("the cluster works again after all faults", what);
        });
        return;
    }
    let after_ms = u64::try_from(healed.elapsed().as_millis()).unwrap_or(u64::MAX);
    let digests = digests(&places, &members(&places));
    world.tell(&Event::Recovered { after_ms, digests });
}

/// Waits until every member serves, a write through each has succeeded, and all have the same
/// state.
async fn works_within(client: &Client, millis: u64) -> bool {
    let places = &client.places;
    let deadline = Instant::now() + Duration::from_millis(millis);
    let mut written: BTreeMap<ReplicaId, bool> = BTreeMap::new();
    while Instant::now() < deadline {
        sleep(LOOK).await;
        faults::heal(places);
        let members = members(places);
        let is_ready =
            |id: &ReplicaId| places.node(*id).is_some_and(|node| *node.core().is_ready.borrow());
        if members.is_empty() || !members.iter().all(is_ready) {
            continue;
        }
        let mut all_written = true;
        for id in &members {
            if !written.get(id).copied().unwrap_or_default() {
                let is_done = client.write(Some(*id)).await;
                written.insert(*id, is_done);
                all_written &= is_done;
            }
        }
        // A change that was under way may have become effective during the writes.
        if self::members(places) != members {
            continue;
        }
        let indexes: Vec<u64> = members
            .iter()
            .filter_map(|id| places.node(*id))
            .map(|node| node.core().board.latest().index())
            .collect();
        let are_equal = indexes.len() == members.len() && indexes.windows(2).all(|w| w[0] == w[1]);
        if all_written && are_equal {
            return true;
        }
    }
    false
}

/// The members as the leader knows them; none without a leader.
fn members(places: &Places) -> Vec<ReplicaId> {
    let Some(node) = places.leader().and_then(|leader| places.node(leader)) else {
        return Vec::new();
    };
    let membership = node.core().membership.load();
    let claimed = membership.nodes().filter(|(_, peer)| peer.is_claimed());
    claimed.map(|(id, _)| *id).collect()
}

fn digests(places: &Places, members: &[ReplicaId]) -> Vec<(ReplicaId, u64, [u8; 32])> {
    let mut digests = Vec::new();
    for id in members {
        let Some(node) = places.node(*id) else { continue };
        let state = node.core().board.latest();
        let digest = state_digest(&state).expect("the state encodes");
        digests.push((*id, state.index(), digest));
    }
    digests
}

fn status(places: &Places) -> String {
    let each = places.ids().into_iter().map(|id| {
        places.node(id).map_or_else(
            || format!("{id}: up {}, not started", places.is_up(id)),
            |node| format!("{id}: {:?}", node.status()),
        )
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Where files are in memory, if the system has such a place.
fn memory() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}
