//! The body of an answer, on its way to the client: passed on as it comes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{BoxError, body::HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::{content::Idle, pool::Lease};

/// Holds the connection until the last byte was read, and the request's place until the client has
/// taken it.
#[derive(Debug)]
pub(super) struct Relay {
    body: Incoming,
    lease: Option<Lease>,
    idle: Idle,
    _place: OwnedSemaphorePermit,
}

impl Relay {
    /// `lease` is the connection, if it can be used again.
    pub(super) fn new(
        body: Incoming,
        lease: Option<Lease>,
        idle_timeout: Duration,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { body, lease, idle: Idle::new(idle_timeout), _place: place }
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
    }
}

impl HttpBody for Relay {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Pending => {
                ready!(this.idle.poll(context));
                this.lease = None;
                Poll::Ready(Some(Err("the replica stopped inside its answer".into())))
            }
            Poll::Ready(None) => {
                this.release();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                this.idle.rest();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.lease = None;
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // An answer of known length is not asked for its end once its last byte was taken.
        if self.body.is_end_stream() {
            self.release();
        }
    }
}
