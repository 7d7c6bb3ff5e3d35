//! What users ask: apply, release, start, stop, restart, list, get (spec 2.4 to 2.7).

use std::time::Duration;

use axum::{
    body::Body,
    http::{Response, StatusCode, request::Parts},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::{
    Edge, FAMILY, Visit, admin,
    error::{Failure, in_words},
    filter::Filter,
    hosts,
    input::Params,
    route::{Door, Route},
    wire,
};
use crate::{
    api::limit::read_body,
    broker::{Call, Done, RequestId, View},
    domain::{
        self,
        cello::{
            Command, Reply, State,
            command::{Condition, Power},
            query::{self, Progress},
        },
    },
};

/// Most bytes of a body.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest request id of a client, characters.
const REQUEST_ID_CHARS_MAX: usize = 64;
/// Longest wait for something to be done on a host; it goes on without the waiting.
const EFFECT_TIME: Duration = Duration::from_secs(60);
/// Pause between two looks at the state.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// One request with what its handlers need.
pub(super) struct Ask<'a> {
    pub(super) edge: &'a Edge,
    pub(super) visit: &'a Visit,
    pub(super) door: Door,
    pub(super) params: Params,
    pub(super) body: bytes::Bytes,
}

pub(super) type Answer = Result<Response<Body>, Failure>;

/// Answers a request.
pub(super) async fn handle(
    edge: &Edge,
    visit: &Visit,
    (door, route): (Door, Route),
    head: &Parts,
    body: Body,
) -> Answer {
    let body = read_body(&head.headers, body, BODY_BYTES_MAX, visit.call.deadline).await?;
    let params = Params::read(head.uri.query(), &head.headers, &body);
    let ask = Ask { edge, visit, door, params, body };
    match route {
        Route::Operate => operate(&ask).await,
        Route::Apply => apply(&ask).await,
        Route::Release => release(&ask, "cluster_release without id").await,
        Route::Clusters => list(&ask).await,
        Route::Cluster(id) => show(&ask, &id).await,
        Route::CreateCluster => admin::create_cluster(&ask).await,
        Route::DeleteCluster => admin::delete_cluster(&ask).await,
        Route::Hosts => hosts::list(&ask).await,
        Route::Host(id) => hosts::show(&ask, &id).await,
        Route::CreateHost => hosts::create(&ask).await,
        Route::ChangeHost => hosts::change(&ask).await,
        Route::DeleteHost => hosts::delete(&ask).await,
        Route::OperateHost => hosts::operate(&ask).await,
        Route::Stat => admin::stat(&ask).await,
        Route::Health => Ok(admin::health()),
        Route::Templates => admin::templates(&ask).await,
        Route::PutTemplate => admin::put_template(&ask).await,
        Route::DeleteTemplate => admin::delete_template(&ask).await,
        Route::Settings => admin::settings(&ask).await,
        Route::ChangeSettings => admin::change_settings(&ask).await,
        Route::Tasks => admin::tasks(&ask).await,
    }
}

async fn operate(ask: &Ask<'_>) -> Answer {
    let action = ask.params.text("action").ok().flatten().unwrap_or_default();
    match &*action {
        "apply" => apply(ask).await,
        "release" => release(ask, "No cluster_id is given").await,
        "start" => power(ask, Power::Start).await,
        "stop" => power(ask, Power::Stop).await,
        "restart" => power(ask, Power::Restart).await,
        _ => Err(Failure::bad("Unknown action type")),
    }
}

/// Spec 2.4. Judged in the order user, plugin, mode, size; all but the user by the state.
async fn apply(ask: &Ask<'_>) -> Answer {
    let user_id = ask.user()?.unwrap_or_default();
    if user_id.is_empty() {
        return Err(Failure::bad("cluster_apply without user_id"));
    }
    let condition = Condition {
        plugin: word(&ask.params, "consensus_plugin"),
        mode: word(&ask.params, "consensus_mode"),
        // No template has such a size: the state refuses it in its turn.
        size: ask.params.integer("size").unwrap_or(Some(-1)),
    };
    let Ok(allows_multiple) = ask.params.truth("allow_multiple") else {
        let view = ask.view().await?;
        query::judge_wish(&view.cello, &user_id, &condition)?;
        return Err(Failure::bad("Invalid allow_multiple"));
    };
    let request_id = ask.request_id(&user_id)?;
    let allows_multiple = allows_multiple.unwrap_or(false);
    let command = Command::Apply { user_id, condition, allows_multiple };
    match ask.propose_as(request_id, command).await? {
        (Reply::Cluster(cluster), done) => ask.marked(wire::cluster(&cluster, ask.door), &done),
        (reply, _) => Err(unexpected(&reply)),
    }
}

