//! Requests to the Kvrocks family that are wrong in every way a request can be: a 4xx in the
//! family's shape, and nothing changed. Asked of a follower, in both profiles.

#![allow(clippy::unwrap_used)]

mod kvrocks;
mod support;

use std::time::{Duration, Instant};

use kvrocks::Site;
use serde_json::Value;

const MIB: usize = 1024 * 1024;
const CLUSTER: &str = "/namespaces/a/clusters/c";

/// Routes that take a body, with one that would be taken; `true` if none at all is taken, too.
const BODY_ROUTES: [(&str, &str, bool); 10] = [
    ("POST /namespaces", r#"{"namespace":"z"}"#, false),
    ("POST /namespaces/a/clusters", r#"{"name":"z","nodes":["$7"],"replicas":1}"#, false),
    ("POST /namespaces/a/clusters/z/import", r#"{"nodes":["$7"],"password":""}"#, false),
    ("POST /namespaces/a/clusters/c/migrate", r#"{"target":1,"slot":5,"slot_only":"true"}"#, false),
    ("POST /namespaces/a/clusters/c/migrations", r#"{"target":1,"slots":["5"]}"#, false),
    ("POST /namespaces/a/clusters/c/shards", r#"{"nodes":["$7"],"password":""}"#, false),
    ("POST /namespaces/a/clusters/c/shards/0/failover", r#"{"preferred_node_id":""}"#, true),
    ("POST /namespaces/a/clusters/c/shards/0/nodes", r#"{"addr":"$7","role":"slave"}"#, false),
    ("POST /namespaces/a/clusters/c/password", r#"{"password":"x"}"#, false),
    ("PUT /quorate/v1/kvrocks/settings", r#"{"ping_interval_ms":5000}"#, false),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_get_a_4xx_and_change_nothing() {
    let mut site = Site::start("program").await;
    for (request, body) in [
        ("POST /namespaces", r#"{"namespace":"a"}"#),
        (
            "POST /namespaces/a/clusters",
            r#"{"name":"c","nodes":["$1","$2","$3","$4"],"replicas":2,"password":"pw"}"#,
        ),
        ("POST /namespaces/a/clusters", r#"{"name":"other","nodes":["$5"]}"#),
    ] {
        let (status, text) = site.ask(request, body, &[]).await;
        assert_eq!(status, 201, "{request}: {text}");
    }
    let before = picture(&site).await;
    for profile in ["program", "document"] {
        site.profile = profile;
        bodies(&site).await;
        members(&site).await;
        addresses(&site).await;
        slots(&site).await;
        paths(&site).await;
        headers(&site).await;
        unreachable_nodes(&site).await;
        site.profile = "program";
        assert_eq!(picture(&site).await, before, "{profile}");
    }
}

/// Everything the family shows of its state.
async fn picture(site: &Site) -> Vec<Value> {
    let mut shown = vec![
        site.data("GET /namespaces?consistency=linearizable").await,
        site.data("GET /namespaces/a/clusters").await,
        site.data("GET /quorate/v1/kvrocks/settings").await,
    ];
    for cluster in ["c", "other"] {
        for rest in ["", "/migrations", "/failovers"] {
            shown.push(site.data(&format!("GET /namespaces/a/clusters/{cluster}{rest}")).await);
        }
    }
    shown
}

/// Sends `request` and checks that it is refused with one of `statuses`; the message.
async fn refused(site: &Site, request: &str, body: &str, statuses: &[u16]) -> String {
    let (status, text) = site.ask(request, body, &[]).await;
    let shown: String = body.chars().take(200).collect();
    assert!(statuses.contains(&status), "{request} {shown}: {status} {text}");
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    let members = answer.as_object().map(|members| members.len());
    assert_eq!(members, Some(if site.profile == "program" { 2 } else { 1 }), "{request}: {text}");
    assert!(answer["data"].is_null(), "{request}: {text}");
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(!message.is_empty(), "{request} {shown}: {text}");
    message.to_owned()
}

/// Bodies that are no JSON, no object, cut short, too deep or too long.
async fn bodies(site: &Site) {
    let deep = "[".repeat(100_000);
    let nested = format!("{{\"namespace\":{}", "{\"a\":".repeat(50_000));
    for (request, good, is_optional) in BODY_ROUTES {
        for body in ["{", "[]", "5", "\"x\"", "{'a':1}", "nul", "{\"a\":}", &deep, &nested] {
            refused(site, request, body, &[400]).await;
        }
        if !is_optional {
            refused(site, request, "", &[400]).await;
        }
        let cut = &good[..good.len() - 1];
        refused(site, request, cut, &[400]).await;
        let long = format!("{good}{}", " ".repeat(MIB));
        let message = refused(site, request, &long, &[413]).await;
        assert_eq!(message, "the request body is larger than 1048576 bytes");
    }
}

/// Members of the wrong type or without meaning.
async fn members(site: &Site) {
    let create = "POST /namespaces/a/clusters";
    for body in [
        r#"{"name":5,"nodes":["$7"]}"#,
        r#"{"name":["z"],"nodes":["$7"]}"#,
        r#"{"name":"z","nodes":"$7"}"#,
        r#"{"name":"z","nodes":{"a":"$7"}}"#,
        r#"{"name":"z","nodes":["$7",8]}"#,
        r#"{"name":"z","nodes":[null]}"#,
        r#"{"name":"z","nodes":["$7"],"replicas":1.5}"#,
        r#"{"name":"z","nodes":["$7"],"replicas":"one"}"#,
        r#"{"name":"z","nodes":["$7"],"replicas":1e30}"#,
        r#"{"name":"z","nodes":["$7"],"replicas":9223372036854775808}"#,
        r#"{"name":"z","nodes":["$7"],"replicas":9223372036854775807}"#,
        r#"{"name":"z","nodes":["$7"],"replicas":-9223372036854775808}"#,
        r#"{"name":"z","nodes":["$7"],"password":7}"#,
        r#"{"name":"z","nodes":[]}"#,
        r#"{"name":"z"}"#,
        r#"{"nodes":["$7"]}"#,
    ] {
        refused(site, create, body, &[400]).await;
    }
    for name in ["", "a/b", "a/cluster/b", "..", ".", "a b", "a\\n", "é", &"n".repeat(129)] {
        let namespace = format!(r#"{{"namespace":"{name}"}}"#);
        refused(site, "POST /namespaces", &namespace, &[400]).await;
        let cluster = format!(r#"{{"name":"{name}","nodes":["$7"]}}"#);
        refused(site, create, &cluster, &[400]).await;
    }
    let failover = "POST /namespaces/a/clusters/c/shards/0/failover";
    for body in [
        r#"{"preferred_node_id":7}"#,
        r#"{"preferred_node_id":"short"}"#,
        r#"{"force_on_timeout":"maybe"}"#,
        r#"{"sync_timeout_ms":-1}"#,
        r#"{"sync_timeout_ms":"x"}"#,
        r#"{"sync_timeout_ms":500,"pause_timeout_ms":500}"#,
        r#"{"pause_timeout_ms":9999999}"#,
    ] {
        refused(site, failover, body, &[400]).await;
    }
    let unknown = format!(r#"{{"preferred_node_id":"{}"}}"#, "x".repeat(40));
    refused(site, failover, &unknown, &[404]).await;
    let node = "POST /namespaces/a/clusters/c/shards/0/nodes";
    refused(site, node, r#"{"addr":"$7","role":"boss"}"#, &[400]).await;
    refused(site, node, r#"{"addr":"$7","role":1}"#, &[400]).await;
    refused(site, node, r#"{"addr":"$7","role":"master"}"#, &[409]).await;
    refused(site, "PUT /quorate/v1/kvrocks/settings", r#"{"unknown":1}"#, &[400]).await;
    refused(site, "PUT /quorate/v1/kvrocks/settings", r#"{"ping_interval_ms":1}"#, &[400]).await;
    let peers = "POST /raft/peers";
    for body in [
        "{}",
        r#"{"id":4}"#,
        r#"{"id":4,"operation":"promote"}"#,
        r#"{"id":4,"operation":"add"}"#,
        r#"{"id":0,"operation":"add","peer":"http://127.0.0.1:1"}"#,
        r#"{"id":-4,"operation":"remove"}"#,
        r#"{"id":99,"operation":"remove"}"#,
        r#"{"id":4,"operation":"ADD","peer":"http://nowhere"}"#,
    ] {
        refused(site, peers, body, &[400]).await;
    }
}

/// Addresses that no node can have, or that a node has already.
async fn addresses(site: &Site) {
    let bad = [
        "",
        "h",
        "h:",
        ":6666",
        "h:0",
        "h:65536",
        "h:-1",
        "h:x",
        "h:+1",
        "h:1:2",
        "::1:6666",
        "[::1]:6666",
        "h:6666@16666",
        "http://h:6666",
        "h/x:6666",
        "a b:6666",
        "h:6666\\n",
        "é:1",
    ];
    for addr in bad {
        for (request, body) in [
            ("POST /namespaces/a/clusters", format!(r#"{{"name":"z","nodes":["{addr}"]}}"#)),
            (
                "POST /namespaces/a/clusters/z/import",
                format!(r#"{{"nodes":["{addr}"],"password":""}}"#),
            ),
            ("POST /namespaces/a/clusters/c/shards", format!(r#"{{"nodes":["$7","{addr}"]}}"#)),
            ("POST /namespaces/a/clusters/c/shards/0/nodes", format!(r#"{{"addr":"{addr}"}}"#)),
        ] {
            refused(site, request, &body, &[400]).await;
        }
    }
    for (request, body, status) in [
        ("POST /namespaces/a/clusters", r#"{"name":"z","nodes":["$7","$7"]}"#, 400),
        ("POST /namespaces/a/clusters", r#"{"name":"z","nodes":["$7","$5"]}"#, 409),
        ("POST /namespaces/a/clusters", r#"{"name":"c","nodes":["$7"]}"#, 409),
        ("POST /namespaces/a/clusters/c/shards", r#"{"nodes":["$7","$7"]}"#, 400),
        ("POST /namespaces/a/clusters/c/shards", r#"{"nodes":["$7","$1"]}"#, 409),
        ("POST /namespaces/a/clusters/c/shards", r#"{"nodes":["$5"]}"#, 409),
        ("POST /namespaces/a/clusters/c/shards/0/nodes", r#"{"addr":"$2"}"#, 409),
        ("POST /namespaces/a/clusters/c/shards/0/nodes", r#"{"addr":"$3"}"#, 409),
        ("POST /namespaces/a/clusters/c/shards/0/nodes", r#"{"addr":"$5"}"#, 409),
    ] {
        let message = refused(site, request, body, &[status]).await;
        let is_conflict = status == 409 && site.profile == "document";
        assert_eq!(message == "the entry already existed", is_conflict, "{message}");
    }
}

/// Slots that are none, ranges that are reversed, targets that are unknown.
async fn slots(site: &Site) {
    let migrate = format!("POST {CLUSTER}/migrate");
    let queue = format!("POST {CLUSTER}/migrations");
    for slot in [
        "-1",
        "16384",
        "1.5",
        "1e9",
        "true",
        "{}",
        "[]",
        "\"\"",
        "\"x\"",
        "\"20-10\"",
        "\"1-2-3\"",
        "\"-1\"",
        "\"16384\"",
        "\"0-16384\"",
        "\"1 - 2\"",
        "\"0x10\"",
        "null",
        "\"99999999999999999999\"",
    ] {
        for only in ["true", "\"false\""] {
            let body = format!(r#"{{"target":1,"slot":{slot},"slot_only":{only}}}"#);
            refused(site, &migrate, &body, &[400]).await;
        }
        let body = format!(r#"{{"target":1,"slots":["5",{slot}]}}"#);
        refused(site, &queue, &body, &[400]).await;
    }
    for target in ["-1", "2", "99", "1.5", "\"x\"", "true", "9223372036854775808"] {
        let body = format!(r#"{{"target":{target},"slot":5}}"#);
        refused(site, &migrate, &body, &[400]).await;
        let body = format!(r#"{{"target":{target},"slots":[5]}}"#);
        refused(site, &queue, &body, &[400]).await;
    }
    for (request, body) in [
        (&migrate, r#"{"target":1,"slot":5,"slot_only":"maybe"}"#),
        (&migrate, r#"{"target":1,"slot":5,"slotOnly":7}"#),
        (&queue, r#"{"target":1,"slots":[]}"#),
        (&queue, r#"{"target":1}"#),
        (&queue, r#"{"target":1,"slots":[5],"attempts_max":-1}"#),
    ] {
        refused(site, request, body, &[400]).await;
    }
    // What the state refuses is a 500 in the original (spec 3.6).
    for (body, text) in [
        (r#"{"target":0,"slot":5}"#, "source and target shard is same"),
        (r#"{"target":1,"slot":"8000-9000"}"#, "slot range belongs to multiple shards"),
    ] {
        assert_eq!(refused(site, &migrate, body, &[500]).await, text);
    }
    let twice = r#"{"target":1,"slots":["5-7","6"]}"#;
    refused(site, &queue, twice, &[500]).await;
}

/// Paths to what is not there, and methods that are none.
async fn paths(site: &Site) {
    let long = "x".repeat(10_000);
    let id = "x".repeat(40);
    for (request, statuses) in [
        ("GET /nope", [404]),
        ("GET /namespaces/zz", [404]),
        ("DELETE /namespaces/zz", [404]),
        ("DELETE /namespaces/a", [403]),
        ("GET /namespaces/zz/clusters", [400]),
        ("GET /namespaces/a/clusters/zz", [404]),
        ("DELETE /namespaces/a/clusters/zz", [404]),
        ("DELETE /namespaces/a/clusters/other%2Fc", [404]),
        (&*format!("GET /namespaces/{long}"), [404]),
        (&*format!("GET {CLUSTER}/shards/x"), [400]),
        (&*format!("GET {CLUSTER}/shards/-1"), [400]),
        (&*format!("GET {CLUSTER}/shards/99999999999999999999"), [400]),
        (&*format!("DELETE {CLUSTER}/shards/x"), [400]),
        (&*format!("DELETE {CLUSTER}/shards/9"), [400]),
        (&*format!("DELETE {CLUSTER}/shards/0"), [400]),
        (&*format!("POST {CLUSTER}/shards/x/failover"), [400]),
        (&*format!("POST {CLUSTER}/shards/9/failover"), [400]),
        (&*format!("DELETE {CLUSTER}/shards/0/nodes/{id}"), [404]),
        (&*format!("DELETE {CLUSTER}/shards/0/nodes/#1"), [400]),
        (&*format!("DELETE {CLUSTER}/shards/0/nodes/#4"), [404]),
        (&*format!("GET {CLUSTER}/migrations/x"), [404]),
        (&*format!("DELETE {CLUSTER}/migrations/9"), [404]),
        (&*format!("POST {CLUSTER}/migrations/9/retry"), [404]),
        ("PUT /namespaces", [404]),
        ("PATCH /namespaces/a/clusters/c", [404]),
        ("BREW /namespaces", [404]),
        ("DELETE /namespaces", [404]),
        ("POST /namespaces/a/clusters/c/shards/0", [404]),
        ("POST /quorate/v1/kvrocks/settings", [404]),
    ] {
        refused(site, request, "", &statuses).await;
    }
    // The connection stays usable, which the original's did not after a bad index.
    assert!(site.data("GET /namespaces").await["namespaces"].is_array());
}

/// Headers and parameters without meaning; a rehearsal where there is none.
async fn headers(site: &Site) {
    for (name, value) in [("quorate-consistency", "strong"), ("quorate-min-index", "-1")] {
        let (status, text) = site.ask("GET /namespaces", "", &[(name, value)]).await;
        assert_eq!(status, 400, "{name}: {value}: {text}");
    }
    for (request, body) in [
        ("DELETE /namespaces/a/clusters/c?dry_run=true", ""),
        ("POST /namespaces?dry_run=true", r#"{"namespace":"z"}"#),
        ("POST /namespaces/a/clusters/c/shards?dry_run=true", r#"{"nodes":["$7"]}"#),
        ("POST /namespaces/a/clusters/c/password?dry_run=1", r#"{"password":"x"}"#),
    ] {
        assert_eq!(refused(site, request, body, &[400]).await, "dry_run is not offered here");
    }
}

/// Nodes that cannot be reached cost a bounded time and are named.
async fn unreachable_nodes(site: &Site) {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let failover = format!("POST {CLUSTER}/shards/0/failover");
    for addr in ["127.0.0.1:1", &silent] {
        let strict = [("x-dont-check-cluster-mode", "no")];
        let body = format!(r#"{{"name":"z","nodes":["{addr}"]}}"#);
        let started = Instant::now();
        let (status, text) = site.ask("POST /namespaces/a/clusters", &body, &strict).await;
        assert!(status == 500 && text.contains(addr), "{status} {text}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        let body = format!(r#"{{"nodes":["{addr}"]}}"#);
        let started = Instant::now();
        let message = refused(site, "POST /namespaces/a/clusters/z/import", &body, &[500]).await;
        assert!(message.contains(addr), "{message}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    refused(site, &failover, "", &[500]).await;
}
