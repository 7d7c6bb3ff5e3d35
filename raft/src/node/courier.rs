//! Takes proposals to the leader, many in one request.
//!
//! A lone proposal is as fast as it would be alone, and under load a forward costs a fraction of a
//! request.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};

use super::{
    propose::{BUSY_RETRY_MS, Tried},
    turns::{Cargo, Turns, trip},
};
use crate::{
    ReplicaId, rt,
    transport::{
        CallError, Line, Peers, Target,
        client::Request,
        header, route,
        status::{BUSY, NO_ROUTE, NOT_LEADER, UNKNOWN},
        wire::{self, Fate, ProposeAnswer},
    },
};

/// Takes proposals of this replica to whoever leads.
pub(crate) struct Courier {
    peers: Arc<Peers>,
    /// What is on the way to each leader. Bounded by how many callers wait at a time.
    lanes: Mutex<HashMap<ReplicaId, Turns<Parcel>>>,
}

/// A proposal and whoever waits for what becomes of it.
struct Parcel {
    target: Target,
    entry: Bytes,
    deadline: Instant,
    sender: oneshot::Sender<Tried>,
}

impl Parcel {
    fn tell(self, tried: Tried) {
        // Whoever has given up waiting does not need to know.
        drop(self.sender.send(tried));
    }
}

impl Cargo for Parcel {
    fn bytes(&self) -> usize {
        self.entry.len()
    }

