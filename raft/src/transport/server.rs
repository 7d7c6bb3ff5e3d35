//! Accepts connections of other replicas.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use metrics::counter;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connect::PeerStream,
    credentials::Credentials,
    proof::{self, Doubt},
};
use crate::{metrics::PEER_REFUSALS_TOTAL, tls::PeerTls};

/// Most connections at a time. A replica needs a handful, and one for every forward in flight.
const CONNECTIONS_MAX: usize = 4096;
/// How long to wait after the system refused a connection, because it has no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time for a caller to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// Whom the peer port lets in.
#[derive(Clone)]
pub(crate) struct Door {
    /// What callers must know.
    pub(crate) credentials: Arc<Credentials>,
    /// What callers must have, if there is TLS.
    pub(crate) tls: Option<PeerTls>,
}

/// Where other replicas come in.
pub(crate) enum Entrance {
    /// A port of this machine.
    Bound(TcpListener),
    /// An address of a simulated network.
    #[cfg(test)]
    Simulated(String),
}

/// Serves connections until it is told to stop; then all of them are dropped at once, because
/// whoever forwarded a proposal sends it again under the same request id.
pub(crate) async fn serve(
    entrance: Entrance,
    app: Router,
    door: Door,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    #[allow(clippy::infallible_destructuring_match, reason = "tests have another entrance")]
    let listener = match entrance {
        Entrance::Bound(listener) => listener,
        #[cfg(test)]
        Entrance::Simulated(addr) => {
            return crate::testing::sim::network::serve(addr, app, stop).await;
        }
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a peer connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            tracing::warn!(connections = CONNECTIONS_MAX, "a peer connection was dropped");
            continue;
        };
        let (app, door, stop) = (app.clone(), door.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = connection(stream, app, door) => {}
                () = stop.cancelled() => {}
            }
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, app: Router, door: Door) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a peer connection is gone already");
        return;
    }
    let from = stream.peer_addr().map_or_else(|_| String::new(), |from| from.to_string());
    let stream = match door.let_in(stream).await {
        Ok(stream) => stream,
        Err(Doubt::Silent) => return,
        Err(error @ Doubt::GaveUp) => {
            tracing::debug!(from, %error, "a peer connection ended");
            return;
        }
        Err(error) => {
            counter!(PEER_REFUSALS_TOTAL).increment(1);
            tracing::warn!(from, %error, "a peer connection was refused");
            return;
        }
    };
    let service = TowerToHyperService::new(app);
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
    {
        tracing::debug!(%error, "a peer connection ended");
    }
}

impl Door {
    /// Shakes hands with a caller, and has it prove itself.
    async fn let_in(&self, stream: TcpStream) -> Result<PeerStream, Doubt> {
        let mut stream = match &self.tls {
            None => PeerStream::Plain(stream),
            Some(tls) => {
                let mut first = [0];
                if stream.peek(&mut first).await? == 0 {
                    return Err(Doubt::Silent);
                }
                let shaken = timeout(HANDSHAKE, TlsAcceptor::from(tls.server()).accept(stream));
                let shaken = shaken.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
                PeerStream::Accepted(Box::new(shaken?))
            }
        };
        proof::answer(&mut stream, self.credentials.key()).await?;
        Ok(stream)
    }
}
