//! The family's operations, for its OpenAPI document.

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{
    audit::RecordLine,
    backup::{BackupMade, BackupsAnswer},
    error::ErrorAnswer,
    events::Page,
    feature_level::{Levels, Raised, Wish},
    members::{Changed, Move, NewMember, Replacement},
    secrets::RoundAnswer,
    tokens::{NewToken, Revoked, TokenBody, TokensAnswer},
    wire::{
        LeaderAnswer, LeadersAnswer, LogAnswer, SettingsAnswer, SettingsBody, SnapshotAnswer,
        StatusAnswer, TransferBody,
    },
};
use crate::{
    api::openapi::{
        book::{Book, For},
        operation::{Content, Operation},
        schema::{index, text, truth, words},
        shared,
    },
    broker::{
        engine::{Digest, Members},
        secrets::SecretsReport,
    },
};

const HEALTH: &str = "health";
const REPLICA: &str = "this replica";
const CLUSTER: &str = "the cluster";
const ACCESS: &str = "access";
const BACKUPS: &str = "backups";

/// `/livez`, `/readyz`, `/metrics` and `/quorate/v1`.
pub(in crate::api) fn document() -> Value {
    let text = "What operators and monitoring ask of a replica. Errors are \
                `{\"error\":{\"code\",\"message\"}}`. Reading routes answer HEAD as they answer GET.";
    let mut description = Description { book: Book::new("Operating Quorate, /quorate/v1", text) };
    description.frame();
    description.health();
    description.replica();
    description.feeds();
    description.members();
    description.cluster();
    description.access();
    description.backups();
    description.book.finish()
}

/// A document that is being written.
struct Description {
    book: Book,
}

impl Description {
    fn frame(&mut self) {
        for (name, text) in [
            (HEALTH, "Open to everybody, in every condition."),
            (REPLICA, "What this replica knows and has."),
            (CLUSTER, "Members, leadership, settings, the change feed."),
            (ACCESS, "Tokens, secrets, the audit trail."),
            (BACKUPS, "Backups of the whole state."),
        ] {
            self.book.tag(name, text);
        }
        let id = json!({ "type": "integer", "format": "int64", "minimum": 0, "examples": [4] });
        self.book.path_parameter("replica", id, "Id of a replica.");
        let id = json!({ "type": "string", "pattern": "^[0-9a-f]{16}$" });
        self.book.path_parameter("token", id, "Public part of a token, as it is listed.");
        let name = json!({ "type": "string", "minLength": 1, "examples": ["none.qback"] });
        self.book.path_parameter("name", name, "Name of a backup.");
        shared::parameters(&mut self.book);
        let error = self.json::<ErrorAnswer<'static>>();
        for (whose, status, text) in [
            (For::All, 400, "`invalid_request`: the request means nothing."),
            (For::All, 401, "`unauthenticated`: a token is needed, or the one sent is not good."),
            (For::All, 403, "`forbidden`: the token does not suffice."),
            (For::Bodies, 408, "`invalid_request`: the body did not arrive in time."),
            (For::Changes, 409, "`refused`, or the idempotency key belongs to another change."),
            (For::Bodies, 413, "`invalid_request`: the body is too large."),
            (For::All, 429, "`too_many_requests`: more than this client's share."),
            (For::All, 503, "`not_ready`, `stale`, `quarantined`, `overloaded`, `not_accepted`."),
            (For::Reads, 504, "`timeout`: not as current as asked, in time."),
            (For::Changes, 504, "`outcome_unknown`."),
        ] {
            self.book.refusal(whose, status, text, &error);
        }
    }

    fn json<T: JsonSchema>(&mut self) -> Content {
        Content::Json(self.book.answer::<T>())
    }

    fn add(&mut self, operation: Operation) {
        self.book.add(operation);
    }

    /// Adds an operation that may fail in one more way.
    fn add_failing(&mut self, operation: Operation, status: u16, text: &str) {
        let error = self.json::<ErrorAnswer<'static>>();
        self.book.add(operation.answers(status, text, &error));
    }

