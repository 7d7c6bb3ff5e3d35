//! The side of the replica that comes or goes: it asks to be taken in before it has a disk with a
//! name, and finds out when it has been removed.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{Ask, Joiner, MemberError, Reply, Standing};
use crate::{
    Config, JoinConfig, Machine, PeerConfig, ReplicaId, StartError,
    node::{core::Core, read::millis},
    storage::{
        files::{doing, read_if_there, remove_if_there, write_whole},
        identity::{Identity, cluster_of, create_data_dir},
        lock::DirLock,
    },
    transport::{
        Credentials, Line, Name, Peers,
        client::Request,
        header, route,
        wire::{self, HelloAnswer},
    },
};

/// Random bits of a disk that waits to be taken in; replaced by the identity.
const JOINING_FILE: &str = "joining";
/// How long a member may take to say who it is.
const HELLO: Duration = Duration::from_secs(1);
/// How long a member may take to have a replica taken in.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two rounds through the members.
const ROUND_PAUSE: Duration = Duration::from_millis(250);
/// Between two reports that nobody has taken this replica in yet.
const REPORT: Duration = Duration::from_secs(10);
/// Pause between two looks at whether this replica is still a member.
const STANDING_PAUSE: Duration = Duration::from_millis(500);

/// Prepares the disk of a replica that joins: once it is stamped, or was stamped before, the
/// replica is a member, or was one. Returns its id.
///
/// # Errors
/// [`StartError`]: the directory cannot be used, or the cluster does not take the replica.
pub(crate) async fn take_place<M: Machine>(
    config: &Config,
    join: &JoinConfig,
) -> Result<ReplicaId, StartError> {
    create_data_dir(&config.data_dir)?;
    let lock = DirLock::take(&config.data_dir)?;
    if let Some(id) = Identity::replica_of(&config.data_dir)? {
        return Ok(if config.replica_id == 0 { id } else { config.replica_id });
    }
    Identity::check_empty(&config.data_dir)?;
    let path = config.data_dir.join(JOINING_FILE);
    let incarnation = incarnation_of(&path)?;
    let id = Applicant::new::<M>(config, join, incarnation).apply().await?;
    Identity::stamp_as(config, id, incarnation)?;
    remove_if_there(&path).map_err(doing("removing", &path))?;
    drop(lock);
    tracing::info!(replica = id, "the cluster has taken this replica in");
    Ok(id)
}

/// The random bits of this disk, the same on every attempt: an attempt whose answer was lost is
/// recognised by them.
fn incarnation_of(path: &Path) -> Result<[u8; 16], StartError> {
    let found = read_if_there(path).map_err(doing("reading", path))?;
    if let Some(incarnation) = found.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()) {
        return Ok(incarnation);
    }
    let incarnation = Identity::draw()?;
    write_whole(path, &incarnation).map_err(doing("writing", path))?;
    Ok(incarnation)
}

/// Asks members to be taken in.
struct Applicant<'a> {
    join: &'a JoinConfig,
    joiner: Joiner,
    peers: Peers,
}

impl<'a> Applicant<'a> {
    fn new<M: Machine>(config: &Config, join: &'a JoinConfig, incarnation: [u8; 16]) -> Self {
        let identity = Identity {
            cluster: cluster_of(&config.cluster_token),
            replica_id: config.replica_id,
            incarnation,
        };
        let credentials = Arc::new(Credentials::new(&identity, &config.cluster_token));
        let peers = Peers::new(credentials, config.peer_tls.clone());
        let joiner = Joiner {
            id: (config.replica_id > 0).then_some(config.replica_id),
            incarnation,
            peer_addr: join.peer_addr.clone(),
            client_url: join.client_url.clone(),
            level_max: M::level_known_max().min(config.levels.known_max),
        };
        Self { join, joiner, peers }
    }

    /// Goes through the members until one has had this replica taken in.
    async fn apply(&self) -> Result<ReplicaId, StartError> {
        let mut reported = Instant::now();
        loop {
            let mut reason = "no member answers".to_owned();
            for address in &self.join.members {
                match ask_at(&self.peers, address, &Ask::Join(self.joiner.clone()), PATIENCE).await
                {
                    Ok(Reply::Changed(changed)) => return Ok(changed.id),
                    Ok(Reply::Failed(error)) if !error.is_passing() => return Err(final_no(error)),
                    Ok(Reply::Failed(error)) => reason = error.to_string(),
                    Ok(other) => reason = format!("{address} answered {other:?}"),
                    Err(error) => {
                        tracing::debug!(address, error, "a member did not take this replica in");
                        reason = format!("{address}: {error}");
                    }
                }
            }
            if reported.elapsed() >= REPORT {
                tracing::warn!(reason, "waiting to be taken in by the cluster");
                reported = Instant::now();
            }
            sleep(ROUND_PAUSE).await;
        }
    }
}

