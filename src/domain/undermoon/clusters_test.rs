//! Scenarios of proxies, clusters and their nodes.

use super::{
    Action, Profile, Rejection, Reply,
    config::CompressionStrategy,
    play_test::{
        Play, add, add_up_to, balance, config, create, delete, delete_free, expand, fail_over,
        register, remove, report,
    },
    query,
    reject::ConfigFault,
    settings::SettingsChange,
    view::NodeRole,
};

#[test]
fn scenario_1_to_3_an_address_has_one_colon_and_names_the_host() {
    let mut play = Play::new();
    for address in ["nohost", "a:b:c"] {
        play.step(register(address, "h"), Err(Rejection::InvalidProxyAddress), 0);
    }
    let nodes = ["n1".to_owned(), "n2".to_owned()];
    let address = "10.0.0.1:6000".to_owned();
    let action = Action::RegisterProxy { address, nodes, host: None, index: Some(7) };
    play.step(action, Ok(()), 1);
    let proxy = &play.state.proxies["10.0.0.1:6000"];
    assert_eq!((proxy.host.as_str(), proxy.index), ("10.0.0.1", 0));
    let view = query::proxy(&play.state, "10.0.0.1:6000").expect("registered");
    assert_eq!((view.epoch, view.cluster_name, view.nodes.len()), (1, None, 2));
}

#[test]
fn scenario_4_to_6_registering_again_only_heals() {
    let mut play = Play::new().with_proxies(1);
    play.step(register("p1:1", "other"), Err(Rejection::AlreadyExisted), 0);
    assert_eq!(play.state.proxies["p1:1"].host, "h1");
    play.step(report("p1:1", "r"), Ok(()), 1);
    assert!(play.free().is_empty());
    play.step(register("p1:1", "h1"), Err(Rejection::AlreadyExisted), 1);
    assert!(play.state.failures.is_empty());
    assert_eq!(play.take(fail_over("p1:1")), Reply::FailedOver(None));
    assert_eq!(play.state.global_epoch, 3);
    assert_eq!(query::failed_proxies(&play.state), ["p1:1"]);
    play.step(register("p1:1", "h1"), Err(Rejection::AlreadyExisted), 1);
    assert_eq!(play.free(), ["p1:1"]);
}

#[test]
fn scenario_7_a_proxy_in_use_stays() {
    let mut play = Play::new().with_proxies(6).with_cluster(4);
    let (member, free) = (play.members()[0].clone(), play.free()[0].clone());
    play.step(remove("p9:1"), Err(Rejection::ProxyNotFound), 0);
    play.step(remove(&member), Err(Rejection::InUse), 0);
    play.step(report(&free, "r"), Ok(()), 1);
    play.step(remove(&free), Ok(()), 1);
    assert!(play.state.failures.is_empty());
    assert_eq!(query::proxy(&play.state, &free), None);
}

#[test]
fn scenario_8_a_new_cluster_stands_on_two_hosts_with_halves_of_the_slots() {
    let play = Play::new().with_proxies(6).with_cluster(4);
    assert_eq!(play.epochs(), (7, 7));
    let chunk = &play.chunks()[0];
    assert_ne!(chunk.hosts[0], chunk.hosts[1]);
    let view = query::cluster(&play.state, "c").expect("created");
    let shown: Vec<_> = view
        .nodes
        .iter()
        .map(|node| (node.role, node.slots.first().map(|range| range.range_list.clone())))
        .collect();
    let (master, replica) = (NodeRole::Master, (NodeRole::Replica, None));
    let low = (master, Some(vec![(0, 8191)]));
    let high = (master, Some(vec![(8192, 16383)]));
    assert_eq!(shown, [low, replica.clone(), high, replica]);
}

#[test]
fn scenario_9_to_12_what_create_refuses_and_in_which_order() {
    let mut play = Play::new().with_proxies(6);
    for node_number in [0, 3, 6] {
        play.step(create("c", node_number), Err(Rejection::InvalidNodeNumber), 0);
    }
    play.step(create("c", 16), Err(Rejection::NoAvailableResource), 0);
    play.step(create("a@b-_", 4), Ok(()), 1);
    play.step(create("a@b-_", 3), Err(Rejection::AlreadyExisted), 0);
    play.step(create("a.b", 4), Err(Rejection::InvalidClusterName), 0);
    play.step(create(&"n".repeat(32), 4), Err(Rejection::InvalidClusterName), 0);
    play.profile = Profile::Document;
    play.step(create(&"n".repeat(31), 4), Err(Rejection::InvalidClusterName), 0);
    play.profile = Profile::Program;
    play.step(create(&"n".repeat(31), 4), Ok(()), 1);
}

