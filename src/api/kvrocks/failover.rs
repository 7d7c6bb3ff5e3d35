//! `POST …/shards/S/failover` (spec 3.5): the nodes are asked, the new master is chosen, the choice
//! is proposed. A graceful one first stops writes at the old master until the new one has them all.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    body::Body,
    error::Failure,
    handle::{Answer, Ask, encode, shard_of, unexpected},
    probe, rehearse, wire,
};
use crate::{
    broker::{RequestId, View},
    client::node_call::{NodeCall, NodeError},
    domain::kvrocks::{
        Command, Rejection, Reply,
        candidate::{self, Candidate, Choice, Judgement, Wish},
        command::{ClusterKey, FailOver},
        model::{Cluster, FailoverCause, NODE_ID_LEN, Node},
        query,
    },
};

/// Most time for a node to answer one question.
const ASK_TIME: Duration = Duration::from_millis(1_500);
/// Time for the proposal that follows.
const PROPOSE_TIME: Duration = Duration::from_secs(3);
/// Pause between two questions how far the new master is.
const SYNC_PAUSE: Duration = Duration::from_millis(10);
/// Longest pause of writes that may be asked for, milliseconds.
const PAUSE_MS_MAX: i64 = 60_000;
const PAUSE_MS: i64 = 500;
const SYNC_MS: i64 = 100;

/// What the body asks for.
struct Request {
    preferred: Option<String>,
    graceful: Option<Graceful>,
}

/// Writes stop for `pause` at most, while the new master gets `sync` to have them all.
#[derive(Clone, Copy)]
struct Graceful {
    pause: Duration,
    sync: Duration,
    is_forced: bool,
}

/// What a rehearsal tells besides.
#[derive(Serialize, JsonSchema)]
pub(super) struct CandidatesJson {
    new_master_id: Option<String>,
    candidates: Vec<JudgementJson>,
}

/// How a replica was judged.
#[derive(Serialize, JsonSchema)]
pub(super) struct JudgementJson {
    id: String,
    sequence: Option<u64>,
    /// Why it cannot be master.
    unfit: Option<String>,
}

impl From<Judgement> for JudgementJson {
    fn from(judged: Judgement) -> Self {
        Self { id: judged.node_id, sequence: judged.sequence, unfit: judged.unfit }
    }
}

pub(super) async fn fail_over(ask: &Ask<'_>, key: ClusterKey, shard: &str, body: &Bytes) -> Answer {
    let (cluster, _, view) = ask.cluster(&key).await?;
    let (index, _) = shard_of(&cluster, shard)?;
    let request = parse(body)?;
    let RequestId(id) = ask.request_id();
    // A repeated request finds what it did the first time.
    if let Some(past) = cluster.failovers.iter().find(|past| past.request == id) {
        let data = wire::NewMasterJson { new_master_id: &past.new_master };
        return ask.shown(&view, &data);
    }
    let (choice, asked) = match choose(ask, &view, &cluster, index, &request).await {
        Err(rejection) if ask.is_rehearsal() => {
            let more = CandidatesJson { new_master_id: None, candidates: Vec::new() };
            return rehearse::told(ask, &view, &key, Err(rejection), &more);
        }
        chosen => chosen?,
    };
    let command = choice.new_master.clone().map(|new_master| {
        Command::FailOver(FailOver {
            cluster: key.clone(),
            shard: i64::try_from(index).unwrap_or(i64::MAX),
            old_master: choice.old_master.clone(),
            new_master,
            base_version: cluster.version,
            cause: FailoverCause::Manual,
            request: id,
        })
    });
    if ask.is_rehearsal() {
        let more = CandidatesJson {
            new_master_id: choice.new_master.ok(),
            candidates: choice.judged.into_iter().map(JudgementJson::from).collect(),
        };
        return rehearse::told(ask, &view, &key, command, &more);
    }
    let command = command?;
    drop(view);
    let pause = match request.graceful {
        Some(graceful) => stop_writes(ask, &cluster, &choice, &asked, graceful).await?,
        None => None,
    };
    let proposed = ask.propose_until(command, Instant::now() + PROPOSE_TIME).await;
    if let Some(pause) = pause {
        pause.end(proposed.as_ref().ok().and_then(|(reply, _)| version(reply)));
    }
    let (reply, done) = proposed?;
    let Reply::FailedOver { new_master, .. } = &reply else { return Err(unexpected(&reply)) };
    let data = wire::NewMasterJson { new_master_id: new_master };
    ask.marked(encode(StatusCode::OK, &data)?, &done)
}

const fn version(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::FailedOver { version, .. } => Some(*version),
        _ => None,
    }
}

fn parse(body: &Bytes) -> Result<Request, Failure> {
    let body = Body::parse_optional(body)?;
    let preferred = Some(body.text("preferred_node_id")?).filter(|id| !id.is_empty());
    if let Some(id) = preferred.as_ref().filter(|id| id.len() != NODE_ID_LEN) {
        return Err(Rejection::InvalidNodeId(id.clone()).into());
    }
    let timeouts = ["force_on_timeout", "sync_timeout_ms", "pause_timeout_ms"];
    let is_graceful = body.truth("graceful")? || timeouts.iter().any(|key| body.has(key));
    let time = |key: &str, default| match body.has(key) {
        true => body.integer(key),
        false => Ok(default),
    };
    let (sync, pause) = (time("sync_timeout_ms", SYNC_MS)?, time("pause_timeout_ms", PAUSE_MS)?);
    let is_forced = body.truth("force_on_timeout")?;
    if !is_graceful {
        return Ok(Request { preferred, graceful: None });
    }
    if sync < 1 || pause <= sync || pause > PAUSE_MS_MAX {
        let text = "invalid argument: sync_timeout_ms must be less than pause_timeout_ms";
        return Err(Failure::BadRequest(text.to_owned()));
    }
    let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
    let graceful = Graceful { pause: ms(pause), sync: ms(sync), is_forced };
    Ok(Request { preferred, graceful: Some(graceful) })
}

