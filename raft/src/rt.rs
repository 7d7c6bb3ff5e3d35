//! Where tasks run.
//!
//! In the program this is tokio, and nothing else. In this crate's own tests a task that is begun
//! inside a simulation belongs to the simulated replica that began it, and the simulation picks
//! which task goes on next; see `crate::testing`. So what is simulated is the engine itself, and
//! not a second one.

use std::{future::Future, io};

use tokio_util::task::TaskTracker;

#[cfg(test)]
pub(crate) use crate::testing::sim::runtime::spawn;
#[cfg(not(test))]
pub(crate) use tokio::spawn;

/// Begins a task that a tracker waits for.
pub(crate) fn track<F>(tasks: &TaskTracker, future: F)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    drop(spawn(tasks.track_future(future)));
}

/// Runs what blocks, on a thread for such work.
///
/// # Errors
/// If the work panicked, or the runtime is shutting down.
pub(crate) async fn blocking<T, W>(work: W) -> io::Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    #[cfg(test)]
    if crate::testing::sim::runtime::is_simulated() {
        return Ok(crate::testing::sim::runtime::blocking(work).await);
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
