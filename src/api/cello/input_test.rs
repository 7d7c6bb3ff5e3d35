//! Every way to say the same, and what says nothing.

#![allow(clippy::unwrap_used)]

use axum::http::HeaderValue;
use serde_json::json;

use super::*;

const FORM: &str = "application/x-www-form-urlencoded";

fn read(query: &str, content_type: &'static str, body: &str) -> Params {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Params::read(Some(query), &headers, body.as_bytes())
}

fn members(params: &Params) -> Value {
    params.iter().map(|(key, value)| (key.to_owned(), value.clone())).collect::<Map<_, _>>().into()
}

fn check(query: &str, content_type: &'static str, body: &str, expected: &Value) {
    let found = read(query, content_type, body);
    assert_eq!(members(&found), *expected, "{query} {content_type} {body}");
}

#[test]
fn the_same_wish_in_every_encoding_is_the_same() {
    let wish = json!({"action": "apply", "user_id": "x y", "size": "4"});
    check("action=apply&user_id=x+y&size=4", "", "", &wish);
    check("action=apply&user_id=x%20y&size=4", "", "", &wish);
    check("action=apply?user_id=x%20y&size=4", "", "", &wish);
    check("action=apply%3Fuser_id=x+y&size=4", "", "", &wish);
    check("size=4&action=apply?user_id=x+y", "", "", &wish);
    check("", FORM, "action=apply&user_id=x+y&size=4", &wish);
    check("", FORM, "action=apply?user_id=x y&size=4", &wish);
    check("", "application/json", r#"{"action":"apply","user_id":"x y","size":"4"}"#, &wish);
    check("", FORM, r#" {"action":"apply","user_id":"x y","size":"4"} "#, &wish);
    check("", "", "{action:apply, user_id:x y, size:4}", &wish);
    check("", "", "{\naction:apply,\nuser_id:x y,\nsize:4,\n}", &wish);
    check("", "", "{action:apply\nuser_id: 'x y'\n\"size\": 4\n}", &wish);
    let form = "--b\r\nContent-Disposition: form-data; name=\"action\"\r\n\r\napply\r\n\
                --b\r\ncontent-disposition: form-data; name=user_id\r\n\r\nx y\r\n\
                --b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\nz\r\n\
                --b\r\nContent-Disposition: form-data; name=\"size\"\r\n\r\n4\r\n--b--\r\n";
    check("", "multipart/form-data; boundary=b", form, &wish);
}

#[test]
fn the_documents_own_body_means_what_it_says() {
    let body = "{\naction:apply,\nuser_id:xxx,\nconsensus_plugin:pbft,\nconsensus_mode:batch,\n\
                size:4,\nallow_multiple:False\n}";
    let params = read("", "", body);
    assert_eq!(params.text("user_id").unwrap().unwrap(), "xxx");
    assert_eq!(params.integer("size").unwrap(), Some(4));
    assert_eq!(params.truth("allow_multiple").unwrap(), Some(false));
    let list =
        read("", "", "{\nconsensus_plugin:pbft,\nconsensus_mode:classic,\nsize:4,\nuser:\"\"\n}");
    assert_eq!(list.text("user").unwrap().unwrap(), "");
    let id = read("", "", "{action:release,\ncluster_id:57600000000000000000e001\n}");
    assert_eq!(id.text("cluster_id").unwrap().unwrap(), "57600000000000000000e001");
}

#[test]
fn the_query_wins_over_the_form_and_the_form_over_nothing() {
    let params = read("cluster_id=&a=1&a=2", "application/json", r#"{"cluster_id":"x","b":3}"#);
    assert_eq!(members(&params), json!({"cluster_id": "", "a": "1", "b": 3}));
    assert_eq!(params.body(), BodyKind::Members);
}

#[test]
fn what_follows_a_second_question_mark_gives_way_to_the_query_but_not_to_the_body() {
    let body = r#"{"user_id":"c","size":6}"#;
    let params = read("action=apply?user_id=a&size=4", "", body);
    assert_eq!(members(&params), json!({"action": "apply", "user_id": "a", "size": "4"}));
    let params = read("action=apply?user_id=a&user_id=b", "", body);
    assert_eq!(members(&params), json!({"action": "apply", "user_id": "b", "size": 6}));
    let params = read("action=apply?a=1?b=2", "", "");
    assert_eq!(members(&params), json!({"action": "apply", "a": "1?b=2"}));
}

#[test]
fn what_is_no_object_has_no_members() {
    for (body, kind) in [
        ("", BodyKind::Empty),
        (" \n", BodyKind::Empty),
        ("[1]", BodyKind::Other),
        ("7", BodyKind::Other),
        ("\"x\"", BodyKind::Other),
        ("null", BodyKind::Other),
        ("{", BodyKind::Other),
        ("{a}", BodyKind::Other),
        ("{a:1} x", BodyKind::Other),
        ("{a:{b:1}}", BodyKind::Other),
        ("{a:'b}", BodyKind::Other),
        ("{a:'b'c}", BodyKind::Other),
        ("{1a:b}", BodyKind::Other),
        ("{:b}", BodyKind::Other),
        ("{}", BodyKind::Members),
        ("{,\n,}", BodyKind::Members),
    ] {
        for content_type in ["application/json", FORM] {
            let is_form = content_type == FORM && matches!(body, "7" | "\"x\"" | "null");
            if is_form {
                continue;
            }
            let params = read("", content_type, body);
            assert_eq!(params.body(), kind, "{body}");
            assert_eq!(members(&params), json!({}), "{body}");
        }
    }
    let broken = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n";
    assert_eq!(read("", "multipart/form-data; boundary=b", broken).body(), BodyKind::Other);
    assert_eq!(read("", "multipart/form-data", broken).body(), BodyKind::Other);
}

#[test]
fn lenient_objects_are_bounded_and_the_last_of_equal_keys_wins() {
    assert_eq!(
        members(&read("", "", "{a:1,a:2,b:None,c:null,d:x:y}")),
        json!({"a": "2", "b": null, "c": null, "d": "x:y"})
    );
    let pairs = |count: usize| {
        format!("{{{}}}", (0..count).map(|at| format!("k{at}:v,")).collect::<String>())
    };
    assert_eq!(read("", "", &pairs(32)).body(), BodyKind::Members);
    assert_eq!(read("", "", &pairs(33)).body(), BodyKind::Other);
    assert_eq!(read("", "", &format!("{{a:{}}}", "x".repeat(1024))).body(), BodyKind::Members);
    assert_eq!(read("", "", &format!("{{a:{}}}", "x".repeat(1025))).body(), BodyKind::Other);
}

#[test]
fn values_are_typed_by_what_is_wanted_of_them() {
    let params = read(
        "t=True&f=no&e=&w=maybe&i=+4&n=4.0",
        "application/json",
        r#"{"one":1,"zero":0,"list":[],"float":4.9,"null":null,"yes":true,"id":57600000000000000000}"#,
    );
    assert_eq!(params.truth("t"), Ok(Some(true)));
    assert_eq!(params.truth("f"), Ok(Some(false)));
    assert_eq!(params.truth("e"), Ok(Some(false)));
    assert_eq!(params.truth("w"), Err(NotTruth));
    assert_eq!(params.truth("one"), Ok(Some(true)));
    assert_eq!(params.truth("zero"), Ok(Some(false)));
    assert_eq!(params.truth("null"), Ok(None));
    assert_eq!(params.truth("list"), Err(NotTruth));
    assert_eq!(params.integer("i"), Ok(Some(4)));
    assert_eq!(params.integer("e"), Ok(None));
    assert_eq!(params.integer("n"), Err(NotInteger));
    assert_eq!(params.integer("float"), Err(NotInteger));
    assert_eq!(params.integer("yes"), Err(NotInteger));
    assert_eq!(params.text("float"), Err(NotText));
    assert_eq!(read("", "", r#"{"id":18446744073709551616}"#).text("id"), Err(NotText));
    let largest = read("", "", r#"{"id":18446744073709551615}"#);
    assert_eq!(largest.text("id"), Ok(Some("18446744073709551615".to_owned())));
    assert_eq!(params.text("one"), Ok(Some("1".to_owned())));
    assert_eq!(params.text("list"), Err(NotText));
    assert_eq!(params.text("yes"), Err(NotText));
    assert_eq!(params.text("none"), Ok(None));
}
