//! What operators ask about clusters, templates and settings (spec 4.1).

use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{
    error::{Failure, in_words},
    handle::{Answer, Ask, unexpected},
    hosts::{is_on, text},
    template::TemplateJson,
    wire,
};
use crate::domain::cello::{
    ClusterType, Command, Rejection, Reply, command::NewCluster, query, settings::SettingsChange,
};

/// Answers with the cluster as soon as it is decided; its containers follow.
pub(super) async fn create_cluster(ask: &Ask<'_>) -> Answer {
    let params = &ask.params;
    let required = ["name", "host_id", "consensus_plugin", "consensus_mode", "size"];
    if required.iter().any(|key| params.get(key).is_none()) {
        return Err(Failure::bad("cluster post without enough data"));
    }
    let invalid = || Failure::bad("Invalid request");
    let word = |key: &str| params.text(key).map_err(|_| invalid());
    let name = word("name")?.unwrap_or_default();
    let port_start = params.integer("port_start").map_err(|_| invalid())?;
    let new = NewCluster {
        host_id: word("host_id")?.unwrap_or_default(),
        name: name.clone(),
        kind: cluster_type(ask).ok_or_else(invalid)?,
        port_start: port_start.map(u16::try_from).transpose().map_err(|_| invalid())?,
    };
    let words = format!("Failed to create cluster {name}");
    let proposed = ask.propose(Command::CreateCluster(Box::new(new))).await;
    let (reply, done) = proposed.map_err(|failure| match failure {
        Failure::Rejected(Rejection::NoTemplate) => invalid(),
        failure => in_words(failure, &words),
    })?;
    let Reply::Cluster(cluster) = reply else { return Err(unexpected(&reply)) };
    ask.marked_as(StatusCode::CREATED, wire::cluster(&cluster, ask.door), &done)
}

fn cluster_type(ask: &Ask<'_>) -> Option<ClusterType> {
    let size = ask.params.integer("size").ok().flatten()?;
    Some(ClusterType {
        plugin: text(&ask.params, "consensus_plugin")?,
        mode: text(&ask.params, "consensus_mode").unwrap_or_default(),
        size: u32::try_from(size).ok()?,
    })
}

pub(super) async fn delete_cluster(ask: &Ask<'_>) -> Answer {
    let (id, collection) = (text(&ask.params, "id"), text(&ask.params, "col_name"));
    let (Some(cluster_id), Some(collection)) = (id, collection) else {
        return Err(Failure::bad("cluster operation post without enough data"));
    };
    if collection != "active" {
        // What is not in the history is as gone as what has just been taken out.
        return match ask.propose(Command::DropReleased { cluster_id }).await {
            Ok((_, done)) => ask.marked(json!(""), &done),
            Err(Failure::Rejected(Rejection::ClusterNotFound)) => {
                Ok(wire::envelope(StatusCode::OK, json!(""), ""))
            }
            Err(failure) => Err(failure),
        };
    }
    let words = format!("Failed to delete cluster {cluster_id}");
    let is_forced = is_on(&ask.params, "force").unwrap_or(false);
    let proposed = ask.propose(Command::DeleteCluster { cluster_id, is_forced }).await;
    let (_, done) = proposed.map_err(|failure| in_words(failure, &words))?;
    ask.marked(json!(""), &done)
}

pub(super) async fn stat(ask: &Ask<'_>) -> Answer {
    let view = ask.view().await?;
    let res = text(&ask.params, "res").unwrap_or_default();
    let stat = wire::stat(&view.cello, &res);
    let stat = stat.unwrap_or_else(|| json!(wire::StatHint { example: "/api/stat?res=host" }));
    let mut response = wire::bare(StatusCode::OK, &stat);
    response.extensions_mut().insert(view.position());
    Ok(response)
}

pub(super) fn health() -> Response<Body> {
    let health = wire::HealthJson { health: "OK", version: env!("CARGO_PKG_VERSION") };
    wire::bare(StatusCode::OK, &json!(health))
}

pub(super) async fn templates(ask: &Ask<'_>) -> Answer {
    let view = ask.view().await?;
    let templates = query::templates(&view.cello);
    let templates: Vec<_> = templates.map(|template| TemplateJson::from(&**template)).collect();
    ask.shown(&view, json!(templates))
}

pub(super) async fn put_template(ask: &Ask<'_>) -> Answer {
    let template: TemplateJson = strict(ask, "invalid template")?;
    let (_, done) = ask.propose(Command::PutTemplate(Box::new(template.into()))).await?;
    ask.marked(json!(""), &done)
}

pub(super) async fn delete_template(ask: &Ask<'_>) -> Answer {
    let kind = cluster_type(ask);
    let kind = kind.ok_or_else(|| Failure::bad("template delete without enough data"))?;
    let proposed = ask.propose(Command::RemoveTemplate { kind }).await;
    let (_, done) = proposed.map_err(|failure| match failure {
        Failure::Rejected(rejection @ Rejection::NoTemplate) => {
            Failure::NotFound(rejection.to_string())
        }
        failure => failure,
    })?;
    ask.marked(json!(""), &done)
}

pub(super) async fn settings(ask: &Ask<'_>) -> Answer {
    let view = ask.view().await?;
    ask.shown(&view, json!(query::settings(&view.cello)))
}

pub(super) async fn change_settings(ask: &Ask<'_>) -> Answer {
    let change: SettingsChange = strict(ask, "invalid setting")?;
    let (_, done) = ask.propose(Command::ChangeSettings(Box::new(change))).await?;
    let settings = json!(query::settings(&ask.edge.broker.latest().cello));
    ask.marked(settings, &done)
}

/// A body that must be an object with known members only; a list in their order is none.
fn strict<T: DeserializeOwned>(ask: &Ask<'_>, words: &str) -> Result<T, Failure> {
    let members = serde_json::from_slice::<Map<String, Value>>(&ask.body);
    let read = members.and_then(|members| serde_json::from_value(Value::Object(members)));
    read.map_err(|error| Failure::Bad(format!("{words}: {error}")))
}

pub(super) async fn tasks(ask: &Ask<'_>) -> Answer {
    let view = ask.view().await?;
    let effects = query::pending_effects(&view.cello);
    let tasks: Vec<_> = effects.iter().map(wire::effect).collect();
    ask.shown(&view, json!(tasks))
}
