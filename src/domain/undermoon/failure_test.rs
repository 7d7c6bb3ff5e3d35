//! Scenarios of failure reports, failover and balancing.

use super::{
    Action, Profile, Rejection, Reply,
    document::RolePosition::{FirstChunkMaster, Normal, SecondChunkMaster},
    play_test::{
        Play, START_MS, add, balance, commit, create, expand, fail_over, register, register_at,
        report,
    },
    query,
    settings::{Seed, SettingsChange},
    view::{NodeRole, ProxyView},
};

fn settings(failure_quorum: u64, failure_ttl_s: u64) -> Play {
    let mut seed = Seed::default();
    seed.settings.failure_quorum = failure_quorum;
    seed.settings.failure_ttl_s = failure_ttl_s;
    Play::seeded(&seed)
}

#[track_caller]
fn replaced(reply: Reply) -> Box<ProxyView> {
    match reply {
        Reply::FailedOver(Some(view)) => view,
        other => panic!("no replacement: {other:?}"),
    }
}

#[test]
fn scenario_47_distinct_reporters_make_a_failure() {
    let mut play = settings(2, 60).with_proxies(2);
    play.step(report("p1:1", "r1"), Ok(()), 1);
    assert!(play.failures().is_empty());
    play.step(report("p1:1", "r1"), Ok(()), 0);
    assert!(play.failures().is_empty());
    play.step(report("p1:1", "r2"), Ok(()), 1);
    assert_eq!(play.failures(), ["p1:1"]);
}

#[test]
fn scenario_48_a_report_lives_from_its_first_call() {
    let mut play = settings(1, 3).with_proxies(1);
    play.now_ms = START_MS + 400;
    play.take(report("p1:1", "r"));
    assert_eq!(play.failures(), ["p1:1"]);
    play.now_ms += 1_500;
    play.step(report("p1:1", "r"), Ok(()), 0);
    play.now_ms = START_MS + 2_999;
    assert_eq!(play.failures(), ["p1:1"]);
    assert!(!query::has_expired_failures(&play.state, play.now_ms));
    play.now_ms += 1;
    assert!(play.failures().is_empty());
    assert!(query::has_expired_failures(&play.state, play.now_ms));
    assert!(play.free().is_empty(), "counts until it is pruned");
    play.step(Action::PruneFailures, Ok(()), 0);
    assert!(play.state.failures.is_empty());
    assert_eq!(play.free(), ["p1:1"]);
}

#[test]
fn pruning_leaves_what_lives_and_drops_empty_entries() {
    let mut play = settings(1, 3).with_proxies(2);
    play.take(report("p1:1", "early"));
    play.now_ms += 2_000;
    play.take(report("p1:1", "late"));
    let mut document = query::document(&play.state);
    document.failures.insert("p2:1".to_owned(), Default::default());
    play.take(Action::Restore { document: Box::new(document) });
    assert!(query::has_expired_failures(&play.state, START_MS));
    play.now_ms += 1_000;
    play.take(Action::PruneFailures);
    let left: Vec<&String> = play.state.failures["p1:1"].keys().collect();
    assert_eq!(left, ["late"]);
    assert_eq!(play.free(), ["p2:1"]);
    assert!(!query::has_expired_failures(&play.state, play.now_ms));
}

#[test]
fn scenario_49_and_50_unknown_addresses() {
    let mut play = Play::new();
    play.step(report("no:1", "r"), Ok(()), 1);
    assert!(play.failures().is_empty());
    assert!(play.state.failures.contains_key("no:1"));
    play.step(fail_over("no:1"), Err(Rejection::ProxyNotFound), 0);
}

#[test]
fn scenario_51_the_partner_takes_over_and_a_spare_follows_it() {
    let mut play = Play::new().with_proxies(6).with_cluster(4);
    let [failed, partner] = [play.members()[0].clone(), play.members()[1].clone()];
    play.take(report(&failed, "r"));
    let before = play.state.global_epoch;
    let view = replaced(play.take(fail_over(&failed)));
    assert_eq!((view.epoch, play.epochs()), (before + 2, (before + 2, before + 2)));
    assert!(view.nodes.iter().all(|node| node.role == NodeRole::Replica));
    assert_eq!(play.members(), [view.address.clone(), partner.clone()]);
    assert_eq!(play.role(0), SecondChunkMaster);
    let [peer] = &view.peers[..] else { panic!("the partner is the only peer") };
    let slots: Vec<_> = peer.slots.iter().flat_map(|range| range.range_list.clone()).collect();
    // The masters of the partner in node order: node 2 has the upper half, node 3 the lower.
    assert_eq!((&peer.proxy_address, slots), (&partner, vec![(8192, 16383), (0, 8191)]));
    assert_eq!(
        (query::failed_proxies(&play.state), play.failures()),
        (vec![failed.clone()], vec![failed.clone()])
    );
    play.step(fail_over(&failed), Ok(()), 0);
    assert!(play.failures().is_empty());

    // Scenario 53: the partner fails next.
    replaced(play.take(fail_over(&partner)));
    assert_eq!(play.role(0), FirstChunkMaster);
    let nodes = query::cluster(&play.state, "c").expect("the cluster exists").nodes;
    let masters: Vec<bool> = nodes.iter().map(|node| node.role == NodeRole::Master).collect();
    assert_eq!(masters, [true, true, false, false]);
}

