//! The routes and texts of release 1.2.0 (specification, sections 2 and 3), asked of a follower in
//! the profile `program`, with the corrections that the specification names.

#![allow(clippy::unwrap_used)]

mod kvrocks;
mod support;

use std::time::{Duration, Instant};

use kvrocks::{Row, Site};

const CLUSTERS: &str = "POST /namespaces/a/clusters";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_of_the_program_is_served_by_a_follower() {
    let site = Site::start("program").await;
    site.check(&namespaces()).await;
    site.check(&refused_clusters()).await;
    site.check(&clusters()).await;
    site.check(&shards()).await;
    site.check(&refused_shards()).await;
    site.check(&removed_shards()).await;
    site.check(&nodes()).await;
    site.check(&slots()).await;
    failover(&site).await;
    rehearsals(&site).await;
    queue(&site).await;
    imports(&site).await;
    checks_on_creation(&site).await;
    operators(&site).await;
    site.check(&removal()).await;
}

fn namespaces() -> Vec<Row> {
    vec![
        Row(
            "create",
            "POST /namespaces",
            r#"{"namespace":"a"}"#,
            201,
            r#"{"data":{"namespace":"a"}}"#,
        ),
        Row("create again", "POST /namespaces", r#"{"namespace":"a"}"#, 409, "!already exists"),
        Row(
            "keys in any case, rest ignored",
            "POST /namespaces",
            r#"{"NameSpace":"b","more":1} x"#,
            201,
            r#"{"data":{"namespace":"b"}}"#,
        ),
        Row("list", "GET /namespaces", "", 200, r#"{"data":{"namespaces":["a","b"]}}"#),
        Row("is there", "GET /namespaces/a", "", 200, r#"{"data":null}"#),
        Row("is not there", "GET /namespaces/zz", "", 404, "!not found"),
        Row("delete", "DELETE /namespaces/b", "", 204, ""),
        Row("delete again", "DELETE /namespaces/b", "", 404, "!not found"),
        Row(
            "an empty name",
            "POST /namespaces",
            r#"{"namespace":""}"#,
            400,
            "!namespace should NOT be empty",
        ),
        Row("no name", "POST /namespaces", "{}", 400, "!namespace should NOT be empty"),
        Row("no body", "POST /namespaces", "", 400, "!EOF"),
        Row(
            "a name that is a path",
            "POST /namespaces",
            r#"{"namespace":"a/cluster/b"}"#,
            400,
            "!invalid argument: name",
        ),
        Row("unknown path", "GET /nope", "", 404, "!not found"),
        Row("unknown method", "PUT /namespaces", "{}", 404, "!not found"),
        Row("a slash too many", "GET /namespaces/", "", 301, ""),
        Row("a slash too many", "POST /namespaces/", "{}", 307, ""),
    ]
}

fn refused_clusters() -> Vec<Row> {
    let row = |promise, body, status, expected| Row(promise, CLUSTERS, body, status, expected);
    vec![
        Row(
            "no such namespace",
            "POST /namespaces/zz/clusters",
            r#"{"name":"c","nodes":["$1"]}"#,
            400,
            "!namespace not found",
        ),
        Row("no such namespace", "GET /namespaces/zz/clusters", "", 400, "!namespace not found"),
        Row(
            "no such namespace either",
            "GET /namespaces/zz/clusters/c",
            "",
            404,
            "!cluster: not found",
        ),
        row("no nodes", r#"{"name":"c","nodes":[]}"#, 400, "!cluster nodes should NOT be empty"),
        row(
            "negative replicas",
            r#"{"name":"c","nodes":["$1"],"replicas":-1}"#,
            400,
            "!replicas should NOT be less than 0",
        ),
        row(
            "not divisible",
            r#"{"name":"c","nodes":["$1","$2","$3"],"replicas":2}"#,
            400,
            "!cluster nodes should be divisible by replicas",
        ),
        row(
            "a node twice",
            r#"{"name":"c","nodes":["$1","$1"]}"#,
            400,
            r#"!invalid argument: node address "$1" is given twice"#,
        ),
        row(
            "no port",
            r#"{"name":"c","nodes":["localhost"]}"#,
            400,
            r#"!invalid argument: node address must be host:port, got "localhost""#,
        ),
        row(
            "an IPv6 address",
            r#"{"name":"c","nodes":["[::1]:6666"]}"#,
            400,
            r#"!invalid argument: node address must be host:port, got "[::1]:6666""#,
        ),
        row(
            "a bus port",
            r#"{"name":"c","nodes":["h:6666@16666"]}"#,
            400,
            r#"!invalid argument: node address must be host:port, got "h:6666@16666""#,
        ),
        row("no name", r#"{"nodes":["$1"]}"#, 400, "!cluster name should NOT be empty"),
        row(
            "wrong types",
            r#"{"name":"c","nodes":"$1"}"#,
            400,
            "!json: nodes is a string, must be an array",
        ),
        Row(
            "nothing of this was stored",
            "GET /namespaces/a/clusters",
            "",
            200,
            r#"{"data":{"clusters":[]}}"#,
        ),
    ]
}

fn clusters() -> Vec<Row> {
    vec![
        Row(
            "create: version 1, even slots, the first of each group is master",
            CLUSTERS,
            r#"{"name":"c","nodes":["$1","$2","$3","$4"],"replicas":2,"password":"pw"}"#,
            201,
            r##"{"data":{"cluster":{"version":1,"name":"c","shards":[{"nodes":[{"addr":"$1","created_at":@,"id":"#1","password":"pw","role":"master"},{"addr":"$2","created_at":@,"id":"#2","password":"pw","role":"slave"}],"slot_ranges":["0-8191"],"target_shard_index":-1,"migrating_slot":null},{"nodes":[{"addr":"$3","created_at":@,"id":"#3","password":"pw","role":"master"},{"addr":"$4","created_at":@,"id":"#4","password":"pw","role":"slave"}],"slot_ranges":["8192-16383"],"target_shard_index":-1,"migrating_slot":null}]}}}"##,
        ),
        Row(
            "get",
            "GET /namespaces/a/clusters/c",
            "",
            200,
            r##"{"data":{"cluster":{"version":1,"name":"c","shards":[{"nodes":[{"addr":"$1","created_at":@,"id":"#1","password":"pw","role":"master"},{"addr":"$2","created_at":@,"id":"#2","password":"pw","role":"slave"}],"slot_ranges":["0-8191"],"target_shard_index":-1,"migrating_slot":null},{"nodes":[{"addr":"$3","created_at":@,"id":"#3","password":"pw","role":"master"},{"addr":"$4","created_at":@,"id":"#4","password":"pw","role":"slave"}],"slot_ranges":["8192-16383"],"target_shard_index":-1,"migrating_slot":null}]}}}"##,
        ),
        Row("list", "GET /namespaces/a/clusters", "", 200, r#"{"data":{"clusters":["c"]}}"#),
        Row(
            "another namespace",
            "POST /namespaces",
            r#"{"namespace":"b"}"#,
            201,
            r#"{"data":{"namespace":"b"}}"#,
        ),
        Row(
            "addresses are unique over all namespaces, and judged before the count",
            "POST /namespaces/b/clusters",
            r#"{"name":"c","nodes":["$5","$6","$1"],"replicas":2}"#,
            409,
            "!node: already exists: [$1]",
        ),
        Row(
            "replicas omitted: shards of one node, the last has the rest of the slots",
            "POST /namespaces/b/clusters",
            r#"{"name":"c","nodes":["$5","$6","$7"]}"#,
            201,
            r##"{"data":{"cluster":{"version":1,"name":"c","shards":[{"nodes":[{"addr":"$5","created_at":@,"id":"#5","password":"","role":"master"}],"slot_ranges":["0-5460"],"target_shard_index":-1,"migrating_slot":null},{"nodes":[{"addr":"$6","created_at":@,"id":"#6","password":"","role":"master"}],"slot_ranges":["5461-10921"],"target_shard_index":-1,"migrating_slot":null},{"nodes":[{"addr":"$7","created_at":@,"id":"#7","password":"","role":"master"}],"slot_ranges":["10922-16383"],"target_shard_index":-1,"migrating_slot":null}]}}}"##,
        ),
        Row("delete", "DELETE /namespaces/b/clusters/c", "", 204, ""),
        Row("delete", "DELETE /namespaces/b", "", 204, ""),
        Row(
            "the same name with other nodes",
            CLUSTERS,
            r#"{"name":"c","nodes":["$5"]}"#,
            409,
            "!cluster: already exists",
        ),
        Row(
            "used addresses come before the count",
            CLUSTERS,
            r#"{"name":"d","nodes":["$5","$3","$1"],"replicas":2}"#,
            409,
            "!node: already exists: [$3 $1]",
        ),
        Row(
            "some clients say replica",
            CLUSTERS,
            r#"{"name":"d","nodes":["$5","$6"],"replica":2}"#,
            201,
            r##"{"data":{"cluster":{"version":1,"name":"d","shards":[{"nodes":[{"addr":"$5","created_at":@,"id":"#5","password":"","role":"master"},{"addr":"$6","created_at":@,"id":"#6","password":"","role":"slave"}],"slot_ranges":["0-16383"],"target_shard_index":-1,"migrating_slot":null}]}}}"##,
        ),
        Row("delete", "DELETE /namespaces/a/clusters/d", "", 204, ""),
        Row("delete again", "DELETE /namespaces/a/clusters/d", "", 404, "!cluster: not found"),
        Row(
            "a namespace with clusters stays",
            "DELETE /namespaces/a",
            "",
            403,
            "!forbidden: please delete clusters first",
        ),
    ]
}

fn shards() -> Vec<Row> {
    vec![
        Row(
            "no nodes",
            "POST /namespaces/a/clusters/c/shards",
            r#"{"name":"useless","nodes":[]}"#,
            400,
            "!nodes should NOT be empty",
        ),
        Row(
            "create",
            "POST /namespaces/a/clusters/c/shards",
            r#"{"nodes":["$5","$6"],"password":""}"#,
            201,
            r##"{"data":{"shard":{"nodes":[{"addr":"$5","created_at":@,"id":"#5","password":"","role":"master"},{"addr":"$6","created_at":@,"id":"#6","password":"","role":"slave"}],"slot_ranges":[],"target_shard_index":-1,"migrating_slot":null}}}"##,
        ),
        Row(
            "get",
            "GET /namespaces/a/clusters/c/shards/2",
            "",
            200,
            r##"{"data":{"shard":{"nodes":[{"addr":"$5","created_at":@,"id":"#5","password":"","role":"master"},{"addr":"$6","created_at":@,"id":"#6","password":"","role":"slave"}],"slot_ranges":[],"target_shard_index":-1,"migrating_slot":null}}}"##,
        ),
        Row(
            "list",
            "GET /namespaces/a/clusters/c/shards",
            "",
            200,
            r##"{"data":{"shards":[{"nodes":[{"addr":"$1","created_at":@,"id":"#1","password":"pw","role":"master"},{"addr":"$2","created_at":@,"id":"#2","password":"pw","role":"slave"}],"slot_ranges":["0-8191"],"target_shard_index":-1,"migrating_slot":null},{"nodes":[{"addr":"$3","created_at":@,"id":"#3","password":"pw","role":"master"},{"addr":"$4","created_at":@,"id":"#4","password":"pw","role":"slave"}],"slot_ranges":["8192-16383"],"target_shard_index":-1,"migrating_slot":null},{"nodes":[{"addr":"$5","created_at":@,"id":"#5","password":"","role":"master"},{"addr":"$6","created_at":@,"id":"#6","password":"","role":"slave"}],"slot_ranges":[],"target_shard_index":-1,"migrating_slot":null}]}}"##,
        ),
    ]
}

fn refused_shards() -> Vec<Row> {
    vec![
        Row(
            "a node that is used",
            "POST /namespaces/a/clusters/c/shards",
            r#"{"nodes":["$7","$3"]}"#,
            409,
            "!node: already exists: [$3]",
        ),
        Row(
            "of no cluster",
            "GET /namespaces/a/clusters/zz/shards",
            "",
            404,
            "!cluster: not found",
        ),
        Row(
            "of no cluster, before the body",
            "POST /namespaces/a/clusters/zz/shards",
            "{",
            404,
            "!cluster: not found",
        ),
        Row(
            "of no cluster, before the index",
            "DELETE /namespaces/a/clusters/zz/shards/x",
            "",
            404,
            "!cluster: not found",
        ),
        Row(
            "no number",
            "GET /namespaces/a/clusters/c/shards/x",
            "",
            400,
            r#"!strconv.Atoi: parsing "x": invalid syntax"#,
        ),
        Row(
            "out of range",
            "GET /namespaces/a/clusters/c/shards/9",
            "",
            400,
            "!index out of range",
        ),
        Row("below zero", "GET /namespaces/a/clusters/c/shards/-1", "", 400, "!index out of range"),
        Row(
            "of no cluster",
            "GET /namespaces/a/clusters/zz/shards/x",
            "",
            404,
            "!cluster: not found",
        ),
    ]
}

fn removed_shards() -> Vec<Row> {
    vec![
        Row(
            "one with slots stays",
            "DELETE /namespaces/a/clusters/c/shards/0",
            "",
            400,
            "!shard is servicing",
        ),
        Row(
            "no number",
            "DELETE /namespaces/a/clusters/c/shards/x",
            "",
            400,
            r#"!strconv.Atoi: parsing "x": invalid syntax"#,
        ),
        Row("delete", "DELETE /namespaces/a/clusters/c/shards/2", "", 204, ""),
        Row(
            "delete again",
            "DELETE /namespaces/a/clusters/c/shards/2",
            "",
            400,
            "!index out of range",
        ),
    ]
}

fn nodes() -> Vec<Row> {
    let add = "POST /namespaces/a/clusters/c/shards/1/nodes";
    let row = |promise, body, status, expected| Row(promise, add, body, status, expected);
    vec![
        row("add: the bare id", r#"{"addr":"$5"}"#, 201, r##"{"data":"#5"}"##),
        row("add again", r#"{"addr":"$5"}"#, 409, "!already exists"),
        row("of another shard", r#"{"addr":"$1"}"#, 409, "!node: already exists: [$1]"),
        row(
            "a second master",
            r#"{"addr":"$6","role":"master"}"#,
            409,
            "!master node already exists",
        ),
        row("no role", r#"{"addr":"$6","role":"boss"}"#, 400, "!invalid argument: role"),
        row(
            "no address",
            "{}",
            400,
            "!Key: 'Addr' Error:Field validation for 'Addr' failed on the 'required' tag",
        ),
        Row(
            "list",
            "GET /namespaces/a/clusters/c/shards/1/nodes",
            "",
            200,
            r##"{"data":{"nodes":[{"addr":"$3","created_at":@,"id":"#3","password":"pw","role":"master"},{"addr":"$4","created_at":@,"id":"#4","password":"pw","role":"slave"},{"addr":"$5","created_at":@,"id":"#5","password":"","role":"slave"}]}}"##,
        ),
        Row(
            "of no shard",
            "GET /namespaces/a/clusters/c/shards/9/nodes",
            "",
            400,
            "!index out of range",
        ),
        Row(
            "of no shard, before the body",
            "POST /namespaces/a/clusters/c/shards/x/nodes",
            "{",
            400,
            r#"!strconv.Atoi: parsing "x": invalid syntax"#,
        ),
        Row(
            "a master stays",
            "DELETE /namespaces/a/clusters/c/shards/1/nodes/#3",
            "",
            400,
            "!cannot remove master node: invalid argument",
        ),
        Row(
            "of another shard",
            "DELETE /namespaces/a/clusters/c/shards/1/nodes/#1",
            "",
            404,
            "!not found",
        ),
        Row("remove", "DELETE /namespaces/a/clusters/c/shards/1/nodes/#5", "", 204, ""),
    ]
}

fn slots() -> Vec<Row> {
    let migrate = "POST /namespaces/a/clusters/c/migrate";
    let row = |promise, body, status, expected| Row(promise, migrate, body, status, expected);
    vec![
        Row(
            "of no cluster, before the body",
            "POST /namespaces/a/clusters/zz/migrate",
            "{",
            404,
            "!cluster: not found",
        ),
        row("target out of range", r#"{"target":99,"slot":"5"}"#, 400, "!index out of range"),
        row(
            "target is the owner",
            r#"{"target":0,"slot":"5"}"#,
            500,
            "!source and target shard is same",
        ),
        row("an absent target is 0", r#"{"slot":"5"}"#, 500, "!source and target shard is same"),
        row(
            "over two shards",
            r#"{"target":1,"slot":"8191-8192"}"#,
            500,
            "!slot range belongs to multiple shards",
        ),
        row(
            "reversed",
            r#"{"target":1,"slot":"20-10"}"#,
            400,
            "!start slot id greater than stop slot id",
        ),
        row(
            "three bounds",
            r#"{"target":1,"slot":"1-2-3"}"#,
            400,
            "!invalid argument, cannot have more than one range",
        ),
        row(
            "no slot",
            r#"{"target":1,"slot":16384}"#,
            400,
            "!slot id was out of range, should be between 0 and 16383",
        ),
        row(
            "no number",
            r#"{"target":1,"slot":"x"}"#,
            400,
            r#"!strconv.Atoi: parsing "x": invalid syntax"#,
        ),
        row(
            "slots only, as the program's own command line says it",
            r#"{"target":1,"slot":"5","slotOnly":"true"}"#,
            200,
            r##"{"data":{"cluster":{"version":6,"name":"c","shards":[{"nodes":[{"addr":"$1","created_at":@,"id":"#1","password":"pw","role":"master"},{"addr":"$2","created_at":@,"id":"#2","password":"pw","role":"slave"}],"slot_ranges":["0-4","6-8191"],"target_shard_index":-1,"migrating_slot":null},{"nodes":[{"addr":"$3","created_at":@,"id":"#3","password":"pw","role":"master"},{"addr":"$4","created_at":@,"id":"#4","password":"pw","role":"slave"}],"slot_ranges":["5","8192-16383"],"target_shard_index":-1,"migrating_slot":null}]}}}"##,
        ),
        row(
            "over two ranges of a shard",
            r#"{"target":1,"slot":"4-6"}"#,
            500,
            "!slot range belongs to multiple shards",
        ),
    ]
}

async fn failover(site: &Site) {
    let path = "POST /namespaces/a/clusters/c/shards/1/failover";
    let alone = "!no match new master in shard";
    site.check(&[
        Row("nobody has a topology yet", path, "{}", 500, alone),
        Row("no node id", path, r#"{"preferred_node_id":"short"}"#, 400, "!invalid node id: short"),
        Row("a node of another shard", path, r##"{"preferred_node_id":"#1"}"##, 404, "!not found"),
    ])
    .await;
    site.nodes[2].join(6, "master", 20);
    site.nodes[3].join(6, "slave", 0);
    site.check(&[Row("a replica without data", path, "", 500, alone)]).await;
    site.nodes[3].answer("CLUSTER INFO", "-LOADING kvrocks is restoring the db from backup\r\n");
    let preferred = r##"{"preferred_node_id":"#4"}"##;
    site.check(&[Row("the preferred node is loading", path, preferred, 500, alone)]).await;
    site.nodes[3].join(6, "slave", 19);
    let body = r#"{"sync_timeout_ms":60,"pause_timeout_ms":50}"#;
    let text = "invalid argument: sync_timeout_ms must be less than pause_timeout_ms";
    let (status, found) = site.ask(path, body, &[]).await;
    assert!(status == 400 && found.contains(text), "{found}");
    let body = r#"{"sync_timeout_ms":60,"pause_timeout_ms":400}"#;
    let (status, found) = site.ask(path, body, &[]).await;
    assert!(status == 500 && found.contains("did not catch up"), "{found}");
    let heard = site.nodes[2].heard();
    assert!(heard.iter().any(|command| command == "CLIENT PAUSE 400 WRITE"), "{heard:?}");
    let deadline = Instant::now() + Duration::from_secs(5);
    while !site.nodes[2].heard().iter().any(|command| command == "CLIENT UNPAUSE") {
        assert!(Instant::now() < deadline, "writes go on after a failover that failed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let key = [("idempotency-key", "failover-1")];
    let (status, first) = site.ask(path, "", &key).await;
    assert_eq!(status, 200, "{first}");
    let record = site.data("GET /namespaces/a/clusters/c?consistency=linearizable").await;
    let promoted = &record["cluster"]["shards"][1]["nodes"][1];
    assert_eq!(promoted["role"], "master", "{record}");
    assert_eq!(first, format!(r#"{{"data":{{"new_master_id":{}}}}}"#, promoted["id"]));
    site.nodes[2].join(6, "slave", 20);
    let again = site.ask(path, "", &key).await;
    assert_eq!(again, (200, first), "a repeated request finds what it did");
    let found = site.data("GET /namespaces/a/clusters/c/failovers").await;
    assert_eq!(found["failovers"].as_array().unwrap().len(), 1);
    assert_eq!(found["failovers"][0]["cause"], "manual");
}

async fn rehearsals(site: &Site) {
    let before = site.data("GET /namespaces/a/clusters/c").await;
    let path = "POST /namespaces/a/clusters/c/migrate?dry_run=true";
    let (status, text) = site.ask(path, r#"{"target":1,"slot":7}"#, &[]).await;
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    let data = &found["data"];
    assert_eq!((status, &data["accepted"]), (200, &true.into()), "{text}");
    assert_eq!(data["cluster"]["shards"][0]["migrating_slot"], "7");
    let (_, text) = site.ask(path, r#"{"target":0,"slot":7}"#, &[]).await;
    assert!(text.contains(r#""accepted":false,"status":500"#), "{text}");
    assert!(text.contains("source and target shard is same"), "{text}");
    let path = "DELETE /namespaces/a/clusters/c/shards/0?dry_run=true";
    let (_, text) = site.ask(path, "", &[]).await;
    assert!(text.contains(r#""status":400,"error":"shard is servicing""#), "{text}");
    let path = "POST /namespaces/a/clusters/c/shards/0/failover?dry_run=true";
    let (_, text) = site.ask(path, "", &[]).await;
    assert!(text.contains("no match new master in shard"), "{text}");
    assert!(text.contains(r#""candidates":[{"#), "{text}");
    assert_eq!(site.data("GET /namespaces/a/clusters/c").await, before);
}

async fn queue(site: &Site) {
    let path = "/namespaces/a/clusters/c/migrations";
    let body = r#"{"target":1,"slots":["100","200-300"]}"#;
    let (status, text) = site.ask(&format!("POST {path}"), body, &[]).await;
    assert_eq!(status, 201, "{text}");
    let found = site.data(&format!("GET {path}")).await;
    let jobs = found["migrations"].as_array().unwrap();
    assert_eq!(jobs.len(), 2);
    assert_eq!(jobs[1]["slot"], "200-300");
    assert_eq!((&jobs[1]["state"], &jobs[1]["target"]), (&"queued".into(), &1.into()));
    let waiting = jobs[1]["id"].as_u64().unwrap();
    let one = site.ask(&format!("DELETE {path}/{waiting}"), "", &[]).await;
    assert_eq!(one, (204, String::new()));
    let found = site.data(&format!("GET {path}/{waiting}")).await;
    assert_eq!(found["migration"]["state"], "cancelled");
    let missing = "GET /namespaces/a/clusters/c/migrations/x";
    site.check(&[Row("no such job", missing, "", 404, "!migration: not found")]).await;
}

async fn imports(site: &Site) {
    let id = |letter: &str| letter.repeat(40);
    let (first, second) = (&site.nodes[6], &site.nodes[7]);
    let text = format!(
        "{b} {}@1 slave {a} 1 2 9 connected\n{a} {}@1 myself,master - 1 2 9 connected 0-16383\n",
        second.addr,
        first.addr,
        a = id("a"),
        b = id("b"),
    );
    let path = "POST /namespaces/a/clusters/old/import";
    site.check(&[
        Row("no nodes", path, "{}", 400, "!cluster nodes should NOT be empty"),
        Row(
            "a node without topology",
            path,
            r#"{"nodes":["$7"]}"#,
            500,
            "!CLUSTERDOWN The cluster is not initialized",
        ),
    ])
    .await;
    first.say("CLUSTER NODES", &text);
    first.answer("AUTH pw", "-ERR Client sent AUTH, but no password is set\r\n");
    let (status, found) = site.ask(path, r#"{"nodes":["$7"],"password":"pw"}"#, &[]).await;
    assert!(status == 500 && found.contains("no password is set"), "{found}");
    let started = Instant::now();
    let (status, found) = site.ask(path, r#"{"nodes":["127.0.0.1:1"]}"#, &[]).await;
    assert!(status == 500 && found.contains("127.0.0.1:1 cannot be reached"), "{found}");
    assert!(started.elapsed() < Duration::from_secs(4));
    site.check(&[
        Row(
            "import",
            path,
            r#"{"nodes":["$7"]}"#,
            200,
            r##"{"data":{"cluster":{"version":9,"name":"old","shards":[{"nodes":[{"addr":"$7","created_at":@,"id":"#7","password":"","role":"master"},{"addr":"$8","created_at":@,"id":"#8","password":"","role":"slave"}],"slot_ranges":["0-16383"],"target_shard_index":-1,"migrating_slot":null}]}}}"##,
        ),
        Row(
            "import again",
            path,
            r#"{"nodes":["$7"]}"#,
            409,
            "!node: already exists: [$7 $8]",
        ),
        Row("delete", "DELETE /namespaces/a/clusters/old", "", 204, ""),
    ])
    .await;
}

async fn checks_on_creation(site: &Site) {
    let body = r#"{"name":"n","nodes":["$9"]}"#;
    let node = &site.nodes[8];
    node.join(3, "master", 1);
    let text = "!node is already in cluster mode";
    site.check(&[Row("a node of another cluster", CLUSTERS, body, 400, text)]).await;
    node.answer("CLUSTER INFO", "-ERR Cluster mode is not enabled\r\n");
    let text = "!error while checking node cluster mode: ERR Cluster mode is not enabled";
    site.check(&[Row("a node without clusters", CLUSTERS, body, 500, text)]).await;
    let body_unreachable = r#"{"name":"n","nodes":["127.0.0.1:1"]}"#;
    let strict = [("X-Dont-Check-Cluster-Mode", "no")];
    let (status, text) = site.ask(CLUSTERS, body_unreachable, &strict).await;
    assert!(status == 500 && text.contains("127.0.0.1:1 cannot be reached"), "{text}");
    let (status, text) = site.ask(CLUSTERS, body_unreachable, &[]).await;
    assert_eq!(status, 201, "a node that is not there yet may come later: {text}");
    site.check(&[Row("delete", "DELETE /namespaces/a/clusters/n", "", 204, "")]).await;
    let key = [("X-Dont-Check-Cluster-Mode", "yes"), ("Idempotency-Key", "create-n")];
    let (status, first) = site.ask(CLUSTERS, body, &key).await;
    assert_eq!(status, 201, "{first}");
    assert_eq!(site.ask(CLUSTERS, body, &key).await, (201, first), "a retry finds its own");
    site.check(&[Row("delete", "DELETE /namespaces/a/clusters/n", "", 204, "")]).await;
}

async fn operators(site: &Site) {
    let leader = site.data("GET /controller/leader").await;
    let urls = site.cluster.urls();
    assert!(urls.contains(&format!("http://{}", leader.as_str().unwrap())), "{leader} of {urls:?}");
    let found = site.data("GET /raft/peers").await;
    assert_eq!(found["peers"].as_object().unwrap().len(), 3);
    assert!(found["peers"]["1"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert!((1..=3).contains(&found["leader"].as_u64().unwrap()));
    let row = |promise, body, status, text| Row(promise, "POST /raft/peers", body, status, text);
    site.check(&[
        row(
            "no operation",
            r#"{"id":4,"operation":"x"}"#,
            400,
            "!operation must be one of [add,remove]",
        ),
        row("no peer", r#"{"id":4,"operation":"ADD"}"#, 400, "!peer should NOT be empty"),
        row("no operation, no id", "{}", 400, "!operation must be one of [add,remove]"),
        row("unknown id", r#"{"id":4,"operation":"remove"}"#, 400, "!peer not exists"),
        Row(
            "settings are checked",
            "PUT /quorate/v1/kvrocks/settings",
            r#"{"ping_interval_ms":1}"#,
            400,
            "!invalid argument: ping_interval_ms is 100 to 600000, not 1",
        ),
    ])
    .await;
    let known = found["peers"]["1"].as_str().unwrap();
    let body = format!(r#"{{"id":4,"operation":"add","peer":"{known}"}}"#);
    let text = format!("!peer '{known}' already exists");
    let (status, found) = site.ask("POST /raft/peers", &body, &[]).await;
    assert!(status == 500 && found.contains(&text[1..]), "{found}");
    let moved = site.send("GET /namespaces/?consistency=linearizable", "", &[]).await;
    let location = moved.headers()["location"].to_str().unwrap();
    assert_eq!(location, "/api/v1/namespaces?consistency=linearizable");
    let path = "PUT /quorate/v1/kvrocks/settings";
    let (status, text) = site.ask(path, r#"{"hide_passwords":true}"#, &[]).await;
    assert!(status == 200 && text.contains(r#""hide_passwords":true"#), "{text}");
    let found = site.data("GET /namespaces/a/clusters/c/shards/0/nodes").await;
    assert_eq!(found["nodes"][0]["password"], "******");
    let found = site.data("GET /quorate/v1/kvrocks/observers").await;
    assert!(found["observers"].is_array());
}

fn removal() -> Vec<Row> {
    vec![
        Row("delete", "DELETE /namespaces/a/clusters/c", "", 204, ""),
        Row("delete", "DELETE /namespaces/a", "", 204, ""),
        Row("empty again", "GET /namespaces", "", 200, r#"{"data":{"namespaces":[]}}"#),
    ]
}
