//! The family's operations, for its OpenAPI documents: one for each profile.
//!
//! Answers have the schemas of the types in `wire` and beside the handlers. Bodies are read member
//! by member, as leniently as the original reads them, so their schemas are written here and say
//! what a client should send. Refusals are listed as the state makes them; statuses and texts come
//! from `error`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{
    error::{ErrorJson, ProgramErrorJson, rejected},
    failover::CandidatesJson,
    load::{LoadJson, LoadedJson, RecordJson},
    migrate::WarningJson,
    operate::{ObserversAnswer, SettingsChangeJson, SettingsJson},
    rehearse::{Nothing, RehearsalJson},
    status::{Detail, Summary},
    wire::{
        ClusterAnswer, ClustersJson, Data, FailoversAnswer, JobJson, MigrationAnswer,
        MigrationsAnswer, NamespaceJson, NamespacesJson, NewMasterJson, NodesAnswer, PeersAnswer,
        ShardAnswer, ShardsAnswer, SyncAnswer,
    },
};
use crate::{
    api::{
        openapi::{
            book::{Book, For},
            operation::{Content, Operation},
            schema::{integer, object, text, texts, truth, words},
            shared,
        },
        profile::Profile,
    },
    domain::kvrocks::Rejection,
};

const NAMESPACES: &str = "namespaces";
const CLUSTERS: &str = "clusters";
const SHARDS: &str = "shards and nodes";
const MIGRATIONS: &str = "migrations";
const CONTROLLER: &str = "controller";
const OPERATING: &str = "operating";

/// `/api/v1` and `/quorate/v1/kvrocks`, whose promises the profile says.
pub(in crate::api) fn document(profile: Profile) -> Value {
    let (name, text, header, form) = match profile {
        Profile::Document => (
            "as documented",
            "The surface that the Kvrocks controller's documents promise.",
            "document",
            0,
        ),
        Profile::Program => (
            "as released",
            "The surface of the released Kvrocks controller 1.2. Send `Quorate-Profile: program` \
             where the listener's configuration has the other one.",
            "program",
            1,
        ),
    };
    let text = format!(
        "{text} Keys of bodies may have any case, and unknown ones are ignored, as ever. A known \
         path with a slash too many is redirected."
    );
    let mut book = Book::new(&format!("Kvrocks controller, /api/v1, {name}"), &text);
    for kind in ["ClusterJson", "ShardJson", "NodeJson"] {
        book.choose(kind, form);
    }
    shared::profile(&mut book, header);
    shared::parameters(&mut book);
    let mut description = Description { book, profile };
    description.frame();
    description.namespaces();
    description.clusters();
    description.shards();
    description.nodes();
    description.migrations();
    description.controller();
    description.operating();
    description.book.finish()
}

/// A document that is being written.
struct Description {
    book: Book,
    profile: Profile,
}

impl Description {
    fn frame(&mut self) {
        for (name, text) in [
            (NAMESPACES, "Namespaces of clusters."),
            (CLUSTERS, "Clusters of Kvrocks nodes."),
            (SHARDS, "Shards, their nodes, and failing over."),
            (MIGRATIONS, "Moving slots: at once, or by the queue."),
            (CONTROLLER, "The controller's own members."),
            (OPERATING, "Settings, what our replicas see, taking data over."),
        ] {
            self.book.tag(name, text);
        }
        let name =
            |example: &str| json!({ "type": "string", "minLength": 1, "examples": [example] });
        self.book.path_parameter("namespace", name("ns"), "Name of a namespace.");
        self.book.path_parameter("cluster", name("c1"), "Name of a cluster.");
        self.book.path_parameter(
            "id",
            name("kvrocksnode00000000000000000000000000001"),
            "Id of a node.",
        );
        let number =
            |example: u64| json!({ "type": "integer", "minimum": 0, "examples": [example] });
        self.book.path_parameter("shard", number(0), "Index of a shard, from 0.");
        self.book.path_parameter("job", number(1), "Id of a migration.");
        let error = self.error();
        for (whose, status, text) in [
            (
                For::All,
                400,
                "The request means nothing, or no leader answers: then there is `Retry-After`.",
            ),
            (For::All, 401, "A token is needed, or the one sent is not good."),
            (For::All, 403, "The token does not suffice."),
            (For::All, 404, "What was asked for is not there."),
            (For::Bodies, 408, "The body did not arrive in time."),
            (For::Changes, 409, "What was to be made is there already."),
            (For::All, 413, "The body is too large."),
            (For::Changes, 422, "The idempotency key belongs to another change."),
            (For::All, 429, "More requests than this client's share."),
            (For::All, 503, "Too busy, or this replica is in quarantine."),
            (For::Changes, 504, "The outcome is unknown."),
        ] {
            self.book.refusal(whose, status, text, &error);
        }
    }

