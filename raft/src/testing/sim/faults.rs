//! What is done to the replicas.

use std::time::Duration;

use rand::Rng;
use tokio::time::{Instant, sleep};

use super::{
    disk::Crash,
    event::Event,
    network::Link,
    place::{Places, peer, within},
    runtime::{OUTSIDE, lock},
};
use crate::{MemberChange, ReplicaId, RequestId, Requester};

/// Longest time a fault lasts.
const LASTS_MS_MAX: u64 = 1500;
/// Most replicas that join in one run.
const JOINS_MAX: usize = 2;
/// How far a wall clock jumps at most, in milliseconds.
const JUMP_MS_MAX: i64 = 120_000;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A process is killed.
    Kill,
    /// A machine loses power.
    PowerCut,
    /// All machines lose power at once.
    Blackout,
    /// A process stands still.
    Pause,
    /// A replica reaches nobody and nobody reaches it.
    Isolate,
    /// One direction between two replicas is cut.
    CutOneWay,
    /// Two groups see each other only through one replica that sees both.
    Bridge,
    /// Messages are lost everywhere.
    Loss,
    /// Messages are slow everywhere, and overtake each other.
    Slow,
    /// Messages come twice.
    Twice,
    /// A disk is slow.
    SlowDisk,
    /// A disk hangs.
    HungDisk,
    /// A write fails.
    FailedWrite,
    /// A wall clock jumps.
    ClockJump,
    /// The leader hands over.
    Transfer,
    /// A snapshot is taken.
    Snapshot,
    /// A replica joins.
    Join,
    /// A replica is removed.
    Remove,
    /// A replica is stopped in an orderly way.
    Shutdown,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 19] = [
        Self::Kill,
        Self::PowerCut,
        Self::Blackout,
        Self::Pause,
        Self::Isolate,
        Self::CutOneWay,
        Self::Bridge,
        Self::Loss,
        Self::Slow,
        Self::Twice,
        Self::SlowDisk,
        Self::HungDisk,
        Self::FailedWrite,
        Self::ClockJump,
        Self::Transfer,
        Self::Snapshot,
        Self::Join,
        Self::Remove,
        Self::Shutdown,
    ];

    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::PowerCut => "power cut",
            Self::Blackout => "blackout",
            Self::Pause => "pause",
            Self::Isolate => "isolated replica",
            Self::CutOneWay => "one-way cut",
            Self::Bridge => "bridge",
            Self::Loss => "loss",
            Self::Slow => "slow links",
            Self::Twice => "duplicates",
            Self::SlowDisk => "slow disk",
            Self::HungDisk => "hung disk",
            Self::FailedWrite => "failed write",
            Self::ClockJump => "clock jump",
            Self::Transfer => "transfer",
            Self::Snapshot => "snapshot",
            Self::Join => "join",
            Self::Remove => "remove",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Does one thing after the other to the replicas for some time.
pub(crate) async fn trouble(places: Places, end: Instant) {
    let world = places.world.clone();
    while Instant::now() < end {
        let calm = world.draw(|draws| draws.random_range(10..=places.plan.calm_ms_max));
        sleep(Duration::from_millis(calm)).await;
        let kinds = &places.plan.kinds;
        let kind = kinds[world.draw(|draws| draws.random_range(0..kinds.len()))];
        // The leader is a worthier victim than any other replica.
        let victim = match world.chance(500) {
            true => places.leader().unwrap_or_else(|| places.any()),
            false => places.any(),
        };
        let what = format!("{} of {victim}", kind.name());
        world.tell(&Event::Fault { what });
        world.witness(|witness| witness.count(kind.name()));
        let lasts = world.draw(|draws| draws.random_range(20..=LASTS_MS_MAX));
        let done = strike(places.clone(), kind, victim, Duration::from_millis(lasts));
        drop(world.spawn(OUTSIDE, done));
    }
}

/// Ends everything that was done, and starts whatever does not run.
pub(crate) fn heal(places: &Places) {
    let world = &places.world;
    let mut network = lock(&world.network);
    network.usual = Link { lost_per_mille: 0, ..places.plan.link };
    network.heal();
    drop(network);
    for id in places.ids() {
        world.pause(id, false);
        world.skew(id, 0);
        places.disk(id).set_mood(|mood| *mood = places.plan.mood);
    }
}

