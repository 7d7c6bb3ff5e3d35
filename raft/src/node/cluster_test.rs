//! One replica and three of them: writes, reads, losses of leaders, restarts.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    ProposeError, ReadError, ReadMode, Role, TransferError,
    testing::{
        harness::{Cluster, PATIENCE, add, current, fresh_id, local, proposal, put, soon},
        register::{RegisterCommand, RegisterReply},
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_replica_founds_its_cluster_writes_and_comes_back() {
    let mut cluster = Cluster::started(1).await;
    let node = cluster.node(1);
    let mut events = node.subscribe();
    let applied = put(node, "a", 7).await.unwrap();
    assert_eq!(applied.reply, RegisterReply::Value(Some(7)));
    assert!(applied.is_visible && !applied.is_duplicate);
    let event = events.recv().await.unwrap();
    assert_eq!((event.index, event.events.len()), (applied.index, 1));
    assert_eq!(node.latest().get("a"), Some(7));
    let view = node.read(local(), soon()).await.unwrap();
    assert_eq!((view.get("a"), view.index, view.leader), (Some(7), applied.index, Some(1)));
    assert_eq!(current(node).await.get("a"), Some(7));
    let status = node.status();
    assert_eq!((status.role, status.leader, status.is_ready), (Role::Leader, Some(1), true));
    assert_eq!(status.applied_index, applied.index);
    assert_eq!(status.peers.len(), 1);
    let entries = node.log_entries(0, applied.index + 1, 100).await.unwrap();
    assert_eq!(entries.last().unwrap().index, applied.index);

    let before = node.digest().await.unwrap();
    let node = cluster.take(1);
    node.shutdown(PATIENCE).await;
    let refused = put(&node, "a", 8).await.unwrap_err();
    assert!(matches!(refused, ProposeError::NotAccepted { .. }), "{refused}");
    assert!(matches!(node.read(local(), soon()).await, Err(ReadError::NotReady)));

    cluster.start(1).await;
    cluster.all_ready().await;
    let node = cluster.node(1);
    assert_eq!(current(node).await.get("a"), Some(7));
    let after = node.digest().await.unwrap();
    assert!(after.index > before.index, "a new leader begins with an entry of its own");
    put(node, "a", 9).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_take_writes_everywhere_and_agree() {
    let cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    let mut last = 0;
    for (id, node) in cluster.nodes() {
        let applied = put(node, &format!("from-{id}"), id).await.unwrap();
        assert!(applied.is_visible);
        let key = format!("from-{id}");
        assert_eq!(node.latest().get(&key), Some(id), "a replica sees what went through it");
        let at = ReadMode::Local { staleness_max: Some(PATIENCE), min_index: applied.index };
        assert_eq!(node.read(at, soon()).await.unwrap().get(&key), Some(id));
        last = applied.index;
    }
    for (id, node) in cluster.nodes() {
        let view = current(node).await;
        assert!(view.index >= last, "replica {id} read {} of {last}", view.index);
        assert_eq!(view.leader, Some(leader));
        let is_leader = node.status().role == Role::Leader;
        assert_eq!(is_leader, id == leader);
        assert_eq!(node.status().peers.iter().filter(|peer| peer.is_voter).count(), 3);
    }
    cluster.all_applied(last).await;
    let mut digests = Vec::new();
    for (_, node) in cluster.nodes() {
        digests.push(node.digest().await.unwrap());
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writes_through_all_replicas_apply_once_each() {
    let cluster = Cluster::started(3).await;
    let mut writers = Vec::new();
    for (_, node) in cluster.nodes() {
        for _ in 0..50 {
            let node = node.clone();
            writers.push(tokio::spawn(async move { node.propose(add("sum", 1), soon()).await }));
        }
    }
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(current(cluster.node(1)).await.get("sum"), Some(150));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_resume_after_the_leader_shuts_down_and_after_it_is_lost() {
    let mut cluster = Cluster::started(3).await;
    let first = cluster.leader().await;
    let node = cluster.take(first);
    let begun = Instant::now();
    node.shutdown(PATIENCE).await;
    let second = cluster.leader().await;
    assert_ne!(second, first);
    let follower = cluster.follower().await;
    put(cluster.node(follower), "a", 1).await.unwrap();
    tracing::info!(elapsed = ?begun.elapsed(), "handed over");

    cluster.start(first).await;
    cluster.all_ready().await;
    assert_eq!(cluster.node(first).latest().get("a"), Some(1), "the start barrier was passed");

    let leader = cluster.leader().await;
    let lost = cluster.take(leader);
    let survivor = cluster.nodes().next().unwrap().1.clone();
    lost.abort().await;
    // Sent at once, while the old leader is still the known one.
    let applied = put(&survivor, "b", 2).await.unwrap();
    assert!(applied.is_visible);
    assert_ne!(cluster.leader().await, leader);
    cluster.start(leader).await;
    cluster.all_ready().await;
    let view = current(cluster.node(leader)).await;
    assert_eq!((view.get("a"), view.get("b")), (Some(1), Some(2)));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_id_through_two_replicas_applies_once() {
    let cluster = Cluster::started(3).await;
    let id = fresh_id();
    let command = RegisterCommand::Add { key: "a".to_owned(), amount: 5 };
    let first = cluster.node(1).propose(proposal(id, command.clone()), soon());
    let second = cluster.node(2).propose(proposal(id, command.clone()), soon());
    let (first, second) = tokio::join!(first, second);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.reply, second.reply);
    assert!(first.is_duplicate != second.is_duplicate, "{first:?} {second:?}");
    let third = cluster.node(3).propose(proposal(id, command), soon()).await.unwrap();
    assert!(third.is_duplicate);
    let view = current(cluster.node(3)).await;
    assert_eq!((view.get("a"), view.commands()), (Some(5), 1));
    let other = RegisterCommand::Add { key: "a".to_owned(), amount: 6 };
    let reused = cluster.node(2).propose(proposal(id, other), soon()).await.unwrap_err();
    assert!(matches!(reused, ProposeError::RequestIdReused), "{reused}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwards_in_flight_survive_the_loss_of_the_leader() {
    let mut cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    let lost = cluster.take(leader);
    let writers: Vec<_> = cluster
        .nodes()
        .flat_map(|(_, node)| std::iter::repeat_n(node.clone(), 20))
        .map(|node| {
            tokio::spawn(async move {
                let mut done = 0;
                while done < 20 {
                    node.propose(add("sum", 1), soon()).await.unwrap();
                    done += 1;
                }
            })
        })
        .collect();
    let survivor = cluster.nodes().next().unwrap().1.clone();
    let mut applied = survivor.watch_applied();
    let base = *applied.borrow();
    applied.wait_for(|applied| *applied > base + 20).await.unwrap();
    lost.abort().await;
    for writer in writers {
        writer.await.unwrap();
    }
    let view = current(&survivor).await;
    assert_eq!((view.get("sum"), view.commands()), (Some(800), 800), "each applied once");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_to_a_leader_that_went_silent_moves_to_the_next_one() {
    let mut cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    cluster.take(leader).abort().await;
    // Connections are taken and never answered, as by a process that is paused.
    let silent = cluster.listener(leader);
    let node = cluster.nodes().next().unwrap().1.clone();
    assert_eq!(node.watch_leadership().borrow().leader, Some(leader), "it is still believed in");
    let begun = Instant::now();
    let applied = put(&node, "a", 1).await.unwrap();
    assert!(applied.is_visible);
    let elapsed = begun.elapsed();
    assert!(elapsed < PATIENCE / 2, "{elapsed:?}: it waited for the silent leader");
    drop(silent);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_entry_may_be_larger_than_a_batch_of_others() {
    let cluster = Cluster::started(3).await;
    let follower = cluster.follower().await;
    let big = "k".repeat(12 * 1024 * 1024);
    let applied = put(cluster.node(follower), &big, 1).await.unwrap();
    put(cluster.node(follower), "small", 2).await.unwrap();
    cluster.all_applied(applied.index + 1).await;
    for (_, node) in cluster.nodes() {
        assert_eq!((node.latest().get(&big), node.latest().get("small")), (Some(1), Some(2)));
    }
    let digests: Vec<_> =
        futures::future::join_all(cluster.nodes().map(|(_, node)| node.digest())).await;
    assert!(digests.iter().all(|digest| digest.as_ref().unwrap() == digests[0].as_ref().unwrap()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_replica_serves_nothing_before_it_has_asked_a_leader() {
    let mut cluster = Cluster::started(3).await;
    let applied = put(cluster.node(1), "a", 1).await.unwrap();
    for id in 1..=3 {
        cluster.take(id).abort().await;
    }
    cluster.start(2).await;
    let node = cluster.node(2).clone();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(matches!(node.read(local(), soon()).await, Err(ReadError::NotReady)));
    assert!(!node.status().is_ready);
    cluster.start_all().await;
    cluster.all_ready().await;
    let view = node.read(local(), soon()).await.unwrap();
    assert!(view.index >= applied.index);
    assert_eq!(view.get("a"), Some(1));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_proposal_applies_only_in_its_term() {
    let cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    let term = cluster.node(leader).watch_leadership().borrow().term;
    let fenced = |fence_term| crate::Proposal { fence_term: Some(fence_term), ..add("a", 1) };
    let node = cluster.node(leader);
    node.propose(fenced(term), soon()).await.unwrap();
    let refused = node.propose(fenced(term + 1), soon()).await.unwrap_err();
    assert!(matches!(refused, ProposeError::Fenced), "{refused}");
    let old = node.propose(fenced(term.saturating_sub(1).max(1) + 7), soon()).await.unwrap_err();
    assert!(matches!(old, ProposeError::Fenced), "{old}");
    assert_eq!(current(node).await.get("a"), Some(1));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_to_the_wanted_replica() {
    let cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    let to = cluster.follower().await;
    put(cluster.node(to), "a", 1).await.unwrap();
    let refused = cluster.node(to).transfer_leadership(Some(9), PATIENCE).await.unwrap_err();
    assert!(
        matches!(&refused, TransferError::Leader { leader: known, .. } if *known == leader),
        "{refused}"
    );
    let refused = cluster.node(leader).transfer_leadership(Some(9), PATIENCE).await.unwrap_err();
    assert!(matches!(refused, TransferError::NotVoter(9)), "{refused}");
    let next = cluster.node(leader).transfer_leadership(Some(to), PATIENCE).await.unwrap();
    assert_eq!(next, to);
    assert_eq!(cluster.leader().await, to);
    put(cluster.node(leader), "a", 2).await.unwrap();
    // A replica that does not lead has the leader do it.
    let back = cluster.node(leader).transfer_leadership(Some(leader), PATIENCE).await.unwrap();
    assert_eq!(back, leader);
    assert_eq!(cluster.leader().await, leader);
    let seen = cluster.node(to).leader_changes();
    let led: Vec<_> = seen.iter().filter_map(|change| change.leader).collect();
    assert!(led.ends_with(&[leader, to, leader]), "{seen:?}");
    assert!(seen.is_sorted_by_key(|change| change.term), "{seen:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_missed_more_than_the_log_keeps_gets_a_snapshot() {
    let mut cluster = Cluster::started_with(3, |config| {
        config.snapshot.entries_max = 40;
        config.snapshot.entries_kept = 4;
    })
    .await;
    let behind = cluster.follower().await;
    cluster.take(behind).abort().await;
    let leader = cluster.leader().await;
    let node = cluster.node(leader).clone();
    let deadline = Instant::now() + PATIENCE;
    let missed = node.status().applied_index;
    let mut written = 0;
    while node.status().purged_index <= missed {
        put(&node, &format!("key-{}", written % 10), written).await.unwrap();
        written += 1;
        assert!(Instant::now() < deadline, "nothing is purged: {:?}", node.status());
    }
    cluster.start(behind).await;
    cluster.all_ready().await;
    let view = current(cluster.node(behind)).await;
    assert_eq!(view.commands(), written);
    let snapshot = cluster.node(behind).status().snapshot_index;
    assert!(snapshot > missed, "the follower has a snapshot of {snapshot}, it missed {missed}");
    // Later entries come through the log again.
    put(cluster.node(behind), "later", 1).await.unwrap();
    let forced = cluster.node(behind).snapshot_now().await.unwrap();
    assert!(forced > snapshot);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nothing_is_accepted_and_the_classes_are_right() {
    let mut cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.take(id).abort().await;
    }
    let node = cluster.node(leader);
    // The leader still holds its lease: what it takes now may commit later.
    let command = RegisterCommand::Put { key: "a".to_owned(), value: 1 };
    let soon_over = Instant::now() + Duration::from_millis(200);
    let unknown = node.propose(proposal(fresh_id(), command.clone()), soon_over).await.unwrap_err();
    assert!(matches!(unknown, ProposeError::Unknown { .. }), "{unknown}");
    // Once the lease is over it takes nothing any more.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let until = Instant::now() + Duration::from_millis(200);
        let error = node.propose(proposal(fresh_id(), command.clone()), until).await.unwrap_err();
        match error {
            ProposeError::NotAccepted { retry_after_ms, .. } => {
                assert!(retry_after_ms > 0);
                break;
            }
            ProposeError::Unknown { .. } => assert!(Instant::now() < deadline, "{error}"),
            other => panic!("{other}"),
        }
    }
    let read = node.read(ReadMode::Linearizable, Instant::now() + Duration::from_millis(300)).await;
    assert!(matches!(read, Err(ReadError::Timeout { .. })));
    let bound = Duration::from_millis(700);
    let stale = ReadMode::Local { staleness_max: Some(bound), min_index: 0 };
    let deadline = Instant::now() + PATIENCE;
    while node.read(stale, soon()).await.is_ok() {
        assert!(Instant::now() < deadline, "the state does not grow old");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let Err(ReadError::Stale { age_ms }) = node.read(stale, soon()).await else {
        panic!("it does not get young again without a quorum");
    };
    assert!(age_ms > 700);
    assert!(node.read(local(), soon()).await.unwrap().age_ms >= age_ms);
    let missing = ReadMode::Local { staleness_max: None, min_index: 1_000_000 };
    let missing = node.read(missing, Instant::now() + Duration::from_millis(50)).await;
    assert!(matches!(missing, Err(ReadError::Timeout { .. })));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_without_a_leader_grows_stale_and_accepts_nothing() {
    let mut cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    for id in (1..=3).filter(|id| *id != follower) {
        cluster.take(id).abort().await;
    }
    assert_ne!(leader, follower);
    let node = cluster.node(follower);
    let refused = put_until(node, Duration::from_millis(500)).await;
    assert!(matches!(refused, ProposeError::NotAccepted { .. }), "{refused}");
    let stale = ReadMode::Local { staleness_max: Some(Duration::from_millis(100)), min_index: 0 };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match node.read(stale, soon()).await {
            Err(ReadError::Stale { age_ms }) => break assert!(age_ms > 100),
            Err(other) => panic!("{other}"),
            Ok(_) => assert!(Instant::now() < deadline),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_admitted_proposals_are_refused_at_once() {
    let mut cluster = Cluster::started_with(3, |config| config.proposals_in_flight_max = 4).await;
    let leader = cluster.leader().await;
    // Without a quorum, what is admitted stays in flight.
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.take(id).abort().await;
    }
    let node = cluster.node(leader).clone();
    let until = Instant::now() + Duration::from_millis(400);
    let attempts = (0..12).map(|_| node.propose(add("a", 1), until));
    let answers = futures::future::join_all(attempts).await;
    let busy = answers.iter().filter(|answer| is_busy(answer)).count();
    assert_eq!(busy, 8, "{answers:?}");
    cluster.stop().await;
}

fn is_busy(answer: &Result<crate::Applied<RegisterReply>, ProposeError>) -> bool {
    matches!(
        answer,
        Err(ProposeError::NotAccepted { reason, retry_after_ms })
            if reason.contains("in flight") && *retry_after_ms > 0
    )
}

async fn put_until(
    node: &crate::Node<crate::testing::register::Registers>,
    patience: Duration,
) -> ProposeError {
    node.propose(add("a", 1), Instant::now() + patience).await.unwrap_err()
}
