//! Bounds that hold for every family: requests in flight, body sizes, deadlines.
//!
//! A refusal is neutral here; each family gives it the shape its clients expect.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{
        HeaderMap,
        header::{CONTENT_LENGTH, EXPECT},
    },
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// Most bytes of an ordinary body.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes of a body that carries a whole state.
pub const RESTORE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Time for a request that carries a whole state.
pub const RESTORE_TIMEOUT: Duration = Duration::from_secs(30);
/// Most requests with a whole state at a time.
pub const RESTORES_IN_FLIGHT_MAX: usize = 2;
/// Most readers of the change feed at a time on one listener.
pub const EVENT_READERS_MAX: usize = 256;
/// Most requests at a time on one replica.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 1024;
/// Most bytes of a body that are read on after it was found too large.
const DISCARD_BYTES_MAX: usize = 16 * BODY_BYTES_MAX;
/// Longest time for that.
const DISCARD_TIME: Duration = Duration::from_secs(1);
/// Time for an ordinary request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a request was turned away before anything was asked of the state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Too many requests at a time.
    #[error("too many requests at a time")]
    Busy,
    /// This replica is in quarantine.
    #[error(
        "this replica is in quarantine: its state differs from that of the majority; ask another one"
    )]
    Quarantined,
    /// One client sends more than its share.
    #[error("this client sends too many requests")]
    TooFast {
        /// When the next one may pass, seconds.
        retry_after_s: u64,
    },
    /// Who asks is not known.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// Who asks is known, and may not.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The body is larger than the route takes.
    #[error("the request body is larger than {0} bytes")]
    BodyTooLarge(usize),
    /// The body did not arrive within the deadline.
    #[error("the request body did not arrive in time")]
    BodySlow,
    /// The connection broke inside the body.
    #[error("the request body broke off: {0}")]
    BodyBroken(String),
    /// A `Quorate-*` header or parameter has a value without meaning.
    #[error("{0}")]
    BadHeader(String),
}

impl Refusal {
    /// One word, for metrics.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Quarantined => "quarantined",
            Self::TooFast { .. } => "too_fast",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::BodyTooLarge(_) | Self::BodySlow | Self::BodyBroken(_) => "body",
            Self::BadHeader(_) => "header",
        }
    }
}

/// Admits a bounded number of requests at a time.
#[derive(Debug)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    /// Admits `requests_max` at a time.
    pub(crate) fn new(requests_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(requests_max)))
    }

    /// Admits one, until the permit is dropped.
    ///
    /// # Errors
    /// [`Refusal::Busy`] at once if the gate is full; nothing queues here.
    pub(crate) fn enter(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| Refusal::Busy)
    }
}

/// Reads a whole body of at most `bytes_max` before `deadline`.
///
/// A client that is still sending its body would meet a closed connection instead of the refusal;
/// so what is too large is read on for a while, and forgotten.
///
/// # Errors
/// [`Refusal`] for a body that is too large, too slow, or broken off.
pub(crate) async fn read_body(
    headers: &HeaderMap,
    mut body: Body,
    bytes_max: usize,
    deadline: Instant,
) -> Result<Bytes, Refusal> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|text| text.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
        // Who asks first has not sent anything yet, and need not.
        if !headers.contains_key(EXPECT) {
            discard(body, deadline).await;
        }
        return Err(Refusal::BodyTooLarge(bytes_max));
    }
    let read = timeout_at(deadline, collect(&mut body, bytes_max)).await;
    let read = read.unwrap_or(Err(Refusal::BodySlow));
    if matches!(read, Err(Refusal::BodyTooLarge(_))) {
        discard(body, deadline).await;
    }
    read
}

async fn collect(body: &mut Body, bytes_max: usize) -> Result<Bytes, Refusal> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge(bytes_max)),
        Err(error) => Err(Refusal::BodyBroken(error.to_string())),
    }
}

/// Reads on without keeping anything, for a bounded time and a bounded length.
async fn discard(mut body: Body, deadline: Instant) {
    let deadline = deadline.min(Instant::now() + DISCARD_TIME);
    let mut bytes = 0;
    while bytes < DISCARD_BYTES_MAX
        && let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await
    {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[test]
    fn a_full_gate_refuses_until_a_permit_is_dropped() {
        let gate = Gate::new(1);
        let permit = gate.enter().unwrap();
        assert!(matches!(gate.enter(), Err(Refusal::Busy)));
        drop(permit);
        assert!(gate.enter().is_ok());
    }

    #[tokio::test]
    async fn bodies_are_bounded_with_and_without_an_announced_length() {
        let none = HeaderMap::new();
        assert_eq!(read_body(&none, Body::from("abcd"), 4, soon()).await.unwrap(), "abcd");
        let long = read_body(&none, Body::from("abcde"), 4, soon()).await;
        assert!(matches!(long, Err(Refusal::BodyTooLarge(4))));
        let mut announced = HeaderMap::new();
        announced.insert(CONTENT_LENGTH, 5.into());
        let long = read_body(&announced, Body::empty(), 4, soon()).await;
        assert!(matches!(long, Err(Refusal::BodyTooLarge(4))));
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let read = read_body(&HeaderMap::new(), silent, 4, soon()).await;
        assert!(matches!(read, Err(Refusal::BodySlow)));
    }
}
