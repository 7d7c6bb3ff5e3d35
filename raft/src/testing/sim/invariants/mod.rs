//! What must hold whatever happens, one file each.

mod acknowledged;
mod agreement;
mod at_most_once;
mod ballots_rise;
mod durable;
mod fenced;
mod leader_complete;
mod linearizable;
mod liveness;
mod local_reads;
mod log_matching;
mod model;
mod monotonic;
mod state_machine;
mod stops_for_cause;

pub(crate) use liveness::RECOVERY_MS_MAX;

use super::event::Event;

/// Something that must hold.
pub(crate) trait Invariant: Send {
    /// What people call it.
    fn name(&self) -> &'static str;

    /// Judges what has happened.
    ///
    /// # Errors
    /// What does not hold.
    fn saw(&mut self, now_ms: u64, event: &Event) -> Result<(), String>;
}

/// All invariants, before anything has happened.
pub(crate) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(ballots_rise::BallotsRise::default()),
        Box::new(log_matching::LogMatching::default()),
        Box::new(leader_complete::LeaderComplete::default()),
        Box::new(state_machine::StateMachine::default()),
        Box::new(acknowledged::Acknowledged::default()),
        Box::new(at_most_once::AtMostOnce::default()),
        Box::new(linearizable::Linearizable::default()),
        Box::new(fenced::Fenced::default()),
        Box::new(local_reads::LocalReads::default()),
        Box::new(durable::Durable::default()),
        Box::new(monotonic::Monotonic::default()),
        Box::new(stops_for_cause::StopsForCause),
        Box::new(agreement::Agreement),
        Box::new(liveness::Liveness::default()),
    ]
}

/// `Ok` if something holds, otherwise what does not.
fn holds(condition: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(what()) }
}
