//! Which request is which: method and path to a [`Route`], without looking at headers or body.
//!
//! Written as one match over path segments, because the two generations differ from each other
//! and from common routers: `/api/v3` takes path segments as they are and tolerates a trailing
//! slash, `/api/v2` decodes percent signs and does not.

use std::borrow::Cow;

use axum::http::Method;

use crate::domain::undermoon::Action;

/// Which generation of clients a prefix serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::api) enum Generation {
    /// `/api/v2`: programs up to 0.5.0, and the documents.
    V2,
    /// `/api/v3`: programs 0.6.x.
    V3,
}

/// A request of the family. Numbers are those of the specification's route table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// 1: `GET /version`, answers text.
    Version,
    /// 27: `GET /config`, answers `{"replica_addresses":[..]}`.
    LocalConfig,
    /// 28: `PUT /config`, takes what 27 answers.
    SetLocalConfig,
    /// 3: `PUT /metadata`, takes what `GET /metadata` answers.
    Restore,
    /// 14: `POST /clusters/migrations/auto/{name}/{n}`, no body.
    AutoScale {
        /// Cluster.
        name: String,
        /// Wanted total.
        node_number: u64,
    },
    /// 31: `PUT /epoch/recovery`, no body, answers `{"failed_addresses":[..]}`.
    RecoverEpoch,
    /// A read.
    Read(ReadRoute),
    /// A change that is all in its path.
    Change(Action),
    /// A change with a JSON body.
    BodyChange(BodyRoute),
}

/// A request that is answered from one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReadRoute {
    /// 2: `GET /metadata`, answers the stored document.
    Metadata,
    /// 4: `GET /clusters/names?offset&limit`, answers `{"names":[..]}`.
    ClusterNames,
    /// 5: `GET /clusters/meta/{name}`, answers `{"cluster":..}` or `{"cluster":null}`.
    Cluster(String),
    /// 6: `GET /clusters/info/{name}`, answers four members.
    ClusterInfo(String),
    /// 18: `GET /proxies/addresses?offset&limit`, answers `{"addresses":[..]}`.
    ProxyAddresses,
    /// 19: `GET /proxies/meta/{address}`, answers `{"proxy":..}` or `{"proxy":null}`.
    Proxy(String),
    /// 22: `GET /proxies/failed/addresses`, answers `{"addresses":[..]}`.
    FailedProxies,
    /// 25: `GET /failures`, answers `{"addresses":[..]}`.
    Failures,
    /// 26: `POST /resources/failures/check`, answers `{"hosts_cannot_fail":[..]}`.
    CheckSpares,
    /// 29: `GET /epoch`, answers the bare integer.
    Epoch,
}

/// A change whose request has a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BodyRoute {
    /// 7: `POST /clusters/meta/{name}` with `{"node_number":n}`.
    CreateCluster(String),
    /// 9: `PATCH /clusters/nodes/{name}` with `{"node_number":n}`, answers the new nodes.
    AddNodes(String),
    /// 10: `PUT /clusters/nodes/{name}` with `{"cluster_node_number":n}`, answers the new nodes.
    AddNodesUpTo(String),
    /// 15: `PUT /clusters/migrations` with `{"cluster_name":..,"slot_range":..}`.
    CommitMigration,
    /// 16: `PATCH /clusters/config/{name}` with an object of strings.
    ChangeConfig(String),
    /// 20: `POST /proxies/meta` with `{"proxy_address":..,"nodes":[..],"host":..,"index":..}`.
    RegisterProxy,
}

/// The route behind a method and the path after the prefix, if there is one.
pub(super) fn parse(generation: Generation, method: &Method, path: &str) -> Option<Route> {
    let mut segments = Vec::with_capacity(5);
    let path = path.strip_prefix('/')?;
    let path = match generation {
        Generation::V2 => path,
        Generation::V3 => path.strip_suffix('/').unwrap_or(path),
    };
    for segment in path.split('/') {
        let segment = match generation {
            Generation::V2 => decode(segment)?,
            Generation::V3 => Cow::Borrowed(segment),
        };
        if segment.is_empty() {
            return None;
        }
        segments.push(segment);
    }
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    match *method {
        Method::GET => get(&segments),
        Method::POST => post(&segments),
        Method::PUT => put(&segments),
        Method::PATCH => patch(&segments),
        Method::DELETE => delete(&segments),
        _ => None,
    }
}

