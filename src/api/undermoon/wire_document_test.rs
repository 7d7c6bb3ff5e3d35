//! Both versions of the stored document, read and written.

use super::*;

const FULL: &str = r#"{"version":"mem-broker-0.2","global_epoch":13,"clusters":{"orders":{"epoch":13,"name":"orders","chunks":[{"role_position":"Normal","stable_slots":[{"range_list":[[0,4095]],"tag":"None"},null],"migrating_slots":[[],[{"range_list":[[12288,16383]],"is_migrating":true,"meta":{"epoch":9,"src_chunk_index":0,"src_chunk_part":1,"dst_chunk_index":1,"dst_chunk_part":1}}]],"proxy_addresses":["kv-f:6100","kv-d:6100"],"hosts":["rack3","rack1"],"node_addresses":["kv-f:6201","kv-f:6202","kv-d:6201","kv-d:6202"]}],"config":{"compression_strategy":"set_get_only","migration_config":{"max_migration_time":10800,"max_blocking_time":10000,"scan_interval":500,"scan_count":16}}}},"all_proxies":{"kv-a:6100":{"proxy_address":"kv-a:6100","node_addresses":["kv-a:6201","kv-a:6202"],"host":"rack1","index":3,"cluster":null}},"failed_proxies":["kv-e:6100"],"failures":{"kv-e:6100":{"coord-1":1760000000}},"enable_ordered_proxy":true}"#;

#[test]
fn a_document_comes_back_byte_by_byte() {
    let document = decode(FULL.as_bytes()).unwrap();
    assert!(document.enable_ordered_proxy);
    assert_eq!(document.all_proxies["kv-a:6100"].index, 3);
    assert_eq!(String::from_utf8(encode(document).unwrap()).unwrap(), FULL);
}

#[test]
fn version_one_lacks_mode_and_index() {
    let old = r#"{"version":"mem-broker-0.1","global_epoch":1,"clusters":{},"all_proxies":{"a:1":
        {"proxy_address":"a:1","node_addresses":["x","y"],"host":"a","cluster":null}},
        "failed_proxies":[],"failures":{}}"#;
    let document = decode(old.as_bytes()).unwrap();
    assert!(!document.enable_ordered_proxy);
    assert_eq!(document.all_proxies["a:1"].index, 0);
    let claimed_new = old.replace("0.1", "0.2");
    let error = decode(claimed_new.as_bytes()).unwrap_err();
    assert_eq!(error, DocumentError::Json("missing field `enable_ordered_proxy`".to_owned()));
}

#[test]
fn the_version_is_judged_before_the_rest() {
    for body in [r#"{"version":"mem-broker-0.3"}"#, r#"{"global_epoch":"x"}"#, r#"{"version":""}"#]
    {
        assert_eq!(decode(body.as_bytes()), Err(DocumentError::Version), "{body}");
    }
    for body in [
        "",
        "{",
        "[]",
        "null",
        "5",
        "\"x\"",
        r#"{"version":2}"#,
        "{\"version\":\"mem-broker-0.2\"}",
    ] {
        assert!(matches!(decode(body.as_bytes()), Err(DocumentError::Json(_))), "{body}");
    }
}

#[test]
fn members_of_the_wrong_type_or_length_are_refused() {
    for (good, bad) in [
        ("\"global_epoch\":13", "\"global_epoch\":-1"),
        ("\"global_epoch\":13", "\"global_epoch\":18446744073709551616"),
        ("\"Normal\"", "\"normal\""),
        ("\"tag\":\"None\"", "\"tag\":\"Some\""),
        ("[\"rack3\",\"rack1\"]", "[\"rack3\"]"),
        ("[\"kv-a:6201\",\"kv-a:6202\"]", "[\"a\",\"b\",\"c\"]"),
        ("1760000000", "1.5"),
        ("\"set_get_only\"", "\"some\""),
        ("\"scan_interval\":500,", ""),
    ] {
        let body = FULL.replacen(good, bad, 1);
        assert_ne!(body, FULL);
        assert!(matches!(decode(body.as_bytes()), Err(DocumentError::Json(_))), "{bad}");
    }
}

#[test]
fn unknown_members_are_ignored_and_defaults_filled_in() {
    let body = FULL
        .replacen("\"global_epoch\"", "\"later\":[1,{}],\"global_epoch\"", 1)
        .replacen("\"compression_strategy\":\"set_get_only\",", "", 1)
        .replacen(",\"cluster\":null", "", 1);
    let document = decode(body.as_bytes()).unwrap();
    assert_eq!(
        document.clusters["orders"].config,
        crate::domain::undermoon::config::ClusterConfig::default()
    );
    assert_eq!(document.all_proxies["kv-a:6100"].cluster, None);
}