    fn health(&mut self) {
        let get = |path: &str, id: &str, summary: &str| {
            Operation::new("GET", path, id, HEALTH, summary).open()
        };
        let ok = Content::Text("ok\n".to_owned());
        self.add(
            get("/livez", "live", "Whether the process answers").answers(200, "It does.", &ok),
        );
        let ready = Content::Text("ready\n".to_owned());
        let not_ready = Content::Text("[-] leader: no leader is known\nnot ready\n".to_owned());
        let operation = get("/readyz", "ready", "Whether clients should be sent here")
            .query("verbose", words(&[""]), "Tells all checks, not only those that fail.")
            .answers(200, "They should.", &ready)
            .answers(503, "They should not, for these reasons.", &not_ready);
        self.add(operation);
        let metrics = Content::Text("quorate_up 1\n".to_owned());
        let operation = get("/metrics", "metrics", "All metrics, as Prometheus reads them");
        self.add(operation.answers(200, "Metrics.", &metrics));
        let status = self.json::<StatusAnswer>();
        let operation = get("/quorate/v1/status", "getStatus", "What this replica says of itself");
        self.add(operation.answers(200, "Its view of itself and its peers.", &status));
    }

    fn replica(&mut self) {
        let digest = self.json::<Digest>();
        let operation =
            get("/quorate/v1/digest", "getDigest", REPLICA, "A fingerprint of the state")
                .of_this_replica()
                .answers(200, "Equal on all replicas at one index.", &digest);
        self.add(operation);
        let log = self.json::<LogAnswer>();
        let index_like = |example: u64| {
            let mut schema = index();
            schema["examples"] = json!([example]);
            schema
        };
        let operation = get("/quorate/v1/log", "getLog", REPLICA, "Raw entries of the log")
            .of_this_replica()
            .must_query("from", index_like(1), "First index.")
            .must_query("to", index_like(9), "Index behind the last one; 1000 entries at most.")
            .answers(200, "The entries that are still there.", &log);
        self.add(operation);
        let snapshot = self.json::<SnapshotAnswer>();
        let operation = post("/quorate/v1/snapshot", "takeSnapshot", REPLICA, "Take a snapshot")
            .answers(200, "It is durable.", &snapshot);
        self.add_failing(operation, 500, "`internal`: the disk could not do it.");
    }

