//! Commands on keys: who serves which slot, and what the others answer.

use std::{sync::Arc, time::Instant};

use super::{
    command::{Session, Step, classed},
    core::{Core, Moving},
    resp::Reply,
    topology::{Range, slot_of},
};

const NOT_SERVED: &str = "CLUSTERDOWN Hash slot not served";
const CROSSED: &str = "CROSSSLOT Attempted to access keys that don't hash to the same slot";
const FORBIDDEN: &str =
    "TRYAGAIN Can't write to slot being migrated which is in write forbidden phase";

/// Begins the value of a HyperLogLog, which is not counted here.
const SKETCH: &str = "\u{1}hyperloglog ";

/// Whether the command is one of this file.
pub fn is_key_command(name: &str) -> bool {
    matches!(
        name,
        "GET"
            | "SET"
            | "DEL"
            | "APPEND"
            | "MSET"
            | "MGET"
            | "EXISTS"
            | "TYPE"
            | "PFADD"
            | "KEYS"
            | "SCAN"
            | "DBSIZE"
            | "FLUSHALL"
    )
}

fn is_write(name: &str) -> bool {
    matches!(name, "SET" | "DEL" | "APPEND" | "MSET" | "PFADD" | "FLUSHALL")
}

/// Carries a command on keys out.
pub fn run(core: &mut Core, session: &Session, name: &str, args: &[&str]) -> Step {
    if core.faults.is_loading {
        return classed(core, "LOADING kvrocks is restoring the db from backup").into();
    }
    if is_write(name) && core.paused_until.is_some_and(|until| Instant::now() < until) {
        return Step::Later;
    }
    let keys: Vec<&str> = match (name, args) {
        // Neither is bound to slots: orphans show.
        ("KEYS", [pattern]) => return all_keys(core, pattern).into(),
        ("SCAN", [_, ..]) => {
            return Reply::Array(vec![Reply::bulk("0"), all_keys(core, "*")]).into();
        }
        // A real count needs a scan there.
        ("DBSIZE", _) => return Reply::Integer(0).into(),
        ("FLUSHALL", _) => {
            let history = core.history.clone();
            core.store.clear(&history, (0, super::topology::SLOTS - 1));
            core.end_migration(false);
            return Reply::ok().into();
        }
        ("PFADD", [key, _, ..]) | ("GET" | "TYPE", [key]) | ("SET" | "APPEND", [key, _]) => {
            vec![key]
        }
        ("MSET", pairs) if !pairs.is_empty() && pairs.len() % 2 == 0 => {
            pairs.iter().step_by(2).copied().collect()
        }
        ("DEL" | "MGET" | "EXISTS", keys) if !keys.is_empty() => keys.to_vec(),
        _ => return Reply::err("wrong number of arguments").into(),
    };
    let slot = slot_of(keys[0]);
    if keys.iter().any(|key| slot_of(key) != slot) {
        return Reply::Error(CROSSED.to_owned()).into();
    }
    match gate(core, session, slot, is_write(name)) {
        Ok(()) => carry_out(core, name, args, &keys).into(),
        Err(reply) => reply.into(),
    }
}

