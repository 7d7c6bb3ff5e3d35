//! Disks and replicas that do not belong here.

#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HeaderMap;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use crate::{
    Node, ProposeError, ReadError, ReadMode, Role, StartError,
    storage::identity::{Identity, cluster_of},
    testing::{
        harness::{Cluster, PATIENCE, current, local, put, soon},
        register::Registers,
    },
    transport::{Credentials, Name, client::chain, connect::Connector, route},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_command_line_later_is_a_start_and_not_a_founding() {
    let mut cluster = Cluster::started(3).await;
    put(cluster.node(1), "a", 1).await.unwrap();
    let id = cluster.node(1).status().cluster_id;
    for replica in 1..=3 {
        cluster.take(replica).abort().await;
    }
    cluster.start_all().await;
    cluster.all_ready().await;
    assert_eq!(current(cluster.node(1)).await.get("a"), Some(1));
    assert_eq!(cluster.node(1).status().cluster_id, id);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_founded_before_every_replica_answers() {
    let mut cluster = Cluster::new(3);
    cluster.start(1).await;
    cluster.start(2).await;
    // Several rounds of hellos.
    tokio::time::sleep(Duration::from_millis(600)).await;
    for id in [1, 2] {
        let status = cluster.node(id).status();
        assert_eq!((status.leader, status.peers.len(), status.is_ready), (None, 0, false));
    }
    cluster.start(3).await;
    cluster.all_ready().await;
    put(cluster.node(3), "a", 1).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_of_another_replica_or_cluster_is_refused() {
    let mut cluster = Cluster::started(3).await;
    cluster.take(2).abort().await;
    cluster.take(3).abort().await;
    let mut config = cluster.config(2);
    config.data_dir = cluster.data_dir(3);
    let refused = cluster.try_start(config).await.unwrap_err();
    assert!(matches!(refused, StartError::Foreign { .. }), "{refused}");
    let mut config = cluster.config(3);
    "another token".clone_into(&mut config.cluster_token);
    let refused = cluster.try_start(config).await.unwrap_err();
    assert!(matches!(refused, StartError::Foreign { .. }), "{refused}");
    cluster.start(3).await;
    cluster.all_ready().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_in_use_is_refused() {
    let cluster = Cluster::started(1).await;
    let mut config = cluster.config(1);
    config.peer_listen = "127.0.0.1:0".to_owned();
    let refused = Node::start(config, Registers::default()).await.unwrap_err();
    assert!(matches!(refused, StartError::Locked(_)), "{refused}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_another_token_is_kept_out() {
    let mut cluster = Cluster::new(3);
    cluster.start(1).await;
    cluster.start(2).await;
    let mut config = cluster.config(3);
    "another token".clone_into(&mut config.cluster_token);
    cluster.try_start(config).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    for (_, node) in cluster.nodes() {
        assert_eq!(node.status().peers.len(), 0, "nobody founds a cluster with a stranger");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_disk_under_a_known_id_neither_starts_nor_votes() {
    let mut cluster = Cluster::started(3).await;
    let wiped = cluster.follower().await;
    cluster.take(wiped).abort().await;
    std::fs::remove_dir_all(cluster.data_dir(wiped)).unwrap();
    let refused = cluster.try_start(cluster.config(wiped)).await.unwrap_err();
    assert!(matches!(refused, StartError::DiskReplaced { id } if id == wiped), "{refused}");
    // The others go on.
    let leader = cluster.leader().await;
    put(cluster.node(leader), "a", 1).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_disk_that_starts_alone_ends_when_it_meets_the_others() {
    let mut cluster = Cluster::started(3).await;
    put(cluster.node(1), "a", 1).await.unwrap();
    for id in 1..=3 {
        cluster.take(id).abort().await;
    }
    // The founder, of all replicas, comes back with an empty disk, and finds nobody.
    std::fs::remove_dir_all(cluster.data_dir(1)).unwrap();
    cluster.start(1).await;
    cluster.start(2).await;
    let message = timeout(PATIENCE, cluster.node(1).fatal()).await.unwrap();
    assert!(message.contains("replica 1 with another disk"), "{message}");
    // One replica of three that remembers: its forgetful peer must not help it to a quorum.
    let wait = Instant::now() + Duration::from_secs(3);
    while Instant::now() < wait {
        assert_eq!(cluster.node(2).watch_leadership().borrow().leader.filter(|id| *id == 2), None);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.take(1).abort().await;
    cluster.start(3).await;
    timeout(PATIENCE, cluster.node(3).wait_ready()).await.unwrap();
    assert_eq!(current(cluster.node(3)).await.get("a"), Some(1));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_contradicts_itself_is_refused() {
    let cluster = Cluster::new(3);
    let check = |change: fn(&mut crate::Config)| {
        let mut config = cluster.config(1);
        change(&mut config);
        async move {
            let refused = Node::start(config, Registers::default()).await.unwrap_err();
            assert!(matches!(refused, StartError::Config(_)), "{refused}");
        }
    };
    check(|config| config.replica_id = 9).await;
    check(|config| config.peers[1].id = 1).await;
    check(|config| config.peers[1].peer_addr = config.peers[0].peer_addr.clone()).await;
    check(|config| config.cluster_token.clear()).await;
    check(|config| config.timers.heartbeat_ms = 900).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peer_port_refuses_strangers_on_every_route() {
    let cluster = Cluster::started(1).await;
    let node = cluster.node(1);
    let identity =
        Identity { cluster: cluster_of("a token for tests"), replica_id: 2, incarnation: [2; 16] };
    let credentials = Credentials::new(&identity, "a token for tests");
    let replaced = credentials.headers(Name { id: 1, incarnation: [9; 16] });
    let unaddressed = credentials.headers(Name { id: 1, incarnation: [0; 16] });
    let connector = Connector::new(Arc::new(credentials), None);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let term = node.status().term;
    for path in [
        route::APPEND,
        route::VOTE,
        route::PRE_VOTE,
        route::SNAPSHOT,
        route::TRANSFER,
        route::PROPOSE,
        route::READ_INDEX,
        route::HELLO,
    ] {
        let url = format!("http://{}{path}", node.peer_addr());
        for headers in [HeaderMap::new(), replaced.clone(), unaddressed.clone()] {
            let is_hello = path == route::HELLO && headers == unaddressed;
            let mut request = hyper::Request::post(&url).body(Full::<Bytes>::from("x")).unwrap();
            *request.headers_mut() = headers;
            let sent = client.request(request).await.unwrap();
            assert_eq!(sent.status() == 403, !is_hello, "{path} {}", sent.status());
        }
    }
    assert_eq!(node.status().term, term);
    assert_eq!(put(node, "a", 1).await.unwrap().term, term);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peer_port_answers_nothing_before_the_token_is_proven() {
    let cluster = Cluster::started(1).await;
    let peer_addr = cluster.node(1).peer_addr();
    let mut stream = tokio::net::TcpStream::connect(peer_addr).await.unwrap();
    let request = format!("POST {} HTTP/1.1\r\nhost: x\r\n\r\n", route::HELLO);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut told = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut told)).await.unwrap().unwrap();
    assert!(told.starts_with("HTTP/1.1 403 "), "{told}");
    assert!(told.contains("this port is for replicas"), "{told}");
    let identity =
        Identity { cluster: cluster_of("a token for tests"), replica_id: 2, incarnation: [2; 16] };
    let stranger = Credentials::new(&identity, "another token");
    let headers = stranger.headers(Name { id: 1, incarnation: [0; 16] });
    let client =
        Client::builder(TokioExecutor::new()).build(Connector::new(Arc::new(stranger), None));
    let mut request = hyper::Request::post(format!("http://{peer_addr}{}", route::HELLO))
        .body(Full::<Bytes>::from(""))
        .unwrap();
    *request.headers_mut() = headers;
    let refused = client.request(request).await.unwrap_err();
    assert!(refused.is_connect(), "{refused:?}");
    assert!(chain(&refused).contains("check that the tokens are equal"), "{refused:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failure_of_the_disk_nothing_is_served_any_more() {
    let mut cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    let node = cluster.take(leader);
    node.core.fatal.raise("the disk is gone");
    assert_eq!(timeout(PATIENCE, node.fatal()).await.unwrap(), "the disk is gone");
    let refused = put(&node, "a", 1).await.unwrap_err();
    assert!(matches!(refused, ProposeError::NotAccepted { .. }), "{refused}");
    for mode in [local(), ReadMode::Linearizable] {
        assert!(matches!(node.read(mode, soon()).await, Err(ReadError::NotReady)));
    }
    let status = node.status();
    assert_eq!((status.role, status.is_ready), (Role::Shutdown, false));
    // Its peers get no answer from it either, and go on without it once the program has exited.
    node.abort().await;
    let survivor = cluster.nodes().next().unwrap().1.clone();
    put(&survivor, "a", 2).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_that_ends_by_itself_is_fatal() {
    let mut cluster = Cluster::started(1).await;
    let node = cluster.take(1);
    node.core.raft.shutdown().await.unwrap();
    let message = timeout(PATIENCE, node.fatal()).await.unwrap();
    assert!(message.contains("the raft core stopped"), "{message}");
    assert!(!node.watch_leadership().borrow().is_leader_here);
    node.abort().await;
}
