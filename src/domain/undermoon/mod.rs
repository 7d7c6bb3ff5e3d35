//! The Redis proxy broker: proxies, chunks, clusters, slots, migrations, failures, epochs.
//!
//! Behaviour comes from the memory broker of undermoon, restated in the project's specification;
//! section numbers in comments refer to it. Begin reading at [`command`] and [`document`]; then
//! `apply` leads to the file of each topic.

mod alloc;
mod apply;
mod clusters;
pub mod command;
pub mod config;
pub mod document;
mod epoch;
mod event;
mod failure;
mod migration;
pub mod name;
mod proxies;
pub mod query;
pub mod record;
pub mod reject;
pub mod reply;
mod scale;
pub mod settings;
pub mod slots;
mod state;
mod validate;
pub mod view;

pub use clusters::strategy;
pub use command::{Action, Command, Profile};
pub use reject::Rejection;
pub use reply::Reply;
pub use state::State;

#[cfg(test)]
mod clusters_test;
#[cfg(test)]
mod epoch_test;
#[cfg(test)]
mod failure_test;
#[cfg(test)]
mod golden_test;
#[cfg(test)]
mod invariant_test;
#[cfg(test)]
mod play_test;
#[cfg(test)]
mod property_test;
#[cfg(test)]
mod scale_test;