    fn is_given_up(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Courier {
    /// Nothing is under way yet.
    pub(crate) fn new(peers: Arc<Peers>) -> Self {
        Self { peers, lanes: Mutex::default() }
    }

    /// Takes a proposal to a leader and tells what became of it there.
    pub(super) async fn deliver(
        self: &Arc<Self>,
        leader: ReplicaId,
        target: Target,
        entry: Bytes,
        deadline: Instant,
    ) -> Tried {
        let (sender, answer) = oneshot::channel();
        let departing = {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            let lane = lanes.entry(leader).or_default();
            lane.enter(Parcel { target, entry, deadline, sender });
            lane.depart()
        };
        if let Some(load) = departing {
            drop(rt::spawn(Arc::clone(self).run(leader, load)));
        }
        let lost = || Tried::Doubtful("the forward was broken off".to_owned());
        answer.await.unwrap_or_else(|_| lost())
    }

    /// Sends one request after the other while there is enough for one.
    async fn run(self: Arc<Self>, leader: ReplicaId, mut load: Vec<Parcel>) {
        loop {
            let count = load.len();
            let peers = Arc::clone(&self.peers);
            trip(async move { send(&peers, load).await }).await;
            match self.next(leader, count) {
                Some(next) => load = next,
                None => return,
            }
        }
    }

    /// The next request's load, if it is time for one, after a request with so many.
    fn next(&self, leader: ReplicaId, count: usize) -> Option<Vec<Parcel>> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.get_mut(&leader)?;
        lane.arrive(count);
        let load = lane.depart();
        if lane.is_idle() {
            lanes.remove(&leader);
        }
        load
    }
}

async fn send(peers: &Peers, mut load: Vec<Parcel>) {
    if load.len() > 1 {
        match send_together(peers, load).await {
            None => return,
            // An earlier version, which takes them one by one.
            Some(refused) => load = refused,
        }
    }
    let alone = load.into_iter().map(async |mut parcel| {
        let target = parcel.target.clone();
        let (entry, deadline) = (parcel.entry.clone(), parcel.deadline);
        tokio::select! {
            biased;
            tried = send_alone(peers, &target, entry, deadline) => parcel.tell(tried),
            () = parcel.sender.closed() => {}
        }
    });
    futures::future::join_all(alone).await;
}

/// Resolves when nobody waits for any of the proposals any more, because the leader changed or
/// time is up: then a request that hangs is let go, instead of holding its bodies until it ends.
async fn abandoned(load: &mut [Parcel]) {
    for parcel in load {
        parcel.sender.closed().await;
    }
}

/// Gives the proposals back if the leader does not know such requests.
async fn send_together(peers: &Peers, mut load: Vec<Parcel>) -> Option<Vec<Parcel>> {
    // The newest one knows best where the leader is.
    let target = load.last()?.target.clone();
    let leader = target.name.id;
    let until = load.iter().map(|parcel| parcel.deadline).max();
    let patience = until.map_or(Duration::ZERO, left);
    let entries = load.iter().map(|parcel| parcel.entry.clone()).collect::<Vec<_>>();
    let body = match wire::encode(&entries) {
        Ok(body) => body,
        Err(_) => return Some(load),
    };
    let answered = tokio::select! {
        biased;
        answered = call(peers, &target, route::PROPOSE_ALL, body, patience) => answered,
        () = abandoned(&mut load) => return None,
    };
    let fates = match answered {
        Ok(answer) => wire::decode::<Vec<Fate>>(&answer).map_err(|error| error.to_string()),
        Err(CallError::Refused(refused)) if refused.status == NO_ROUTE => return Some(load),
        Err(error) => {
            load.into_iter().for_each(|parcel| parcel.tell(failed(&error, leader)));
            return None;
        }
    };
    match fates {
        Ok(fates) if fates.len() == load.len() => {
            for (parcel, fate) in load.into_iter().zip(fates) {
                parcel.tell(tried(fate, leader));
            }
        }
        Ok(_) => doubt(load, "the leader answered another number of proposals"),
        Err(error) => doubt(load, &format!("the leader's answer: {error}")),
    }
    None
}

fn doubt(load: Vec<Parcel>, reason: &str) {
    load.into_iter().for_each(|parcel| parcel.tell(Tried::Doubtful(reason.to_owned())));
}

async fn send_alone(peers: &Peers, target: &Target, entry: Bytes, deadline: Instant) -> Tried {
    let answered = call(peers, target, route::PROPOSE, entry, left(deadline)).await;
    match answered {
        Ok(answer) => match wire::decode::<ProposeAnswer>(&answer) {
            Ok(answer) => Tried::Done(answer),
            Err(error) => Tried::Doubtful(format!("the leader's answer: {error}")),
        },
        Err(error) => failed(&error, target.name.id),
    }
}

async fn call(
    peers: &Peers,
    target: &Target,
    route: &'static str,
    body: Bytes,
    patience: Duration,
) -> Result<Bytes, CallError> {
    let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let request =
        Request::new(route, body).with(header::HOPS, 1).with(header::PATIENCE_MS, patience_ms);
    peers.call(Line::Calls, target, request, patience).await
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// What the leader says became of a proposal.
fn tried(fate: Fate, leader: ReplicaId) -> Tried {
    match fate {
        Fate::Done(answer) => Tried::Done(answer),
        Fate::Busy { retry_after_ms } => Tried::Busy { retry_after_ms },
        Fate::Doubtful(reason) => Tried::Doubtful(reason),
        Fate::Refused(reason) => {
            tracing::debug!(leader, reason, "the leader took no proposal");
            Tried::Refused("no replica leads at the moment")
        }
    }
}

/// What a call without an answer means for its proposals.
fn failed(error: &CallError, leader: ReplicaId) -> Tried {
    match error {
        CallError::Unreachable(reason) => {
            tracing::debug!(leader, reason, "the leader cannot be reached");
            Tried::Refused("the leader cannot be reached")
        }
        CallError::Refused(refused) => {
            let (status, reason) = (refused.status, refused.reason.clone());
            match status {
                BUSY => {
                    Tried::Busy { retry_after_ms: refused.retry_after_ms.unwrap_or(BUSY_RETRY_MS) }
                }
                NOT_LEADER => Tried::Refused("no replica leads at the moment"),
                UNKNOWN => Tried::Doubtful(reason),
                400..500 => {
                    tracing::warn!(leader, status, reason, "a forward was refused");
                    Tried::Refused("the leader refused the forward; see the log of this replica")
                }
                _ => Tried::Doubtful(reason),
            }
        }
        error @ (CallError::Timeout(_) | CallError::Broken(_)) => {
            Tried::Doubtful(error.to_string())
        }
    }
}
