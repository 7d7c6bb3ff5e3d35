//! A replica and its nodes, with TLS between them and a password that nobody else learns.

#![allow(clippy::unwrap_used)]

#[path = "support/kvrocks_node/mod.rs"]
mod kvrocks_node;
mod support;

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use kvrocks_node::{Node, Options};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use support::cluster::{Cluster, PATIENCE};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

const PASSWORD: &str = "correct horse battery staple";

/// Somebody who vouches for nodes; the certificate is in the directory as `ca.pem`.
fn authority(dir: &TempDir) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "nodes");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
    issuer
}

/// A port that takes TLS and passes everything on to a node; its address.
async fn front(authority: &CertifiedIssuer<'_, KeyPair>, node: &Node) -> String {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, behind) = (listener.local_addr().unwrap().to_string(), node.addr.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let Ok(mut outer) = acceptor.accept(stream).await else { return };
                let mut inner = TcpStream::connect(behind).await.unwrap();
                // Either side may end it in any way.
                let _ = copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    addr
}

async fn post(cluster: &Cluster, path: &str, body: &Value) -> (u16, String) {
    let url = format!("{}/api/v1{path}", cluster.urls()[0]);
    let response = cluster.client.post(url).json(body).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn nodes_are_asked_probed_and_pushed_to_in_tls() {
    let dir = TempDir::new().unwrap();
    let authority = authority(&dir);
    let options = Options { password: PASSWORD.to_owned(), ..Options::default() };
    let (mut nodes, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let node = Node::start(0, options.clone()).await.unwrap();
        addresses.push(front(&authority, &node).await);
        nodes.push(node);
    }
    let ca = dir.path().join("ca.pem").display().to_string();
    let loud = ["--log-level", "debug"];
    let tls = ["--kvrocks-node-tls", "--kvrocks-node-tls-ca", &ca];
    let mut cluster = Cluster::start(1, &[&loud[..], &tls].concat()).await;
    post(&cluster, "/namespaces", &json!({"namespace": "tls"})).await;
    let body = |password| json!({"name": "c", "nodes": addresses, "password": password});
    let clusters = "/namespaces/tls/clusters";
    let (status, text) = post(&cluster, clusters, &body("wrong")).await;
    assert_eq!(status, 500, "{text}");
    assert!(text.contains("Invalid password"), "{text}");
    assert!(!text.contains("wrong"), "{text}");
    let (status, text) = post(&cluster, clusters, &body(PASSWORD)).await;
    assert_eq!(status, 201, "{text}");
    let deadline = Instant::now() + PATIENCE;
    for node in &nodes {
        while !node.heard().iter().any(|words| words.starts_with("CLUSTERX SETNODES")) {
            assert!(Instant::now() < deadline, "nothing was pushed: {:?}", node.log());
            sleep(Duration::from_millis(20)).await;
        }
    }
    let log = cluster.replica(1).output();
    assert!(log.contains("topology pushed"), "the log is as loud as it should be");
    assert!(!log.contains(PASSWORD), "passwords are not logged");
}

#[tokio::test]
async fn nodes_that_want_tls_do_not_understand_anything_else() {
    let dir = TempDir::new().unwrap();
    let authority = authority(&dir);
    let node = Node::start(0, Options::default()).await.unwrap();
    let addr = front(&authority, &node).await;
    let cluster = Cluster::start(1, &[]).await;
    post(&cluster, "/namespaces", &json!({"namespace": "plain"})).await;
    let body = json!({"name": "c", "nodes": [addr]});
    let (status, text) = post(&cluster, "/namespaces/plain/clusters", &body).await;
    assert_eq!(status, 500, "{text}");
    assert!(text.contains(&addr), "{text}");
    assert_eq!(node.log(), [], "not a word reached it");
}
