//! What becomes of a message.
//!
//! A request is taken to the router of the replica that listens at its address, with the headers
//! and the body it would have on the wire; connections, their proof and TLS are left out. It may be
//! lost, come late, or come twice, and so may its answer; whoever sent it finds out by waiting.

use std::{collections::BTreeMap, io, net::SocketAddr, time::Duration};

use axum::Router;
use bytes::Bytes;
use futures::future::pending;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, http};
use rand::Rng;
use tokio::{sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    event::Event,
    runtime::{OUTSIDE, World, lock, world},
};
use crate::{
    ReplicaId,
    storage::wire::term_and_node,
    transport::{
        CallError,
        client::Body,
        route,
        server::Entrance,
        wire::{self, AppendAnswer, VoteAnswer, VoteAsk},
    },
};

/// The links between all replicas.
#[derive(Default)]
pub(crate) struct Network {
    listening: BTreeMap<String, (ReplicaId, Router)>,
    links: BTreeMap<(ReplicaId, ReplicaId), Link>,
    /// What holds for links that have nothing of their own.
    pub(crate) usual: Link,
}

/// One direction between two replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// Nothing gets through.
    pub(crate) is_cut: bool,
    /// Longest time a message takes, in milliseconds.
    pub(crate) delay_ms_max: u64,
    /// Messages in a thousand that are lost.
    pub(crate) lost_per_mille: u32,
    /// Messages in a thousand that come twice.
    pub(crate) twice_per_mille: u32,
}

impl Network {
    /// Gives a link something of its own.
    pub(crate) fn set(&mut self, from: ReplicaId, to: ReplicaId, change: impl FnOnce(&mut Link)) {
        let usual = self.usual;
        change(self.links.entry((from, to)).or_insert(usual));
    }

    /// Makes all links usual ones.
    pub(crate) fn heal(&mut self) {
        self.links.clear();
    }

    /// Forgets where a replica listens.
    pub(crate) fn silence(&mut self, replica: ReplicaId) {
        self.listening.retain(|_, (owner, _)| *owner != replica);
    }

    fn link(&self, from: ReplicaId, to: ReplicaId) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or(self.usual)
    }
}

/// A message or an answer that got through, or did not.
enum Arrival<T> {
    Whole(T),
    Lost,
}

/// The entrance of a replica at an address, if this is a simulation.
pub(crate) fn listen(addr: &str) -> Option<(Entrance, SocketAddr)> {
    world()?;
    let bound = addr.parse().expect("simulated addresses are addresses");
    Some((Entrance::Simulated(addr.to_owned()), bound))
}

/// Listens at an address until told to stop.
pub(crate) async fn serve(addr: String, app: Router, stop: CancellationToken) {
    let Some(world) = world() else { return };
    lock(&world.network).listening.insert(addr, (world.owner(), app));
    stop.cancelled().await;
    lock(&world.network).silence(world.owner());
}

/// Takes a request to where it is addressed to, and the answer back. Never ends if one of them is
/// lost.
pub(crate) async fn exchange(request: Request<Body>) -> Result<Response<Body>, CallError> {
    let Some(world) = world() else { return pending().await };
    let from = world.owner();
    let (parts, body) = request.into_parts();
    let body = body.collect().await;
    let body = body.map_err(|error| CallError::Broken(error.to_string()))?.to_bytes();
    let (answer, answered) = oneshot::channel();
    let message = Message { from, parts, body };
    drop(world.spawn(OUTSIDE, async move {
        if let Arrival::Whole(outcome) = message.travel().await {
            drop(answer.send(outcome));
        }
    }));
    match answered.await {
        Ok(Ok(response)) => Ok(response.map(|body| whole(body).boxed_unsync())),
        Ok(Err(error)) => Err(error),
        Err(_) => pending().await,
    }
}

#[derive(Clone)]
struct Message {
    from: ReplicaId,
    parts: http::request::Parts,
    body: Bytes,
}

