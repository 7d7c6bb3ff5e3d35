//! The feature level: what the members know, and raising what the log uses.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Request, State},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    Edge,
    routes::{Answer, admit, body},
};
use crate::broker::engine::{LevelRaised, Members, ReplicaId};

/// Time for the level to be raised.
const RAISE_TIMEOUT: Duration = Duration::from_secs(8);
/// Time for the leader to tell what the members know.
const SHOW_TIMEOUT: Duration = Duration::from_secs(1);

/// Body of `POST /quorate/v1/feature-level`; may be empty.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// The highest that all members know if absent.
    level: Option<u64>,
}

/// Answer of `GET /quorate/v1/feature-level`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Levels {
    /// In use.
    level: u64,
    /// What all members know; null if no leader answers, or a member does not say.
    common: Option<u64>,
    members: Vec<Known>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Known {
    id: ReplicaId,
    /// Null if it has not said lately.
    program: Option<String>,
    /// Null if it has not said lately.
    feature_level_max: Option<u64>,
}

impl From<Members> for Levels {
    fn from(members: Members) -> Self {
        let known = members.members.into_iter().map(|member| Known {
            id: member.id,
            program: member.program,
            feature_level_max: member.feature_level_max,
        });
        Self {
            level: members.feature_level,
            common: members.feature_level_common,
            members: known.collect(),
        }
    }
}

/// Answer of `POST /quorate/v1/feature-level`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Raised {
    level: u64,
    /// False if it was so already.
    changed: bool,
}

impl From<LevelRaised> for Raised {
    fn from(raised: LevelRaised) -> Self {
        Self { level: raised.level, changed: raised.is_new }
    }
}

/// `GET /quorate/v1/feature-level`: the level in use, and what every member knows.
pub(super) async fn show(State(edge): State<Arc<Edge>>, request: Request) -> Answer<Levels> {
    let (head, _) = request.into_parts();
    let _visit = admit(&edge, &head)?;
    Ok(Json(edge.broker.members(Instant::now() + SHOW_TIMEOUT).await.into()))
}

/// `POST /quorate/v1/feature-level` with `{"level"}` or nothing: raises the level, never beyond what
/// every member knows. There is no way back.
pub(super) async fn raise(State(edge): State<Arc<Edge>>, request: Request) -> Answer<Raised> {
    let (head, content) = request.into_parts();
    let visit = admit(&edge, &head)?;
    let wish: Wish = body(&visit, Request::from_parts(head, content)).await?;
    let deadline = Instant::now() + RAISE_TIMEOUT;
    let raised =
        edge.broker.raise_level(wish.level, &visit.call.actor.to_string(), deadline).await?;
    Ok(Json(raised.into()))
}
