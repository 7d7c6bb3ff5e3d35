//! Which request is which: method and path to a [`Route`], without looking at headers or body.

use axum::http::Method;

use super::input::unescape;

/// A request of the family. Parameters are in the specification's sections 2 and 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `GET|POST cluster_op` with `action` and what it needs.
    Operate,
    /// `GET|POST cluster_apply`: older name of an action.
    Apply,
    /// `GET|POST cluster_release`: older name of an action.
    Release,
    /// `GET|POST clusters` with conditions, answers a list.
    Clusters,
    /// `GET cluster/ID`.
    Cluster(String),
    /// `POST cluster` with `name host_id consensus_plugin consensus_mode size`.
    CreateCluster,
    /// `DELETE cluster` with `id col_name`.
    DeleteCluster,
    /// `GET hosts` with conditions, answers a list.
    Hosts,
    /// `GET host/ID`.
    Host(String),
    /// `POST host` with `name daemon_url capacity log_type` and more.
    CreateHost,
    /// `PUT host` with `id` and what changes.
    ChangeHost,
    /// `DELETE host` with `id`.
    DeleteHost,
    /// `POST host_op` with `id action`.
    OperateHost,
    /// `GET stat?res=host|cluster`, answers without envelope.
    Stat,
    /// `GET health`, answers without envelope.
    Health,
    /// `GET templates`.
    Templates,
    /// `PUT template` with a whole template.
    PutTemplate,
    /// `DELETE template` with `consensus_plugin consensus_mode size`.
    DeleteTemplate,
    /// `GET settings`.
    Settings,
    /// `PUT settings` with what changes.
    ChangeSettings,
    /// `GET tasks`: what is to be done on hosts, and what stood in the way.
    Tasks,
}

/// What a path came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A route.
    Route(Route),
    /// The path has routes, but not for this method; those it has.
    Method(&'static str),
    /// No route.
    Nothing,
}

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// `/v2`: users and their front ends.
    Users,
    /// `/api` as the original's operators know it.
    Original,
    /// `/quorate/v1/pool`: the same and more.
    Operators,
}

impl Door {
    /// The door of a path, and what comes behind it.
    pub(super) fn of(path: &str) -> Option<(Self, &str)> {
        let doors =
            [("/v2", Self::Users), (super::OPERATE, Self::Operators), ("/api", Self::Original)];
        doors.into_iter().find_map(|(prefix, door)| {
            let rest = path.strip_prefix(prefix)?;
            (rest.is_empty() || rest.starts_with('/')).then_some((door, rest))
        })
    }
}

/// Finds the route of a request.
pub(super) fn parse(method: &Method, door: Door, path: &str) -> Found {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let method = method.as_str();
    let found = shared(method, &segments);
    if found != Found::Nothing || door == Door::Users {
        return match found {
            // Acting by HEAD would act without anybody seeing the answer.
            Found::Route(Route::CreateCluster | Route::DeleteCluster) if door == Door::Users => {
                Found::Nothing
            }
            found => found,
        };
    }
    match administration(method, &segments) {
        Found::Nothing if door == Door::Operators => operation(method, &segments),
        found => found,
    }
}

fn shared(method: &str, segments: &[&str]) -> Found {
    let acting = |route| one_of(method, "GET, POST", &[("GET", &route), ("POST", &route)]);
    match segments {
        ["cluster_op"] => acting(Route::Operate),
        ["cluster_apply"] => acting(Route::Apply),
        ["cluster_release"] => acting(Route::Release),
        ["clusters"] => {
            let route = Route::Clusters;
            let methods = [("GET", &route), ("HEAD", &route), ("POST", &route)];
            one_of(method, "GET, HEAD, POST", &methods)
        }
        ["cluster", id] if !id.is_empty() => reading(method, &Route::Cluster(unescape(id))),
        _ => Found::Nothing,
    }
}

