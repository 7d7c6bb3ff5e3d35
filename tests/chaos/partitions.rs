//! Networks that break for real: replicas in network namespaces, packets between them dropped by the
//! kernel, clients that reach all of them, and the same judgement.
//!
//! The relay of the other tests can only hold back what a connection carries. Here the connections
//! themselves are cut off: nothing is refused, nothing is closed, and new ones time out.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    load::{self, Load},
    site::Site,
    trial, verdict,
};
use crate::support::{
    cluster::PATIENCE,
    namespace::{self, Partition},
};

/// Clients that write.
const WRITERS: u64 = 6;
/// Changes that must be acknowledged before a cut, during it, and after it.
const BETWEEN: u64 = 25;
/// How long a cut lasts, at least: several elections.
const LASTING: Duration = Duration::from_secs(2);

/// The judgement reads the log, and clients come from beyond loopback.
const FLAGS: [&str; 4] = [
    "--events-kept",
    "200000",
    "--anonymous",
    "undermoon=admin,kvrocks=admin,cello=admin,admin=admin",
];

/// How the network is cut, given the leader and the others.
type Cut = fn(&mut Partition, u64, &[u64]);

async fn served(site: &Site, load: &Load, when: &str) {
    if !load.wait_for(BETWEEN, PATIENCE).await {
        site.cluster.fail(&format!("no changes {when}"));
    }
}

/// Cuts the network as often as there are ways to, under clients, and judges what they saw.
async fn cut_and_judge(replicas: u64, seed: u64, cuts: &[(&str, Cut)]) {
    let cluster = namespace::start_replicas(replicas, &FLAGS).await;
    let mut site = Site::of(cluster);
    load::prepare(&site.cluster).await;
    let urls = trial::urls(&site);
    let load = Load::start(WRITERS, &urls, seed);
    let mut partition = Partition::default();
    for (name, cut) in cuts {
        served(&site, &load, &format!("before {name}")).await;
        let leader = site.cluster.wait_leader().await;
        cut(&mut partition, leader, &site.others(leader));
        sleep(LASTING).await;
        served(&site, &load, &format!("during {name}")).await;
        assert!(partition.dropped() > 0, "{name} dropped nothing");
        partition.heal();
    }
    site.cluster.wait_all_ready().await;
    served(&site, &load, "after everything").await;
    let ops = load.finish(&urls).await;
    let verdict = verdict::of(&mut site, &ops).await;
    let summary = verdict::summary(&verdict);
    println!("{summary}");
    assert!(verdict.acknowledged > 100, "too little was tried: {summary}");
    if !verdict.is_good() {
        site.cluster.fail(&summary);
    }
}

#[test]
fn a_leader_whose_packets_are_dropped_is_replaced_and_nothing_is_lost() {
    let test =
        "harness::partitions::a_leader_whose_packets_are_dropped_is_replaced_and_nothing_is_lost";
    let isolated: Cut = |partition, leader, others| {
        others.iter().for_each(|other| partition.cut_both(leader, *other));
    };
    let deaf: Cut = |partition, leader, others| {
        others.iter().for_each(|other| partition.cut(*other, leader));
    };
    let mute: Cut = |partition, leader, others| {
        others.iter().for_each(|other| partition.cut(leader, *other));
    };
    let cuts = [("isolation", isolated), ("deafness", deaf), ("muteness", mute)];
    namespace::run(test, cut_and_judge(3, 71, &cuts));
}

#[test]
fn halves_of_a_network_never_both_go_on_and_nothing_is_lost() {
    let test = "harness::partitions::halves_of_a_network_never_both_go_on_and_nothing_is_lost";
    let minority_leads: Cut = |partition, leader, others| {
        for far in &others[1..] {
            partition.cut_both(leader, *far);
            partition.cut_both(others[0], *far);
        }
    };
    let majority_leads: Cut = |partition, leader, others| {
        for far in &others[..2] {
            partition.cut_both(leader, *far);
            others[2..].iter().for_each(|near| partition.cut_both(*near, *far));
        }
    };
    let bridge: Cut = |partition, leader, others| {
        // Only the last of the others hears both sides.
        for far in &others[1..3] {
            partition.cut_both(leader, *far);
            partition.cut_both(others[0], *far);
        }
    };
    let cuts =
        [("a minority", minority_leads), ("a majority", majority_leads), ("a bridge", bridge)];
    namespace::run(test, cut_and_judge(5, 72, &cuts));
}
