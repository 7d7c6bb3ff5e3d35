//! Deterministic simulation: whole clusters of the real engine in one thread, on a simulated
//! clock, network and disk, where one number decides everything that happens.
//!
//! What runs is [`crate::Node`] as it is shipped: elections, replication, the request window, the
//! start barrier, snapshots, membership. What is simulated is below it: which task goes on next and
//! when time passes ([`runtime`]), what becomes of a message ([`network`]), what a disk has kept
//! after a crash ([`disk`]). A run ([`run`]) follows a plan drawn from its seed ([`plan`]); what
//! happens is told to the [`invariants`], and hashed, so that two runs can be compared.
//!
//! Begin reading at [`run`].

pub(crate) mod clients;
pub(crate) mod disk;
pub(crate) mod event;
pub(crate) mod faults;
pub(crate) mod invariants;
pub(crate) mod network;
pub(crate) mod place;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod runtime;
pub(crate) mod witness;

mod sim_test;
