//! The first commands of a cluster: its settings, and perhaps the metadata of a broker before it.
//!
//! Whichever replica leads an unfounded cluster proposes them. The metadata goes first and the
//! foundation last, so a cluster that counts as founded has everything.

use std::{sync::Arc, time::Duration};

use quorate_raft::{Node, Proposal, RequestId};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    domain::{
        Command, Reply, system,
        undermoon::{self, Action, Profile, document::Document, settings::Seed},
    },
    replica::Replica,
};

/// Equal on all replicas, so that the cluster is founded once whoever leads.
const FOUND_ID: RequestId = RequestId(*b"quorate-founding");
const IMPORT_ID: RequestId = RequestId(*b"quorate-metadata");
/// How long the other founders may take to say which feature level they know. A cluster that begins
/// below what they know is raised later.
const LEVEL_PATIENCE: Duration = Duration::from_secs(3);
/// Time for one proposal; the next look tries again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause after a proposal without an answer.
const PAUSE: Duration = Duration::from_millis(100);

/// What a new cluster begins with.
#[derive(Clone, Debug, Default)]
pub struct Foundation {
    /// Replicated settings.
    pub seed: Seed,
    /// Metadata of the broker before it.
    pub import: Option<Document>,
}

/// Where the foundation stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not founded yet, or this replica has not caught up.
    #[default]
    Waiting,
    /// The replica has caught up with a founded cluster.
    Founded,
    /// The metadata to import was refused.
    Failed(Arc<str>),
}

/// Founds the cluster if this replica leads it unfounded; ends when that is settled.
pub(super) async fn found(
    node: Node<Replica>,
    foundation: Foundation,
    progress: watch::Sender<Progress>,
) {
    let mut applied = node.watch_applied();
    let mut leadership = node.watch_leadership();
    loop {
        applied.mark_unchanged();
        let is_leader_here = leadership.borrow_and_update().is_leader_here;
        if node.latest().0.system.founded_ms.is_some() {
            break;
        }
        if is_leader_here {
            if let Err(refused) = propose(&node, &foundation).await {
                progress.send_replace(Progress::Failed(refused.into()));
                return;
            }
            sleep(PAUSE).await;
            continue;
        }
        let changed = tokio::select! {
            changed = applied.changed() => changed,
            changed = leadership.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
    node.wait_ready().await;
    progress.send_replace(Progress::Founded);
}

/// One attempt; whatever stood in its way is seen at the next look. Only a refusal is an error.
async fn propose(node: &Node<Replica>, foundation: &Foundation) -> Result<(), String> {
    let mut seed = foundation.seed.clone();
    if let Some(document) = &foundation.import {
        seed.enable_ordered_proxy = document.enable_ordered_proxy;
        let action = Action::Restore { document: Box::new(document.clone()) };
        let command = undermoon::Command { profile: Profile::Program, action };
        match send(node, IMPORT_ID, Command::Undermoon(command)).await {
            Some(Reply::Undermoon(Ok(_))) => tracing::info!("metadata imported"),
            Some(Reply::Undermoon(Err(refused))) => {
                return Err(format!("the metadata to import was refused: {refused}"));
            }
            Some(Reply::System(_) | Reply::Kvrocks(_) | Reply::Cello(_) | Reply::Access(_))
            | None => return Ok(()),
        }
    }
    // A new cluster begins with everything its founders know. Before the foundation, so that a
    // cluster that counts as founded has its level.
    let level = level_of_founders(node).await;
    let raise = system::Command::to_raise(level);
    if send(node, level_id(level), Command::System(raise)).await.is_none() {
        return Ok(());
    }
    let found = system::Command::Found { undermoon: seed };
    if send(node, FOUND_ID, Command::System(found)).await.is_some() {
        tracing::info!("cluster founded");
    }
    Ok(())
}

/// The highest level that all founders know; the first of all levels if one of them keeps silent.
async fn level_of_founders(node: &Node<Replica>) -> u64 {
    let deadline = Instant::now() + LEVEL_PATIENCE;
    loop {
        if let Some(level) = node.common_level() {
            return level;
        }
        if Instant::now() >= deadline || !node.watch_leadership().borrow().is_leader_here {
            return system::FEATURE_LEVEL_ACCESS.min(node.level_max());
        }
        sleep(PAUSE).await;
    }
}

/// One for each level, because a request id stands for one command.
fn level_id(level: u64) -> RequestId {
    let mut id = *b"quorate-feature0";
    id[15] = id[15].wrapping_add(level.to_le_bytes()[0]);
    RequestId(id)
}

async fn send(node: &Node<Replica>, request_id: RequestId, command: Command) -> Option<Reply> {
    let actor = "quorate".to_owned();
    let proposal = Proposal { request_id, actor, fence_term: None, command };
    match node.propose(proposal, Instant::now() + PATIENCE).await {
        Ok(applied) => Some(applied.reply),
        Err(error) => {
            tracing::warn!(%error, "the cluster is not founded yet");
            None
        }
    }
}