#[test]
fn scenario_52_without_a_spare_the_role_moves_once() {
    let mut play = Play::new().with_proxies(3).with_cluster(4);
    let [first, second] = [play.members()[0].clone(), play.members()[1].clone()];
    replaced(play.take(fail_over(&first)));
    play.step(fail_over(&second), Err(Rejection::NoAvailableResource), 1);
    assert_eq!(play.role(0), FirstChunkMaster);
    let (global, cluster) = play.epochs();
    assert_eq!(global, cluster);
    play.step(fail_over(&second), Err(Rejection::NoAvailableResource), 1);
    assert_eq!(play.epochs(), (global + 1, cluster));
    play.take(register("spare:1", "h9"));
    replaced(play.take(fail_over(&second)));
    assert_eq!((play.role(0), play.members()[1].as_str()), (FirstChunkMaster, "spare:1"));
}

/// Two chunks, both migrations shown, expanding since epoch 11.
fn migrating() -> Play {
    let mut play = Play::unlimited().with_proxies(8).with_cluster(4);
    play.take(add(4));
    play.take(expand());
    assert_eq!(epochs_of_tasks(&play), [11, 11]);
    play
}

fn epochs_of_tasks(play: &Play) -> Vec<u64> {
    play.tasks().iter().map(|(meta, _)| meta.epoch).collect()
}

#[test]
fn scenario_54_only_tasks_of_the_moved_part_start_afresh() {
    let mut play = migrating();
    let destination = play.members()[2].clone();
    replaced(play.take(fail_over(&destination)));
    assert_eq!(epochs_of_tasks(&play), [12, 11]);
    play.step(commit(&[(4096, 8191)], 11), Err(Rejection::MigrationTaskNotFound), 0);
    let before = play.chunks();
    play.step(fail_over(&destination), Ok(()), 0);
    assert_eq!(play.chunks(), before);
    play.step(commit(&[(4096, 8191)], 12), Ok(()), 1);
}

#[test]
fn a_second_failure_in_a_chunk_restarts_the_tasks_of_both_parts() {
    let mut play = migrating();
    let [first, second] = [play.members()[0].clone(), play.members()[1].clone()];
    replaced(play.take(fail_over(&first)));
    assert_eq!(epochs_of_tasks(&play), [12, 11]);
    replaced(play.take(fail_over(&second)));
    assert_eq!(epochs_of_tasks(&play), [14, 14]);
}

#[test]
fn balancing_restarts_the_tasks_that_move() {
    let mut play = migrating();
    let source = play.members()[0].clone();
    replaced(play.take(fail_over(&source)));
    assert_eq!(epochs_of_tasks(&play), [12, 11]);
    play.step(balance(), Ok(()), 1);
    assert_eq!((epochs_of_tasks(&play), play.epochs()), (vec![14, 11], (14, 14)));
    play.step(commit(&[(4096, 8191)], 12), Err(Rejection::MigrationTaskNotFound), 0);
    play.step(balance(), Ok(()), 1);
    assert_eq!(epochs_of_tasks(&play), [14, 11], "nothing moved");
    play.commit_all();
}

#[test]
fn scenario_55_and_62_ordered_proxies_flip_and_stay() {
    let mut play = Play::ordered();
    for index in 0..5 {
        play.take(register_at(&format!("p{index}:1"), "h", Some(index)));
    }
    play.take(create("c", 4));
    play.take(report("p0:1", "r"));
    assert_eq!(play.take(fail_over("p0:1")), Reply::FailedOver(None));
    let (global, cluster) = play.epochs();
    assert_eq!((global - cluster, play.role(0)), (1, SecondChunkMaster));
    assert_eq!((query::failed_proxies(&play.state), play.failures().len()), (vec![], 1));
    play.step(fail_over("p0:1"), Ok(()), 2);
    assert_eq!(play.epochs().1, cluster);
    assert_eq!(play.members(), ["p0:1", "p1:1"]);
    play.step(fail_over("p4:1"), Ok(()), 0);
    assert_eq!(query::failed_proxies(&play.state), ["p4:1"]);

    play.profile = Profile::Document;
    for address in ["p0:1", "p4:1", "no:1"] {
        play.step(fail_over(address), Err(Rejection::FailoverInOrderedMode), 0);
    }
    play.step(report("p2:1", "r"), Ok(()), 0);
    assert!(!play.state.failures.contains_key("p2:1"));
}

