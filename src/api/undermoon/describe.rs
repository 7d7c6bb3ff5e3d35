//! The family's operations, for its OpenAPI documents: one for each generation and profile.
//!
//! Refusals are listed as the state makes them; their statuses and codes come from `error`, as those
//! of answers do.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    error::{ErrorJson, Operation as Asked, told},
    route::Generation,
    wire, wire_document,
};
use crate::{
    api::{
        openapi::{
            book::{Book, For},
            operation::{Content, Operation},
            schema::index,
            shared,
        },
        profile::Profile,
    },
    domain::undermoon::{Rejection, reject::ConfigFault},
};

const CLUSTERS: &str = "clusters";
const SCALING: &str = "scaling";
const PROXIES: &str = "proxies";
const FAILURES: &str = "failures";
const BROKER: &str = "broker";

/// `/api/v2`, whose promises the profile says.
pub(in crate::api) fn v2(profile: Profile) -> Value {
    let (name, text) = match profile {
        Profile::Document => (
            "as documented",
            "The surface that undermoon's documents promise, for clients up to 0.5. Statuses and \
             codes are theirs wherever they are explicit.",
        ),
        Profile::Program => (
            "as released",
            "The surface of undermoon's released memory broker 0.5. Send `Quorate-Profile: program` \
             where the listener's configuration has the other one.",
        ),
    };
    let mut book = Book::new(&format!("Undermoon broker, /api/v2, {name}"), text);
    shared::profile(
        &mut book,
        match profile {
            Profile::Document => "document",
            Profile::Program => "program",
        },
    );
    Description { book, generation: Generation::V2, profile }.document()
}

/// `/api/v3`, which knows one profile only.
pub(in crate::api) fn v3() -> Value {
    let text = "The surface of undermoon's released memory broker 0.6. Path segments are taken as \
                they are, without undoing escapes.";
    let book = Book::new("Undermoon broker, /api/v3", text);
    Description { book, generation: Generation::V3, profile: Profile::Program }.document()
}

/// A document that is being written.
struct Description {
    book: Book,
    generation: Generation,
    profile: Profile,
}

impl Description {
    fn document(mut self) -> Value {
        let form = match self.generation {
            Generation::V2 => 0,
            Generation::V3 => 1,
        };
        self.book.choose("ProxyJson", form);
        self.path_parameters();
        shared::parameters(&mut self.book);
        self.common_answers();
        for (name, text) in [
            (CLUSTERS, "Clusters and their nodes."),
            (SCALING, "Moving slots, growing and shrinking."),
            (PROXIES, "Server proxies, of which clusters are made."),
            (FAILURES, "Reports, failovers and spares."),
            (BROKER, "The broker itself: metadata, epoch, configuration."),
        ] {
            self.book.tag(name, text);
        }
        self.clusters();
        self.nodes();
        self.scaling();
        self.proxies();
        self.failures();
        self.broker();
        self.book.finish()
    }

    fn path_parameters(&mut self) {
        let name = json!({
            "type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9@_-]+$", "examples": ["mydb"],
        });
        self.book.path_parameter("name", name, "Name of a cluster.");
        let address = |example: &str| {
            json!({
                "type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9.:_-]+$",
                "examples": [example],
            })
        };
        let text = "Address of a server proxy, `host:port`.";
        self.book.path_parameter("address", address("127.0.0.1:7000"), text);
        let text = "Who reports; any word that is not the reported address.";
        self.book.path_parameter("reporter", address("coordinator-1"), text);
        let number = json!({ "type": "integer", "format": "int64", "minimum": 0, "examples": [8] });
        self.book.path_parameter("node_number", number.clone(), "Wanted total of nodes.");
        self.book.path_parameter("epoch", number, "New epoch.");
    }

