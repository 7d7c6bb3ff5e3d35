//! The OpenAPI documents: those under `docs/openapi` are what the program makes and serves, and a
//! running replica knows every path they have.
//!
//! A changed surface makes the first test fail; `scripts/openapi` then writes the files anew, and
//! the difference is part of the change.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use quorate::api::openapi::documents;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use support::cluster::Cluster;

fn place(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/openapi").join(name)
}

#[test]
fn the_files_are_what_the_program_makes() {
    let is_writing = env::var("QUORATE_OPENAPI").is_ok_and(|mode| mode == "write");
    let mut differing = Vec::new();
    for document in documents() {
        let path = place(&format!("{}.json", document.name));
        if is_writing {
            fs::create_dir_all(place("")).unwrap();
            fs::write(&path, &document.text).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        if written != document.text {
            let at = written.lines().zip(document.text.lines()).position(|(one, two)| one != two);
            differing.push(format!("{}, line {}", path.display(), at.unwrap_or(0) + 1));
        }
    }
    assert!(
        differing.is_empty(),
        "run scripts/openapi, and look at what it changes: {differing:#?}"
    );
    let names: BTreeSet<_> = fs::read_dir(place(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let known = documents().iter().map(|document| format!("{}.json", document.name));
    assert_eq!(names, known.collect(), "a file that no document stands for");
}

#[test]
fn operations_have_ids_of_their_own_and_say_how_they_are_answered() {
    for document in documents() {
        let value: Value = serde_json::from_str(&document.text).unwrap();
        let mut ids = BTreeSet::new();
        for (path, item) in value["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let place = format!("{}: {method} {path}", document.name);
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "{place}: {id} is taken");
                let responses = operation["responses"].as_object().unwrap();
                let is_success = |status: &&String| status.starts_with(['2', '3']);
                assert!(responses.keys().any(|status| is_success(&status)), "{place}: no success");
                let names: Vec<&str> = operation["parameters"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|parameter| parameter["name"].as_str().unwrap())
                    .collect();
                let unique: BTreeSet<_> = names.iter().collect();
                assert_eq!(unique.len(), names.len(), "{place}: {names:?}");
            }
        }
    }
}

/// Every module that makes routes; another one must be listed here, and be documented.
#[test]
fn every_router_is_known() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut routed = BTreeSet::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if fs::read_to_string(&path).is_ok_and(|text| text.contains("Router::new()")) {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                routed.insert(name);
            }
        }
    }
    // Each of the first three has a test beside its documents, as have the requests of undermoon,
    // which finds its own. The rest puts them together, serves the
    // documents or the files of the console, or answers everything alike until the replica is taken
    // in; a gateway's own desk is no interface of a replica.
    let known = [
        "api/admin/mod.rs",
        "api/cello/mod.rs",
        "api/kvrocks/mod.rs",
        "api/console.rs",
        "api/mod.rs",
        "api/openapi/serve.rs",
        "api/waiting.rs",
    ];
    let others: Vec<_> = routed
        .iter()
        .filter(|name| !name.starts_with("gateway/"))
        .filter(|name| !known.contains(&name.as_str()))
        .collect();
    assert!(others.is_empty(), "routes that no document has: {others:?}");
    assert!(known.iter().all(|name| routed.contains(*name)), "{routed:?}");
}

#[tokio::test]
async fn every_replica_serves_the_documents_to_everybody() {
    // Nothing else is allowed without a token here.
    let cluster = Cluster::start(3, &["--anonymous=none"]).await;
    let client = cluster.client.clone();
    for id in 1..=3 {
        let index = cluster.ask(id, "/openapi/index.json").await.unwrap();
        let listed = index["documents"].as_array().unwrap();
        assert_eq!(listed.len(), documents().len());
        for (entry, document) in listed.iter().zip(documents()) {
            let url = format!("{}{}", cluster.url(id), entry["url"].as_str().unwrap());
            let response = client.get(&url).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{url}");
            assert_eq!(response.headers()["content-type"], "application/json");
            assert!(response.headers().get("content-encoding").is_none());
            assert_eq!(response.text().await.unwrap(), document.text, "{url}");
            let packed = client.get(&url).header("accept-encoding", "gzip").send().await.unwrap();
            assert_eq!(packed.headers()["content-encoding"], "gzip");
            let bytes = packed.bytes().await.unwrap();
            assert!(bytes.len() * 4 < document.text.len(), "{} bytes packed", bytes.len());
        }
    }
    let missing = client.get(format!("{}/openapi/none.json", cluster.url(1))).send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_page_takes_nothing_from_elsewhere() {
    let cluster = Cluster::start(1, &["--anonymous=none"]).await;
    for (path, media_type) in [
        ("/openapi/", "text/html; charset=utf-8"),
        ("/openapi/page.css", "text/css; charset=utf-8"),
        ("/openapi/page.js", "text/javascript; charset=utf-8"),
    ] {
        let url = format!("{}{path}", cluster.url(1));
        let response = cluster.client.get(&url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{url}");
        assert_eq!(response.headers()["content-type"], media_type);
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let text = response.text().await.unwrap();
        assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
        assert!(!text.contains("innerHTML") && !text.contains(" style="), "{path}");
    }
    let page = cluster.client.get(format!("{}/openapi", cluster.url(1))).send().await.unwrap();
    assert!(page.url().path().ends_with("/openapi/"), "{}", page.url());
}

/// What a family answers where it has no route.
fn is_no_route(status: StatusCode, text: &str) -> bool {
    status == StatusCode::METHOD_NOT_ALLOWED
        || status == StatusCode::NOT_FOUND
            && ["no route has", "no such route", "\"not found\""]
                .iter()
                .any(|word| text.contains(word))
        || status == StatusCode::NOT_FOUND && text.is_empty()
}

#[tokio::test]
async fn a_replica_knows_every_path_of_the_documents() {
    let cluster = Cluster::start(1, &[]).await;
    let mut asked = 0;
    for document in documents() {
        let value: Value = serde_json::from_str(&document.text).unwrap();
        for (path, item) in value["paths"].as_object().unwrap() {
            let path = path.replace("{node_number}", "4").replace("{epoch}", "1").replace('{', "");
            let path = path.replace('}', "");
            for method in item.as_object().unwrap().keys() {
                // Without this the change feed never ends.
                let query = if path.ends_with("/events") { "?wait=0" } else { "" };
                let url = format!("{}{path}{query}", cluster.url(1));
                let method: Method = method.to_ascii_uppercase().parse().unwrap();
                // No body means anything to any of them, so nothing much happens.
                let request = cluster.client.request(method.clone(), &url);
                let response = request.body("{").send().await.unwrap();
                let status = response.status();
                let text = response.text().await.unwrap_or_default();
                assert!(!is_no_route(status, &text), "{method} {url}: {status} {text}");
                asked += 1;
            }
        }
    }
    assert!(asked > 40, "{asked} operations were asked for");
}