#[test]
fn scenario_56_a_third_host_is_preferred_to_the_survivors() {
    let mut play = Play::new();
    for (address, host) in [("a:1", "a"), ("b:1", "b"), ("a:2", "a"), ("b:2", "b")] {
        play.take(register(address, host));
    }
    play.take(create("c", 4));
    let mut with_third = play.clone();
    assert_eq!(replaced(play.take(fail_over("a:1"))).address, "b:2");
    assert_eq!(play.chunks()[0].hosts, ["b", "b"]);
    with_third.take(register("z:1", "z"));
    assert_eq!(replaced(with_third.take(fail_over("a:1"))).address, "z:1");
}

#[test]
fn the_failed_host_itself_comes_last() {
    let mut play = Play::new();
    for (address, host) in [("a:1", "a"), ("b:1", "b"), ("b:2", "b"), ("b:3", "b")] {
        play.take(register(address, host));
    }
    play.take(create("c", 4));
    replaced(play.take(fail_over("a:1")));
    // Both halves are on `b` now, and `b` has one more: the original would take it.
    let mut alone = play.clone();
    assert_eq!(replaced(alone.take(fail_over("b:1"))).address, "b:3");
    play.take(register("z:1", "z"));
    assert_eq!(replaced(play.take(fail_over("b:1"))).address, "z:1");
}

#[test]
fn scenario_57_and_58_balance_waits_for_health() {
    let mut play = Play::new().with_proxies(2).with_cluster(4);
    let failed = play.members()[0].clone();
    play.step(fail_over(&failed), Err(Rejection::NoAvailableResource), 1);
    play.step(balance(), Ok(()), 1);
    assert_eq!(play.role(0), SecondChunkMaster);
    play.step(register(&failed, "h1"), Err(Rejection::AlreadyExisted), 1);
    play.step(balance(), Ok(()), 1);
    let (global, cluster) = play.epochs();
    assert_eq!((play.role(0), global), (Normal, cluster));

    let mut play = Play::new().with_proxies(3).with_cluster(4);
    let [first, second] = [play.members()[0].clone(), play.members()[1].clone()];
    replaced(play.take(fail_over(&first)));
    play.step(register(&first, "h1"), Err(Rejection::AlreadyExisted), 1);
    assert_eq!(replaced(play.take(fail_over(&second))).address, first);
}

#[test]
fn scenario_59_a_failed_member_falls_silent_unless_it_is_to_stay_listed() {
    let mut play = settings(1, 3).with_proxies(2).with_cluster(4);
    let failed = play.members()[0].clone();
    play.take(report(&failed, "r"));
    play.step(fail_over(&failed), Err(Rejection::NoAvailableResource), 1);
    play.now_ms += 5_000;
    play.take(Action::PruneFailures);
    assert!(play.failures().is_empty());
    play.take(Action::ChangeSettings(SettingsChange {
        list_failed_members: Some(true),
        ..SettingsChange::default()
    }));
    assert_eq!(play.failures(), [failed.as_str()]);
    play.take(register("spare:1", "h9"));
    replaced(play.take(fail_over(&failed)));
    assert!(play.failures().is_empty());
}

#[test]
fn scenario_60_the_spare_check_changes_nothing() {
    let mut play = Play::new();
    for host in 1..=4 {
        for port in 1..=2 {
            play.take(register(&format!("h{host}:{port}"), &format!("h{host}")));
        }
    }
    let mut full = play.clone().with_cluster(16);
    play.take(create("c", 12));
    let epoch = play.state.global_epoch;
    assert_eq!(query::hosts_cannot_fail(&play.state), Ok(vec![]));
    assert_eq!(play.state.global_epoch, epoch);
    let all: Vec<String> = (1..=4).map(|host| format!("h{host}")).collect();
    assert_eq!(query::hosts_cannot_fail(&full.state), Ok(all));
    full.state.is_ordered = true;
    assert_eq!(query::hosts_cannot_fail(&full.state), Ok(vec![]));
}
