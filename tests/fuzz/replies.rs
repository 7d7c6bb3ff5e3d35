//! What nodes and proxies answer, over a real connection, and the texts in it.

use std::{sync::OnceLock, time::Duration};

use quorate::{
    client::{
        node_call::{NodeAccess, NodeCall, NodeError, Password},
        node_pool::NodePool,
        proxy::{ProxyClient, RespProxyClient},
    },
    domain::kvrocks::nodes_text,
    observe::kvrocks::info::{ClusterInfo, Replication},
};
use tokio::{io::AsyncWriteExt, net::TcpListener, runtime::Runtime};

use super::bounded;

/// Nothing here takes longer.
const TIME: Duration = Duration::from_secs(5);

pub fn take(input: &[u8]) {
    texts(&String::from_utf8_lossy(input));
    runtime().block_on(answers(input));
}

fn texts(text: &str) {
    bounded(text.len(), || {
        let _ = (ClusterInfo::parse(text), Replication::parse(text));
        if let Ok(topology) = nodes_text::parse(text) {
            let lines = text.lines().count();
            let nodes = topology.shards.iter().map(|shard| 1 + shard.replicas.len());
            assert!(nodes.sum::<usize>() <= lines, "more nodes than lines");
        }
    });
}

async fn answers(input: &[u8]) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address").to_string();
    let answer = input.to_vec();
    let serving = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            // The client may have seen enough.
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    });
    let node = NodeAccess { addr: &addr, password: Password::Readable("") };
    let pool = NodePool::default();
    match pool.call(node, &["CLUSTER", "INFO"], TIME).await {
        // A byte that is no UTF-8 becomes a character of three.
        Ok(text) => assert!(text.len() <= 3 * input.len(), "more text than was sent"),
        Err(NodeError::Timeout { .. }) => panic!("the answer was whole and no answer was found"),
        Err(error) => assert!(!error.to_string().is_empty() || input.starts_with(b"-")),
    }
    if let Ok(epoch) = RespProxyClient.epoch(&addr).await {
        let sent = String::from_utf8_lossy(input);
        let said = sent.trim_start_matches(':').trim_start_matches(['+', '0']);
        assert!(said.starts_with(&epoch.to_string()) || epoch == 0, "{epoch} of {sent:?}");
    }
    serving.abort();
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().expect("a runtime")
    })
}
