//! Accepts connections of other replicas.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Most connections at a time. A replica needs a handful, and one for every forward in flight.
const CONNECTIONS_MAX: usize = 4096;
/// How long to wait after the system refused a connection, because it has no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves connections until it is told to stop; then all of them are dropped at once, because
/// whoever forwarded a proposal sends it again under the same request id.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
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
        let (app, stop) = (app.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = connection(stream, app) => {}
                () = stop.cancelled() => {}
            }
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, app: Router) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a peer connection is gone already");
        return;
    }
    let service = TowerToHyperService::new(app);
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
    {
        tracing::debug!(%error, "a peer connection ended");
    }
}
