//! What the leader does by itself: gives learners their vote once they have kept up, and ends
//! changes that a leader before it left in the middle.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use metrics::gauge;
use tokio::time::{Instant, sleep};

use super::{
    Health, LAG_ENTRIES_MAX, Member, MemberChange, MemberError, MemberRole, Members,
    rules::{self, Scene},
};
use crate::{
    Machine, ReplicaId,
    metrics::{LEARNERS, VOTERS},
    node::core::Core,
};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// Since when each learner has kept up.
#[derive(Debug, Default)]
struct Watch {
    since: BTreeMap<ReplicaId, Instant>,
    /// Why a learner has no vote yet; told once each.
    told: BTreeMap<ReplicaId, MemberError>,
}

impl Watch {
    /// Looks at the members; returns the learners that have kept up for long enough.
    fn look(&mut self, members: &Members, long: Duration, now: Instant) -> Vec<ReplicaId> {
        let keeps_up = |member: &&Member| {
            let lag = member.lag_entries.unwrap_or(u64::MAX);
            member.role == MemberRole::Learner
                && member.health == Health::Healthy
                && lag <= LAG_ENTRIES_MAX
        };
        let keeping: BTreeSet<ReplicaId> =
            members.members.iter().filter(keeps_up).map(|member| member.id).collect();
        self.since.retain(|id, _| keeping.contains(id));
        self.told.retain(|id, _| keeping.contains(id));
        for id in keeping {
            self.since.entry(id).or_insert(now);
        }
        let is_due = |since: &Instant| now.duration_since(*since) >= long;
        self.since.iter().filter(|(_, since)| is_due(since)).map(|(id, _)| *id).collect()
    }
}

impl<M: Machine> Core<M> {
    /// Keeps the membership in order while this replica leads.
    pub(crate) async fn keep_members(self: Arc<Self>) {
        let mut watch = Watch::default();
        loop {
            tokio::select! {
                biased;
                () = sleep(PAUSE) => {}
                () = self.stop.cancelled() => return,
            }
            let members = self.own_members();
            measure(&members);
            if !self.leadership().is_leader_here {
                watch = Watch::default();
                continue;
            }
            if members.is_changing {
                if let Err(error) = self.finish_joint().await {
                    tracing::debug!(%error, "the change of voters goes on");
                }
                continue;
            }
            let due = watch.look(&members, self.config.promote_after, Instant::now());
            for id in due {
                self.give_vote(id, &mut watch).await;
            }
        }
    }

    async fn give_vote(self: &Arc<Self>, id: ReplicaId, watch: &mut Watch) {
        let promote = MemberChange::Promote { id };
        let judge = |scene: &Scene| rules::judge(scene, &promote);
        let left = self.peer(id).and_then(|peer| peer.replaces);
        let left = left.filter(|left| self.peer(*left).is_some());
        match self.carry_out(judge).await {
            Ok(_) => {
                tracing::info!(replica = self.here(), peer = id, "a learner has its vote");
                self.note_vote(id, left).await;
            }
            Err(error) if watch.told.get(&id) == Some(&error) => {}
            Err(error) => {
                tracing::warn!(peer = id, %error, "a learner has no vote yet");
                watch.told.insert(id, error);
            }
        }
    }
}

/// Keeps the gauges up to date.
fn measure(members: &Members) {
    let learners = members.members.iter().filter(|member| member.role == MemberRole::Learner);
    let learners = u32::try_from(learners.count()).unwrap_or(u32::MAX);
    let all = u32::try_from(members.members.len()).unwrap_or(u32::MAX);
    gauge!(LEARNERS).set(learners);
    gauge!(VOTERS).set(all.saturating_sub(learners));
}
