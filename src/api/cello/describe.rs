//! The family's operations, for its OpenAPI document: the same behind each door, but for what a
//! door does not have or shows besides.
//!
//! Parameters may come in the query string, a form or a JSON object, so they are described once and
//! offered where clients send them.

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{
    error::FailureData,
    route::Door,
    template::TemplateJson,
    wire::{
        ClusterJson, EffectJson, Envelope, HealthJson, HostJson, OperatorCluster, OperatorHost,
        StatHint, StatJson,
    },
};
use crate::{
    api::openapi::{
        book::{Book, For},
        operation::{Content, Operation},
        schema::{object, text, truth, words},
        shared,
    },
    domain::cello::settings::{Settings, SettingsChange},
};

const CLUSTERS: &str = "clusters";
const HOSTS: &str = "hosts";
const POOL: &str = "pool";

/// `/v2`, `/api` and `/quorate/v1/pool`.
pub(in crate::api) fn document() -> Value {
    let text = "The surface of Cello's cluster pool: `/v2` for users, `/api` as the original's \
                operators know it, `/quorate/v1/pool` with everything. Parameters may come in the \
                query string, a form or a JSON object; for each the first of these that has it \
                counts. Every answer is wrapped in an envelope, but for those of `stat` and \
                `health`. Reading routes answer HEAD as they answer GET.";
    let mut description = Description { book: Book::new("Cluster pool, /v2", text) };
    description.frame();
    for door in [Door::Users, Door::Original, Door::Operators] {
        description.door(door);
    }
    description.book.finish()
}

/// A document that is being written.
struct Description {
    book: Book,
}

/// A parameter: its name, its schema, what it is.
type Parameter = (&'static str, Value, &'static str);

impl Description {
    fn frame(&mut self) {
        for (name, text) in [
            (CLUSTERS, "Clusters: asked for, given back, started and stopped."),
            (HOSTS, "The hosts clusters are made on."),
            (POOL, "The pool as a whole: numbers, templates, settings, tasks."),
        ] {
            self.book.tag(name, text);
        }
        let id =
            json!({ "type": "string", "minLength": 1, "examples": ["00112233445566778899aabb"] });
        self.book.path_parameter("id", id, "Id of a cluster or a host.");
        shared::parameters(&mut self.book);
        let error = self.data::<FailureData<'static>>();
        for (whose, status, text) in [
            (For::All, 400, "The request means nothing, or cannot be carried out."),
            (For::All, 401, "A token is needed, or the one sent is not good."),
            (For::All, 403, "The token does not suffice."),
            (For::All, 413, "The body is too large."),
            (For::All, 429, "More requests than this client's share."),
            (For::All, 503, "No leader, not committed, or the outcome is unknown: see `error`."),
        ] {
            self.book.refusal(whose, status, text, &error);
        }
    }

    fn door(&mut self, door: Door) {
        self.acting(door);
        self.reading(door);
        if door != Door::Users {
            self.operating_clusters(door);
            self.hosts(door);
            self.operating_hosts(door);
            self.numbers(door);
        }
        if door == Door::Operators {
            self.templates();
            self.settings();
        }
    }