    fn feeds(&mut self) {
        let number = |maximum: u64| json!({ "type": "integer", "minimum": 0, "maximum": maximum });
        let families = json!({
            "type": "string",
            "pattern": "^(undermoon|kvrocks|cello|admin)(,(undermoon|kvrocks|cello|admin))*$",
        });
        let page = match self.json::<Page>() {
            Content::Json(schema) => Content::JsonOrStream(schema),
            content => content,
        };
        let operation = get("/quorate/v1/events", "readEvents", CLUSTER, "The change feed")
            .of_this_replica()
            .says(
                "With `wait` one page, as soon as there is something for it; without it a stream \
                 of server-sent events that goes on. A revision is a log index, on all replicas \
                 the same.",
            )
            .query("from", index(), "First revision; 0 for the oldest that is kept.")
            .query("wait", number(60), "Seconds to wait for a page.")
            .query("limit", number(1_000), "Most events of a page.")
            .query("family", families, "Families, with commas between them.")
            .query("kind", text(), "Kinds, with commas between them.")
            .query("object", text(), "How the object begins.")
            .header("Last-Event-ID", index(), "The revision behind which to go on.")
            .answers(200, "Events.", &page);
        let compacted = "`compacted`: not kept any more; `oldest` says what is.";
        self.add_failing(operation, 410, compacted);
        let family = words(&["undermoon", "kvrocks", "cello", "admin"]);
        let lines = Content::Lines(self.book.answer::<RecordLine<'static>>());
        let operation = get("/quorate/v1/audit", "readAudit", ACCESS, "Who changed what")
            .says("A JSON object a line. `Quorate-Audit-Next` says where to go on.")
            .query("from", index(), "First revision.")
            .query("to", index(), "Revision behind the last one.")
            .query("since_ms", index(), "Earliest time, milliseconds since 1970.")
            .query("until_ms", index(), "Time behind the latest one.")
            .query("family", family, "One family.")
            .query("actor", text(), "One actor.")
            .query("limit", number(10_000), "Most lines.")
            .answers(200, "The lines, oldest first.", &lines);
        self.add(operation);
    }

    fn members(&mut self) {
        let path = "/quorate/v1/members";
        let members = self.json::<Members>();
        let operation = get(path, "listMembers", CLUSTER, "The members, as the leader sees them")
            .of_this_replica()
            .answers(200, "`leader` is null if this is the replica's own view.", &members);
        self.add(operation);
        let changed = self.json::<Changed>();
        let body = Content::Json(self.book.body::<NewMember>());
        let operation = post(path, "addMember", CLUSTER, "Register a new replica")
            .takes(&body)
            .example(&json!({ "peer_addr": "127.0.0.1:7800" }))
            .answers(200, "It may start with `--join`.", &changed);
        self.add(operation);
        let path = "/quorate/v1/members/{replica}";
        let operation = Operation::new("DELETE", path, "removeMember", CLUSTER, "Remove for ever")
            .answers(200, "Removed.", &changed);
        self.add_failing(operation, 404, NO_MEMBER);
        let body = Content::Json(self.book.body::<Move>());
        let operation = Operation::new("PATCH", path, "moveMember", CLUSTER, "Say where it is")
            .takes(&body)
            .example(&json!({ "client_url": "http://127.0.0.1:7799" }))
            .answers(200, "Noted.", &changed);
        self.add_failing(operation, 404, NO_MEMBER);
        for (what, id, summary) in [
            ("promote", "promoteMember", "Give a learner that has caught up its vote"),
            ("heal", "healMember", "Have a replica in quarantine take the leader's state over"),
        ] {
            let path = format!("{path}/{what}");
            let operation = post(&path, id, CLUSTER, summary).answers(200, "Done.", &changed);
            self.add_failing(operation, 404, NO_MEMBER);
        }
        let body = Content::Json(self.book.body::<Replacement>());
        let path = format!("{path}/replace");
        let operation = post(&path, "replaceMember", CLUSTER, "Put another replica in its place")
            .says("Either `by`, a member, or `peer_addr` and perhaps `id` and `client_url`.")
            .takes(&body)
            .example(&json!({ "peer_addr": "127.0.0.1:7800" }))
            .answers(200, "The successor gets the vote in the same step.", &changed);
        self.add_failing(operation, 404, NO_MEMBER);
    }

    fn cluster(&mut self) {
        let path = "/quorate/v1/undermoon/settings";
        let settings = self.json::<SettingsAnswer>();
        let operation =
            get(path, "getUndermoonSettings", CLUSTER, "Settings of undermoon's family").answers(
                200,
                "The settings.",
                &settings,
            );
        self.add(operation);
        let body = Content::Json(self.book.body::<SettingsBody>());
        let operation =
            Operation::new("PUT", path, "changeUndermoonSettings", CLUSTER, "Change some of them")
                .may_take(&body)
                .example(&json!({ "failure_ttl": 60 }))
                .answers(200, "All settings.", &settings);
        self.add(operation);
        let leaders = self.json::<LeadersAnswer>();
        let operation = get("/quorate/v1/leaders", "listLeaders", CLUSTER, "Who led lately")
            .of_this_replica()
            .answers(200, "What this replica saw since it started.", &leaders);
        self.add(operation);
        let leader = self.json::<LeaderAnswer>();
        let body = Content::Json(self.book.body::<TransferBody>());
        let path = "/quorate/v1/leader/transfer";
        let operation = post(path, "transferLeadership", CLUSTER, "Hand leadership over")
            .says("Any replica has the leader do it.")
            .may_take(&body)
            .answers(200, "Who leads now.", &leader);
        self.add(operation);
        let path = "/quorate/v1/feature-level";
        let levels = self.json::<Levels>();
        let operation = get(path, "getFeatureLevel", CLUSTER, "Which meanings the log uses")
            .of_this_replica()
            .answers(200, "The level in use, and what every member knows.", &levels);
        self.add(operation);
        let raised = self.json::<Raised>();
        let body = Content::Json(self.book.body::<Wish>());
        let operation = post(path, "raiseFeatureLevel", CLUSTER, "Let more of them in, for ever")
            .may_take(&body)
            .answers(200, "The level in use.", &raised);
        self.add(operation);
    }

    fn access(&mut self) {
        let path = "/quorate/v1/tokens";
        let tokens = self.json::<TokensAnswer<'static>>();
        let operation = get(path, "listTokens", ACCESS, "Tokens, without their secrets").answers(
            200,
            "The tokens.",
            &tokens,
        );
        self.add(operation);
        let made = self.json::<NewToken>();
        let body = Content::Json(self.book.body::<TokenBody>());
        let operation = post(path, "createToken", ACCESS, "Make a token")
            .takes(&body)
            .example(&json!({ "name": "example", "role": "read", "family": "kvrocks" }))
            .answers(201, "The token, shown this once.", &made);
        self.add(operation);
        let revoked = self.json::<Revoked>();
        let path = "/quorate/v1/tokens/{token}";
        let operation = Operation::new("DELETE", path, "revokeToken", ACCESS, "End a token")
            .answers(200, "Ended.", &revoked);
        self.add_failing(operation, 404, "`not_found`: there is no such token.");
        let report = self.json::<SecretsReport>();
        let path = "/quorate/v1/secrets";
        let operation = get(path, "getSecretsReport", ACCESS, "How secrets are kept").answers(
            200,
            "Names of keys and numbers of secrets.",
            &report,
        );
        self.add(operation);
        let round = self.json::<RoundAnswer>();
        let path = "/quorate/v1/secrets/rotate";
        let operation = post(path, "rotateSecrets", ACCESS, "Seal secrets with the first key")
            .says("To be repeated while something is left.")
            .answers(200, "What this round came to.", &round);
        self.add(operation);
    }

    fn backups(&mut self) {
        let history = "Also every revision since the oldest snapshot; true if absent.";
        let archive = Content::Bytes("application/octet-stream");
        let path = "/quorate/v1/backup";
        let operation = get(path, "streamBackup", BACKUPS, "A backup, as it comes")
            .query("history", truth(), history)
            .answers(200, "The archive.", &archive);
        self.add_failing(operation, 500, DISK);
        let path = "/quorate/v1/backups";
        let list = self.json::<BackupsAnswer>();
        let operation = get(path, "listBackups", BACKUPS, "What this replica keeps")
            .of_this_replica()
            .answers(200, "Newest first.", &list);
        let operation = self.without_place(operation);
        self.add_failing(operation, 500, DISK);
        let made = self.json::<BackupMade>();
        let operation = post(path, "createBackup", BACKUPS, "Keep a backup here")
            .query("history", truth(), history)
            .answers(201, "Its name and size, and what it says of itself.", &made);
        let operation = self.without_place(operation);
        self.add_failing(operation, 500, DISK);
        let path = "/quorate/v1/backups/{name}";
        let operation = get(path, "fetchBackup", BACKUPS, "One of those that are kept here")
            .of_this_replica()
            .answers(200, "The archive.", &archive);
        let operation = self.without_place(operation);
        let error = self.json::<ErrorAnswer<'static>>();
        let operation = operation.answers(404, "`not_found`: there is none of that name.", &error);
        self.add_failing(operation, 500, DISK);
    }

    fn without_place(&mut self, operation: Operation) -> Operation {
        let error = self.json::<ErrorAnswer<'static>>();
        let text = "`no_backup_dir`: this replica keeps none; `backup_under_way`: one at a time.";
        operation.answers(409, text, &error)
    }
}

/// Why a member is not changed.
const NO_MEMBER: &str = "`not_found`: there is no such member.";
/// Why a backup is not written or read.
const DISK: &str = "`internal`: the disk or the bucket could not do it.";

fn get(path: &str, id: &str, tag: &str, summary: &str) -> Operation {
    Operation::new("GET", path, id, tag, summary)
}

fn post(path: &str, id: &str, tag: &str, summary: &str) -> Operation {
    Operation::new("POST", path, id, tag, summary)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::openapi::agreement;

    /// Methods and paths of the `route` calls in a source; parameters have no names.
    fn routed(source: &str) -> BTreeSet<(String, String)> {
        let source = source.split("pub(super) fn router").nth(1).unwrap();
        let calls = source.split(".route(\"").skip(1);
        let calls = calls.map(|call| call.split_once("\", ").unwrap());
        let routes = calls.flat_map(|(path, rest)| {
            let handlers = rest.split('\n').next().unwrap();
            let methods = ["get", "post", "put", "patch", "delete"].into_iter();
            let methods = methods.filter(move |method| handlers.contains(&format!("{method}(")));
            methods.map(move |method| (method.to_ascii_uppercase(), agreement::bare(path)))
        });
        routes.collect()
    }

    #[test]
    fn every_route_is_documented_and_every_document_is_routed() {
        let routed = routed(include_str!("mod.rs"));
        let documented: BTreeSet<(String, String)> = agreement::operations(&document(), "")
            .into_iter()
            .map(|(method, path)| (method, agreement::bare(&path)))
            .collect();
        assert!(routed.len() > 25, "{routed:?}");
        assert_eq!(routed, documented);
    }
}
