//! What a node answers to each command. Everything here happens at once; what takes time is handed
//! back to the connection.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    core::{Core, Moving},
    keys,
    resp::Reply,
    topology::{Entry, Range, SLOTS, show},
};

const CLUSTER_USAGE: &str = "CLUSTER command, CLUSTER INFO|NODES|SLOTS|KEYSLOT|RESET|REPLICAS";
const CLUSTERX_USAGE: &str =
    "CLUSTERX command, CLUSTERX VERSION|MYID|SETNODEID|SETNODES|SETSLOT|MIGRATE";
const UNINITIALISED: &str = "CLUSTERDOWN The cluster is not initialized";
const LOADING: &str = "LOADING kvrocks is restoring the db from backup";
const ARGUMENTS: &str = "wrong number of arguments";

/// What a connection remembers between commands.
#[derive(Debug, Default)]
pub struct Session {
    /// Logged on, or no password is needed.
    pub is_admitted: bool,
    /// `READONLY` was sent.
    pub is_readonly: bool,
    /// `ASKING` was sent just before.
    pub is_asking: bool,
    /// The slots that the node at the other end sends.
    pub importing: Option<Range>,
}

/// What the connection does next.
#[derive(Debug)]
pub enum Step {
    /// Answers.
    Reply(Reply),
    /// Closes without an answer.
    Close,
    /// Begins a migration; answers at once or at its end.
    Migrate {
        /// Slots.
        range: Range,
        /// Where to.
        to: Arc<Entry>,
        /// Wait for the end, at most so long; a time of 0 sets no limit.
        waits: Option<Duration>,
        /// The connection breaks instead of answering.
        is_answer_lost: bool,
    },
    /// Serves writes to a replica from now on.
    Replicate {
        /// Position of the replica.
        seq: u64,
        /// History of that position.
        history: String,
        /// `host:port` of the replica.
        addr: String,
    },
    /// Tries again a little later: writes are paused.
    Later,
}

