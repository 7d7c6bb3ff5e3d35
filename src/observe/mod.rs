//! What this replica sees of the world, on every replica, leader or not. It asks and remembers; it
//! changes nothing out there. What it saw reaches the replicated state as a report, by command.

pub mod kvrocks;

use futures::{StreamExt, future::BoxFuture, stream};

/// Waits for all of `work`, at most `width` of it going on at the same time; results come in the
/// order in which they are ready.
pub async fn side_by_side<T>(work: Vec<BoxFuture<'_, T>>, width: usize) -> Vec<T> {
    stream::iter(work).buffer_unordered(width).collect().await
}
