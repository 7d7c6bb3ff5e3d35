//! Makes connections to other replicas: TCP, perhaps TLS, and the proof of the token.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use hyper::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client, rustls::pki_types::ServerName, server};

use super::{
    credentials::Credentials,
    proof::{self, Doubt},
};
use crate::tls::PeerTls;

/// How long a connection may take to be made, its proof included.
const CONNECT: Duration = Duration::from_secs(1);

/// Makes connections that are ready for requests.
#[derive(Clone)]
pub(crate) struct Connector {
    credentials: Arc<Credentials>,
    tls: Option<PeerTls>,
}

impl Connector {
    /// Connections of a replica; with TLS if there is any.
    pub(crate) fn new(credentials: Arc<Credentials>, tls: Option<PeerTls>) -> Self {
        Self { credentials, tls }
    }

    async fn connect(self, to: Uri) -> io::Result<TokioIo<PeerStream>> {
        match timeout(CONNECT, self.open(&to)).await {
            Ok(opened) => opened.map(TokioIo::new),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn open(&self, to: &Uri) -> io::Result<PeerStream> {
        let missing = || io::Error::new(io::ErrorKind::InvalidInput, "a peer is HOST:PORT");
        let host = to.host().ok_or_else(missing)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let stream = TcpStream::connect((host, to.port_u16().ok_or_else(missing)?)).await?;
        stream.set_nodelay(true)?;
        let mut stream = match &self.tls {
            None => PeerStream::Plain(stream),
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                let connected = TlsConnector::from(tls.client()).connect(name, stream).await?;
                PeerStream::Called(Box::new(connected))
            }
        };
        let proven = proof::call(&mut stream, self.credentials.key()).await;
        proven.map_err(|doubt| match doubt {
            Doubt::Broken(error) => error,
            doubt => io::Error::new(io::ErrorKind::PermissionDenied, doubt),
        })?;
        Ok(stream)
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<PeerStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        Box::pin(self.clone().connect(to))
    }
}

/// A connection between replicas.
pub(crate) enum PeerStream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS, to a replica.
    Called(Box<client::TlsStream<TcpStream>>),
    /// With TLS, from a replica.
    Accepted(Box<server::TlsStream<TcpStream>>),
}

impl Connection for PeerStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Called(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Accepted(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Called(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Accepted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Called(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Accepted(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Called(stream) => stream.is_write_vectored(),
            Self::Accepted(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Called(stream) => Pin::new(stream).poll_flush(context),
            Self::Accepted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Called(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Accepted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
