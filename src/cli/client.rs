//! Asks replicas over their client port.

use std::{fmt, io, sync::OnceLock, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use http_body_util::Full;
use hyper::{
    Method, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    broker::engine::{Role, Status},
    client::https::{Http, HttpError},
};

/// Time for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time for a replica to say how it is.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

static ACCESS: OnceLock<Access> = OnceLock::new();

/// What this process shows to replicas, whatever it asks.
#[derive(Clone)]
pub(super) struct Access {
    http: Http,
    bearer: Option<HeaderValue>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("http", &self.http).finish_non_exhaustive()
    }
}

impl Access {
    /// Connections, and a token if there is one; the token must fit into a header.
    pub(super) fn new(http: Http, token: Option<&str>) -> Option<Self> {
        let bearer = match token {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Some(Self { http, bearer })
    }

    /// Uses this from here on; only the first one counts.
    pub(super) fn install(self) {
        ACCESS.get_or_init(|| self);
    }
}

fn access() -> &'static Access {
    ACCESS.get_or_init(|| Access { http: Http::new(None), bearer: None })
}
/// Most bytes of a refusal.
const REFUSAL_BYTES_MAX: usize = 1024 * 1024;
/// Time for the next part of a long answer.
const STALL: Duration = Duration::from_secs(60);

/// Why a replica did not answer as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// No answer.
    #[error("{endpoint} did not answer: {reason}")]
    Unreachable { endpoint: String, reason: String },
    /// No answer to a change that was sent.
    #[error("{endpoint} did not answer: {reason}; the change may have happened")]
    Lost { endpoint: String, reason: String },
    /// An answer that says no.
    #[error("{endpoint} refused: {status}: {message}")]
    Refused {
        endpoint: String,
        status: StatusCode,
        message: String,
        /// Whether the replica says that it took nothing and that later may be better.
        is_for_later: bool,
        /// Whether it was a change whose outcome the replica does not know.
        is_in_doubt: bool,
    },
    /// An answer that cannot be read.
    #[error("{endpoint} answered something else")]
    Strange { endpoint: String, source: serde_json::Error },
}

/// What a replica says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RemoteStatus {
    pub(super) version: String,
    pub(super) is_founded: bool,
    #[serde(flatten)]
    pub(super) status: Status,
}

impl RemoteStatus {
    /// The client URL of the leader, if this replica knows it.
    pub(super) fn leader_url(&self) -> Option<&str> {
        let leader = self.status.leader?;
        let peer = self.status.peers.iter().find(|peer| peer.id == leader)?;
        Some(peer.client_url.as_str()).filter(|url| !url.is_empty())
    }

    /// The role as one word.
    pub(super) fn role(&self) -> &'static str {
        match self.status.role {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Learner => "learner",
            Role::Shutdown => "stopped",
        }
    }
}

/// Asks a replica how it is.
pub(super) async fn status(endpoint: &str) -> Result<RemoteStatus, ClientError> {
    let patience = STATUS_PATIENCE;
    let text = send(endpoint, Request { patience, ..Request::get("/quorate/v1/status") }).await?;
    decode(endpoint, &text)
}

/// Whether a replica is ready for clients.
pub(super) async fn is_ready(endpoint: &str) -> bool {
    let patience = STATUS_PATIENCE;
    send(endpoint, Request { patience, ..Request::get("/readyz") }).await.is_ok()
}

/// Checks that the process answers; says nothing of its readiness.
pub(super) async fn check_alive(endpoint: &str) -> Result<(), ClientError> {
    let patience = STATUS_PATIENCE;
    send(endpoint, Request { patience, ..Request::get("/livez") }).await.map(drop)
}

/// Sends a request with an optional JSON body and reads a JSON answer.
pub(super) async fn call<T: DeserializeOwned>(
    endpoint: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<T, ClientError> {
    let text = send(endpoint, Request { method, body, ..Request::get(path) }).await?;
    decode(endpoint, &text)
}

/// A request with everything that may matter.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) headers: &'a [(&'static str, &'a str)],
    pub(super) body: Option<&'a Value>,
    pub(super) patience: Duration,
}

impl<'a> Request<'a> {
    /// A plain look.
    pub(super) const fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, headers: &[], body: None, patience: PATIENCE }
    }
}