fn get(segments: &[&str]) -> Option<Route> {
    Some(Route::Read(match *segments {
        ["version"] => return Some(Route::Version),
        ["config"] => return Some(Route::LocalConfig),
        ["metadata"] => ReadRoute::Metadata,
        ["clusters", "names"] => ReadRoute::ClusterNames,
        ["clusters", "meta", name] => ReadRoute::Cluster(name.to_owned()),
        ["clusters", "info", name] => ReadRoute::ClusterInfo(name.to_owned()),
        ["proxies", "addresses"] => ReadRoute::ProxyAddresses,
        ["proxies", "meta", address] => ReadRoute::Proxy(address.to_owned()),
        ["proxies", "failed", "addresses"] => ReadRoute::FailedProxies,
        ["failures"] => ReadRoute::Failures,
        ["epoch"] => ReadRoute::Epoch,
        _ => return None,
    }))
}

fn post(segments: &[&str]) -> Option<Route> {
    Some(match *segments {
        ["clusters", "meta", name] => Route::BodyChange(BodyRoute::CreateCluster(name.to_owned())),
        ["clusters", "migrations", "expand", name] => {
            Route::Change(Action::Expand { name: name.to_owned() })
        }
        ["clusters", "migrations", "shrink", name, number] => Route::Change(Action::Shrink {
            name: name.to_owned(),
            node_number: number.parse().ok()?,
        }),
        ["clusters", "migrations", "auto", name, number] => {
            Route::AutoScale { name: name.to_owned(), node_number: number.parse().ok()? }
        }
        ["proxies", "meta"] => Route::BodyChange(BodyRoute::RegisterProxy),
        ["proxies", "failover", address] => {
            Route::Change(Action::Failover { address: address.to_owned() })
        }
        ["failures", address, reporter] => Route::Change(Action::ReportFailure {
            address: address.to_owned(),
            reporter: reporter.to_owned(),
        }),
        ["resources", "failures", "check"] => Route::Read(ReadRoute::CheckSpares),
        _ => return None,
    })
}

fn put(segments: &[&str]) -> Option<Route> {
    Some(match *segments {
        ["metadata"] => Route::Restore,
        ["config"] => Route::SetLocalConfig,
        ["clusters", "nodes", name] => Route::BodyChange(BodyRoute::AddNodesUpTo(name.to_owned())),
        ["clusters", "migrations"] => Route::BodyChange(BodyRoute::CommitMigration),
        ["clusters", "balance", name] => {
            Route::Change(Action::BalanceMasters { name: name.to_owned() })
        }
        ["epoch", "recovery"] => Route::RecoverEpoch,
        ["epoch", epoch] => Route::Change(Action::SetEpoch { epoch: epoch.parse().ok()? }),
        _ => return None,
    })
}

fn patch(segments: &[&str]) -> Option<Route> {
    Some(Route::BodyChange(match *segments {
        ["clusters", "nodes", name] => BodyRoute::AddNodes(name.to_owned()),
        ["clusters", "config", name] => BodyRoute::ChangeConfig(name.to_owned()),
        _ => return None,
    }))
}

fn delete(segments: &[&str]) -> Option<Route> {
    Some(Route::Change(match *segments {
        ["clusters", "meta", name] => Action::DeleteCluster { name: name.to_owned() },
        ["clusters", "free_nodes", name] => Action::DeleteFreeNodes { name: name.to_owned() },
        ["proxies", "meta", address] => Action::RemoveProxy { address: address.to_owned() },
        _ => return None,
    }))
}

