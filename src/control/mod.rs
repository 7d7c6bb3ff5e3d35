//! Leader-only loops: what must happen without anybody asking.
//!
//! A loop runs on every replica and acts only where its replica leads. It changes the state by
//! commands alone, so that two of them acting at once, around a change of leader, do no harm.

pub mod backup;
mod cello;
mod kvrocks;
mod prune;

use std::sync::Arc;

use crate::{
    broker::Broker,
    client::{runtime::Runtime, service_probe::ServiceProbe},
    observe::kvrocks::Observatory,
};

/// What the loops act with.
#[derive(Clone)]
pub struct Tools {
    /// What this replica sees of Kvrocks nodes.
    pub observatory: Arc<Observatory>,
    /// The engines of containers.
    pub runtime: Arc<dyn Runtime>,
    /// Asks the services of the pool's clusters.
    pub services: Arc<dyn ServiceProbe>,
}

/// Starts every loop; they end with the runtime.
pub fn start(broker: &Broker, tools: Tools) {
    tokio::spawn(cello::run(broker.clone(), tools.runtime, tools.services));
    tokio::spawn(kvrocks::run(broker.clone(), tools.observatory));
    tokio::spawn(prune::run(broker.clone()));
}

/// Starts the loop that takes backups; ends with the runtime.
pub fn start_backups(broker: &Broker, schedule: backup::Schedule) {
    tokio::spawn(backup::run(broker.clone(), schedule));
}
