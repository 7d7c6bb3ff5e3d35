//! How secrets are kept, and sealing them with another key. No secret is shown.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Edge,
    routes::{Answer, admit},
};
use crate::broker::secrets::{Round, SecretsReport};

/// Most secrets sealed for one request: well within its time.
const ROUND_SECRETS_MAX: usize = 256;

/// What a round came to, and with which key.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RoundAnswer {
    sealing_key: Option<String>,
    #[serde(flatten)]
    round: Round,
}

/// `GET /quorate/v1/secrets`: `{"is_allowed","sealing_key","keys","missing","readable","sealed"}`:
/// names of keys and numbers of secrets, as this replica knows them.
pub(super) async fn report(
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Answer<SecretsReport> {
    let (head, _) = request.into_parts();
    let visit = admit(&edge, &head)?;
    // As current as asked; the report itself is of whatever is there by then.
    let _view = edge.view(&visit).await?;
    Ok(Json(edge.broker.secrets()))
}

/// `POST /quorate/v1/secrets/rotate`: seals a bounded number of secrets with the first key of this
/// replica, and answers `{"sealing_key","resealed","left","faults"}`. To be repeated while something
/// is left; it may be repeated at any time.
pub(super) async fn rotate(State(edge): State<Arc<Edge>>, request: Request) -> Answer<RoundAnswer> {
    let (head, _) = request.into_parts();
    let visit = admit(&edge, &head)?;
    let round = edge.broker.reseal(&visit.call, ROUND_SECRETS_MAX).await?;
    let sealing_key = edge.broker.keys().first().map(str::to_owned);
    if round.resealed > 0 {
        tracing::info!(found = round.resealed, left = round.left, "secrets sealed");
    }
    Ok(Json(RoundAnswer { sealing_key, round }))
}
