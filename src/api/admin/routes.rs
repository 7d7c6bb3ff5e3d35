//! The admin routes that ask the broker.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, Request, State},
    http::request::Parts,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{
    Edge, FAMILY, LOG_ENTRIES_MAX, TRANSFER_TIMEOUT,
    error::Failure,
    wire::{
        EntryAnswer, LeaderAnswer, LeadersAnswer, LogAnswer, LogQuery, SettingsAnswer,
        SettingsBody, SnapshotAnswer, StatusAnswer, TransferBody,
    },
};
use crate::{
    api::{
        Visit,
        limit::{self, BODY_BYTES_MAX},
        profile::Profile,
    },
    broker::{ReadMode, engine::Digest},
    domain::{
        Command, Reply,
        undermoon::{self, Action, query},
    },
};

pub(super) type Answer<T> = Result<Json<T>, Failure>;

pub(super) fn admit(edge: &Edge, head: &Parts) -> Result<Visit, Failure> {
    Ok(edge.admit(FAMILY, Profile::Document, head)?)
}

/// Reads a JSON body; an empty one stands for `{}`.
pub(super) async fn body<T: DeserializeOwned>(
    visit: &Visit,
    request: Request,
) -> Result<T, Failure> {
    let (head, body) = request.into_parts();
    let read = limit::read_body(&head.headers, body, BODY_BYTES_MAX, visit.call.deadline);
    let bytes: Bytes = read.await?;
    let bytes = if bytes.is_empty() { Bytes::from_static(b"{}") } else { bytes };
    serde_json::from_slice(&bytes).map_err(|error| Failure::Malformed(error.to_string()))
}

/// `GET /quorate/v1/status`: this replica's view; served in every condition.
pub(super) async fn status(State(edge): State<Arc<Edge>>) -> Json<StatusAnswer> {
    Json(StatusAnswer {
        version: env!("CARGO_PKG_VERSION"),
        is_founded: edge.broker.is_founded(),
        feature_level: edge.broker.latest().system.feature_level,
        feature_level_max: edge.broker.level_max(),
        status: edge.broker.status(),
    })
}

/// `GET /quorate/v1/digest`: `{"index","log_chain","state"}`, equal on all replicas at one index.
pub(super) async fn digest(State(edge): State<Arc<Edge>>, request: Request) -> Answer<Digest> {
    let (head, _) = request.into_parts();
    let _visit = admit(&edge, &head)?;
    Ok(Json(edge.broker.digest().await?))
}

/// `GET /quorate/v1/log?from=&to=`: raw entries of this replica's log, `to` excluded.
pub(super) async fn log(State(edge): State<Arc<Edge>>, request: Request) -> Answer<LogAnswer> {
    let (head, _) = request.into_parts();
    let _visit = admit(&edge, &head)?;
    let Query(LogQuery { from, to }) =
        Query::try_from_uri(&head.uri).map_err(|error| Failure::Malformed(error.body_text()))?;
    let entries = edge.broker.log_entries(from, to, LOG_ENTRIES_MAX).await?;
    Ok(Json(LogAnswer { entries: entries.iter().map(EntryAnswer::of).collect() }))
}

/// `GET /quorate/v1/undermoon/settings`: the replicated settings.
pub(super) async fn settings(
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Answer<SettingsAnswer> {
    let (head, _) = request.into_parts();
    let visit = admit(&edge, &head)?;
    let view = edge.view(&visit).await?;
    Ok(Json(SettingsAnswer::of(&view)))
}

/// `PUT /quorate/v1/undermoon/settings`: changes the members of the body; answers all settings.
pub(super) async fn change_settings(
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Result<Response, Failure> {
    let (head, content) = request.into_parts();
    let visit = admit(&edge, &head)?;
    let wanted: SettingsBody = body(&visit, Request::from_parts(head, content)).await?;
    let present = edge.broker.view(ReadMode::Linearizable, visit.call.deadline).await?;
    let present = query::settings(&present.undermoon).cluster_config;
    let action = Action::ChangeSettings(wanted.into_change(present));
    let profile = undermoon::Profile::Program;
    let command = Command::Undermoon(undermoon::Command { profile, action });
    let done = edge.broker.propose(&visit.call, command).await?;
    match done.reply {
        Reply::Undermoon(reply) => drop(reply?),
        other => return Err(Failure::Reply(format!("{other:?}"))),
    }
    let mut response = Json(SettingsAnswer::of(&edge.broker.latest())).into_response();
    if let Some(request_id) = visit.call.request_id {
        response.extensions_mut().insert(request_id);
    }
    Ok(response)
}

/// `GET /quorate/v1/leaders`: `{"changes":[{"time_ms","term","leader"}]}`, the last changes of the
/// leader that this replica saw since it started, oldest first; `leader` is null where none was
/// known.
pub(super) async fn leaders(
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Answer<LeadersAnswer> {
    let (head, _) = request.into_parts();
    let _visit = admit(&edge, &head)?;
    Ok(Json(LeadersAnswer { changes: edge.broker.leader_changes() }))
}

/// `POST /quorate/v1/leader/transfer` with `{"to": id}` or nothing: answers `{"leader": id}`. Any
/// replica takes it, and has the leader hand over.
pub(super) async fn transfer_leader(
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Answer<LeaderAnswer> {
    let (head, content) = request.into_parts();
    let visit = admit(&edge, &head)?;
    let TransferBody { to } = body(&visit, Request::from_parts(head, content)).await?;
    let leader = edge.broker.transfer_leadership(to, TRANSFER_TIMEOUT).await?;
    Ok(Json(LeaderAnswer { leader }))
}

/// `POST /quorate/v1/snapshot`: answers `{"index": last covered}` once the snapshot is durable.
pub(super) async fn snapshot(
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Answer<SnapshotAnswer> {
    let (head, _) = request.into_parts();
    let _visit = admit(&edge, &head)?;
    let index = edge.broker.snapshot_now().await?;
    Ok(Json(SnapshotAnswer { index }))
}
