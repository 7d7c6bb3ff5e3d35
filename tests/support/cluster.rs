//! Three or five replicas as processes on loopback.

use std::time::{Duration, Instant};

use reqwest::{Client, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use super::process::Replica;

/// How long a state of affairs may take to come about before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster of replicas; everything ends with it.
pub struct Cluster {
    /// The replicas, in ascending order of id.
    pub replicas: Vec<Replica>,
    /// For questions that must not hang.
    pub client: Client,
    dir: Option<TempDir>,
}

impl Cluster {
    /// Starts `count` replicas with more flags for each, and waits until all are ready.
    pub async fn start(count: u64, flags: &[&str]) -> Self {
        let mut cluster = Self::prepare(count, flags);
        cluster.replicas.iter_mut().for_each(Replica::start);
        cluster.wait_all_ready().await;
        cluster
    }

    /// Describes `count` replicas without starting them.
    pub fn prepare(count: u64, flags: &[&str]) -> Self {
        Self::prepare_on(count, |_| "127.0.0.1".to_owned(), flags)
    }

    /// As [`Cluster::prepare`], each replica on an address of its own.
    pub fn prepare_on(count: u64, host: impl Fn(u64) -> String, flags: &[&str]) -> Self {
        Self::prepare_all(count, host, |replica| replica.peer_addr.clone(), flags)
    }

    /// As [`Cluster::prepare`], but the replicas reach each other at these peer addresses, where
    /// somebody passes everything on.
    pub fn prepare_through(count: u64, through: impl Fn(u64) -> String, flags: &[&str]) -> Self {
        let host = |_| "127.0.0.1".to_owned();
        let mut cluster = Self::prepare_all(count, host, |replica| through(replica.id), flags);
        for replica in &mut cluster.replicas {
            replica.add_args(&["--peer-listen", &replica.peer_addr.clone()]);
        }
        cluster
    }

    fn prepare_all(
        count: u64,
        host: impl Fn(u64) -> String,
        reached: impl Fn(&Replica) -> String,
        flags: &[&str],
    ) -> Self {
        let dir = TempDir::with_prefix("quorate-test-").expect("a directory");
        let mut replicas: Vec<Replica> =
            (1..=count).map(|id| Replica::on(&host(id), id, dir.path())).collect();
        let peers: Vec<String> = replicas
            .iter()
            .map(|replica| format!("{}={}/{}", replica.id, reached(replica), replica.url()))
            .collect();
        for replica in &mut replicas {
            let mut args: Vec<String> = [
                "--replica-id",
                &replica.id.to_string(),
                "--peers",
                &peers.join(","),
                "--listen",
                &replica.client_addr,
                "--data-dir",
                &replica.data_dir.display().to_string(),
            ]
            .map(ToOwned::to_owned)
            .to_vec();
            args.extend(flags.iter().map(|flag| (*flag).to_owned()));
            replica.set_args(args);
        }
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(5))
            .build()
            .expect("a client");
        Self { replicas, client, dir: Some(dir) }
    }

    /// Where the replicas keep their data and logs.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.as_ref().expect("the directory lives as long as the cluster").path()
    }

    /// Base URLs of all replicas.
    pub fn urls(&self) -> Vec<String> {
        self.replicas.iter().map(Replica::url).collect()
    }

    /// Starts a replica that joins the ones that are there, with these flags besides.
    pub fn join(&mut self, mut replica: Replica, flags: &[&str]) {
        let known: Vec<String> = self.replicas.iter().map(|one| one.peer_addr.clone()).collect();
        let data_dir = replica.data_dir.display().to_string();
        let args = [
            "--join",
            &known.join(","),
            "--peer-listen",
            &replica.peer_addr,
            "--listen",
            &replica.client_addr,
            "--data-dir",
            &data_dir,
        ];
        replica.set_args(args.iter().chain(flags).map(|arg| (*arg).to_owned()).collect());
        replica.start();
        self.replicas.push(replica);
    }

    /// The replica of an id.
    pub fn replica(&mut self, id: u64) -> &mut Replica {
        self.replicas.iter_mut().find(|replica| replica.id == id).expect("a known id")
    }

    /// Base URL of the replica of an id.
    pub fn url(&self, id: u64) -> String {
        self.replicas.iter().find(|replica| replica.id == id).expect("a known id").url()
    }

    /// Waits until every replica says it is ready.
    pub async fn wait_all_ready(&mut self) {
        let ids: Vec<u64> = self.replicas.iter().map(|replica| replica.id).collect();
        for id in ids {
            self.wait_ready(id).await;
        }
    }

    /// Waits until a replica says it is ready.
    pub async fn wait_ready(&mut self, id: u64) {
        let url = format!("{}/readyz", self.url(id));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.client.get(&url).send().await;
            if answer.is_ok_and(|response| response.status().is_success()) {
                return;
            }
            let status = self.replica(id).exit_status();
            if status.is_some() || Instant::now() > deadline {
                self.fail(&format!("replica {id} is not ready ({status:?})"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// JSON from a path of a replica, if it answers 200.
    pub async fn ask(&self, id: u64, path: &str) -> Option<Value> {
        let response: Response =
            self.client.get(format!("{}{path}", self.url(id))).send().await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        response.json().await.ok()
    }

    /// Status of a replica, if it answers.
    pub async fn status(&self, id: u64) -> Option<Value> {
        self.ask(id, "/quorate/v1/status").await
    }

    /// Waits until some running replica leads, and returns its id.
    pub async fn wait_leader(&self) -> u64 {
        self.wait_leader_other_than(0).await
    }

    /// Waits until a replica other than `id` leads.
    pub async fn wait_leader_other_than(&self, id: u64) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for replica in self.replicas.iter().filter(|replica| replica.id != id) {
                let status = self.status(replica.id).await;
                if status.is_some_and(|status| status["role"] == "leader") {
                    return replica.id;
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.fail("no replica leads")
    }

    /// A replica that does not lead.
    pub async fn wait_follower(&self) -> u64 {
        let leader = self.wait_leader().await;
        let follower = self.replicas.iter().find(|replica| replica.id != leader);
        follower.expect("more than one replica").id
    }

    /// Fails the test, and shows what the replicas printed last.
    pub fn fail(&self, what: &str) -> ! {
        for replica in &self.replicas {
            let output = replica.output();
            let lines: Vec<&str> = output.lines().collect();
            let tail = &lines[lines.len().saturating_sub(25)..];
            eprintln!("--- replica {} printed last:\n{}", replica.id, tail.join("\n"));
        }
        panic!("{what}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A failed test leaves its directory for a look.
        if std::thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            eprintln!("the replicas' data and logs stay in {}", dir.keep().display());
        }
    }
}
