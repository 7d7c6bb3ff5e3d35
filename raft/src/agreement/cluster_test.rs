//! Replicas that go wrong, in whole clusters.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::standing::STANDING_FILE;
use crate::{
    Agreement, Node, ProposeError, ReadError, ReplicaId, Role,
    members::Health,
    testing::{
        harness::{Cluster, PATIENCE, current, fresh_id, local, proposal, put, soon},
        register::{RegisterCommand, Registers},
    },
};

/// Comparisons come this often in these tests.
const INTERVAL: Duration = Duration::from_millis(200);
/// Within this many of them a replica that went wrong is in quarantine, on a busy machine too.
const BOUND: u32 = 15;

fn agreement(node: &Node<Registers>) -> Agreement {
    node.status().agreement
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A cluster of three in which some replicas go wrong, and in which one leads.
async fn spoiled(wrong: &[ReplicaId], leader: ReplicaId) -> Cluster {
    let mut cluster = Cluster::with(3, |config| config.digest_interval = INTERVAL);
    for id in wrong {
        cluster.spoil(*id);
    }
    cluster.start_all().await;
    cluster.all_ready().await;
    lead(&cluster, leader).await;
    cluster
}

async fn lead(cluster: &Cluster, wanted: ReplicaId) {
    until("the wanted leader", async || {
        let leader = cluster.leader().await;
        if leader != wanted {
            let node = cluster.node(leader);
            drop(node.transfer_leadership(Some(wanted), Duration::from_secs(2)).await);
        }
        leader == wanted
    })
    .await;
}

/// The command that goes wrong on replicas that are spoiled.
async fn go_wrong(node: &Node<Registers>) {
    let command = RegisterCommand::Quirk { key: "quirk".to_owned() };
    node.propose(proposal(fresh_id(), command), soon()).await.expect("a leader");
}

/// Waits until a replica is in quarantine; says how long that took.
async fn quarantined(cluster: &Cluster, id: ReplicaId) -> Duration {
    let begun = Instant::now();
    until("the quarantine", async || cluster.node(id).is_quarantined()).await;
    begun.elapsed()
}

/// Checks that a replica serves nobody, and says why.
async fn assert_shut(node: &Node<Registers>) {
    let read = node.read(local(), soon()).await.err().expect("refused");
    assert!(matches!(read, ReadError::Quarantined), "{read}");
    assert!(read.to_string().contains("quarantine"), "{read}");
    let written = put(node, "a", 1).await.expect_err("refused");
    assert!(matches!(&written, ProposeError::NotAccepted { reason, .. }
        if reason.contains("quarantine")));
    let status = node.status();
    assert!(!status.is_ready);
    let why = status.agreement.quarantine.expect("in quarantine");
    assert!(why.index > 0 && why.digest != why.majority, "{why:?}");
    assert!(node.snapshot_now().await.is_err(), "what is wrong is not kept");
    assert!(node.archive(String::new(), false).await.is_err(), "nor given away");
}

async fn assert_equal(cluster: &Cluster) {
    until("equal digests", async || {
        let digests = cluster.nodes().map(|(_, node)| node.digest());
        let digests: Vec<_> =
            futures::future::join_all(digests).await.into_iter().map(Result::unwrap).collect();
        let same_index = digests.iter().all(|digest| digest.index == digests[0].index);
        same_index && digests.iter().all(|digest| *digest == digests[0])
    })
    .await;
}

/// Writes through a replica until told to stop; counts what was acknowledged.
fn load(node: Node<Registers>, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<u64> {
    tokio::spawn(async move {
        let mut written = 0;
        while !stop.load(Ordering::Relaxed) {
            let key = format!("load-{}", written % 50);
            written += u64::from(put(&node, &key, written).await.is_ok());
        }
        written
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_goes_wrong_is_caught_and_healed_under_load() {
    let cluster = spoiled(&[3], 1).await;
    put(cluster.node(1), "a", 1).await.unwrap();
    until("an agreement", async || {
        cluster.nodes().all(|(_, node)| agreement(node).agreed_index > 0)
    })
    .await;
    go_wrong(cluster.node(2)).await;
    let took = quarantined(&cluster, 3).await;
    assert!(took <= INTERVAL * BOUND, "caught after {took:?}");
    assert_shut(cluster.node(3)).await;
    until("the leader knows", async || {
        let members = cluster.node(2).members(soon()).await;
        members.members.iter().any(|one| one.id == 3 && one.health == Health::Quarantined)
    })
    .await;
    // The others go on, and are not in doubt.
    for id in [1, 2] {
        put(cluster.node(id), "b", id).await.unwrap();
        assert_eq!(current(cluster.node(id)).await.get("b"), Some(id));
        assert_eq!(agreement(cluster.node(id)).quarantine, None);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = load(cluster.node(2).clone(), stop.clone());
    let healed = cluster.node(2).heal(3, soon()).await.unwrap();
    assert!(healed.is_new);
    until("the end of the quarantine", async || !cluster.node(3).is_quarantined()).await;
    assert_eq!(current(cluster.node(3)).await.get("quirk"), Some(0), "the state of the majority");
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 0, "the load went on");
    put(cluster.node(3), "c", 3).await.unwrap();
    assert_equal(&cluster).await;
    assert!(!cluster.data_dir(3).join(STANDING_FILE).exists());
    // It may lead again, and there is nothing left to heal.
    lead(&cluster, 3).await;
    assert!(!cluster.node(1).heal(3, soon()).await.unwrap().is_new);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_goes_wrong_gives_up_the_lead() {
    let cluster = spoiled(&[2], 2).await;
    go_wrong(cluster.node(1)).await;
    let took = quarantined(&cluster, 2).await;
    assert!(took <= INTERVAL * BOUND, "caught after {took:?}");
    until("another leader", async || cluster.leader().await != 2).await;
    assert_shut(cluster.node(2)).await;
    assert_ne!(cluster.node(2).status().role, Role::Leader);
    for id in [1, 3] {
        put(cluster.node(id), "b", id).await.unwrap();
        assert_eq!(current(cluster.node(id)).await.get("quirk"), Some(0));
    }
    assert!(cluster.node(2).heal(2, soon()).await.unwrap().is_new);
    until("the end of the quarantine", async || !cluster.node(2).is_quarantined()).await;
    put(cluster.node(2), "c", 2).await.unwrap();
    assert_equal(&cluster).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantine_outlives_restarts_and_has_no_vote() {
    let mut cluster = spoiled(&[3], 1).await;
    go_wrong(cluster.node(1)).await;
    quarantined(&cluster, 3).await;
    cluster.take(3).abort().await;
    cluster.start(3).await;
    assert!(cluster.node(3).is_quarantined(), "from the first moment on");
    // It follows the log all the same.
    let written = put(cluster.node(1), "d", 4).await.unwrap();
    cluster.all_applied(written.index).await;
    assert_shut(cluster.node(3)).await;
    // Two of three are alive, and one of them gives no vote: nobody is elected.
    cluster.take(1).abort().await;
    let deadline = Instant::now() + Duration::from_secs(4);
    while Instant::now() < deadline {
        for id in [2, 3] {
            assert_ne!(cluster.node(id).status().role, Role::Leader, "replica {id}");
        }
        sleep(Duration::from_millis(20)).await;
    }
    cluster.start(1).await;
    put(cluster.node(2), "e", 5).await.unwrap();
    assert!(cluster.node(1).heal(3, soon()).await.unwrap().is_new);
    until("the end of the quarantine", async || !cluster.node(3).is_quarantined()).await;
    assert_equal(&cluster).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_healing_leaves_the_quarantine_and_the_wish_can_be_repeated() {
    let mut cluster = spoiled(&[3], 1).await;
    go_wrong(cluster.node(1)).await;
    quarantined(&cluster, 3).await;
    for pause_ms in [0, 5, 20, 60] {
        cluster.node(1).heal(3, soon()).await.unwrap();
        sleep(Duration::from_millis(pause_ms)).await;
        let was_healed = !cluster.node(3).is_quarantined();
        cluster.take(3).abort().await;
        cluster.start(3).await;
        // Whatever point the crash hit: out of the quarantine means equal.
        if was_healed {
            assert!(!cluster.node(3).is_quarantined());
            break;
        }
        let written = put(cluster.node(1), "f", pause_ms).await.unwrap();
        cluster.all_applied(written.index).await;
    }
    until("the end of the quarantine", async || {
        drop(cluster.node(1).heal(3, soon()).await);
        !cluster.node(3).is_quarantined()
    })
    .await;
    assert_eq!(current(cluster.node(3)).await.get("quirk"), Some(0));
    assert_equal(&cluster).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_all_say_so_and_nobody_is_shut() {
    let cluster = spoiled(&[1, 2, 3], 1).await;
    go_wrong(cluster.node(1)).await;
    until("the dispute is known everywhere", async || {
        cluster.nodes().all(|(_, node)| agreement(node).disputed_index.is_some())
    })
    .await;
    for (id, node) in cluster.nodes() {
        assert_eq!(agreement(node).quarantine, None, "replica {id}");
        put(node, "g", id).await.unwrap();
    }
    cluster.stop().await;
}

/// Comparisons that only come when a test asks for them.
static ASKED: AtomicU64 = AtomicU64::new(0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_a_leader_that_went_wrong_is_no_evidence() {
    let mut cluster = Cluster::with(3, |config| {
        config.digest_interval = Duration::from_secs(3600);
        config.snapshot.entries_max = 40;
        config.snapshot.entries_kept = 4;
    });
    cluster.spoil(1);
    cluster.start_all().await;
    cluster.all_ready().await;
    lead(&cluster, 1).await;
    cluster.take(3).abort().await;
    let node = cluster.node(1).clone();
    go_wrong(&node).await;
    let missed = node.status().applied_index;
    until("a purged log", async || {
        put(&node, "h", ASKED.fetch_add(1, Ordering::Relaxed)).await.unwrap();
        node.status().purged_index > missed
    })
    .await;
    cluster.start(3).await;
    cluster.all_ready().await;
    assert_eq!(current(cluster.node(3)).await.get("quirk"), Some(101), "the wrong state");
    // Two have the same wrong state, and one of them only because the other sent it.
    node.core().compare_soon();
    until("the dispute", async || {
        cluster.nodes().all(|(_, node)| agreement(node).disputed_index.is_some())
    })
    .await;
    for (id, node) in cluster.nodes() {
        assert_eq!(agreement(node).quarantine, None, "replica {id}");
    }
    assert!(cluster.data_dir(3).join(STANDING_FILE).exists(), "also after a restart");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_replicas_are_compared_at_indexes_that_all_of_them_keep() {
    let cluster = spoiled(&[3], 1).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..32).map(|_| load(cluster.node(1).clone(), stop.clone())).collect();
    let begun = agreement(cluster.node(1)).agreed_index;
    until("an agreement under load", async || agreement(cluster.node(1)).agreed_index > begun)
        .await;
    go_wrong(cluster.node(1)).await;
    quarantined(&cluster, 3).await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.unwrap() > 0);
    }
    cluster.stop().await;
}
