//! Which request is which: method and path to a [`Route`], without looking at headers or body.

use std::borrow::Cow;

use axum::http::Method;

use crate::domain::kvrocks::command::ClusterKey;

/// Path of the family's settings and observations.
const OPERATE: &str = "/quorate/v1/kvrocks";

/// A request of the family. Shard indexes and job ids are text: whether they are numbers is judged
/// after the cluster was found. All bodies and answers are in the specification's section 2.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `GET /namespaces`.
    Namespaces,
    /// `POST /namespaces` with `{"namespace"}`.
    CreateNamespace,
    /// `GET /namespaces/N`.
    Namespace(String),
    /// `DELETE /namespaces/N`.
    DeleteNamespace(String),
    /// `GET /namespaces/N/clusters`.
    Clusters(String),
    /// `POST /namespaces/N/clusters` with `{"name","nodes","replicas","password"}`.
    CreateCluster(String),
    /// A request about one cluster.
    Cluster(ClusterKey, ClusterRoute),
    /// `GET /controller/leader`, answers the leader's address.
    Leader,
    /// `GET /raft/peers`.
    Peers,
    /// `POST /raft/peers` with `{"id","operation","peer"}`.
    ChangePeers,
    /// `GET /quorate/v1/kvrocks/settings`.
    Settings,
    /// `PUT /quorate/v1/kvrocks/settings` with the members to change.
    ChangeSettings,
    /// `GET /quorate/v1/kvrocks/observers`.
    Observers,
    /// `POST /quorate/v1/kvrocks/load` with `{"namespace","cluster"}`, answers
    /// `{"loaded","version"}`.
    Load,
    /// `GET /quorate/v1/kvrocks/export`, answers every key of the original's store with its value.
    Export,
    /// `GET /quorate/v1/kvrocks/status`.
    Status,
    /// `GET /quorate/v1/kvrocks/status/N/C`.
    ClusterStatus(ClusterKey),
}

/// A request about one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClusterRoute {
    /// `GET .`.
    Show,
    /// `DELETE .`.
    Delete,
    /// `POST ./import` with `{"nodes","password"}`.
    Import,
    /// `POST ./migrate` with `{"target","slot","slot_only"}`.
    Migrate,
    /// `GET ./shards`.
    Shards,
    /// `POST ./shards` with `{"nodes","password"}`.
    AddShard,
    /// `GET ./shards/S`.
    Shard(String),
    /// `DELETE ./shards/S`.
    RemoveShard(String),
    /// `POST ./shards/S/failover` with `{"preferred_node_id"}` or nothing.
    FailOver(String),
    /// `GET ./shards/S/nodes`.
    Nodes(String),
    /// `POST ./shards/S/nodes` with `{"addr","role","password"}`.
    AddNode(String),
    /// `DELETE ./shards/S/nodes/I`.
    RemoveNode(String, String),
    /// `GET ./migrations`, answers `{"migrations":[..]}`.
    Migrations,
    /// `POST ./migrations` with `{"target","slots"}`, answers `{"migrations":[ids]}`.
    QueueMigrations,
    /// `GET ./migrations/J`, answers `{"migration":..}`.
    Migration(String),
    /// `DELETE ./migrations/J`: cancels.
    CancelMigration(String),
    /// `POST ./migrations/J/retry`.
    RetryMigration(String),
    /// `GET ./failovers`, answers `{"failovers":[..]}`.
    Failovers,
    /// `POST ./sync` with `{"force"}` or nothing, answers `{"synced","version"}`.
    Sync,
    /// `POST ./password` with `{"password","node_id"}`.
    Password,
}

impl Route {
    /// The path with names in place of what varies, as the original writes it.
    pub(super) const fn pattern(&self) -> &'static str {
        match self {
            Self::Namespaces | Self::CreateNamespace => "/api/v1/namespaces",
            Self::Namespace(_) | Self::DeleteNamespace(_) => "/api/v1/namespaces/:namespace",
            Self::Clusters(_) | Self::CreateCluster(_) => "/api/v1/namespaces/:namespace/clusters",
            Self::Cluster(_, route) => route.pattern(),
            Self::Leader => "/api/v1/controller/leader",
            Self::Peers | Self::ChangePeers => "/api/v1/raft/peers",
            Self::Settings | Self::ChangeSettings => "/quorate/v1/kvrocks/settings",
            Self::Observers => "/quorate/v1/kvrocks/observers",
            Self::Load => "/quorate/v1/kvrocks/load",
            Self::Export => "/quorate/v1/kvrocks/export",
            Self::Status => "/quorate/v1/kvrocks/status",
            Self::ClusterStatus(_) => "/quorate/v1/kvrocks/status/:namespace/:cluster",
        }
    }
}

