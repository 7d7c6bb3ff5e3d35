//! Client ports: accepts connections, bounds them, and lets them finish when the replica stops.

mod stall;

use std::{
    convert::Infallible, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration,
};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    response::Response,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use self::stall::Stall;
use crate::{telemetry, tls::ClientPortTls};

/// Pause after a failed accept; most often the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 100;

/// Bounds of the client ports.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most open connections on all ports together; more wait to be accepted.
    pub connections_max: usize,
    /// Time for the head of a request to arrive, idle time before it included.
    pub head_timeout: Duration,
    /// Time for a client to take anything of an answer; who takes nothing for longer is cut off.
    pub write_timeout: Duration,
}

/// The client ports of a replica.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    places: Arc<Semaphore>,
    stop: CancellationToken,
    graceful: std::sync::Mutex<Option<GracefulShutdown>>,
}

/// Opens a port.
///
/// # Errors
/// If the address is taken, unknown, or not allowed.
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| io::Error::new(error.kind(), format!("listening at {address}: {error}")))
}

impl Server {
    /// A server without ports.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let shared = Shared {
            limits,
            places: Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS))),
            stop: CancellationToken::new(),
            graceful: std::sync::Mutex::new(Some(GracefulShutdown::new())),
        };
        Self { shared: Arc::new(shared), tasks: TaskTracker::new() }
    }

    /// Serves a port until the server stops.
    pub fn serve(&self, listener: TcpListener, app: Router) {
        self.serve_with(None, listener, routed(app));
    }

    /// As [`Server::serve`], inside TLS if there is any, with whatever answers the requests.
    pub fn serve_with<A, F>(&self, tls: Option<ClientPortTls>, listener: TcpListener, answer: A)
    where
        A: Fn(Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let tasks = self.tasks.clone();
        self.tasks.spawn(async move {
            let stop = shared.stop.clone();
            tokio::select! {
                () = accept(shared, tasks, listener, Port { answer, tls }) => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Accepts nothing more and waits until every accepted request is answered; whatever is not
    /// done after `patience` is cut off. Returns whether everything was answered.
    pub async fn stop(&self, patience: Duration) -> bool {
        self.shared.stop.cancel();
        self.tasks.close();
        let graceful = self.shared.take();
        let drained = async {
            if let Some(graceful) = graceful {
                graceful.shutdown().await;
            }
            self.tasks.wait().await;
        };
        timeout(patience, drained).await.is_ok()
    }
}

impl Shared {
    fn take(&self) -> Option<GracefulShutdown> {
        self.graceful.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    /// `None` once the server stops.
    fn watcher(&self) -> Option<Watcher> {
        let graceful = self.graceful.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        graceful.as_ref().map(GracefulShutdown::watcher)
    }
}

/// What connections to one port have in common.
#[derive(Clone)]
struct Port<A> {
    answer: A,
    tls: Option<ClientPortTls>,
}

/// Answers as a router does.
pub fn routed(app: Router) -> impl Fn(Request) -> Routed + Clone + Send + Sync + 'static {
    move |request| Box::pin(answer_by(app.clone(), request))
}

/// The answer of a router, on its way.
pub type Routed = Pin<Box<dyn Future<Output = Response> + Send>>;

async fn answer_by(app: Router, request: Request) -> Response {
    let answered: Result<_, Infallible> = app.oneshot(request).await;
    answered.unwrap_or_else(|never| match never {})
}

async fn accept<A, F>(shared: Arc<Shared>, tasks: TaskTracker, listener: TcpListener, port: Port<A>)
where
    A: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&shared.places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(watcher) = shared.watcher() else { return };
                let limits = shared.limits;
                let port = port.clone();
                let stop = shared.stop.clone();
                tasks.spawn(async move {
                    let _place = place;
                    welcome(stream, peer, port, limits, (watcher, stop)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Shakes hands where the port wants it, and serves the connection to its end.
async fn welcome<A, F>(
    stream: TcpStream,
    peer: SocketAddr,
    port: Port<A>,
    limits: Limits,
    (watcher, stop): (Watcher, CancellationToken),
) where
    A: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    metrics::counter!(telemetry::CLIENT_CONNECTIONS_TOTAL).increment(1);
    metrics::gauge!(telemetry::CLIENT_CONNECTIONS).increment(1.0);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY is not available");
    }
    match port.tls {
        None => converse(stream, peer, port.answer, limits, watcher).await,
        Some(tls) => {
            let shaken =
                timeout(limits.head_timeout, TlsAcceptor::from(tls.present()).accept(stream));
            let shaken = tokio::select! {
                shaken = shaken => shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
                () = stop.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
            };
            let outcome = if shaken.is_ok() { "done" } else { "failed" };
            metrics::counter!(telemetry::TLS_HANDSHAKES_TOTAL, "outcome" => outcome).increment(1);
            match shaken {
                Ok(stream) => converse(stream, peer, port.answer, limits, watcher).await,
                Err(error) => tracing::debug!(%peer, %error, "a client did not shake hands"),
            }
        }
    }
    metrics::gauge!(telemetry::CLIENT_CONNECTIONS).decrement(1.0);
}

/// Serves one connection to its end.
async fn converse<A, F>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    answer: A,
    limits: Limits,
    watcher: Watcher,
) where
    A: Fn(Request) -> F + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: hyper::Request<_>| {
        let mut request: Request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Stall::new(stream, limits.write_timeout)), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection broke");
    }
}
