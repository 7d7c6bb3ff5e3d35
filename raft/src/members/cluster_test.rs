//! Changes of the membership of a cluster that runs.

#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{Health, Member, MemberChange, MemberError, MemberRole, Members, Requester, Successor};
use crate::{
    Node, ReplicaId, RequestId, StartError,
    testing::{
        harness::{Cluster, PATIENCE, add, current, put, soon},
        register::Registers,
    },
};

fn somebody() -> Requester {
    Requester { actor: "somebody".to_owned(), request_id: RequestId([5; 16]) }
}

async fn change(cluster: &Cluster, change: MemberChange) -> Result<ReplicaId, MemberError> {
    let node = cluster.nodes().next().unwrap().1;
    node.change_members(change, somebody(), soon()).await.map(|changed| changed.id)
}

async fn remove(cluster: &Cluster, id: ReplicaId) -> Result<ReplicaId, MemberError> {
    change(cluster, MemberChange::Remove { id }).await
}

/// Waits until the members are as wanted.
async fn until(cluster: &Cluster, what: &str, wanted: impl Fn(&Members) -> bool) -> Members {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let node = cluster.nodes().next().unwrap().1;
        let members = node.members(Instant::now() + Duration::from_secs(2)).await;
        if wanted(&members) {
            return members;
        }
        assert!(Instant::now() < deadline, "{what}: {members:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn voters(members: &Members) -> Vec<ReplicaId> {
    let votes = |member: &&Member| member.role != MemberRole::Learner;
    members.members.iter().filter(votes).map(|member| member.id).collect()
}

async fn until_voters(cluster: &Cluster, wanted: &[ReplicaId]) -> Members {
    let is_so = |members: &Members| !members.is_changing && voters(members) == wanted;
    until(cluster, &format!("voters {wanted:?}"), is_so).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_and_shrinks_while_it_is_written_to() {
    let mut cluster = Cluster::started(3).await;
    let node = cluster.node(1).clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = tokio::spawn({
        let (node, stop) = (node.clone(), stop.clone());
        async move {
            let mut written = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                node.propose(add("sum", 1), soon()).await.unwrap();
                written += 1;
            }
            written
        }
    });
    let fourth = cluster.join(None).await.unwrap();
    let fifth = cluster.join(None).await.unwrap();
    assert_eq!((fourth, fifth), (4, 5));
    let members = until_voters(&cluster, &[1, 2, 3, 4, 5]).await;
    assert_eq!(members.quorum, 3);
    cluster.all_ready().await;
    for id in [2, 3] {
        remove(&cluster, id).await.unwrap();
        let message = timeout(PATIENCE, cluster.node(id).fatal()).await.unwrap();
        assert!(message.contains(&format!("replica {id} was removed")), "{message}");
        cluster.take(id).abort().await;
    }
    let members = until_voters(&cluster, &[1, 4, 5]).await;
    assert_eq!(members.removed, [2, 3]);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let written = writer.await.unwrap();
    for (id, node) in cluster.nodes() {
        assert_eq!(current(node).await.get("sum"), Some(written), "replica {id}");
    }
    let digests = futures::future::join_all(cluster.nodes().map(|(_, node)| node.digest())).await;
    assert!(digests.iter().all(|digest| digest.as_ref().unwrap() == digests[0].as_ref().unwrap()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_command_line_joins_once_and_then_only_starts() {
    let mut cluster = Cluster::started(1).await;
    let id = cluster.join(None).await.unwrap();
    until_voters(&cluster, &[1, 2]).await;
    cluster.all_ready().await;
    put(cluster.node(id), "a", 1).await.unwrap();
    cluster.take(id).abort().await;
    // Started again the same way, it is the same member.
    assert_eq!(cluster.rejoin(id, None).await.unwrap(), id);
    cluster.all_ready().await;
    assert_eq!(current(cluster.node(id)).await.get("a"), Some(1));
    let members = until_voters(&cluster, &[1, 2]).await;
    assert_eq!(members.members.len(), 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_disk_does_not_stand_in_for_a_member() {
    let mut cluster = Cluster::started(3).await;
    let id = cluster.join(Some(4)).await.unwrap();
    until_voters(&cluster, &[1, 2, 3, 4]).await;
    cluster.take(id).abort().await;
    std::fs::remove_dir_all(cluster.data_dir(id)).unwrap();
    let refused = cluster.rejoin(id, Some(4)).await.unwrap_err();
    assert!(matches!(refused, StartError::DiskReplaced { id: 4 }), "{refused}");
    // Not under another name at its old address either.
    let refused = cluster.rejoin(id, None).await.unwrap_err();
    assert!(refused.to_string().contains("replace or remove replica 4 first"), "{refused}");
    put(cluster.node(1), "a", 1).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registered_replica_is_awaited_and_has_no_vote_before_it_starts() {
    let mut cluster = Cluster::started(3).await;
    let (peer_addr, client_url) = cluster.reserve(4);
    let added = MemberChange::Add { id: None, peer_addr: peer_addr.clone(), client_url };
    assert_eq!(change(&cluster, added.clone()).await.unwrap(), 4);
    assert_eq!(change(&cluster, added).await.unwrap(), 4, "asking twice adds once");
    let members = until(&cluster, "the leader is known", |seen| seen.leader.is_some()).await;
    let member = members.members.iter().find(|member| member.id == 4).unwrap();
    assert_eq!((member.role, member.health), (MemberRole::Learner, Health::Awaited));
    let refused = change(&cluster, MemberChange::Promote { id: 4 }).await.unwrap_err();
    assert!(refused.to_string().contains("has not started yet"), "{refused}");
    assert_eq!(cluster.join(None).await.unwrap(), 4);
    until_voters(&cluster, &[1, 2, 3, 4]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_catches_up_from_a_snapshot_after_the_log_was_purged() {
    let mut cluster = Cluster::started_with(3, |config| {
        config.snapshot.entries_max = 40;
        config.snapshot.entries_kept = 4;
    })
    .await;
    let leader = cluster.leader().await;
    let node = cluster.node(leader).clone();
    let mut written = 0;
    let deadline = Instant::now() + PATIENCE;
    while node.status().purged_index == 0 {
        put(&node, &format!("key-{}", written % 10), written).await.unwrap();
        written += 1;
        assert!(Instant::now() < deadline, "nothing is purged: {:?}", node.status());
    }
    let id = cluster.join(None).await.unwrap();
    until_voters(&cluster, &[1, 2, 3, 4]).await;
    cluster.all_ready().await;
    assert!(cluster.node(id).status().snapshot_index > 0);
    assert_eq!(current(cluster.node(id)).await.commands(), written);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_that_is_restarted_midway_goes_on() {
    let mut cluster = Cluster::started_with(3, |config| {
        config.promote_after = Duration::from_secs(2);
    })
    .await;
    put(cluster.node(1), "a", 1).await.unwrap();
    let id = cluster.join(None).await.unwrap();
    timeout(PATIENCE, cluster.node(id).wait_ready()).await.unwrap();
    let members = cluster.node(1).members(soon()).await;
    assert_eq!(voters(&members), [1, 2, 3], "it has no vote yet");
    cluster.take(id).abort().await;
    put(cluster.node(1), "a", 2).await.unwrap();
    assert_eq!(cluster.rejoin(id, None).await.unwrap(), id);
    until_voters(&cluster, &[1, 2, 3, 4]).await;
    assert_eq!(current(cluster.node(id)).await.get("a"), Some(2));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_removed_hands_over_and_ends() {
    let mut cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    remove(&cluster, leader).await.unwrap();
    let message = timeout(PATIENCE, cluster.node(leader).fatal()).await.unwrap();
    assert!(message.contains("was removed"), "{message}");
    cluster.take(leader).abort().await;
    assert_ne!(cluster.leader().await, leader);
    put(cluster.nodes().next().unwrap().1, "a", 1).await.unwrap();
    // Removing it again changes nothing, and its id is gone for ever.
    remove(&cluster, leader).await.unwrap();
    let peer_addr = "127.0.0.1:7".to_owned();
    let again = MemberChange::Add { id: Some(leader), peer_addr, client_url: String::new() };
    assert_eq!(change(&cluster, again).await.unwrap_err(), MemberError::Removed(leader));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_replica_that_comes_back_is_told_so_and_disturbs_nobody() {
    let mut cluster = Cluster::started(3).await;
    let gone = cluster.follower().await;
    cluster.take(gone).abort().await;
    settle_silence(&cluster, gone).await;
    remove(&cluster, gone).await.unwrap();
    let leader = cluster.leader().await;
    let term = cluster.node(leader).status().term;
    cluster.start(gone).await;
    let message = timeout(PATIENCE, cluster.node(gone).fatal()).await.unwrap();
    assert!(message.contains(&format!("replica {gone} was removed")), "{message}");
    assert!(!cluster.node(gone).status().is_ready);
    cluster.take(gone).abort().await;
    // On an empty disk under its old id neither.
    std::fs::remove_dir_all(cluster.data_dir(gone)).unwrap();
    let refused = cluster.rejoin(gone, Some(gone)).await.unwrap_err();
    assert!(matches!(refused, StartError::Removed { id } if id == gone), "{refused}");
    let status = cluster.node(leader).status();
    assert_eq!((status.term, status.leader), (term, Some(leader)), "nobody was disturbed");
    // With a new id it is welcome.
    let id = cluster.rejoin(gone, None).await.unwrap();
    assert_eq!(id, 4);
    cluster.stop().await;
}

/// Waits until the leader knows that a replica does not answer.
async fn settle_silence(cluster: &Cluster, id: ReplicaId) {
    until(cluster, "a silent member", |members| {
        let member = members.members.iter().find(|member| member.id == id);
        member.is_some_and(|member| member.health == Health::Silent)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_leaves_fewer_live_voters_than_a_quorum() {
    let mut cluster = Cluster::started(3).await;
    let dead = cluster.follower().await;
    cluster.take(dead).abort().await;
    settle_silence(&cluster, dead).await;
    for id in (1..=3).filter(|id| *id != dead) {
        let refused = remove(&cluster, id).await.unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, MemberError::Refused(_)), "{text}");
        assert!(text.contains(&format!("without an answer: {dead}")), "{text}");
        let moved = Some("127.0.0.1:9".to_owned());
        let moved = MemberChange::Update { id, peer_addr: moved, client_url: None };
        let leader = cluster.leader().await;
        if id != leader {
            let refused = change(&cluster, moved).await.unwrap_err();
            assert!(matches!(refused, MemberError::Refused(_)), "{refused}");
        }
    }
    remove(&cluster, dead).await.unwrap();
    let members = until(&cluster, "two voters", |members| voters(members).len() == 2).await;
    assert_eq!(members.removed, [dead]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_replica_is_replaced_in_one_step() {
    let mut cluster = Cluster::started(3).await;
    let dead = cluster.follower().await;
    cluster.take(dead).abort().await;
    settle_silence(&cluster, dead).await;
    let (peer_addr, client_url) = cluster.reserve(4);
    let by = Successor::New { id: None, peer_addr, client_url };
    let replace = MemberChange::Replace { id: dead, by };
    assert_eq!(change(&cluster, replace.clone()).await.unwrap(), 4);
    assert_eq!(cluster.join(None).await.unwrap(), 4);
    let wanted: Vec<_> = (1..=4).filter(|id| *id != dead).collect();
    let members = until_voters(&cluster, &wanted).await;
    assert_eq!((members.members.len(), members.removed), (3, vec![dead]));
    assert_eq!(change(&cluster, replace).await.unwrap(), 4, "it is so already");
    cluster.all_ready().await;
    put(cluster.node(4), "a", 1).await.unwrap();
    // The leader as well, by a member that has its vote already.
    let fifth = cluster.join(None).await.unwrap();
    until(&cluster, "four voters", |members| voters(members).len() == 4).await;
    let leader = cluster.leader().await;
    let by = Successor::Member(fifth);
    change(&cluster, MemberChange::Replace { id: leader, by }).await.unwrap();
    timeout(PATIENCE, cluster.node(leader).fatal()).await.unwrap();
    cluster.take(leader).abort().await;
    put(cluster.node(fifth), "a", 2).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_moves_to_another_address_without_a_restart_of_the_others() {
    let mut cluster = Cluster::started(3).await;
    let id = cluster.follower().await;
    cluster.take(id).abort().await;
    let moved = cluster.relocate(id);
    settle_silence(&cluster, id).await;
    // It is dead where it was, so nothing is lost if it never shows up.
    let update = MemberChange::Update {
        id,
        peer_addr: Some(moved.clone()),
        client_url: Some("http://moved/".to_owned()),
    };
    change(&cluster, update).await.unwrap();
    cluster.start(id).await;
    timeout(PATIENCE, cluster.node(id).wait_ready()).await.unwrap();
    let applied = put(cluster.node(id), "a", 1).await.unwrap();
    assert!(applied.is_visible);
    for (_, node) in cluster.nodes() {
        let status = node.status();
        let peer = status.peers.iter().find(|peer| peer.id == id).unwrap();
        assert_eq!((peer.peer_addr.as_str(), peer.client_url.as_str()), (&*moved, "http://moved"));
    }
    // It can even lead.
    let leader = cluster.leader().await;
    cluster.node(leader).transfer_leadership(Some(id), PATIENCE).await.unwrap();
    put(cluster.node(leader), "a", 2).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_lost_in_the_middle_of_a_change_leaves_nothing_half_done() {
    let mut cluster = Cluster::started(3).await;
    let fourth = cluster.join(None).await.unwrap();
    until_voters(&cluster, &[1, 2, 3, 4]).await;
    cluster.all_ready().await;
    let leader = cluster.leader().await;
    let node: Node<Registers> = cluster.node(leader).clone();
    // Only the first of the two entries: as if the leader had died between them.
    let rest = (1..=4).filter(|id| *id != fourth).collect();
    let joint = vec![[1, 2, 3, 4].into_iter().collect(), rest];
    let stored = node.core().membership.load_full();
    let nodes: std::collections::BTreeMap<_, _> =
        stored.nodes().map(|(id, peer)| (*id, peer.clone())).collect();
    let joint = openraft::Membership::new(joint, nodes).unwrap();
    let blank = openraft::EntryPayload::Blank;
    node.core().raft.append_membership(joint, blank, []).await.unwrap();
    assert!(node.core().own_members().is_changing);
    cluster.take(leader).abort().await;
    until(&cluster, "a finished change", |seen| !seen.is_changing && seen.leader.is_some()).await;
    cluster.start_any(leader).await;
    let message = timeout(PATIENCE, cluster.node(fourth).fatal()).await.unwrap();
    assert!(message.contains("replica 4 was removed"), "{message}");
    cluster.take(fourth).abort().await;
    let members = until_voters(&cluster, &[1, 2, 3]).await;
    assert!(!members.members.iter().any(|member| member.id == fourth));
    put(cluster.node(1), "a", 1).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_changes_at_once_are_one_after_the_other() {
    let cluster = Cluster::started(3).await;
    let wish = |port: u16| MemberChange::Add {
        id: None,
        peer_addr: format!("127.0.0.1:{port}"),
        client_url: String::new(),
    };
    let asked = cluster.nodes().zip(1_u16..);
    let asked = asked.map(|((_, node), port)| node.change_members(wish(port), somebody(), soon()));
    let answers = futures::future::join_all(asked).await;
    let mut ids: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [4, 5, 6]);
    cluster.stop().await;
}
