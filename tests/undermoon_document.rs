//! Every promise of the two documents about `/api/v2`, asked of a follower.
//!
//! The documents are "Broker HTTP API" and "Memory Broker API"; the replicas run in the profile
//! `document`, which is the default. Each row quotes what is promised. Where a document lists an
//! error that no sequence of calls can produce, the row is absent and a comment says so.

#![allow(clippy::unwrap_used)]

mod support;
mod undermoon;

use undermoon::{Row, Site, empty, error, json, register, text};

/// Proxies `1..=count`, one a host, registered.
async fn start_with(site: &Site, count: u32) {
    site.reset(false).await;
    for proxy in 1..=count {
        site.check(&[register(proxy, None)]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_of_the_documents_is_kept_by_a_follower() {
    let site = Site::start().await;
    site.check(&fresh()).await;
    start_with(&site, 6).await;
    site.check(&queries()).await;
    site.check(&failures()).await;
    start_with(&site, 2).await;
    site.check(&failover_without_spare()).await;
    start_with(&site, 4).await;
    site.check(&clusters()).await;
    start_with(&site, 4).await;
    migrations(&site).await;
    start_with(&site, 4).await;
    site.check(&proxies_and_epochs()).await;
    site.reset(true).await;
    site.check(&ordered_mode()).await;
}

fn fresh() -> Vec<Row> {
    let restored = r#"{"version":"mem-broker-0.1","global_epoch":0,"clusters":{},
        "all_proxies":{},"failed_proxies":[],"failures":{}}"#;
    let shown = r#"{"global_epoch":0,"clusters":{},"all_proxies":{},"failed_proxies":[],
        "failures":{}}"#;
    vec![
        text("the version of undermoon", "GET /version", "0.5.0"),
        json("inner metadata of an empty broker", "GET /metadata", "", 200, shown),
        empty("restore takes the documents' own example", "PUT /metadata", restored),
        json("and shows it again", "GET /metadata", "", 200, shown),
        error(
            "restore refuses other versions",
            "PUT /metadata",
            &restored.replace("0.1", "0.7"),
            409,
            "INVALID_META_VERSION",
        ),
        json(
            "no clusters yet",
            "GET /clusters/names?offset=0&limit=10",
            "",
            200,
            r#"{"names":[]}"#,
        ),
    ]
}

fn queries() -> Vec<Row> {
    let config = r#"{"compression_strategy":"disabled"}"#;
    let low = r#""slots":[{"range_list":[[0,8191]],"tag":"None"}]"#;
    let high = r#""slots":[{"range_list":[[8192,16383]],"tag":"None"}]"#;
    let node = |host: u32, node: u32, slots: &str, role: &str, peer: (u32, u32)| {
        format!(
            r#"{{"address":"10.0.0.{host}:600{node}","proxy_address":"10.0.0.{host}:7000",
            "cluster_name":"c",{slots},"repl":{{"role":"{role}","peers":[
            {{"node_address":"10.0.0.{}:600{}","proxy_address":"10.0.0.{}:7000"}}]}}}}"#,
            peer.0, peer.1, peer.0
        )
    };
    let first = [node(1, 1, low, "master", (2, 2)), node(1, 2, r#""slots":[]"#, "replica", (2, 1))]
        .join(",");
    let second =
        [node(2, 1, high, "master", (1, 2)), node(2, 2, r#""slots":[]"#, "replica", (1, 1))]
            .join(",");
    let cluster = format!(
        r#"{{"cluster":{{"name":"c","epoch":"$number","nodes":[{first},{second}],"config":{config}}}}}"#
    );
    let member = format!(
        r#"{{"proxy":{{"address":"10.0.0.1:7000","epoch":"$number","nodes":[{first}],
        "free_nodes":[],"peers":[{{"proxy_address":"10.0.0.2:7000","cluster_name":"c",{high}}}],
        "clusters_config":{{"c":{config}}}}}}}"#
    );
    let free = r#"{"proxy":{"address":"10.0.0.3:7000","epoch":"$number","nodes":[],
        "free_nodes":["10.0.0.3:6001","10.0.0.3:6002"],"peers":[],"clusters_config":{}}}"#;
    vec![
        empty("create a cluster", "POST /clusters/meta/c", r#"{"node_number":4}"#),
        json("(1) names", "GET /clusters/names?offset=0&limit=9", "", 200, r#"{"names":["c"]}"#),
        json(
            "(1) offset starts from zero",
            "GET /clusters/names?offset=1",
            "",
            200,
            r#"{"names":[]}"#,
        ),
        json("(2) an existing cluster", "GET /clusters/meta/c", "", 200, &cluster),
        json("(2) no such cluster", "GET /clusters/meta/d", "", 200, r#"{"cluster":null}"#),
        json(
            "(3) addresses, first page",
            "GET /proxies/addresses?offset=0&limit=2",
            "",
            200,
            r#"{"addresses":["10.0.0.1:7000","10.0.0.2:7000"]}"#,
        ),
        json(
            "(3) addresses, last page",
            "GET /proxies/addresses?offset=5&limit=2",
            "",
            200,
            r#"{"addresses":["10.0.0.6:7000"]}"#,
        ),
        json("(4) a proxy of a cluster", "GET /proxies/meta/10.0.0.1:7000", "", 200, &member),
        json("(4) a free proxy", "GET /proxies/meta/10.0.0.3:7000", "", 200, free),
        json("(4) no such proxy", "GET /proxies/meta/10.0.0.9:7000", "", 200, r#"{"proxy":null}"#),
        json(
            "enough resources for failures",
            "POST /resources/failures/check",
            "",
            200,
            r#"{"hosts_cannot_fail":[]}"#,
        ),
    ]
}

/// Goes on from [`queries`]: proxies 1 and 2 serve `c`.
fn failures() -> Vec<Row> {
    let replica = |node: u32| {
        format!(
            r#"{{"address":"10.0.0.3:600{node}","proxy_address":"10.0.0.3:7000","cluster_name":"c",
            "slots":[],"repl":{{"role":"replica","peers":"$any"}}}}"#
        )
    };
    let replacement = format!(
        r#"{{"proxy":{{"address":"10.0.0.3:7000","epoch":"$number","nodes":[{},{}]}}}}"#,
        replica(1),
        replica(2)
    );
    let one = |address: &str| format!(r#"{{"addresses":["{address}"]}}"#);
    vec![
        empty("(5) report a failure", "POST /failures/10.0.0.6:7000/r1", ""),
        json("(6) reported failures", "GET /failures", "", 200, &one("10.0.0.6:7000")),
        json(
            "(7) failover of a proxy that is not in use",
            "POST /proxies/failover/10.0.0.6:7000",
            "",
            200,
            r#"{"proxy":null}"#,
        ),
        json("(6) not yet committed to be failed", "GET /failures", "", 200, r#"{"addresses":[]}"#),
        json("(9) failed proxies", "GET /proxies/failed/addresses", "", 200, &one("10.0.0.6:7000")),
        empty("(5) report a member", "POST /failures/10.0.0.1:7000/r1", ""),
        json(
            "(7) failover of a proxy in use",
            "POST /proxies/failover/10.0.0.1:7000",
            "",
            200,
            &replacement,
        ),
        json("(6) committed to be failed", "GET /failures", "", 200, r#"{"addresses":[]}"#),
        json(
            "(9) both failed",
            "GET /proxies/failed/addresses",
            "",
            200,
            r#"{"addresses":["10.0.0.1:7000","10.0.0.6:7000"]}"#,
        ),
        json(
            "(2) the partner serves all slots",
            "GET /clusters/meta/c",
            "",
            200,
            r#"{"cluster":{"nodes":[
            {"proxy_address":"10.0.0.3:7000","slots":[],"repl":{"role":"replica"}},
            {"proxy_address":"10.0.0.3:7000","slots":[],"repl":{"role":"replica"}},
            {"proxy_address":"10.0.0.2:7000","repl":{"role":"master"}},
            {"proxy_address":"10.0.0.2:7000","repl":{"role":"master"}}]}}"#,
        ),
    ]
}

fn failover_without_spare() -> Vec<Row> {
    vec![
        empty("create a cluster of all proxies", "POST /clusters/meta/c", r#"{"node_number":4}"#),
        json(
            "hosts that cannot fail",
            "POST /resources/failures/check",
            "",
            200,
            r#"{"hosts_cannot_fail":["10.0.0.1","10.0.0.2"]}"#,
        ),
        empty("(5) report one", "POST /failures/10.0.0.1:7000/r1", ""),
        error(
            "(7) if not: 409",
            "POST /proxies/failover/10.0.0.1:7000",
            "",
            409,
            "NO_AVAILABLE_RESOURCE",
        ),
        json(
            "(6) still to be acted on",
            "GET /failures",
            "",
            200,
            r#"{"addresses":["10.0.0.1:7000"]}"#,
        ),
    ]
}

fn clusters() -> Vec<Row> {
    let name_30 = "a23456789012345678901234567890";
    let name_31 = "a234567890123456789012345678901";
    let four = r#"{"node_number":4}"#;
    let mut rows = vec![
        error(
            "name beyond 30",
            &format!("POST /clusters/meta/{name_31}"),
            four,
            400,
            "INVALID_CLUSTER_NAME",
        ),
        error("name with a dot", "POST /clusters/meta/a.b", four, 400, "INVALID_CLUSTER_NAME"),
        empty("name of 30", &format!("POST /clusters/meta/{name_30}"), four),
        empty("delete cluster", &format!("DELETE /clusters/meta/{name_30}"), ""),
        empty("letters, digits, @, - and _", "POST /clusters/meta/aZ9@-_", four),
        empty("delete it again", "DELETE /clusters/meta/aZ9@-_", ""),
    ];
    for number in [0, 2, 6] {
        let body = format!(r#"{{"node_number":{number}}}"#);
        rows.push(error(
            "multiples of 4",
            "POST /clusters/meta/c",
            &body,
            400,
            "INVALID_NODE_NUMBER",
        ));
    }
    rows.extend([
        error(
            "create beyond the pool",
            "POST /clusters/meta/c",
            r#"{"node_number":12}"#,
            409,
            "NO_AVAILABLE_RESOURCE",
        ),
        empty("create", "POST /clusters/meta/c", four),
        error("create again", "POST /clusters/meta/c", four, 409, "ALREADY_EXISTED"),
        error("delete: name", "DELETE /clusters/meta/a.b", "", 400, "INVALID_CLUSTER_NAME"),
        error("delete: unknown", "DELETE /clusters/meta/d", "", 404, "CLUSTER_NOT_FOUND"),
        error("add nodes: name", "PATCH /clusters/nodes/a.b", four, 400, "INVALID_CLUSTER_NAME"),
        error(
            "add nodes: number",
            "PATCH /clusters/nodes/c",
            r#"{"node_number":3}"#,
            400,
            "INVALID_NODE_NUMBER",
        ),
        error("add nodes: unknown", "PATCH /clusters/nodes/d", four, 404, "CLUSTER_NOT_FOUND"),
        error(
            "add nodes: pool",
            "PATCH /clusters/nodes/c",
            r#"{"node_number":8}"#,
            409,
            "NO_AVAILABLE_RESOURCE",
        ),
        // ALREADY_EXISTED is listed for both ways of adding nodes; nothing they add can exist.
        error(
            "add if needed: enough",
            "PUT /clusters/nodes/c",
            r#"{"cluster_node_number":4}"#,
            409,
            "NODE_NUM_ALREADY_ENOUGH",
        ),
        error(
            "add if needed: name",
            "PUT /clusters/nodes/a.b",
            r#"{"cluster_node_number":8}"#,
            400,
            "INVALID_CLUSTER_NAME",
        ),
        error(
            "add if needed: number",
            "PUT /clusters/nodes/c",
            r#"{"cluster_node_number":6}"#,
            400,
            "INVALID_NODE_NUMBER",
        ),
        error(
            "add if needed: unknown",
            "PUT /clusters/nodes/d",
            r#"{"cluster_node_number":8}"#,
            404,
            "CLUSTER_NOT_FOUND",
        ),
        error(
            "add if needed: pool",
            "PUT /clusters/nodes/c",
            r#"{"cluster_node_number":12}"#,
            409,
            "NO_AVAILABLE_RESOURCE",
        ),
        error(
            "free nodes: name",
            "DELETE /clusters/free_nodes/a.b",
            "",
            400,
            "INVALID_CLUSTER_NAME",
        ),
        error("free nodes: unknown", "DELETE /clusters/free_nodes/d", "", 404, "CLUSTER_NOT_FOUND"),
        error("free nodes: none", "DELETE /clusters/free_nodes/c", "", 409, "FREE_NODE_NOT_FOUND"),
        json(
            "add if needed",
            "PUT /clusters/nodes/c",
            r#"{"cluster_node_number":8}"#,
            200,
            r#"["$any","$any","$any","$any"]"#,
        ),
        empty("free nodes", "DELETE /clusters/free_nodes/c", ""),
        json("add nodes", "PATCH /clusters/nodes/c", four, 200, r#"["$any","$any","$any","$any"]"#),
        empty("free nodes again", "DELETE /clusters/free_nodes/c", ""),
        empty("balance", "PUT /clusters/balance/c", ""),
        error("balance: name", "PUT /clusters/balance/a.b", "", 400, "INVALID_CLUSTER_NAME"),
        error("balance: unknown", "PUT /clusters/balance/d", "", 404, "CLUSTER_NOT_FOUND"),
    ]);
    rows.extend(configuration());
    rows.push(empty("delete", "DELETE /clusters/meta/c", ""));
    rows
}

fn configuration() -> Vec<Row> {
    let request = "PATCH /clusters/config/c";
    let mut rows = Vec::new();
    for strategy in ["set_get_only", "allow_all", "disabled"] {
        let body = format!(r#"{{"compression_strategy":"{strategy}"}}"#);
        rows.push(empty("change config", request, &body));
        let shown = format!(r#"{{"cluster":{{"config":{body}}}}}"#);
        rows.push(json("and see it", "GET /clusters/meta/c", "", 200, &shown));
    }
    let good = r#"{"compression_strategy":"disabled"}"#;
    let refused = r#"{"error":"INVALID_CONFIG","key":"compression_strategy","value":"xxxx",
        "message":"INVALID_VALUE"}"#;
    rows.extend([
        error("config: name", "PATCH /clusters/config/a.b", good, 400, "INVALID_CLUSTER_NAME"),
        error("config: unknown", "PATCH /clusters/config/d", good, 404, "CLUSTER_NOT_FOUND"),
        json("config: value", request, r#"{"compression_strategy":"xxxx"}"#, 409, refused),
    ]);
    rows
}

async fn migrations(site: &Site) {
    site.check(&[
        empty("create", "POST /clusters/meta/c", r#"{"node_number":4}"#),
        error(
            "expand: name",
            "POST /clusters/migrations/expand/a.b",
            "",
            400,
            "INVALID_CLUSTER_NAME",
        ),
        error(
            "expand: unknown",
            "POST /clusters/migrations/expand/d",
            "",
            404,
            "CLUSTER_NOT_FOUND",
        ),
        error(
            "expand: nothing to expand to",
            "POST /clusters/migrations/expand/c",
            "",
            409,
            "FreeNodeFound",
        ),
        error(
            "shrink: name",
            "POST /clusters/migrations/shrink/a.b/4",
            "",
            400,
            "INVALID_CLUSTER_NAME",
        ),
        error(
            "shrink: unknown",
            "POST /clusters/migrations/shrink/d/4",
            "",
            404,
            "CLUSTER_NOT_FOUND",
        ),
        json(
            "add nodes beforehand",
            "PATCH /clusters/nodes/c",
            r#"{"node_number":4}"#,
            200,
            r#"["$any","$any","$any","$any"]"#,
        ),
        error(
            "shrink: slots are elsewhere already",
            "POST /clusters/migrations/shrink/c/4",
            "",
            409,
            "SLOTS_ALREADY_EVEN",
        ),
        empty("expand", "POST /clusters/migrations/expand/c", ""),
    ])
    .await;
    site.check(&while_migrating()).await;
    let commits = site.commit_all("c").await;
    assert_eq!(commits, 2, "from two masters to four");
    let all_serve = r#"{"node_number":8,"node_number_with_slots":8,"is_migrating":false}"#;
    site.check(&[
        json("an expanded cluster keeps its nodes", "GET /clusters/info/c", "", 200, all_serve),
        empty("shrink", "POST /clusters/migrations/shrink/c/4", ""),
        json(
            "this will not delete the nodes",
            "GET /clusters/info/c",
            "",
            200,
            r#"{"node_number":8,"is_migrating":true}"#,
        ),
    ])
    .await;
    site.check(&while_migrating()).await;
    site.commit_all("c").await;
    let shrunk = r#"{"node_number":4,"node_number_with_slots":4,"is_migrating":false}"#;
    site.check(&[
        json(
            "(8) free nodes are cleaned up after the migration",
            "GET /clusters/info/c",
            "",
            200,
            shrunk,
        ),
        json(
            "their proxies are free again",
            "GET /proxies/meta/10.0.0.3:7000",
            "",
            200,
            r#"{"proxy":{"nodes":[],"free_nodes":["$any","$any"]}}"#,
        ),
        error(
            "so none are left to delete",
            "DELETE /clusters/free_nodes/c",
            "",
            409,
            "FREE_NODE_NOT_FOUND",
        ),
    ])
    .await;
}

fn while_migrating() -> Vec<Row> {
    let config = r#"{"compression_strategy":"disabled"}"#;
    vec![
        error(
            "add nodes",
            "PATCH /clusters/nodes/c",
            r#"{"node_number":4}"#,
            409,
            "MIGRATION_RUNNING",
        ),
        error(
            "add nodes if needed",
            "PUT /clusters/nodes/c",
            r#"{"cluster_node_number":12}"#,
            409,
            "MIGRATION_RUNNING",
        ),
        error("delete free nodes", "DELETE /clusters/free_nodes/c", "", 409, "MIGRATION_RUNNING"),
        error("expand", "POST /clusters/migrations/expand/c", "", 409, "MIGRATION_RUNNING"),
        error("shrink", "POST /clusters/migrations/shrink/c/4", "", 409, "MIGRATION_RUNNING"),
        error("config", "PATCH /clusters/config/c", config, 409, "MIGRATION_RUNNING"),
    ]
}

fn proxies_and_epochs() -> Vec<Row> {
    let with_host = r#"{"proxy_address":"10.0.1.1:7000","nodes":["10.0.1.1:6001","10.0.1.1:6002"],
        "host":"rack-9"}"#;
    let shown = r#"{"all_proxies":{"10.0.1.1:7000":{"host":"rack-9"},
        "10.0.0.1:7000":{"host":"10.0.0.1"}}}"#;
    let bad = r#"{"proxy_address":"nowhere","nodes":["a:1","a:2"],"host":null}"#;
    vec![
        empty("add a proxy with a host", "POST /proxies/meta", with_host),
        json("host given, and host null", "GET /metadata", "", 200, shown),
        error("add it again", "POST /proxies/meta", with_host, 409, "ALREADY_EXISTED"),
        error("not an address", "POST /proxies/meta", bad, 400, "INVALID_PROXY_ADDRESS"),
        empty("delete it", "DELETE /proxies/meta/10.0.1.1:7000", ""),
        error("delete it again", "DELETE /proxies/meta/10.0.1.1:7000", "", 404, "PROXY_NOT_FOUND"),
        empty("use some", "POST /clusters/meta/c", r#"{"node_number":4}"#),
        error("delete one in use", "DELETE /proxies/meta/10.0.0.1:7000", "", 409, "IN_USE"),
        empty("bump the epoch", "PUT /epoch/1000000", ""),
        json("everywhere", "GET /clusters/meta/c", "", 200, r#"{"cluster":{"epoch":1000000}}"#),
        error("not backwards", "PUT /epoch/999999", "", 409, "EPOCH_SMALLER_THAN_CURRENT"),
        error("not in place", "PUT /epoch/1000000", "", 409, "EPOCH_SMALLER_THAN_CURRENT"),
    ]
}

fn ordered_mode() -> Vec<Row> {
    let nobody = r#"{"addresses":[]}"#;
    vec![
        register(1, Some(0)),
        register(2, Some(1)),
        register(3, Some(2)),
        empty("create a cluster", "POST /clusters/meta/c", r#"{"node_number":4}"#),
        empty("(5) a report does nothing", "POST /failures/10.0.0.1:7000/r1", ""),
        json(
            "(5) nothing at all",
            "GET /metadata",
            "",
            200,
            r#"{"failures":{},"enable_ordered_proxy":true}"#,
        ),
        json("(6) so nothing is listed", "GET /failures", "", 200, nobody),
        error(
            "(7) always 409, in use",
            "POST /proxies/failover/10.0.0.1:7000",
            "",
            409,
            "ORDERED_PROXY_ENABLED",
        ),
        error(
            "(7) always 409, free",
            "POST /proxies/failover/10.0.0.3:7000",
            "",
            409,
            "ORDERED_PROXY_ENABLED",
        ),
        json("(9) none failed", "GET /proxies/failed/addresses", "", 200, nobody),
    ]
}