    fn common_answers(&mut self) {
        let error = Content::Json(self.book.answer::<ErrorJson<'static>>());
        // Longer names, other addresses and numbers out of range are no paths of this interface.
        let no_route = match self.generation {
            Generation::V2 => (404, "No route has this method and path."),
            Generation::V3 => (405, "No route has this method and path."),
        };
        for (whose, status, text) in [
            (For::All, 400, "`INVALID_REQUEST`: the request means nothing."),
            (For::All, 401, "`UNAUTHORIZED`: a token is needed, or the one sent is not good."),
            (For::All, 403, "`FORBIDDEN`: the token does not suffice."),
            (For::All, no_route.0, no_route.1),
            (For::Bodies, 408, "`INVALID_REQUEST`: the body did not arrive in time."),
            (For::Changes, 409, "`RETRY`: not taken, nothing has changed; ask again."),
            (For::Bodies, 413, "`INVALID_REQUEST`: the body is too large."),
            (For::Bodies, 415, "`INVALID_REQUEST`: the content type is not JSON."),
            (For::Changes, 422, "`REQUEST_ID_REUSED`: the key belongs to another change."),
            (For::All, 429, "`RETRY`: more requests than this client's share."),
            (For::All, 503, "`RETRY`: too busy, or this replica is in quarantine."),
            (For::Reads, 504, "`EXTERNAL_TIMEOUT`: not as current as asked, in time."),
            (For::Changes, 504, "`EXTERNAL_TIMEOUT`: the outcome is unknown."),
        ] {
            self.book.refusal(whose, status, text, &error);
        }
    }

    fn operation(
        &self,
        method: &'static str,
        path: &str,
        id: &str,
        tag: &str,
        summary: &str,
    ) -> Operation {
        let prefix = match self.generation {
            Generation::V2 => super::V2_PREFIX,
            Generation::V3 => super::V3_PREFIX,
        };
        Operation::new(method, &format!("{prefix}{path}"), id, tag, summary)
    }

    /// 200 without a word, as each generation says it.
    fn silent(&self) -> Content {
        match self.generation {
            Generation::V2 => Content::Text(String::new()),
            Generation::V3 => Content::Empty,
        }
    }

    /// Adds the refusals of an operation, one answer a status.
    fn refused(&mut self, operation: Operation, asked: Asked, refusals: &[Rejection]) -> Operation {
        let error = Content::Json(self.book.answer::<ErrorJson<'static>>());
        let mut codes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for rejection in refusals {
            let (status, code) = told(rejection, asked, self.profile);
            codes.entry(status.as_u16()).or_default().push(code);
        }
        codes.entry(400).or_default().push("INVALID_REQUEST");
        if operation.is_change() {
            codes.entry(409).or_default().push("RETRY");
        }
        let mut operation = operation;
        for (status, codes) in codes {
            let codes: Vec<_> = codes.iter().map(|code| format!("`{code}`")).collect();
            operation = operation.answers(status, &format!("{}.", codes.join(", ")), &error);
        }
        operation
    }

    fn clusters(&mut self) {
        let names = Content::Json(self.book.answer::<wire::NamesJson>());
        let operation = self.operation(
            "GET",
            "/clusters/names",
            "listClusters",
            CLUSTERS,
            "Names of the clusters",
        );
        self.book.add(paged(operation).answers(200, "The names, sorted.", &names));
        let cluster = Content::Json(self.book.answer::<wire::ClusterAnswer<'static>>());
        let path = "/clusters/meta/{name}";
        let operation = self.operation("GET", path, "getCluster", CLUSTERS, "A cluster");
        self.book.add(operation.answers(200, "The cluster; null if there is none.", &cluster));
        let info = Content::Json(self.book.answer::<wire::ClusterInfoJson<'static>>());
        let path = "/clusters/info/{name}";
        let operation = self.operation("GET", path, "getClusterInfo", CLUSTERS, "A cluster's size");
        let operation = operation.answers(200, "Sizes, and whether slots move.", &info);
        let operation = self.refused(operation, Asked::Other, &[Rejection::ClusterNotFound]);
        self.book.add(operation);

        let path = "/clusters/meta/{name}";
        let body = Content::Json(self.book.body::<wire::NodeNumber>());
        let operation = self
            .operation("POST", path, "createCluster", CLUSTERS, "Make a cluster of free proxies")
            .takes(&body)
            .example(&json!({ "node_number": 4 }))
            .answers(200, "Made.", &self.silent());
        let operation = self.refused(
            operation,
            Asked::Other,
            &[
                Rejection::InvalidClusterName,
                Rejection::InvalidNodeNumber,
                Rejection::AlreadyExisted,
                Rejection::NoAvailableResource,
                Rejection::OneClusterAlreadyExisted,
                Rejection::ProxyResourceOutOfOrder,
            ],
        );
        self.book.add(operation);
        let operation = self
            .operation("DELETE", path, "deleteCluster", CLUSTERS, "Give a cluster's proxies back")
            .answers(200, "Deleted.", &self.silent());
        let refusals = [Rejection::InvalidClusterName, Rejection::ClusterNotFound];
        let operation = self.refused(operation, Asked::Other, &refusals);
        self.book.add(operation);
        self.cluster_changes();
    }

    fn cluster_changes(&mut self) {
        let pairs = Content::Json(self.book.body::<wire::ConfigPairs>());
        let path = "/clusters/config/{name}";
        let operation = self
            .operation("PATCH", path, "changeClusterConfig", CLUSTERS, "Change a configuration")
            .says("Every value is text, numbers too. All pairs are taken, or none.")
            .takes(&pairs)
            .example(&json!({ "compression_strategy": "set_get_only" }))
            .answers(200, "Changed.", &self.silent());
        let refusals = [
            Rejection::InvalidClusterName,
            Rejection::ClusterNotFound,
            Rejection::MigrationRunning,
            Rejection::InvalidConfig {
                field: String::new(),
                value: String::new(),
                reason: ConfigFault::FieldNotFound,
            },
        ];
        let operation = self.refused(operation, Asked::Other, &refusals);
        self.book.add(operation);
        let path = "/clusters/balance/{name}";
        let operation = self
            .operation("PUT", path, "balanceMasters", CLUSTERS, "One master on each proxy again")
            .answers(200, "Balanced.", &self.silent());
        let refusals = [Rejection::InvalidClusterName, Rejection::ClusterNotFound];
        let operation = self.refused(operation, Asked::Other, &refusals);
        self.book.add(operation);
    }

    fn nodes(&mut self) {
        let nodes = Content::Json(self.book.answer::<Vec<wire::NodeJson<'static>>>());
        let growing = [
            Rejection::InvalidClusterName,
            Rejection::InvalidNodeNumber,
            Rejection::ClusterNotFound,
            Rejection::NodeNumberChanging,
            Rejection::MigrationRunning,
            Rejection::NodeNumAlreadyEnough,
            Rejection::NoAvailableResource,
            Rejection::ProxyResourceOutOfOrder,
        ];
        let path = "/clusters/nodes/{name}";
        let body = Content::Json(self.book.body::<wire::NodeNumber>());
        let operation = self
            .operation("PATCH", path, "addNodes", SCALING, "Add nodes without slots")
            .takes(&body)
            .example(&json!({ "node_number": 4 }))
            .answers(200, "The new nodes.", &nodes);
        let operation = self.refused(operation, Asked::Other, &growing);
        self.book.add(operation);
        let body = Content::Json(self.book.body::<wire::ClusterNodeNumber>());
        let operation = self
            .operation("PUT", path, "addNodesUpTo", SCALING, "Add nodes up to a total")
            .takes(&body)
            .example(&json!({ "cluster_node_number": 8 }))
            .answers(200, "The new nodes.", &nodes);
        let operation = self.refused(operation, Asked::Other, &growing);
        self.book.add(operation);
        let path = "/clusters/free_nodes/{name}";
        let operation = self
            .operation("DELETE", path, "deleteFreeNodes", SCALING, "Give nodes without slots back")
            .answers(200, "Given back.", &self.silent());
        let operation = self.refused(
            operation,
            Asked::Other,
            &[
                Rejection::InvalidClusterName,
                Rejection::ClusterNotFound,
                Rejection::FreeNodeNotFound,
                Rejection::NodeNumberChanging,
                Rejection::MigrationRunning,
            ],
        );
        self.book.add(operation);
    }

    fn scaling(&mut self) {
        let shared = [
            Rejection::InvalidClusterName,
            Rejection::ClusterNotFound,
            Rejection::NodeNumberChanging,
            Rejection::MigrationRunning,
        ];
        let with =
            |more: &[Rejection]| -> Vec<Rejection> { shared.iter().chain(more).cloned().collect() };
        let path = "/clusters/migrations/expand/{name}";
        let operation = self
            .operation("POST", path, "expand", SCALING, "Move slots onto nodes without")
            .answers(200, "Slots move.", &self.silent());
        let refusals = with(&[Rejection::SlotsAlreadyEven]);
        let operation = self.refused(operation, Asked::Expand, &refusals);
        self.book.add(operation);
        let path = "/clusters/migrations/shrink/{name}/{node_number}";
        let operation = self
            .operation("POST", path, "shrink", SCALING, "Move slots off all but some nodes")
            .answers(200, "Slots move.", &self.silent());
        let refusals = with(&[Rejection::InvalidNodeNumber, Rejection::FreeNodeFound]);
        let operation = self.refused(operation, Asked::Shrink, &refusals);
        self.book.add(operation);
        self.auto_scaling(&with(&[
            Rejection::InvalidNodeNumber,
            Rejection::NodeNumAlreadyEnough,
            Rejection::NoAvailableResource,
            Rejection::ProxyResourceOutOfOrder,
            Rejection::SlotsAlreadyEven,
            Rejection::FreeNodeFound,
            Rejection::FreeNodeNotFound,
        ]));
        let body = Content::Json(self.book.body::<wire::CommitMigration>());
        let operation = self
            .operation(
                "PUT",
                "/clusters/migrations",
                "commitMigration",
                SCALING,
                "Slots have moved",
            )
            .says("What a coordinator tells when the proxies are done with a task.")
            .takes(&body);
        let operation = match self.profile {
            Profile::Document => {
                let addresses = Content::Json(self.book.answer::<wire::AddressesJson>());
                operation.answers(200, "Taken; whom the metadata concerns.", &addresses)
            }
            Profile::Program => operation.answers(200, "Taken.", &self.silent()),
        };
        let operation = self.refused(
            operation,
            Asked::Other,
            &[
                Rejection::InvalidMigrationTask,
                Rejection::ClusterNotFound,
                Rejection::MigrationTaskNotFound,
            ],
        );
        self.book.add(operation);
    }

    fn auto_scaling(&mut self, refusals: &[Rejection]) {
        let path = "/clusters/migrations/auto/{name}/{node_number}";
        let operation = self
            .operation("POST", path, "autoScale", SCALING, "Scale to a total in one call")
            .says("Waits until the cluster's proxies know their new nodes: up to two minutes.")
            .answers(200, "Slots move, or nothing is to be done.", &self.silent());
        let operation = self.refused(operation, Asked::Other, refusals);
        let error = Content::Json(self.book.answer::<ErrorJson<'static>>());
        let text = "`PROXY_NOT_SYNC`: the proxies did not take their metadata in time.";
        self.book.add(operation.answers(500, text, &error));
    }

    fn proxies(&mut self) {
        let addresses = Content::Json(self.book.answer::<wire::AddressesJson>());
        let path = "/proxies/addresses";
        let operation = self.operation("GET", path, "listProxies", PROXIES, "All proxies");
        self.book.add(paged(operation).answers(200, "Their addresses, sorted.", &addresses));
        let proxy = Content::Json(self.book.answer::<wire::ProxyAnswer<'static>>());
        let path = "/proxies/meta/{address}";
        let operation = self.operation("GET", path, "getProxy", PROXIES, "A proxy's metadata");
        self.book.add(operation.answers(200, "The proxy; null if there is none.", &proxy));
        let body = Content::Json(self.book.body::<wire::RegisterProxy>());
        let operation = self
            .operation("POST", "/proxies/meta", "registerProxy", PROXIES, "Register a proxy")
            .says("A proxy that is registered already counts as recovered, besides being refused.")
            .takes(&body)
            .example(&json!({
                "proxy_address": "127.0.0.1:7000",
                "nodes": ["127.0.0.1:7001", "127.0.0.1:7002"],
                "host": "127.0.0.1",
                "index": 0,
            }))
            .answers(200, "Registered.", &self.silent());
        let operation = self.refused(
            operation,
            Asked::Other,
            &[
                Rejection::InvalidProxyAddress,
                Rejection::MissingServerProxyIndex,
                Rejection::AlreadyExisted,
            ],
        );
        self.book.add(operation);
        let operation = self
            .operation("DELETE", path, "removeProxy", PROXIES, "Remove a free proxy")
            .answers(200, "Removed.", &self.silent());
        let refusals = [Rejection::ProxyNotFound, Rejection::InUse];
        let operation = self.refused(operation, Asked::Other, &refusals);
        self.book.add(operation);
    }

    fn failures(&mut self) {
        let addresses = Content::Json(self.book.answer::<wire::AddressesJson>());
        let path = "/proxies/failed/addresses";
        let operation =
            self.operation("GET", path, "listFailedProxies", FAILURES, "Failed proxies");
        self.book.add(operation.answers(200, "Their addresses, sorted.", &addresses));
        let operation =
            self.operation("GET", "/failures", "listFailures", FAILURES, "Reported by a quorum");
        self.book.add(operation.answers(200, "Their addresses, sorted.", &addresses));
        let proxy = Content::Json(self.book.answer::<wire::ProxyAnswer<'static>>());
        let path = "/proxies/failover/{address}";
        let operation = self
            .operation("POST", path, "failOver", FAILURES, "Put a spare in a proxy's place")
            .answers(200, "The spare, or null if there was no need of one.", &proxy);
        let operation = self.refused(
            operation,
            Asked::Other,
            &[
                Rejection::ProxyNotFound,
                Rejection::ClusterNotFound,
                Rejection::NoAvailableResource,
                Rejection::FailoverInOrderedMode,
            ],
        );
        self.book.add(operation);
        let path = "/failures/{address}/{reporter}";
        let operation = self
            .operation("POST", path, "reportFailure", FAILURES, "Report a failure")
            .answers(200, "Noted.", &self.silent());
        self.book.add(operation);
        let hosts = Content::Json(self.book.answer::<wire::SparesJson>());
        let path = "/resources/failures/check";
        let operation = self
            .operation("POST", path, "checkSpares", FAILURES, "Hosts that must not fail")
            .into_read()
            .answers(200, "Hosts for whose proxies there are not enough spares.", &hosts);
        let operation = self.refused(operation, Asked::Other, &[Rejection::NoAvailableResource]);
        self.book.add(operation);
    }

    fn broker(&mut self) {
        let version = match self.generation {
            Generation::V2 => "0.5.0",
            Generation::V3 => "0.6.2",
        };
        let operation = self
            .operation("GET", "/version", "getVersion", BROKER, "The program clients know")
            .of_this_replica();
        let version = Content::Text(version.to_owned());
        self.book.add(operation.answers(200, "A version.", &version));
        let document = self.book.answer::<wire_document::DocumentJson>();
        let operation =
            self.operation("GET", "/metadata", "getMetadata", BROKER, "Everything that is stored");
        let content = Content::Json(document);
        self.book.add(operation.answers(200, "The metadata, as version 0.2.", &content));
        let body = Content::Json(self.book.body::<wire_document::DocumentJson>());
        let operation = self
            .operation("PUT", "/metadata", "restoreMetadata", BROKER, "Put metadata in place")
            .says("Versions 0.1 and 0.2. The epoch must be larger than the present one.")
            .takes(&body)
            .answers(200, "In place.", &self.silent());
        let refusals = [
            Rejection::InvalidMetadata(String::new()),
            Rejection::InvalidMetaVersion,
            Rejection::EpochSmallerThanCurrent,
        ];
        let operation = self.refused(operation, Asked::Other, &refusals);
        self.book.add(operation);
        self.epochs();
        let config = Content::Json(self.book.answer::<wire::LocalConfig>());
        let operation = self
            .operation("GET", "/config", "getConfig", BROKER, "Addresses kept for old clients")
            .of_this_replica();
        self.book.add(operation.answers(200, "This replica's list.", &config));
        let body = Content::Json(self.book.body::<wire::LocalConfig>());
        let operation = self
            .operation("PUT", "/config", "setConfig", BROKER, "Keep addresses for old clients")
            .says("Kept by this replica until it stops; nothing is sent to the addresses.")
            .takes(&body)
            .example(&json!({ "replica_addresses": [] }))
            .answers(200, "Kept.", &self.silent());
        self.book.add(operation);
    }

    fn epochs(&mut self) {
        let operation = self.operation("GET", "/epoch", "getEpoch", BROKER, "The global epoch");
        let epoch = match self.generation {
            Generation::V2 => Content::Text("7".to_owned()),
            Generation::V3 => Content::Json(json!({ "type": "integer", "minimum": 0 })),
        };
        self.book.add(operation.answers(200, "The number, and nothing else.", &epoch));
        let operation = self
            .operation("PUT", "/epoch/{epoch}", "setEpoch", BROKER, "Raise the global epoch")
            .answers(200, "Raised.", &self.silent());
        let refusals =
            [Rejection::EpochSmallerThanCurrent, Rejection::InvalidSetting(String::new())];
        let operation = self.refused(operation, Asked::Other, &refusals);
        self.book.add(operation);
        let failed = Content::Json(self.book.answer::<wire::RecoveryJson>());
        let operation = self
            .operation(
                "PUT",
                "/epoch/recovery",
                "recoverEpoch",
                BROKER,
                "Raise it above all proxies",
            )
            .says("Asks every proxy, for up to 20 s, and lifts the epoch above what they hold.")
            .answers(200, "Raised; who did not answer.", &failed);
        self.book.add(operation);
    }
}

fn paged(operation: Operation) -> Operation {
    operation.query("offset", index(), "How many to leave out.").query(
        "limit",
        index(),
        "How many at most.",
    )
}

#[cfg(test)]
#[path = "describe_test.rs"]
mod tests;
