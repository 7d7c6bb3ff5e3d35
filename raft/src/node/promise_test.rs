//! Promises that a busy cluster rarely puts to the test: the situation is made by hand.

#![allow(clippy::unwrap_used)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::post};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use openraft::raft::AppendEntriesRequest;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Node, ReadError, ReadMode, Timers,
    storage::wire::leader,
    testing::{
        harness::{Cluster, put, soon},
        register::Registers,
    },
    transport::{
        Credentials,
        connect::Connector,
        header, route,
        server::{Door, Entrance, serve},
        wire::{ReadIndexAnswer, encode, encode_append},
    },
    types::{TypeConfig, Vote},
};

/// It may have given away a position of the log that followers hold otherwise than it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_back_before_an_election_does_not_lead_on_in_its_term() {
    let mut cluster = Cluster::started_with(3, |config| {
        config.timers =
            Timers { heartbeat_ms: 100, election_min_ms: 1_500, election_max_ms: 2_000 };
    })
    .await;
    let leader = cluster.leader().await;
    let before = put(cluster.node(leader), "a", 1).await.unwrap();
    cluster.take(leader).abort().await;
    cluster.start(leader).await;
    let after = put(cluster.node(leader), "a", 2).await.unwrap();
    assert!(after.term > before.term, "it led on in term {}", before.term);
    cluster.stop().await;
}

/// A leader may answer with an index that this follower has not even heard of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_linearizable_read_waits_until_its_index_is_applied() {
    let mut cluster = Cluster::started_with(3, |config| {
        config.timers =
            Timers { heartbeat_ms: 100, election_min_ms: 3_000, election_max_ms: 4_000 };
    })
    .await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let written = put(cluster.node(leader), "a", 1).await.unwrap();
    cluster.all_applied(written.index).await;
    let credentials = cluster.node(leader).core.credentials.clone();
    for other in (1..=3).filter(|id| *id != follower) {
        cluster.take(other).abort().await;
    }
    let index = Arc::new(AtomicU64::new(written.index));
    let told = index.clone();
    let answer = move || {
        let answer = ReadIndexAnswer { index: told.load(Ordering::SeqCst) };
        async move { encode(&answer).unwrap() }
    };
    let app = Router::new().route(route::READ_INDEX, post(answer));
    let listener = TcpListener::from_std(cluster.listener(leader)).unwrap();
    let door = Door { credentials, tls: None };
    let entrance = Entrance::Bound(listener);
    tokio::spawn(serve(entrance, app, door, CancellationToken::new(), TaskTracker::new()));
    let node = cluster.node(follower);
    let read = || node.read(ReadMode::Linearizable, Instant::now() + Duration::from_secs(1));
    assert_eq!(read().await.unwrap().get("a"), Some(1));
    index.store(written.index + 1, Ordering::SeqCst);
    let refused = read().await.map(|view| view.index);
    let reason = "the read index is not applied here";
    assert!(
        matches!(refused, Err(ReadError::Timeout { reason: why }) if why == reason),
        "{refused:?}"
    );
    cluster.stop().await;
}

/// A follower that stood still finds messages in its buffers when it goes on. They say how things
/// were when they were sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_lay_in_a_buffer_does_not_make_a_state_current() {
    let mut cluster = Cluster::started(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let written = put(cluster.node(leader), "a", 1).await.unwrap();
    cluster.all_applied(written.index).await;
    let credentials = cluster.node(leader).core.credentials.clone();
    for other in (1..=3).filter(|id| *id != follower) {
        cluster.take(other).abort().await;
    }
    let node = cluster.node(follower);
    let sender = Sender { node, credentials, vote: (written.term, leader) };
    let sent_at = node.core.contact.moment();
    let buffered = Duration::from_millis(600);
    tokio::time::sleep(buffered).await;
    let within = ReadMode::Local { staleness_max: Some(buffered / 2), min_index: 0 };
    sender.heartbeat(sent_at).await;
    let read = node.read(within, soon()).await;
    assert!(matches!(read, Err(ReadError::Stale { .. })), "{:?}", read.map(|view| view.age_ms));
    let within = ReadMode::Local { staleness_max: Some(Duration::from_secs(20)), min_index: 0 };
    sender.heartbeat(node.core.contact.moment()).await;
    let view = node.read(within, soon()).await.unwrap();
    assert!(view.age_ms < 20_000 && view.get("a") == Some(1), "{} ms", view.age_ms);
    cluster.stop().await;
}

/// Speaks to a replica as its leader.
struct Sender<'a> {
    node: &'a Node<Registers>,
    credentials: Arc<Credentials>,
    vote: (u64, u64),
}

impl Sender<'_> {
    /// A heartbeat of a leader that a quorum confirms, which hands back a moment.
    async fn heartbeat(&self, moment: u64) {
        let applied = self.node.latest().state.applied().copied();
        let (term, id) = self.vote;
        let request = AppendEntriesRequest::<TypeConfig> {
            vote: Vote { leader_id: leader(term, id), committed: true },
            prev_log_id: applied,
            entries: Vec::new(),
            leader_commit: applied,
        };
        let body = Full::new(encode_append(&request).unwrap().body);
        let url = format!("http://{}{}", self.node.peer_addr(), route::APPEND);
        let mut request = hyper::Request::post(url).body(body).unwrap();
        *request.headers_mut() = self.credentials.headers(self.node.core.credentials.here());
        request.headers_mut().insert(header::CONFIRMED_MS, 0_u64.into());
        request.headers_mut().insert(header::MOMENT, moment.into());
        let connector = Connector::new(self.credentials.clone(), None);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        assert_eq!(client.request(request).await.unwrap().status(), 200);
    }
}
