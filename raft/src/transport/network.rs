//! The network as the consensus library sees it.
//!
//! Its deadlines are this crate's own: those the library passes along are as short as a heartbeat
//! on every path, and would end each larger append or snapshot before it is done.

use std::{
    fs::File,
    future::Future,
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use openraft::{
    OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};

use super::{
    CallError, Line, Name, Peers, SNAPSHOT_STALL, Target,
    client::Request,
    header, route,
    wire::{
        self, AppendAnswer, SnapshotAnswer, SnapshotHead, TransferAnswer, TransferAsk, VoteAnswer,
        VoteAsk,
    },
};
use crate::{
    ReplicaId, Timers, rt,
    storage::{SnapshotFile, machine_store::Snapshot},
    types::{Peer, TypeConfig, Vote},
};

/// Read from a snapshot file at once.
const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;
/// A single large entry may move that slowly, over the wire and onto the disk.
const SLOWEST_BYTES_PER_SECOND: usize = 4 * 1024 * 1024;
/// How often a transfer is checked for progress.
const STALL_CHECK: Duration = Duration::from_millis(250);
/// First byte of the last part of the answer to a snapshot; zeros before it mean that the receiver
/// is still at work.
pub(crate) const SNAPSHOT_ANSWER_BEGINS: u8 = 1;

/// Makes connections for the consensus library.
pub(crate) struct NetworkFactory {
    peers: Arc<Peers>,
    here: ReplicaId,
    timers: Timers,
}

impl NetworkFactory {
    /// Connections of a replica.
    pub(crate) fn new(peers: Arc<Peers>, here: ReplicaId, timers: Timers) -> Self {
        Self { peers, here, timers }
    }

    /// Connections to one replica, for one use.
    pub(crate) fn connect(&self, line: Line, id: ReplicaId, peer: &Peer) -> Network {
        let name = Name { id, incarnation: peer.incarnation };
        Network {
            target: ArcSwap::from_pointee(self.peers.target(name, &peer.peer_addr)),
            peers: self.peers.clone(),
            here: self.here,
            timers: self.timers,
            line,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: ReplicaId, node: &Peer) -> Network {
        self.connect(Line::Log, target, node)
    }

    async fn new_heartbeat_client(&mut self, target: ReplicaId, node: &Peer) -> Network {
        self.connect(Line::Heartbeat, target, node)
    }

    async fn new_snapshot_client(&mut self, target: ReplicaId, node: &Peer) -> Network {
        self.connect(Line::Snapshot, target, node)
    }
}

/// Connections to one replica, for one use.
pub(crate) struct Network {
    peers: Arc<Peers>,
    target: ArcSwap<Target>,
    here: ReplicaId,
    timers: Timers,
    line: Line,
}

impl Network {
    /// The replica, where it is now.
    fn target(&self) -> Arc<Target> {
        let target = self.target.load_full();
        let Some(moved) = self.peers.moved(&target) else {
            return target;
        };
        let moved = Arc::new(moved);
        self.target.store(moved.clone());
        moved
    }

    /// How long an append may take: long enough for a large one on a slow disk.
    fn append_patience(&self, option: &RPCOption, bytes: usize) -> Duration {
        if self.line == Line::Heartbeat {
            return option.soft_ttl();
        }
        let large = u32::try_from(bytes / SLOWEST_BYTES_PER_SECOND).unwrap_or(u32::MAX);
        Duration::from_millis(1000.max(4 * self.timers.election_max_ms))
            + Duration::from_secs(1) * large
    }

    fn vote_patience(&self) -> Duration {
        Duration::from_millis(self.timers.election_min_ms)
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        request: Request,
        patience: Duration,
        action: RPCTypes,
    ) -> Result<T, RPCError<TypeConfig>> {
        let answer = self.peers.call(self.line, &self.target(), request, patience).await;
        let answer = answer.map_err(|error| self.failed(&error, action))?;
        wire::decode(&answer).map_err(|error| RPCError::Network(NetworkError::new(&error)))
    }

    fn failed(&self, error: &CallError, action: RPCTypes) -> RPCError<TypeConfig> {
        match error {
            CallError::Timeout(timeout) => RPCError::Timeout(Timeout {
                action,
                id: self.here,
                target: self.target.load().name.id,
                timeout: *timeout,
            }),
            error if error.is_unreachable() => RPCError::Unreachable(Unreachable::new(error)),
            error => RPCError::Network(NetworkError::new(error)),
        }
    }

    /// Sends the snapshot and waits until it is installed; ends when nothing moves for too long.
    pub(crate) async fn transmit(
        &self,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        // A file that cannot be read is not fatal for the leader: it may just have been replaced by
        // a newer snapshot, and the next attempt takes that one.
        let lost = |error: io::Error| StreamingError::Network(NetworkError::new(&error));
        let head = SnapshotHead::of(&vote, &snapshot.meta, &snapshot.snapshot).map_err(lost)?;
        let head = wire::encode(&head).map_err(lost)?;
        let path = snapshot.snapshot.path.clone();
        let file = rt::blocking(move || File::open(path)).await.and_then(|opened| opened);
        let file = file.map_err(lost)?;
        let moved = Arc::new(AtomicU64::new(0));
        let exchange = self.exchange_snapshot(head, file, moved.clone());
        let answer = tokio::select! {
            biased;
            answer = exchange => answer,
            () = stalled(&moved) => Err(CallError::Timeout(SNAPSHOT_STALL)),
        };
        let answer = answer.map_err(|error| self.failed(&error, RPCTypes::InstallSnapshot))?;
        let answer: SnapshotAnswer = wire::decode(&answer)
            .map_err(|error| StreamingError::Network(NetworkError::new(&error)))?;
        let vote = answer
            .vote()
            .map_err(|reason| StreamingError::Network(NetworkError::from_string(reason)))?;
        Ok(SnapshotResponse::new(vote))
    }

    async fn exchange_snapshot(
        &self,
        head: Bytes,
        file: File,
        moved: Arc<AtomicU64>,
    ) -> Result<Bytes, CallError> {
        let length = u32::try_from(head.len())
            .map_err(|_| CallError::Broken("the head of the snapshot is too large".to_owned()))?;
        let front = [Bytes::copy_from_slice(&length.to_le_bytes()), head].map(Ok::<_, io::Error>);
        let sent = moved.clone();
        let chunks = chunks_of(file).inspect(move |_| {
            sent.fetch_add(1, Ordering::Relaxed);
        });
        let request = Request::streamed(route::SNAPSHOT, stream::iter(front).chain(chunks));
        let response = self.peers.send(self.line, &self.target(), request).await?;
        let mut parts = response.into_body().into_data_stream();
        let mut answer: Option<Vec<u8>> = None;
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| CallError::Broken(super::client::chain(&error)))?;
            moved.fetch_add(1, Ordering::Relaxed);
            match (&mut answer, part.iter().position(|byte| *byte == SNAPSHOT_ANSWER_BEGINS)) {
                (Some(answer), _) => answer.extend_from_slice(&part),
                (None, Some(at)) => answer = Some(part[at + 1..].to_vec()),
                (None, None) => {}
            }
        }
        answer
            .map(Bytes::from)
            .ok_or_else(|| CallError::Broken("the receiver went away".to_owned()))
    }
}

