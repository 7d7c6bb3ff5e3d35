//! What operators ask about hosts (spec 4.1).

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;

use super::{
    error::{Failure, in_words},
    filter::Filter,
    handle::{Answer, Ask, hash, unexpected},
    input::Params,
    wire,
};
use crate::domain::cello::{
    Command, Reply,
    command::{HostChange, NewHost},
    model::{Host, LogType},
    query,
};

/// Time for the other things in a request that pings a host.
const PING_RESERVE: Duration = Duration::from_secs(1);

pub(super) async fn list(ask: &Ask<'_>) -> Answer {
    let filter = Filter::of(&ask.params)?;
    let view = ask.view().await?;
    let hosts = query::hosts(&view.cello).map(|host| wire::host(&view.cello, host, ask.door));
    let hosts: Vec<_> = hosts.filter(|host| filter.is_met(host)).collect();
    ask.shown(&view, json!(hosts))
}

pub(super) async fn show(ask: &Ask<'_>, id: &str) -> Answer {
    let view = ask.view().await?;
    let host = query::host(&view.cello, id)
        .ok_or_else(|| Failure::NotFound(format!("host not found with id={id}")))?;
    ask.shown(&view, wire::host(&view.cello, &host, ask.door))
}

pub(super) async fn create(ask: &Ask<'_>) -> Answer {
    let params = &ask.params;
    let required = ["name", "capacity", "log_type"];
    let daemon_url = daemon_url(params);
    if daemon_url.is_none() || required.iter().any(|key| text(params, key).is_none()) {
        return Err(Failure::bad("host POST without enough data"));
    }
    let name = text(params, "name").unwrap_or_default();
    let words = format!("Failed to create host {name}");
    let new = new_host(ask, name, daemon_url.unwrap_or_default())
        .map_err(|reason| Failure::Failed { text: words.clone(), reason })?;
    ping(ask, &new).await.map_err(|reason| Failure::Failed { text: words.clone(), reason })?;
    let proposed = ask.propose(Command::AddHost(Box::new(new))).await;
    let (reply, done) = proposed.map_err(|failure| in_words(failure, &words))?;
    let Reply::Host(host) = reply else { return Err(unexpected(&reply)) };
    ask.marked_as(StatusCode::CREATED, shown(ask, &host), &done)
}

fn new_host(ask: &Ask<'_>, name: String, daemon_url: String) -> Result<NewHost, String> {
    let params = &ask.params;
    let flag = |key: &str| is_on(params, key).unwrap_or(false);
    Ok(NewHost {
        installation: installation(ask),
        name,
        daemon_url,
        is_tls: flag("tls"),
        service_address: text(params, "service_ip").unwrap_or_default(),
        capacity: capacity(params)?.ok_or_else(|| "capacity is empty".to_owned())?,
        log_level: text(params, "log_level").unwrap_or_default(),
        log_type: log_type(params)?.unwrap_or_default(),
        log_server: text(params, "log_server").unwrap_or_default(),
        is_schedulable: flag("schedulable"),
        is_autofill: flag("autofill"),
    })
}

/// An id that no other installation has, and that a repeated request has again.
fn installation(ask: &Ask<'_>) -> [u8; 16] {
    let broker = &ask.edge.broker;
    let request_id = ask.visit.call.request_id.unwrap_or_else(|| broker.new_request_id());
    hash(&["installation", &broker.status().cluster_id, &request_id.to_string()]).0
}

/// A host that does not answer is not added; only `tcp` and `unix` ones are asked.
async fn ping(ask: &Ask<'_>, new: &NewHost) -> Result<(), String> {
    let Some(ping) = &ask.edge.settings.cello.ping else { return Ok(()) };
    let settings = query::settings(&ask.edge.broker.latest().cello).ping_timeout_ms;
    let left = ask.visit.call.deadline.saturating_duration_since(tokio::time::Instant::now());
    let time = Duration::from_millis(settings).min(left.saturating_sub(PING_RESERVE));
    let url = query::daemon_url(&new.daemon_url).map_err(|rejection| rejection.to_string())?;
    ping.ping(&url, new.is_tls, time).await
}