impl From<Reply> for Step {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

/// Carries a command out.
pub fn run(core: &mut Core, session: &mut Session, words: &[String]) -> Step {
    let name = words[0].to_ascii_uppercase();
    let args: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    let asked = std::mem::take(&mut session.is_asking);
    match name.as_str() {
        "AUTH" => return auth(core, session, &args).into(),
        "HELLO" => return Reply::Array(vec![Reply::bulk("proto"), Reply::Integer(2)]).into(),
        _ if !session.is_admitted && !core.options.password.is_empty() => {
            return Reply::Error("NOAUTH Authentication required.".to_owned()).into();
        }
        _ => {}
    }
    if !keys::is_key_command(&name) {
        core.heard.push(words.join(" "));
    }
    match name.as_str() {
        "PING" => Reply::Simple("PONG".to_owned()).into(),
        "INFO" => Reply::Bulk(info(core, args.first().copied())).into(),
        "ROLE" => role(core).into(),
        "READONLY" => {
            session.is_readonly = true;
            Reply::ok().into()
        }
        "READWRITE" => {
            session.is_readonly = false;
            Reply::ok().into()
        }
        "ASKING" => {
            session.is_asking = true;
            Reply::ok().into()
        }
        "CLIENT" => client(core, &args).into(),
        "CONFIG" => config(core, &args).into(),
        "SHUTDOWN" => Step::Close,
        "SLAVEOF" => Reply::err("can't change to slave in cluster mode").into(),
        "CLUSTER" | "CLUSTERX" if core.options.is_standalone => {
            Reply::err("Cluster mode is not enabled").into()
        }
        "CLUSTER" | "CLUSTERX" if core.faults.is_loading => classed(core, LOADING).into(),
        "CLUSTER" => cluster(core, session, &args).into(),
        "CLUSTERX" => clusterx(core, &args),
        "STANDIN" => stand_in(core, &args),
        _ if keys::is_key_command(&name) => {
            session.is_asking = asked;
            let step = keys::run(core, session, &name, &args);
            session.is_asking = false;
            step
        }
        _ => {
            let list: Vec<String> = args.iter().map(|arg| format!("`{arg}`")).collect();
            let list = list.join(", ");
            Reply::err(format!("unknown command `{}`, with args beginning with: {list}", words[0]))
                .into()
        }
    }
}

/// An error with a class of its own; old servers put `ERR ` before it.
pub fn classed(core: &Core, text: &str) -> Reply {
    if core.options.has_old_errors { Reply::err(text) } else { Reply::Error(text.to_owned()) }
}

fn auth(core: &Core, session: &mut Session, args: &[&str]) -> Reply {
    if core.options.password.is_empty() {
        return Reply::err("Client sent AUTH, but no password is set");
    }
    if args.last() != Some(&core.options.password.as_str()) {
        return Reply::err("Invalid password");
    }
    session.is_admitted = true;
    Reply::ok()
}

fn info(core: &Core, section: Option<&str>) -> String {
    let wants = |name: &str| section.is_none_or(|section| section.eq_ignore_ascii_case(name));
    let mut text = String::new();
    if wants("server") {
        text.push_str("# Server\r\nredis_version:4.0.0\r\nkvrocks_version:2.10.1\r\n");
        text.push_str(&format!("redis_mode:cluster\r\ntcp_port:{}\r\n", core.port));
    }
    if wants("persistence") {
        let loading = u8::from(core.faults.is_loading);
        text.push_str(&format!("# Persistence\r\nloading:{loading}\r\n"));
    }
    if core.faults.is_loading {
        return text;
    }
    if wants("replication") {
        text.push_str("# Replication\r\n");
        text.push_str(&replication(core));
    }
    if wants("cluster") {
        text.push_str("# Cluster\r\ncluster_enabled:1\r\n");
    }
    if wants("keyspace") {
        text.push_str(&format!("# Keyspace\r\nsequence:{}\r\n", core.store.seq));
    }
    text
}

fn replication(core: &Core) -> String {
    let seq = core.store.seq;
    let mut text = match &core.link {
        None => "role:master\r\n".to_owned(),
        Some(link) => {
            let (host, port) = link.addr.split_once(':').unwrap_or((&link.addr, ""));
            let status = if link.is_up { "up" } else { "down" };
            // The real one shows the whole Unix time if it never heard of its master.
            let heard =
                link.heard.map_or_else(|| now_ms() / 1000, |heard| heard.elapsed().as_secs());
            format!(
                "role:slave\r\nmaster_host:{host}\r\nmaster_port:{port}\r\n\
                 master_link_status:{status}\r\nmaster_sync_unrecoverable_error:no\r\n\
                 master_sync_in_progress:0\r\nmaster_last_io_seconds_ago:{heard}\r\n\
                 slave_repl_offset:{seq}\r\nslave_priority:100\r\n"
            )
        }
    };
    text.push_str(&format!("connected_slaves:{}\r\n", core.replicas.len()));
    for (number, (addr, at)) in core.replicas.iter().enumerate() {
        let (host, port) = addr.split_once(':').unwrap_or((addr, ""));
        let lag = seq.saturating_sub(*at);
        text.push_str(&format!("slave{number}:ip={host},port={port},offset={at},lag={lag}\r\n"));
    }
    text.push_str(&format!("master_repl_offset:{seq}\r\n"));
    text
}

fn role(core: &Core) -> Reply {
    let seq = Reply::bulk(core.store.seq.to_string());
    if let Some(link) = &core.link {
        let (host, port) = link.addr.split_once(':').unwrap_or((&link.addr, ""));
        let state = if link.is_up { "connected" } else { "connecting" };
        let texts = ["slave", host, port, state].map(Reply::bulk);
        return Reply::Array(texts.into_iter().chain([seq]).collect());
    }
    let mut members = vec![Reply::bulk("master"), seq];
    let replica = |(addr, at): (&String, &u64)| {
        let (host, port) = addr.split_once(':').unwrap_or((addr, ""));
        Reply::Array([host, port, &at.to_string()].map(Reply::bulk).to_vec())
    };
    if !core.replicas.is_empty() {
        members.push(Reply::Array(core.replicas.iter().map(replica).collect()));
    }
    Reply::Array(members)
}

fn client(core: &mut Core, args: &[&str]) -> Reply {
    match args {
        [word, ..] if !core.options.knows_pause => {
            Reply::err(format!("Syntax error, try CLIENT LIST|INFO|KILL ip:port, not {word}"))
        }
        [word, time, ..] if word.eq_ignore_ascii_case("pause") => match time.parse() {
            Ok(time) => {
                core.paused_until = Some(Instant::now() + Duration::from_millis(time));
                Reply::ok()
            }
            Err(_) => Reply::err("timeout is not an integer or out of range"),
        },
        [word] if word.eq_ignore_ascii_case("unpause") => {
            core.paused_until = None;
            Reply::ok()
        }
        _ => Reply::err("syntax error"),
    }
}

fn config(core: &mut Core, args: &[&str]) -> Reply {
    match args {
        ["SET" | "set", "requirepass", value] => {
            core.options.password = (*value).to_owned();
            Reply::ok()
        }
        ["SET" | "set", "masterauth", value] => {
            core.options.master_password = (*value).to_owned();
            Reply::ok()
        }
        ["SET" | "set", "migrate-speed", value] => match value.parse() {
            Ok(speed) => {
                core.migrate_speed = speed;
                Reply::ok()
            }
            Err(_) => Reply::err("CONFIG SET 'migrate-speed' error: not an integer"),
        },
        ["SET" | "set", name, _] => {
            Reply::err(format!("CONFIG SET '{name}' error: Unsupported CONFIG parameter: {name}"))
        }
        _ => Reply::err(ARGUMENTS),
    }
}

fn cluster(core: &mut Core, session: &mut Session, args: &[&str]) -> Reply {
    let word = args.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    match (word.as_str(), &args[args.len().min(1)..]) {
        ("INFO" | "NODES" | "SLOTS" | "REPLICAS", _) if core.version < 0 => {
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

fn clusterx(core: &mut Core, args: &[&str]) -> Step {
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
    let waits = match migrate_options(options) {
        Ok(waits) => waits,
        Err(error) => return Reply::err(error).into(),
    };
    // Of several ranges the node takes the first and says nothing.
    let range = match parse_range(range.split(' ').next().unwrap_or_default()) {
        Ok(range) => range,
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

fn parse_range(text: &str) -> Result<Range, String> {
    let slot = |text: &str| {
        let slot: i64 =
            text.parse().map_err(|_| "Invalid slot id: not started as an integer".to_owned())?;
        let slot = u16::try_from(slot).ok().filter(|slot| *slot < SLOTS);
        slot.ok_or_else(|| "Invalid slot id: out of numeric range".to_owned())
    };
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

/// The stand-in's own commands: replication between stand-ins, and the switches of the faults.
fn stand_in(core: &mut Core, args: &[&str]) -> Step {
    match args {
        ["REPLICATE", seq, history, addr] => match seq.parse() {
            Ok(seq) => {
                Step::Replicate { seq, history: (*history).to_owned(), addr: (*addr).to_owned() }
            }
            Err(_) => Reply::err("position is no number").into(),
        },
        ["FAULT", name, value] => set_fault(core, name, value).into(),
        ["HEARD"] => Reply::Array(core.heard.iter().map(Reply::bulk).collect()).into(),
        _ => Reply::err("STANDIN REPLICATE|FAULT|HEARD").into(),
    }
}

fn set_fault(core: &mut Core, name: &str, value: &str) -> Reply {
    let Ok(number) = value.parse::<u32>() else { return Reply::err("value is no number") };
    let faults = &mut core.faults;
    match name.to_ascii_lowercase().as_str() {
        "silent" => faults.is_silent = number != 0,
        "delay-ms" => faults.delay_ms = u64::from(number),
        "loading" => faults.is_loading = number != 0,
        "failing-migrations" => faults.failing_migrations = number,
        "hold-migrations" => faults.holds_migrations = number != 0,
        "lost-pushes" => faults.lost_pushes = number,
        "lost-migrate-answers" => faults.lost_migrate_answers = number,
        "no-link" => faults.has_no_link = number != 0,
        _ => return Reply::err("unknown fault"),
    }
    Reply::ok()
}

/// Milliseconds since the Unix epoch.
fn now_ms() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "a stand-in has no clock to inject")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
