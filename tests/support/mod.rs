//! What the black-box tests share: real replicas as processes, writers that keep a record, and
//! stand-ins for the clients of the undermoon broker.

#![allow(dead_code, unreachable_pub, clippy::print_stderr, missing_docs)]

pub mod cluster;
pub mod compare;
pub mod coordinator;
pub mod docker;
pub mod gateway;
pub mod namespace;
pub mod process;
pub mod readers;
pub mod resp;
pub mod server_proxy;
pub mod spoil;
pub mod writers;
