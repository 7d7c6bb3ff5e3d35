//! What is done with a request once its route is known: read one state, or propose one command.

use std::time::Duration;

use axum::{
    body::Body,
    extract::Query,
    http::{
        HeaderMap, HeaderValue, Response, Uri,
        header::{CONTENT_TYPE, VARY},
        request::Parts,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout};

use super::{
    Dialect, Family,
    answers::{Subject, Wanted},
    error::{Failure, Operation},
    recover,
    route::{BodyRoute, Generation, ReadRoute, Route},
    scale, wire, wire_document,
};
use crate::{
    api::{
        Visit, encoding,
        limit::{self, read_body},
        profile::Profile,
    },
    broker::{Call, Done, View},
    domain::{
        self,
        undermoon::{self, Action, Command, Rejection, Reply, name, query, query::Origin},
    },
};

/// Longest wait of a failure listing for the pruning it asked for.
const PRUNE_TIMEOUT: Duration = Duration::from_secs(1);
/// What the programs of either generation call themselves.
const V2_VERSION: &str = "0.5.0";
const V3_VERSION: &str = "0.6.2";

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Answers a request.
pub(super) async fn handle(
    family: &Family,
    visit: &Visit,
    dialect: Dialect,
    route: Route,
    head: &Parts,
    body: Body,
) -> Result<Response<Body>, Failure> {
    match route {
        Route::Read(route) => read(family, visit, dialect, route, &head.uri).await,
        // In a box: a change keeps much while it waits, which would be moved about with every read.
        route => Box::pin(other(family, visit, dialect, route, head, body)).await,
    }
}

/// Answers whatever is no read.
async fn other(
    family: &Family,
    visit: &Visit,
    dialect: Dialect,
    route: Route,
    head: &Parts,
    body: Body,
) -> Result<Response<Body>, Failure> {
    match route {
        Route::Version => Ok(version(dialect.generation)),
        Route::LocalConfig => {
            let replica_addresses = family.edge.settings.undermoon.replica_addresses.get();
            json(&wire::LocalConfig { replica_addresses })
        }
        Route::SetLocalConfig => {
            let config: wire::LocalConfig = parse(&ordinary_body(visit, head, body).await?)?;
            family.edge.settings.undermoon.replica_addresses.set(config.replica_addresses);
            Ok(empty(dialect))
        }
        Route::Restore => restore(family, visit, dialect, head, body).await,
        Route::AutoScale { name, node_number } => {
            scale::auto_scale(family, visit, dialect, name, node_number).await
        }
        Route::RecoverEpoch => recover::recover_epoch(family, visit, dialect).await,
        Route::Read(route) => read(family, visit, dialect, route, &head.uri).await,
        Route::Change(action) => change(family, visit, dialect, action).await,
        Route::BodyChange(route) => {
            let body = ordinary_body(visit, head, body).await?;
            change(family, visit, dialect, action(route, &body)?).await
        }
    }
}

/// Proposes a change and answers its reply.
async fn change(
    family: &Family,
    visit: &Visit,
    dialect: Dialect,
    action: Action,
) -> Result<Response<Body>, Failure> {
    let (reply, done) = propose(family, &visit.call, dialect, action).await?;
    let mut response = match (&reply, dialect.profile) {
        (Reply::NodesAdded(nodes), _) => json(&wire::nodes(dialect.generation, nodes))?,
        (Reply::FailedOver(proxy), _) => {
            json(&wire::ProxyAnswer::new(dialect.generation, proxy.as_deref()))?
        }
        (Reply::Committed { addresses }, Profile::Document) => {
            json(&wire::AddressesJson { addresses: addresses.clone() })?
        }
        (Reply::Committed { .. } | Reply::Done | Reply::ScaleStarted { .. }, _) => empty(dialect),
    };
    mark(family, &mut response, &done);
    Ok(response)
}

/// Tells the shared layers at which log index the change took place.
pub(super) fn mark(family: &Family, response: &mut Response<Body>, done: &Done) {
    let mut position = family.edge.broker.latest().position();
    position.index = done.index;
    response.extensions_mut().insert(position);
}

/// Proposes one action of the family.
pub(super) async fn propose(
    family: &Family,
    call: &Call,
    dialect: Dialect,
    action: Action,
) -> Result<(Reply, Done), Failure> {
    let operation = Operation::from(&action);
    let profile = match dialect.profile {
        Profile::Document => undermoon::Profile::Document,
        Profile::Program => undermoon::Profile::Program,
    };
    let command = domain::Command::Undermoon(Command { profile, action });
    let done = family.edge.broker.propose(call, command).await?;
    match &done.reply {
        domain::Reply::Undermoon(Err(rejection)) => {
            Err(Failure::Rejected(rejection.clone(), operation))
        }
        domain::Reply::Undermoon(Ok(_)) if !done.is_visible => Err(Failure::NotVisible),
        domain::Reply::Undermoon(Ok(reply)) => Ok((reply.clone(), done)),
        other => Err(Failure::Answer(format!("reply of another family: {other:?}"))),
    }
}

/// Answers a read from one state.
async fn read(
    family: &Family,
    visit: &Visit,
    dialect: Dialect,
    route: ReadRoute,
    uri: &Uri,
) -> Result<Response<Body>, Failure> {
    let view = family.edge.view(visit).await?;
    let state = &view.undermoon;
    let generation = dialect.generation;
    let mut response = match route {
        ReadRoute::Metadata => return Box::pin(metadata(visit, view)).await,
        ReadRoute::ClusterNames => {
            let page = page(uri)?;
            json(&wire::NamesJson { names: query::cluster_names(state, page.offset, page.limit) })
        }
        ReadRoute::Cluster(name) => {
            let origin = query::cluster_origin(state, &name);
            kept(family, visit, (generation, Subject::Cluster, &name), origin, || {
                encode(&wire::ClusterAnswer::new(generation, query::cluster(state, &name).as_ref()))
            })
        }
        ReadRoute::ClusterInfo(name) => {
            let missing = Failure::Rejected(Rejection::ClusterNotFound, Operation::Other);
            let info = query::cluster_info(state, &name).ok_or(missing)?;
            json(&wire::ClusterInfoJson::from(&info))
        }
        ReadRoute::ProxyAddresses => {
            let page = page(uri)?;
            addresses(query::proxy_addresses(state, page.offset, page.limit))
        }
        ReadRoute::Proxy(address) => {
            let origin = query::proxy_origin(state, &address);
            kept(family, visit, (generation, Subject::Proxy, &address), origin, || {
                encode(&wire::ProxyAnswer::new(generation, query::proxy(state, &address).as_ref()))
            })
        }
        ReadRoute::FailedProxies => addresses(query::failed_proxies(state)),
        ReadRoute::Failures => addresses(Box::pin(failures(family, visit, dialect, &view)).await),
        ReadRoute::CheckSpares => {
            let hosts = query::hosts_cannot_fail(state);
            let hosts = hosts.map_err(|why| Failure::Rejected(why, Operation::Other))?;
            json(&wire::SparesJson { hosts_cannot_fail: hosts })
        }
        ReadRoute::Epoch => Ok(epoch(generation, query::global_epoch(state))),
    }?;
    response.extensions_mut().insert(view.position());
    Ok(response)
}

/// Failures by now; expired reports are dropped through the log on the way. The answer does not
/// depend on that, so a log that does not take it only delays the cleaning.
async fn failures(family: &Family, visit: &Visit, dialect: Dialect, view: &View) -> Vec<String> {
    let now_ms = family.edge.broker.now_ms();
    if query::has_expired_failures(&view.undermoon, now_ms) {
        let deadline = visit.call.deadline.min(Instant::now() + PRUNE_TIMEOUT);
        let call = Call { request_id: None, deadline, ..visit.call.clone() };
        let pruning = propose(family, &call, dialect, Action::PruneFailures);
        if !matches!(timeout(PRUNE_TIMEOUT, pruning).await, Ok(Ok(_))) {
            tracing::debug!("expired failure reports were not pruned");
        }
    }
    let mut failures = query::failures(&view.undermoon, now_ms);
    if dialect.profile == Profile::Document {
        let failed = query::failed_proxies(&view.undermoon);
        failures
            .retain(|address| failed.binary_search(address).is_err() || is_member(view, address));
    }
    failures
}

/// The documents list failures that are not acted on yet, the programs go on listing a proxy after
/// it was replaced. One that waits for a spare stays listed in both, so that it is tried again.
fn is_member(view: &View, address: &str) -> bool {
    query::proxy(&view.undermoon, address).is_some_and(|proxy| proxy.cluster_name.is_some())
}

/// The stored document may be large: it is built and encoded where blocking is allowed.
async fn metadata(visit: &Visit, view: View) -> Result<Response<Body>, Failure> {
    let takes_gzip = visit.takes_gzip;
    let building = tokio::task::spawn_blocking(move || {
        let position = view.position();
        let bytes = wire_document::encode(query::document(&view.undermoon))?;
        let mut response = encoding::json(bytes, takes_gzip);
        response.extensions_mut().insert(position);
        Ok::<_, serde_json::Error>(response)
    });
    match building.await {
        Ok(built) => built.map_err(|error| Failure::Answer(error.to_string())),
        Err(error) => Err(Failure::Answer(error.to_string())),
    }
}

/// Route 3. Checked as a whole before it is proposed; the epoch is compared where it is applied.
async fn restore(
    family: &Family,
    visit: &Visit,
    dialect: Dialect,
    head: &Parts,
    body: Body,
) -> Result<Response<Body>, Failure> {
    let _place = family.edge.admit_restore()?;
    expect_json(&head.headers)?;
    let deadline = Instant::now() + limit::RESTORE_TIMEOUT;
    let body = read_body(&head.headers, body, limit::RESTORE_BYTES_MAX, deadline).await?;
    let reading = tokio::task::spawn_blocking(move || {
        let document = wire_document::decode(&body).map_err(|error| match error {
            wire_document::DocumentError::Version => Failure::MetaVersion,
            wire_document::DocumentError::Json(message) => Failure::Json(message),
        })?;
        document.validate().map_err(|why| Failure::Rejected(why, Operation::Other))?;
        Ok::<_, Failure>(document)
    });
    let document = reading.await.map_err(|error| Failure::Answer(error.to_string()))??;
    let call = Call { deadline, ..visit.call.clone() };
    let action = Action::Restore { document: Box::new(document) };
    let (_, done) = propose(family, &call, dialect, action).await?;
    let mut response = empty(dialect);
    mark(family, &mut response, &done);
    Ok(response)
}

fn action(route: BodyRoute, body: &[u8]) -> Result<Action, Failure> {
    Ok(match route {
        BodyRoute::CreateCluster(name) => {
            let wire::NodeNumber { node_number } = parse(body)?;
            Action::CreateCluster { name, node_number }
        }
        BodyRoute::AddNodes(name) => {
            let wire::NodeNumber { node_number } = parse(body)?;
            Action::AddNodes { name, node_number }
        }
        BodyRoute::AddNodesUpTo(name) => {
            let wire::ClusterNodeNumber { cluster_node_number } = parse(body)?;
            Action::AddNodesUpTo { name, node_number: cluster_node_number }
        }
        BodyRoute::CommitMigration => {
            let commit: wire::CommitMigration = parse(body)?;
            let cluster = &commit.cluster_name;
            if !cluster.is_empty() && !name::is_valid(cluster, undermoon::Profile::Program) {
                return Err(Failure::Json(format!("invalid cluster name {cluster}")));
            }
            commit.into()
        }
        BodyRoute::ChangeConfig(name) => {
            let pairs: wire::ConfigPairs = parse(body)?;
            Action::ChangeConfig { name, pairs: pairs.into_iter().collect() }
        }
        BodyRoute::RegisterProxy => parse::<wire::RegisterProxy>(body)?.into(),
    })
}

async fn ordinary_body(visit: &Visit, head: &Parts, body: Body) -> Result<bytes::Bytes, Failure> {
    expect_json(&head.headers)?;
    let read = read_body(&head.headers, body, limit::BODY_BYTES_MAX, visit.call.deadline);
    Ok(read.await?)
}

/// A body without a content type is taken for JSON; one that says it is something else is not.
fn expect_json(headers: &HeaderMap) -> Result<(), Failure> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        return Ok(());
    }
    Err(Failure::MediaType)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::Json(error.to_string()))
}

