//! Tokens: made, listed, ended.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Edge,
    error::Failure,
    routes::{Answer, admit, body},
};
use crate::{
    api::{Visit, auth},
    clock,
    domain::{
        Command, Reply,
        system::access::{self, Family, Rejection, Role, Token},
    },
};

/// Body of `POST /quorate/v1/tokens`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenBody {
    /// What for.
    #[serde(default)]
    name: String,
    /// How much.
    role: Role,
    /// The one family; all if absent.
    family: Option<Family>,
    /// The one namespace of that family; all if absent.
    namespace: Option<String>,
    /// Seconds until it ends; never if absent.
    ttl_s: Option<u64>,
}

/// A token as it is listed: without its secret.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TokenAnswer<'a> {
    id: String,
    name: &'a str,
    role: Role,
    family: Option<Family>,
    namespace: Option<&'a str>,
    created_ms: u64,
    expires_ms: Option<u64>,
    created_by: &'a str,
}

/// Answer of `GET /quorate/v1/tokens`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TokensAnswer<'a> {
    tokens: Vec<TokenAnswer<'a>>,
}

/// Answer of `POST /quorate/v1/tokens`. Has a secret, so it has no `Debug`.
#[derive(Serialize, JsonSchema)]
pub(super) struct NewToken {
    id: String,
    /// Shown this once.
    token: String,
}

/// Answer of `DELETE /quorate/v1/tokens/{id}`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Revoked {
    id: String,
}

impl<'a> TokenAnswer<'a> {
    fn of(token: &'a Token) -> Self {
        Self {
            id: auth::hex(&token.id),
            name: &token.name,
            role: token.role,
            family: token.family,
            namespace: token.namespace.as_deref(),
            created_ms: token.created_ms,
            expires_ms: token.expires_ms,
            created_by: &token.created_by,
        }
    }
}

/// `GET /quorate/v1/tokens`: `{"tokens":[..]}`, without their secrets.
pub(super) async fn list(
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Result<Response, Failure> {
    let (head, _) = request.into_parts();
    let visit = admit(&edge, &head)?;
    let view = edge.view(&visit).await?;
    let tokens = view.access.iter().map(TokenAnswer::of).collect();
    Ok(Json(TokensAnswer { tokens }).into_response())
}

/// `POST /quorate/v1/tokens` with `{"name","role","family","namespace","ttl_s"}`: 201 with `id` and
/// `token`, which is shown this once. Not repeated under the same key: a repetition is refused.
pub(super) async fn create(
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Result<Response, Failure> {
    let (head, content) = request.into_parts();
    let visit = admit(&edge, &head)?;
    let wanted: TokenBody = body(&visit, Request::from_parts(head, content)).await?;
    let fresh = edge.settings.guard.keeper.make(clock::random_id(), clock::random_secret());
    let ttl_ms = wanted.ttl_s.map(|seconds| seconds.saturating_mul(1_000));
    let token = Token {
        id: fresh.id,
        digest: fresh.digest,
        name: wanted.name,
        role: wanted.role,
        family: wanted.family,
        namespace: wanted.namespace,
        // The state takes both from the entry.
        created_ms: 0,
        created_by: String::new(),
        expires_ms: ttl_ms.map(|ttl_ms| edge.broker.now_ms().saturating_add(ttl_ms)),
    };
    propose(&edge, &visit, access::Command::CreateToken(Box::new(token))).await?;
    let id = auth::hex(&fresh.id);
    Ok((StatusCode::CREATED, Json(NewToken { id, token: fresh.text })).into_response())
}

/// `DELETE /quorate/v1/tokens/{id}`: ends a token at once on this replica, and on the others as
/// soon as they hear of it.
pub(super) async fn revoke(
    State(edge): State<Arc<Edge>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Revoked> {
    let (head, _) = request.into_parts();
    let visit = admit(&edge, &head)?;
    let found = auth::parse_id(&id).ok_or(Rejection::NotFound)?;
    propose(&edge, &visit, access::Command::RevokeToken { id: found }).await?;
    Ok(Json(Revoked { id }))
}

async fn propose(edge: &Edge, visit: &Visit, command: access::Command) -> Result<(), Failure> {
    match edge.broker.propose(&visit.call, Command::Access(command)).await?.reply {
        Reply::Access(reply) => {
            let access::Reply::Done = reply?;
            Ok(())
        }
        other => Err(Failure::Reply(format!("{other:?}"))),
    }
}