/// Joins the prefix of a cluster with the rest of a pattern.
macro_rules! of_cluster {
    ($rest:literal) => {
        concat!("/api/v1/namespaces/:namespace/clusters/:cluster", $rest)
    };
}

impl ClusterRoute {
    const fn pattern(&self) -> &'static str {
        match self {
            Self::Show | Self::Delete => of_cluster!(""),
            Self::Import => of_cluster!("/import"),
            Self::Migrate => of_cluster!("/migrate"),
            Self::Shards | Self::AddShard => of_cluster!("/shards"),
            Self::Shard(_) | Self::RemoveShard(_) => of_cluster!("/shards/:shard"),
            Self::FailOver(_) => of_cluster!("/shards/:shard/failover"),
            Self::Nodes(_) | Self::AddNode(_) => of_cluster!("/shards/:shard/nodes"),
            Self::RemoveNode(..) => of_cluster!("/shards/:shard/nodes/:id"),
            Self::Migrations | Self::QueueMigrations => of_cluster!("/migrations"),
            Self::Migration(_) | Self::CancelMigration(_) => of_cluster!("/migrations/:job"),
            Self::RetryMigration(_) => of_cluster!("/migrations/:job/retry"),
            Self::Failovers => of_cluster!("/failovers"),
            Self::Sync => of_cluster!("/sync"),
            Self::Password => of_cluster!("/password"),
        }
    }
}

/// What a path came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A route.
    Route(Route),
    /// A route but for its last slash; its path without.
    Slashless(String),
    /// No route, for the path or for the method.
    Nothing,
}

/// Finds the route of a request.
pub(super) fn parse(method: &Method, path: &str) -> Found {
    if let Some(route) = exact(method, path) {
        return Found::Route(route);
    }
    match path.strip_suffix('/') {
        Some(slashless) if exact(method, slashless).is_some() => {
            Found::Slashless(slashless.to_owned())
        }
        _ => Found::Nothing,
    }
}

fn exact(method: &Method, path: &str) -> Option<Route> {
    if let Some(rest) = path.strip_prefix(OPERATE) {
        return Some(match (method.as_str(), rest) {
            ("GET", "/settings") => Route::Settings,
            ("PUT", "/settings") => Route::ChangeSettings,
            ("GET", "/observers") => Route::Observers,
            ("POST", "/load") => Route::Load,
            ("GET", "/export") => Route::Export,
            ("GET", "/status") => Route::Status,
            ("GET", rest) => Route::ClusterStatus(named(rest.strip_prefix("/status/")?)?),
            _ => return None,
        });
    }
    let path = path.strip_prefix(super::PREFIX)?.strip_prefix('/')?;
    let segments = path.split('/').map(decode).collect::<Option<Vec<_>>>()?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    if segments.iter().any(|segment| segment.is_empty()) {
        return None;
    }
    Some(match (method.as_str(), &segments[..]) {
        ("GET", ["namespaces"]) => Route::Namespaces,
        ("POST", ["namespaces"]) => Route::CreateNamespace,
        ("GET", ["namespaces", name]) => Route::Namespace((*name).to_owned()),
        ("DELETE", ["namespaces", name]) => Route::DeleteNamespace((*name).to_owned()),
        ("GET", ["namespaces", name, "clusters"]) => Route::Clusters((*name).to_owned()),
        ("POST", ["namespaces", name, "clusters"]) => Route::CreateCluster((*name).to_owned()),
        (method, ["namespaces", namespace, "clusters", name, rest @ ..]) => {
            let key = ClusterKey { namespace: (*namespace).to_owned(), name: (*name).to_owned() };
            Route::Cluster(key, of_cluster(method, rest)?)
        }
        ("GET", ["controller", "leader"]) => Route::Leader,
        ("GET", ["raft", "peers"]) => Route::Peers,
        ("POST", ["raft", "peers"]) => Route::ChangePeers,
        _ => return None,
    })
}

