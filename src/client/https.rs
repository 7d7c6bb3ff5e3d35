//! HTTP to replicas, inside TLS where the URL says so.
//!
//! Connections are made with what [`Http`] was given when it was made. Nothing is retried here.

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use http_body_util::{BodyDataStream, BodyExt, Full, LengthLimitError, Limited};
use hyper::{Request, Response, Uri, body::Incoming, http::response::Parts};
use hyper_util::{
    client::legacy::{
        self, Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

/// Time for a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection: the request was not sent.
    #[error("{0}")]
    Unsent(String),
    /// The connection broke.
    #[error("{0}")]
    Broken(String),
    /// The time is over.
    #[error("no answer in {} ms", .0.as_millis())]
    Late(Duration),
    /// The answer is larger than allowed.
    #[error("the answer has more than {0} bytes")]
    Large(usize),
}

/// Sends requests; cheap to clone.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client<Connector, Full<Bytes>>,
}

impl Http {
    /// Without `tls`, URLs that begin with `https` cannot be asked.
    #[must_use]
    pub fn new(tls: Option<Arc<ClientConfig>>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(Connector { tls });
        Self { client }
    }

    /// Sends a request and reads the whole answer, of at most `bytes_max`.
    ///
    /// # Errors
    /// [`HttpError`]; whether the request arrived is not known then.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        patience: Duration,
        bytes_max: usize,
    ) -> Result<Response<Bytes>, HttpError> {
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| failed(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, bytes_max).collect().await;
            let body = body.map_err(|error| match error.is::<LengthLimitError>() {
                true => HttpError::Large(bytes_max),
                false => deepest(&*error),
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        timeout(patience, exchange).await.unwrap_or(Err(HttpError::Late(patience)))
    }

    /// Sends a request and hands over the answer as it comes; `patience` is for its head, and for
    /// each of its parts.
    ///
    /// # Errors
    /// [`HttpError`]; whether the request arrived is not known then.
    pub async fn open(
        &self,
        request: Request<Full<Bytes>>,
        patience: Duration,
    ) -> Result<(Parts, BoxStream<'static, io::Result<Bytes>>), HttpError> {
        let answered = timeout(patience, self.client.request(request)).await;
        let response = answered.map_err(|_| HttpError::Late(patience))?;
        let (head, body) = response.map_err(|error| failed(&error))?.into_parts();
        Ok((head, parts(body, patience)))
    }
}

/// The parts of an answer; one that is late is an error, and the last.
fn parts(body: Incoming, patience: Duration) -> BoxStream<'static, io::Result<Bytes>> {
    let chunks = Some(body.into_data_stream());
    let next = move |chunks: Option<BodyDataStream<Incoming>>| async move {
        let mut chunks = chunks?;
        match timeout(patience, chunks.next()).await {
            Err(_) => Some((Err(io::Error::other(HttpError::Late(patience))), None)),
            Ok(None) => None,
            Ok(Some(Err(error))) => Some((Err(io::Error::other(deepest(&error))), None)),
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(chunks))),
        }
    };
    Box::pin(stream::unfold(chunks, next))
}

/// Whether anything was sent matters to whoever asked for a change.
fn failed(error: &legacy::Error) -> HttpError {
    match deepest(error) {
        HttpError::Broken(reason) if error.is_connect() => HttpError::Unsent(reason),
        other => other,
    }
}

fn deepest(error: &(dyn Error + 'static)) -> HttpError {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    HttpError::Broken(cause.to_string())
}

#[derive(Clone)]
struct Connector {
    tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("is_tls", &self.tls.is_some()).finish()
    }
}

impl Connector {
    async fn connect(self, to: Uri) -> io::Result<TokioIo<Stream>> {
        match timeout(CONNECT_TIMEOUT, self.open(&to)).await {
            Ok(opened) => opened.map(TokioIo::new),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "connecting took too long")),
        }
    }

    async fn open(&self, to: &Uri) -> io::Result<Stream> {
        let bad = |reason: &'static str| io::Error::new(io::ErrorKind::InvalidInput, reason);
        let host = to.host().ok_or_else(|| bad("the URL has no host"))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_tls = match to.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("a URL begins with http:// or https://")),
        };
        let port = to.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        if !is_tls {
            return Ok(Stream::Plain(stream));
        }
        let Some(tls) = &self.tls else {
            return Err(bad(
                "an https URL needs --tls-ca, the authorities that vouch for replicas",
            ));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        Box::pin(self.clone().connect(to))
    }
}

/// A connection to a replica.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
