//! The body of a request, on its way to a replica.
//!
//! A small body is read whole before anything is sent, so that it can be sent again. A large one
//! goes through as it comes, and only once.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, HttpBody},
    http::{
        HeaderMap,
        header::{CONTENT_LENGTH, EXPECT},
    },
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::refusal::Refusal;

/// Most bytes of a body that are read on after it was found too large.
const DISCARD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest time for that.
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// Bounds of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Most bytes.
    pub(super) bytes_max: u64,
    /// Most bytes that are kept for another attempt.
    pub(super) replay_bytes_max: usize,
    /// Longest pause inside the body.
    pub(super) idle_timeout: Duration,
}

/// A body that waits to be sent.
#[derive(Debug)]
pub(super) enum Content {
    /// Complete; can be sent as often as needed.
    Whole(Bytes),
    /// On its way; can be sent once.
    Stream(Option<Body>),
}

/// Why a streamed body ended before its end, if it did.
#[derive(Clone, Debug, Default)]
pub(super) struct Fault(Arc<OnceLock<Refusal>>);

impl Fault {
    /// What went wrong on the client's side.
    pub(super) fn get(&self) -> Option<Refusal> {
        self.0.get().cloned()
    }
}

impl Content {
    /// Reads a small body, and begins with a large one.
    ///
    /// # Errors
    /// [`Refusal`] for a body that is too large, too slow, or broken off.
    pub(super) async fn take(
        headers: &HeaderMap,
        mut body: Body,
        bounds: Bounds,
        fault: &Fault,
    ) -> Result<Self, Refusal> {
        if body.is_end_stream() {
            return Ok(Self::Whole(Bytes::new()));
        }
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let announced = announced.and_then(|text| text.parse::<u64>().ok());
        if announced.is_some_and(|bytes| bytes > bounds.bytes_max) {
            // Who asks first has not sent anything yet, and need not.
            if !headers.contains_key(EXPECT) {
                discard(body).await;
            }
            return Err(Refusal::BodyTooLarge(bounds.bytes_max));
        }
        if announced.is_some_and(|bytes| bytes > bounds.replay_bytes_max as u64) {
            return Ok(Self::stream(Bytes::new(), body, bounds, fault));
        }
        let mut read = BytesMut::new();
        let until = Instant::now() + bounds.idle_timeout;
        // Small as it is, its parts together have no more time than one pause of a large one.
        while let Some(data) = timeout_frame(&mut body, until).await? {
            if read.len() as u64 + data.len() as u64 > bounds.bytes_max {
                return Err(Refusal::BodyTooLarge(bounds.bytes_max));
            }
            read.extend_from_slice(&data);
            if read.len() > bounds.replay_bytes_max {
                return Ok(Self::stream(read.freeze(), body, bounds, fault));
            }
        }
        Ok(Self::Whole(read.freeze()))
    }

    fn stream(begin: Bytes, rest: Body, bounds: Bounds, fault: &Fault) -> Self {
        let left = bounds.bytes_max - begin.len() as u64;
        let begin = (!begin.is_empty()).then_some(begin);
        let fault = fault.clone();
        let idle = Idle::new(bounds.idle_timeout);
        let bytes_max = bounds.bytes_max;
        Self::Stream(Some(Body::new(Upload { begin, rest, left, bytes_max, idle, fault })))
    }

    /// Whether the body can be sent another time.
    pub(super) fn is_replayable(&self) -> bool {
        matches!(self, Self::Whole(_))
    }

    /// The body of the next attempt; `None` if it was sent before and is gone.
    pub(super) fn next(&mut self) -> Option<Body> {
        match self {
            Self::Whole(bytes) => Some(Body::from(bytes.clone())),
            Self::Stream(body) => body.take(),
        }
    }
}

/// A client that is still sending would meet a closed connection instead of the refusal; so its
/// body is read on for a while, and forgotten.
async fn discard(mut body: Body) {
    let until = Instant::now() + DISCARD_TIME;
    let mut read = 0;
    while let Ok(Some(data)) = timeout_frame(&mut body, until).await {
        read += data.len();
        if read > DISCARD_BYTES_MAX {
            return;
        }
    }
}

async fn timeout_frame(body: &mut Body, until: Instant) -> Result<Option<Bytes>, Refusal> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match timeout(left, body.frame()).await {
            Err(_) => return Err(Refusal::BodySlow),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(Refusal::BodyBroken(error.to_string())),
            // Trailers are about this connection.
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_) => continue,
            },
        }
    }
}