pub(super) async fn change(ask: &Ask<'_>) -> Answer {
    let params = &ask.params;
    let Some(host_id) = text(params, "id") else {
        return Err(Failure::bad("host PUT without enough data"));
    };
    let words = format!("Failed to update host {host_id}");
    let failed = |reason| Failure::Failed { text: words.clone(), reason };
    let change = HostChange {
        name: text(params, "name"),
        daemon_url: daemon_url(params),
        is_tls: is_on(params, "tls"),
        service_address: text(params, "service_ip"),
        capacity: capacity(params).map_err(failed)?,
        log_level: text(params, "log_level"),
        log_type: log_type(params).map_err(failed)?,
        log_server: text(params, "log_server"),
        is_schedulable: is_on(params, "schedulable"),
        is_autofill: is_on(params, "autofill"),
    };
    let command = Command::ChangeHost { host_id, change: Box::new(change) };
    let proposed = ask.propose(command).await;
    let (reply, done) = proposed.map_err(|failure| in_words(failure, &words))?;
    let Reply::Host(host) = reply else { return Err(unexpected(&reply)) };
    ask.marked(shown(ask, &host), &done)
}

pub(super) async fn delete(ask: &Ask<'_>) -> Answer {
    let Some(host_id) = text(&ask.params, "id") else {
        return Err(Failure::bad("host delete without enough data"));
    };
    let words = format!("Failed to delete host {host_id}");
    let is_forced = is_on(&ask.params, "force").unwrap_or(false);
    let proposed = ask.propose(Command::RemoveHost { host_id, is_forced }).await;
    let (_, done) = proposed.map_err(|failure| in_words(failure, &words))?;
    ask.marked(json!(""), &done)
}

pub(super) async fn operate(ask: &Ask<'_>) -> Answer {
    let (host_id, action) = (text(&ask.params, "id"), text(&ask.params, "action"));
    let (Some(host_id), Some(action)) = (host_id, action) else {
        return Err(Failure::bad("host POST without enough data"));
    };
    let id = host_id.clone();
    let command = match &*action {
        "fillup" => Command::FillHost { host_id, is_automatic: false },
        "clean" => Command::CleanHost { host_id },
        "reset" => Command::ResetHost { host_id },
        _ => return Err(Failure::Bad(format!("unknown host action={action}"))),
    };
    let words = format!("Failed to {action} the host.");
    let proposed = ask.propose(command).await;
    let (reply, done) = proposed.map_err(|failure| in_words(failure, &words))?;
    if let Reply::HostTask { op } = reply {
        ask.wait(&done, &words, |state| query::reset_outcome(state, &id, op)).await?;
    }
    ask.marked(json!(""), &done)
}

fn shown(ask: &Ask<'_>, host: &Host) -> serde_json::Value {
    wire::host(&ask.edge.broker.latest().cello, host, ask.door)
}

/// A member as text, unless it is absent; what has no text counts as absent.
pub(super) fn text(params: &Params, key: &str) -> Option<String> {
    params.text(key).ok().flatten()
}

/// Later versions of the original call it `worker_api`.
fn daemon_url(params: &Params) -> Option<String> {
    text(params, "daemon_url").or_else(|| text(params, "worker_api"))
}

/// Forms of the original say `on`; anything that is not true is false.
pub(super) fn is_on(params: &Params, key: &str) -> Option<bool> {
    params.get(key).map(|_| params.truth(key).ok().flatten().unwrap_or(false))
}

fn capacity(params: &Params) -> Result<Option<u32>, String> {
    let invalid = || "capacity is a number from 0 to 1000".to_owned();
    let capacity = params.integer("capacity").map_err(|_| invalid())?;
    capacity.map(|capacity| u32::try_from(capacity).map_err(|_| invalid())).transpose()
}

fn log_type(params: &Params) -> Result<Option<LogType>, String> {
    match text(params, "log_type").as_deref() {
        None => Ok(None),
        Some("" | "local") => Ok(Some(LogType::Local)),
        Some("syslog") => Ok(Some(LogType::Syslog)),
        Some(_) => Err("log_type is local or syslog".to_owned()),
    }
}
