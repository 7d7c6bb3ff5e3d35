//! One kept connection of HTTP/1.1, one request at a time.

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::{ACCEPT_ENCODING, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::Failure;

/// One request of a list.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Wanted {
    /// Under which name it is counted.
    pub(crate) kind: String,
    /// `GET` and the like.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// JSON, or nothing.
    #[serde(default)]
    pub(crate) body: String,
    /// Whether the answer may be compressed.
    #[serde(default)]
    pub(crate) is_gzip: bool,
}

/// A connection.
pub(crate) struct Session {
    host: String,
    sender: SendRequest<Full<Bytes>>,
}

impl Session {
    /// Connects to `host:port`.
    pub(crate) async fn open(target: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { host: target.to_owned(), sender })
    }

    /// Posts a body; bytes of the answer.
    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Result<u64, Failure> {
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .body(body)?;
        self.ask(request).await
    }

    /// Gets a path; bytes of the answer.
    pub(crate) async fn get(&mut self, path: &str, is_gzip: bool) -> Result<u64, Failure> {
        let mut request = Request::builder().uri(path).header(HOST, &self.host);
        if is_gzip {
            request = request.header(ACCEPT_ENCODING, "gzip");
        }
        self.ask(request.body(Full::default())?).await
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<u64, Failure> {
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let mut body = answer.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
        }
        if status.is_success() { Ok(bytes) } else { Err(format!("answered {status}").into()) }
    }

    /// Sends whatever is wanted; bytes of the answer, which must be a success. Under the same request
    /// id a change happens at most once, however often it is sent.
    pub(crate) async fn send(&mut self, wanted: &Wanted, id: &str) -> Result<u64, Failure> {
        let body = Bytes::copy_from_slice(wanted.body.as_bytes());
        let mut request = Request::builder()
            .method(Method::from_bytes(wanted.method.as_bytes())?)
            .uri(&wanted.path)
            .header(HOST, &self.host);
        if wanted.method != "GET" {
            request = request.header("idempotency-key", id);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if wanted.is_gzip {
            request = request.header(ACCEPT_ENCODING, "gzip");
        }
        self.ask(request.body(Full::new(body))?).await
    }
}
