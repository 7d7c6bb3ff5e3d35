//! Every fault of the catalogue, done to three or five real replicas while clients of all three
//! families work; see `docs/chaos.md`.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

#[path = "chaos/mod.rs"]
mod harness;
mod support;

use std::time::{Duration, Instant};

use harness::{
    faults::Fault,
    load::{self, Load},
    long, members,
    site::Site,
    trial, verdict,
};
use support::{
    cluster::PATIENCE,
    compare,
    writers::{self, Writers},
};
use tokio::time::sleep;

/// A test for each fault: its name, what it tries, on how many replicas, how often.
macro_rules! tests {
    ($($name:ident: $fault:ident, $replicas:expr, $rounds:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                trial::test(Fault::$fault, $replicas, $rounds).await;
            }
        )*

        /// What the tests of this file try.
        const TRIED: &[(&str, Fault)] = &[$((stringify!($name), Fault::$fault)),*];
    };
}

tests! {
    kill_9: Kill9, 3, 3;
    sigstop_and_resume: SigstopAndResume, 3, 2;
    restart_loop: RestartLoop, 3, 1;
    symmetric_partition: SymmetricPartition, 5, 2;
    asymmetric_partition: AsymmetricPartition, 3, 2;
    isolated_leader: IsolatedLeader, 3, 2;
    bridge_partition: BridgePartition, 5, 2;
    slow_link: SlowLink, 3, 1;
    packet_loss: PacketLoss, 3, 1;
    clock_jump: ClockJump, 3, 2;
    full_disk: FullDisk, 3, 1;
    failing_write: FailingWrite, 3, 1;
    failing_fsync: FailingFsync, 3, 1;
    torn_tail: TornTail, 3, 2;
    flipped_bit_in_log: FlippedBitInLog, 3, 1;
    flipped_bit_in_snapshot: FlippedBitInSnapshot, 3, 1;
    slow_disk: SlowDisk, 3, 1;
    hanging_fsync: HangingFsync, 3, 1;
    connection_flood: ConnectionFlood, 3, 1;
    half_open_connections: HalfOpenConnections, 3, 2;
}

/// Fault and test of every line of the table in the documentation.
fn documented() -> Vec<(String, String)> {
    let text = include_str!("../docs/chaos.md");
    let rows = text.lines().filter_map(|line| {
        let mut cells =
            line.strip_prefix("| `")?.split('|').map(|cell| cell.trim().trim_matches('`'));
        Some((cells.next()?.to_owned(), cells.next()?.to_owned()))
    });
    rows.collect()
}

#[test]
fn every_fault_has_its_test_and_its_line_in_the_documentation() {
    let documented = documented();
    let tried: Vec<(String, String)> =
        TRIED.iter().map(|(test, fault)| (fault.name().to_owned(), (*test).to_owned())).collect();
    assert_eq!(tried, documented, "the tests, and the table in docs/chaos.md");
    for fault in Fault::ALL {
        assert!(tried.contains(&(fault.name().to_owned(), fault.test())), "{fault:?} is not tried");
        assert_eq!(Fault::named(fault.name()), Some(fault));
    }
}

/// Four faults of a seed of its own, which is printed; `scripts/chaos` makes it a run of hours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_with_another_seed() {
    long::run().await;
}

/// A replica joins, gets its vote, and goes, while leaders are killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn membership_change_while_leaders_are_killed() {
    let mut site = Site::start(3, &[]).await;
    load::prepare(&site.cluster).await;
    let urls = trial::urls(&site);
    let load = Load::start(4, &urls, 77);
    for id in [4, 5] {
        site.join(id).await;
        for _ in 0..2 {
            assert!(load.wait_for(20, PATIENCE).await, "no changes while a replica joins");
            let leader = site.cluster.wait_leader().await;
            site.cluster.replica(leader).kill();
            site.cluster.wait_leader_other_than(leader).await;
            assert!(load.wait_for(20, PATIENCE).await, "no changes after a leader was killed");
            site.start_missing();
        }
        members::wait_voter(&site.cluster, id).await;
        members::remove(&mut site, id).await;
    }
    site.heal().await;
    let ops = load.finish(&urls).await;
    let verdict = verdict::of(&mut site, &ops).await;
    let summary = verdict::summary(&verdict);
    println!("{summary}");
    if !verdict.is_good() {
        site.cluster.fail(&summary);
    }
}

