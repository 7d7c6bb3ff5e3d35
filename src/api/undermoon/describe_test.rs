//! The documents and the routes agree, both ways.

use axum::http::Method;

use super::*;
use crate::api::{openapi::agreement, undermoon::route};

/// Values that every segment with a name of its own can have.
fn sample(path: &str) -> String {
    path.replace("{node_number}", "8").replace("{epoch}", "8")
}

fn check(generation: Generation, prefix: &str, document: &Value) {
    let is_routed = |method: &str, path: &str| {
        let method: Method = method.parse().unwrap();
        route::parse(generation, &method, &sample(path)).is_some()
    };
    let patterns = agreement::slice_patterns(include_str!("route.rs"), "");
    agreement::check(document, prefix, &patterns, &["HEAD"], is_routed);
}

#[test]
fn every_route_is_documented_and_every_document_is_routed() {
    for profile in [Profile::Document, Profile::Program] {
        check(Generation::V2, "/api/v2", &v2(profile));
    }
    check(Generation::V3, "/api/v3", &v3());
}

#[test]
fn each_document_shows_the_shapes_of_its_generation() {
    let (second, third) = (v2(Profile::Program), v3());
    let proxy = |document: &Value| document["components"]["schemas"]["ProxyJson"]["$ref"].clone();
    assert_eq!(proxy(&second), "#/components/schemas/ProxyV2");
    assert_eq!(proxy(&third), "#/components/schemas/ProxyV3");
    assert!(third["components"]["schemas"].get("ProxyV2").is_none());
}

#[test]
fn statuses_of_refusals_are_those_of_the_profile() {
    let answers = |document: &Value| -> Vec<String> {
        let config = &document["paths"]["/api/v2/clusters/free_nodes/{name}"]["delete"];
        config["responses"].as_object().unwrap().keys().cloned().collect()
    };
    let told = |document: &Value, status: &str| {
        let paths = &document["paths"]["/api/v2/clusters/free_nodes/{name}"]["delete"];
        paths["responses"][status]["description"].as_str().unwrap().contains("FREE_NODE_NOT_FOUND")
    };
    let (document, program) = (v2(Profile::Document), v2(Profile::Program));
    assert!(told(&document, "409") && !told(&document, "404"), "{:?}", answers(&document));
    assert!(told(&program, "404") && !told(&program, "409"), "{:?}", answers(&program));
}
