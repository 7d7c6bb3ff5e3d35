//! What is accepted, what is refused, and that the refusal names the option.

use super::*;

fn judged(change: impl FnOnce(&mut Layer)) -> Result<Config, ConfigError> {
    let mut layer = Layer::defaults();
    change(&mut layer);
    judge(layer, &mut Vec::new())
}

fn refused(part: &str, change: impl FnOnce(&mut Layer)) {
    let error = judged(change).expect_err(part).to_string();
    assert!(error.contains(part), "{error} does not say {part}");
}

fn list(items: &[&str]) -> Option<Vec<String>> {
    Some(items.iter().map(|&item| item.to_owned()).collect())
}

#[test]
fn without_peers_a_replica_is_a_cluster_of_its_own() {
    let config = judged(|_| ()).unwrap();
    assert_eq!(config.replica_id, 1);
    assert_eq!(config.peers.len(), 1);
    assert_eq!(config.peers[0].client_url, "http://127.0.0.1:7799");
    assert_eq!(config.peer_listen, "127.0.0.1:7800");
    assert_eq!(config.read_staleness_max, Some(Duration::from_secs(2)));
    assert_eq!(config.seed, Seed::default());
    assert!(config.import.is_none());
}

#[test]
fn peers_have_an_id_an_address_and_perhaps_an_url() {
    let config = judged(|layer| {
        layer.peers =
            list(&["1=127.0.0.1:7800/http://127.0.0.1:7799", "2=localhost:7810", "3=[::1]:1"]);
        layer.replica_id = Some(2);
    })
    .unwrap();
    assert_eq!(config.peer_listen, "localhost:7810");
    assert_eq!(config.peers[0].client_url, "http://127.0.0.1:7799");
    assert_eq!(config.peers[2].peer_addr, "[::1]:1");
    for bad in ["127.0.0.1:7800", "x=a:1", "0=a:1", "1=a", "1=a:b", "1=:5", "1=a:1/ftp://x"] {
        refused("peer", |layer| layer.peers = list(&[bad]));
    }
    refused("twice", |layer| layer.peers = list(&["1=127.0.0.1:1", "1=127.0.0.1:2"]));
    refused("replica_id", |layer| layer.peers = list(&["1=127.0.0.1:1", "2=127.0.0.1:2"]));
    refused("replica_id 9", |layer| {
        layer.peers = list(&["1=127.0.0.1:1"]);
        layer.replica_id = Some(9);
    });
}

#[test]
fn beyond_loopback_the_token_must_be_a_secret() {
    refused("cluster_token", |layer| layer.peers = list(&["1=10.0.0.1:7800"]));
    refused("cluster_token", |layer| layer.peer_listen = Some("0.0.0.0:7800".to_owned()));
    let config = judged(|layer| {
        layer.peers = list(&["1=10.0.0.1:7800"]);
        layer.cluster_token = Some("b7e1".to_owned());
    });
    assert!(!format!("{:?}", config.unwrap()).contains("b7e1"));
}

#[test]
fn a_listener_may_have_a_profile_of_its_own() {
    let config = judged(|layer| layer.listen = list(&["a:1", "b:2?undermoon=program"])).unwrap();
    assert_eq!(config.listeners[0].undermoon_profile, ProfileName::Document);
    assert_eq!(config.listeners[1].undermoon_profile, ProfileName::Program);
    assert_eq!(config.listeners[1].address, "b:2");
    for bad in ["", "a", "a:x", "a:70000", "a:1?undermoon=draft"] {
        refused("listen", |layer| layer.listen = list(&[bad]));
    }
    refused("listen", |layer| layer.listen = list(&[]));
}

#[test]
fn an_id_comes_from_the_host_name_of_a_pod() {
    for (name, id) in
        [("quorate-0", Some(1)), ("a-b-12", Some(13)), ("quorate", None), ("a-", None)]
    {
        assert_eq!(super::id_of_host(name).ok(), id, "{name}");
    }
    assert!(super::id_of_host("a-18446744073709551615").is_err());
}

