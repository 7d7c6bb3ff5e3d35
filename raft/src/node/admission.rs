//! How much a leader takes on at a time.

use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Gauge, gauge};
use tokio::sync::watch;

use crate::metrics::PROPOSALS_IN_FLIGHT;

/// Bounds the proposals in flight, by count and by bytes.
pub(crate) struct Admission {
    proposals_max: usize,
    bytes_max: usize,
    taken: Mutex<Taken>,
    in_flight: watch::Sender<usize>,
    gauge: Gauge,
}

#[derive(Debug, Default)]
struct Taken {
    proposals: usize,
    bytes: usize,
}

/// Room for one proposal; given back when dropped.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Admission {
    /// Bounds; at least one proposal is always let in.
    pub(crate) fn new(proposals_max: usize, bytes_max: usize) -> Self {
        Self {
            proposals_max,
            bytes_max,
            taken: Mutex::default(),
            in_flight: watch::Sender::new(0),
            gauge: gauge!(PROPOSALS_IN_FLIGHT),
        }
    }

    /// Takes room for a proposal; `None` if there is none. A proposal larger than the bound is let
    /// in when it is alone.
    pub(crate) fn enter(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = taken.proposals >= self.proposals_max
            || taken.bytes.saturating_add(bytes) > self.bytes_max;
        if is_full && taken.proposals > 0 {
            return None;
        }
        taken.proposals += 1;
        taken.bytes += bytes;
        self.publish(&taken);
        Some(Permit { admission: self.clone(), bytes })
    }

    fn publish(&self, taken: &Taken) {
        #[allow(clippy::cast_precision_loss)]
        self.gauge.set(taken.proposals as f64);
        self.in_flight.send_replace(taken.proposals);
    }

    /// How many proposals are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        *self.in_flight.borrow()
    }

    /// Waits until no proposal is in flight.
    pub(crate) async fn drained(&self) {
        // The sender lives in `self`, so the channel cannot close while this waits.
        drop(self.in_flight.subscribe().wait_for(|proposals| *proposals == 0).await);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.admission.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.proposals -= 1;
        taken.bytes -= self.bytes;
        self.admission.publish(&taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_and_bytes_are_bounded_and_given_back() {
        let admission = Arc::new(Admission::new(2, 100));
        let first = admission.enter(60).expect("room");
        assert!(admission.enter(41).is_none(), "too many bytes");
        let second = admission.enter(40).expect("room");
        assert!(admission.enter(0).is_none(), "too many proposals");
        drop(first);
        assert_eq!(admission.in_flight(), 1);
        drop(second);
        let huge = admission.enter(1000).expect("alone");
        assert!(admission.enter(1).is_none());
        drop(huge);
        assert_eq!(admission.in_flight(), 0);
    }
}