    fn error(&mut self) -> Content {
        Content::Json(match self.profile {
            Profile::Document => self.book.answer::<ErrorJson<'static>>(),
            Profile::Program => self.book.answer::<ProgramErrorJson<'static>>(),
        })
    }

    fn data<T: JsonSchema>(&mut self) -> Content {
        Content::Json(self.book.answer::<Data<T>>())
    }

    /// What is answered, or a rehearsal with more to tell.
    fn or_rehearsal<T: JsonSchema>(&mut self, content: Content) -> Content {
        let rehearsal = self.book.answer::<Data<RehearsalJson<'static, T>>>();
        match content {
            Content::Json(schema) => Content::Json(json!({ "anyOf": [schema, rehearsal] })),
            _ => Content::Json(rehearsal),
        }
    }

    /// 201 with what was made, or the documents' word for it.
    fn created<T: JsonSchema>(&mut self, operation: Operation) -> Operation {
        let content = match self.profile {
            Profile::Document => word("created"),
            Profile::Program => self.data::<T>(),
        };
        operation.answers(201, "Made.", &content)
    }

    /// 200 with the outcome, or the documents' word for it.
    fn done<T: JsonSchema>(&mut self) -> Content {
        match self.profile {
            Profile::Document => word("ok"),
            Profile::Program => self.data::<T>(),
        }
    }

    /// 204, or the documents' word for it.
    fn removed(&mut self, operation: Operation) -> Operation {
        match self.profile {
            Profile::Document => operation.answers(200, "Done.", &word("ok")),
            Profile::Program => operation.answers(204, "Done.", &Content::Empty),
        }
    }

