//! The admin routes about backups.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, Request, State},
    http::{
        StatusCode,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Edge, FAMILY, error::Failure};
use crate::{
    api::{Visit, profile::Profile},
    broker::{
        ReadError,
        engine::{Archive, ArchiveStream},
    },
    client::backups::{Backups, Stored, name_of},
};

/// What a backup is to hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupQuery {
    /// Also every revision since the oldest snapshot; true if not given.
    #[serde(default = "yes")]
    history: bool,
    /// How current the state must be; of any age if not given.
    consistency: Option<String>,
}

/// Answer of `POST /quorate/v1/backups`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BackupMade {
    /// Whose it is.
    replica: u64,
    /// Where it is.
    path: String,
    bytes: u64,
    /// What it says of itself: `format`, `cluster_id`, `replica_id`, `created_ms`, `about`, and of
    /// the states it goes from and to `base` and `end`.
    backup: Value,
}

/// Answer of `GET /quorate/v1/backups`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BackupsAnswer {
    /// Whose they are.
    replica: u64,
    /// Where they are.
    directory: String,
    /// Newest first.
    backups: Vec<Stored>,
}

fn yes() -> bool {
    true
}

fn kept(edge: &Edge) -> Result<&Arc<Backups>, Failure> {
    edge.settings.admin.backups.as_ref().ok_or(Failure::NoBackupDir)
}

async fn begin(edge: &Edge, request: Request) -> Result<(Visit, ArchiveStream), Failure> {
    let (head, _) = request.into_parts();
    let visit = edge.admit(FAMILY, Profile::Document, &head)?;
    let Query(BackupQuery { history, consistency }) =
        Query::try_from_uri(&head.uri).map_err(|error| Failure::Malformed(error.body_text()))?;
    if !edge.broker.is_founded() {
        return Err(ReadError::NotReady.into());
    }
    if edge.broker.is_quarantined() {
        return Err(ReadError::Quarantined.into());
    }
    // Otherwise whatever there is: a replica that has lost its leader is worth a backup, too.
    if consistency.is_some() {
        drop(edge.view(&visit).await?);
    }
    Ok((visit, edge.broker.archive(history).await?))
}

/// `GET /quorate/v1/backup[?history=false]`: an archive of the applied state, as it comes. One that
/// breaks off is cut, which its end shows: check it with `quorate ctl backup verify`.
pub(super) async fn stream(
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Result<Response, Failure> {
    let place = edge.admit_restore()?;
    let (_visit, archive) = begin(&edge, request).await?;
    let name = name_of(archive.archive.end.position.index, archive.archive.created_ms);
    // Holds its place until the last byte.
    let body = archive.map(move |chunk| {
        let _held = &place;
        chunk
    });
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// `POST /quorate/v1/backups[?history=false]`: writes an archive into this replica's directory
/// or bucket;
/// answers 201 with its name, its size and what it says of itself.
pub(super) async fn create(
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Result<Response, Failure> {
    let backups = Arc::clone(kept(&edge)?);
    let (_visit, archive) = begin(&edge, request).await?;
    let facts = archive.archive.clone();
    let named = (facts.end.position.index, facts.created_ms);
    let stored = backups.store(named, archive).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::ResourceBusy => Failure::BackupUnderWay,
        _ => Failure::Disk(error),
    })?;
    let answer = BackupMade {
        replica: edge.broker.status().replica_id,
        path: backups.place_of(&stored.name),
        bytes: stored.bytes,
        backup: facts_of(&facts),
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// `GET /quorate/v1/backups`: what lies in this replica's directory or bucket, newest
/// first.
pub(super) async fn list(
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Result<Json<BackupsAnswer>, Failure> {
    let (head, _) = request.into_parts();
    let _visit = edge.admit(FAMILY, Profile::Document, &head)?;
    let backups = kept(&edge)?;
    let stored = backups.list().await?;
    let replica = edge.broker.status().replica_id;
    let directory = backups.place();
    Ok(Json(BackupsAnswer { replica, directory, backups: stored }))
}

/// `GET /quorate/v1/backups/{name}`: one of those, as it comes; 404 if there is none of that name.
pub(super) async fn fetch(
    State(edge): State<Arc<Edge>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let place = edge.admit_restore()?;
    let (head, _) = request.into_parts();
    let _visit = edge.admit(FAMILY, Profile::Document, &head)?;
    let opened = kept(&edge)?.open(&name).await;
    let chunks = opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::NoSuchBackup(name),
        _ => Failure::Disk(error),
    })?;
    // Holds its place until the last byte.
    let body = chunks.map(move |chunk| {
        let _held = &place;
        chunk
    });
    let headers = [(CONTENT_TYPE, "application/octet-stream")];
    Ok((headers, Body::from_stream(body)).into_response())
}

fn facts_of(archive: &Archive) -> Value {
    let mut facts = json!(archive);
    facts["about"] = serde_json::from_str(&archive.about).unwrap_or_default();
    facts
}
