//! Whether a Docker daemon answers, as far as a request of an operator needs to know it.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;

/// Pings daemons.
pub trait HostPing: fmt::Debug + Send + Sync {
    /// Whether a Docker Engine answers at `tcp://ADDRESS:PORT` or `unix:///PATH` within `time`;
    /// the error says why not, for people, without secrets.
    fn ping<'a>(
        &'a self,
        daemon_url: &'a str,
        is_tls: bool,
        time: Duration,
    ) -> BoxFuture<'a, Result<(), String>>;
}
