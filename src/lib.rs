//! One binary, three API families, one Raft log. The map of the code:
//!
//! - [`domain`]: the replicated state and every rule about it; pure.
//! - [`replica`]: the one file that knows both the engine and the domain.
//! - [`broker`]: what the edges see: propose, view, watch.
//! - [`api`]: HTTP, one folder a family; parses, maps errors, decides nothing.
//! - [`control`]: leader-only loops.
//! - [`observe`]: what this replica sees of the world; on every replica.
//! - [`client`]: outbound I/O behind small traits.
//! - [`gateway`]: forwards a client's requests to whichever replica serves.
//! - [`seal`]: seals secrets before they are proposed, opens them where they are needed.
//! - [`server`]: client ports and their connections.
//! - [`ui`]: the files of the web console.
//! - [`tls`]: certificates of the client ports and between replicas.
//! - [`cli`]: one file a noun.
//! - [`config`]: file, environment and flags; [`clock`]: time and randomness; [`telemetry`]: logs
//!   and metrics.
//!
//! What holds, and what `tests/tidy.rs` enforces by reading the sources: the engine names no
//! family; `domain` knows no clock, randomness, file, socket or hash map; HTTP status codes exist
//! in `api` alone; nothing but `apply` writes state, and nothing in `apply` has an effect.

pub mod api;
pub mod broker;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod control;
pub mod domain;
pub mod gateway;
pub mod observe;
pub mod replica;
pub mod seal;
pub mod server;
pub mod telemetry;
pub mod tls;
pub mod ui;
