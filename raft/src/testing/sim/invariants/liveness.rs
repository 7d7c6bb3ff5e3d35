//! Once all faults have ended, the cluster works again within a stated time.

use super::{Invariant, holds};
use crate::testing::sim::event::Event;

/// Longest time until every replica serves, a write through each of them has succeeded, and all
/// have the same state, in milliseconds. Most of it is for a replica that begins to start then.
pub(crate) const RECOVERY_MS_MAX: u64 = 15_000;

/// Whether the faults have ended.
#[derive(Default)]
pub(super) struct Liveness {
    healed_ms: Option<u64>,
}

impl Invariant for Liveness {
    fn name(&self) -> &'static str {
        "the cluster works again after all faults"
    }

    fn saw(&mut self, now_ms: u64, event: &Event) -> Result<(), String> {
        match event {
            Event::Healed => {
                self.healed_ms = Some(now_ms);
                Ok(())
            }
            Event::Recovered { after_ms, .. } => {
                holds(self.healed_ms.is_some() && *after_ms <= RECOVERY_MS_MAX, || {
                    format!("it took {after_ms} ms")
                })
            }
            _ => Ok(()),
        }
    }
}
