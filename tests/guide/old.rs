//! What people come from: undermoon's memory broker as far as a migration meets it, and a real etcd
//! with what kvrocks-controller keeps there.

#![allow(clippy::unwrap_used, unreachable_pub)]

use std::{
    io::Write,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::sleep,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

use super::walk::programs;

/// How long etcd may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

type Document = Arc<Mutex<Value>>;

/// A memory broker that keeps a document.
pub struct MemoryBroker {
    document: Document,
    server: JoinHandle<()>,
}

impl MemoryBroker {
    /// Serves a document at a port of this machine.
    pub async fn start(port: u16, document: Value) -> Self {
        let document = Arc::new(Mutex::new(document));
        let router = Router::new()
            .route("/api/v3/metadata", get(metadata).put(restore))
            .route("/api/v3/epoch", get(epoch))
            .with_state(Arc::clone(&document));
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let server = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { document, server }
    }

    /// What it has now.
    pub fn document(&self) -> Value {
        self.document.lock().unwrap().clone()
    }
}

impl Drop for MemoryBroker {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Compressed for everybody, as by the original.
async fn metadata(State(document): State<Document>) -> Response {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(document.lock().unwrap().to_string().as_bytes()).unwrap();
    let head = [(header::CONTENT_TYPE, "application/json"), (header::CONTENT_ENCODING, "gzip")];
    (head, encoder.finish().unwrap()).into_response()
}

async fn epoch(State(document): State<Document>) -> Json<Value> {
    Json(document.lock().unwrap()["global_epoch"].clone())
}

/// Takes what has its version and is not older, and looks at nothing else.
async fn restore(State(document): State<Document>, body: Bytes) -> Response {
    let given: Value = serde_json::from_slice(&body).unwrap();
    let mut document = document.lock().unwrap();
    let refuse =
        |code: &str| (StatusCode::CONFLICT, Json(json!({ "error": code }))).into_response();
    if given["version"] != document["version"] {
        return refuse("INVALID_META_VERSION");
    }
    if given["global_epoch"].as_u64() < document["global_epoch"].as_u64() {
        return refuse("EPOCH_SMALLER_THAN_CURRENT");
    }
    *document = given;
    StatusCode::OK.into_response()
}

/// An etcd that ends with the value.
pub struct Etcd {
    server: Child,
    endpoint: String,
    _dir: TempDir,
}

impl Etcd {
    /// Starts etcd at a port of this machine, and another for peers that it does not have.
    pub fn start(port: u16, peer_port: u16) -> Self {
        let dir = TempDir::with_prefix("quorate-etcd-").unwrap();
        let endpoint = format!("127.0.0.1:{port}");
        let (clients, peers) =
            (format!("http://{endpoint}"), format!("http://127.0.0.1:{peer_port}"));
        let mut command = Command::new("etcd");
        command.env("PATH", programs()).arg("--data-dir").arg(dir.path());
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command.spawn().unwrap_or_else(|error| {
            panic!("etcd: {error}: run scripts/setup test, or install etcd-server and etcd-client")
        });
        Self { server, endpoint, _dir: dir }
    }

    /// Sets a key, as soon as etcd answers.
    pub fn put(&self, key: &str, value: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut command = Command::new("etcdctl");
            command.env("PATH", programs()).env("ETCDCTL_API", "3");
            let output = command.args(["--endpoints", &self.endpoint, "put", key, value]).output();
            let output = output.unwrap_or_else(|error| {
                panic!("etcdctl: {error}: run scripts/setup test, or install etcd-client")
            });
            if output.status.success() {
                return;
            }
            assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&output.stderr));
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}
