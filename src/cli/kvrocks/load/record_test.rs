//! Every form a cluster was ever stored in, and what becomes of it.

use super::*;

fn node(letter: &str, role: &str) -> Value {
    json!({
        "id": letter.repeat(40), "addr": format!("10.0.0.1:{}", 6000 + letter.as_bytes()[0] as u16),
        "role": role, "password": "pw", "created_at": 1_700_000_000,
    })
}

/// A cluster of two shards whose first has more members.
fn stored(more: &Value) -> Value {
    let mut first = json!({ "nodes": [node("a", "master"), node("b", "slave")] });
    first.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let second = json!({ "nodes": [node("c", "master")], "slot_ranges": ["8192-16383"] });
    json!({ "name": "c", "version": 12, "shards": [first, second] })
}

/// What becomes of the first shard: slots, target and slots on the move.
fn first(more: &Value) -> Result<(Value, Vec<String>), String> {
    let present = present("c", &stored(more))?;
    let mut shard = present.record["shards"][0].clone();
    shard.as_object_mut().unwrap().remove("nodes");
    Ok((shard, present.notes))
}

fn shown(slots: &[&str], target: i64, migrating: Option<&str>) -> Value {
    json!({ "slot_ranges": slots, "target_shard_index": target, "migrating_slot": migrating })
}

#[test]
fn ids_versions_and_passwords_stay() {
    let more = shown(&["0-8191"], -1, None);
    let found = present("c", &stored(&more)).unwrap();
    assert_eq!(found.notes, Vec::<String>::new());
    assert_eq!(found.record["version"], 12);
    let nodes = json!([node("a", "master"), node("b", "slave")]);
    assert_eq!(found.record["shards"][0]["nodes"], nodes);
    let again = present("c", &found.record).unwrap();
    assert_eq!(again, Present { record: found.record, notes: Vec::new() });
}

#[test]
fn every_form_of_slots_is_read() {
    for (more, expected) in [
        (json!({}), shown(&[], -1, None)),
        (json!({"slot_ranges":null}), shown(&[], -1, None)),
        (json!({"slot_ranges":["-1"]}), shown(&[], -1, None)),
        (json!({"slot_ranges":[5,"6-8"]}), shown(&["5-8"], -1, None)),
        (json!({"slot_ranges":["7-8","0-4","5"]}), shown(&["0-5", "7-8"], -1, None)),
        (json!({"migrating_slot":-1,"import_slot":-1}), shown(&[], -1, None)),
        (json!({"migrating_slot":null,"target_shard_index":-1}), shown(&[], -1, None)),
        (
            json!({"slot_ranges":["0-9"],"migrating_slot":5,"target_shard_index":1}),
            shown(&["0-9"], 1, Some("5")),
        ),
        (
            json!({"slot_ranges":["0-9"],"migrating_slot":"5-6","target_shard_index":1}),
            shown(&["0-9"], 1, Some("5-6")),
        ),
    ] {
        assert_eq!(first(&more), Ok((expected, Vec::new())), "{more}");
    }
}

#[test]
fn old_migrations_find_their_target_by_what_it_imports() {
    let mut cluster = stored(&json!({ "slot_ranges": ["0-9"], "migrating_slot": 5 }));
    cluster["shards"][1]["import_slot"] = 5.into();
    let found = present("c", &cluster).unwrap();
    assert_eq!(found.record["shards"][0]["target_shard_index"], 1);
    assert_eq!(found.notes, ["shard 1: import_slot is left out"]);
    let lost = first(&json!({ "slot_ranges": ["0-9"], "migrating_slot": 5 })).unwrap_err();
    assert_eq!(lost, "shard 0: it is giving 5 away and does not say to whom");
}

#[test]
fn what_has_no_place_any_more_is_noted_if_it_says_something() {
    let target = "shard 0: target_shard_index without migrating_slot is left out";
    let found = first(&json!({ "target_shard_index": 0 })).unwrap();
    assert_eq!(found, (shown(&[], -1, None), vec![target.to_owned()]));
    let mut cluster = stored(&json!({ "colour": "red", "shape": "" }));
    cluster["config"] = json!({ "name": "c", "heartbeat_enable": true });
    cluster["shards"][0]["nodes"][0]["master_auth"] = "secret".into();
    cluster["shards"][0]["nodes"][1]["master_auth"] = "".into();
    let notes = present("c", &cluster).unwrap().notes;
    let expected = [
        "config is left out",
        "shard 0: node 0: master_auth is left out",
        "shard 0: colour is left out",
    ];
    assert_eq!(notes, expected);
}

#[test]
fn what_cannot_be_taken_says_why() {
    for (pointer, value, expected) in [
        ("/name", json!("other"), "the record calls itself \"other\""),
        ("/version", json!(-1), "version is -1"),
        ("/version", json!("3"), "version is \"3\""),
        ("/shards", json!({}), "shards is no list"),
        ("/shards/0", json!([]), "shard 0: it is no object"),
        ("/shards/0/nodes", json!("a"), "shard 0: nodes is no list"),
        ("/shards/0/nodes/1", json!("a"), "shard 0: node 1: it is no object"),
        ("/shards/0/nodes/0/role", json!("boss"), "shard 0: node 0: role is \"boss\""),
        ("/shards/0/nodes/0/id", json!(null), "shard 0: node 0: id is null"),
        ("/shards/0/nodes/0/password", json!(12345), "shard 0: node 0: password is no text"),
        ("/shards/0/nodes/0/created_at", json!(-1), "shard 0: node 0: created_at is -1"),
        ("/shards/1/slot_ranges", json!("1"), "shard 1: slot_ranges is \"1\""),
        (
            "/shards/1/slot_ranges",
            json!(["9-5"]),
            "shard 1: slots \"9-5\": start slot id greater than stop slot id",
        ),
        ("/shards/1/slot_ranges", json!(["0-5", "5"]), "shard 1: it has 5 twice"),
        (
            "/shards/0/migrating_slot",
            json!(16384),
            "shard 0: slot id was out of range, should be between 0 and 16383",
        ),
        ("/shards/0/migrating_slot", json!([]), "shard 0: slots []"),
        ("/shards/0/target_shard_index", json!("1"), "shard 0: target_shard_index is \"1\""),
    ] {
        let more = shown(&["0-9"], -1, None);
        let mut cluster = stored(&more);
        *cluster.pointer_mut(pointer).unwrap() = value;
        assert_eq!(present("c", &cluster), Err(expected.to_owned()), "{pointer}");
    }
    let refused = present("c", &json!("text")).unwrap_err();
    assert_eq!(refused, "the value is no cluster record");
}
