//! Requests that are wrong in every way a request can be: a 4xx in the family's shape, and nothing
//! changed. Asked of a follower, under both prefixes.

#![allow(clippy::unwrap_used)]

mod support;
mod undermoon;

use std::time::Duration;

use futures::stream;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use undermoon::{Row, Site};

const MIB: usize = 1024 * 1024;
const CREATE: &str = r#"create | POST /clusters/meta/c | {"node_number":4} | 200 empty"#;

/// Routes that take a JSON body, with one that would be taken.
const BODY_ROUTES: [(&str, &str); 8] = [
    ("POST /clusters/meta/d", r#"{"node_number":4}"#),
    ("PATCH /clusters/nodes/c", r#"{"node_number":4}"#),
    ("PUT /clusters/nodes/c", r#"{"cluster_node_number":8}"#),
    (
        "PUT /clusters/migrations",
        r#"{"cluster_name":"c","slot_range":{"range_list":[[0,1]],"tag":"None"}}"#,
    ),
    ("PATCH /clusters/config/c", r#"{"migration_scan_count":"5"}"#),
    ("POST /proxies/meta", r#"{"proxy_address":"a:1","nodes":["a:2","a:3"]}"#),
    ("PUT /config", r#"{"replica_addresses":[]}"#),
    (
        "PUT /metadata",
        r#"{"version":"mem-broker-0.2","global_epoch":99,"clusters":{},"all_proxies":{},
        "failed_proxies":[],"failures":{},"enable_ordered_proxy":false}"#,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_get_a_4xx_and_change_nothing() {
    let site = Site::start().await;
    site.set_up("4 proxies").await;
    site.check(&Row::parse(CREATE)).await;
    let before = site.metadata().await;
    for prefix in ["/api/v2", "/api/v3"] {
        bodies(&site, prefix).await;
        paths(&site, prefix).await;
        headers(&site, prefix).await;
        documents(&site, prefix, &before).await;
        sizes(&site, prefix).await;
        half_sent(&site, prefix).await;
        assert_eq!(site.metadata().await, before, "{prefix}");
    }
}

/// Sends `request` and checks that it is refused with one of `statuses`.
async fn refused(site: &Site, prefix: &str, request: &str, body: &[u8], statuses: &[u16]) {
    let (method, path) = request.split_once(' ').unwrap();
    let request = site.request(method, &format!("{prefix}{path}"));
    let request = request.header("content-type", "application/json").body(body.to_vec());
    judge(&format!("{prefix} {method} {path}"), request.send().await.unwrap(), statuses).await;
}

async fn judge(about: &str, response: reqwest::Response, statuses: &[u16]) {
    let status = response.status().as_u16();
    let body = response.text().await.unwrap();
    assert!(statuses.contains(&status), "{about}: {status} {body}");
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    assert!(body["error"].is_string(), "{about}: {status} {body}");
}

async fn bodies(site: &Site, prefix: &str) {
    let deep = "[".repeat(100_000);
    let nonsense: [&[u8]; 9] =
        [b"", b"{", b"[]", b"null", b"5", b"\"x\"", b"{'a':1}", b"\xff\xfe{}", deep.as_bytes()];
    for (request, good) in BODY_ROUTES {
        for body in nonsense {
            refused(site, prefix, request, body, &[400]).await;
        }
        let cut = &good.as_bytes()[..good.len() - 1];
        refused(site, prefix, request, cut, &[400]).await;
        if !request.contains("config/c") {
            let without = good.replacen(":", ":{\"x\":[]},\"y\":", 1);
            refused(site, prefix, request, without.as_bytes(), &[400]).await;
            refused(site, prefix, request, b"{}", &[400, 409]).await;
        }
    }
    for number in
        ["\"4\"", "4.0", "4e0", "-4", "1e30", "18446744073709551616", "null", "true", "[4]"]
    {
        let body = format!(r#"{{"node_number":{number},"cluster_node_number":{number}}}"#);
        for request in ["POST /clusters/meta/d", "PATCH /clusters/nodes/c", "PUT /clusters/nodes/c"]
        {
            refused(site, prefix, request, body.as_bytes(), &[400]).await;
        }
    }
    for number in [0_u64, 1, 3, 6, u64::MAX, u64::MAX - 3] {
        let body = format!(r#"{{"node_number":{number}}}"#);
        refused(site, prefix, "POST /clusters/meta/d", body.as_bytes(), &[400, 409]).await;
        refused(site, prefix, "PATCH /clusters/nodes/c", body.as_bytes(), &[400, 409]).await;
    }
    for member in [
        r#""proxy_address":5,"nodes":["a","b"]"#,
        r#""proxy_address":"a:9","nodes":["a"]"#,
        r#""proxy_address":"a:9","nodes":["a","b","c"]"#,
        r#""proxy_address":"a:9","nodes":["a","b"],"index":-1"#,
        r#""proxy_address":"a:9","nodes":["a","b"],"host":7"#,
        r#""proxy_address":"no-colon","nodes":["a","b"]"#,
        r#""proxy_address":"a:b:c","nodes":["a","b"]"#,
    ] {
        let body = format!("{{{member}}}");
        refused(site, prefix, "POST /proxies/meta", body.as_bytes(), &[400]).await;
    }
}

async fn paths(site: &Site, prefix: &str) {
    let long = "x".repeat(10_000);
    let name_32 = "x".repeat(32);
    let node_number = br#"{"node_number":4}"#;
    for name in [name_32.as_str(), &long, "a.b", "a%20b", "%C3%A9"] {
        let request = format!("POST /clusters/meta/{name}");
        refused(site, prefix, &request, node_number, &[400]).await;
    }
    for request in [
        "GET /nothing",
        "GET /clusters",
        "GET /clusters/meta",
        "GET /clusters/meta//",
        "GET /clusters/meta/c/d",
        "GET //version",
        "POST /failures/a:1",
        "POST /clusters/migrations/shrink/c/x",
        "POST /clusters/migrations/shrink/c/-4",
        "POST /clusters/migrations/auto/c/4.0",
        "PUT /epoch/18446744073709551616",
        "PUT /epoch/one",
        "DELETE /version",
        "POST /metadata",
        "PATCH /epoch/5",
        "DELETE /failures",
        "TRACE /version",
        "MADEUP /version",
    ] {
        refused(site, prefix, request, b"", &[404, 405]).await;
    }
    for query in ["offset=-1", "limit=", "offset=1&offset=2", "limit=x", "offset=1.5", "limit=%ff"]
    {
        refused(site, prefix, &format!("GET /clusters/names?{query}"), b"", &[400]).await;
        refused(site, prefix, &format!("GET /proxies/addresses?{query}"), b"", &[400]).await;
    }
    refused(site, prefix, "GET /epoch?consistency=eventual", b"", &[400]).await;
}

async fn headers(site: &Site, prefix: &str) {
    for (name, value) in [
        ("quorate-profile", "draft"),
        ("quorate-consistency", "strong"),
        ("quorate-min-index", "-1"),
        ("quorate-min-index", "many"),
    ] {
        let request = site.request("GET", &format!("{prefix}/epoch")).header(name, value);
        judge(name, request.send().await.unwrap(), &[400]).await;
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
        let request = site.request("POST", &format!("{prefix}/proxies/meta"));
        let request = request.header("content-type", kind).body(BODY_ROUTES[5].1);
        judge(kind, request.send().await.unwrap(), &[415]).await;
    }
}

/// Documents that are well formed but break an invariant.
async fn documents(site: &Site, prefix: &str, good: &Value) {
    let chunk = "/clusters/c/chunks/0";
    let entry = json!({"range_list": [[1, 2]], "is_migrating": true, "meta": {"epoch": 1,
        "src_chunk_index": 0, "src_chunk_part": 0, "dst_chunk_index": 7, "dst_chunk_part": 0}});
    let edits: [(String, Value); 10] = [
        ("/clusters/c/name".to_owned(), json!("d")),
        ("/clusters/c/epoch".to_owned(), json!(u64::MAX)),
        (format!("{chunk}/stable_slots/0/range_list"), json!([[0, 8192]])),
        (format!("{chunk}/stable_slots/0/range_list"), json!([[0, 8190]])),
        (format!("{chunk}/stable_slots/1/range_list"), json!([[8192, 16384]])),
        (format!("{chunk}/stable_slots/1/range_list"), json!([[16383, 8192]])),
        (format!("{chunk}/migrating_slots/0"), json!([entry])),
        (format!("{chunk}/proxy_addresses/0"), json!("9.9.9.9:1")),
        (format!("{chunk}/node_addresses/0"), json!("9.9.9.9:1")),
        ("/all_proxies/10.0.0.4:7000/cluster".to_owned(), json!("nowhere")),
    ];
    for (place, value) in edits {
        let mut document = good.clone();
        document["global_epoch"] = json!(good["global_epoch"].as_u64().unwrap() + 10);
        *document.pointer_mut(&place).expect("the place exists") = value;
        let body = document.to_string();
        refused(site, prefix, "PUT /metadata", body.as_bytes(), &[400]).await;
    }
    let mut behind = good.clone();
    behind["global_epoch"] = json!(0);
    behind["clusters"] = json!({});
    behind["all_proxies"] = json!({});
    refused(site, prefix, "PUT /metadata", behind.to_string().as_bytes(), &[409]).await;
}

async fn sizes(site: &Site, prefix: &str) {
    let blank = vec![b' '; MIB + 1];
    for (request, _) in &BODY_ROUTES[..7] {
        let (method, path) = request.split_once(' ').unwrap();
        let chunks =
            stream::iter((0..MIB / 4096 + 1).map(|_| Ok::<_, std::io::Error>(vec![b' '; 4096])));
        for body in [reqwest::Body::from(blank.clone()), reqwest::Body::wrap_stream(chunks)] {
            let sent = site.request(method, &format!("{prefix}{path}")).body(body).send().await;
            // The refusal may overtake the body, and the connection then end under the sender.
            if let Ok(response) = sent {
                judge(request, response, &[413]).await;
            }
        }
    }
    let head =
        format!("PUT {prefix}/metadata HTTP/1.1\r\nhost: x\r\ncontent-length: 134217729\r\n\r\n");
    let answer = exchange(site, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

/// Requests that stop in the middle are given up, and others are served meanwhile.
async fn half_sent(site: &Site, prefix: &str) {
    let head =
        format!("POST {prefix}/proxies/meta HTTP/1.1\r\nhost: x\r\ncontent-length: 90\r\n\r\n{{");
    let (answer, ()) = tokio::join!(exchange(site, head.as_bytes()), async {
        site.metadata().await;
    });
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let answer = exchange(site, b"\x16\x03\x01 this is not HTTP\r\n\r\n").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
}

/// Sends bytes and reads until the server ends the connection.
async fn exchange(site: &Site, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(site.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    read.expect("the server ends the connection").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
