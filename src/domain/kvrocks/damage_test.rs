//! What nodes and exports could say that is wrong: inputs for the property tests.

use super::{
    SlotRange,
    model::{Cluster, Failover, FailoverCause, Mark, Phase, Role},
    rules_test::id,
    topology::Topology,
};

/// Changes a topology, sensibly or not, as nodes might have done meanwhile.
pub(super) fn distort(topology: &mut Topology, twist: u8, pick: u16, range: SlotRange) {
    let count = topology.shards.len().max(1);
    let (at, next) = (usize::from(pick) % count, (usize::from(pick) + 1) % count);
    if topology.shards.is_empty() {
        return;
    }
    match twist {
        0 => topology.version = u64::MAX,
        1 => topology.version = 0,
        2 => topology.shards.clear(),
        4 => topology.shards[at].master.id = topology.shards[next].master.id.clone(),
        5 => topology.shards[at].master.addr = topology.shards[next].master.addr.clone(),
        6 => topology.shards[at].slots.push(range),
        7 => topology.shards[at].master.id = "short".to_owned(),
        8 => topology.shards[at].master.id = id(pick % 24),
        9 => topology.shards[at].master.addr = "no address".to_owned(),
        10..14 => drop(topology.shards[at].replicas.pop()),
        14..18 => topology.shards.rotate_left(1),
        18..26 => {
            // The slots went to the next shard.
            let left = super::slots::remove(&topology.shards[at].slots, range);
            if left != topology.shards[at].slots && at != next {
                topology.shards[at].slots = left;
                topology.shards[next].slots =
                    super::slots::add(&topology.shards[next].slots, range);
            }
        }
        26..32 => {
            let shard = &mut topology.shards[at];
            if let Some(replica) = shard.replicas.first_mut() {
                std::mem::swap(replica, &mut shard.master);
            }
        }
        32..36 if count > 1 => {
            // Two shards became one.
            let gone = topology.shards.remove(at);
            let shard = &mut topology.shards[at.min(count - 2)];
            shard.replicas.push(gone.master);
            shard.replicas.extend(gone.replicas);
            shard.slots =
                gone.slots.iter().fold(shard.slots.clone(), |list, r| super::slots::add(&list, *r));
        }
        36..44 => {
            let target = topology.shards[next].master.id.clone();
            topology.shards[at].migrating = Some((range, target));
        }
        44 => topology.shards[at].migrating = Some((range, id(999))),
        _ => {}
    }
}

/// Changes one thing of a record, sensible or not.
pub(super) fn damage(record: &mut Cluster, twist: u8, value: u16) {
    let (number, at) = (u64::from(value), usize::from(value));
    let jobs = record.jobs.len().max(1);
    let shards = record.shards.len().max(1);
    let job = record.jobs.get_mut(at % jobs);
    let shard = record.shards.get_mut(at % shards);
    match (twist, job, shard) {
        (0, ..) => record.version = u64::MAX,
        (1, ..) => record.next_id = u64::MAX,
        (2, ..) => record.next_id = 0,
        (3, Some(job), _) => job.attempt = u32::MAX,
        (4, Some(job), _) => (job.attempts_max, job.attempt) = (u32::MAX, u32::MAX),
        (5, Some(job), _) => job.phase = Phase::Queued,
        (6, Some(job), _) => job.phase = Phase::Running,
        (7, Some(job), _) => job.target = u64::MAX,
        (8, Some(job), _) => job.source = None,
        (9, Some(job), _) => job.error = "x".repeat(at),
        (10, Some(job), _) => job.source_node = "x".repeat(at),
        (11, Some(job), _) => {
            let job = job.clone();
            record.jobs.extend(std::iter::repeat_n(job, at % 2_000));
        }
        (12, _, Some(shard)) => shard.mark = None,
        (13, _, Some(shard)) => {
            shard.mark = Some(Mark { range: SlotRange::ALL, target: number % 4, job: number % 9 });
        }
        (14, _, Some(shard)) => shard.nodes.clear(),
        (15, _, Some(shard)) => shard.nodes.iter_mut().for_each(|node| node.role = Role::Master),
        (16, _, Some(shard)) => shard.slots.reverse(),
        (17, _, Some(shard)) => shard.slots = vec![SlotRange::ALL],
        (18, ..) => record.shards.clear(),
        (19, _, Some(shard)) => {
            let shard = shard.clone();
            record.shards.push(shard);
        }
        (20, ..) => {
            let failover = Failover {
                time_ms: 0,
                shard: number,
                old_master: id(1),
                new_master: id(2),
                version: 1,
                cause: FailoverCause::Manual,
                request: [0; 16],
            };
            record.failovers.extend(std::iter::repeat_n(failover, at % 64));
        }
        (21, ..) => record.name = "a/b".to_owned(),
        (22, _, Some(shard)) => shard.nodes.rotate_left(1),
        _ => {}
    }
}
