//! Every example of the document "API V2", and every row of the specification's sections 2.4 to
//! 2.8 and 7.2 that users meet, asked of a follower.

#![allow(clippy::unwrap_used)]

mod cello;
mod support;

use cello::{FORM, JSON, Site};
use quorate::domain::cello::{
    Command,
    command::Failure,
    model::{Health, TaskKind},
};
use serde_json::{Value, json};

const MEMBERS: [&str; 18] = [
    "api_url",
    "apply_ts",
    "consensus_mode",
    "consensus_plugin",
    "containers",
    "create_ts",
    "daemon_url",
    "duration",
    "health",
    "host_id",
    "id",
    "mapped_ports",
    "name",
    "release_ts",
    "service_url",
    "size",
    "status",
    "user_id",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_of_the_document_is_kept_by_a_follower() {
    let site = Site::start().await;
    let host = fixture(&site).await;
    apply(&site, &host).await;
    apply_refusals(&site).await;
    encodings(&site).await;
    lists(&site).await;
    release(&site).await;
    power(&site, &host).await;
    methods(&site).await;
    request_ids(&site).await;
    used_up(&site, &host).await;
}

/// Fixture F of section 7.2: six clusters pbft/batch/4 on `compute2`, free and healthy.
async fn fixture(site: &Site) -> String {
    for (plugin, mode, size) in [("noops", "", 4), ("noops", "", 6), ("pbft", "batch", 6)] {
        let path = "GET /quorate/v1/pool/templates";
        let templates = site.given(path, "").await;
        let mut templates = templates.as_array().unwrap().iter().cloned();
        let mut template = templates
            .find(|template| {
                template["consensus_plugin"] == plugin
                    && template["consensus_mode"] == mode
                    && template["size"] == size
            })
            .unwrap();
        template["is_filled"] = json!(false);
        site.given("PUT /quorate/v1/pool/template", &template.to_string()).await;
    }
    let host = site
        .made(
            "POST /api/host",
            &json!({"name": "compute2", "daemon_url": "192.168.7.62:2375", "capacity": 6,
                    "log_type": "local", "schedulable": "on", "autofill": "on"}),
        )
        .await;
    assert_eq!(host["daemon_url"], "tcp://192.168.7.62:2375");
    let clusters = site.given("GET /v2/clusters", "").await;
    assert_eq!(
        column(&clusters, "name"),
        (0..6).map(|n| json!(format!("compute2_{n}"))).collect::<Vec<_>>()
    );
    for cluster in clusters.as_array().unwrap() {
        assert_eq!(cluster["user_id"], "__SYSTEM__CREATING");
        assert_eq!((&cluster["api_url"], &cluster["service_url"]), (&json!(""), &json!({})));
    }
    site.refused("GET /v2/cluster_op?action=apply&user_id=u", "", 400, "No available res for u")
        .await;
    site.settle().await;
    // Made, but nobody has looked yet.
    site.refused("GET /v2/cluster_op?action=apply&user_id=u", "", 400, "No available res for u")
        .await;
    site.probe(Health::Ok).await;
    host["id"].as_str().unwrap().to_owned()
}

async fn apply(site: &Site, host: &str) {
    let first = site.given("GET /v2/cluster_op?action=apply?user_id=xxxx", "").await;
    let members: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert_eq!(members, MEMBERS);
    let id = first["id"].as_str().unwrap();
    assert!(id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    for (member, expected) in [
        ("api_url", json!("http://192.168.7.62:7050")),
        ("consensus_mode", json!("batch")),
        ("consensus_plugin", json!("pbft")),
        ("daemon_url", json!("tcp://192.168.7.62:2375")),
        ("duration", json!("")),
        ("health", json!("OK")),
        ("host_id", json!(host)),
        ("name", json!("compute2_0")),
        ("release_ts", json!("")),
        ("size", json!(4)),
        ("status", json!("running")),
        ("user_id", json!("xxxx")),
        (
            "mapped_ports",
            json!({"rest": 7050, "grpc": 7051, "cli": 7052, "event": 7053, "ecap": 7054,
                   "ecaa": 7055, "tcap": 7056, "tcaa": 7057, "tlscap": 7058, "tlscaa": 7059}),
        ),
    ] {
        assert_eq!(first[member], expected, "{member}");
    }
    assert_eq!(first["service_url"]["grpc"], "192.168.7.62:7051");
    assert_eq!(first["service_url"].as_object().unwrap().len(), 10);
    assert_eq!(first["containers"].as_object().unwrap().len(), 4);
    assert!(first["containers"][format!("{id}_vp0")].is_string());
    assert!(first["apply_ts"].as_str().unwrap().ends_with(" GMT"));
    // Scenarios 2, 5 and 6: the same cluster, untouched.
    let body = "{\naction:apply,\nuser_id:xxxx,\nconsensus_plugin:pbft,\nconsensus_mode:batch,\n\
                size:4,\nallow_multiple:False\n}";
    let same = [
        "GET /v2/cluster_op?action=apply&user_id=xxxx&allow_multiple=False",
        "GET /v2/cluster_apply?user_id=xxxx",
        "POST /v2/cluster_apply?user_id=xxxx",
        "GET /api/cluster_op?action=apply&user_id=xxxx",
    ];
    for request in same {
        assert_eq!(site.given(request, "").await, first, "{request}");
    }
    assert_eq!(site.given("POST /v2/cluster_op", body).await, first);
    assert_eq!(site.given(&format!("GET /v2/cluster/{id}"), "").await, first);
    // Scenario 3.
    let second = body.replace("False", "True");
    let second = site.given("POST /v2/cluster_op", &second).await;
    assert_eq!((&second["name"], &second["user_id"]), (&json!("compute2_1"), &json!("xxxx")));
    assert_ne!(second["id"], first["id"]);
}

async fn apply_refusals(site: &Site) {
    let (user, plugin) = ("cluster_apply without user_id", "Invalid consensus_plugin");
    let (mode, size) = ("Invalid consensus_mode", "Invalid cluster_size");
    let invalid_user = "Invalid user_id";
    let long = format!(r#"{{"action":"apply","user_id":"{}"}}"#, "u".repeat(129));
    let long_id =
        format!(r#"{{"action":"apply","user_id":"u","request_id":"{}"}}"#, "r".repeat(65));
    for (body, error) in [
        (r#"{"action":"apply"}"#, user),
        (r#"{"action":"apply","user_id":""}"#, user),
        (r#"{"action":"apply","user_id":null}"#, user),
        (r#"{"action":"apply","user_id":{"$ne":""}}"#, invalid_user),
        (r#"{"action":"apply","user_id":["u"]}"#, invalid_user),
        (r#"{"action":"apply","user_id":true}"#, invalid_user),
        (r#"{"action":"apply","user_id":"__SYSTEM__CREATING"}"#, invalid_user),
        // Read as the nearest number that fits, two such users would be one.
        (r#"{"action":"apply","user_id":123456789012345678901234}"#, invalid_user),
        (r#"{"action":"apply","user_id":1.5}"#, invalid_user),
        (&*long, invalid_user),
        (r#"{"action":"apply","user_id":"u","consensus_plugin":"raft"}"#, plugin),
        (r#"{"action":"apply","user_id":"u","consensus_plugin":{"$ne":""}}"#, plugin),
        (r#"{"action":"apply","user_id":"u","consensus_mode":"classic"}"#, mode),
        (r#"{"action":"apply","user_id":"u","consensus_mode":["batch"]}"#, mode),
        (r#"{"action":"apply","user_id":"u","size":5}"#, size),
        (r#"{"action":"apply","user_id":"u","size":"abc"}"#, size),
        (r#"{"action":"apply","user_id":"u","size":0}"#, size),
        (r#"{"action":"apply","user_id":"u","size":-4}"#, size),
        (r#"{"action":"apply","user_id":"u","size":4.9}"#, size),
        (r#"{"action":"apply","user_id":"u","size":[4]}"#, size),
        (r#"{"action":"apply","user_id":"u","size":true}"#, size),
        (r#"{"action":"apply","user_id":"u","allow_multiple":"maybe"}"#, "Invalid allow_multiple"),
        (r#"{"action":"apply","user_id":"u","allow_multiple":{}}"#, "Invalid allow_multiple"),
        // Judged in the order user, plugin, mode, size, and only then the rest.
        (r#"{"action":"apply","user_id":[],"consensus_plugin":"raft","size":0}"#, invalid_user),
        (
            r#"{"action":"apply","user_id":"u","consensus_plugin":"raft","consensus_mode":"x"}"#,
            plugin,
        ),
        (r#"{"action":"apply","user_id":"u","consensus_mode":"x","size":0}"#, mode),
        (r#"{"action":"apply","user_id":"u","size":0,"allow_multiple":"maybe"}"#, size),
        (r#"{"action":"apply","user_id":"u","request_id":""}"#, "Invalid request_id"),
        (r#"{"action":"apply","user_id":"u","request_id":{}}"#, "Invalid request_id"),
        (&*long_id, "Invalid request_id"),
        // One cluster of that kind would do, but there is none.
        (r#"{"action":"apply","user_id":"u","size":6}"#, "No available res for u"),
        (
            r#"{"action":"apply","user_id":"u","consensus_plugin":"noops"}"#,
            "No available res for u",
        ),
    ] {
        site.refused("POST /v2/cluster_op", body, 400, error).await;
        let alias = body.replace(r#""action":"apply","#, "");
        if alias != body {
            site.refused("POST /v2/cluster_apply", &alias, 400, error).await;
        }
    }
    for (request, body) in [
        ("GET /v2/cluster_op", ""),
        ("GET /v2/cluster_op?action=fly&user_id=u", ""),
        ("GET /v2/cluster_op?action=&user_id=u", ""),
        ("POST /v2/cluster_op", "[1]"),
        ("POST /v2/cluster_op", "{"),
        ("POST /v2/cluster_op", r#"{"action":{"$ne":1}}"#),
        ("POST /v2/cluster_op?action=fly", r#"{"action":"apply","user_id":"u"}"#),
    ] {
        site.refused(request, body, 400, "Unknown action type").await;
    }
}

/// Whatever the encoding, the wish is the same: all of these find what the user has.
async fn encodings(site: &Site) {
    let form = "--b\r\nContent-Disposition: form-data; name=\"action\"\r\n\r\napply\r\n\
                --b\r\nContent-Disposition: form-data; name=\"user_id\"\r\n\r\nxxxx\r\n--b--\r\n";
    let json = r#"{"action":"apply","user_id":"xxxx","size":"4","allow_multiple":0}"#;
    let found = site.given("GET /v2/cluster_op?action=apply&user_id=xxxx", "").await;
    for (request, content_type, body) in [
        ("GET /v2/cluster_op?action=apply%3Fuser_id=xxxx", "", ""),
        ("GET /v2/cluster_op?size=4&action=apply?user_id=xxxx", "", ""),
        ("GET /v2/cluster_op?action=apply&user_id=xxxx&user_id=other", "", ""),
        ("GET /v2/cluster_op?action=apply&user_id=xxxx&size=&consensus_plugin=", "", ""),
        ("POST /v2/cluster_op", FORM, "action=apply&user_id=xxxx"),
        ("POST /v2/cluster_op", FORM, json),
        ("POST /v2/cluster_op", JSON, json),
        ("POST /v2/cluster_op", "text/plain", json),
        ("POST /v2/cluster_op", "", "{action:apply, user_id:xxxx, size:4, allow_multiple:no}"),
        ("POST /v2/cluster_op", FORM, "{'action':'apply','user_id':'xxxx'}"),
        ("POST /v2/cluster_op?user_id=xxxx", JSON, r#"{"action":"apply","user_id":"other"}"#),
        ("GET /v2/cluster_op?action=apply", JSON, r#"{"user_id":"xxxx"}"#),
        ("POST /v2/cluster_op", "multipart/form-data; boundary=b", form),
    ] {
        let (status, answer) = site.ask(request, content_type, body).await;
        assert_eq!((status, &answer["data"]), (200, &found), "{request} {body}");
    }
    // A number is a user like any other, in decimal.
    let body = r#"{"action":"apply","user_id":7}"#;
    let seven = site.given("POST /v2/cluster_op", body).await;
    assert_eq!(seven["user_id"], "7");
    let released = format!("GET /v2/cluster_op?action=release&cluster_id={}", text(&seven, "id"));
    assert_eq!(site.given(&released, "").await, json!(""));
    site.settle_well().await;
}

/// Scenarios 28 to 30. Two clusters are `xxxx`'s, four are free.
async fn lists(site: &Site) {
    for (request, body, count) in [
        ("GET /v2/clusters", "", 6),
        ("GET /v2/clusters?user_id=xxxx", "", 2),
        ("GET /v2/clusters?user_id=", "", 4),
        ("GET /v2/clusters?user_id=nobody", "", 0),
        ("GET /v2/clusters?size=4", "", 6),
        ("GET /v2/clusters?size=6", "", 0),
        ("GET /v2/clusters?foo=1", "", 0),
        ("GET /v2/clusters?size=4&foo=1", "", 0),
        ("GET /v2/clusters?name=compute2_0", "", 1),
        ("GET /v2/clusters?name=COMPUTE2_0", "", 0),
        ("GET /v2/clusters?status=running&health=OK&consensus_mode=batch", "", 6),
        ("GET /v2/clusters?consensus_mode=classic", "", 0),
        ("GET /v2/clusters?daemon_url=tcp://192.168.7.62:2375", "", 6),
        ("GET /v2/clusters?state=active", "", 6),
        ("GET /v2/clusters?state=released", "", 1),
        ("GET /v2/clusters?state=released&user_id=7", "", 1),
        ("GET /v2/clusters?state=gone", "", 0),
        ("GET /v2/clusters?consistency=linearizable", "", 6),
        ("POST /v2/clusters", "", 6),
        ("POST /v2/clusters", "{}", 6),
        ("POST /v2/clusters", "{\nuser_id:xxxx\n}", 2),
        ("POST /v2/clusters", r#"{"size":4,"consensus_plugin":"pbft"}"#, 6),
        ("POST /v2/clusters", r#"{"size":"4"}"#, 6),
        (
            "POST /v2/clusters",
            "{\nconsensus_plugin:pbft,\nconsensus_mode:batch,\nsize:4,\nuser:\"\"\n}",
            4,
        ),
        (
            "POST /v2/clusters",
            "{\nconsensus_plugin:pbft,\nconsensus_mode:classic,\nsize:4,\nuser:\"\"\n}",
            0,
        ),
        ("POST /v2/clusters", "{\nconsensus_plugin:pbft,\nconsensus_mode:classic,\nsize:4,\n}", 0),
        ("POST /v2/clusters", r#"{"user":"nobody","user_id":"xxxx"}"#, 2),
        ("POST /v2/clusters?user_id=xxxx", r#"{"user_id":"nobody"}"#, 2),
        ("GET /api/clusters?user_id=xxxx", "", 2),
    ] {
        let found = site.given(request, body).await;
        assert_eq!(found.as_array().unwrap().len(), count, "{request} {body}: {found}");
    }
    let (status, answer) = site.ask("POST /v2/clusters", FORM, "user_id=xxxx").await;
    assert_eq!((status, answer["data"].as_array().unwrap().len()), (200, 2));
    // In the order of creation: the replacement of what `7` had comes last.
    let names = column(&site.given("GET /v2/clusters", "").await, "name");
    let expected = [0, 1, 3, 4, 5, 2].map(|n| json!(format!("compute2_{n}")));
    assert_eq!(names, expected);
    for (request, body, error) in [
        ("GET /v2/clusters?size=abc", "", "Invalid cluster_size"),
        ("POST /v2/clusters", r#"{"size":{"$gt":0}}"#, "Invalid cluster_size"),
        ("POST /v2/clusters", "[1]", "Invalid request"),
        ("POST /v2/clusters", "7", "Invalid request"),
        ("POST /v2/clusters", "{", "Invalid request"),
        ("POST /v2/clusters", r#"{"user_id":{"$ne":""}}"#, "Invalid request"),
        ("POST /v2/clusters", r#"{"user_id":["xxxx"]}"#, "Invalid request"),
    ] {
        site.refused(request, body, 400, error).await;
    }
    site.refused("GET /v2/cluster/nope", "", 404, "cluster not found with id=nope").await;
    site.refused("GET /api/cluster/a%20b", "", 404, "cluster not found with id=a b").await;
    site.refused("GET /v2/cluster/a+b", "", 404, "cluster not found with id=a+b").await;
}

/// Scenarios 17 to 22.
async fn release(site: &Site) {
    let owned = site.given("GET /v2/clusters?user_id=xxxx", "").await;
    let old = owned[0].clone();
    let id = text(&old, "id");
    for (request, body, error) in [
        ("GET /v2/cluster_op?action=release", "", "No cluster_id is given"),
        ("GET /v2/cluster_op?action=release&user_id=", "", "No cluster_id is given"),
        (
            "GET /v2/cluster_op?action=release&cluster_id=&user_id=xxxx",
            "",
            "No cluster_id is given",
        ),
        (
            "POST /v2/cluster_op?action=release&cluster_id=",
            r#"{"cluster_id":"x"}"#,
            "No cluster_id is given",
        ),
        ("GET /v2/cluster_release", "", "cluster_release without id"),
        ("GET /v2/cluster_op?action=release&user_id=__SYSTEM__x", "", "Invalid user_id"),
        ("POST /v2/cluster_op", r#"{"action":"release","user_id":{"$ne":""}}"#, "Invalid user_id"),
        (
            "POST /v2/cluster_op",
            r#"{"action":"release","cluster_id":{"$ne":""}}"#,
            "Invalid cluster_id",
        ),
    ] {
        site.refused(request, body, 400, error).await;
    }
    let foreign = format!("GET /v2/cluster_op?action=release&cluster_id={id}&user_id=other");
    site.refused(&foreign, "", 400, "cluster release failed").await;
    release_of_nothing(site).await;
    release_one(site, &old).await;
    release_all(site).await;
}

/// What is unknown or nobody's is released already.
async fn release_of_nothing(site: &Site) {
    let free = text(&site.given("GET /v2/clusters?user_id=", "").await[0], "id");
    let before = site.given("GET /v2/clusters", "").await;
    for request in [
        "GET /v2/cluster_op?action=release&cluster_id=nope".to_owned(),
        "GET /v2/cluster_release?cluster_id=nope".to_owned(),
        format!("GET /v2/cluster_op?action=release&cluster_id={free}"),
        "GET /v2/cluster_op?action=release&user_id=nobody".to_owned(),
        "GET /v2/cluster_release?user_id=nobody".to_owned(),
    ] {
        assert_eq!(site.given(&request, "").await, json!(""), "{request}");
    }
    let body = r#"{"action":"release","cluster_id":7}"#;
    assert_eq!(site.given("POST /v2/cluster_op", body).await, json!(""));
    assert_eq!(site.given("GET /v2/clusters", "").await, before);
}

/// The document's own request, while the host cannot be reached.
async fn release_one(site: &Site, old: &Value) {
    let id = text(old, "id");
    let request = format!("GET /v2/cluster_op?action=release?cluster_id={id}");
    assert_eq!(site.given(&request, "").await, json!(""));
    let leaving = site.given(&format!("GET /v2/cluster/{id}"), "").await;
    assert_eq!(leaving["user_id"], "__SYSTEM__DELETINGxxxx");
    assert_eq!((&leaving["status"], &leaving["health"]), (&json!("deleting"), &json!("")));
    assert_eq!(site.given(&request, "").await, json!(""), "again");
    // The user is free of it before anything happened on the host, and so is a failure there.
    site.fail(Failure::Unreachable).await;
    let effect = &site.effects()[0];
    assert_eq!((effect.task.kind, effect.task.failures), (TaskKind::Destroy, 1));
    let owned = site.given("GET /v2/clusters?user_id=xxxx", "").await;
    assert_eq!(owned.as_array().unwrap().len(), 1);
    site.settle_well().await;
    site.refused(
        &format!("GET /v2/cluster/{id}"),
        "",
        404,
        &format!("cluster not found with id={id}"),
    )
    .await;
    let new = site.given("GET /v2/clusters?name=compute2_0", "").await[0].clone();
    assert_ne!(new["id"], old["id"]);
    for member in ["name", "mapped_ports", "consensus_plugin", "consensus_mode", "size", "host_id"]
    {
        assert_eq!(new[member], old[member]);
    }
    assert_eq!((&new["user_id"], &new["health"]), (&json!(""), &json!("OK")));
    assert_eq!((&new["apply_ts"], &new["release_ts"]), (&json!(""), &json!("")));
    let history = site.given(&format!("GET /v2/clusters?state=released&id={id}"), "").await;
    assert_eq!(history[0]["user_id"], "xxxx");
    assert_eq!(history[0]["apply_ts"], old["apply_ts"]);
    assert!(text(&history[0], "release_ts").ends_with(" GMT"));
    assert!(text(&history[0], "duration").contains(':'));
}

/// Scenario 19, by the documented route and by the older one.
async fn release_all(site: &Site) {
    for request in ["POST /v2/cluster_op?action=release", "POST /v2/cluster_release"] {
        for _ in 0..2 {
            let more = r#"{"user_id":"xxxx","allow_multiple":"True"}"#;
            site.given("POST /v2/cluster_apply", more).await;
        }
        assert_eq!(site.given(request, "{\nuser_id:xxxx\n}").await, json!(""));
        let owned = site.given("GET /v2/clusters?user_id=xxxx", "").await;
        assert_eq!(owned, json!([]), "{request}");
        site.settle_well().await;
        let free = site.given("GET /v2/clusters?user_id=", "").await;
        assert_eq!(free.as_array().unwrap().len(), 6);
    }
}

/// Scenarios 24 to 27.
async fn power(site: &Site, host: &str) {
    let cluster = site.given("GET /v2/cluster_op?action=apply&user_id=p", "").await;
    let id = text(&cluster, "id");
    let request = |action: &str| format!("GET /v2/cluster_op?action={action}&cluster_id={id}");
    for action in ["start", "stop", "restart"] {
        let failed = format!("cluster {action} failed");
        let none = format!("GET /v2/cluster_op?action={action}");
        site.refused(&none, "", 400, "No cluster_id is given").await;
        site.refused(&format!("{none}&cluster_id="), "", 400, "No cluster_id is given").await;
        site.refused(&format!("{none}&cluster_id=nope"), "", 400, &failed).await;
        site.refused(&format!("{}&user_id=other", request(action)), "", 400, &failed).await;
    }
    let show = format!("GET /v2/cluster/{id}");
    let state = async || {
        let cluster = site.given(&show, "").await;
        (text(&cluster, "status"), text(&cluster, "health"))
    };
    // Running and healthy: nothing to do.
    assert_eq!(site.given(&request("start"), "").await, json!(""));
    assert!(site.effects().is_empty());
    assert_eq!(with_outcome(site, &request("stop"), true).await, (200, String::new()));
    assert_eq!(state().await, ("stopped".to_owned(), String::new()));
    assert_eq!(site.given(&request("stop"), "").await, json!(""), "it is stopped");
    // A stopped cluster does not count as one the user has.
    let other = site.given("GET /v2/cluster_op?action=apply&user_id=p", "").await;
    assert_ne!(other["id"], cluster["id"]);
    let body = format!("{{\naction:start,\ncluster_id:{id}\n}}");
    let post = format!("POST /v2/cluster_op\n{body}");
    assert_eq!(with_outcome(site, &post, true).await, (200, String::new()));
    assert_eq!(state().await, ("running".to_owned(), String::new()));
    site.probe(Health::Ok).await;
    assert_eq!(state().await, ("running".to_owned(), "OK".to_owned()));
    assert_eq!(with_outcome(site, &request("restart"), true).await, (200, String::new()));
    assert_eq!(state().await, ("running".to_owned(), "OK".to_owned()));
    // Docker says no.
    let failed = (400, "cluster stop failed".to_owned());
    assert_eq!(with_outcome(site, &request("stop"), false).await, failed);
    assert_eq!(state().await, ("running".to_owned(), String::new()));
    overridden(site, &id).await;
    inactive(site, host, &text(&other, "id")).await;
    site.given("GET /v2/cluster_release?user_id=p", "").await;
    site.settle_well().await;
}

/// Scenario 27: a different action is refused, the same is joined, a release wins.
async fn overridden(site: &Site, id: &str) {
    let request = |action: &str| format!("GET /v2/cluster_op?action={action}&cluster_id={id}");
    let (restart, again) = (request("restart"), request("restart"));
    let act = async {
        site.wait("a restart", || !site.effects().is_empty()).await;
        site.refused(&request("stop"), "", 400, "cluster stop failed").await;
        assert_eq!(site.given(&request("release"), "").await, json!(""));
    };
    let (first, second, ()) =
        tokio::join!(site.ask(&restart, "", ""), site.ask(&again, "", ""), act);
    for (status, answer) in [first, second] {
        assert_eq!((status, text(&answer, "error")), (400, "cluster restart failed".to_owned()));
    }
    site.settle_well().await;
}

/// Scenarios 26 and 37: an inactive host's clusters are listed, but neither touched nor given.
async fn inactive(site: &Site, host: &str, id: &str) {
    let report = |is_reachable: bool| Command::ReportHost {
        host_id: host.to_owned(),
        is_reachable,
        reason: "no route to host".to_owned(),
    };
    site.propose(report(false)).await;
    let hosts = site.given("GET /api/hosts?status=inactive", "").await;
    assert_eq!(hosts[0]["id"], host);
    let request = format!("GET /v2/cluster_op?action=stop&cluster_id={id}");
    site.refused(&request, "", 400, "cluster stop failed").await;
    let apply = "GET /v2/cluster_op?action=apply&user_id=q";
    site.refused(apply, "", 400, "No available res for q").await;
    assert_eq!(site.given("GET /v2/clusters", "").await.as_array().unwrap().len(), 6);
    site.propose(report(true)).await;
    let got = site.given(apply, "").await;
    let back = format!("GET /v2/cluster_release?cluster_id={}", text(&got, "id"));
    site.given(&back, "").await;
    site.settle_well().await;
}

/// Asks for something that has to be done on a host, and says how it went; status and error.
async fn with_outcome(site: &Site, request: &str, is_good: bool) -> (u16, String) {
    let (line, body) = request.split_once('\n').unwrap_or((request, ""));
    let act = async {
        site.wait("something to do", || !site.effects().is_empty()).await;
        if is_good { site.settle().await } else { site.fail(Failure::Other).await }
    };
    let ((status, answer), ()) = tokio::join!(site.ask(line, "", body), act);
    (status, text(&answer, "error"))
}

/// Scenario 16, unknown paths, methods, and bodies that are too large.
async fn methods(site: &Site) {
    let before = site.given("GET /v2/clusters", "").await;
    for path in [
        "/v2/cluster_op?action=apply&user_id=h",
        "/v2/cluster_apply?user_id=h",
        "/v2/cluster_release?user_id=h",
    ] {
        let response = site.send(&format!("HEAD {path}"), "", "").await;
        assert_eq!(response.status(), 405, "{path}");
        assert_eq!(response.headers()["allow"], "GET, POST");
        site.refused(&format!("PUT {path}"), "", 405, "method not allowed").await;
        site.refused(&format!("DELETE {path}"), "", 405, "method not allowed").await;
    }
    let head = site.send("HEAD /v2/clusters", "", "").await;
    assert_eq!((head.status().as_u16(), head.text().await.unwrap()), (200, String::new()));
    site.refused("POST /v2/cluster/x", "", 405, "method not allowed").await;
    for path in [
        "/v2",
        "/v2/",
        "/v2/nope",
        "/v2/clusters/",
        "/v2/cluster/",
        "/v2/cluster/a/b",
        "/api/hosts/",
        "/api/host/",
        "/api/cluster/",
        "/api/host/x/",
        "/quorate/v1/pool",
        "/quorate/v1/pool/",
        "/quorate/v1/pool/hosts/",
    ] {
        site.refused(&format!("GET {path}"), "", 404, "not found").await;
    }
    let large = format!(r#"{{"action":"apply","user_id":"{}"}}"#, "u".repeat(65 * 1024));
    let (status, answer) = site.ask("POST /v2/cluster_op", JSON, &large).await;
    assert_eq!((status, &answer["data"]), (413, &json!({})));
    assert_eq!(site.given("GET /v2/clusters", "").await, before, "nothing was taken");
}

/// Scenario 43.
async fn request_ids(site: &Site) {
    let apply = |user: &str, id: &str| {
        format!("GET /v2/cluster_op?action=apply&user_id={user}&allow_multiple=1&request_id={id}")
    };
    let first = site.given(&apply("r", "a"), "").await;
    assert_eq!(site.given(&apply("r", "a"), "").await, first, "the same wish");
    let json = r#"{"action":"apply","user_id":"r","allow_multiple":true,"request_id":"a"}"#;
    assert_eq!(site.given("POST /v2/cluster_op", json).await, first, "in another encoding");
    let second = site.given(&apply("r", "b"), "").await;
    let third = site.given(&apply("s", "a"), "").await;
    assert_ne!(first["id"], second["id"]);
    assert_ne!(first["id"], third["id"], "users do not share ids");
    let reused = format!("{}&size=4", apply("r", "a"));
    let text = "the request id was used before for another request";
    site.refused(&reused, "", 400, text).await;
    for user in ["r", "s"] {
        site.given(&format!("GET /v2/cluster_release?user_id={user}"), "").await;
    }
    site.settle_well().await;
}

/// Scenarios 10, 11 and 12: as many as there are, each to one user.
async fn used_up(site: &Site, host: &str) {
    let requests: Vec<String> =
        (0..30).map(|n| format!("GET /v2/cluster_op?action=apply&user_id=user{n}")).collect();
    let asked = requests.iter().map(|request| site.ask(request, "", ""));
    let answers = futures::future::join_all(asked).await;
    let mut ids = std::collections::BTreeSet::new();
    for (n, (status, answer)) in answers.iter().enumerate() {
        if *status == 200 {
            assert_eq!(answer["data"]["user_id"], format!("user{n}"));
            assert!(ids.insert(text(&answer["data"], "id")), "two users have one cluster");
        } else {
            assert_eq!(*status, 400);
            assert_eq!(answer["error"], format!("No available res for user{n}"));
        }
    }
    assert_eq!(ids.len(), 6);
    // Another kind is another cluster, also for somebody who has one.
    let body = json!({"id": host, "capacity": 7});
    site.given("PUT /api/host", &body.to_string()).await;
    let body = json!({"name": "big", "host_id": host, "consensus_plugin": "pbft",
                      "consensus_mode": "batch", "size": 6});
    site.made("POST /api/cluster", &body).await;
    site.settle_well().await;
    let owner = answers.iter().position(|(status, _)| *status == 200).unwrap();
    let request = format!("GET /v2/cluster_op?action=apply&user_id=user{owner}&size=6");
    let big = site.given(&request, "").await;
    assert_eq!((&big["name"], &big["size"]), (&json!("big"), &json!(6)));
    let owned = site.given(&format!("GET /v2/clusters?user_id=user{owner}"), "").await;
    assert_eq!(owned.as_array().unwrap().len(), 2);
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap().to_owned()
}

fn column(list: &Value, member: &str) -> Vec<Value> {
    list.as_array().unwrap().iter().map(|item| item[member].clone()).collect()
}