#[test]
fn scenario_13_and_14_no_host_gives_more_than_half() {
    let mut play = Play::new();
    for number in 1..=5 {
        play.take(register(&format!("a{number}:1"), "h1"));
    }
    play.step(create("c", 4), Err(Rejection::NoAvailableResource), 0);
    play.take(register("b1:1", "h2"));
    play.step(create("c", 8), Err(Rejection::NoAvailableResource), 0);
    play.step(create("c", 4), Ok(()), 1);
    play.step(create("d", 4), Err(Rejection::NoAvailableResource), 0);
}

#[test]
fn scenario_15_one_report_is_enough_to_be_left_out() {
    let mut play = Play::new().with_proxies(4);
    play.take(Action::ChangeSettings(SettingsChange {
        failure_quorum: Some(9),
        ..SettingsChange::default()
    }));
    play.take(report("p2:1", "r"));
    play.step(create("c", 8), Err(Rejection::NoAvailableResource), 0);
    play.step(create("c", 4), Ok(()), 1);
    assert!(!play.members().contains(&"p2:1".to_owned()));
}

#[test]
fn scenario_16_chunks_spread_over_the_hosts() {
    let mut play = Play::new();
    for host in 1..=11 {
        for port in 1..=3 {
            play.take(register(&format!("h{host}:{port}"), &format!("h{host}")));
        }
    }
    let hosts_of = |play: &Play, name: &str| {
        let chunks = &play.state.clusters[name].chunks;
        let mut hosts: Vec<String> = chunks.iter().flat_map(|chunk| chunk.hosts.clone()).collect();
        hosts.sort();
        hosts
    };
    play.take(create("c", 20));
    let first = hosts_of(&play, "c");
    let mut distinct = first.clone();
    distinct.dedup();
    assert_eq!((first.len(), distinct.len()), (10, 10));
    play.take(create("d", 4));
    let mut all = [first, hosts_of(&play, "d")].concat();
    all.sort();
    let most = all.chunk_by(|one, other| one == other).map(<[String]>::len).max();
    all.dedup();
    assert_eq!((all.len(), most), (11, Some(2)));
}

#[test]
fn hosts_that_share_no_chunk_yet_are_paired_first() {
    let mut play = Play::new();
    for (address, host) in [("a:1", "a"), ("b:1", "b"), ("a:2", "a"), ("b:2", "b"), ("c:1", "c")] {
        play.take(register(address, host));
    }
    play.take(create("x", 4));
    assert_eq!(play.state.clusters["x"].proxy_addresses(), ["a:1", "b:1"]);
    play.take(register("c:2", "c"));
    play.take(create("y", 4));
    // `c` has most, and no chunk with either of the others; `a` comes before `b`.
    assert_eq!(play.state.clusters["y"].proxy_addresses(), ["c:1", "a:2"]);
}

/// Two replicas pick the same: nothing in a choice depends on where a map happens to keep things.
#[test]
fn the_same_commands_pick_the_same_proxies_every_time() {
    let picked = || {
        let play = Play::new().with_proxies(16).with_cluster(16);
        let chunks = &play.state.clusters["c"].chunks;
        chunks.iter().map(|chunk| chunk.proxy_addresses.clone()).collect::<Vec<_>>()
    };
    let first = picked();
    assert_eq!(first.len(), 4);
    for _ in 0..20 {
        assert_eq!(picked(), first);
    }
}

#[test]
fn scenario_18_a_cluster_keeps_the_defaults_of_its_creation() {
    let mut play = Play::new().with_proxies(6).with_cluster(4);
    let mut defaults = query::settings(&play.state).cluster_config;
    defaults.migration_config.scan_count = 7;
    let change = SettingsChange { cluster_config: Some(defaults), ..SettingsChange::default() };
    play.step(Action::ChangeSettings(change), Ok(()), 0);
    play.take(create("d", 4));
    let scan_count = |name: &str| play.state.clusters[name].config.migration_config.scan_count;
    assert_eq!((scan_count("c"), scan_count("d")), (16, 7));
}

