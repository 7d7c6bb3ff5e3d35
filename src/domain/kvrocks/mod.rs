//! The Kvrocks controller: namespaces, clusters, shards, nodes, slots, migrations, failovers.
//!
//! Behaviour comes from kvrocks-controller, restated in the project's specification; section
//! numbers in comments refer to it. Begin reading at [`model`] (what a cluster is) and
//! [`command`] (what can be asked); then `apply` leads to the file of each topic. What the loops
//! on the leader need besides is in [`query`], [`candidate`], [`nodes_text`] and [`topology`].

mod apply;
pub mod candidate;
mod clusters;
pub mod command;
#[cfg(test)]
mod damage_test;
mod event;
mod failover;
#[cfg(test)]
mod golden_test;
mod health;
#[cfg(test)]
mod invariant_test;
mod jobs;
mod migration;
pub mod model;
pub mod name;
mod namespaces;
pub mod nodes_text;
#[cfg(test)]
mod property_test;
pub mod query;
pub mod record;
pub mod reject;
pub mod reply;
pub mod reseal;
#[cfg(test)]
mod rules_test;
pub mod secret;
pub mod settings;
mod shards;
pub mod slots;
mod state;
mod sync;
pub mod topology;
mod validate;

pub use command::Command;
pub use reject::Rejection;
pub use reply::Reply;
pub use secret::Secret;
pub use slots::SlotRange;
pub use state::State;