/// A cluster named by its namespace and its name.
fn named(path: &str) -> Option<ClusterKey> {
    let (namespace, name) = path.split_once('/')?;
    let (namespace, name) = (decode(namespace)?, decode(name)?);
    let is_name = !namespace.is_empty() && !name.is_empty();
    is_name.then(|| ClusterKey { namespace: namespace.into_owned(), name: name.into_owned() })
}

fn of_cluster(method: &str, rest: &[&str]) -> Option<ClusterRoute> {
    let text = |segment: &&str| (*segment).to_owned();
    Some(match (method, rest) {
        ("GET", []) => ClusterRoute::Show,
        ("DELETE", []) => ClusterRoute::Delete,
        ("POST", ["import"]) => ClusterRoute::Import,
        ("POST", ["migrate"]) => ClusterRoute::Migrate,
        ("GET", ["shards"]) => ClusterRoute::Shards,
        ("POST", ["shards"]) => ClusterRoute::AddShard,
        ("GET", ["shards", shard]) => ClusterRoute::Shard(text(shard)),
        ("DELETE", ["shards", shard]) => ClusterRoute::RemoveShard(text(shard)),
        ("POST", ["shards", shard, "failover"]) => ClusterRoute::FailOver(text(shard)),
        ("GET", ["shards", shard, "nodes"]) => ClusterRoute::Nodes(text(shard)),
        ("POST", ["shards", shard, "nodes"]) => ClusterRoute::AddNode(text(shard)),
        ("DELETE", ["shards", shard, "nodes", id]) => {
            ClusterRoute::RemoveNode(text(shard), text(id))
        }
        ("GET", ["migrations"]) => ClusterRoute::Migrations,
        ("POST", ["migrations"]) => ClusterRoute::QueueMigrations,
        ("GET", ["migrations", job]) => ClusterRoute::Migration(text(job)),
        ("DELETE", ["migrations", job]) => ClusterRoute::CancelMigration(text(job)),
        ("POST", ["migrations", job, "retry"]) => ClusterRoute::RetryMigration(text(job)),
        ("GET", ["failovers"]) => ClusterRoute::Failovers,
        ("POST", ["sync"]) => ClusterRoute::Sync,
        ("POST", ["password"]) => ClusterRoute::Password,
        _ => return None,
    })
}

/// Undoes percent-encoding; nothing for a segment that is no UTF-8 then. A percent sign without
/// two digits behind it stands for itself.
fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(request: &str) -> Found {
        let (method, path) = request.split_once(' ').unwrap();
        parse(&method.parse().unwrap(), path)
    }

    #[test]
    fn paths_and_methods_lead_to_routes() {
        let key = ClusterKey { namespace: "a b".to_owned(), name: "c".to_owned() };
        for (request, expected) in [
            ("GET /api/v1/namespaces", Found::Route(Route::Namespaces)),
            (
                "GET /api/v1/namespaces/a%20b/clusters/c",
                Found::Route(Route::Cluster(key.clone(), ClusterRoute::Show)),
            ),
            (
                "DELETE /api/v1/namespaces/a%20b/clusters/c/shards/x/nodes/id",
                Found::Route(Route::Cluster(
                    key.clone(),
                    ClusterRoute::RemoveNode("x".to_owned(), "id".to_owned()),
                )),
            ),
            ("GET /api/v1/namespaces/", Found::Slashless("/api/v1/namespaces".to_owned())),
            ("PUT /api/v1/namespaces", Found::Nothing),
            ("GET /api/v1/nope", Found::Nothing),
            ("GET /api/v1", Found::Nothing),
            ("GET /api/v1/", Found::Nothing),
            ("GET /api/v1/namespaces//clusters", Found::Nothing),
            ("GET /api/v1/namespaces/%ff", Found::Nothing),
            ("GET /api/v1/namespaces/a%2Fb", Found::Route(Route::Namespace("a/b".to_owned()))),
            ("GET /quorate/v1/kvrocks/settings", Found::Route(Route::Settings)),
            ("POST /quorate/v1/kvrocks/settings", Found::Nothing),
        ] {
            assert_eq!(found(request), expected, "{request}");
        }
    }
}