    /// Adds an operation with its refusals, one answer a status. `fault` says what a node, or the
    /// log, may be in the way with.
    fn add(&mut self, operation: Operation, refusals: &[Rejection], fault: Option<&str>) {
        let error = self.error();
        let mut texts: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for rejection in refusals {
            let (status, text) = rejected(rejection, self.profile);
            let texts = texts.entry(status.as_u16()).or_default();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        if let Some(fault) = fault {
            texts.entry(500).or_default().push(fault.to_owned());
        }
        if let Some(texts) = texts.get_mut(&400) {
            texts.push("or as for any request: no leader, or no meaning".to_owned());
        }
        let mut operation = operation;
        for (status, texts) in texts {
            operation = operation.answers(status, &format!("{}.", texts.join("; ")), &error);
        }
        self.book.add(operation);
    }

    fn namespaces(&mut self) {
        let path = "/api/v1/namespaces";
        let names = self.data::<NamespacesJson>();
        let operation = Operation::new("GET", path, "listNamespaces", NAMESPACES, "All namespaces");
        self.add(operation.answers(200, "Their names.", &names), &[], None);
        let operation =
            Operation::new("POST", path, "createNamespace", NAMESPACES, "Make a namespace")
                .takes(&body(&[("namespace", text())], &["namespace"]))
                .example(&json!({ "namespace": "ns" }));
        let operation = self.created::<NamespaceJson<'static>>(operation);
        let refusals =
            [Rejection::NamespaceEmpty, Rejection::InvalidName, Rejection::NamespaceExists];
        self.add(operation, &refusals, None);
        let path = "/api/v1/namespaces/{namespace}";
        let present = match self.profile {
            Profile::Document => word("ok"),
            Profile::Program => self.data::<()>(),
        };
        let operation =
            Operation::new("GET", path, "getNamespace", NAMESPACES, "Whether there is a namespace")
                .answers(200, "There is.", &present);
        self.add(operation, &[Rejection::NamespaceNotFound], None);
        let operation =
            Operation::new("DELETE", path, "deleteNamespace", NAMESPACES, "Delete a namespace");
        let operation = self.removed(operation);
        let refusals = [Rejection::NamespaceNotEmpty, Rejection::NamespaceNotFound];
        self.add(operation, &refusals, None);
    }

    fn clusters(&mut self) {
        let path = "/api/v1/namespaces/{namespace}/clusters";
        let names = self.data::<ClustersJson>();
        let operation =
            Operation::new("GET", path, "listClusters", CLUSTERS, "Clusters of a namespace")
                .answers(200, "Their names.", &names);
        self.add(operation, &[Rejection::NamespaceRequired], None);
        self.create_cluster(path);
        let path = of_cluster("");
        let cluster = self.data::<ClusterAnswer<'static>>();
        let operation = Operation::new("GET", &path, "getCluster", CLUSTERS, "A cluster").answers(
            200,
            "The cluster.",
            &cluster,
        );
        self.add(operation, &[Rejection::ClusterNotFound], Some(SEALED));
        let operation =
            Operation::new("DELETE", &path, "deleteCluster", CLUSTERS, "Forget a cluster")
                .says("Its nodes are not told, and go on.");
        let operation = self.removed(operation);
        self.add(operation, &[Rejection::ClusterNotFound], None);
        let operation = Operation::new(
            "POST",
            &of_cluster("/import"),
            "importCluster",
            CLUSTERS,
            "Take a running cluster over",
        )
        .says("The first node is asked for the topology.")
        .takes(&body(&[("nodes", texts()), ("password", text())], &["nodes"]))
        .example(&json!({ "nodes": ["127.0.0.1:1"] }));
        let operation = match self.profile {
            Profile::Document => operation.answers(201, "Taken over.", &word("created")),
            Profile::Program => operation.answers(200, "Taken over.", &cluster),
        };
        let refusals = [
            Rejection::NamespaceRequired,
            Rejection::ClusterNodesEmpty,
            Rejection::InvalidAddress(String::new()),
            Rejection::InvalidName,
            Rejection::ClusterExists,
        ];
        self.add(operation, &refusals, Some(NODE));
        self.operate_cluster();
    }

    fn create_cluster(&mut self, path: &str) {
        let members =
            [("name", text()), ("nodes", texts()), ("replicas", integer()), ("password", text())];
        let operation = Operation::new("POST", path, "createCluster", CLUSTERS, "Make a cluster")
            .says("Nodes that belong to a cluster already are refused.")
            .header(
                "X-Dont-Check-Cluster-Mode",
                words(&["yes", "no", "true", "false"]),
                "`yes` has no node asked, `no` all of them; without it the settings decide.",
            )
            .takes(&body(&members, &["name", "nodes"]))
            .example(&json!({
                "name": "c1", "nodes": ["127.0.0.1:6666", "127.0.0.1:6667"], "replicas": 1,
            }));
        let operation = self.created::<ClusterAnswer<'static>>(operation);
        let refusals = [
            Rejection::NamespaceRequired,
            Rejection::ClusterNameEmpty,
            Rejection::InvalidName,
            Rejection::ClusterNodesEmpty,
            Rejection::ReplicasNegative,
            Rejection::NotDivisible,
            Rejection::InvalidAddress(String::new()),
            Rejection::AddressRepeated(String::new()),
            Rejection::ClusterExists,
        ];
        self.add(operation, &refusals, Some(NODE));
    }

    fn operate_cluster(&mut self) {
        let failovers = self.data::<FailoversAnswer<'static>>();
        let operation = Operation::new(
            "GET",
            &of_cluster("/failovers"),
            "listFailovers",
            CLUSTERS,
            "Failovers that took place",
        )
        .answers(200, "The last ones.", &failovers);
        self.add(operation, &[Rejection::ClusterNotFound], None);
        let synced = self.data::<SyncAnswer>();
        let operation = Operation::new(
            "POST",
            &of_cluster("/sync"),
            "syncCluster",
            CLUSTERS,
            "Push the topology to all nodes now",
        )
        .may_take(&body(&[("force", truth())], &[]))
        .answers(200, "All nodes have it.", &synced);
        self.add(operation, &[Rejection::ClusterNotFound], Some(NODE));
        let operation = Operation::new(
            "POST",
            &of_cluster("/password"),
            "changePassword",
            CLUSTERS,
            "Change the stored password of one node or of all",
        )
        .takes(&body(&[("password", text()), ("node_id", text())], &["password"]));
        let operation = self.removed(operation);
        self.add(operation, &[Rejection::ClusterNotFound, Rejection::NodeNotFound], None);
    }

    fn shards(&mut self) {
        let path = of_cluster("/shards");
        let shards = self.data::<ShardsAnswer<'static>>();
        let operation = Operation::new("GET", &path, "listShards", SHARDS, "Shards of a cluster")
            .answers(200, "The shards.", &shards);
        self.add(operation, &[Rejection::ClusterNotFound], Some(SEALED));
        let operation =
            Operation::new("POST", &path, "addShard", SHARDS, "Add a shard without slots")
                .takes(&body(&[("nodes", texts()), ("password", text())], &["nodes"]))
                .example(&json!({ "nodes": ["127.0.0.1:6668"] }));
        let operation = self.created::<ShardAnswer<'static>>(operation);
        let refusals = [
            Rejection::ClusterNotFound,
            Rejection::NodesEmpty,
            Rejection::InvalidAddress(String::new()),
            Rejection::AddressRepeated(String::new()),
            Rejection::AddressesUsed(Vec::new()),
        ];
        self.add(operation, &refusals, None);
        let path = of_cluster("/shards/{shard}");
        let shard = self.data::<ShardAnswer<'static>>();
        let operation = Operation::new("GET", &path, "getShard", SHARDS, "A shard").answers(
            200,
            "The shard.",
            &shard,
        );
        let missing = [Rejection::ClusterNotFound, Rejection::IndexOutOfRange];
        self.add(operation, &missing, Some(SEALED));
        let operation =
            rehearsed(Operation::new("DELETE", &path, "removeShard", SHARDS, "Remove a shard"));
        let content = match self.profile {
            Profile::Document => self.or_rehearsal::<Nothing>(word("ok")),
            Profile::Program => self.or_rehearsal::<Nothing>(Content::Empty),
        };
        let operation = self.removed(operation).answers(200, "Done, or rehearsed.", &content);
        let refusals = [
            Rejection::ClusterNotFound,
            Rejection::IndexOutOfRange,
            Rejection::ShardServicing,
            Rejection::ShardMigrating,
        ];
        self.add(operation, &refusals, None);
        self.failover();
    }

    fn failover(&mut self) {
        let members = [
            ("preferred_node_id", text()),
            ("graceful", truth()),
            ("sync_timeout_ms", integer()),
            ("pause_timeout_ms", integer()),
            ("force_on_timeout", truth()),
        ];
        let new_master = self.data::<NewMasterJson<'static>>();
        let content = self.or_rehearsal::<CandidatesJson>(new_master);
        let operation = Operation::new(
            "POST",
            &of_cluster("/shards/{shard}/failover"),
            "failOver",
            SHARDS,
            "Make another node the master",
        )
        .says(
            "The nodes are asked how far they are; the most advanced one is chosen unless one is \
               preferred. A graceful failover stops writes until the new master has them all.",
        )
        .may_take(&body(&members, &[]))
        .answers(200, "The new master.", &content);
        let refusals = [
            Rejection::ClusterNotFound,
            Rejection::IndexOutOfRange,
            Rejection::InvalidNodeId(String::new()),
            Rejection::NoReplica,
            Rejection::NoOldMaster,
            Rejection::NoNewMaster,
            Rejection::Updated,
        ];
        self.add(rehearsed(operation), &refusals, Some(NODE));
    }

    fn nodes(&mut self) {
        let path = of_cluster("/shards/{shard}/nodes");
        let nodes = self.data::<NodesAnswer<'static>>();
        let operation = Operation::new("GET", &path, "listNodes", SHARDS, "Nodes of a shard")
            .answers(200, "The nodes.", &nodes);
        let missing = [Rejection::ClusterNotFound, Rejection::IndexOutOfRange];
        self.add(operation, &missing, Some(SEALED));
        let role = words(&["master", "slave"]);
        let members = [("addr", text()), ("role", role), ("password", text())];
        let operation = Operation::new("POST", &path, "addNode", SHARDS, "Add a node to a shard")
            .takes(&body(&members, &["addr", "role"]))
            .example(&json!({ "addr": "127.0.0.1:6669", "role": "slave" }));
        let operation = self.created::<String>(operation);
        let refusals = [
            Rejection::ClusterNotFound,
            Rejection::IndexOutOfRange,
            Rejection::InvalidRole,
            Rejection::InvalidAddress(String::new()),
            Rejection::NodeExists,
            Rejection::MasterExists,
        ];
        self.add(operation, &refusals, None);
        let path = of_cluster("/shards/{shard}/nodes/{id}");
        let operation = Operation::new("DELETE", &path, "removeNode", SHARDS, "Remove a replica")
            .says("The node is not told, and goes on.");
        let operation = self.removed(operation);
        let refusals = [
            Rejection::ClusterNotFound,
            Rejection::NodeNotFound,
            Rejection::IndexOutOfRange,
            Rejection::RemoveMaster,
        ];
        self.add(operation, &refusals, None);
    }

    fn migrations(&mut self) {
        let moving = [
            Rejection::ClusterNotFound,
            Rejection::IndexOutOfRange,
            Rejection::SameShard,
            Rejection::SlotUnassigned,
            Rejection::SlotsDivided,
            Rejection::ShardMigrating,
        ];
        let members = [("target", integer()), ("slot", slot()), ("slot_only", truth())];
        let cluster = self.done::<ClusterAnswer<'static>>();
        let content = self.or_rehearsal::<WarningJson>(cluster);
        let operation = Operation::new(
            "POST",
            &of_cluster("/migrate"),
            "migrate",
            MIGRATIONS,
            "Move slots to another shard at once",
        )
        .says("`slot_only` changes the topology without moving data.")
        .takes(&body(&members, &["target", "slot"]))
        .example(&json!({ "target": 1, "slot": "0-10" }))
        .answers(200, "Begun.", &content);
        self.add(rehearsed(operation), &moving, Some(NODE));

        let path = of_cluster("/migrations");
        let jobs = self.data::<MigrationsAnswer<JobJson<'static>>>();
        let operation = Operation::new("GET", &path, "listMigrations", MIGRATIONS, "The queue")
            .answers(200, "All that are remembered.", &jobs);
        self.add(operation, &[Rejection::ClusterNotFound], None);
        let ids = self.data::<MigrationsAnswer<u64>>();
        let members = [
            ("target", integer()),
            ("slots", json!({ "type": "array", "items": slot(), "minItems": 1 })),
            ("attempts_max", integer()),
        ];
        let rehearsal = self.or_rehearsal::<Nothing>(Content::Empty);
        let operation = Operation::new("POST", &path, "queueMigrations", MIGRATIONS, "Queue some")
            .takes(&body(&members, &["target", "slots"]))
            .example(&json!({ "target": 1, "slots": ["0-10", "12"] }))
            .answers(200, "Rehearsed.", &rehearsal)
            .answers(201, "Ids of the queued ones.", &ids);
        self.add(rehearsed(operation), &moving, None);
        self.one_migration(&ids);
    }

    fn one_migration(&mut self, ids: &Content) {
        let path = of_cluster("/migrations/{job}");
        let missing = [Rejection::ClusterNotFound, Rejection::JobNotFound];
        let job = self.data::<MigrationAnswer<'static>>();
        let operation = Operation::new("GET", &path, "getMigration", MIGRATIONS, "A migration")
            .answers(200, "The migration.", &job);
        self.add(operation, &missing, None);
        let operation =
            Operation::new("DELETE", &path, "cancelMigration", MIGRATIONS, "Cancel a migration");
        let operation = self.removed(operation);
        self.add(operation, &missing, None);
        let operation = Operation::new(
            "POST",
            &of_cluster("/migrations/{job}/retry"),
            "retryMigration",
            MIGRATIONS,
            "Queue what failed again",
        )
        .answers(201, "Id of the new one.", ids);
        self.add(operation, &missing, None);
    }

    fn controller(&mut self) {
        let leader = self.data::<String>();
        let path = "/api/v1/controller/leader";
        let operation = Operation::new("GET", path, "getLeader", CONTROLLER, "Where the leader is")
            .of_this_replica()
            .answers(200, "Its address, `host:port`.", &leader);
        self.add(operation, &[], None);
        let path = "/api/v1/raft/peers";
        let peers = self.data::<PeersAnswer>();
        let operation = Operation::new("GET", path, "listPeers", CONTROLLER, "The replicas")
            .of_this_replica()
            .answers(200, "Who leads, and where all are.", &peers);
        self.add(operation, &[], None);
        let operations = words(&["add", "remove"]);
        let members = [("id", integer()), ("operation", operations), ("peer", text())];
        let done = self.data::<()>();
        let operation =
            Operation::new("POST", path, "changePeers", CONTROLLER, "Add or remove a replica")
                .takes(&body(&members, &["id", "operation"]))
                .example(&json!({ "id": 9, "operation": "remove" }))
                .answers(200, "Done.", &done);
        self.add(operation, &[], Some("the peer is there already"));
    }

    fn operating(&mut self) {
        let settings = self.data::<SettingsJson>();
        let path = "/quorate/v1/kvrocks/settings";
        let operation = Operation::new("GET", path, "getSettings", OPERATING, "The settings")
            .answers(200, "The settings.", &settings);
        self.add(operation, &[], None);
        let change = Content::Json(self.book.body::<SettingsChangeJson>());
        let operation = Operation::new("PUT", path, "changeSettings", OPERATING, "Change settings")
            .takes(&change)
            .example(&json!({ "failover_lag_max": 1000 }))
            .answers(200, "All settings.", &settings);
        self.add(operation, &[Rejection::InvalidSetting(String::new())], None);
        let observers = self.data::<ObserversAnswer>();
        let path = "/quorate/v1/kvrocks/observers";
        let operation =
            Operation::new("GET", path, "listObservers", OPERATING, "Who watches nodes").answers(
                200,
                "What each replica last reported.",
                &observers,
            );
        self.add(operation, &[], None);
        let summary = self.data::<Summary>();
        let path = "/quorate/v1/kvrocks/status";
        let operation =
            Operation::new("GET", path, "getStatus", OPERATING, "All clusters, in short").answers(
                200,
                "As this replica sees them.",
                &summary,
            );
        self.add(operation, &[], None);
        let detail = self.data::<Detail<'static>>();
        let path = "/quorate/v1/kvrocks/status/{namespace}/{cluster}";
        let operation = Operation::new("GET", path, "getClusterStatus", OPERATING, "A cluster")
            .answers(200, "Wanted and observed, side by side.", &detail);
        self.add(operation, &[Rejection::ClusterNotFound], None);
        self.taking_over();
    }

    fn taking_over(&mut self) {
        let record = Content::Json(self.book.body::<LoadJson>());
        let loaded = self.data::<LoadedJson>();
        let either = self.or_rehearsal::<Nothing>(loaded.clone());
        let path = "/quorate/v1/kvrocks/load";
        let operation =
            Operation::new("POST", path, "loadCluster", OPERATING, "Take a stored record over")
                .says("A record as the original keeps it; the same one again changes nothing.")
                .takes(&record)
                .answers(200, "It was there already, or a rehearsal.", &either)
                .answers(201, "It is there now.", &loaded);
        let refusals =
            [Rejection::Invalid(String::new()), Rejection::InvalidName, Rejection::ClusterExists];
        self.add(rehearsed(operation), &refusals, None);
        // Whatever the profile, a cluster is what can be loaded again.
        let value = json!({ "anyOf": [text(), self.book.body::<RecordJson>()] });
        let values = json!({ "type": "object", "additionalProperties": value });
        let keys =
            json!({ "type": "object", "properties": { "data": values }, "required": ["data"] });
        let path = "/quorate/v1/kvrocks/export";
        let operation = Operation::new(
            "GET",
            path,
            "exportAll",
            OPERATING,
            "Everything, as the original keeps it",
        )
        .says("Has passwords; refused where the settings hide them.")
        .answers(200, "Every key with its value.", &Content::Json(keys));
        self.add(operation, &[], Some(SEALED));
    }
}

/// Why what could be shown is not.
const SEALED: &str = "a password is sealed with a key that this replica does not have";
/// Why what a node has to do is not done.
const NODE: &str = "a node did not do its part, the text says why";

fn of_cluster(rest: &str) -> String {
    format!("/api/v1/namespaces/{{namespace}}/clusters/{{cluster}}{rest}")
}

/// `{"data": word}`.
fn word(word: &str) -> Content {
    Content::Json(json!({
        "type": "object", "properties": { "data": { "const": word } }, "required": ["data"],
    }))
}

/// A body with these members, of which some must be there.
fn body(members: &[(&str, Value)], required: &[&str]) -> Content {
    Content::Json(object(members, required))
}

fn rehearsed(operation: Operation) -> Operation {
    operation.query("dry_run", words(&["true", "false"]), "`true` only tells what would happen.")
}

fn slot() -> Value {
    json!({
        "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": 16_383 },
            { "type": "string", "pattern": "^[0-9]{1,5}(-[0-9]{1,5})?$" },
        ],
    })
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;
    use crate::api::{
        kvrocks::route::{self, Found},
        openapi::agreement,
    };

    fn is_routed(method: &str, path: &str) -> bool {
        let method: Method = method.parse().unwrap();
        matches!(route::parse(&method, path), Found::Route(_))
    }

    #[test]
    fn every_route_is_documented_and_every_document_is_routed() {
        let source = include_str!("route.rs");
        let of_cluster = source.split("fn of_cluster").nth(1).unwrap();
        let mut patterns = agreement::slice_patterns(source, "/api/v1");
        patterns.extend(agreement::slice_patterns(of_cluster, "/api/v1/namespaces/x/clusters/x"));
        patterns.insert("/api/v1/namespaces/x/clusters/x".to_owned());
        patterns.extend(agreement::text_patterns(source, "/quorate/v1/kvrocks"));
        patterns.insert("/quorate/v1/kvrocks/status/x/x".to_owned());
        for profile in [Profile::Document, Profile::Program] {
            agreement::check(&document(profile), "", &patterns, &["HEAD"], is_routed);
        }
    }

    #[test]
    fn every_pattern_that_is_counted_is_documented() {
        let document = document(Profile::Program);
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                let method: Method = method.to_ascii_uppercase().parse().unwrap();
                let Found::Route(route) = route::parse(&method, path) else {
                    panic!("{method} {path} is no route");
                };
                let pattern = path.replace('{', ":").replace('}', "");
                assert_eq!(route.pattern(), pattern, "{method}");
            }
        }
    }
}