fn page(uri: &Uri) -> Result<wire::Page, Failure> {
    let query = Query::try_from_uri(uri).map_err(|error| Failure::Query(error.to_string()))?;
    Ok(query.0)
}

fn version(generation: Generation) -> Response<Body> {
    let version = match generation {
        Generation::V2 => V2_VERSION,
        Generation::V3 => V3_VERSION,
    };
    with_type(TEXT, version.to_owned())
}

/// Whole body is the decimal integer; a client parses it as such.
fn epoch(generation: Generation, epoch: u64) -> Response<Body> {
    let content_type = match generation {
        Generation::V2 => TEXT,
        Generation::V3 => JSON,
    };
    with_type(content_type, epoch.to_string())
}

fn with_type(content_type: HeaderValue, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn addresses(addresses: Vec<String>) -> Result<Response<Body>, Failure> {
    json(&wire::AddressesJson { addresses })
}

/// Success without anything to tell. The older generation gave it a content type.
pub(super) fn empty(dialect: Dialect) -> Response<Body> {
    match dialect.generation {
        Generation::V2 => with_type(TEXT, String::new()),
        Generation::V3 => Response::new(Body::empty()),
    }
}

/// An answer that is never compressed.
pub(super) fn json<T: Serialize>(body: &T) -> Result<Response<Body>, Failure> {
    let mut response = encoding::json(encode(body)?, false);
    response.headers_mut().remove(VARY);
    Ok(response)
}

/// An answer that is compressed if the client takes it, and made once for its origin if it has one.
fn kept(
    family: &Family,
    visit: &Visit,
    (generation, subject, name): (Generation, Subject, &str),
    origin: Option<Origin>,
    make: impl FnOnce() -> Result<Vec<u8>, Failure>,
) -> Result<Response<Body>, Failure> {
    let is_gzip = visit.takes_gzip;
    let Some(origin) = origin else { return Ok(encoding::json(make()?, is_gzip)) };
    let wanted = Wanted { subject, generation, is_gzip, name };
    let (bytes, is_gzip) = family.answers.get(wanted, origin, make)?;
    Ok(encoding::packed_json(bytes, is_gzip))
}

fn encode<T: Serialize>(body: &T) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(body).map_err(|error| Failure::Answer(error.to_string()))
}
