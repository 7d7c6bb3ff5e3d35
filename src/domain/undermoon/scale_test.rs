//! Scenarios of expanding, shrinking, automatic scaling and commits.

use super::{
    Action, Profile, Rejection, Reply,
    play_test::{
        Play, add, add_up_to, auto, auto_expand, balance, commit, config, create, delete_free,
        expand, register_at, shrink,
    },
    query,
    settings::SettingsChange,
    slots::{self, RangeList},
    view::TagView,
};

type Shown = Vec<(RangeList, u64)>;

/// Migrations of `c` that are shown, with their epochs, in node order.
fn shown(play: &Play) -> Shown {
    let view = query::cluster(&play.state, "c").expect("the cluster exists");
    let ranges = view.nodes.iter().flat_map(|node| &node.slots);
    ranges
        .filter_map(|range| match &range.tag {
            TagView::Migrating(meta) => Some((range.range_list.clone(), meta.epoch)),
            TagView::None | TagView::Importing(_) => None,
        })
        .collect()
}

fn limit(limit: u64) -> Action {
    let change = SettingsChange { migration_limit: Some(limit), ..SettingsChange::default() };
    Action::ChangeSettings(change)
}

/// One chunk with slots and two without, `limit` migrations shown, expanding since epoch 9.
fn expanding(limit_shown: u64) -> Play {
    let mut play = Play::new();
    play.take(limit(limit_shown));
    let offset = play.state.global_epoch;
    let mut play = play.with_proxies(6).with_cluster(4);
    play.take(add(8));
    play.step(expand(), Ok(()), 1);
    assert_eq!(play.state.global_epoch, 9 + offset);
    play
}

#[test]
fn scenario_27_and_38_expand_needs_an_empty_part_and_shrink_none() {
    let mut play = Play::new().with_proxies(6).with_cluster(4);
    play.step(expand(), Err(Rejection::SlotsAlreadyEven), 1);
    assert_eq!(play.epochs(), (8, 7));
    let other = |name: &str| Action::Expand { name: name.to_owned() };
    play.step(other("unknown"), Err(Rejection::ClusterNotFound), 1);
    play.step(other("a.b"), Err(Rejection::InvalidClusterName), 0);
    play.take(add(4));
    play.step(shrink(4), Err(Rejection::FreeNodeFound), 1);
}

#[test]
fn scenario_28_two_chunks_share_evenly() {
    let mut play = Play::unlimited().with_proxies(6).with_cluster(4);
    play.take(add(4));
    play.take(expand());
    assert_eq!(shown(&play), [(vec![(4096, 8191)], 9), (vec![(12288, 16383)], 9)]);
    assert_eq!(play.stable(), [Some(vec![(0, 4095)]), Some(vec![(8192, 12287)]), None, None]);
    play.commit_all();
    let expected = [(0, 4095), (8192, 12287), (4096, 8191), (12288, 16383)];
    assert_eq!(play.stable(), expected.map(|range| Some(vec![range])));
    assert_eq!(play.epochs(), (11, 11));
}

#[test]
fn scenario_29_three_chunks_one_migration_at_a_time() {
    let mut play = expanding(1);
    let expected: [RangeList; 5] = [
        vec![(5461, 8191)],
        vec![(2731, 5460)],
        vec![(16383, 16383)],
        vec![(13653, 16382)],
        vec![(10923, 13652)],
    ];
    for ranges in expected {
        assert_eq!(shown(&play), [(ranges.clone(), 9)]);
        assert!(play.info().2);
        play.step(commit(&ranges, 9), Ok(()), 1);
        let (global, cluster) = play.epochs();
        assert_eq!(global, cluster);
    }
    assert_eq!(play.info(), (12, 12, false));
    let expected: [RangeList; 6] = [
        vec![(0, 2730)],
        vec![(8192, 10922)],
        vec![(5461, 8191)],
        vec![(2731, 5460), (16383, 16383)],
        vec![(13653, 16382)],
        vec![(10923, 13652)],
    ];
    assert_eq!(play.stable(), expected.map(Some));
}

#[test]
fn scenario_30_never_more_than_one_migration_out_of_a_part() {
    for limit_shown in [2, 3] {
        let play = expanding(limit_shown);
        let epoch = play.epochs().1;
        let expected = [(vec![(5461, 8191)], epoch), (vec![(16383, 16383)], epoch)];
        assert_eq!(shown(&play), expected, "limit {limit_shown}");
    }
}

