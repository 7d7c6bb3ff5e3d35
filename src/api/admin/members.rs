//! The members of the cluster: who they are, and how that changes. Any replica answers; the leader
//! decides.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Request, State},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    Edge,
    error::Failure,
    routes::{Answer, admit, body},
};
use crate::{
    api::Visit,
    broker::{
        Call,
        engine::{MemberChange, MemberChanged, Members, ReplicaId, Successor},
    },
};

/// Time for a change to be committed, a hand-over of leadership included.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(8);
/// Time for the leader to list the members; after that this replica's own view is answered.
const LIST_TIMEOUT: Duration = Duration::from_secs(1);

/// Body of `POST /quorate/v1/members`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMember {
    /// The next free id if absent.
    id: Option<ReplicaId>,
    peer_addr: String,
    #[serde(default)]
    client_url: String,
}

/// Body of `POST /quorate/v1/members/{id}/replace`: a member, or where a new replica will be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Replacement {
    /// A member; excludes the rest.
    by: Option<ReplicaId>,
    id: Option<ReplicaId>,
    peer_addr: Option<String>,
    client_url: Option<String>,
}

/// Body of `PATCH /quorate/v1/members/{id}`; absent members keep their values.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Move {
    peer_addr: Option<String>,
    client_url: Option<String>,
}

/// Answer to every change.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Changed {
    /// The member that was added, promoted, removed, named as the successor, or updated.
    id: ReplicaId,
    /// False if it was so already.
    changed: bool,
}

impl From<MemberChanged> for Changed {
    fn from(changed: MemberChanged) -> Self {
        Self { id: changed.id, changed: changed.is_new }
    }
}

impl Replacement {
    fn successor(self) -> Result<Successor, Failure> {
        match self {
            Self { by: Some(by), id: None, peer_addr: None, client_url: None } => {
                Ok(Successor::Member(by))
            }
            Self { by: None, id, peer_addr: Some(peer_addr), client_url } => {
                let client_url = client_url.unwrap_or_default();
                Ok(Successor::New { id, peer_addr, client_url })
            }
            _ => {
                let text = "the body has either by, or peer_addr and perhaps id and client_url";
                Err(Failure::Malformed(text.to_owned()))
            }
        }
    }
}

async fn change(edge: &Edge, visit: &Visit, change: MemberChange) -> Answer<Changed> {
    let call = Call { deadline: Instant::now() + CHANGE_TIMEOUT, ..visit.call.clone() };
    let changed = edge.broker.change_members(&call, change).await?;
    Ok(Json(changed.into()))
}

fn id_of(text: &str) -> Result<ReplicaId, Failure> {
    text.parse().map_err(|_| Failure::Malformed(format!("a replica id is a number, not {text}")))
}

/// `GET /quorate/v1/members`: every member as the leader sees it; `leader` is null if none answers
/// and this is the asked replica's own view.
pub(super) async fn list(State(edge): State<Arc<Edge>>, request: Request) -> Answer<Members> {
    let (head, _) = request.into_parts();
    let _visit = admit(&edge, &head)?;
    Ok(Json(edge.broker.members(Instant::now() + LIST_TIMEOUT).await))
}

/// `POST /quorate/v1/members` with `{"id"?,"peer_addr","client_url"?}`: registers a learner, which
/// then starts with `--join` and gets its vote once it has caught up.
pub(super) async fn add(State(edge): State<Arc<Edge>>, request: Request) -> Answer<Changed> {
    let (head, content) = request.into_parts();
    let visit = admit(&edge, &head)?;
    let NewMember { id, peer_addr, client_url } =
        body(&visit, Request::from_parts(head, content)).await?;
    change(&edge, &visit, MemberChange::Add { id, peer_addr, client_url }).await
}

/// `POST /quorate/v1/members/{id}/promote`: gives a learner that has caught up its vote at once.
pub(super) async fn promote(
    State(edge): State<Arc<Edge>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Changed> {
    let (head, _) = request.into_parts();
    let visit = admit(&edge, &head)?;
    change(&edge, &visit, MemberChange::Promote { id: id_of(&id)? }).await
}

/// `POST /quorate/v1/members/{id}/heal`: has a replica in quarantine take over the leader's state;
/// answers as soon as that has begun. `changed` is false if it is not in quarantine.
pub(super) async fn heal(
    State(edge): State<Arc<Edge>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Changed> {
    let (head, _) = request.into_parts();
    let visit = admit(&edge, &head)?;
    let id = id_of(&id)?;
    let healed = edge.broker.heal(id, visit.call.deadline).await?;
    tracing::info!(peer = id, from = %visit.call.actor, "healing a replica was asked for");
    Ok(Json(healed.into()))
}

/// `DELETE /quorate/v1/members/{id}`: removes a member for ever.
pub(super) async fn remove(
    State(edge): State<Arc<Edge>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Changed> {
    let (head, _) = request.into_parts();
    let visit = admit(&edge, &head)?;
    change(&edge, &visit, MemberChange::Remove { id: id_of(&id)? }).await
}

/// `POST /quorate/v1/members/{id}/replace` with `{"by"}` or `{"id"?,"peer_addr","client_url"?}`:
/// the successor gets its vote in the step in which the member leaves.
pub(super) async fn replace(
    State(edge): State<Arc<Edge>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Changed> {
    let (head, content) = request.into_parts();
    let visit = admit(&edge, &head)?;
    let id = id_of(&id)?;
    let wanted: Replacement = body(&visit, Request::from_parts(head, content)).await?;
    change(&edge, &visit, MemberChange::Replace { id, by: wanted.successor()? }).await
}

/// `PATCH /quorate/v1/members/{id}` with `{"peer_addr"?,"client_url"?}`: says where a member is.
pub(super) async fn update(
    State(edge): State<Arc<Edge>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Changed> {
    let (head, content) = request.into_parts();
    let visit = admit(&edge, &head)?;
    let id = id_of(&id)?;
    let Move { peer_addr, client_url } = body(&visit, Request::from_parts(head, content)).await?;
    if peer_addr.is_none() && client_url.is_none() {
        return Err(Failure::Malformed("the body has neither peer_addr nor client_url".to_owned()));
    }
    change(&edge, &visit, MemberChange::Update { id, peer_addr, client_url }).await
}
