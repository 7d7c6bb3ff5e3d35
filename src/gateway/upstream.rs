//! One replica, as the gateway sees it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Settings, endpoint::Endpoint, pool::Pool};

/// What is known of a replica's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Health {
    /// Not asked yet.
    #[default]
    Unknown,
    /// Says that clients should be sent to it.
    Ready,
    /// Answers, but says that others serve better.
    Unready,
    /// Does not answer.
    Dead,
}

impl Health {
    /// As one word.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Dead => "dead",
        }
    }
}

/// One replica.
#[derive(Debug)]
pub(super) struct Upstream {
    /// Where it is.
    pub(super) endpoint: Endpoint,
    /// Whether the gateway was told of it, rather than learned of it.
    pub(super) is_configured: bool,
    /// Connections for requests.
    pub(super) pool: Arc<Pool>,
    /// Wakes the check before its time.
    pub(super) suspicion: Notify,
    sight: Mutex<Sight>,
}

/// What the last check saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    /// How the replica was.
    pub(super) health: Health,
    /// What was wrong with it, if anything.
    pub(super) reason: String,
    /// Its applied index when it last answered.
    pub(super) index: u64,
}

impl Upstream {
    pub(super) fn new(endpoint: Endpoint, is_configured: bool, settings: &Settings) -> Self {
        let pool = Arc::new(Pool::new(endpoint.clone(), settings.connect_timeout));
        let sight = Mutex::default();
        Self { endpoint, is_configured, pool, suspicion: Notify::new(), sight }
    }

    /// What the last check saw.
    pub(super) fn sight(&self) -> Sight {
        self.lock().clone()
    }

    /// How the replica was at the last check.
    pub(super) fn health(&self) -> Health {
        self.lock().health
    }

    /// Notes how the replica is; returns whether that is news. Connections to a dead replica are
    /// ended, so that no request waits for what will not come.
    pub(super) fn note(&self, health: Health, reason: String, index: Option<u64>) -> bool {
        let is_dead = health == Health::Dead;
        let is_news = {
            let mut sight = self.lock();
            let index = index.unwrap_or(sight.index);
            let is_news = sight.health != health;
            *sight = Sight { health, reason, index };
            is_news
        };
        if is_dead {
            self.pool.cut();
        }
        is_news
    }

    fn lock(&self) -> MutexGuard<'_, Sight> {
        self.sight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