/// Asks the nodes of the shard and chooses among them.
async fn choose(
    ask: &Ask<'_>,
    view: &View,
    cluster: &Cluster,
    index: usize,
    request: &Request,
) -> Result<(Choice, Vec<Candidate>), Rejection> {
    let settings = query::settings(&view.kvrocks);
    let shard = &cluster.shards[index];
    let wish = Wish {
        preferred: request.preferred.as_deref(),
        lag_max: settings.failover_lag_max,
        master_sequence: None,
    };
    // What needs no node is judged before any node is asked.
    candidate::choose(shard, &[], wish)?;
    let time = Duration::from_millis(settings.node_timeout_ms).min(ASK_TIME);
    let asked = probe::candidates(ask.family.nodes.as_ref(), shard, time).await;
    let choice = candidate::choose(shard, &asked, wish)?;
    Ok((choice, asked))
}

/// Writes at the old master are paused. They go on by themselves when the time is over, whatever
/// becomes of this replica.
struct Pause {
    nodes: Arc<dyn NodeCall>,
    old_master: Node,
    new_master: Node,
    until: Instant,
}

impl Pause {
    /// Lets writes go on: at once if nothing changed, else when both masters know the version, so
    /// that a write finds somebody who takes it.
    fn end(self, version: Option<u64>) {
        tokio::spawn(async move {
            if let Some(version) = version {
                for node in [&self.old_master, &self.new_master] {
                    self.wait_for(node, version).await;
                }
            }
            if let Err(error) = resume(self.nodes.as_ref(), &self.old_master).await {
                let address = &self.old_master.addr;
                tracing::debug!(address, %error, "writes go on when their pause is over");
            }
        });
    }

    /// Waits until a node knows a version, or the pause is over by itself.
    async fn wait_for(&self, node: &Node, version: u64) {
        while Instant::now() < self.until {
            let epoch = probe::epoch(self.nodes.as_ref(), probe::access(node), ASK_TIME).await;
            if epoch.is_ok_and(|epoch| u64::try_from(epoch).is_ok_and(|epoch| epoch >= version)) {
                return;
            }
            sleep(SYNC_PAUSE).await;
        }
    }
}

async fn resume(nodes: &dyn NodeCall, node: &Node) -> Result<String, NodeError> {
    nodes.call(probe::access(node), &["CLIENT", "UNPAUSE"], ASK_TIME).await
}

/// Pauses writes at a master that answers until the new one has them all; nothing to pause at a
/// master that does not.
async fn stop_writes(
    ask: &Ask<'_>,
    cluster: &Cluster,
    choice: &Choice,
    asked: &[Candidate],
    graceful: Graceful,
) -> Result<Option<Pause>, Failure> {
    let is_alive = |id: &str| asked.iter().any(|one| one.node_id == id && one.reading.is_ok());
    let node = |id: &str| cluster.nodes().find(|(_, node)| node.id == id).map(|(_, node)| node);
    let (Some(old), Ok(Some(new))) =
        (node(&choice.old_master), choice.new_master.as_ref().map(|id| node(id)))
    else {
        return Err(Rejection::NoNewMaster.into());
    };
    if !is_alive(&old.id) {
        return Ok(None);
    }
    let nodes = ask.family.nodes.as_ref();
    let until = Instant::now() + graceful.pause;
    let pause_ms = graceful.pause.as_millis().to_string();
    let command = ["CLIENT", "PAUSE", &pause_ms, "WRITE"];
    match nodes.call(probe::access(old), &command, ASK_TIME).await {
        Err(_) if graceful.is_forced => return Ok(None),
        Err(error) => return Err(Failure::Node(error.to_string())),
        Ok(_) => {}
    }
    let deadline = Instant::now() + graceful.sync;
    let is_synced = catch_up(nodes, old, new, deadline).await;
    let nodes = Arc::clone(&ask.family.nodes);
    let pause = Pause { nodes, old_master: old.clone(), new_master: new.clone(), until };
    if is_synced || graceful.is_forced {
        return Ok(Some(pause));
    }
    pause.end(None);
    Err(Failure::Node(format!("{} did not catch up with {} in time", new.addr, old.addr)))
}

/// Whether the new master has everything of the old one before the deadline.
async fn catch_up(nodes: &dyn NodeCall, old: &Node, new: &Node, deadline: Instant) -> bool {
    let left = || deadline.saturating_duration_since(Instant::now());
    let Ok(wanted) = probe::reading(nodes, old, left()).await else { return false };
    while !left().is_zero() {
        let reading = probe::reading(nodes, new, left()).await;
        if reading.is_ok_and(|reading| reading.sequence >= wanted.sequence) {
            return true;
        }
        sleep(SYNC_PAUSE).await;
    }
    false
}
