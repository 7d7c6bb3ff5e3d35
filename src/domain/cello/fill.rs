//! Filling hosts up to their capacity (spec 4.2, 4.4).

use super::{State, model::Host};

impl State {
    /// Whether the loop is to fill the host now.
    pub(super) fn is_to_be_filled(&self, host: &Host, now_ms: u64) -> bool {
        host.is_autofill
            && host.is_active
            && host.task.is_none()
            && host.fill_not_before_ms <= now_ms
            && self.cluster_count(&host.id) < host.capacity as usize
    }
}
