//! Outbound I/O behind small traits. A client speaks one protocol, bounds every step in time and
//! size, and leaves retries to its caller; it knows nothing of the replicated state.

pub mod backups;
pub mod host_ping;
pub mod https;
pub mod node_call;
pub mod node_pool;
pub mod node_tls;
mod node_wire;
pub mod proxy;
pub mod runtime;
pub mod service_probe;