/// Undoes percent-encoding; nothing for a segment that then is no UTF-8. A percent sign without
/// two digits behind it stands for itself.
fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|_| first == b'%');
        if let Some((high, low)) = digits.and_then(|two| Some((hex(two[0])?, hex(two[1])?))) {
            bytes.push(high << 4 | low);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(generation: Generation, request: &str, expected: Option<Route>) {
        let (method, path) = request.split_once(' ').unwrap();
        let found = parse(generation, &method.parse().unwrap(), path);
        assert_eq!(found, expected, "{generation:?} {request}");
    }

    fn check_both(request: &str, expected: Option<Route>) {
        check(Generation::V2, request, expected.clone());
        check(Generation::V3, request, expected);
    }

    fn proxy(address: &str) -> Option<Route> {
        Some(Route::Read(ReadRoute::Proxy(address.to_owned())))
    }

    #[test]
    fn every_route_of_the_table_is_found() {
        let table = "GET /version\nGET /metadata\nPUT /metadata\nGET /clusters/names
            GET /clusters/meta/c\nGET /clusters/info/c\nPOST /clusters/meta/c
            DELETE /clusters/meta/c\nPATCH /clusters/nodes/c\nPUT /clusters/nodes/c
            DELETE /clusters/free_nodes/c\nPOST /clusters/migrations/expand/c
            POST /clusters/migrations/shrink/c/4\nPOST /clusters/migrations/auto/c/8
            PUT /clusters/migrations\nPATCH /clusters/config/c\nPUT /clusters/balance/c
            GET /proxies/addresses\nGET /proxies/meta/a:1\nPOST /proxies/meta
            DELETE /proxies/meta/a:1\nGET /proxies/failed/addresses\nPOST /proxies/failover/a:1
            POST /failures/a:1/r\nGET /failures\nPOST /resources/failures/check\nGET /config
            PUT /config\nGET /epoch\nPUT /epoch/5\nPUT /epoch/recovery";
        for request in table.lines().map(str::trim) {
            let (method, path) = request.split_once(' ').unwrap();
            for generation in [Generation::V2, Generation::V3] {
                let found = parse(generation, &method.parse().unwrap(), path);
                assert!(found.is_some(), "{generation:?} {request}");
            }
        }
        assert_eq!(table.lines().count(), 31, "the specification lists 31 routes");
    }

    #[test]
    fn only_the_second_generation_decodes() {
        check(Generation::V2, "GET /proxies/meta/a%3A1", proxy("a:1"));
        check(Generation::V3, "GET /proxies/meta/a%3A1", proxy("a%3A1"));
        check(Generation::V2, "GET /proxies/meta/100%", proxy("100%"));
        check(Generation::V2, "GET /proxies/meta/%c3%a9%3", proxy("é%3"));
        check(Generation::V2, "GET /proxies/meta/%ff", None);
    }

    #[test]
    fn only_the_third_generation_tolerates_a_trailing_slash() {
        let names = Some(Route::Read(ReadRoute::ClusterNames));
        check(Generation::V3, "GET /clusters/names/", names.clone());
        check(Generation::V2, "GET /clusters/names/", None);
        check_both("GET /clusters/names", names);
        check_both("GET //clusters/names", None);
        check_both("GET /proxies/meta//a:1", None);
        check_both("POST /failures//r", None);
        check_both("POST /failures/a:1/", None);
    }

    #[test]
    fn numbers_are_read_as_the_programs_read_them() {
        let shrink =
            |node_number| Some(Route::Change(Action::Shrink { name: "c".to_owned(), node_number }));
        check_both("POST /clusters/migrations/shrink/c/+4", shrink(4));
        check_both("POST /clusters/migrations/shrink/c/0008", shrink(8));
        check_both("POST /clusters/migrations/shrink/c/-4", None);
        check_both("POST /clusters/migrations/shrink/c/4.0", None);
        check_both("POST /clusters/migrations/shrink/c/18446744073709551616", None);
        check_both("PUT /epoch/recovery", Some(Route::RecoverEpoch));
        check_both("PUT /epoch/x", None);
    }

    #[test]
    fn other_methods_and_paths_are_no_routes() {
        check_both("POST /version", None);
        check_both("HEAD /version", None);
        check_both("GET /clusters", None);
        check_both("GET /", None);
        check_both("OPTIONS /metadata", None);
    }
}
