//! One address that is always alive, for clients that cannot choose among several.
//!
//! A gateway runs beside a client, takes its requests and hands them to one replica of the
//! cluster, and to another one as soon as that fails. It knows nothing of what it carries: not
//! the state, not the log, and of the families no more than how an error looks to their clients.
//!
//! - `endpoint`: the address of a replica.
//! - `pool`: open connections to one replica.
//! - `upstream`: one replica: its connections, and what is known of its health.
//! - `check`: finds that out, again and again.
//! - `roster`: all replicas, and which of them is the one in use.
//! - `forward`: the way of one request; begin reading there.
//! - `content`, `relay`: bodies towards a replica and back.
//! - `head`: which headers go along; `refusal`: the gateway's own answers.
//! - `desk`: what the gateway tells of itself, on a port of its own.
//!
//! What holds for the client: answers never step back behind what the gateway has shown before,
//! whichever replica gave them, because it sends the highest index it was shown along; a change
//! is applied at most once however often it is forwarded, because every change carries an
//! idempotency key; and every request is answered in bounded time.

mod check;
mod content;
mod desk;
mod endpoint;
mod forward;
mod head;
mod pool;
mod refusal;
mod relay;
mod roster;
mod upstream;

use std::{sync::Arc, time::Duration};

use axum::Router;
use tokio::sync::Semaphore;

pub use self::endpoint::{BadEndpoint, Endpoint};
use self::roster::Roster;

/// What a gateway is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Replicas to begin with.
    pub endpoints: Vec<Endpoint>,
    /// Whether to use replicas that the known ones name as members, too.
    pub learns_members: bool,
    /// Pause between two checks of a replica.
    pub check_interval: Duration,
    /// Time for a replica to say whether it is ready.
    pub check_timeout: Duration,
    /// Time for a connection to be made.
    pub connect_timeout: Duration,
    /// Time for the head of an ordinary answer, over all attempts.
    pub request_timeout: Duration,
    /// The same for requests that may take longer by nature.
    pub long_request_timeout: Duration,
    /// How long a request waits for any replica before it is refused.
    pub wait_timeout: Duration,
    /// Longest pause inside a body, in either direction.
    pub idle_timeout: Duration,
    /// Most bytes of a request body.
    pub body_bytes_max: u64,
    /// Most bytes of a request body that are kept for another attempt.
    pub replay_bytes_max: usize,
    /// Most requests at a time.
    pub requests_in_flight_max: usize,
}

/// A gateway at work; cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    settings: Arc<Settings>,
    roster: Arc<Roster>,
    places: Arc<Semaphore>,
}

impl Gateway {
    /// Starts to look after the replicas.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let places = settings.requests_in_flight_max.min(Semaphore::MAX_PERMITS);
        let settings = Arc::new(settings);
        let roster = Arc::new(Roster::new(&settings));
        check::start(&settings, &roster);
        Self { settings, roster, places: Arc::new(Semaphore::new(places)) }
    }

    /// What clients are served: everything is forwarded.
    pub fn router(&self) -> Router {
        Router::new().fallback(forward::forward).with_state(self.clone())
    }

    /// What operators are served: `/gateway/healthz` and `/metrics`.
    pub fn desk(&self) -> Router {
        desk::router(self.clone())
    }
}
