//! Leader-only loops: what must happen without anybody asking.
//!
//! A loop runs on every replica and acts only where its replica leads. It changes the state by
//! commands alone, so that two of them acting at once, around a change of leader, do no harm.

mod kvrocks;
mod prune;

use std::sync::Arc;

use crate::{broker::Broker, observe::kvrocks::Observatory};

/// Starts every loop; they end with the runtime.
pub fn start(broker: &Broker, observatory: &Arc<Observatory>) {
    tokio::spawn(kvrocks::run(broker.clone(), Arc::clone(observatory)));
    tokio::spawn(prune::run(broker.clone()));
}
