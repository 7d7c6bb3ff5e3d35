//! Asks replicas over their client port.

use std::{error::Error, time::Duration};

use reqwest::{Client, Method, Response, StatusCode, header::RETRY_AFTER};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::broker::engine::{Role, Status};

/// Time for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time for a replica to say how it is.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// Why a replica did not answer as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// No answer.
    #[error("{endpoint} did not answer: {reason}")]
    Unreachable { endpoint: String, reason: String },
    /// An answer that says no.
    #[error("{endpoint} refused: {status}: {message}")]
    Refused {
        endpoint: String,
        status: StatusCode,
        message: String,
        /// Whether the replica says that it took nothing and that later may be better.
        is_for_later: bool,
    },
    /// An answer that cannot be read.
    #[error("{endpoint} answered something else")]
    Strange { endpoint: String, source: reqwest::Error },
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
    let request = Client::new().get(format!("{endpoint}/quorate/v1/status"));
    let response = request.timeout(STATUS_PATIENCE).send().await;
    decode(endpoint, accept(endpoint, response).await?).await
}

/// Whether a replica is ready for clients.
pub(super) async fn is_ready(endpoint: &str) -> bool {
    let request = Client::new().get(format!("{endpoint}/readyz")).timeout(STATUS_PATIENCE);
    request.send().await.is_ok_and(|response| response.status().is_success())
}

/// Checks that the process answers; says nothing of its readiness.
pub(super) async fn check_alive(endpoint: &str) -> Result<(), ClientError> {
    let request = Client::new().get(format!("{endpoint}/livez")).timeout(STATUS_PATIENCE);
    accept(endpoint, request.send().await).await.map(drop)
}

/// Sends a request with an optional JSON body and reads a JSON answer.
pub(super) async fn call<T: DeserializeOwned>(
    endpoint: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<T, ClientError> {
    let mut request = Client::new().request(method, format!("{endpoint}{path}")).timeout(PATIENCE);
    if let Some(body) = body {
        request = request.json(body);
    }
    decode(endpoint, accept(endpoint, request.send().await).await?).await
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

/// Sends a request; the text of an answer that says yes.
pub(super) async fn send(endpoint: &str, request: Request<'_>) -> Result<String, ClientError> {
    let url = format!("{endpoint}{}", request.path);
    let mut sent = Client::new().request(request.method, url).timeout(request.patience);
    for (name, value) in request.headers {
        sent = sent.header(*name, *value);
    }
    if let Some(body) = request.body {
        sent = sent.json(body);
    }
    let response = accept(endpoint, sent.send().await).await?;
    let endpoint = endpoint.to_owned();
    response.text().await.map_err(|source| ClientError::Strange { endpoint, source })
}

async fn accept(
    endpoint: &str,
    response: reqwest::Result<Response>,
) -> Result<Response, ClientError> {
    let endpoint = endpoint.to_owned();
    let response = match response {
        Ok(response) => response,
        Err(error) => {
            let mut cause: &dyn Error = &error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            return Err(ClientError::Unreachable { endpoint, reason: cause.to_string() });
        }
    };
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let is_for_later = response.headers().contains_key(RETRY_AFTER);
    let text = response.text().await.unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let message = told(&body).unwrap_or(text);
    Err(ClientError::Refused { endpoint, status, message, is_for_later })
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

async fn decode<T: DeserializeOwned>(endpoint: &str, response: Response) -> Result<T, ClientError> {
    let endpoint = endpoint.to_owned();
    response.json().await.map_err(|source| ClientError::Strange { endpoint, source })
}
