//! Tells the log what becomes of each proposal, under its request id: on the replica that was asked
//! and on the leader that it was handed to.

use std::time::Duration;

use super::{propose::Tried, read::millis};
use crate::{Applied, ProposeError, ReplicaId, RequestId, throttle::Throttle};

/// What takes longer is worth a warning.
const SLOW: Duration = Duration::from_secs(1);
/// Warnings a second; the rest is told as everything else is, at `debug`.
const WARNINGS_PER_S: u32 = 20;

static WARNINGS: Throttle = Throttle::new(WARNINGS_PER_S);

/// What a proposal of this replica's own callers came to, as metrics name it.
pub(super) fn outcome<R>(result: &Result<Applied<R>, ProposeError>) -> &'static str {
    match result {
        Ok(applied) if applied.is_duplicate => "duplicate",
        Ok(_) => "applied",
        Err(ProposeError::NotAccepted { .. }) => "not_accepted",
        Err(ProposeError::Unknown { .. }) => "unknown",
        Err(_) => "refused",
    }
}

/// What an attempt to place a proposal came to, as metrics name it.
pub(super) fn attempt(tried: &Tried) -> &'static str {
    match tried {
        Tried::Done(_) => "applied",
        Tried::Refused(_) => "not_accepted",
        Tried::Busy { .. } => "busy",
        Tried::Doubtful(_) | Tried::Dead(_) => "unknown",
    }
}

/// Of a proposal of this replica's own callers.
pub(super) fn own<R>(
    replica: ReplicaId,
    request_id: RequestId,
    result: &Result<Applied<R>, ProposeError>,
    elapsed: Duration,
) {
    let outcome = outcome(result);
    let elapsed_ms = millis(elapsed);
    let reason = result.as_ref().err().map(ToString::to_string);
    let reason = reason.as_deref();
    if is_worth_a_warning(outcome, elapsed) {
        tracing::warn!(replica, %request_id, outcome, elapsed_ms, reason, "proposal");
    } else {
        tracing::debug!(replica, %request_id, outcome, elapsed_ms, reason, "proposal");
    }
}

/// Of a proposal that another replica handed over.
pub(super) fn forwarded(
    replica: ReplicaId,
    from: ReplicaId,
    request_id: Option<RequestId>,
    tried: &Tried,
    elapsed: Duration,
) {
    let outcome = attempt(tried);
    let elapsed_ms = millis(elapsed);
    let reason = match tried {
        Tried::Done(_) | Tried::Busy { .. } => None,
        Tried::Refused(reason) => Some(*reason),
        Tried::Doubtful(reason) | Tried::Dead(reason) => Some(reason.as_str()),
    };
    let request_id = request_id.map(tracing::field::display);
    if is_worth_a_warning(outcome, elapsed) {
        tracing::warn!(
            replica,
            from,
            request_id,
            outcome,
            elapsed_ms,
            reason,
            "forwarded proposal"
        );
    } else {
        tracing::debug!(
            replica,
            from,
            request_id,
            outcome,
            elapsed_ms,
            reason,
            "forwarded proposal"
        );
    }
}

fn is_worth_a_warning(outcome: &str, elapsed: Duration) -> bool {
    let is_bad = matches!(outcome, "not_accepted" | "busy" | "unknown");
    (is_bad || elapsed >= SLOW) && WARNINGS.passes()
}
