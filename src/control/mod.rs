//! Leader-only loops: what must happen without anybody asking.
//!
//! A loop runs on every replica and acts only where its replica leads. It changes the state by
//! commands alone, so that two of them acting at once, around a change of leader, do no harm.

mod prune;

use crate::broker::Broker;

/// Starts every loop; they end with the runtime.
pub fn start(broker: &Broker) {
    tokio::spawn(prune::run(broker.clone()));
}