async fn strike(places: Places, kind: Kind, victim: ReplicaId, lasts: Duration) {
    let world = places.world.clone();
    match kind {
        Kind::Kill => end(&places, victim, Crash::Kill),
        Kind::PowerCut => end(&places, victim, Crash::PowerCut),
        Kind::Blackout => {
            for id in places.ids() {
                end(&places, id, Crash::PowerCut);
            }
        }
        Kind::Pause => {
            world.pause(victim, true);
            sleep(lasts).await;
            world.pause(victim, false);
        }
        Kind::Isolate => {
            cut(&places, lasts, |from, to| from == victim || to == victim).await;
        }
        Kind::CutOneWay => {
            let other = places.any();
            cut(&places, lasts, |from, to| from == victim && to == other).await;
        }
        Kind::Bridge => {
            let is_left = |id: ReplicaId| id.is_multiple_of(2);
            let is_across = |from, to| is_left(from) != is_left(to);
            let touches = |from, to| from == victim || to == victim;
            cut(&places, lasts, |from, to| is_across(from, to) && !touches(from, to)).await;
        }
        Kind::Loss => usual(&places, lasts, |link| link.lost_per_mille = 200).await,
        Kind::Slow => usual(&places, lasts, |link| link.delay_ms_max = 250).await,
        Kind::Twice => usual(&places, lasts, |link| link.twice_per_mille = 300).await,
        Kind::SlowDisk => {
            places.disk(victim).set_mood(|mood| mood.write_ms_max = 120);
            sleep(lasts).await;
            let usual = places.plan.mood.write_ms_max;
            places.disk(victim).set_mood(|mood| mood.write_ms_max = usual);
        }
        Kind::HungDisk => {
            places.disk(victim).set_mood(|mood| mood.hangs = true);
            sleep(lasts * 2).await;
            places.disk(victim).set_mood(|mood| mood.hangs = false);
        }
        Kind::FailedWrite => {
            places.disk(victim).set_mood(|mood| mood.fails = true);
        }
        Kind::ClockJump => {
            let jump = world.draw(|draws| draws.random_range(-JUMP_MS_MAX..=JUMP_MS_MAX));
            world.skew(victim, jump);
        }
        Kind::Transfer => {
            let leads = places.leader().unwrap_or(victim);
            let done = |node: crate::Node<super::place::Watched>| async move {
                node.transfer_leadership(None, Duration::from_secs(1)).await.is_ok()
            };
            places.ask(leads, done).await;
        }
        Kind::Snapshot => {
            places.ask(victim, |node| async move { node.snapshot_now().await.is_ok() }).await;
        }
        Kind::Join | Kind::Remove => change(&places, kind, victim).await,
        Kind::Shutdown => {
            places.ask(victim, move |node| async move { node.shutdown(lasts).await }).await;
            end(&places, victim, Crash::Kill);
        }
    }
}

fn end(places: &Places, id: ReplicaId, how: Crash) {
    if places.is_up(id) {
        places.crash(id, how);
        places.start_later(id);
    }
}

async fn cut(places: &Places, lasts: Duration, is_cut: impl Fn(ReplicaId, ReplicaId) -> bool) {
    set_links(places, true, &is_cut);
    sleep(lasts).await;
    set_links(places, false, &is_cut);
}

fn set_links(places: &Places, value: bool, is_cut: &impl Fn(ReplicaId, ReplicaId) -> bool) {
    let ids = places.ids();
    let mut network = lock(&places.world.network);
    for from in &ids {
        for to in ids.iter().filter(|to| *to != from && is_cut(*from, **to)) {
            network.set(*from, *to, |link| link.is_cut = value);
        }
    }
}

async fn usual(places: &Places, lasts: Duration, change: impl Fn(&mut Link)) {
    change(&mut lock(&places.world.network).usual);
    sleep(lasts).await;
    lock(&places.world.network).usual = places.plan.link;
}

async fn change(places: &Places, kind: Kind, victim: ReplicaId) {
    let wish = if kind == Kind::Join {
        let joined = places.count() - usize::try_from(places.plan.replicas).unwrap_or_default();
        if joined < JOINS_MAX {
            // It asks to be taken in by itself.
            let id = places.add();
            places.disk(id).set_mood(|mood| *mood = places.plan.mood);
            places.start(id);
        }
        return;
    } else {
        // Three are left, whatever comes of it.
        if places.ids().len() <= 3 {
            return;
        }
        places.let_leave(victim);
        MemberChange::Remove { id: victim }
    };
    let request_id = RequestId(places.world.draw(Rng::random));
    let by = Requester { actor: peer(victim).peer_addr, request_id };
    let through = places.any();
    let asked = places.ask(through, move |node| async move {
        node.change_members(wish, by, within(3000)).await.is_ok()
    });
    if asked.await == Some(true) {
        places.world.witness(|witness| witness.count("removed"));
    }
}
