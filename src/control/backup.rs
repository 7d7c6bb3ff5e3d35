//! Takes backups on a schedule: whichever replica leads writes one into its directory or bucket.
//!
//! A backup is due when the newest one there is older than the interval, so a new leader
//! takes one soon, and a restart takes none that is not due.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    broker::Broker,
    client::backups::{Backups, Keep, Stored},
    telemetry,
};

/// Between two looks; a tenth of the interval if that is shorter.
const LOOK: Duration = Duration::from_secs(10);

/// When backups are taken, and which are kept.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Where.
    pub backups: Arc<Backups>,
    /// Between two of them.
    pub interval: Duration,
    /// Which are kept.
    pub keep: Keep,
}

/// Runs for ever.
pub(super) async fn run(broker: Broker, schedule: Schedule) {
    let leadership = broker.watch_leadership();
    let mut ticks = interval(LOOK.min(schedule.interval / 10).max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    metrics::gauge!(telemetry::BACKUP_INTERVAL_SECONDS).set(schedule.interval.as_secs_f64());
    let mut known = Known::default();
    loop {
        ticks.tick().await;
        let is_leader_here = leadership.borrow().is_leader_here && broker.is_founded();
        let is_wanted =
            is_leader_here && is_due(known.newest.as_ref(), schedule.interval, broker.now_ms());
        if !is_wanted && !known.is_old(schedule.interval) {
            continue;
        }
        // Also of a replica that does not lead, and of backups from before its start.
        let stored = schedule.backups.list().await;
        known = Known::of(stored.as_deref().unwrap_or_default());
        if let Some(newest) = &known.newest {
            show(newest);
        }
        if !is_leader_here {
            continue;
        }
        match tend(&broker, &schedule, stored).await {
            Ok(None) => {}
            Ok(Some(stored)) => {
                metrics::counter!(telemetry::BACKUPS_TOTAL, "outcome" => "ok").increment(1);
                show(&stored);
                known.newest = Some(stored.clone());
                let (index, bytes) = (stored.index, stored.bytes);
                let path = schedule.backups.place_of(&stored.name);
                tracing::info!(index, bytes, path, "backup taken");
            }
            Err(error) => {
                metrics::counter!(telemetry::BACKUPS_TOTAL, "outcome" => "failed").increment(1);
                tracing::error!(%error, "no backup taken");
            }
        }
    }
}

/// What the last look has found. A bucket answers each look over the network and charges for it, so
/// nobody looks again before something can have come of it.
#[derive(Default)]
struct Known {
    newest: Option<Stored>,
    looked: Option<Instant>,
}

impl Known {
    /// What a list that was fetched just now, newest first, says.
    fn of(stored: &[Stored]) -> Self {
        Self { newest: stored.first().cloned(), looked: Some(Instant::now()) }
    }

    /// Whether others may have taken backups since, or backups may have gone.
    fn is_old(&self, interval: Duration) -> bool {
        self.looked.is_none_or(|looked| looked.elapsed() >= interval / 10)
    }
}

/// Tells when a backup was taken.
fn show(newest: &Stored) {
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    let taken_s = newest.created_ms as f64 / 1_000.0;
    metrics::gauge!(telemetry::BACKUP_TAKEN_TIME_SECONDS).set(taken_s);
}

/// Takes a backup if one is due, and thins out the old ones.
async fn tend(
    broker: &Broker,
    schedule: &Schedule,
    stored: io::Result<Vec<Stored>>,
) -> io::Result<Option<Stored>> {
    let newest = stored?.into_iter().next();
    if !is_due(newest.as_ref(), schedule.interval, broker.now_ms()) {
        return Ok(None);
    }
    let archive = broker.archive(true).await?;
    let named = (archive.archive.end.position.index, archive.archive.created_ms);
    let taken = schedule.backups.store(named, archive).await?;
    schedule.backups.thin_out(schedule.keep, broker.now_ms()).await?;
    Ok(Some(taken))
}

/// Whether the newest of backups is older than the interval. One from the future, by a clock that
/// was set back, keeps nothing from being backed up.
fn is_due(newest: Option<&Stored>, interval: Duration, now_ms: u64) -> bool {
    let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    newest.is_none_or(|newest| now_ms.abs_diff(newest.created_ms) >= interval_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_due_once_the_newest_is_old() {
        let stored = |created_ms| Stored { created_ms, index: 1, name: String::new(), bytes: 1 };
        let minute = Duration::from_secs(60);
        assert!(is_due(None, minute, 5));
        assert!(!is_due(Some(&stored(1_000)), minute, 60_999));
        assert!(is_due(Some(&stored(1_000)), minute, 61_000));
        assert!(is_due(Some(&stored(900_000)), minute, 1_000));
    }
}
