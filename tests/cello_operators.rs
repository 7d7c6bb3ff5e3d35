//! What operators ask of the pool: every row of the specification's section 4.1, scenarios 23 and
//! 32 to 35 and 42 of its section 7.2, templates and settings, asked of a follower.

#![allow(clippy::unwrap_used)]

mod cello;
mod support;

use cello::{FORM, JSON, Site};
use quorate::api::cello::Doors;
use quorate::domain::cello::{
    Command, Reply,
    command::{Failure, HealthReport},
    model::Health,
};
use serde_json::{Value, json};

const POOL: &str = "/quorate/v1/pool";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_to_operators_is_kept_by_a_follower() {
    let site = Site::start().await;
    let host = hosts(&site).await;
    fill(&site, &host).await;
    clusters(&site, &host).await;
    stat(&site).await;
    clean_and_reset(&site, &host).await;
    removal(&site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_heals_itself_as_far_as_the_state_decides_it() {
    let site = Site::start().await;
    let host = add(&site, "compute2", "10.0.0.1:2375", 4, true).await;
    bad_probes(&site).await;
    failed_creations(&site, &host).await;
    ports_of_strangers(&site, &host).await;
}

/// Bodies that mean little.
const STRANGE: &[&str] = &[
    "",
    "{",
    "}",
    "{}",
    "[]",
    "null",
    "0",
    "\"",
    "{a",
    "{a:}",
    "{:}",
    "{a:b",
    "{'a':'b'}",
    "{\n}",
    "{\"action\":\"apply\"",
    "action",
    "action=",
    "=",
    "&&&",
    "?",
    "%",
    "%zz",
    "%00",
    "\u{0}",
    "+",
    "é",
    "\u{feff}{}",
    "{\"user_id\":1e999}",
    "{\"size\":1e400}",
    "{\"size\":99999999999999999999}",
    "{size:99999999999999999999}",
    "user_id=%ff%fe",
    "{\"a\":{\"b\":[{\"c\":{}}]}}",
    "--b\r\n",
    "--b--",
    "{\"user_id\":\"\\u0000\"}",
    "{\"cluster_id\":\"../..\"}",
    "{\"id\":[],\"action\":{}}",
];

/// Spec 7.1, 14: whatever arrives, the answer is an envelope, and never the server's fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_arrives_is_answered_with_an_envelope() {
    let site = Site::start().await;
    add(&site, "compute2", "10.0.0.1:2375", 2, true).await;
    site.settle_well().await;
    let deep = "[".repeat(20_000);
    let kinds = ["", JSON, FORM, "multipart/form-data; boundary=b", "multipart/form-data", "x"];
    let allowed = [200, 201, 400, 404, 405, 413, 503];
    for path in [
        "POST /v2/cluster_op",
        "POST /v2/cluster_apply",
        "POST /v2/cluster_release",
        "POST /v2/clusters",
        "POST /api/host",
        "PUT /api/host",
        "DELETE /api/host",
        "POST /api/host_op",
        "POST /api/cluster",
        "DELETE /api/cluster",
        "PUT /quorate/v1/pool/template",
        "DELETE /quorate/v1/pool/template",
        "PUT /quorate/v1/pool/settings",
    ] {
        for body in STRANGE.iter().copied().chain([&*deep]) {
            for kind in kinds {
                let (status, answer) = site.ask(path, kind, body).await;
                assert!(allowed.contains(&status), "{path} {kind} {body}: {answer}");
            }
        }
    }
    for query in
        ["action", "action=?", "action=apply?", "action=apply??user_id=", "%3F", "a=%", "?"]
    {
        for path in ["cluster_op", "clusters", "cluster_apply", "cluster_release", "cluster/%"] {
            let (status, answer) = site.ask(&format!("GET /v2/{path}?{query}"), "", "").await;
            assert!(allowed.contains(&status), "{path}?{query}: {answer}");
        }
    }
    // Some of it names a user, if a strange one; nothing of it names a host or a cluster.
    let clusters = site.given("GET /v2/clusters", "").await;
    assert_eq!(clusters.as_array().unwrap().len(), 2);
    assert_eq!(site.given("GET /api/hosts", "").await.as_array().unwrap().len(), 1);
}

/// A listener serves what its doors let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_operators_may_have_doors_of_their_own() {
    for (doors, for_users, for_operators) in [
        (Doors::All, true, true),
        (Doors::Users, true, false),
        (Doors::Operators, false, true),
        (Doors::None, false, false),
    ] {
        let site = Site::start_with(1, doors).await;
        for (path, is_served) in [
            ("/v2/clusters", for_users),
            ("/api/hosts", for_operators),
            ("/api/clusters", for_operators),
            ("/quorate/v1/pool/settings", for_operators),
        ] {
            let response = site.send(&format!("GET {path}"), "", "").await;
            assert_eq!(response.status() == 200, is_served, "{path} with {doors:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_and_settings_are_changed_by_command() {
    let site = Site::start().await;
    templates(&site).await;
    settings(&site).await;
}

async fn add(site: &Site, name: &str, url: &str, capacity: u32, is_autofill: bool) -> String {
    let body = json!({"name": name, "daemon_url": url, "capacity": capacity, "log_type": "local",
                      "schedulable": true, "autofill": is_autofill});
    text(&site.made("POST /api/host", &body).await, "id")
}

async fn hosts(site: &Site) -> String {
    let without = "host POST without enough data";
    let whole = json!({"name": "compute2", "daemon_url": "tcp://10.0.0.1:2375", "capacity": "6",
                       "log_type": "local"});
    for key in ["name", "daemon_url", "capacity", "log_type"] {
        let mut body = whole.clone();
        body.as_object_mut().unwrap().remove(key);
        site.refused("POST /api/host", &body.to_string(), 400, without).await;
    }
    site.refused("POST /api/host", "", 400, without).await;
    let failed = "Failed to create host compute2";
    for (key, value) in [
        ("daemon_url", json!("http://10.0.0.1:2375")),
        ("daemon_url", json!("10.0.0.1")),
        ("daemon_url", json!("tcp://::1:2375")),
        ("capacity", json!("many")),
        ("capacity", json!(-1)),
        ("capacity", json!(1001)),
        ("log_type", json!("file")),
        ("log_type", json!("syslog")),
        ("log_level", json!("LOUD")),
        ("service_ip", json!("http://x")),
    ] {
        let mut body = whole.clone();
        body[key] = value;
        site.refused("POST /api/host", &body.to_string(), 400, failed).await;
    }
    let (status, answer) = site.ask("POST /api/host", FORM,
        "name=compute2&worker_api=10.0.0.1:2375&capacity=6&log_type=syslog&log_server=10.0.0.9:514\
         &schedulable=on&autofill=off&log_level=INFO").await;
    assert_eq!(status, 201, "{answer}");
    let host = &answer["data"];
    for (member, expected) in [
        ("name", "compute2"),
        ("daemon_url", "tcp://10.0.0.1:2375"),
        ("log_type", "syslog"),
        ("log_server", "udp://10.0.0.9:514"),
        ("log_level", "INFO"),
        ("schedulable", "true"),
        ("autofill", "false"),
        ("status", "active"),
        ("type", "docker"),
    ] {
        assert_eq!(host[member], expected, "{member}");
    }
    assert_eq!((&host["capacity"], &host["clusters"]), (&json!(6), &json!([])));
    let id = text(host, "id");
    assert!(id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let same =
        json!({"name": "other", "daemon_url": "10.0.0.1:2375", "capacity": 1, "log_type": "local"});
    site.refused("POST /api/host", &same.to_string(), 400, "Failed to create host other").await;
    assert_eq!(site.given(&format!("GET /api/host/{id}"), "").await, *host);
    assert_eq!(site.given("GET /api/hosts", "").await, json!([host]));
    assert_eq!(site.given("GET /api/hosts?name=compute2&capacity=6", "").await, json!([host]));
    assert_eq!(site.given("GET /api/hosts?name=none", "").await, json!([]));
    assert_eq!(site.given("GET /api/hosts?none=1", "").await, json!([]));
    site.refused("GET /api/host/nope", "", 404, "host not found with id=nope").await;
    change_host(site, &id).await;
    id
}

async fn change_host(site: &Site, id: &str) {
    site.refused("PUT /api/host", "{}", 400, "host PUT without enough data").await;
    let failed = format!("Failed to update host {id}");
    for (key, value) in [
        ("capacity", json!("x")),
        ("log_level", json!("LOUD")),
        ("name", json!("")),
        ("daemon_url", json!("nothing")),
    ] {
        let body = json!({"id": id, key: value}).to_string();
        site.refused("PUT /api/host", &body, 400, &failed).await;
    }
    let unknown = r#"{"id":"nope","name":"x"}"#;
    site.refused("PUT /api/host", unknown, 400, "Failed to update host nope").await;
    // Members that are not the operator's to change are ignored.
    let body = json!({"id": id, "name": "compute3", "log_type": "local", "status": "inactive",
                      "clusters": ["x"], "daemon_url": "10.0.0.2:2375", "log_level": "DEBUG"});
    let changed = site.given("PUT /api/host", &body.to_string()).await;
    assert_eq!((&changed["status"], &changed["clusters"]), (&json!("active"), &json!([])));
    assert_eq!((&changed["name"], &changed["log_server"]), (&json!("compute3"), &json!("")));
    assert_eq!(changed["daemon_url"], "tcp://10.0.0.2:2375");
    let more = site.given(&format!("GET {POOL}/host/{id}"), "").await;
    assert_eq!((&more["service_ip"], &more["last_error"]), (&json!("10.0.0.2"), &json!("")));
}

/// Scenario 33, by hand.
async fn fill(site: &Site, host: &str) {
    let op = |action: &str| json!({"id": host, "action": action}).to_string();
    site.refused("POST /api/host_op", "{}", 400, "host POST without enough data").await;
    site.refused("POST /api/host_op", &op("fly"), 400, "unknown host action=fly").await;
    let unknown = r#"{"id":"nope","action":"fillup"}"#;
    site.refused("POST /api/host_op", unknown, 400, "Failed to fillup the host.").await;
    assert_eq!(site.given("POST /api/host_op", &op("fillup")).await, json!(""));
    let clusters = site.given("GET /v2/clusters", "").await;
    let clusters = clusters.as_array().unwrap();
    for (n, cluster) in clusters.iter().enumerate() {
        assert_eq!(cluster["name"], format!("compute3_{n}"));
        assert_eq!(cluster["mapped_ports"]["rest"], 7050 + 100 * n);
        assert_eq!((&cluster["status"], &cluster["health"]), (&json!("creating"), &json!("")));
    }
    let kinds: Vec<_> = clusters
        .iter()
        .map(|c| (text(c, "consensus_plugin"), c["size"].as_u64().unwrap()))
        .collect();
    let expected =
        [("noops", 4), ("noops", 6), ("pbft", 4), ("pbft", 6), ("noops", 4), ("noops", 6)];
    let expected: Vec<_> = expected.map(|(plugin, size)| (plugin.to_owned(), size)).into();
    assert_eq!(kinds, expected, "balanced");
    assert_eq!(site.given("POST /api/host_op", &op("fillup")).await, json!(""), "full already");
    let tasks = site.given(&format!("GET {POOL}/tasks"), "").await;
    assert_eq!(tasks.as_array().unwrap().len(), 6);
    assert_eq!((&tasks[0]["action"], &tasks[0]["host_id"]), (&json!("create"), &json!(host)));
    site.settle_well().await;
    for (key, value) in [("capacity", json!(5)), ("daemon_url", json!("10.0.0.3:2375"))] {
        let body = json!({"id": host, key: value}).to_string();
        let failed = format!("Failed to update host {host}");
        site.refused("PUT /api/host", &body, 400, &failed).await;
    }
    let failed = format!("Failed to delete host {host}");
    site.refused("DELETE /api/host", &json!({"id": host}).to_string(), 400, &failed).await;
    site.refused("POST /api/host_op", &op("reset"), 400, "Failed to reset the host.").await;
}

async fn clusters(site: &Site, host: &str) {
    let whole = json!({"name": "mine", "host_id": host, "consensus_plugin": "noops",
                       "consensus_mode": "", "size": 4});
    for key in ["name", "host_id", "consensus_plugin", "consensus_mode", "size"] {
        let mut body = whole.clone();
        body.as_object_mut().unwrap().remove(key);
        let without = "cluster post without enough data";
        site.refused("POST /api/cluster", &body.to_string(), 400, without).await;
    }
    for (key, value, error) in [
        ("consensus_plugin", json!("raft"), "Invalid request"),
        ("consensus_mode", json!("classic"), "Invalid request"),
        ("size", json!(5), "Invalid request"),
        ("size", json!("x"), "Invalid request"),
        ("name", json!({}), "Invalid request"),
        ("port_start", json!(-1), "Invalid request"),
        ("host_id", json!("nope"), "Failed to create cluster mine"),
        ("size", json!(6), "Failed to create cluster mine"),
    ] {
        let mut body = whole.clone();
        body[key] = value;
        site.refused("POST /api/cluster", &body.to_string(), 400, error).await;
    }
    let body = json!({"id": host, "capacity": 8});
    site.given("PUT /api/host", &body.to_string()).await;
    for (port, expected) in [(7060, None), (65_500, None), (9000, Some(9000))] {
        let mut body = whole.clone();
        body["port_start"] = json!(port);
        match expected {
            None => {
                let failed = "Failed to create cluster mine";
                site.refused("POST /api/cluster", &body.to_string(), 400, failed).await;
            }
            Some(port) => {
                let made = site.made("POST /api/cluster", &body).await;
                assert_eq!(
                    (&made["name"], &made["mapped_ports"]["rest"]),
                    (&json!("mine"), &json!(port))
                );
            }
        }
    }
    let made = site.made("POST /api/cluster", &whole).await;
    assert_eq!(made["mapped_ports"]["rest"], 7650, "the lowest that is free");
    let id = text(&made, "id");
    let delete = |id: &str, collection: &str| json!({"id": id, "col_name": collection}).to_string();
    let without = "cluster operation post without enough data";
    site.refused("DELETE /api/cluster", &json!({"id": id}).to_string(), 400, without).await;
    let failed = |id: &str| format!("Failed to delete cluster {id}");
    site.refused("DELETE /api/cluster", &delete("nope", "active"), 400, &failed("nope")).await;
    site.refused("DELETE /api/cluster", &delete(&id, "active"), 400, &failed(&id)).await;
    site.settle_well().await;
    site.given("DELETE /api/cluster", &delete(&id, "active")).await;
    site.settle_well().await;
    site.refused(
        &format!("GET /v2/cluster/{id}"),
        "",
        404,
        &format!("cluster not found with id={id}"),
    )
    .await;
    used_clusters(site, &delete, &failed).await;
}

async fn used_clusters(
    site: &Site,
    delete: &impl Fn(&str, &str) -> String,
    failed: &impl Fn(&str) -> String,
) {
    let used = text(&site.given("GET /v2/cluster_apply?user_id=u", "").await, "id");
    site.refused("DELETE /api/cluster", &delete(&used, "active"), 400, &failed(&used)).await;
    site.given(&format!("GET /v2/cluster_release?cluster_id={used}"), "").await;
    site.settle_well().await;
    let history = format!("GET /v2/clusters?state=released&id={used}");
    assert_eq!(site.given(&history, "").await.as_array().unwrap().len(), 1);
    for _ in 0..2 {
        let answer = site.given("DELETE /api/cluster", &delete(&used, "released")).await;
        assert_eq!(answer, json!(""), "what is gone is gone");
        assert_eq!(site.given(&history, "").await, json!([]));
    }
}

async fn stat(site: &Site) {
    site.given("GET /v2/cluster_apply?user_id=u", "").await;
    let bare = async |path: &str| -> Value {
        let response = site.send(&format!("GET {path}"), "", "").await;
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    };
    let expected = json!({"status": [{"name": "active", "y": 1}, {"name": "inactive", "y": 0}],
                          "type": [{"name": "docker", "y": 1}]});
    assert_eq!(bare("/api/stat?res=host").await, expected);
    let expected = json!({"status": [{"name": "free", "y": 6}, {"name": "used", "y": 1}],
                          "type": [{"name": "noops", "y": 5}, {"name": "pbft/batch", "y": 2}]});
    assert_eq!(bare("/api/stat?res=cluster").await, expected);
    assert_eq!(bare(&format!("{POOL}/stat?res=cluster")).await, expected);
    for path in ["/api/stat", "/api/stat?res=x"] {
        assert_eq!(bare(path).await, json!({"example": "/api/stat?res=host"}));
    }
    let health = bare("/api/health").await;
    assert_eq!((&health["health"], health["version"].is_string()), (&json!("OK"), true));
    for path in ["host_op", "cluster", "host"] {
        site.refused(&format!("GET /api/{path}"), "", 405, "method not allowed").await;
    }
    site.refused(&format!("GET {POOL}/nothing"), "", 404, "not found").await;
}

/// Scenario 34.
async fn clean_and_reset(site: &Site, host: &str) {
    let op = |action: &str| json!({"id": host, "action": action}).to_string();
    site.given("PUT /api/host", &json!({"id": host, "autofill": "true"}).to_string()).await;
    site.given("POST /api/host_op", &op("clean")).await;
    let found = site.given(&format!("GET /api/host/{host}"), "").await;
    assert_eq!((&found["autofill"], &found["schedulable"]), (&json!("false"), &json!("true")));
    site.settle_well().await;
    let left = site.given("GET /v2/clusters", "").await;
    assert_eq!(left.as_array().unwrap().len(), 1);
    assert_eq!(left[0]["user_id"], "u");
    let used = text(&left[0], "id");
    let forced = json!({"id": used, "col_name": "active", "force": "true"}).to_string();
    site.given("DELETE /api/cluster", &forced).await;
    site.settle_well().await;
    for is_good in [true, false] {
        let (reset, fill) = (op("reset"), op("fillup"));
        let act = async {
            site.wait("a reset", || !site.effects().is_empty()).await;
            site.refused("POST /api/host_op", &fill, 400, "Failed to fillup the host.").await;
            let op = site.effects()[0].task.op;
            let host_id = host.to_owned();
            let reason = "permission denied".to_owned();
            site.propose(if is_good {
                Command::HostTaskDone { host_id, op }
            } else {
                Command::HostTaskFailed { host_id, op, reason }
            })
            .await;
        };
        let ((status, answer), ()) = tokio::join!(site.ask("POST /api/host_op", JSON, &reset), act);
        let reason = &answer["data"]["reason"];
        assert_eq!(
            (status, reason == "permission denied"),
            if is_good { (200, false) } else { (400, true) }
        );
    }
}

async fn removal(site: &Site) {
    site.refused("DELETE /api/host", "{}", 400, "host delete without enough data").await;
    let unknown = r#"{"id":"nope"}"#;
    site.refused("DELETE /api/host", unknown, 400, "Failed to delete host nope").await;
    // A dead host is forgotten with everything on it; what users had goes to the history.
    let dead = add(site, "dead", "10.0.0.9:2375", 2, true).await;
    site.settle_well().await;
    let used = site.given("GET /v2/cluster_apply?user_id=v", "").await;
    assert_eq!(used["host_id"], dead);
    let body = json!({"id": dead}).to_string();
    site.refused("DELETE /api/host", &body, 400, &format!("Failed to delete host {dead}")).await;
    site.given("DELETE /api/host", &json!({"id": dead, "force": "true"}).to_string()).await;
    assert_eq!(site.given("GET /v2/clusters", "").await, json!([]));
    let history = site.given("GET /v2/clusters?state=released&user_id=v", "").await;
    assert_eq!(history[0]["id"], used["id"]);
    // Its containers are not forgotten: somebody has still to remove them.
    let tasks = site.given(&format!("GET {POOL}/tasks"), "").await;
    assert_eq!(
        (&tasks[0]["action"], &tasks[0]["host_id"]),
        (&json!("clean up host"), &json!(dead))
    );
    site.settle().await;
    assert_eq!(site.given(&format!("GET {POOL}/tasks"), "").await, json!([]));
    // The address is free again.
    add(site, "again", "10.0.0.9:2375", 0, false).await;
}

/// Scenario 35.
async fn bad_probes(site: &Site) {
    site.settle_well().await;
    let used = site.given("GET /v2/cluster_apply?user_id=u", "").await;
    site.probe(Health::Fail).await;
    let clusters = site.given("GET /v2/clusters", "").await;
    let effects = site.effects();
    assert!(effects.is_empty(), "one bad probe is not enough");
    let free = text(&clusters[1], "id");
    for cluster in clusters.as_array().unwrap() {
        assert_eq!((&cluster["health"], &cluster["status"]), (&json!("FAIL"), &json!("running")));
    }
    let shown = site.given(&format!("GET {POOL}/cluster/{free}"), "").await;
    assert_eq!(shown["last_error"], "one container is missing");
    let op = shown_op(site, &free).await;
    let reset = |cluster_id: &str, seen_op: u64| Command::ResetCluster {
        cluster_id: cluster_id.to_owned(),
        seen_op,
        reason: "one container is missing".to_owned(),
    };
    // Stale, used: nothing happens. Free: a new one under a new id takes its place.
    assert_eq!(site.propose(reset(&free, op - 1)).await, Reply::Unchanged);
    let used = text(&used, "id");
    let used_op = shown_op(site, &used).await;
    assert_eq!(site.propose(reset(&used, used_op)).await, Reply::Unchanged);
    assert_eq!(site.propose(reset(&free, op)).await, Reply::Done);
    let resetting = site.given(&format!("GET /v2/cluster/{free}"), "").await;
    assert_eq!(resetting["user_id"], "__SYSTEM__RESETTING");
    site.settle_well().await;
    let new = site.given("GET /v2/clusters?name=compute2_1", "").await;
    assert_ne!(new[0]["id"], free);
    assert_eq!(new[0]["health"], "OK");
    // A probe that began before the cluster changed says nothing.
    let report = HealthReport {
        cluster_id: text(&new[0], "id"),
        seen_op: op,
        health: Health::Fail,
        reason: String::new(),
    };
    assert_eq!(
        site.propose(Command::ReportHealth { reports: vec![report] }).await,
        Reply::Unchanged
    );
}

async fn shown_op(site: &Site, id: &str) -> u64 {
    site.cluster(id).op
}

/// Scenario 23: given up after three attempts that count; unreachable hosts do not count.
async fn failed_creations(site: &Site, host: &str) {
    let before = site.given("GET /v2/clusters", "").await.as_array().unwrap().len();
    site.given("GET /v2/cluster_release?user_id=u", "").await;
    site.settle_one().await;
    for _ in 0..5 {
        site.fail(Failure::Unreachable).await;
    }
    for attempt in 1..=3 {
        assert_eq!(site.effects().len(), 1, "{attempt}");
        site.fail(Failure::ImageMissing).await;
    }
    let shown = site.given(&format!("GET {POOL}/host/{host}"), "").await;
    assert_eq!(shown["last_error"], "no space left on device");
    let refused = Command::FillHost { host_id: host.to_owned(), is_automatic: true };
    site.settle().await;
    let clusters = site.given("GET /v2/clusters", "").await;
    assert_eq!(clusters.as_array().unwrap().len(), before - 1, "the place is free");
    // Not at once: what failed three times fails a fourth time.
    assert!(site.try_propose(refused).await.is_err());
    let op = json!({"id": host, "action": "fillup"}).to_string();
    site.given("POST /api/host_op", &op).await;
    site.settle_well().await;
    let clusters = site.given("GET /v2/clusters", "").await;
    assert_eq!(clusters.as_array().unwrap().len(), before);
    let shown = site.given(&format!("GET {POOL}/host/{host}"), "").await;
    assert_eq!(shown["last_error"], "");
}

/// Scenario 42.
async fn ports_of_strangers(site: &Site, host: &str) {
    let got = site.given("GET /v2/cluster_apply?user_id=u", "").await;
    let port = got["mapped_ports"]["rest"].as_u64().unwrap();
    site.given("GET /v2/cluster_release?user_id=u", "").await;
    site.settle_one().await;
    site.fail(Failure::PortInUse).await;
    site.settle_well().await;
    let clusters = site.given("GET /v2/clusters", "").await;
    let clusters = clusters.as_array().unwrap();
    let ports: Vec<u64> =
        clusters.iter().map(|cluster| cluster["mapped_ports"]["rest"].as_u64().unwrap()).collect();
    assert!(!ports.contains(&port) && ports.contains(&7450), "{ports:?}");
    assert!(clusters.iter().any(|cluster| cluster["name"] == "compute2_4"));
    let shown = site.given(&format!("GET {POOL}/host/{host}"), "").await;
    assert_eq!(shown["blocked_ports"][port.to_string()]["count"], 100);
}

async fn templates(site: &Site) {
    let path = format!("GET {POOL}/templates");
    let templates = site.given(&path, "").await;
    assert_eq!(templates.as_array().unwrap().len(), 4);
    let whole = json!({"consensus_plugin": "solo", "size": 1, "image": "pool-test:1",
        "command": ["serve", "${node}"], "probe": "tcp", "labels": {"a": "${cluster}"},
        "services": [{"name": "rest", "offset": 0, "container_port": 80, "is_published": true}]});
    let put = format!("PUT {POOL}/template");
    assert_eq!(site.given(&put, &whole.to_string()).await, json!(""));
    let templates = site.given(&path, "").await;
    let added = &templates[4];
    assert_eq!(
        (&added["image"], &added["restart_policy"]),
        (&json!("pool-test:1"), &json!("unless-stopped"))
    );
    for (key, value) in [
        ("size", json!(0)),
        ("size", json!(65)),
        ("image", json!("")),
        ("consensus_plugin", json!("a b")),
        ("node_prefix", json!("")),
        ("restart_policy", json!("maybe")),
        ("command", json!(["${nothing}"])),
        ("network", json!("${network}")),
        ("environment", json!([{"name": "a=b", "value": ""}])),
        ("services", json!([{"name": "rest", "offset": 100, "container_port": 80}])),
        ("services", json!([{"name": "rest", "offset": 0, "container_port": 0}])),
        (
            "services",
            json!([{"name": "a", "offset": 0, "container_port": 1},
                            {"name": "b", "offset": 0, "container_port": 1}]),
        ),
        ("unknown", json!(1)),
    ] {
        let mut body = whole.clone();
        body[key] = value;
        let (status, answer) = site.ask(&put, JSON, &body.to_string()).await;
        assert_eq!(status, 400, "{body}");
        assert!(text(&answer, "error").starts_with("invalid template: "), "{answer}");
        assert_eq!(site.given(&path, "").await, templates, "{body}");
    }
    // The pool hands out whatever a template describes.
    let host = add(site, "c", "10.0.0.1:2375", 1, false).await;
    let body = json!({"name": "x", "host_id": host, "consensus_plugin": "solo",
                      "consensus_mode": "", "size": 1});
    site.made("POST /api/cluster", &body).await;
    site.settle_well().await;
    let got = site.given("GET /v2/cluster_apply?user_id=u&consensus_plugin=solo&size=1", "").await;
    assert_eq!(got["mapped_ports"], json!({"rest": 7050}));
    assert_eq!(got["containers"].as_object().unwrap().len(), 1);
    let delete = format!("DELETE {POOL}/template");
    let kind = r#"{"consensus_plugin":"solo","size":1}"#;
    site.refused(&delete, "{}", 400, "template delete without enough data").await;
    site.given(&delete, kind).await;
    site.refused(&delete, kind, 404, "no template describes such a cluster").await;
    let solo = "GET /v2/cluster_op?action=apply&user_id=u&consensus_plugin=solo";
    site.refused(solo, "", 400, "Invalid consensus_plugin").await;
    // What exists keeps its template, and so does its replacement.
    site.given("GET /v2/cluster_release?user_id=u", "").await;
    site.settle_well().await;
    let found = site.given("GET /v2/clusters?consensus_plugin=solo&user_id=", "").await;
    assert_eq!(found.as_array().unwrap().len(), 1);
}

async fn settings(site: &Site) {
    let path = format!("{POOL}/settings");
    let settings = site.given(&format!("GET {path}"), "").await;
    assert_eq!((&settings["port_start"], &settings["history_max"]), (&json!(7050), &json!(10_000)));
    let put = format!("PUT {path}");
    for body in [
        r#"{"port_start":0}"#,
        r#"{"port_step":5}"#,
        r#"{"history_max":1000001}"#,
        r#"{"ping_interval_ms":"x"}"#,
        r#"{"nothing":1}"#,
        "[1]",
        "",
    ] {
        let (status, answer) = site.ask(&put, JSON, body).await;
        assert_eq!(status, 400, "{body}");
        assert!(text(&answer, "error").starts_with("invalid setting: "), "{answer}");
    }
    assert_eq!(site.given(&format!("GET {path}"), "").await, settings);
    let changed = site.given(&put, r#"{"port_start":8000,"history_max":1}"#).await;
    assert_eq!((&changed["port_start"], &changed["history_max"]), (&json!(8000), &json!(1)));
    let host = add(site, "d", "10.0.0.2:2375", 2, true).await;
    let clusters = site.given(&format!("GET /v2/clusters?host_id={host}"), "").await;
    assert_eq!(clusters[1]["mapped_ports"]["rest"], 8100);
    assert_eq!(clusters[1]["name"], "d_1");
    site.settle_well().await;
    for user in ["a", "b"] {
        site.given(&format!("GET /v2/cluster_apply?user_id={user}"), "").await;
        site.given(&format!("GET /v2/cluster_release?user_id={user}"), "").await;
    }
    let history = site.given("GET /v2/clusters?state=released", "").await;
    assert_eq!(history.as_array().unwrap().len(), 1);
    assert_eq!(history[0]["user_id"], "b");
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap().to_owned()
}