/// A wish in words; what is no text is a word that no template has.
fn word(params: &Params, key: &str) -> Option<String> {
    match params.text(key) {
        Ok(text) => text.filter(|text| !text.is_empty()),
        Err(_) => Some("{}".to_owned()),
    }
}

async fn release(ask: &Ask<'_>, without_id: &str) -> Answer {
    let cluster_id = ask.cluster_id()?;
    let user_id = ask.user()?.filter(|user| !user.is_empty());
    let request_id = ask.request_id(user_id.as_deref().unwrap_or_default())?;
    let command = match (cluster_id, user_id) {
        (Some(cluster_id), user_id) if !cluster_id.is_empty() => {
            Command::Release { cluster_id, user_id }
        }
        // An empty id is a mistake about one cluster, not a wish about all of them.
        (None, Some(user_id)) => Command::ReleaseUser { user_id },
        _ => return Err(Failure::bad(without_id)),
    };
    let is_of_one = matches!(command, Command::Release { .. });
    let (_, done) = ask.propose_as(request_id, command).await.map_err(|failure| match failure {
        Failure::Rejected(_) if is_of_one => Failure::bad("cluster release failed"),
        failure => failure,
    })?;
    ask.marked(json!(""), &done)
}

async fn power(ask: &Ask<'_>, power: Power) -> Answer {
    let cluster_id = ask.cluster_id()?.filter(|id| !id.is_empty());
    let cluster_id = cluster_id.ok_or_else(|| Failure::bad("No cluster_id is given"))?;
    let user_id = ask.user()?.filter(|user| !user.is_empty());
    let request_id = ask.request_id(user_id.as_deref().unwrap_or_default())?;
    let text = format!("cluster {} failed", power.task().as_str());
    let command = Command::Power { cluster_id: cluster_id.clone(), user_id, power };
    let proposed = ask.propose_as(request_id, command).await;
    let (reply, done) = proposed.map_err(|failure| in_words(failure, &text))?;
    let Reply::Power { op } = reply else { return Err(unexpected(&reply)) };
    if let Some(op) = op {
        ask.wait(&done, &text, |state| query::power_outcome(state, &cluster_id, op)).await?;
    }
    ask.marked(json!(""), &done)
}

async fn list(ask: &Ask<'_>) -> Answer {
    let filter = Filter::of_clusters(&ask.params)?;
    let kind = ask.params.text("state").ok().flatten();
    let view = ask.view().await?;
    let state = &view.cello;
    let shown = |cluster: &std::sync::Arc<_>| wire::cluster(cluster, ask.door);
    let clusters: Vec<Value> = match kind.as_deref() {
        None | Some("active") => query::clusters(state).map(shown).collect(),
        Some("released") => query::released(state).map(shown).collect(),
        Some(_) => Vec::new(),
    };
    let clusters: Vec<_> = clusters.into_iter().filter(|cluster| filter.is_met(cluster)).collect();
    ask.shown(&view, json!(clusters))
}

async fn show(ask: &Ask<'_>, id: &str) -> Answer {
    let view = ask.view().await?;
    let cluster = query::cluster(&view.cello, id)
        .ok_or_else(|| Failure::NotFound(format!("cluster not found with id={id}")))?;
    ask.shown(&view, wire::cluster(&cluster, ask.door))
}

