//! Stand-ins for Docker daemons: containers that are nothing but records, so that a pool of
//! thousands of clusters costs no more than what its replicas do with it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use clap::Args;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::Failure;

/// How many there are.
#[derive(Args)]
pub(crate) struct Options {
    /// Daemons, each on a port of its own.
    #[arg(long, default_value_t = 1)]
    count: u64,
}

/// A record of a container.
#[derive(Clone)]
struct Container {
    labels: BTreeMap<String, String>,
    is_running: bool,
}

/// What one daemon has, by name.
#[derive(Clone, Default)]
struct Daemon(Arc<Mutex<BTreeMap<String, Container>>>);

impl Daemon {
    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Container>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves until it is killed; says the address of each first, one a line.
pub(crate) async fn serve(options: Options) -> Result<(), Failure> {
    let mut served = tokio::task::JoinSet::new();
    for _ in 0..options.count {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let app = router(Daemon::default());
        served.spawn(async move { axum::serve(listener, app).await });
    }
    while let Some(ended) = served.join_next().await {
        ended??;
    }
    Ok(())
}

/// Every path comes with the version that the client has agreed on, and without it.
fn router(daemon: Daemon) -> Router {
    let api = Router::new()
        .route("/_ping", get(async || "OK"))
        .route("/version", get(async || Json(json!({"ApiVersion": "1.47", "Version": "0"}))))
        .route("/containers/json", get(list))
        .route("/containers/create", post(create))
        .route("/containers/{name}/json", get(inspect))
        .route("/containers/{name}/start", post(start))
        .route("/containers/{name}/stop", post(stop))
        .route("/containers/{name}/restart", post(start))
        .route("/containers/{name}", delete(remove))
        .route("/images/{*rest}", get(async || Json(json!({"Id": "image"}))))
        .route("/networks", get(async || Json(json!([]))))
        .route("/networks/create", post(async || Json(json!({"Id": "network"}))))
        .with_state(daemon);
    Router::new().merge(api.clone()).nest("/{version}", api).fallback(unknown)
}

async fn unknown(uri: Uri) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"message": format!("no route for {uri}")}))).into_response()
}

/// Names in a path follow those of the prefix.
type Names = Path<BTreeMap<String, String>>;

fn missing() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"message": "No such container"}))).into_response()
}

fn shown(name: &str, container: &Container) -> Value {
    let state = if container.is_running { "running" } else { "created" };
    json!({"Id": name, "Names": [format!("/{name}")], "Labels": container.labels, "State": state})
}

async fn list(
    State(daemon): State<Daemon>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let filters = query.get("filters").map_or("{}", String::as_str);
    let Ok(filters) = serde_json::from_str::<BTreeMap<String, Vec<String>>>(filters) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let wanted = filters.get("label").map_or(&[][..], Vec::as_slice);
    let prefixes = filters.get("name").map_or(&[][..], Vec::as_slice);
    let containers = daemon.containers();
    let is_meant = |(name, container): &(&String, &Container)| {
        let has_label = |label: &String| {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            container.labels.get(key).is_some_and(|found| found == value)
        };
        let has_name = |pattern: &String| name.starts_with(pattern.trim_start_matches("^/?"));
        wanted.iter().all(has_label) && (prefixes.is_empty() || prefixes.iter().any(has_name))
    };
    let found: Vec<_> = containers.iter().filter(is_meant).map(|(n, c)| shown(n, c)).collect();
    Json(found).into_response()
}

async fn create(
    State(daemon): State<Daemon>,
    Query(query): Query<BTreeMap<String, String>>,
    Json(body): Json<Value>,
) -> Response {
    let name = query.get("name").cloned().unwrap_or_default();
    let labels = serde_json::from_value(body["Labels"].clone()).unwrap_or_default();
    daemon.containers().insert(name.clone(), Container { labels, is_running: false });
    (StatusCode::CREATED, Json(json!({"Id": name, "Warnings": []}))).into_response()
}

async fn inspect(State(daemon): State<Daemon>, Path(names): Names) -> Response {
    let name = names.get("name").cloned().unwrap_or_default();
    let containers = daemon.containers();
    let Some(container) = containers.get(&name) else { return missing() };
    let status = if container.is_running { "running" } else { "created" };
    let config = json!({"Labels": container.labels});
    let about = json!({"Id": name, "Name": name, "Config": config, "State": {"Status": status}});
    Json(about).into_response()
}

async fn start(State(daemon): State<Daemon>, Path(names): Names) -> Response {
    set_running(&daemon, &names, true)
}

async fn stop(State(daemon): State<Daemon>, Path(names): Names) -> Response {
    set_running(&daemon, &names, false)
}

fn set_running(daemon: &Daemon, names: &BTreeMap<String, String>, is_running: bool) -> Response {
    let mut containers = daemon.containers();
    let found = names.get("name").and_then(|name| containers.get_mut(name));
    let Some(container) = found else { return missing() };
    container.is_running = is_running;
    StatusCode::NO_CONTENT.into_response()
}

async fn remove(State(daemon): State<Daemon>, Path(names): Names) -> Response {
    let gone = names.get("name").and_then(|name| daemon.containers().remove(name));
    gone.map_or_else(missing, |_| StatusCode::NO_CONTENT.into_response())
}
