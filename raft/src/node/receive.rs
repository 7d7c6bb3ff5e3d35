//! Takes a snapshot from the leader: into a file, checked, then handed to the core.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{
    body::{Body, BodyDataStream},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use metrics::counter;
use tokio::{sync::oneshot, time::timeout};

use super::{core::Core, peer_api::Reject};
use crate::{
    Machine,
    metrics::SNAPSHOTS_RECEIVED_TOTAL,
    rt,
    storage::{SnapshotFile, machine_store::Snapshot, wire::damaged},
    transport::{
        SNAPSHOT_STALL,
        network::SNAPSHOT_ANSWER_BEGINS,
        status::{BUSY, FAILED, MALFORMED, STOPPED},
        wire::{self, SnapshotAnswer, SnapshotHead},
    },
};

/// While the snapshot is being installed, the sender is told that often that it is.
const STILL_AT_WORK: Duration = Duration::from_secs(1);
/// Most bytes of the head of a snapshot.
const HEAD_BYTES_MAX: usize = 1024 * 1024;

/// Receives a snapshot.
pub(crate) async fn snapshot<M: Machine>(
    State(core): State<Arc<Core<M>>>,
    request: Request,
) -> Result<Response, Reject> {
    let caller = core.admit(&request)?;
    let _alone = core
        .receiving
        .try_acquire()
        .map_err(|_| Reject::new(BUSY, "another snapshot is being received"))?;
    let mut body = Incoming::new(request.into_body());
    let head = body.head().await.map_err(|error| Reject::new(MALFORMED, error))?;
    tracing::info!(from = caller.from.id, bytes = head.bytes, "receiving a snapshot");
    let received = receive(&core, body, &head).await;
    let outcome = if received.is_ok() { "received" } else { "failed" };
    counter!(SNAPSHOTS_RECEIVED_TOTAL, "outcome" => outcome).increment(1);
    let file = received.map_err(|error| {
        tracing::warn!(from = caller.from.id, %error, "a snapshot was not received");
        Reject::new(FAILED, error)
    })?;
    let (vote, meta) = head.vote_and_meta().map_err(|error| Reject::new(MALFORMED, error))?;
    let (done, installed) = oneshot::channel();
    let raft = core.raft.clone();
    let snapshot = Snapshot { meta, snapshot: file };
    // Its own task: an installation that has begun goes on when the sender goes away.
    rt::track(&core.tasks, async move {
        let answer = match raft.install_full_snapshot(vote, snapshot).await {
            Ok(response) => SnapshotAnswer::done(&response.vote),
            Err(error) => SnapshotAnswer::Failed(error.to_string()),
        };
        drop(done.send(answer));
    });
    Ok(Body::from_stream(answer_parts(installed)).into_response())
}

async fn receive<M: Machine>(
    core: &Core<M>,
    mut body: Incoming,
    head: &SnapshotHead,
) -> io::Result<SnapshotFile> {
    let snapshots = core.disk.load_full().map(|disk| disk.snapshots.clone());
    let snapshots = snapshots.ok_or_else(|| io::Error::other(format!("stopping ({STOPPED})")))?;
    let mut file = snapshots.receive().await?;
    while let Some(chunk) = body.next().await? {
        if file.bytes() + chunk.len() as u64 > head.bytes {
            return Err(damaged("more bytes arrived than the snapshot has"));
        }
        file.write(chunk).await?;
    }
    file.finish(head.bytes, head.digest).await
}

/// Zeros while the installation goes on, then the answer.
fn answer_parts(
    installed: oneshot::Receiver<SnapshotAnswer>,
) -> impl stream::Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(Some(installed), |installed| async move {
        let mut installed = installed?;
        let Ok(answer) = timeout(STILL_AT_WORK, &mut installed).await else {
            return Some((Ok(Bytes::from_static(&[0])), Some(installed)));
        };
        let answer =
            answer.unwrap_or_else(|_| SnapshotAnswer::Failed("the receiver stopped".to_owned()));
        // An answer that does not encode is no answer; the sender tries again.
        let mut part = vec![SNAPSHOT_ANSWER_BEGINS];
        part.extend_from_slice(&wire::encode(&answer).unwrap_or_default());
        Some((Ok(Bytes::from(part)), None))
    })
}

/// A body that ends when nothing arrives for too long.
struct Incoming {
    chunks: BodyDataStream,
    rest: BytesMut,
}

impl Incoming {
    fn new(body: Body) -> Self {
        Self { chunks: body.into_data_stream(), rest: BytesMut::new() }
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if !self.rest.is_empty() {
            return Ok(Some(self.rest.split().freeze()));
        }
        match timeout(SNAPSHOT_STALL, self.chunks.next()).await {
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            Ok(None) => Ok(None),
            Ok(Some(chunk)) => chunk.map(Some).map_err(io::Error::other),
        }
    }

    async fn take(&mut self, bytes: usize) -> io::Result<BytesMut> {
        let mut taken = BytesMut::new();
        while taken.len() < bytes {
            let chunk = self.next().await?;
            taken.extend_from_slice(&chunk.ok_or_else(|| damaged("the snapshot is cut off"))?);
        }
        self.rest = taken.split_off(bytes);
        Ok(taken)
    }

    /// What precedes the bytes of the snapshot.
    async fn head(&mut self) -> io::Result<SnapshotHead> {
        let length = self.take(4).await?;
        let length: [u8; 4] = length[..].try_into().map_err(|_| damaged("no length"))?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > HEAD_BYTES_MAX {
            return Err(damaged(format!("the head of a snapshot claims {length} bytes")));
        }
        wire::decode(&self.take(length).await?)
    }
}
