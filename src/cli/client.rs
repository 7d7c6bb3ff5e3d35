//! Asks replicas over their client port.

use std::{error::Error, time::Duration};

use reqwest::{Client, Method, Response};
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
    #[error("{endpoint} refused: {reason}")]
    Refused { endpoint: String, reason: String },
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
    let text = response.text().await.unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or(&text);
    Err(ClientError::Refused { endpoint, reason: format!("{status}: {message}") })
}

async fn decode<T: DeserializeOwned>(endpoint: &str, response: Response) -> Result<T, ClientError> {
    let endpoint = endpoint.to_owned();
    response.json().await.map_err(|source| ClientError::Strange { endpoint, source })
}
