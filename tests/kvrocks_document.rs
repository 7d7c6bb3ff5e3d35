//! Every row of the documents "HTTP APIs" of the controller, asked of a follower in the profile
//! `document`: method, path, body, status and the exact body of the answer.

#![allow(clippy::unwrap_used)]

mod kvrocks;
mod support;

use kvrocks::{Row, Site};

const OK: &str = r#"{"data":"ok"}"#;
const CREATED: &str = r#"{"data":"created"}"#;
const EXISTED: &str = r#"{"error":{"message":"the entry already existed"}}"#;
const NOT_THERE: &str = r#"{"error":{"message":"the entry does not exist"}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_of_the_documents_is_kept_by_a_follower() {
    let site = Site::start("document").await;
    site.check(&namespaces()).await;
    site.check(&clusters()).await;
    import(&site).await;
    site.check(&shards()).await;
    site.check(&nodes()).await;
    failover(&site).await;
    site.check(&migration()).await;
    site.check(&removal()).await;
}

fn namespaces() -> Vec<Row> {
    let body = r#"{"namespace": "test-ns"}"#;
    vec![
        Row("nothing yet", "GET /namespaces", "", 200, r#"{"data":{"namespaces":[]}}"#),
        Row("create", "POST /namespaces", body, 201, CREATED),
        Row("create again", "POST /namespaces", body, 409, EXISTED),
        Row("list", "GET /namespaces", "", 200, r#"{"data":{"namespaces":["test-ns"]}}"#),
        Row("\"delete\" with GET is a question", "GET /namespaces/test-ns", "", 200, OK),
        Row("and nothing was deleted", "GET /namespaces/test-ns", "", 200, OK),
        Row("no such namespace", "GET /namespaces/none", "", 404, NOT_THERE),
        Row("delete", "DELETE /namespaces/test-ns", "", 200, OK),
        Row("delete again", "DELETE /namespaces/test-ns", "", 404, NOT_THERE),
        Row("create for the rest", "POST /namespaces", body, 201, CREATED),
    ]
}

const CLUSTER: &str = "/namespaces/test-ns/clusters/test-cluster";

fn clusters() -> Vec<Row> {
    let body = r#"{"name":"test-cluster","nodes":["$1"],"replicas":1,"password":""}"#;
    let taken = r#"{"name":"other","nodes":["$1"],"replicas":1,"password":""}"#;
    vec![
        Row("create", "POST /namespaces/test-ns/clusters", body, 201, CREATED),
        Row("create again", "POST /namespaces/test-ns/clusters", body, 409, EXISTED),
        Row("a node twice", "POST /namespaces/test-ns/clusters", taken, 409, EXISTED),
        Row(
            "list",
            "GET /namespaces/test-ns/clusters",
            "",
            200,
            r#"{"data":{"clusters":["test-cluster"]}}"#,
        ),
        Row(
            "get",
            "GET /namespaces/test-ns/clusters/test-cluster",
            "",
            200,
            r##"{"data":{"cluster":{"name":"test-cluster","version":1,"shards":[{"nodes":[{"id":"#1","addr":"$1","role":"master","password":"","master_auth":"","created_at":@}],"slot_ranges":["0-16383"],"import_slot":-1,"migrating_slot":-1}]}}}"##,
        ),
        Row("no such cluster", "GET /namespaces/test-ns/clusters/none", "", 404, NOT_THERE),
        Row("no such cluster", "DELETE /namespaces/test-ns/clusters/none", "", 404, NOT_THERE),
    ]
}

async fn import(site: &Site) {
    let node = &site.nodes[7];
    let id = "YotDSqzTeHK6CnIX2gZu27IlcYRTW4dkkFQvV382";
    let line = format!("{id} {}@1 myself,master - 1 2 9 connected 0-16383\n", node.addr);
    node.say("CLUSTER NODES", &line);
    node.join(9, "master", 1);
    let body = r#"{"nodes":["$8"],"password":""}"#;
    site.check(&[
        Row("import", "POST /namespaces/test-ns/clusters/old/import", body, 201, CREATED),
        Row("import again", "POST /namespaces/test-ns/clusters/old/import", body, 409, EXISTED),
        Row(
            "an import keeps ids and version",
            "GET /namespaces/test-ns/clusters/old",
            "",
            200,
            r##"{"data":{"cluster":{"name":"old","version":9,"shards":[{"nodes":[{"id":"#8","addr":"$8","role":"master","password":"","master_auth":"","created_at":@}],"slot_ranges":["0-16383"],"import_slot":-1,"migrating_slot":-1}]}}}"##,
        ),
    ])
    .await;
    let found = site.data("GET /namespaces/test-ns/clusters/old/shards/0/nodes").await;
    assert_eq!(found["nodes"][0]["id"], id);
    site.check(&[Row("delete", "DELETE /namespaces/test-ns/clusters/old", "", 200, OK)]).await;
}

fn shards() -> Vec<Row> {
    let shards = "/namespaces/test-ns/clusters/test-cluster/shards";
    assert_eq!(format!("{CLUSTER}/shards"), shards);
    vec![
        Row(
            "create",
            "POST /namespaces/test-ns/clusters/test-cluster/shards",
            r#"{"nodes":["$2"],"password":""}"#,
            201,
            CREATED,
        ),
        Row(
            "create again",
            "POST /namespaces/test-ns/clusters/test-cluster/shards",
            r#"{"nodes":["$2"],"password":""}"#,
            409,
            EXISTED,
        ),
        Row(
            "get",
            "GET /namespaces/test-ns/clusters/test-cluster/shards/0",
            "",
            200,
            r##"{"data":{"shard":{"nodes":[{"id":"#1","addr":"$1","role":"master","password":"","master_auth":"","created_at":@}],"slot_ranges":["0-16383"],"import_slot":-1,"migrating_slot":-1}}}"##,
        ),
        Row("of no cluster", "GET /namespaces/test-ns/clusters/none/shards/0", "", 404, NOT_THERE),
        Row(
            "list",
            "GET /namespaces/test-ns/clusters/test-cluster/shards",
            "",
            200,
            r##"{"data":{"shards":[{"nodes":[{"id":"#1","addr":"$1","role":"master","password":"","master_auth":"","created_at":@}],"slot_ranges":["0-16383"],"import_slot":-1,"migrating_slot":-1},{"nodes":[{"id":"#2","addr":"$2","role":"master","password":"","master_auth":"","created_at":@}],"slot_ranges":null,"import_slot":-1,"migrating_slot":-1}]}}"##,
        ),
        Row(
            "of no cluster",
            "DELETE /namespaces/test-ns/clusters/none/shards/1",
            "",
            404,
            NOT_THERE,
        ),
    ]
}

fn nodes() -> Vec<Row> {
    let body = r#"{"addr":"$3","role":"slave","password":""}"#;
    vec![
        Row(
            "create",
            "POST /namespaces/test-ns/clusters/test-cluster/shards/0/nodes",
            body,
            201,
            CREATED,
        ),
        Row(
            "create again",
            "POST /namespaces/test-ns/clusters/test-cluster/shards/0/nodes",
            body,
            409,
            EXISTED,
        ),
        Row(
            "list",
            "GET /namespaces/test-ns/clusters/test-cluster/shards/0/nodes",
            "",
            200,
            r##"{"data":{"nodes":[{"id":"#1","addr":"$1","role":"master","password":"","created_at":@},{"id":"#3","addr":"$3","role":"slave","password":"","created_at":@}]}}"##,
        ),
        Row(
            "no such node",
            "DELETE /namespaces/test-ns/clusters/test-cluster/shards/0/nodes/none",
            "",
            404,
            NOT_THERE,
        ),
    ]
}

async fn failover(site: &Site) {
    let path = "POST /namespaces/test-ns/clusters/test-cluster/shards/0/failover";
    site.nodes[0].join(9, "master", 7);
    site.nodes[2].join(9, "slave", 7);
    site.check(&[
        Row(
            "failover to the preferred node",
            path,
            r##"{"preferred_node_id":"#3"}"##,
            200,
            r##"{"data":{"new_master_id":"#3"}}"##,
        ),
        Row(
            "roles have changed and places have not",
            "GET /namespaces/test-ns/clusters/test-cluster/shards/0/nodes",
            "",
            200,
            r##"{"data":{"nodes":[{"id":"#1","addr":"$1","role":"slave","password":"","created_at":@},{"id":"#3","addr":"$3","role":"master","password":"","created_at":@}]}}"##,
        ),
        Row(
            "no replica is an error of the server",
            "POST /namespaces/test-ns/clusters/test-cluster/shards/1/failover",
            "",
            500,
            r#"{"error":{"message":"no replica in shard"}}"#,
        ),
    ])
    .await;
}

fn migration() -> Vec<Row> {
    let body = r#"{"target":1,"slot":123,"slot_only":"true"}"#;
    vec![
        Row(
            "migrate the slot only",
            "POST /namespaces/test-ns/clusters/test-cluster/migrate",
            body,
            200,
            OK,
        ),
        Row(
            "the slot is there",
            "GET /namespaces/test-ns/clusters/test-cluster/shards/1",
            "",
            200,
            r##"{"data":{"shard":{"nodes":[{"id":"#2","addr":"$2","role":"master","password":"","master_auth":"","created_at":@}],"slot_ranges":["123"],"import_slot":-1,"migrating_slot":-1}}}"##,
        ),
        Row(
            "of no cluster",
            "POST /namespaces/test-ns/clusters/none/migrate",
            body,
            404,
            NOT_THERE,
        ),
        Row(
            "back again",
            "POST /namespaces/test-ns/clusters/test-cluster/migrate",
            r#"{"target":0,"slot":123,"slot_only":"true"}"#,
            200,
            OK,
        ),
        Row(
            "an error of the server",
            "POST /namespaces/test-ns/clusters/test-cluster/migrate",
            r#"{"target":0,"slot":123,"slot_only":"false"}"#,
            500,
            r#"{"error":{"message":"source and target shard is same"}}"#,
        ),
    ]
}

fn removal() -> Vec<Row> {
    vec![
        Row(
            "delete a node",
            "DELETE /namespaces/test-ns/clusters/test-cluster/shards/0/nodes/#1",
            "",
            200,
            OK,
        ),
        Row(
            "delete a shard",
            "DELETE /namespaces/test-ns/clusters/test-cluster/shards/1",
            "",
            200,
            OK,
        ),
        Row(
            "a migration of data is begun",
            "POST /namespaces/test-ns/clusters/test-cluster/shards",
            r#"{"nodes":["$4"],"password":""}"#,
            201,
            CREATED,
        ),
        Row(
            "the document's own body",
            "POST /namespaces/test-ns/clusters/test-cluster/migrate",
            r#"{"target":1,"slot":123,"slot_only":"false"}"#,
            200,
            OK,
        ),
        Row("delete", "DELETE /namespaces/test-ns/clusters/test-cluster", "", 200, OK),
        Row("again", "DELETE /namespaces/test-ns/clusters/test-cluster", "", 404, NOT_THERE),
    ]
}
