//! Writes on their way from a master to its replicas. Both ends are stand-ins, so the words between
//! them are their own.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

use super::{
    Shared,
    resp::{Reply, Wire},
    store::{Store, Write},
};

/// Most writes of one message.
const WRITES_MAX: usize = 256;
/// A master says something at least so often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Pause before a link is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Follows whatever master the node has, for as long as the node runs.
pub async fn follow(shared: Arc<Shared>) {
    let mut changes = shared.changes.subscribe();
    loop {
        let (link, round) = {
            let core = shared.lock();
            let is_cut = core.faults.has_no_link;
            let link = core.link.as_ref().filter(|_| !is_cut).map(|link| link.addr.clone());
            (link, core.link_round)
        };
        let Some(addr) = link else {
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        };
        let followed = tokio::select! {
            followed = follow_link(&shared, &addr, round) => followed,
            () = other_master(&shared, round) => Ok(()),
        };
        cut(&shared, round);
        if followed.is_err() {
            sleep(RETRY).await;
        }
    }
}

/// Marks the link as down, if it is still the one of that round.
fn cut(shared: &Shared, round: u64) {
    let mut core = shared.lock();
    let is_same = core.link_round == round;
    if let Some(link) = core.link.as_mut().filter(|_| is_same) {
        link.is_up = false;
    }
}

/// Resolves when the node has another master, or none.
async fn other_master(shared: &Shared, round: u64) {
    let mut changes = shared.changes.subscribe();
    loop {
        {
            let core = shared.lock();
            if core.link_round != round || core.faults.has_no_link {
                return;
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn follow_link(shared: &Shared, addr: &str, round: u64) -> io::Result<()> {
    let mut wire = Wire::connect(addr).await?;
    let (password, seq, history, here) = {
        let core = shared.lock();
        let history = match core.options.compares_histories {
            true => core.store.history_at(core.store.seq).unwrap_or("none").to_owned(),
            false => "any".to_owned(),
        };
        let here = format!("{}:{}", core.options.listens_on(), core.port);
        (core.options.master_password.clone(), core.store.seq, history, here)
    };
    if !password.is_empty() {
        refused(wire.ask(&["AUTH", &password]).await?)?;
    }
    let command = ["STANDIN", "REPLICATE", &seq.to_string(), &history, &here];
    let mut message = wire.ask(&command).await?;
    loop {
        shared.wait_while_silent().await;
        take(shared, round, message)?;
        message = wire.read().await?;
    }
}

fn refused(reply: Reply) -> io::Result<()> {
    match reply {
        Reply::Error(error) => Err(io::Error::other(error)),
        _ => Ok(()),
    }
}

/// A message of the master: a copy of everything, or writes; neither may be a sign of life.
fn take(shared: &Shared, round: u64, message: Reply) -> io::Result<()> {
    let Reply::Array(members) = message else {
        return Err(io::Error::other(message.text()));
    };
    let texts: Vec<String> = members.iter().map(Reply::text).collect();
    let mut core = shared.lock();
    if core.link_round != round {
        return Err(io::ErrorKind::Interrupted.into());
    }
    if let Some(link) = &mut core.link {
        link.is_up = true;
        link.heard = Some(Instant::now());
    }
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let number = |text: Option<&String>| text.and_then(|text| text.parse().ok()).ok_or_else(bad);
    match texts.first().map(String::as_str) {
        Some("copy") => {
            let mut store = Store { seq: number(texts.get(1))?, ..Store::default() };
            let pairs = texts[2..].chunks_exact(2);
            store.keys.extend(pairs.map(|pair| (pair[0].clone(), pair[1].clone())));
            core.store = store;
            core.has_stale_cancel = true;
            core.end_migration(false);
        }
        Some("writes") => {
            for write in texts[1..].chunks_exact(5) {
                let value = (write[3] == "set").then(|| write[4].clone());
                let (history, key) = (write[1].clone(), write[2].clone());
                core.store.take(Write { seq: number(write.first())?, history, key, value });
            }
        }
        _ => return Err(bad()),
    }
    drop(core);
    shared.changes.send_modify(|count| *count += 1);
    Ok(())
}

/// Serves a replica over its connection until it breaks.
pub async fn serve(
    shared: &Shared,
    wire: &mut Wire,
    (seq, history, addr): (u64, String, String),
) -> io::Result<()> {
    let mut at = begin(shared, wire, seq, &history).await?;
    let mut changes = shared.changes.subscribe();
    let served: io::Result<()> = async {
        loop {
            changes.borrow_and_update();
            let writes = {
                let mut core = shared.lock();
                core.replicas.insert(addr.clone(), at);
                core.store.after(at, WRITES_MAX)
            };
            let Some(writes) = writes else { return Err(io::ErrorKind::InvalidData.into()) };
            if writes.is_empty() {
                let waited = timeout(HEARTBEAT, changes.changed()).await;
                shared.wait_while_silent().await;
                match waited {
                    Ok(Err(_)) => return Ok(()),
                    Ok(Ok(())) => continue,
                    Err(_) => {}
                }
            }
            at = writes.last().map_or(at, |write| write.seq);
            wire.reply(&message(&writes)).await?;
        }
    }
    .await;
    shared.lock().replicas.remove(&addr);
    served
}

/// Goes on where the replica is, or sends a copy. Without `use-rsid-psync` the histories are not
/// compared: a replica that wrote something else keeps it.
async fn begin(shared: &Shared, wire: &mut Wire, seq: u64, history: &str) -> io::Result<u64> {
    let (first, at) = {
        let core = shared.lock();
        let is_known =
            history == "any" || core.store.history_at(seq).is_some_and(|known| known == history);
        if core.store.after(seq, 1).is_some() && is_known {
            (message(&[]), seq)
        } else {
            let pairs = core.store.keys.iter();
            let pairs = pairs.flat_map(|(key, value)| [Reply::bulk(key), Reply::bulk(value)]);
            let head = [Reply::bulk("copy"), Reply::bulk(core.store.seq.to_string())];
            (Reply::Array(head.into_iter().chain(pairs).collect()), core.store.seq)
        }
    };
    wire.reply(&first).await?;
    Ok(at)
}

fn message(writes: &[Write]) -> Reply {
    let words = writes.iter().flat_map(|write| {
        let (kind, value) = match &write.value {
            Some(value) => ("set", value.as_str()),
            None => ("del", ""),
        };
        [&write.seq.to_string(), &write.history, &write.key, kind, value].map(Reply::bulk)
    });
    Reply::Array(std::iter::once(Reply::bulk("writes")).chain(words).collect())
}
