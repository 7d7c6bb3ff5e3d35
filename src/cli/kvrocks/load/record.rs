//! Stored clusters, put into the present shape from every shape they were stored in (spec 1.1, 6.1).
//!
//! Ids, versions, addresses and passwords are never changed: other ones would make nodes copy their
//! data anew. Whether a record keeps the rules of clusters is judged by the replicas.

use serde_json::{Map, Value, json};

use crate::domain::kvrocks::{SlotRange, slots};

/// A record in the present shape, and what was left out of it.
#[derive(Debug, PartialEq)]
pub(super) struct Present {
    pub(super) record: Value,
    pub(super) notes: Vec<String>,
}

/// Puts a stored cluster into the present shape; the error says why it cannot be.
pub(super) fn present(name: &str, stored: &Value) -> Result<Present, String> {
    let mut members = stored.as_object().ok_or("the value is no cluster record")?.clone();
    let mut notes = Vec::new();
    match members.remove("name") {
        Some(Value::String(own)) if own == name => {}
        None => {}
        Some(other) => return Err(format!("the record calls itself {other}")),
    }
    let version = members.remove("version").unwrap_or_default();
    let version = version.as_u64().ok_or_else(|| format!("version is {version}"))?;
    let old = match members.remove("shards") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(shards)) => shards,
        Some(_) => return Err("shards is no list".to_owned()),
    };
    leave_out(&members, "", &mut notes);
    let imports: Vec<_> = old.iter().map(|shard| slot_or_none(&shard["import_slot"])).collect();
    let mut shards = Vec::new();
    for (index, shard) in old.iter().enumerate() {
        let told = |error| format!("shard {index}: {error}");
        shards.push(present_shard((index, shard), &imports, &mut notes).map_err(told)?);
    }
    let record = json!({ "name": name, "version": version, "shards": shards });
    Ok(Present { record, notes })
}

/// Notes members that have no place any more, unless they say nothing.
fn leave_out(members: &Map<String, Value>, place: &str, notes: &mut Vec<String>) {
    for (key, value) in members {
        let is_silent = value.is_null() || value.as_str() == Some("") || *value == json!({});
        if !is_silent {
            notes.push(format!("{place}{key} is left out"));
        }
    }
}

fn present_shard(
    (index, shard): (usize, &Value),
    imports: &[Result<Option<SlotRange>, String>],
    notes: &mut Vec<String>,
) -> Result<Value, String> {
    let mut members = shard.as_object().ok_or("it is no object")?.clone();
    let nodes = match members.remove("nodes") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(nodes)) => nodes,
        Some(_) => return Err("nodes is no list".to_owned()),
    };
    let mut present = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let place = format!("shard {index}: node {at}: ");
        present.push(
            present_node(node, &place, notes).map_err(|error| format!("node {at}: {error}"))?,
        );
    }
    let ranges = slot_ranges(members.remove("slot_ranges").unwrap_or_default())?;
    let migrating = slot_or_none(&members.remove("migrating_slot").unwrap_or_default())?;
    let target = match members.remove("target_shard_index") {
        // An absent index is no index, although the original reads it as 0.
        None | Some(Value::Null) => -1,
        Some(target) => target.as_i64().ok_or_else(|| format!("target_shard_index is {target}"))?,
    };
    members.remove("import_slot");
    leave_out(&members, &format!("shard {index}: "), notes);
    let mut place = |text: &str| notes.push(format!("shard {index}: {text}"));
    let (migrating, target) = match (migrating, target) {
        (None, -1) => (None, -1),
        (None, _) => {
            place("target_shard_index without migrating_slot is left out");
            (None, -1)
        }
        (Some(range), -1) => (Some(range), importer(range, imports)?),
        (Some(range), target) => (Some(range), target),
    };
    if migrating.is_none() && imports[index].clone()?.is_some() {
        place("import_slot is left out");
    }
    let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
    let migrating = migrating.map(|range| range.to_string());
    Ok(json!({
        "nodes": present, "slot_ranges": ranges,
        "target_shard_index": target, "migrating_slot": migrating,
    }))
}

/// Where slots are going that have no target, as old records have none.
fn importer(
    range: SlotRange,
    imports: &[Result<Option<SlotRange>, String>],
) -> Result<i64, String> {
    let takes = |import: &&Result<Option<SlotRange>, String>| **import == Ok(Some(range));
    let mut found = (0_i64..).zip(imports).filter(|(_, import)| takes(import));
    match (found.next(), found.next()) {
        (Some((index, _)), None) => Ok(index),
        _ => Err(format!("it is giving {range} away and does not say to whom")),
    }
}

fn present_node(node: &Value, place: &str, notes: &mut Vec<String>) -> Result<Value, String> {
    let mut members = node.as_object().ok_or("it is no object")?.clone();
    let mut text = |key: &str| match members.remove(key) {
        Some(Value::String(text)) => Ok(text),
        other => Err(format!("{key} is {}", other.unwrap_or_default())),
    };
    let (id, addr, role) = (text("id")?, text("addr")?, text("role")?);
    if role != "master" && role != "slave" {
        return Err(format!("role is {role:?}"));
    }
    let password = match members.remove("password") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(password)) => password,
        // Whatever it is, it may be secret.
        Some(_) => return Err("password is no text".to_owned()),
    };
    let created_at = match members.remove("created_at") {
        None | Some(Value::Null) => 0,
        Some(time) => time.as_u64().ok_or_else(|| format!("created_at is {time}"))?,
    };
    let mut present = json!({
        "id": id, "addr": addr, "role": role, "password": password, "created_at": created_at,
    });
    if members.remove("failed") == Some(Value::Bool(true)) {
        present["failed"] = true.into();
    }
    leave_out(&members, place, notes);
    Ok(present)
}

/// A list of ranges, ascending and merged; none for `null` and for the old sign of no slots.
fn slot_ranges(value: Value) -> Result<Vec<SlotRange>, String> {
    let items = match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items,
        other => return Err(format!("slot_ranges is {other}")),
    };
    let mut ranges: Vec<SlotRange> = Vec::new();
    for item in items {
        let range = match &item {
            Value::String(text) if text == "-1" => None,
            item => slot_or_none(item)?,
        };
        let Some(range) = range else { continue };
        if ranges.iter().any(|have| have.overlaps(range)) {
            return Err(format!("it has {range} twice"));
        }
        ranges.push(range);
    }
    Ok(ranges.into_iter().fold(Vec::new(), |list, range| slots::add(&list, range)))
}

/// Slots on the move in every form they were stored in: nothing, -1, a slot, or a text.
fn slot_or_none(value: &Value) -> Result<Option<SlotRange>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => match number.as_i64() {
            Some(-1) => Ok(None),
            Some(slot) => SlotRange::new(slot, slot).map(Some).map_err(|error| error.to_string()),
            None => Err(format!("slot {number}")),
        },
        Value::String(text) => {
            text.parse().map(Some).map_err(|error| format!("slots {text:?}: {error}"))
        }
        other => Err(format!("slots {other}")),
    }
}

#[cfg(test)]
#[path = "record_test.rs"]
mod tests;
