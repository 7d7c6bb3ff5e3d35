//! The undermoon broker's HTTP interface under `/api/v2` and `/api/v3`.
//!
//! Begin with `route` (which request is which) and `handle` (what is done with it). Shapes are
//! in `wire*`, failures in `error`; the two operations that talk to server proxies have a file
//! each. Section numbers in comments refer to the family's specification.

mod answers;
pub(super) mod describe;
mod error;
mod handle;
mod recover;
mod route;
mod scale;
mod wire;
mod wire_config;
mod wire_document;

use std::sync::{Arc, Mutex, PoisonError};

use axum::{body::Body, http::request::Parts, response::Response};

pub(super) use self::route::Generation;
pub use self::wire_document::{DocumentError, decode as decode_document};
use self::{answers::Answers, error::Failure};
use super::{Edge, profile::Profile};
use crate::client::proxy::{ProxyClient, RespProxyClient};

/// Name of the family, in request ids and logs.
const FAMILY: &str = "undermoon";
const V2_PREFIX: &str = "/api/v2";
const V3_PREFIX: &str = "/api/v3";

/// What the configuration says about the family on one listener.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whose promises `/api/v2` keeps; `/api/v3` is always as the program.
    pub profile: Profile,
    /// The list that routes 27 and 28 show and change.
    pub replica_addresses: ReplicaAddresses,
}

/// Addresses that the original broker copied its metadata to. Kept for the clients that ask for
/// them and nothing else: each replica has its own list, shared by its listeners, lost when it
/// stops, and nothing is sent to the addresses.
#[derive(Clone, Debug, Default)]
pub struct ReplicaAddresses(Arc<Mutex<Vec<String>>>);

impl ReplicaAddresses {
    /// The list the configuration starts with.
    pub fn new(addresses: Vec<String>) -> Self {
        Self(Arc::new(Mutex::new(addresses)))
    }

    fn get(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, addresses: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

/// How an answer must look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    generation: Generation,
    profile: Profile,
}

/// What the handlers of the family share.
pub(super) struct Family {
    edge: Arc<Edge>,
    proxies: Arc<dyn ProxyClient>,
    answers: Answers,
}

/// Which generation of clients a path is for; `None` if it is not the family's.
pub(super) fn generation_of(path: &str) -> Option<Generation> {
    [(V2_PREFIX, Generation::V2), (V3_PREFIX, Generation::V3)].into_iter().find_map(
        |(prefix, generation)| {
            let rest = path.strip_prefix(prefix)?.strip_prefix('/')?;
            (!rest.is_empty()).then_some(generation)
        },
    )
}

impl Family {
    /// The family's part of the client port.
    pub(super) fn new(edge: &Arc<Edge>) -> Self {
        let proxies = Arc::new(RespProxyClient);
        Self { edge: Arc::clone(edge), proxies, answers: Answers::new() }
    }

    /// Admits a request, finds its route and answers it; never fails.
    pub(super) async fn serve(&self, generation: Generation, head: &Parts, body: Body) -> Response {
        let (prefix, profile) = match generation {
            Generation::V2 => (V2_PREFIX, self.edge.settings.undermoon.profile),
            Generation::V3 => (V3_PREFIX, Profile::Program),
        };
        let mut dialect = Dialect { generation, profile };
        let visit = match self.edge.admit(FAMILY, profile, head) {
            Ok(visit) => visit,
            Err(refusal) => return error::respond(&refusal.into(), dialect),
        };
        if generation == Generation::V2 {
            dialect.profile = visit.profile;
        }
        let request_id = visit.call.request_id;
        let path = head.uri.path().strip_prefix(prefix).unwrap_or_default();
        let handled = match route::parse(generation, &head.method, path) {
            None => Err(Failure::NoRoute),
            Some(route) => handle::handle(self, &visit, dialect, route, head, body).await,
        };
        let mut response = handled.unwrap_or_else(|failure| error::respond(&failure, dialect));
        if let Some(request_id) = request_id {
            response.extensions_mut().insert(request_id);
        }
        response
    }
}