#[test]
fn scenario_31_to_33_a_commit_must_name_the_task_exactly() {
    let mut play = Play::new().with_proxies(6).with_cluster(4);
    play.take(add(4));
    play.take(expand());
    let not_found = || Err(Rejection::MigrationTaskNotFound);
    play.step(commit(&[(4096, 8191)], 10), not_found(), 0);
    play.step(commit(&[(4096, 5000), (5001, 8191)], 9), not_found(), 0);
    let untagged = |cluster_name: &str| Action::CommitMigration {
        cluster_name: cluster_name.to_owned(),
        range_list: vec![(4096, 8191)],
        epoch: None,
    };
    play.step(untagged("c"), Err(Rejection::InvalidMigrationTask), 0);
    play.step(untagged("d"), Err(Rejection::ClusterNotFound), 0);
    play.step(commit(&[(4096, 8191)], 9), Ok(()), 1);
    play.step(commit(&[(4096, 8191)], 9), not_found(), 0);
}

#[test]
fn scenario_34_the_programs_look_at_the_slots_first() {
    for (profile, of_expand, of_shrink) in [
        (Profile::Program, Rejection::MigrationRunning, Rejection::FreeNodeFound),
        (Profile::Document, Rejection::MigrationRunning, Rejection::MigrationRunning),
    ] {
        let mut play = Play::new().with_proxies(6).with_cluster(4);
        play.take(add(4));
        play.take(expand());
        play.profile = profile;
        play.step(expand(), Err(of_expand), 1);
        play.step(shrink(4), Err(of_shrink), 1);
        play.step(auto(4), Err(Rejection::MigrationRunning), 0);
    }
}

#[test]
fn scenario_36_shrinking_three_chunks_to_one() {
    let mut play = Play::new().with_proxies(6).with_cluster(12);
    play.step(shrink(4), Ok(()), 1);
    let ranges: Vec<RangeList> = play.tasks().into_iter().map(|(_, ranges)| ranges).collect();
    let expected = [(5462, 8192), (8193, 10922), (10923, 10923), (10924, 13653), (13654, 16383)];
    assert_eq!(ranges, expected.map(|range| vec![range]));
    assert_eq!(play.info(), (12, 10, true));
    play.commit_all();
    assert_eq!(play.info(), (12, 4, false));
    play.step(delete_free(), Ok(()), 1);
    assert_eq!(play.info(), (4, 4, false));
    let kept: [RangeList; 2] = [vec![(0, 2730), (5462, 10922)], vec![(2731, 5461), (10923, 16383)]];
    assert_eq!(play.stable(), kept.map(Some));
}

#[test]
fn the_documents_clean_up_after_a_shrink_and_name_the_proxies() {
    let mut play = Play::new().with_proxies(4).with_cluster(8);
    play.profile = Profile::Document;
    let members = play.members();
    play.take(shrink(4));
    let tasks = play.tasks();
    for (done, (meta, ranges)) in (1..).zip(&tasks) {
        let reply = play.take(commit(ranges, meta.epoch));
        assert_eq!(reply, Reply::Committed { addresses: members.clone() });
        assert_eq!(play.info().0, if done == tasks.len() { 4 } else { 8 });
    }
    assert_eq!(play.free().len(), 2);
    play.step(delete_free(), Err(Rejection::FreeNodeNotFound), 0);
}

#[test]
fn an_expansion_leaves_nothing_to_clean_up() {
    let mut play = Play::new().with_proxies(4).with_cluster(4);
    play.profile = Profile::Document;
    play.take(add(4));
    play.take(expand());
    play.commit_all();
    assert_eq!(play.info(), (8, 8, false));
}

#[test]
fn scenario_37_numbers_that_shrink_refuses_raise_the_epoch() {
    let mut play = Play::new().with_proxies(6).with_cluster(8);
    for node_number in [0, 8, 6, 12, u64::MAX] {
        play.step(shrink(node_number), Err(Rejection::InvalidNodeNumber), 1);
    }
    assert_eq!(play.epochs().1, 7);
}

#[test]
fn scenario_39_and_42_auto_drops_free_nodes_first() {
    let mut play = Play::new().with_proxies(6).with_cluster(4);
    play.take(add(4));
    play.step(auto(4), Ok(()), 1);
    assert_eq!(play.info().0, 4);
    play.take(add(4));
    play.step(auto(100), Err(Rejection::NoAvailableResource), 1);
    assert_eq!(play.info().0, 4);
    play.step(auto(4), Ok(()), 0);
    play.step(auto(6), Err(Rejection::InvalidNodeNumber), 0);
    play.step(auto(3), Err(Rejection::InvalidNodeNumber), 1);
    play.step(auto(0), Err(Rejection::InvalidNodeNumber), 1);
}

#[test]
fn scenario_40_auto_adds_then_expands() {
    let mut play = Play::new().with_proxies(6).with_cluster(4);
    let Reply::ScaleStarted { proxies, epoch } = play.take(auto(8)) else {
        panic!("nodes were added")
    };
    assert_eq!((proxies, epoch), (play.members(), 8));
    play.step(auto_expand(8), Ok(()), 1);
    assert!(play.info().2);
    play.step(auto_expand(8), Err(Rejection::NodeNumberChanging), 0);
}