#[test]
fn scenario_19_and_20_unknown_names_and_pages() {
    let play = Play::new().with_proxies(25);
    assert_eq!(query::cluster(&play.state, "c"), None);
    assert_eq!(query::cluster_info(&play.state, "c"), None);
    assert_eq!(query::proxy(&play.state, "p99:1"), None);
    let pages: Vec<Vec<String>> = [0, 10, 20, 30]
        .map(|offset| query::proxy_addresses(&play.state, offset, Some(10)))
        .into_iter()
        .collect();
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5, 0]);
    assert_eq!(pages.concat(), query::proxy_addresses(&play.state, 0, None));
    assert!(query::proxy_addresses(&play.state, 0, Some(0)).is_empty());
    assert!(query::cluster_names(&play.state, u64::MAX, None).is_empty());
}

#[test]
fn scenario_22_to_26_nodes_come_and_go() {
    let mut play = Play::new().with_proxies(6).with_cluster(4);
    play.take(register("p7:1", "h7"));
    let epoch = |play: &Play, address: &str| query::proxy(&play.state, address).map(|p| p.epoch);
    assert_eq!(epoch(&play, "p7:1"), Some(8));
    assert_eq!(epoch(&play, &play.members()[0]), Some(7));
    for (node_number, refusal) in [
        (2, Rejection::InvalidNodeNumber),
        (0, Rejection::InvalidNodeNumber),
        (40, Rejection::NoAvailableResource),
    ] {
        play.step(add(node_number), Err(refusal), 0);
    }
    play.step(delete_free(), Err(Rejection::FreeNodeNotFound), 0);
    play.step(add_up_to(4), Err(Rejection::NodeNumAlreadyEnough), 0);
    play.step(add_up_to(6), Err(Rejection::InvalidNodeNumber), 0);
    let Reply::NodesAdded(nodes) = play.take(add_up_to(8)) else { panic!("nodes were added") };
    assert_eq!(nodes.len(), 4);
    assert!(nodes.iter().all(|node| node.slots.is_empty()));
    assert_eq!((play.epochs(), play.info()), ((9, 9), (8, 4, false)));
    let added = play.members()[2].clone();
    play.step(delete_free(), Ok(()), 1);
    assert_eq!((play.epochs(), play.info()), ((10, 10), (4, 4, false)));
    assert_eq!(epoch(&play, &added), Some(10));
    assert!(play.free().contains(&added));
}

#[test]
fn scenario_34_and_35_what_a_running_migration_forbids() {
    let mut play = Play::new().with_proxies(6).with_cluster(4);
    play.take(add(4));
    play.take(expand());
    play.step(add(4), Err(Rejection::MigrationRunning), 0);
    play.step(add_up_to(12), Err(Rejection::MigrationRunning), 0);
    play.step(delete_free(), Err(Rejection::MigrationRunning), 0);
    play.step(config(&[]), Err(Rejection::MigrationRunning), 0);
    play.step(balance(), Ok(()), 1);
    play.step(delete(), Ok(()), 1);
    assert_eq!(play.free().len(), 6);
    assert!(play.state.links.is_empty());
    play.step(delete(), Err(Rejection::ClusterNotFound), 0);
}

#[test]
fn scenario_45_and_46_configuration_is_all_or_nothing() {
    let mut play = Play::new().with_proxies(6).with_cluster(4);
    let refused = |field: &str, value: &str, reason: ConfigFault| {
        Err(Rejection::InvalidConfig { field: field.into(), value: value.into(), reason })
    };
    play.step(config(&[]), Ok(()), 1);
    play.step(config(&[("x", "y")]), refused("x", "y", ConfigFault::FieldNotFound), 0);
    for (field, value) in [
        ("migration_scan_count", "0"),
        ("migration_scan_count", "-1"),
        ("migration_scan_interval", "18446744073709551616"),
        ("compression_strategy", "some"),
    ] {
        let before = play.state.clusters["c"].config;
        let pairs = [("compression_strategy", "allow_all"), (field, value)];
        play.step(config(&pairs), refused(field, value, ConfigFault::InvalidValue), 0);
        assert_eq!(play.state.clusters["c"].config, before);
    }
    play.step(config(&[("Compression_Strategy", "ALLOW_ALL")]), Ok(()), 1);
    let config = play.state.clusters["c"].config;
    assert_eq!(config.compression_strategy, CompressionStrategy::AllowAll);
}
