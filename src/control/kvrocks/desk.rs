//! What every part of the work needs: the state, the sights, the log, and the right to act.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    broker::{Actor, Broker, Call, ProposeError, ReadMode},
    domain::{
        self,
        kvrocks::{
            Command, Rejection, Reply,
            command::ClusterKey,
            model::{Cluster, Node},
            query,
            settings::Settings,
        },
    },
    observe::kvrocks::{Observatory, sight::SightMap},
};

/// Time for a proposal.
const PROPOSE_TIME: Duration = Duration::from_secs(3);

/// What came of a proposal that was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Declined {
    /// The state refused it: what it relied on is no longer so.
    #[error(transparent)]
    Refused(#[from] Rejection),
    /// It was not accepted, or nobody knows.
    #[error(transparent)]
    NotApplied(#[from] ProposeError),
    /// The reply belongs to another command.
    #[error("unexpected reply")]
    Unexpected,
}

/// One leader in one term.
pub(super) struct Desk {
    pub(super) broker: Broker,
    pub(super) observatory: Arc<Observatory>,
    term: u64,
}

impl Desk {
    pub(super) const fn new(broker: Broker, observatory: Arc<Observatory>, term: u64) -> Self {
        Self { broker, observatory, term }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.broker.now_ms()
    }

    /// The cluster as applied, with the settings.
    pub(super) fn cluster(&self, key: &ClusterKey) -> Option<(Arc<Cluster>, Settings)> {
        let view = self.broker.latest();
        let cluster = query::cluster(&view.kvrocks, key)?;
        Some((cluster, query::settings(&view.kvrocks).clone()))
    }

    /// What was seen of the cluster's nodes.
    pub(super) fn sights(&self, cluster: &Cluster) -> SightMap {
        self.observatory.sights().of(cluster.nodes().map(|(_, node)| node.id.as_str()))
    }

    /// Asks nodes that were never seen, or are somewhere else now.
    pub(super) async fn look_at_strangers(&self, cluster: &Cluster, settings: &Settings) {
        let sights = self.observatory.sights();
        let is_stranger = |node: &&Node| sights.is_stranger(&node.id, &node.addr);
        let nodes = cluster.nodes().map(|(_, node)| node).filter(is_stranger);
        self.observatory.look(nodes, time(settings)).await;
    }

    /// Whether this replica still leads in the term, and the cluster is still as planned on.
    pub(super) fn may_act(&self, key: &ClusterKey, version: u64) -> bool {
        let leadership = *self.broker.watch_leadership().borrow();
        let is_current = || self.cluster(key).is_some_and(|(now, _)| now.version == version);
        leadership.is_leader_here && leadership.term == self.term && is_current()
    }

    /// As [`Desk::may_act`], confirmed by a majority: for what versions do not fence.
    pub(super) async fn may_act_for_sure(&self, key: &ClusterKey, version: u64) -> bool {
        let deadline = Instant::now() + PROPOSE_TIME;
        let barrier = self.broker.view(ReadMode::Linearizable, deadline).await;
        barrier.is_ok() && self.may_act(key, version)
    }

    /// Proposes what was found out in this term.
    pub(super) async fn propose(&self, command: Command) -> Result<Reply, Declined> {
        let call = Call {
            request_id: None,
            actor: Actor::Own("kvrocks-control"),
            deadline: Instant::now() + PROPOSE_TIME,
        };
        let command = domain::Command::Kvrocks(command);
        match self.broker.propose_in_term(&call, command, self.term).await?.reply {
            domain::Reply::Kvrocks(reply) => Ok(reply?),
            _ => Err(Declined::Unexpected),
        }
    }
}

/// Time for one exchange with a node.
pub(super) const fn time(settings: &Settings) -> Duration {
    Duration::from_millis(settings.node_timeout_ms)
}