impl Message {
    async fn travel(self) -> Arrival<Result<Response<Bytes>, CallError>> {
        let Some(world) = world() else { return Arrival::Lost };
        let addr = self.parts.uri.authority().map(ToString::to_string).unwrap_or_default();
        let Some((to, _)) = lock(&world.network).listening.get(&addr).cloned() else {
            sleep(Duration::from_millis(1)).await;
            return Arrival::Whole(Err(refused()));
        };
        let from = self.from;
        let link = lock(&world.network).link(from, to);
        if world.chance(link.twice_per_mille) {
            let again = self.clone();
            drop(world.spawn(OUTSIDE, async move {
                if let Some(world) = super::runtime::world()
                    && pass(&world, from, to).await
                {
                    drop(again.deliver(&world, to, &addr).await);
                }
            }));
        }
        let addr = self.parts.uri.authority().map(ToString::to_string).unwrap_or_default();
        if !pass(&world, from, to).await {
            return Arrival::Lost;
        }
        let answer = self.deliver(&world, to, &addr).await;
        if !pass(&world, to, from).await {
            return Arrival::Lost;
        }
        Arrival::Whole(answer)
    }

    async fn deliver(
        self,
        world: &World,
        to: ReplicaId,
        addr: &str,
    ) -> Result<Response<Bytes>, CallError> {
        let listening = lock(&world.network).listening.get(addr).cloned();
        let Some((_, app)) = listening.filter(|(owner, _)| *owner == to) else {
            return Err(refused());
        };
        let Self { parts, body, .. } = self;
        let handled = world.spawn(to, async move {
            let path = parts.uri.path().to_owned();
            let request = Request::from_parts(parts, axum::body::Body::from(body.clone()));
            let response = match app.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let (parts, answer) = response.into_parts();
            let answer = answer.collect().await.map_err(io::Error::other)?.to_bytes();
            if parts.status.is_success() {
                look(to, &path, &body, &answer);
            }
            Ok::<_, io::Error>(Response::from_parts(parts, answer))
        });
        match handled.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(CallError::Broken(error.to_string())),
            Err(_) => Err(CallError::Broken("the replica went away".to_owned())),
        }
    }
}

/// Lets a message travel; false if it is lost.
async fn pass(world: &World, from: ReplicaId, to: ReplicaId) -> bool {
    let link = lock(&world.network).link(from, to);
    let is_lost = world.chance(link.lost_per_mille);
    let millis = world.draw(|draws| draws.random_range(0..=link.delay_ms_max));
    if millis > 0 {
        sleep(Duration::from_millis(millis)).await;
    }
    let is_cut = lock(&world.network).link(from, to).is_cut;
    !(is_lost || link.is_cut || is_cut)
}

/// Tells what a replica has promised with an answer.
fn look(replica: ReplicaId, path: &str, asked: &Bytes, answer: &[u8]) {
    let Some(world) = world() else { return };
    let disk = lock(&world.disks).of(replica);
    if path == route::SNAPSHOT {
        world.witness(|witness| witness.count("snapshot received"));
    } else if path == route::VOTE {
        let (Ok(ask), Ok(answer)) =
            (wire::decode::<VoteAsk>(asked), wire::decode::<VoteAnswer>(answer))
        else {
            return;
        };
        if answer.response().vote_granted {
            let candidate = ask.request().vote.leader_id;
            let ballot = (candidate.term, candidate.node_id);
            world.tell(&Event::Granted { replica, ballot, durable: disk.durable_vote() });
        }
    } else if path == route::APPEND {
        let (Ok(append), Ok(AppendAnswer::Success)) =
            (wire::decode_append(asked), wire::decode::<AppendAnswer>(answer))
        else {
            return;
        };
        if let Some(last) = append.entries.last() {
            let at = (term_and_node(&last.log_id), last.log_id.index());
            let (durable, is_excused) = disk.durable_at(at.1, at.0);
            world.tell(&Event::Acknowledged { replica, at, durable, is_excused });
        }
    }
}

fn whole(body: Bytes) -> impl hyper::body::Body<Data = Bytes, Error = io::Error> + Send {
    Full::new(body).map_err(|never| match never {})
}

fn refused() -> CallError {
    CallError::Unreachable("nobody listens there".to_owned())
}
