//! A replica that goes wrong: what is sent to it is changed on its way.
//!
//! A flipped bit would be found by the entry's checksum, so a name is changed into another one with
//! the same one. Nothing in the program helps; the entry decodes, and the replica applies another
//! command than the others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    time::sleep,
};

use super::{
    cluster::{Cluster, PATIENCE},
    process::free_port,
};

/// What the relay changes, and into what: two texts with the same CRC-32C.
pub const NAME: &[u8] = b"collides-jm068bls5";
pub const CHANGED: &[u8] = b"collides-78b6u26mr";

/// Passes on what is sent to a replica, and changes the name in it while it is bad.
pub struct Relay {
    pub is_bad: Arc<AtomicBool>,
    pub flips: Arc<AtomicU64>,
}

impl Relay {
    async fn start(listen: &str, to: &str, is_bad: bool) -> Self {
        let (is_bad, flips) = (Arc::new(AtomicBool::new(is_bad)), Arc::new(AtomicU64::new(0)));
        let listener = TcpListener::bind(listen).await.unwrap();
        let (to, bad, count) = (to.to_owned(), is_bad.clone(), flips.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&to).await else { continue };
                drop((near.set_nodelay(true), far.set_nodelay(true)));
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(pass(near_read, far_write, Some((bad.clone(), count.clone()))));
                tokio::spawn(pass(far_read, near_write, None));
            }
        });
        Self { is_bad, flips }
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    flips: Option<(Arc<AtomicBool>, Arc<AtomicU64>)>,
) {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut chunk).await.unwrap_or(0);
        if read == 0 {
            break;
        }
        if let Some((is_bad, flips)) = &flips
            && is_bad.load(Ordering::SeqCst)
        {
            let found = chunk[..read].windows(NAME.len()).position(|part| part == NAME);
            if let Some(at) = found {
                chunk[at..at + NAME.len()].copy_from_slice(CHANGED);
                flips.fetch_add(1, Ordering::SeqCst);
            }
        }
        if to.write_all(&chunk[..read]).await.is_err() {
            break;
        }
    }
    drop(to.shutdown().await);
}

/// Three replicas; what is sent to the third one is spoiled on its way.
pub async fn spoiled(intervals_ms: [u64; 3]) -> (Cluster, Relay) {
    let ports: Vec<String> = (0..3).map(|_| format!("127.0.0.1:{}", free_port())).collect();
    let through = |id: u64| ports[usize::try_from(id - 1).unwrap()].clone();
    let mut cluster = Cluster::prepare_through(3, through, &[]);
    let mut last = None;
    for (replica, interval_ms) in cluster.replicas.iter_mut().zip(intervals_ms) {
        replica.add_args(&["--digest-interval-ms", &interval_ms.to_string()]);
        last = Some(Relay::start(&through(replica.id), &replica.peer_addr, replica.id == 3).await);
        replica.start();
    }
    cluster.wait_all_ready().await;
    (cluster, last.unwrap())
}

/// Adds a namespace through a replica.
pub async fn add_namespace(cluster: &Cluster, id: u64, name: &str) -> StatusCode {
    let url = format!("{}/api/v1/namespaces", cluster.url(id));
    let body = json!({ "namespace": name });
    cluster.client.post(url).json(&body).send().await.unwrap().status()
}

/// Has the spoiled replica take in an entry that the others do not have.
pub async fn go_wrong(cluster: &Cluster, relay: &Relay) {
    let name = String::from_utf8(NAME.to_vec()).unwrap();
    assert_eq!(add_namespace(cluster, 1, &name).await, StatusCode::CREATED);
    let deadline = Instant::now() + PATIENCE;
    while relay.flips.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "nothing was changed on its way");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a replica is found out; since when.
pub async fn wait_quarantine(cluster: &Cluster, id: u64, since: Instant) -> Duration {
    loop {
        let status = cluster.status(id).await.unwrap_or_default();
        if status["agreement"]["quarantine"].is_object() {
            return since.elapsed();
        }
        if since.elapsed() > PATIENCE {
            cluster.fail(&format!("replica {id} was not found out: {status}"));
        }
        sleep(Duration::from_millis(10)).await;
    }
}