fn final_no(error: MemberError) -> StartError {
    match error {
        MemberError::AnotherDisk(id) => StartError::DiskReplaced { id },
        MemberError::Removed(id) => StartError::Removed { id },
        error => StartError::Join(error.to_string()),
    }
}

/// Asks whoever listens at an address.
async fn ask_at(
    peers: &Peers,
    address: &str,
    ask: &Ask,
    patience: Duration,
) -> Result<Reply, String> {
    let anybody = peers.target(Name::ANYBODY, address);
    let hello = peers.call(Line::Calls, &anybody, Request::new(route::HELLO, Vec::new()), HELLO);
    let hello: HelloAnswer = hello
        .await
        .map_err(|error| error.to_string())
        .and_then(|bytes| wire::decode(&bytes).map_err(|error| error.to_string()))?;
    if hello.is_virgin && hello.known.is_empty() {
        return Err("that replica is not part of a cluster yet".to_owned());
    }
    let target = peers.target(Name { id: hello.id, incarnation: hello.incarnation }, address);
    let body = wire::encode(ask).map_err(|error| error.to_string())?;
    let request = Request::new(route::MEMBERS, body)
        .with(header::HOPS, 0)
        .with(header::PATIENCE_MS, millis(patience));
    let answer = peers.call(Line::Calls, &target, request, patience).await;
    let answer = answer.map_err(|error| error.to_string())?;
    wire::decode(&answer).map_err(|error| error.to_string())
}

impl<M: Machine> Core<M> {
    /// Notices when this replica is no longer a member, or is one with another disk; and once
    /// after a start tells the members where it is now, if that has changed.
    pub(crate) async fn keep_standing(self: Arc<Self>) {
        let mut is_announced = self.config.join.is_none();
        loop {
            tokio::select! {
                biased;
                () = sleep(STANDING_PAUSE) => {}
                () = self.stop.cancelled() => return,
            }
            if !is_announced {
                is_announced = self.announce().await;
            }
            if self.is_in_touch() {
                continue;
            }
            let standing = tokio::select! {
                biased;
                standing = self.ask_standing() => standing,
                () = self.stop.cancelled() => return,
            };
            let error = match standing {
                Some(Standing::Removed) => StartError::Removed { id: self.here() },
                Some(Standing::AnotherDisk) => StartError::DiskReplaced { id: self.here() },
                Some(Standing::Member | Standing::Unknown) | None => continue,
            };
            self.fatal.raise(error.to_string());
            return;
        }
    }

    /// Whether a leader counts on this replica, as far as is known here.
    fn is_in_touch(&self) -> bool {
        let window = Duration::from_millis(self.live_window());
        let own = self.peer(self.here());
        let is_member = own.is_some_and(|peer| peer.incarnation == self.identity.incarnation);
        is_member && self.age().is_some_and(|age| age <= window)
    }

    /// Tells the leader the addresses of the configuration, if the members know others. False if
    /// it must be tried again.
    async fn announce(self: &Arc<Self>) -> bool {
        let Some(join) = &self.config.join else { return true };
        let Some(known) = self.peer(self.here()) else { return false };
        if known.peer_addr == join.peer_addr && known.client_url == join.client_url {
            return true;
        }
        let joiner = Joiner {
            id: Some(self.here()),
            incarnation: self.identity.incarnation,
            peer_addr: join.peer_addr.clone(),
            client_url: join.client_url.clone(),
            level_max: self.about().level_max,
        };
        for address in self.other_addresses() {
            match ask_at(&self.peers, &address, &Ask::Join(joiner.clone()), PATIENCE).await {
                Ok(Reply::Changed(_)) => {
                    tracing::info!(replica = self.here(), "the members know the new addresses");
                    return true;
                }
                Ok(Reply::Failed(error)) if !error.is_passing() => {
                    tracing::warn!(%error, "the members keep the old addresses of this replica");
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    /// Asks the others whether this replica is a member; whoever knows that it is not is right,
    /// because that is committed.
    async fn ask_standing(&self) -> Option<Standing> {
        let mut best = None;
        for address in self.other_addresses() {
            match ask_at(&self.peers, &address, &Ask::Standing, HELLO).await {
                Ok(Reply::Standing(gone @ (Standing::Removed | Standing::AnotherDisk))) => {
                    return Some(gone);
                }
                Ok(Reply::Standing(standing)) => best = best.or(Some(standing)),
                _ => {}
            }
        }
        best
    }

    /// Where other replicas may be: as the membership says, then as the configuration does.
    fn other_addresses(&self) -> Vec<String> {
        let membership = self.membership.load();
        let known = membership.nodes().filter(|(id, _)| **id != self.here());
        let mut addresses: Vec<String> = known.map(|(_, peer)| peer.peer_addr.clone()).collect();
        let is_other = |peer: &&PeerConfig| peer.id != self.here();
        let founders = self.config.peers.iter().filter(is_other).map(|peer| &peer.peer_addr);
        let members = self.config.join.iter().flat_map(|join| &join.members);
        for address in founders.chain(members) {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }
}