/// What a file holds, read as it is asked for.
fn chunks_of(file: File) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold(file, |mut file| async move {
        let read = move || {
            let mut chunk = BytesMut::zeroed(SNAPSHOT_CHUNK_BYTES);
            let bytes = file.read(&mut chunk)?;
            chunk.truncate(bytes);
            Ok((bytes > 0).then(|| (chunk.freeze(), file)))
        };
        rt::blocking(read).await?
    })
}

/// Resolves when a counter has not moved for too long.
async fn stalled(moved: &AtomicU64) {
    let mut seen = moved.load(Ordering::Relaxed);
    let mut since = tokio::time::Instant::now();
    while since.elapsed() < SNAPSHOT_STALL {
        tokio::time::sleep(STALL_CHECK).await;
        let now = moved.load(Ordering::Relaxed);
        if now != seen {
            seen = now;
            since = tokio::time::Instant::now();
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let append = wire::encode_append(&rpc)
            .map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
        let patience = self.append_patience(&option, append.body.len());
        let request = Request::new(route::APPEND, append.body)
            .with(header::ENTRIES, u64::from(append.entries));
        let request = self.peers.dated(self.target().name.id, request);
        let answer: AppendAnswer = self.ask(request, patience, RPCTypes::AppendEntries).await?;
        Ok(match (answer.response(), append.cut_after) {
            (AppendEntriesResponse::Success, Some(last)) => {
                AppendEntriesResponse::PartialSuccess(Some(last))
            }
            (response, _) => response,
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(route::VOTE, &rpc).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(route::PRE_VOTE, &rpc).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = self.transmit(vote, snapshot) => answer,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let body = wire::encode(&TransferAsk::of(&request))
            .map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
        let request = Request::new(route::TRANSFER, body);
        let answer: TransferAnswer =
            self.ask(request, self.vote_patience(), RPCTypes::TransferLeader).await?;
        match answer {
            TransferAnswer::Done => Ok(Ok(())),
            TransferAnswer::Refused(reason) => {
                Err(RPCError::Network(NetworkError::from_string(reason)))
            }
        }
    }
}

impl Network {
    async fn ask_vote(
        &self,
        route: &'static str,
        rpc: &VoteRequest<TypeConfig>,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let body = wire::encode(&VoteAsk::of(rpc))
            .map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
        let request = Request::new(route, body);
        let answer: VoteAnswer = self.ask(request, self.vote_patience(), RPCTypes::Vote).await?;
        Ok(answer.response())
    }
}
