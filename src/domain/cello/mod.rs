//! The cluster pool: hosts, the clusters on them, who has which, and what is to be done on Docker.
//!
//! Behaviour comes from the project's specification of the pool; section numbers in comments refer
//! to it. Nothing here touches a host. A command decides (which cluster, which id, which ports) and
//! leaves a [`model::Task`] in the record; the leader reads the tasks with
//! [`query::pending_effects`], carries them out, and says how they ended with
//! [`Command::ClusterCreated`], [`Command::ClusterDestroyed`], [`Command::PowerDone`],
//! [`Command::OperationFailed`] and their like for hosts. A task is named by its record and the log
//! index of the entry that made it (`op`); an outcome that names another one changes nothing. Begin
//! reading at [`model`] and [`command`].

mod apply;
mod clusters;
pub mod command;
mod event;
mod fill;
#[cfg(test)]
mod golden_test;
mod hosts;
mod ids;
mod index;
mod lease;
pub mod model;
#[cfg(test)]
mod play_test;
mod pool;
mod ports;
mod power;
#[cfg(test)]
mod property_test;
pub mod query;
pub mod record;
pub mod reject;
pub mod reply;
#[cfg(test)]
mod rules_test;
pub mod settings;
mod state;
mod tasks;
pub mod template;
mod text;

pub use command::Command;
pub use model::ClusterType;
pub use reject::Rejection;
pub use reply::Reply;
pub use state::{LostOps, State};
pub use template::Template;
