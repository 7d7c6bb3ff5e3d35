//! What a node tells of itself: `INFO`, `ROLE`, `HELLO`.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{core::Core, resp::Reply};

/// `INFO`, of one section or of all.
pub fn info(core: &Core, section: Option<&str>) -> String {
    let wants = |name: &str| section.is_none_or(|section| section.eq_ignore_ascii_case(name));
    let mut text = String::new();
    if wants("server") {
        text.push_str("# Server\r\nversion:2.10.1\r\nredis_version:4.0.0\r\n");
        let mode = if core.options.is_standalone { "standalone" } else { "cluster" };
        text.push_str(&format!(
            "kvrocks_version:2.10.1\r\nredis_mode:{mode}\r\ntcp_port:{}\r\n",
            core.port
        ));
    }
    if wants("persistence") {
        let loading = u8::from(core.faults.is_loading);
        text.push_str(&format!("# Persistence\r\nloading:{loading}\r\n"));
    }
    let shows_data = !core.faults.is_loading;
    if wants("replication") && shows_data {
        text.push_str("# Replication\r\n");
        text.push_str(&replication(core));
    }
    if wants("cluster") {
        text.push_str("# Cluster\r\n");
        let flag = u8::from(!core.options.is_standalone);
        text.push_str(&format!("cluster_enabled:{flag}\r\n"));
    }
    if wants("keyspace") && shows_data {
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

/// `ROLE`.
pub fn role(core: &Core) -> Reply {
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

/// `HELLO`: only the second version of the protocol is spoken.
pub fn hello(core: &Core) -> Reply {
    let role = if core.is_replica() { "slave" } else { "master" };
    let mode = if core.options.is_standalone { "standalone" } else { "cluster" };
    let mut members = ["server", "redis", "version", "4.0.0", "proto"].map(Reply::bulk).to_vec();
    members.push(Reply::Integer(2));
    members.extend(["mode", mode, "role", role].map(Reply::bulk));
    Reply::Array(members)
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "a stand-in has no clock to inject")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
