//! One binary, three API families, one Raft log. The map of the code:
//!
//! - [`domain`]: the replicated state and every rule about it; pure.
//! - `replica`: the one file that knows both the engine and the domain.
//! - [`broker`]: what the edges see: propose, view, watch.
//! - `api`: HTTP, one folder a family; parses, maps errors, decides nothing.
//! - `control`: leader-only loops.
//! - `client`: outbound I/O behind small traits.
//! - `cli`: one file a noun.

pub mod broker;
pub mod client;
pub mod domain;