/// Runs out when nothing happens for too long.
#[derive(Debug)]
pub(super) struct Idle {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, sleep: None }
    }

    /// Something happened.
    pub(super) fn rest(&mut self) {
        self.sleep = None;
    }

    /// Nothing happened; ready once that is so for too long.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        self.sleep.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(context)
    }
}

/// A large body on its way.
struct Upload {
    begin: Option<Bytes>,
    rest: Body,
    left: u64,
    bytes_max: u64,
    idle: Idle,
    fault: Fault,
}

impl Upload {
    fn fail(&self, refusal: Refusal) -> BoxError {
        let message = refusal.to_string();
        // The first fault is the one that counts.
        let _ = self.fault.0.set(refusal);
        message.into()
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(begin) = this.begin.take() {
            return Poll::Ready(Some(Ok(Frame::data(begin))));
        }
        let polled = Pin::new(&mut this.rest).poll_frame(context);
        if polled.is_pending() {
            ready!(this.idle.poll(context));
            return Poll::Ready(Some(Err(this.fail(Refusal::BodySlow))));
        }
        this.idle.rest();
        let Poll::Ready(Some(read)) = polled else { return Poll::Ready(None) };
        let frame = match read {
            Ok(frame) => frame,
            Err(error) => {
                return Poll::Ready(Some(Err(this.fail(Refusal::BodyBroken(error.to_string())))));
            }
        };
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        if bytes > this.left {
            return Poll::Ready(Some(Err(this.fail(Refusal::BodyTooLarge(this.bytes_max)))));
        }
        this.left -= bytes;
        Poll::Ready(Some(Ok(frame)))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use futures::{StreamExt, stream};

    use super::*;

    const BOUNDS: Bounds =
        Bounds { bytes_max: 8, replay_bytes_max: 4, idle_timeout: Duration::from_millis(50) };

    fn parts(parts: &[&'static str], ends: bool) -> Body {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| Ok::<_, std::io::Error>(Bytes::from_static(part.as_bytes())))
            .collect();
        if ends {
            Body::from_stream(stream::iter(parts))
        } else {
            Body::from_stream(stream::iter(parts).chain(stream::pending()))
        }
    }

    async fn take(body: Body, announced: Option<u64>) -> Result<(Content, Fault), Refusal> {
        let mut headers = HeaderMap::new();
        if let Some(bytes) = announced {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
        }
        let fault = Fault::default();
        Ok((Content::take(&headers, body, BOUNDS, &fault).await?, fault))
    }

    async fn read(content: &mut Content) -> Option<Bytes> {
        Some(content.next().unwrap().collect().await.ok()?.to_bytes())
    }

    #[tokio::test]
    async fn a_small_body_can_be_sent_again() {
        let (mut content, _) = take(parts(&["ab", "cd"], true), None).await.unwrap();
        assert!(content.is_replayable());
        assert_eq!(read(&mut content).await.unwrap(), "abcd");
        assert_eq!(read(&mut content).await.unwrap(), "abcd");
    }

    #[tokio::test]
    async fn a_large_body_goes_through_once_and_whole() {
        for announced in [None, Some(7)] {
            let (mut content, _) =
                take(parts(&["ab", "cde", "fg"], true), announced).await.unwrap();
            assert!(!content.is_replayable());
            assert_eq!(read(&mut content).await.unwrap(), "abcdefg");
            assert!(content.next().is_none());
        }
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_refused_as_soon_as_that_is_known() {
        let refusal = take(parts(&["a"], true), Some(9)).await.unwrap_err();
        assert_eq!(refusal, Refusal::BodyTooLarge(8));
        let refusal = take(parts(&["abcdefghi"], true), None).await.unwrap_err();
        assert_eq!(refusal, Refusal::BodyTooLarge(8));
        let (mut content, fault) = take(parts(&["abcde", "fghi"], true), None).await.unwrap();
        assert_eq!(read(&mut content).await, None);
        assert_eq!(fault.get(), Some(Refusal::BodyTooLarge(8)));
    }

    #[tokio::test]
    async fn a_body_that_does_not_go_on_is_given_up() {
        let refusal = take(parts(&["ab"], false), None).await.unwrap_err();
        assert_eq!(refusal, Refusal::BodySlow);
        let (mut content, fault) = take(parts(&["abcde"], false), None).await.unwrap();
        assert_eq!(read(&mut content).await, None);
        assert_eq!(fault.get(), Some(Refusal::BodySlow));
    }
}