    fn data<T: JsonSchema>(&mut self) -> Content {
        Content::Json(self.book.answer::<Envelope<'static, T>>())
    }

    fn cluster(&mut self, door: Door) -> Content {
        match door {
            Door::Operators => self.data::<OperatorCluster<'static>>(),
            Door::Users | Door::Original => self.data::<ClusterJson<'static>>(),
        }
    }

    fn host(&mut self, door: Door) -> Content {
        match door {
            Door::Operators => self.data::<OperatorHost<'static>>(),
            Door::Users | Door::Original => self.data::<HostJson<'static>>(),
        }
    }

    fn add_missing(&mut self, operation: Operation) {
        let error = self.data::<FailureData<'static>>();
        self.book.add(operation.answers(404, "There is none of that id.", &error));
    }

    /// What users do; by GET too, as ever.
    fn acting(&mut self, door: Door) {
        let cluster = self.cluster(door);
        let done = self.data::<&str>();
        let either = match (&cluster, &done) {
            (Content::Json(cluster), Content::Json(done)) => {
                Content::Json(json!({ "anyOf": [cluster, done] }))
            }
            _ => done.clone(),
        };
        let mut operate = vec![(
            "action",
            words(&["apply", "release", "start", "stop", "restart"]),
            "What to do.",
        )];
        operate.extend(applying());
        operate.push((
            "cluster_id",
            text(),
            "Which cluster; `release` without one gives back all.",
        ));
        let releasing = vec![
            ("cluster_id", text(), "Which cluster; without one all of the user's."),
            ("user_id", text(), "Whose."),
            ("request_id", request_id(), "One release, however often it is asked for."),
        ];
        let all: [(&str, &str, &str, Vec<Parameter>, &Content); 3] = [
            (
                "cluster_op",
                "operate",
                "Apply for, release, start, stop or restart",
                operate,
                &either,
            ),
            ("cluster_apply", "apply", "Apply for a cluster", applying(), &cluster),
            ("cluster_release", "release", "Give clusters back", releasing, &done),
        ];
        let count = if door == Door::Original { 1 } else { all.len() };
        for (path, id, summary, parameters, answer) in all.iter().take(count) {
            for method in ["GET", "POST"] {
                let id = match method {
                    "GET" => format!("{id}ByGet"),
                    _ => (*id).to_owned(),
                };
                let operation = operation(method, door, path, &id, CLUSTERS, summary).into_change();
                let operation = match method {
                    "GET" => in_query(operation, parameters),
                    _ => operation.takes(&members(parameters, &[])),
                };
                self.book.add(operation.answers(200, "Done.", answer));
            }
        }
    }

    fn reading(&mut self, door: Door) {
        let list = match door {
            Door::Operators => self.data::<Vec<OperatorCluster<'static>>>(),
            Door::Users | Door::Original => self.data::<Vec<ClusterJson<'static>>>(),
        };
        let conditions = vec![
            ("state", words(&["active", "released"]), "Those in the pool, or the history."),
            ("user_id", text(), "Whose."),
            ("consensus_plugin", text(), "Of this plugin."),
            ("consensus_mode", text(), "Of this mode."),
            ("size", size(), "Of this size."),
            ("host_id", text(), "On this host."),
        ];
        let says = "Any member of a cluster may be a condition, and all must be met.";
        let get = operation("GET", door, "clusters", "listClusters", CLUSTERS, "Clusters");
        let get = in_query(get.says(says), &conditions).answers(200, "The clusters.", &list);
        self.book.add(get);
        let post = operation("POST", door, "clusters", "findClusters", CLUSTERS, "Clusters");
        let post = post.into_read().says(says).may_take(&members(&conditions, &[]));
        self.book.add(post.answers(200, "The clusters.", &list));
        let cluster = self.cluster(door);
        let get = operation("GET", door, "cluster/{id}", "getCluster", CLUSTERS, "A cluster");
        self.add_missing(get.answers(200, "The cluster.", &cluster));
    }

    fn operating_clusters(&mut self, door: Door) {
        let cluster = self.cluster(door);
        let parameters = vec![
            ("name", text(), "For people."),
            ("host_id", text(), "Where."),
            ("consensus_plugin", text(), "Plugin of its template."),
            ("consensus_mode", text(), "Mode of its template; empty if it has none."),
            ("size", size(), "Size of its template."),
            ("port_start", integer(0), "First of its ports; chosen if absent."),
        ];
        let required = ["name", "host_id", "consensus_plugin", "consensus_mode", "size"];
        let post = operation("POST", door, "cluster", "createCluster", CLUSTERS, "Make a cluster");
        let post = post.takes(&members(&parameters, &required));
        self.book.add(post.answers(201, "Decided; its containers follow.", &cluster));
        let done = self.data::<&str>();
        let parameters = vec![
            ("id", text(), "Which."),
            ("col_name", words(&["active", "released"]), "From the pool, or the history."),
            ("force", truth(), "Also one that is in use."),
        ];
        let delete = operation("DELETE", door, "cluster", "deleteCluster", CLUSTERS, "Delete one");
        self.book.add(in_query(delete, &parameters).answers(200, "Done.", &done));
    }

    fn hosts(&mut self, door: Door) {
        let list = match door {
            Door::Operators => self.data::<Vec<OperatorHost<'static>>>(),
            Door::Users | Door::Original => self.data::<Vec<HostJson<'static>>>(),
        };
        let conditions = vec![
            ("name", text(), "Of this name."),
            ("status", words(&["active", "inactive"]), "In this condition."),
        ];
        let get = operation("GET", door, "hosts", "listHosts", HOSTS, "Hosts");
        let says = "Any member of a host may be a condition, and all must be met.";
        let get = in_query(get.says(says), &conditions);
        self.book.add(get.answers(200, "The hosts.", &list));
        let host = self.host(door);
        let get = operation("GET", door, "host/{id}", "getHost", HOSTS, "A host");
        self.add_missing(get.answers(200, "The host.", &host));
    }

    fn operating_hosts(&mut self, door: Door) {
        let host = self.host(door);
        let mut parameters = vec![
            ("name", text(), "For people; unique."),
            ("daemon_url", text(), "Where its daemon is: `tcp://`, `unix://`."),
            ("capacity", integer(0), "Most clusters, up to 1000."),
            ("log_type", words(&["local", "syslog"]), "Where containers log."),
            ("log_level", text(), "How much."),
            ("log_server", text(), "Where to, for `syslog`."),
            ("service_ip", text(), "Where published ports answer."),
            ("schedulable", truth(), "Whether its clusters are handed out."),
            ("autofill", truth(), "Whether it is filled by itself."),
            ("tls", truth(), "Whether the daemon speaks TLS."),
        ];
        let required = ["name", "daemon_url", "capacity", "log_type"];
        let post = operation("POST", door, "host", "createHost", HOSTS, "Add a host");
        let post =
            post.says("Its daemon is pinged before.").takes(&members(&parameters, &required));
        self.book.add(post.answers(201, "The host.", &host));
        parameters.push(("id", text(), "Which."));
        let put = operation("PUT", door, "host", "changeHost", HOSTS, "Change a host");
        let put = put.takes(&members(&parameters, &["id"]));
        self.book.add(put.answers(200, "The host.", &host));
        let done = self.data::<&str>();
        let parameters =
            vec![("id", text(), "Which."), ("force", truth(), "Also one that does not answer.")];
        let delete = operation("DELETE", door, "host", "deleteHost", HOSTS, "Remove a host");
        self.book.add(in_query(delete, &parameters).answers(200, "Done.", &done));
        let parameters = vec![
            ("id", text(), "Which."),
            ("action", words(&["fillup", "clean", "reset"]), "What to do."),
        ];
        let post = operation("POST", door, "host_op", "operateHost", HOSTS, "Fill, clean or reset");
        let post = post.takes(&members(&parameters, &["id", "action"]));
        self.book.add(post.answers(200, "Done.", &done));
    }

    fn numbers(&mut self, door: Door) {
        let stat = json!({ "anyOf": [
            self.book.answer::<StatJson>(), self.book.answer::<StatHint>(),
        ] });
        let get = operation("GET", door, "stat", "getStat", POOL, "Numbers");
        let get = in_query(get, &[("res", words(&["host", "cluster"]), "Of what.")]);
        self.book.add(get.answers(200, "How many there are of each.", &Content::Json(stat)));
        let health = Content::Json(self.book.answer::<HealthJson>());
        let get = operation("GET", door, "health", "getHealth", POOL, "Whether it answers");
        self.book.add(get.of_this_replica().answers(200, "It does.", &health));
    }

    fn templates(&mut self) {
        let door = Door::Operators;
        let done = self.data::<&str>();
        let templates = self.data::<Vec<TemplateJson>>();
        let get = operation("GET", door, "templates", "listTemplates", POOL, "Templates");
        self.book.add(get.answers(200, "What clusters can be made of.", &templates));
        let template = Content::Json(self.book.body::<TemplateJson>());
        let put =
            operation("PUT", door, "template", "putTemplate", POOL, "Put a template in place");
        let put = put.takes(&template).example(&json!({
            "consensus_plugin": "noops", "size": 1, "image": "busybox", "services": [],
        }));
        self.book.add(put.answers(200, "Done.", &done));
        let parameters = vec![
            ("consensus_plugin", text(), "Its plugin."),
            ("consensus_mode", text(), "Its mode."),
            ("size", size(), "Its size."),
        ];
        let delete = operation("DELETE", door, "template", "deleteTemplate", POOL, "Delete one");
        self.add_missing(in_query(delete, &parameters).answers(200, "Done.", &done));
    }

    fn settings(&mut self) {
        let door = Door::Operators;
        let settings = self.data::<Settings>();
        let get = operation("GET", door, "settings", "getSettings", POOL, "The settings");
        self.book.add(get.answers(200, "The settings.", &settings));
        let change = Content::Json(self.book.body::<SettingsChange>());
        let put = operation("PUT", door, "settings", "changeSettings", POOL, "Change settings");
        let put = put.takes(&change).example(&json!({ "history_max": 10_000 }));
        self.book.add(put.answers(200, "All settings.", &settings));
        let tasks = self.data::<Vec<EffectJson<'static>>>();
        let get = operation("GET", door, "tasks", "listTasks", POOL, "What is to be done on hosts");
        self.book.add(get.answers(200, "And what stood in the way.", &tasks));
    }
}

fn operation(
    method: &'static str,
    door: Door,
    path: &str,
    id: &str,
    tag: &str,
    summary: &str,
) -> Operation {
    let (prefix, suffix) = match door {
        Door::Users => ("/v2", ""),
        Door::Original => ("/api", "AsOriginal"),
        Door::Operators => (super::OPERATE, "AsOperator"),
    };
    Operation::new(method, &format!("{prefix}/{path}"), &format!("{id}{suffix}"), tag, summary)
}

fn applying() -> Vec<Parameter> {
    vec![
        ("user_id", text(), "Who asks."),
        ("consensus_plugin", text(), "Of this plugin; any if absent."),
        ("consensus_mode", text(), "Of this mode; any if absent."),
        ("size", size(), "Of this size; any if absent."),
        ("allow_multiple", truth(), "One more, if the user has one of that kind already."),
        ("request_id", request_id(), "One wish, however often it is asked for."),
    ]
}

fn in_query(operation: Operation, parameters: &[Parameter]) -> Operation {
    parameters.iter().fold(operation, |operation, (name, schema, text)| {
        operation.query(name, schema.clone(), text)
    })
}

fn members(parameters: &[Parameter], required: &[&str]) -> Content {
    let described = parameters.iter().map(|(name, schema, text)| {
        let mut schema = schema.clone();
        schema["description"] = json!(text);
        (*name, schema)
    });
    Content::JsonOrForm(object(&described.collect::<Vec<_>>(), required))
}

fn integer(minimum: i64) -> Value {
    json!({ "type": "integer", "minimum": minimum })
}

fn size() -> Value {
    integer(1)
}

fn request_id() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 64 })
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;
    use crate::api::{
        cello::{
            ORIGINAL_PATHS,
            route::{self, Found},
        },
        openapi::agreement,
    };

    fn is_routed(method: &str, path: &str) -> bool {
        let (door, rest) = Door::of(path).unwrap();
        if door == Door::Original {
            let is_like = |known: &&&str| {
                let known: Vec<_> = known.split('/').collect();
                let rest: Vec<_> = rest.split('/').skip(1).collect();
                let is_same = |(one, two): (&&str, &&str)| one == two || one.starts_with('{');
                known.len() == rest.len() && known.iter().zip(&rest).all(is_same)
            };
            if !ORIGINAL_PATHS.iter().any(|known| is_like(&known)) {
                return false;
            }
        }
        let method: Method = method.parse().unwrap();
        matches!(route::parse(&method, door, rest), Found::Route(_))
    }

    #[test]
    fn every_route_is_documented_and_every_document_is_routed() {
        let document = document();
        for door in ["/v2", "/api", "/quorate/v1/pool"] {
            let patterns = agreement::slice_patterns(include_str!("route.rs"), "");
            let routed = |method: &str, path: &str| is_routed(method, &format!("{door}{path}"));
            // Reading routes answer HEAD as they answer GET.
            agreement::check(&document, door, &patterns, &["HEAD"], routed);
        }
    }
}