#[test]
fn scenario_43_auto_shrinks_without_waiting() {
    let mut play = Play::new().with_proxies(4).with_cluster(8);
    assert_eq!(play.take(auto(4)), Reply::Done);
    assert_eq!(play.info(), (8, 6, true));
    assert_eq!(play.state.scale_lease, None);
}

#[test]
fn scenario_44_one_scaling_shuts_out_the_others() {
    let mut play = Play::new().with_proxies(8).with_cluster(4);
    play.take(create("d", 4));
    play.take(auto(8));
    let of_other = |action: Action| match action {
        Action::Expand { .. } => Action::Expand { name: "d".to_owned() },
        other => other,
    };
    for action in [add(4), add_up_to(8), delete_free(), expand(), of_other(expand()), shrink(4)] {
        play.step(action, Err(Rejection::NodeNumberChanging), 0);
    }
    play.step(auto(8), Err(Rejection::NodeNumberChanging), 0);
    let elsewhere = Action::Expand { name: "a.b".to_owned() };
    play.step(elsewhere, Err(Rejection::NodeNumberChanging), 0);
    play.step(balance(), Ok(()), 1);
    play.step(config(&[]), Ok(()), 1);
}

#[test]
fn a_lease_ends_by_time_by_its_holder_and_not_by_others() {
    let renew = |run: u8| Action::RenewScaleLease { run: [run; 16], lease_ms: 10_000 };
    let release = |run: u8| Action::ReleaseScaleLease { run: [run; 16] };
    let mut play = Play::new().with_proxies(8).with_cluster(4);
    play.take(auto(8));
    play.now_ms += 9_999;
    play.step(delete_free(), Err(Rejection::NodeNumberChanging), 0);
    play.step(renew(2), Err(Rejection::NodeNumberChanging), 0);
    play.step(release(2), Ok(()), 0);
    play.step(renew(1), Ok(()), 0);
    play.now_ms += 9_999;
    play.step(delete_free(), Err(Rejection::NodeNumberChanging), 0);
    let mut released = play.clone();
    released.step(release(1), Ok(()), 0);
    released.step(delete_free(), Ok(()), 1);
    play.now_ms += 1;
    play.step(renew(1), Err(Rejection::NodeNumberChanging), 0);
    play.step(auto_expand(8), Err(Rejection::NodeNumberChanging), 0);
    // Whoever comes next starts clean: the empty nodes go and come again.
    play.step(auto(8), Ok(()), 2);
}

#[test]
fn scenario_61_ordered_proxies_are_taken_in_order() {
    let proxy = |index: u64| register_at(&format!("p{index}:1"), "h", Some(index));
    let mut play = Play::ordered();
    play.step(register_at("p:1", "h", None), Err(Rejection::MissingServerProxyIndex), 0);
    for index in [5, 0, 2, 1, 3, 6] {
        play.take(proxy(index));
    }
    play.step(create("c", 16), Err(Rejection::NoAvailableResource), 0);
    play.step(create("c", 12), Err(Rejection::ProxyResourceOutOfOrder), 0);
    play.step(create("c", 8), Ok(()), 1);
    assert_eq!(play.members(), ["p0:1", "p1:1", "p2:1", "p3:1"]);
    play.step(create("bad.name", 4), Err(Rejection::OneClusterAlreadyExisted), 0);
    play.step(add(4), Err(Rejection::ProxyResourceOutOfOrder), 0);
    play.take(proxy(4));
    play.step(add(4), Ok(()), 1);
    assert_eq!(play.members()[4..], ["p4:1", "p5:1"]);
}

#[test]
fn scenario_74_another_limit_comes_with_new_epochs() {
    let mut play = expanding(1);
    let (global, _) = play.epochs();
    play.step(limit(1), Ok(()), 0);
    play.step(limit(0), Ok(()), 1);
    assert_eq!(play.epochs(), (global + 1, global + 1));
    assert_eq!(shown(&play).len(), 5);
    assert!(shown(&play).iter().all(|(_, epoch)| *epoch == 9), "tasks keep their epoch");
}

#[test]
fn every_number_of_chunks_grows_and_shrinks_to_an_even_share() {
    for (from, to) in [(1, 4), (2, 3), (3, 7), (5, 6)] {
        let mut play = Play::new().with_proxies(14).with_cluster(from * 4);
        let check = |play: &Play, chunks: u64| {
            for (master, ranges) in (0..).zip(play.stable().into_iter().flatten()) {
                assert_eq!(slots::size(&ranges), slots::even_share(chunks * 2, master));
            }
        };
        play.take(add_up_to(to * 4));
        play.take(expand());
        play.commit_all();
        check(&play, to);
        play.take(shrink(from * 4));
        play.commit_all();
        check(&play, from);
    }
}