/// Sends a request to a replica; the text of an answer that says yes.
pub(super) async fn send(endpoint: &str, request: Request<'_>) -> Result<String, ClientError> {
    exchange(endpoint, request, access().bearer.as_ref()).await
}

/// As [`send`], to a program that is none of our replicas and must not see the token.
pub(super) async fn send_elsewhere(
    endpoint: &str,
    request: Request<'_>,
) -> Result<String, ClientError> {
    exchange(endpoint, request, None).await
}

async fn exchange(
    endpoint: &str,
    request: Request<'_>,
    bearer: Option<&HeaderValue>,
) -> Result<String, ClientError> {
    let Request { method, path, headers, body, patience } = request;
    let unreachable =
        |reason: String| ClientError::Unreachable { endpoint: endpoint.to_owned(), reason };
    let content = body.map(serde_json::to_vec).transpose();
    let content = content.map_err(|error| unreachable(error.to_string()))?;
    let is_change = method != Method::GET;
    let mut sent = hyper::Request::builder().method(method).uri(format!("{endpoint}{path}"));
    for (name, value) in headers {
        sent = sent.header(*name, *value);
    }
    if content.is_some() {
        sent = sent.header(CONTENT_TYPE, "application/json");
    }
    if let Some(bearer) = bearer {
        sent = sent.header(AUTHORIZATION, bearer);
    }
    let sent = sent.body(Full::new(Bytes::from(content.unwrap_or_default())));
    let sent = sent.map_err(|error| unreachable(error.to_string()))?;
    let answered = access().http.send(sent, patience, ANSWER_BYTES_MAX).await;
    let answered = answered.map_err(|error| match error {
        HttpError::Unsent(reason) => unreachable(reason),
        error if is_change => {
            ClientError::Lost { endpoint: endpoint.to_owned(), reason: error.to_string() }
        }
        error => unreachable(error.to_string()),
    })?;
    accept(endpoint, &answered, is_change)
}

/// The bytes of an answer that says yes, as they come.
pub(super) async fn download(
    endpoint: &str,
    path: &str,
) -> Result<BoxStream<'static, io::Result<Bytes>>, ClientError> {
    let unreachable =
        |reason: String| ClientError::Unreachable { endpoint: endpoint.to_owned(), reason };
    let mut sent = hyper::Request::builder().uri(format!("{endpoint}{path}"));
    if let Some(bearer) = &access().bearer {
        sent = sent.header(AUTHORIZATION, bearer);
    }
    let sent = sent.body(Full::default()).map_err(|error| unreachable(error.to_string()))?;
    let answered = access().http.open(sent, STALL).await;
    let (head, mut chunks) = answered.map_err(|error| unreachable(error.to_string()))?;
    if head.status.is_success() {
        return Ok(chunks);
    }
    let mut body = Vec::new();
    while let (Some(Ok(chunk)), true) = (chunks.next().await, body.len() < REFUSAL_BYTES_MAX) {
        body.extend_from_slice(&chunk);
    }
    let refused = accept(endpoint, &Response::from_parts(head, Bytes::from(body)), false);
    Err(refused.err().unwrap_or_else(|| unreachable("it said no without a reason".to_owned())))
}

fn accept(
    endpoint: &str,
    response: &Response<Bytes>,
    is_change: bool,
) -> Result<String, ClientError> {
    let text = String::from_utf8_lossy(response.body()).into_owned();
    let status = response.status();
    if status.is_success() {
        return Ok(text);
    }
    let is_for_later = response.headers().contains_key(RETRY_AFTER);
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let message = told(&body).unwrap_or(text);
    let is_in_doubt = is_change && status == StatusCode::GATEWAY_TIMEOUT;
    let endpoint = endpoint.to_owned();
    Err(ClientError::Refused { endpoint, status, message, is_for_later, is_in_doubt })
}

/// What an answer that says no says to people: every family has an envelope of its own.
fn told(body: &Value) -> Option<String> {
    let error = &body["error"];
    let text = error["message"].as_str().or_else(|| error.as_str())?;
    Some(match body["data"]["reason"].as_str() {
        Some(reason) => format!("{text}: {reason}"),
        None => text.to_owned(),
    })
}

fn decode<T: DeserializeOwned>(endpoint: &str, text: &str) -> Result<T, ClientError> {
    let endpoint = endpoint.to_owned();
    serde_json::from_str(text).map_err(|source| ClientError::Strange { endpoint, source })
}
