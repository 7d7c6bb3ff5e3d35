//! A gateway as a process of its own, and listeners that are worse than no replica at all.

use std::{
    fs::File,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::{
    cluster::PATIENCE,
    process::{PROGRAM, free_port},
};

/// A gateway; ends with the test.
pub struct Gateway {
    /// Where clients connect, `127.0.0.1:port`.
    pub address: String,
    /// Where it tells of itself.
    pub desk: String,
    child: Child,
    dir: TempDir,
}

impl Gateway {
    /// Starts a gateway over endpoints, and waits until it serves.
    pub async fn start(endpoints: &[String], flags: &[&str]) -> Self {
        let gateway = Self::launch(endpoints, flags);
        gateway.wait(|report| report["is_serving"] == true).await;
        gateway
    }

    /// As [`Gateway::start`], without waiting for more than its ports.
    pub async fn start_alone(endpoints: &[String], flags: &[&str]) -> Self {
        let gateway = Self::launch(endpoints, flags);
        gateway.wait(|_| true).await;
        gateway
    }

    fn launch(endpoints: &[String], flags: &[&str]) -> Self {
        let dir = TempDir::with_prefix("quorate-gateway-").expect("a directory");
        let [address, desk] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
        let log = File::create(dir.path().join("log")).expect("a log file");
        let child = Command::new(PROGRAM)
            .args(["gateway", "--listen", &address, "--admin-listen", &desk])
            .args(["--endpoints", &endpoints.join(",")])
            .args(flags)
            .env_clear()
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().expect("a log file")))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("the program starts");
        Self { address, desk, child, dir }
    }

    /// Base URL for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the gateway tells of itself.
    pub async fn report(&self) -> Option<Value> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2));
        let url = format!("http://{}/gateway/healthz", self.desk);
        client.build().expect("a client").get(url).send().await.ok()?.json().await.ok()
    }

    /// One of the gateway's metrics, over all labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let url = format!("http://{}/metrics", self.desk);
        let text = reqwest::get(url).await.expect("an answer").text().await.expect("text");
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until the report says something.
    pub async fn wait(&self, holds: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut last = Value::Null;
        while Instant::now() < deadline {
            last = self.report().await.unwrap_or_default();
            if !last.is_null() && holds(&last) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("the gateway does not say so: {last}\n{}", self.output());
    }

    /// The endpoint in use.
    pub async fn in_use(&self) -> String {
        let report = self.report().await.expect("a report");
        report["in_use"].as_str().expect("an endpoint is in use").to_owned()
    }

    /// What the gateway has printed so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid fits"));
        kill(pid, signal).expect("the process takes signals");
    }

    /// Waits until the process has ended by itself.
    pub async fn wait_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("the process can be asked") {
                return Some(status);
            }
            sleep(Duration::from_millis(10)).await;
        }
        None
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the gateway printed:\n{}", self.output());
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Accepts connections and never answers.
pub async fn half_open() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    address
}

/// Stands before a replica and passes everything on, but breaks off the answers to some changes:
/// the replica has done them, and the client does not learn it.
pub struct Thief {
    /// Where it listens.
    pub address: String,
    steals: Arc<AtomicUsize>,
}

impl Thief {
    /// Stands before a replica.
    pub async fn before(replica: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let steals = Arc::new(AtomicUsize::new(0));
        let (replica, budget) = (replica.to_owned(), steals.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, replica.clone(), budget.clone()));
            }
        });
        Self { address, steals }
    }

    /// From now on the answers to the next `count` changes are stolen.
    pub fn steal(&self, count: usize) {
        self.steals.store(count, Ordering::SeqCst);
    }

    /// How many are still to be stolen.
    pub fn left(&self) -> usize {
        self.steals.load(Ordering::SeqCst)
    }
}

async fn pass(mut client: TcpStream, replica: String, steals: Arc<AtomicUsize>) {
    let Ok(mut server) = TcpStream::connect(replica).await else { return };
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut is_change = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                is_change = !up.starts_with(b"GET ");
                if server.write_all(&up[..count]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                let take = |left: usize| left.checked_sub(1);
                if is_change && steals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
                    return;
                }
                if client.write_all(&down[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
