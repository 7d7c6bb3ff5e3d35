//! A migration as the source carries it out: a copy, then what was written since, then no writes
//! for a moment, then the end.

use std::{io, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    Shared,
    core::Core,
    keys,
    resp::{Reply, Wire},
    store::Write,
    topology::{Entry, Range, show, slot_of},
};

const CANCELLED: &str = "key migration stopped due to a task cancellation";
/// Pause between two looks at a switch.
const LOOK: Duration = Duration::from_millis(10);

/// Carries the migration out to its end and records how it ended; the error is the source's own.
pub async fn run(shared: Arc<Shared>, range: Range, to: Arc<Entry>) -> Result<(), String> {
    let moved = move_slots(&shared, range, &to).await;
    let mut core = shared.lock();
    core.end_migration(moved.is_ok());
    moved
}

async fn move_slots(shared: &Shared, range: Range, to: &Entry) -> Result<(), String> {
    {
        let mut core = shared.lock();
        if std::mem::take(&mut core.has_stale_cancel) {
            return Err(CANCELLED.to_owned());
        }
        if core.faults.failing_migrations > 0 {
            core.faults.failing_migrations -= 1;
            return Err("a fault was asked for".to_owned());
        }
    }
    let unreachable = |error: io::Error| {
        let error = error.to_string();
        let words = error.split(" (os error").next().unwrap_or_default();
        format!("failed to connect to the destination node: {words}")
    };
    let mut wire = Wire::connect(&to.addr()).await.map_err(unreachable)?;
    let password = shared.lock().options.password.clone();
    if !password.is_empty() {
        expect_ok(&mut wire, &["AUTH", &password]).await?;
    }
    let text = show(range);
    expect_ok(&mut wire, &["CLUSTER", "IMPORT", &text, "0"]).await.map_err(|error| {
        let step = "failed to set import status on destination node";
        format!("{step}: failed to check the response from the destination node: {error}")
    })?;
    let sent = send_all(shared, &mut wire, range).await;
    let state = if sent.is_ok() { "1" } else { "2" };
    let told = expect_ok(&mut wire, &["CLUSTER", "IMPORT", &text, state]).await;
    sent.and(told)
}

async fn expect_ok(wire: &mut Wire, command: &[&str]) -> Result<(), String> {
    match wire.ask(command).await {
        Ok(Reply::Error(error)) => Err(invalid(&error)),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn invalid(error: &str) -> String {
    format!("got invalid response of length {}: -{error}", error.len() + 1)
}

/// The copy, then the writes since, until nothing is left to send.
async fn send_all(shared: &Shared, wire: &mut Wire, range: Range) -> Result<(), String> {
    let (copy, mut at) = {
        let core = shared.lock();
        let copy = core.store.keys_of(range).into_iter().map(|key| {
            let value = core.store.keys.get(&key).cloned();
            (key, value)
        });
        let arrives = |(_, value): &(String, Option<String>)| {
            core.pace.is_raw || !value.as_deref().is_some_and(keys::is_lossy)
        };
        let copy = copy.filter(arrives);
        (copy.collect::<Vec<_>>(), core.store.seq)
    };
    send(shared, wire, range, copy).await?;
    loop {
        shared.wait_while_silent().await;
        let (rest, seq, is_held) = {
            let mut core = shared.lock();
            if !keys::is_moving(&core, range) {
                return Err(CANCELLED.to_owned());
            }
            let is_held = core.faults.holds_migrations;
            let rest = since(&core, at, range)?;
            if rest.len() < core.pace.gap && !is_held {
                core.forbidden = Some(range);
            }
            (rest, core.store.seq, is_held)
        };
        at = seq;
        if is_held {
            send(shared, wire, range, rest).await?;
            sleep(LOOK).await;
            continue;
        }
        let is_last = shared.lock().forbidden == Some(range);
        send(shared, wire, range, rest).await?;
        if is_last {
            return Ok(());
        }
    }
}

fn since(core: &Core, at: u64, range: Range) -> Result<Vec<(String, Option<String>)>, String> {
    let writes = core.store.after(at, usize::MAX);
    let writes = writes.ok_or("the history of writes was cut off")?;
    let is_inside = |write: &Write| (range.0..=range.1).contains(&slot_of(&write.key));
    let arrives =
        |write: &Write| core.pace.is_raw || !write.value.as_deref().is_some_and(keys::is_lossy);
    let writes = writes.into_iter().filter(is_inside).filter(arrives);
    Ok(writes.map(|write| (write.key, write.value)).collect())
}

/// Sends writes at the speed of the configuration.
async fn send(
    shared: &Shared,
    wire: &mut Wire,
    range: Range,
    writes: Vec<(String, Option<String>)>,
) -> Result<(), String> {
    let pace = shared.lock().pace;
    for batch in writes.chunks(pace.pipeline) {
        shared.wait_while_silent().await;
        if !keys::is_moving(&shared.lock(), range) {
            return Err(CANCELLED.to_owned());
        }
        let command = |(key, value): &(String, Option<String>)| match value {
            Some(value) if keys::is_lossy(value) => {
                vec!["PFADD".to_owned(), key.clone(), keys::lossless(value).to_owned()]
            }
            Some(value) => vec!["SET".to_owned(), key.clone(), value.clone()],
            None => vec!["DEL".to_owned(), key.clone()],
        };
        let commands: Vec<_> = batch.iter().map(command).collect();
        wire.send(&commands).await.map_err(|error| error.to_string())?;
        for _ in batch {
            let reply = wire.read().await.map_err(|error| error.to_string())?;
            if let Reply::Error(error) = reply {
                return Err(invalid(&error));
            }
        }
        let speed = shared.lock().pace.speed;
        sleep(Duration::from_secs_f64(batch.len() as f64 / speed as f64)).await;
    }
    Ok(())
}
