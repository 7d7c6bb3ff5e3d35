//! `CLUSTER` and `CLUSTERX`: their words, their texts, their refusals.

use std::{sync::Arc, time::Duration};

use super::{
    command::{ARGUMENTS, Session, Step, classed},
    core::{Core, Moving},
    info::now_ms,
    resp::Reply,
    topology::{Entry, Range, SLOTS, show},
};

const CLUSTER_USAGE: &str = "CLUSTER command, CLUSTER INFO|NODES|SLOTS|KEYSLOT|RESET|REPLICAS";
const CLUSTERX_USAGE: &str =
    "CLUSTERX command, CLUSTERX VERSION|MYID|SETNODEID|SETNODES|SETSLOT|MIGRATE";
const UNINITIALISED: &str = "CLUSTERDOWN The cluster is not initialized";

/// `CLUSTER`.
pub fn cluster(core: &mut Core, session: &mut Session, args: &[&str]) -> Reply {
    let Some(word) = args.first() else { return Reply::err(ARGUMENTS) };
    match (word.to_ascii_uppercase().as_str(), &args[1..]) {
        ("INFO" | "NODES" | "SLOTS", []) | ("REPLICAS" | "IMPORT", [_, ..]) if core.version < 0 => {
            classed(core, UNINITIALISED)
        }
        ("INFO", []) => Reply::Bulk(cluster_info(core)),
        ("NODES", []) => {
            let moving = moving_tokens(core);
            let text = core.topology.nodes_text(&core.my_id, core.version, now_ms(), &moving);
            Reply::Bulk(text)
        }
        ("SLOTS", []) => cluster_slots(core),
        ("REPLICAS", [id]) => match core.topology.nodes.get(*id) {
            None => Reply::err("Invalid cluster node id"),
            Some(entry) if entry.master.is_some() => Reply::err("The node isn't a master"),
            Some(_) => {
                let line = |entry: &Arc<Entry>| {
                    core.topology.node_line(entry, false, core.version, now_ms()) + "\n"
                };
                Reply::Bulk(core.topology.replicas_of(id).map(line).collect())
            }
        },
        ("KEYSLOT", [key]) => Reply::Integer(i64::from(super::topology::slot_of(key))),
        ("RESET", _) => core.reset().map_or_else(Reply::err, |()| Reply::ok()),
        ("IMPORT", [range, state]) => match parse_range(range) {
            Ok(range) => match core.import(range, state) {
                Ok(()) => {
                    session.importing = (*state == "0").then_some(range);
                    Reply::ok()
                }
                Err(error) => Reply::err(error),
            },
            Err(error) => Reply::err(error),
        },
        _ => Reply::err(CLUSTER_USAGE),
    }
}

/// `CLUSTER INFO` with what migrations add; a replica shows nothing of its migrations.
fn cluster_info(core: &Core) -> String {
    let mut text = core.topology.info(core.version);
    if core.is_replica() {
        return text;
    }
    let plural = if core.options.has_old_migrating_name { "" } else { "(s)" };
    if let Some(migration) = &core.migration {
        let state = match migration.state {
            Moving::Start => "start",
            Moving::Success => "success",
            Moving::Fail => "fail",
        };
        text.push_str(&format!(
            "migrating_slot{plural}: {}\r\ndestination_node: {}\r\nmigrating_state: {state}\r\n",
            show(migration.range),
            migration.to.id,
        ));
    }
    if let Some(import) = &core.import {
        text.push_str(&format!(
            "importing_slot{plural}: {}\r\nimport_state: {}\r\n",
            show(import.range),
            import.state,
        ));
    }
    text
}

fn moving_tokens(core: &Core) -> String {
    let mut text = String::new();
    if let Some(migration) = core.migration.as_ref().filter(|job| job.state == Moving::Start) {
        text.push_str(&format!(" [{}->-{}]", show(migration.range), migration.to.id));
    }
    if let Some(import) = core.import.as_ref().filter(|import| import.state == "start") {
        let owner = core.topology.owner(import.range.0).map_or("", |owner| owner.id.as_str());
        text.push_str(&format!(" [{}-<-{owner}]", show(import.range)));
    }
    text
}