/// Longest time until another replica leads, for a leader that hangs: four leases until the disk
/// counts as hanging, an eighth of that until somebody looks, and an election on a busy machine.
const GIVEN_UP_MAX: Duration = Duration::from_millis(380 * 4 + 380 / 2 + 1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_gives_up_leadership() {
    let mut site = Site::start(3, &[]).await;
    load::prepare(&site.cluster).await;
    for _ in 0..2 {
        let leader = site.cluster.wait_leader().await;
        site.shim(leader).hang_syncs(true);
        // Something to be written.
        let client = writers::client();
        let base = format!("{}/api/v3", site.cluster.url(leader));
        let write = writers::register(&client, &base, "late:1").send();
        let writing = tokio::spawn(write);
        let begun = Instant::now();
        let next = site.cluster.wait_leader_other_than(leader).await;
        let elapsed = begun.elapsed();
        println!("replica {next} leads {elapsed:?} after the disk of replica {leader} hung");
        assert!(elapsed < GIVEN_UP_MAX, "leadership is given up after {elapsed:?}");
        let status = site.cluster.status(leader).await.unwrap();
        assert_ne!(status["role"], "leader", "{status}");
        assert!(status["disk_stalled_ms"].as_u64().unwrap() >= 380 * 4, "{status}");
        let ready = site.cluster.client.get(format!("{}/readyz", site.cluster.url(leader)));
        let ready = ready.send().await.unwrap();
        assert_eq!(ready.status(), 503);
        let said = ready.text().await.unwrap();
        assert!(said.contains("[-] disk: a write has not returned for "), "{said}");
        let metrics = site.cluster.client.get(format!("{}/metrics", site.cluster.url(leader)));
        let metrics = metrics.send().await.unwrap().text().await.unwrap();
        assert!(metrics.contains("quorate_raft_disk_stalled 1"), "{metrics}");
        let said = site.cluster.replica(leader).output();
        assert!(said.contains("a write of the log does not return"), "{said}");
        site.heal().await;
        // Whatever came of the write, it is answered.
        drop(writing.await.unwrap());
        let status = site.cluster.status(leader).await.unwrap();
        assert!(status["disk_stalled_ms"].is_null(), "{status}");
    }
    compare::digests(&site.cluster).await.unwrap();
}

/// The others elect one of themselves as soon as the lease of the one that stands still is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stands_still_gives_up_leadership() {
    let mut site = Site::start(3, &[]).await;
    let leader = site.cluster.wait_leader().await;
    site.cluster.replica(leader).signal(nix::sys::signal::Signal::SIGSTOP);
    let begun = Instant::now();
    let mut next = None;
    while next.is_none() && begun.elapsed() < GIVEN_UP_MAX {
        for id in site.others(leader) {
            let status = site.cluster.status(id).await.unwrap();
            if status["role"] == "leader" {
                next = Some(id);
            }
        }
    }
    let elapsed = begun.elapsed();
    println!("replica {next:?} leads {elapsed:?} after replica {leader} stood still");
    assert!(next.is_some(), "nobody leads after {elapsed:?}");
    site.cluster.replica(leader).signal(nix::sys::signal::Signal::SIGCONT);
    site.heal().await;
    compare::digests(&site.cluster).await.unwrap();
}

/// A leader that has asked another replica to take over accepts no writes any more. If the other
/// one is dead, somebody has to lead all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_to_a_dead_replica_does_not_stop_the_writes() {
    let mut site = Site::start(3, &[]).await;
    let before = writers::prepare(&site.cluster.url(1)).await;
    let leader = site.cluster.wait_leader().await;
    let to = site.others(leader)[0];
    site.cluster.replica(to).kill();
    let url = format!("{}/quorate/v1/leader/transfer", site.cluster.url(leader));
    let body = serde_json::json!({ "to": to });
    let answer = site.cluster.client.post(url).json(&body).timeout(PATIENCE).send().await.unwrap();
    println!("the hand-over is answered with {}", answer.status());
    let urls: Vec<String> = site.others(to).into_iter().map(|id| site.cluster.url(id)).collect();
    let writers = Writers::start(2, &urls);
    let deadline = Instant::now() + PATIENCE;
    while writers.acknowledged() < 20 {
        if Instant::now() > deadline {
            site.cluster.fail("nothing is written after a hand-over to a dead replica");
        }
        sleep(Duration::from_millis(20)).await;
    }
    site.heal().await;
    let records = writers.finish().await;
    let writes: u64 = records.iter().map(|r| r.proxies.len() as u64 + r.changes).sum();
    let epoch = writers::epoch(&site.cluster.client, &site.cluster.url(1)).await;
    assert_eq!(epoch, before + writes, "each write once");
    compare::digests(&site.cluster).await.unwrap();
}

/// A follower that is cut off together with its leader hears that leader all the time. Its reads
/// are as old as the cut all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_with_its_leader_does_not_serve_old_reads() {
    let mut site = Site::start(5, &[]).await;
    load::prepare(&site.cluster).await;
    let leader = site.cluster.wait_leader().await;
    let others = site.others(leader);
    let (with_leader, majority) = (others[0], &others[1..]);
    for one in [leader, with_leader] {
        majority.iter().for_each(|other| site.net.cut_both(one, *other));
    }
    let cut = Instant::now();
    let url = format!("{}/api/v3/epoch", site.cluster.url(with_leader));
    // The bound of reads, and a second for a busy machine.
    while cut.elapsed() < Duration::from_millis(2_000 + 1_000) {
        sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..20 {
        let asked = Instant::now();
        let answer = site.cluster.client.get(&url).send().await.unwrap();
        let age = answer.headers()["quorate-age-ms"].to_str().unwrap().to_owned();
        let since = asked.duration_since(cut);
        assert!(!answer.status().is_success(), "served {since:?} after the cut, {age} ms old");
        sleep(Duration::from_millis(20)).await;
    }
    site.heal().await;
    compare::digests(&site.cluster).await.unwrap();
}
