//! `?dry_run=true`: a command is applied to a clone of the state, and the outcome is told.

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    error,
    handle::{Answer, Ask},
    wire::{ClusterJson, Look},
};
use crate::{
    broker::View,
    domain::{
        Context,
        kvrocks::{Command, Rejection, command::ClusterKey, query},
    },
};

/// What would happen.
#[derive(Serialize, JsonSchema)]
pub(super) struct RehearsalJson<'a, T> {
    dry_run: bool,
    accepted: bool,
    /// Status of the refusal, or 200.
    status: u16,
    /// Text of the refusal.
    error: Option<String>,
    /// The cluster as it would be.
    cluster: Option<ClusterJson<'a>>,
    #[serde(flatten)]
    more: T,
}

/// Nothing more to tell.
#[derive(Serialize, JsonSchema)]
pub(super) struct Nothing {}

/// Answers what a command would do to a cluster.
pub(super) async fn answer(ask: &Ask<'_>, key: &ClusterKey, command: Command) -> Answer {
    let view = ask.current().await?;
    told(ask, &view, key, Ok(command), &Nothing {})
}

/// As [`answer`], with more to tell; a refusal may have come before there was a command.
pub(super) fn told<T: Serialize>(
    ask: &Ask<'_>,
    view: &View,
    key: &ClusterKey,
    command: Result<Command, Rejection>,
    more: &T,
) -> Answer {
    let look: Look<'_> = ask.look(view);
    let mut state = view.kvrocks.clone();
    let position = view.position();
    let context = Context {
        index: position.index,
        term: position.term,
        time_ms: ask.family.edge.broker.now_ms(),
        actor: "",
    };
    let refusal = command.and_then(|command| state.apply(&context, command)).err();
    let refusal = refusal.map(|rejection| error::rejected(&rejection, look.profile));
    let cluster = query::cluster(&state, key).filter(|_| refusal.is_none());
    let rehearsal = RehearsalJson {
        dry_run: true,
        accepted: refusal.is_none(),
        status: refusal.as_ref().map_or(StatusCode::OK, |(status, _)| *status).as_u16(),
        error: refusal.map(|(_, text)| text),
        cluster: cluster.as_ref().map(|cluster| ClusterJson::new(cluster, look)).transpose()?,
        more,
    };
    ask.shown(view, &rehearsal)
}
