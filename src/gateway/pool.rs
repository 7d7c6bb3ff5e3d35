//! Open connections to one replica.
//!
//! A connection carries one request at a time and is used again once its answer was read to the
//! end. [`Pool::cut`] ends all of them, those in use included: whoever waits on one is told.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;

use super::endpoint::Endpoint;

/// Most connections that wait for their next request.
const IDLE_MAX: usize = 128;
/// A connection that waited longer may be closed by the replica at any moment.
const IDLE_TIME_MAX: Duration = Duration::from_secs(15);
/// Time for a connection whose answer was read to become ready for the next request.
const READY_TIMEOUT: Duration = Duration::from_millis(20);
/// Largest head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The connections to one replica.
#[derive(Debug)]
pub(super) struct Pool {
    endpoint: Endpoint,
    connect_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Ends the connections made since the last cut.
    cut: CancellationToken,
    idle: Vec<Idle>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<Body>,
    since: Instant,
}

/// A connection in use.
#[derive(Debug)]
pub(super) struct Lease {
    sender: SendRequest<Body>,
    /// Whether it carried a request before, so that the replica may have closed it meanwhile.
    pub(super) is_used: bool,
    pool: Arc<Pool>,
    cut: CancellationToken,
}

impl Pool {
    pub(super) fn new(endpoint: Endpoint, connect_timeout: Duration) -> Self {
        Self { endpoint, connect_timeout, state: Mutex::default() }
    }

    /// A connection that waits, or a new one.
    ///
    /// # Errors
    /// If the replica cannot be connected to in time.
    pub(super) async fn lease(self: &Arc<Self>) -> io::Result<Lease> {
        loop {
            let (idle, cut) = {
                let mut state = self.lock();
                (state.idle.pop(), state.cut.clone())
            };
            let Some(Idle { mut sender, since }) = idle else {
                return self.connect().await;
            };
            if sender.is_closed() || since.elapsed() > IDLE_TIME_MAX {
                continue;
            }
            if let Ok(Ok(())) = timeout(READY_TIMEOUT, sender.ready()).await {
                return Ok(Lease { sender, is_used: true, pool: Arc::clone(self), cut });
            }
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// If the replica cannot be connected to in time.
    pub(super) async fn connect(self: &Arc<Self>) -> io::Result<Lease> {
        let cut = self.lock().cut.clone();
        let connecting = timeout(self.connect_timeout, TcpStream::connect(self.endpoint.as_str()));
        let stream = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX);
        let made = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(io::Error::other)?;
        let end = cut.clone();
        tokio::spawn(async move {
            tokio::select! {
                // What breaks a connection is told to whoever waits for an answer on it.
                ended = connection => drop(ended),
                () = end.cancelled() => {}
            }
        });
        Ok(Lease { sender, is_used: false, pool: Arc::clone(self), cut })
    }

    /// Ends every connection at once.
    pub(super) fn cut(&self) {
        let state = std::mem::take(&mut *self.lock());
        state.cut.cancel();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The connection to send one request on.
    pub(super) fn sender(&mut self) -> &mut SendRequest<Body> {
        &mut self.sender
    }

    /// Gives the connection back, once its answer was read to the end.
    pub(super) fn release(self) {
        if self.cut.is_cancelled() {
            return;
        }
        let mut state = self.pool.lock();
        if state.idle.len() < IDLE_MAX {
            state.idle.push(Idle { sender: self.sender, since: Instant::now() });
        }
    }
}
