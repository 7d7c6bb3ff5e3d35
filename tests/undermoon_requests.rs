//! What a request can ask of its answer beyond the route: currency, idempotency, profile, encoding.

#![allow(clippy::unwrap_used)]

mod support;
mod undermoon;

use std::io::Read;

use flate2::read::GzDecoder;
use reqwest::{Client, Response, header::HeaderMap};
use serde_json::{Value, json};
use undermoon::{Row, Site};

const POSITION: [&str; 4] = ["quorate-index", "quorate-term", "quorate-leader", "quorate-age-ms"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_choose_how_they_are_answered() {
    let site = Site::start().await;
    every_answer_says_where_the_replica_stood(&site).await;
    a_write_is_seen_elsewhere_from_its_index_on(&site).await;
    a_key_stands_for_one_wish(&site).await;
    the_profile_is_a_matter_of_the_request(&site).await;
    large_answers_are_compressed_on_request(&site).await;
    the_replica_addresses_belong_to_one_replica(&site).await;
}

fn number(headers: &HeaderMap, name: &str) -> u64 {
    let value = headers.get(name).unwrap_or_else(|| panic!("{name} is missing: {headers:?}"));
    value.to_str().unwrap().parse().unwrap()
}

async fn every_answer_says_where_the_replica_stood(site: &Site) {
    for (method, path, status) in [
        ("GET", "/api/v3/epoch", 200),
        ("GET", "/api/v3/epoch?consistency=linearizable", 200),
        ("GET", "/api/v2/clusters/info/none", 404),
        ("GET", "/api/v2/clusters/names?limit=x", 400),
        ("POST", "/api/v3/clusters/migrations/expand/none", 404),
        ("GET", "/api/v9/epoch", 404),
    ] {
        let response = site.request(method, path).send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        for name in POSITION {
            number(response.headers(), name);
        }
        assert!(number(response.headers(), "quorate-term") > 0);
    }
}

async fn a_write_is_seen_elsewhere_from_its_index_on(site: &Site) {
    for proxy in 1..=20 {
        let host = format!("10.9.0.{proxy}");
        let body = json!({"proxy_address": format!("{host}:1"), "nodes": ["a", "b"]});
        let written = site.request("POST", "/api/v3/proxies/meta").json(&body);
        let written = written.send().await.unwrap();
        assert_eq!(written.status(), 200);
        let index = number(written.headers(), "quorate-index");
        for url in site.others() {
            let seen = Client::new().get(format!("{url}/api/v3/proxies/meta/{host}:1"));
            let seen = seen.header("quorate-min-index", index).send().await.unwrap();
            assert!(number(seen.headers(), "quorate-index") >= index);
            let seen: Value = seen.json().await.unwrap();
            assert_eq!(seen["proxy"]["address"], format!("{host}:1"));
        }
    }
}

async fn with_key(url: &str, key: &str, path: &str, body: &Value) -> Response {
    let request = Client::new().post(format!("{url}{path}")).header("idempotency-key", key);
    request.json(body).send().await.unwrap()
}

async fn a_key_stands_for_one_wish(site: &Site) {
    let body = json!({"proxy_address": "10.8.0.1:1", "nodes": ["a", "b"]});
    let path = "/api/v3/proxies/meta";
    let urls: Vec<_> = std::iter::once(site.url()).chain(site.others().iter().cloned()).collect();
    let mut echoes = Vec::new();
    for url in &urls {
        let response = with_key(url, "one wish", path, &body).await;
        assert_eq!(response.status(), 200, "the first outcome is answered again by {url}");
        echoes.push(response.headers()["quorate-request-id"].clone());
    }
    assert!(echoes.iter().all(|echo| echo == echoes[0]));
    let again = with_key(&site.url(), echoes[0].to_str().unwrap(), path, &body).await;
    assert_eq!(again.status(), 200, "an echoed id is the same wish");
    let other = with_key(&site.url(), "another wish", path, &body).await;
    assert_eq!(other.status(), 409, "registered already");
    let reused = json!({"proxy_address": "10.8.0.2:1", "nodes": ["a", "b"]});
    let reused = with_key(&site.url(), "one wish", path, &reused).await;
    assert_eq!(reused.status(), 422, "another request under the same key");
    let body: Value = reused.json().await.unwrap();
    assert_eq!(body["error"], "REQUEST_ID_REUSED");
}

async fn the_profile_is_a_matter_of_the_request(site: &Site) {
    site.set_up("2 proxies").await;
    let create = r#"create | POST /clusters/meta/c | {"node_number":4} | 200 empty"#;
    site.check(&Row::parse(create)).await;
    for (prefix, profile, status) in [
        ("/api/v2", None, 409),
        ("/api/v2", Some("document"), 409),
        ("/api/v2", Some("program"), 404),
        ("/api/v3", None, 404),
        ("/api/v3", Some("document"), 404),
    ] {
        let mut request = site.request("DELETE", &format!("{prefix}/clusters/free_nodes/c"));
        if let Some(profile) = profile {
            request = request.header("quorate-profile", profile);
        }
        let status_found = request.send().await.unwrap().status();
        assert_eq!(status_found, status, "{prefix} {profile:?}");
    }
}

async fn large_answers_are_compressed_on_request(site: &Site) {
    for prefix in ["/api/v2", "/api/v3"] {
        for (path, is_large) in [
            ("/metadata", true),
            ("/clusters/meta/c", true),
            ("/proxies/meta/10.0.0.1:7000", true),
            ("/clusters/names", false),
            ("/failures", false),
        ] {
            let path = format!("{prefix}{path}");
            let plain = site.request("GET", &path).header("accept-encoding", "identity");
            let plain = plain.send().await.unwrap();
            assert!(!plain.headers().contains_key("content-encoding"), "{path}");
            let plain = plain.bytes().await.unwrap();
            let packed = site.request("GET", &path).header("accept-encoding", "gzip");
            let packed = packed.send().await.unwrap();
            assert_eq!(packed.headers().contains_key("content-encoding"), is_large, "{path}");
            let packed = packed.bytes().await.unwrap();
            let mut unpacked = Vec::new();
            match is_large {
                true => GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).map(drop).unwrap(),
                false => unpacked.extend(packed),
            }
            assert_eq!(unpacked, plain, "{path}");
        }
    }
}

async fn the_replica_addresses_belong_to_one_replica(site: &Site) {
    let given = json!({"replica_addresses": ["10.0.0.1:7799"]});
    let put = site.request("PUT", "/api/v3/config").json(&given).send().await.unwrap();
    assert_eq!(put.status(), 200);
    let here: Value =
        site.request("GET", "/api/v2/config").send().await.unwrap().json().await.unwrap();
    assert_eq!(here, given);
    for url in site.others() {
        let there = Client::new().get(format!("{url}/api/v3/config")).send().await.unwrap();
        let there: Value = there.json().await.unwrap();
        assert_eq!(there, json!({"replica_addresses": []}));
    }
}