/// Whether this node serves the slot to this connection.
fn gate(core: &Core, session: &Session, slot: u16, is_write: bool) -> Result<(), Reply> {
    if core.version < 0 {
        return Err(classed(core, NOT_SERVED));
    }
    let Some(owner) = core.topology.owner(slot) else {
        return Err(classed(core, NOT_SERVED));
    };
    let contains = |(low, high): Range| (low..=high).contains(&slot);
    let moved = |addr: String| Err(Reply::Error(format!("MOVED {slot} {addr}")));
    let me = core.myself();
    if me.is_some_and(|me| Arc::ptr_eq(me, owner)) {
        if let Some(to) = core.migrated.get(&slot) {
            return moved(to.addr());
        }
        if is_write && core.forbidden.is_some_and(contains) {
            return Err(Reply::Error(FORBIDDEN.to_owned()));
        }
        return Ok(());
    }
    if me.is_some() && !core.is_replica() {
        if core.imported.contains_key(&slot) {
            return Ok(());
        }
        let is_sent = session.is_asking || session.importing.is_some_and(contains);
        let is_open = core.import.as_ref().is_some_and(|import| {
            import.is_open && import.state == "start" && contains(import.range)
        });
        if is_sent && is_open {
            return Ok(());
        }
    }
    let master = me.and_then(|me| me.master.as_ref()).and_then(|id| core.topology.nodes.get(id));
    let follows_owner = master.is_some_and(|master| Arc::ptr_eq(master, owner));
    if session.is_readonly && !is_write && follows_owner {
        return Ok(());
    }
    moved(owner.addr())
}

fn carry_out(core: &mut Core, name: &str, args: &[&str], keys: &[&str]) -> Reply {
    let history = core.history.clone();
    let get = |core: &Core, key: &str| match core.store.keys.get(key) {
        Some(value) => Reply::bulk(value),
        None => Reply::Nil,
    };
    match name {
        "TYPE" => Reply::Simple(kind(core.store.keys.get(args[0]).map(String::as_str)).to_owned()),
        "PFADD" => {
            core.store.put(&history, args[0], Some(format!("{SKETCH}{}", args[1])));
            Reply::Integer(1)
        }
        "GET" if core.store.keys.get(args[0]).is_some_and(|value| is_lossy(value)) => {
            let text = "WRONGTYPE Operation against a key holding the wrong kind of value";
            Reply::Error(text.to_owned())
        }
        "GET" => get(core, args[0]),
        "MGET" => Reply::Array(keys.iter().map(|key| get(core, key)).collect()),
        "SET" => {
            core.store.put(&history, args[0], Some(args[1].to_owned()));
            Reply::ok()
        }
        "APPEND" => {
            let value = core.store.keys.get(args[0]).cloned().unwrap_or_default() + args[1];
            let length = value.len();
            core.store.put(&history, args[0], Some(value));
            Reply::Integer(i64::try_from(length).unwrap_or(i64::MAX))
        }
        "MSET" => {
            for pair in args.chunks(2) {
                core.store.put(&history, pair[0], Some(pair[1].to_owned()));
            }
            Reply::ok()
        }
        "EXISTS" => {
            let found = keys.iter().filter(|key| core.store.keys.contains_key(**key)).count();
            Reply::Integer(i64::try_from(found).unwrap_or(i64::MAX))
        }
        _ => {
            let mut gone = 0;
            for key in keys {
                if core.store.keys.contains_key(*key) {
                    core.store.put(&history, key, None);
                    gone += 1;
                }
            }
            Reply::Integer(gone)
        }
    }
}

/// `KEYS`, of patterns that are a whole key or its beginning and a star.
fn all_keys(core: &Core, pattern: &str) -> Reply {
    let fits = |key: &&String| match pattern.strip_suffix('*') {
        Some(beginning) => key.starts_with(beginning),
        None => *key == pattern,
    };
    Reply::Array(core.store.keys.keys().filter(fits).map(Reply::bulk).collect())
}

fn kind(value: Option<&str>) -> &'static str {
    match value {
        None => "none",
        Some(value) if is_lossy(value) => "hyperloglog",
        Some(_) => "string",
    }
}

/// Whether a migration by commands loses the value, as it loses every HyperLogLog.
pub fn is_lossy(value: &str) -> bool {
    value.starts_with(SKETCH)
}

/// What was added to a HyperLogLog.
pub fn lossless(value: &str) -> &str {
    value.strip_prefix(SKETCH).unwrap_or(value)
}

/// Whether a migration of the core goes on for these slots.
pub fn is_moving(core: &Core, range: Range) -> bool {
    core.migration.as_ref().is_some_and(|job| job.range == range && job.state == Moving::Start)
}