impl Ask<'_> {
    /// The state, as current as the request asks.
    pub(super) async fn view(&self) -> Result<View, Failure> {
        Ok(self.edge.view(self.visit).await?)
    }

    /// The user, if one is named.
    fn user(&self) -> Result<Option<String>, Failure> {
        self.params.text("user_id").map_err(|_| Failure::bad("Invalid user_id"))
    }

    /// The cluster, if one is named. What is no text is a cluster that nobody has.
    fn cluster_id(&self) -> Result<Option<String>, Failure> {
        self.params.text("cluster_id").map_err(|_| Failure::bad("Invalid cluster_id"))
    }

    /// The id of the wish: a parameter of it and the user, or what the headers say (spec 6.6).
    fn request_id(&self, user_id: &str) -> Result<Option<RequestId>, Failure> {
        let invalid = || Failure::bad("Invalid request_id");
        let Some(key) = self.params.text("request_id").map_err(|_| invalid())? else {
            return Ok(self.visit.call.request_id);
        };
        if key.is_empty() || key.chars().count() > REQUEST_ID_CHARS_MAX {
            return Err(invalid());
        }
        Ok(Some(hash(&["request", user_id, &key])))
    }

    /// Has a command applied; refusals are failures.
    pub(super) async fn propose(&self, command: Command) -> Result<(Reply, Done), Failure> {
        self.propose_as(self.visit.call.request_id, command).await
    }

    async fn propose_as(
        &self,
        request_id: Option<RequestId>,
        command: Command,
    ) -> Result<(Reply, Done), Failure> {
        self.visit.wish.set(request_id);
        let call = Call { request_id, ..self.visit.call.clone() };
        let done = self.edge.broker.propose(&call, domain::Command::Cello(command)).await?;
        match &done.reply {
            domain::Reply::Cello(Err(rejection)) => Err(rejection.clone().into()),
            domain::Reply::Cello(Ok(_)) if !done.is_visible => Err(Failure::Waiting),
            domain::Reply::Cello(Ok(reply)) => Ok((reply.clone(), done)),
            other => Err(Failure::Answer(format!("reply of another family: {other:?}"))),
        }
    }

    /// Waits until something that was begun is over.
    pub(super) async fn wait(
        &self,
        done: &Done,
        text: &str,
        progress: impl Fn(&State) -> Progress,
    ) -> Result<(), Failure> {
        let until = Instant::now() + EFFECT_TIME;
        let failed = |reason: &str| {
            Err(Failure::Failed { text: text.to_owned(), reason: reason.to_owned() })
        };
        while Instant::now() < until {
            let view = self.edge.broker.latest();
            let is_known = view.position().index >= done.index;
            match progress(&view.cello) {
                _ if !is_known => {}
                Progress::Waiting => {}
                Progress::Done => return Ok(()),
                Progress::Failed(reason) => return failed(&reason),
                Progress::Superseded => return failed("something else took its place"),
            }
            drop(view);
            sleep(LOOK_PAUSE).await;
        }
        Err(Failure::Waiting)
    }

    /// 200 with data from a state.
    pub(super) fn shown(&self, view: &View, data: Value) -> Answer {
        let mut response = wire::envelope(StatusCode::OK, data, "");
        response.extensions_mut().insert(view.position());
        Ok(response)
    }

    /// 200 with data, for something done.
    pub(super) fn marked(&self, data: Value, done: &Done) -> Answer {
        self.marked_as(StatusCode::OK, data, done)
    }

    /// Tells the shared layers at which log index the change took place.
    pub(super) fn marked_as(&self, status: StatusCode, data: Value, done: &Done) -> Answer {
        let mut response = wire::envelope(status, data, "");
        let mut position = self.edge.broker.latest().position();
        position.index = done.index;
        response.extensions_mut().insert(position);
        Ok(response)
    }
}

/// An id from words; equal words make equal ids.
pub(super) fn hash(parts: &[&str]) -> RequestId {
    let mut hasher = Sha256::new();
    for part in [FAMILY].iter().chain(parts) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize()[..16]);
    RequestId(id)
}

/// The state answered with something that this command never gets.
pub(super) fn unexpected(reply: &Reply) -> Failure {
    Failure::Answer(format!("unexpected reply: {reply:?}"))
}
