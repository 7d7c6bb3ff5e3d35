//! Brings a replica down, so that the others hardly notice and its directory can be opened again.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Node;
use crate::{Machine, storage::lock::DirLock};

/// Longest wait for another replica to take over.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);
/// How long the parts of a stopped core may take to let go of the disk.
const CLOSE: Duration = Duration::from_secs(10);
/// Pause between two looks at whether the disk is free.
const CLOSE_PAUSE: Duration = Duration::from_millis(5);

impl<M: Machine> Node<M> {
    /// Stops the replica: hands over leadership, answers what is in flight, stops the core, closes
    /// the disk. What is not done after `timeout` is not waited for, except that the disk is
    /// closed. Clones of the node stay usable; they refuse everything.
    pub async fn shutdown(&self, timeout: Duration) {
        let core = &self.core;
        let deadline = Instant::now() + timeout;
        core.is_closing.store(true, Ordering::Release);
        core.is_ready.send_replace(false);
        if core.leadership().is_leader_here {
            let until = deadline.min(Instant::now() + HAND_OVER_MAX);
            match core.hand_over(None, until).await {
                Ok(leader) => tracing::info!(replica = core.here(), leader, "handed over"),
                Err(error) => tracing::info!(replica = core.here(), %error, "not handed over"),
            }
        }
        if timeout_at(deadline, core.admission.drained()).await.is_err() {
            let left = core.admission.in_flight();
            tracing::warn!(replica = core.here(), left, "proposals are left in flight");
        }
        self.halt().await;
    }

    /// Stops the replica at once, as if its connections were cut: for tests of what the others
    /// make of it, and for a start that failed. The disk is closed when this returns.
    pub async fn abort(&self) {
        self.core.is_closing.store(true, Ordering::Release);
        self.core.is_ready.send_replace(false);
        self.halt().await;
    }

    async fn halt(&self) {
        let core = &self.core;
        core.is_stopping.store(true, Ordering::Release);
        core.stop.cancel();
        if timeout(CLOSE, core.raft.shutdown()).await.is_err() {
            tracing::error!(replica = core.here(), "the raft core does not stop");
        }
        core.tasks.close();
        if timeout(CLOSE, core.tasks.wait()).await.is_err() {
            tracing::error!(replica = core.here(), "a task of the node does not stop");
        }
        drop(core.disk.swap(None));
        // The lock is let go of after the database is closed, by whichever part is the last.
        let deadline = Instant::now() + CLOSE;
        while DirLock::take(&core.config.data_dir).is_err() {
            if Instant::now() >= deadline {
                tracing::error!(replica = core.here(), "the disk does not close");
                return;
            }
            sleep(CLOSE_PAUSE).await;
        }
        tracing::info!(replica = core.here(), "stopped");
    }
}