fn administration(method: &str, segments: &[&str]) -> Found {
    match segments {
        ["hosts"] => reading(method, &Route::Hosts),
        ["host", id] if !id.is_empty() => reading(method, &Route::Host(unescape(id))),
        ["host"] => one_of(
            method,
            "POST, PUT, DELETE",
            &[
                ("POST", &Route::CreateHost),
                ("PUT", &Route::ChangeHost),
                ("DELETE", &Route::DeleteHost),
            ],
        ),
        ["host_op"] => one_of(method, "POST", &[("POST", &Route::OperateHost)]),
        ["cluster"] => one_of(
            method,
            "POST, DELETE",
            &[("POST", &Route::CreateCluster), ("DELETE", &Route::DeleteCluster)],
        ),
        ["stat"] => reading(method, &Route::Stat),
        ["health"] => reading(method, &Route::Health),
        _ => Found::Nothing,
    }
}

fn operation(method: &str, segments: &[&str]) -> Found {
    match segments {
        ["templates"] => reading(method, &Route::Templates),
        ["template"] => one_of(
            method,
            "PUT, DELETE",
            &[("PUT", &Route::PutTemplate), ("DELETE", &Route::DeleteTemplate)],
        ),
        ["settings"] => one_of(
            method,
            "GET, HEAD, PUT",
            &[
                ("GET", &Route::Settings),
                ("HEAD", &Route::Settings),
                ("PUT", &Route::ChangeSettings),
            ],
        ),
        ["tasks"] => reading(method, &Route::Tasks),
        _ => Found::Nothing,
    }
}

fn reading(method: &str, route: &Route) -> Found {
    one_of(method, "GET, HEAD", &[("GET", route), ("HEAD", route)])
}

fn one_of(method: &str, allowed: &'static str, routes: &[(&str, &Route)]) -> Found {
    let found = routes.iter().find(|(name, _)| *name == method);
    found.map_or(Found::Method(allowed), |(_, route)| Found::Route((*route).clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_exact_and_heads_never_act() {
        let nothing = Found::Nothing;
        let both = Found::Method("GET, POST");
        for (method, path, expected) in [
            ("GET", "/v2/cluster_op", Found::Route(Route::Operate)),
            ("POST", "/v2/cluster_op", Found::Route(Route::Operate)),
            ("HEAD", "/v2/cluster_op", both.clone()),
            ("HEAD", "/v2/cluster_apply", both.clone()),
            ("HEAD", "/v2/cluster_release", both.clone()),
            ("PUT", "/v2/cluster_op", both),
            ("HEAD", "/v2/clusters", Found::Route(Route::Clusters)),
            ("GET", "/v2/cluster/a%20b", Found::Route(Route::Cluster("a b".to_owned()))),
            ("GET", "/v2/cluster/a+b", Found::Route(Route::Cluster("a+b".to_owned()))),
            ("POST", "/v2/cluster/a", Found::Method("GET, HEAD")),
            ("GET", "/v2/cluster/", nothing.clone()),
            ("GET", "/v2/cluster_op/", nothing.clone()),
            ("GET", "/v2/cluster/a/b", nothing.clone()),
            ("POST", "/v2/cluster", nothing.clone()),
            ("GET", "/v2/hosts", nothing.clone()),
            ("GET", "/v2", nothing.clone()),
            ("GET", "/v2/", nothing.clone()),
            ("GET", "/api/hosts", Found::Route(Route::Hosts)),
            ("POST", "/api/cluster", Found::Route(Route::CreateCluster)),
            ("GET", "/api/cluster", Found::Method("POST, DELETE")),
            ("GET", "/api/templates", nothing.clone()),
            ("GET", "/quorate/v1/pool/templates", Found::Route(Route::Templates)),
            ("GET", "/quorate/v1/pool/host/x", Found::Route(Route::Host("x".to_owned()))),
            ("POST", "/quorate/v1/pool/cluster_op", Found::Route(Route::Operate)),
            ("GET", "/quorate/v1/pool/nothing", nothing),
        ] {
            let (door, rest) = Door::of(path).unwrap();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(parse(&method, door, rest), expected, "{method} {path}");
        }
        assert_eq!(Door::of("/v22/clusters"), None);
    }
}
