//! The Redis proxy broker: proxies, chunks, clusters, slots, migrations, failures, epochs.
//!
//! Behaviour comes from the memory broker of undermoon, restated in the project's specification;
//! section numbers in comments refer to it.

pub mod command;
pub mod config;
pub mod document;
pub mod reject;
pub mod reply;
pub mod settings;
pub mod view;

pub use command::{Action, Command, Profile};
pub use reject::Rejection;
pub use reply::Reply;

/// State of the undermoon family.
#[derive(Clone, Debug, Default)]
pub struct State {}