fn cluster_slots(core: &Core) -> Reply {
    let node = |entry: &Entry| {
        let (host, port) = (Reply::bulk(&entry.host), Reply::Integer(i64::from(entry.port)));
        Reply::Array(vec![host, port, Reply::bulk(&entry.id)])
    };
    let range = |((low, high), owner): &(Range, Arc<Entry>)| {
        let mut members = vec![Reply::Integer(i64::from(*low)), Reply::Integer(i64::from(*high))];
        members.push(node(owner));
        members.extend(core.topology.replicas_of(&owner.id).map(|entry| node(entry)));
        Reply::Array(members)
    };
    Reply::Array(core.topology.owners.iter().map(range).collect())
}

/// `CLUSTERX`.
pub fn clusterx(core: &mut Core, args: &[&str]) -> Step {
    let Some(word) = args.first() else { return Reply::err(ARGUMENTS).into() };
    match (word.to_ascii_uppercase().as_str(), &args[1..]) {
        ("VERSION", []) => Reply::bulk(core.version.to_string()).into(),
        ("MYID", []) => Reply::bulk(&core.my_id).into(),
        ("SETNODEID", [id]) if Core::is_id(id) => {
            core.set_node_id(id);
            Reply::ok().into()
        }
        ("SETNODES", [text, version]) => set_nodes(core, text, version, None).into(),
        ("SETNODES", [text, version, option]) => {
            set_nodes(core, text, version, Some(option)).into()
        }
        ("SETSLOT", [ranges, option, id, version]) => {
            let told = parse_range(ranges)
                .map_err(Reply::err)
                .and_then(|range| core.set_slot(range, option, id, version).map_err(Reply::err));
            told.map_or_else(|error| error, |()| Reply::ok()).into()
        }
        ("MIGRATE", [_, _, _, _, _, ..]) => Reply::err(ARGUMENTS).into(),
        ("MIGRATE", [range, to, options @ ..]) => migrate(core, range, to, options),
        ("MIGRATE", _) => Reply::err(ARGUMENTS).into(),
        _ => Reply::err(CLUSTERX_USAGE).into(),
    }
}

fn set_nodes(core: &mut Core, text: &str, version: &str, option: Option<&str>) -> Reply {
    if core.faults.lost_pushes > 0 {
        core.faults.lost_pushes -= 1;
        return Reply::ok();
    }
    core.set_nodes(text, version, option).map_or_else(Reply::err, |()| Reply::ok())
}

fn migrate(core: &mut Core, range: &str, to: &str, options: &[&str]) -> Step {
    let range = match parse_range(range) {
        Ok(range) => range,
        Err(error) => return Reply::err(error).into(),
    };
    let waits = match migrate_options(options) {
        Ok(waits) => waits,
        Err(error) => return Reply::err(error).into(),
    };
    match core.begin_migration(range, to) {
        Ok(to) => {
            let is_answer_lost = core.faults.lost_migrate_answers > 0;
            core.faults.lost_migrate_answers -= u32::from(is_answer_lost);
            Step::Migrate { range, to, waits, is_answer_lost }
        }
        Err(error) => Reply::err(error).into(),
    }
}

fn migrate_options(options: &[&str]) -> Result<Option<Duration>, &'static str> {
    match options {
        [] => Ok(None),
        [word, rest @ ..] if word.eq_ignore_ascii_case("async") => match rest {
            [] => Ok(None),
            _ => Err("Async migration does not support timeout"),
        },
        [word, rest @ ..] if word.eq_ignore_ascii_case("sync") => match rest {
            [] => Ok(Some(Duration::ZERO)),
            [time] => match time.parse::<i64>() {
                Ok(time) if time >= 0 => Ok(Some(Duration::from_secs(time.unsigned_abs()))),
                Ok(_) => Err("timeout is negative"),
                Err(_) => Err("timeout is not an integer or out of range"),
            },
            _ => Err(ARGUMENTS),
        },
        _ => Err("Invalid sync flag"),
    }
}

/// The first of some ranges; of more than one a node says nothing and does nothing.
fn parse_range(texts: &str) -> Result<Range, String> {
    let slot = |text: &str| {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let fault = match digits {
            0 => "not started as an integer",
            count if count < text.len() => "encounter non-integer characters",
            _ => "out of numeric range",
        };
        let slot = text.parse().ok().filter(|slot| *slot < SLOTS);
        slot.ok_or_else(|| format!("Invalid slot id: {fault}"))
    };
    let text = texts.split(' ').find(|text| !text.is_empty()).ok_or("No slots to parse.")?;
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let range = (slot(low)?, slot(high)?);
    if range.0 > range.1 {
        return Err(format!(
            "Invalid slot range: `{text}`. The slot range `int1-int2` needs to satisfy the \
             condition (int1 <= int2)."
        ));
    }
    Ok(range)
}