#[test]
fn certificates_for_docker_come_together() {
    assert_eq!(judged(|_| {}).unwrap().docker_tls, None);
    refused("need each other", |layer| layer.pool_docker_tls_ca = Some("ca.pem".into()));
    let config = judged(|layer| {
        layer.pool_docker_tls_ca = Some("ca.pem".into());
        layer.pool_docker_tls_cert = Some("cert.pem".into());
        layer.pool_docker_tls_key = Some("key.pem".into());
    });
    let files = config.unwrap().docker_tls.unwrap();
    assert_eq!(files.key, std::path::PathBuf::from("key.pem"));
}

#[test]
fn a_listener_may_serve_a_part_of_the_pool() {
    let listen = ["a:1", "b:2?pool=users&undermoon=program", "c:3?pool=operators", "d:4?pool=none"];
    let config = judged(|layer| layer.listen = list(&listen)).unwrap();
    let doors: Vec<_> = config.listeners.iter().map(|listener| listener.pool_doors).collect();
    let expected = [DoorsName::All, DoorsName::Users, DoorsName::Operators, DoorsName::None];
    assert_eq!(doors, expected);
    assert_eq!(config.listeners[1].undermoon_profile, ProfileName::Program);
    refused("pool=all|users", |layer| layer.listen = list(&["a:1?pool=some"]));
}

#[test]
fn bounds_are_above_zero_and_timers_in_order() {
    refused("connections_max", |layer| layer.connections_max = Some(0));
    refused("migration_scan_count", |layer| layer.migration_scan_count = Some(0));
    refused("election", |layer| layer.election_min_ms = Some(5_000));
    refused("heartbeat", |layer| layer.heartbeat_ms = Some(200));
    let config = judged(|layer| layer.read_staleness_max_ms = Some(0)).unwrap();
    assert_eq!(config.read_staleness_max, None);
}

#[test]
fn an_even_number_of_replicas_is_worth_a_warning() {
    let mut layer = Layer::defaults();
    layer.peers = list(&["1=127.0.0.1:1", "2=127.0.0.1:2"]);
    layer.replica_id = Some(1);
    let mut warnings = Vec::new();
    judge(layer, &mut warnings).unwrap();
    assert_eq!(warnings.len(), 1);
}

#[test]
fn tls_to_nodes_is_off_or_has_what_it_needs() {
    assert_eq!(judged(|_| {}).unwrap().node_tls, None);
    refused("needs kvrocks_node_tls_ca", |layer| layer.kvrocks_node_tls = Some(true));
    refused("need each other", |layer| {
        layer.kvrocks_node_tls = Some(true);
        layer.kvrocks_node_tls_ca = Some("ca.pem".into());
        layer.kvrocks_node_tls_key = Some("key.pem".into());
    });
    let config = judged(|layer| {
        layer.kvrocks_node_tls = Some(true);
        layer.kvrocks_node_tls_ca = Some("ca.pem".into());
        layer.kvrocks_node_tls_cert = Some("cert.pem".into());
        layer.kvrocks_node_tls_key = Some("key.pem".into());
        layer.kvrocks_node_tls_server_name = Some("nodes".to_owned());
    });
    let expected = TlsFiles {
        authorities: "ca.pem".into(),
        identity: Some(("cert.pem".into(), "key.pem".into())),
        server_name: Some("nodes".to_owned()),
    };
    assert_eq!(config.unwrap().node_tls, Some(expected));
    let mut warnings = Vec::new();
    let mut layer = Layer::defaults();
    layer.kvrocks_node_tls_ca = Some("ca.pem".into());
    assert_eq!(judge(layer, &mut warnings).unwrap().node_tls, None);
    assert_eq!(warnings, ["kvrocks_node_tls is off, so its files and name mean nothing"]);
}
