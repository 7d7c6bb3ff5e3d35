//! When a snapshot is taken.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::core::Core;
use crate::{Machine, ReadError};

/// How often it is checked whether a snapshot is due.
const CHECK: Duration = Duration::from_millis(250);
/// A snapshot that was asked for and did not appear is asked for again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(60);

impl<M: Machine> Core<M> {
    /// Takes snapshots whenever one of the bounds is reached, until the node stops.
    pub(crate) async fn take_snapshots(self: Arc<Self>) {
        let Some(mut newest) = self.disk.load_full().map(|disk| disk.snapshots.watch_newest())
        else {
            return;
        };
        let policy = self.config.snapshot;
        let mut ticks = interval(CHECK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut since = Instant::now();
        let mut bytes_then = self.appended_bytes();
        let mut asked: Option<(Option<u64>, Instant)> = None;
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {}
                () = self.stop.cancelled() => return,
            }
            if newest.has_changed().is_err() {
                return;
            }
            if newest.has_changed().unwrap_or_default() {
                newest.mark_unchanged();
                since = Instant::now();
                bytes_then = self.appended_bytes();
            }
            let covered = newest.borrow().as_ref().map(|log_id| log_id.index());
            let applied = self.applied();
            let entries = applied.saturating_sub(covered.unwrap_or(0));
            // A state that is not to be believed is not kept either.
            let is_due = entries > 0
                && !self.standing.is_quarantined()
                && (entries >= policy.entries_max
                    || self.appended_bytes() - bytes_then >= policy.log_bytes_max
                    || since.elapsed() >= policy.age_max);
            // One that is being written is not asked for again, unless nothing comes of it.
            let is_asked =
                asked.is_some_and(|(then, at)| then == covered && at.elapsed() < ASK_AGAIN);
            if is_due && !is_asked {
                asked = Some((covered, Instant::now()));
                tracing::debug!(replica = self.here(), applied, "a snapshot is due");
                if self.raft.trigger().snapshot().await.is_err() {
                    return;
                }
            }
        }
    }

    /// Takes a snapshot now and waits until it is durable; returns the index it covers.
    pub(crate) async fn snapshot_now(&self) -> io::Result<u64> {
        if self.standing.is_quarantined() {
            return Err(io::Error::other(ReadError::Quarantined));
        }
        let stopped = || io::Error::other("this replica has stopped");
        let disk = self.disk.load_full().ok_or_else(stopped)?;
        let mut newest = disk.snapshots.watch_newest();
        drop(disk);
        let wanted = self.applied();
        loop {
            // Asked for again when one that was under way covers less than is wanted. The core does
            // nothing about a wish while one is under way, and may learn of its end after it was
            // told here; so it is also asked again without any news.
            self.raft.trigger().snapshot().await.map_err(io::Error::other)?;
            let covered = newest.borrow_and_update().as_ref().map(|log_id| log_id.index());
            if let Some(covered) = covered.filter(|covered| *covered >= wanted) {
                return Ok(covered);
            }
            tokio::select! {
                biased;
                changed = newest.changed() => changed.map_err(|_| stopped())?,
                () = sleep(CHECK) => {}
                message = self.fatal.raised() => return Err(io::Error::other(message)),
                () = self.stop.cancelled() => return Err(stopped()),
            }
        }
    }

    fn appended_bytes(&self) -> u64 {
        self.disk.load_full().map_or(0, |disk| disk.log.appended_bytes())
    }
}
