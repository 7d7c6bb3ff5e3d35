//! What a replica says of itself.

use openraft::{Instant as _, ServerState, async_runtime::WatchReceiver};

use super::{core::Core, read::millis};
use crate::{
    Machine, Role, Status,
    status::PeerStatus,
    types::{Peer, TypeConfig},
};

type Metrics = openraft::RaftMetrics<TypeConfig>;

impl<M: Machine> Core<M> {
    /// What this replica says of itself.
    pub(crate) fn status(&self) -> Status {
        let age_ms = self.age().map(millis);
        let applied_index = self.applied();
        let is_quarantined = self.standing.is_quarantined();
        let is_ready = *self.is_ready.borrow() && self.is_running() && !is_quarantined;
        let leadership = self.leadership();
        let purged = self.disk.load_full().and_then(|disk| disk.log.purged());
        let purged_index = purged.map_or(0, |log_id| log_id.index());
        let metrics = self.raft.metrics();
        // Nothing below waits, so the core is not kept from publishing.
        let metrics = metrics.borrow_watched();
        let stored = &metrics.membership_config;
        let voters: Vec<_> = stored.voter_ids().collect();
        let peers = stored
            .nodes()
            .map(|(id, peer)| self.peer_status(&metrics, *id, peer, voters.contains(id)))
            .collect();
        let role = match metrics.state {
            _ if metrics.running_state.is_err() || !self.is_alive() => Role::Shutdown,
            // It has given up, and waits for the others to elect somebody.
            ServerState::Leader if leadership.leader.is_none() => Role::Follower,
            ServerState::Leader => Role::Leader,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner => Role::Learner,
            ServerState::Shutdown => Role::Shutdown,
        };
        Status {
            cluster_id: self.identity.cluster_id(),
            replica_id: self.here(),
            role,
            term: metrics.current_term,
            leader: leadership.leader,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            commit_index: metrics.local_committed.as_ref().map_or(0, |log_id| log_id.index()),
            applied_index,
            snapshot_index: metrics.snapshot.as_ref().map_or(0, |log_id| log_id.index()),
            purged_index,
            age_ms,
            disk_stalled_ms: self.disk_stalled().map(millis),
            agreement: self.standing.agreement(),
            is_ready,
            peers,
        }
    }

    fn peer_status(&self, metrics: &Metrics, id: u64, peer: &Peer, is_voter: bool) -> PeerStatus {
        let is_here = id == self.here();
        let matched = metrics.replication.as_ref().map(|replication| {
            let own = if is_here { metrics.last_log_index } else { None };
            let matched = replication.get(&id).and_then(Option::as_ref);
            own.or(matched.map(|log_id| log_id.index())).unwrap_or(0)
        });
        let heard = metrics.heartbeat.as_ref().and_then(|heartbeat| {
            heartbeat.get(&id).and_then(Option::as_ref).map(|at| millis(at.elapsed()))
        });
        PeerStatus {
            id,
            peer_addr: peer.peer_addr.clone(),
            client_url: peer.client_url.clone(),
            is_voter,
            match_index: matched,
            heard_ms: heard,
        }
    }
}
