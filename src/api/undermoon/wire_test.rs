//! The two shapes of nodes and proxies, member by member, and the bodies of requests.

use super::*;
use crate::domain::undermoon::{config::ClusterConfig, view::ReplPeerView};

const CONFIG: &str = r#"{"compression_strategy":"disabled","migration_config":{"max_migration_time":10800,"max_blocking_time":10000,"scan_interval":500,"scan_count":16}}"#;

fn node(cluster: Option<&str>, slots: Vec<SlotRangeView>) -> NodeView {
    let peer = |_| ReplPeerView { node_address: "n9".to_owned(), proxy_address: "q:1".to_owned() };
    NodeView {
        cluster_name: cluster.map(ToOwned::to_owned),
        address: "n1".to_owned(),
        proxy_address: "p:1".to_owned(),
        slots,
        role: NodeRole::Master,
        repl_peers: cluster.map(peer).into_iter().collect(),
    }
}

fn importing() -> SlotRangeView {
    SlotRangeView {
        range_list: vec![(0, 5), (9, 9)],
        tag: TagView::Importing(MigrationView {
            epoch: 9,
            src_proxy_address: "a".to_owned(),
            src_node_address: "b".to_owned(),
            dst_proxy_address: "c".to_owned(),
            dst_node_address: "d".to_owned(),
        }),
    }
}

fn member() -> ProxyView {
    let stable = SlotRangeView { range_list: vec![(10, 20)], tag: TagView::None };
    ProxyView {
        cluster_name: Some("c".to_owned()),
        address: "p:1".to_owned(),
        epoch: 13,
        nodes: vec![node(Some("c"), vec![stable])],
        peers: vec![ProxyPeerView { proxy_address: "q:1".to_owned(), slots: vec![importing()] }],
        config: Some(ClusterConfig::default()),
    }
}

fn free() -> ProxyView {
    let free = node(None, Vec::new());
    let (cluster_name, peers, config) = (None, Vec::new(), None);
    ProxyView {
        cluster_name,
        address: "p:1".to_owned(),
        epoch: 13,
        nodes: vec![free],
        peers,
        config,
    }
}

fn check(generation: Generation, view: &ProxyView, expected: &str) {
    let found = serde_json::to_string(&ProxyAnswer::new(generation, Some(view))).unwrap();
    assert_eq!(found, expected.replace("CONFIG", CONFIG));
}

#[test]
fn a_member_proxy_in_both_generations() {
    let repl = r#""repl":{"role":"master","peers":[{"node_address":"n9","proxy_address":"q:1"}]}"#;
    let slots = r#""slots":[{"range_list":[[10,20]],"tag":"None"}]"#;
    let moving = r#""slots":[{"range_list":[[0,5],[9,9]],"tag":{"Importing":{"epoch":9,"src_proxy_address":"a","src_node_address":"b","dst_proxy_address":"c","dst_node_address":"d"}}}]"#;
    let v3 = format!(
        r#"{{"proxy":{{"cluster_name":"c","address":"p:1","epoch":13,"nodes":[{{"address":"n1","proxy_address":"p:1",{slots},{repl}}}],"peers":[{{"proxy_address":"q:1",{moving}}}],"cluster_config":CONFIG}}}}"#
    );
    check(Generation::V3, &member(), &v3);
    let v2 = format!(
        r#"{{"proxy":{{"address":"p:1","epoch":13,"nodes":[{{"address":"n1","proxy_address":"p:1","cluster_name":"c",{slots},{repl}}}],"free_nodes":[],"peers":[{{"proxy_address":"q:1","cluster_name":"c",{moving}}}],"clusters_config":{{"c":CONFIG}}}}}}"#
    );
    check(Generation::V2, &member(), &v2);
}

#[test]
fn a_free_proxy_in_both_generations() {
    let v3 = r#"{"proxy":{"cluster_name":null,"address":"p:1","epoch":13,"nodes":[{"address":"n1","proxy_address":"p:1","slots":[],"repl":{"role":"master","peers":[]}}],"peers":[],"cluster_config":null}}"#;
    check(Generation::V3, &free(), v3);
    let v2 = r#"{"proxy":{"address":"p:1","epoch":13,"nodes":[],"free_nodes":["n1"],"peers":[],"clusters_config":{}}}"#;
    check(Generation::V2, &free(), v2);
    let none = serde_json::to_string(&ProxyAnswer::new(Generation::V2, None)).unwrap();
    assert_eq!(none, r#"{"proxy":null}"#);
}

#[test]
fn a_cluster_keeps_the_order_of_members() {
    let view = ClusterView {
        name: "c".to_owned(),
        epoch: 4,
        nodes: Vec::new(),
        config: ClusterConfig::default(),
    };
    let found = serde_json::to_string(&ClusterAnswer::new(Generation::V3, Some(&view))).unwrap();
    let expected = r#"{"cluster":{"name":"c","epoch":4,"nodes":[],"config":CONFIG}}"#;
    assert_eq!(found, expected.replace("CONFIG", CONFIG));
}

#[test]
fn a_commit_counts_by_its_epoch_alone() {
    let task = r#"{"epoch":9,"src_proxy_address":"","src_node_address":"","dst_proxy_address":"","dst_node_address":""}"#;
    for (tag, expected) in [
        (format!(r#"{{"Migrating":{task}}}"#), Some(9)),
        (format!(r#"{{"Importing":{task}}}"#), Some(9)),
        (r#""None""#.to_owned(), None),
    ] {
        let body =
            format!(r#"{{"cluster_name":"c","slot_range":{{"range_list":[[0,1]],"tag":{tag}}}}}"#);
        let commit: CommitMigration = serde_json::from_str(&body).unwrap();
        let Action::CommitMigration { range_list, epoch, .. } = commit.into() else {
            unreachable!("a commit becomes a commit")
        };
        assert_eq!((range_list, epoch), (vec![(0, 1)], expected));
    }
}
