//! The signal that this replica must stop.

use std::{io, sync::Arc};

use tokio::sync::watch;

/// Raised once, by whoever finds that the replica cannot go on; heard by the node, which ends.
///
/// A replica that lingered after a failed write would go on serving old reads, so the signal does
/// not depend on anybody calling into the storage again.
#[derive(Clone, Debug)]
pub(crate) struct Fatal {
    signal: Arc<watch::Sender<Option<String>>>,
}

impl Fatal {
    /// A signal that has not been raised.
    pub(crate) fn new() -> Self {
        Self { signal: Arc::new(watch::Sender::new(None)) }
    }

    /// Raises the signal with a message an operator can act on; the first message stays.
    pub(crate) fn raise(&self, message: impl Into<String>) {
        let message = message.into();
        self.signal.send_if_modified(|present| {
            let is_first = present.is_none();
            if is_first {
                *present = Some(message);
            }
            is_first
        });
    }

    /// The message, if the signal was raised.
    pub(crate) fn message(&self) -> Option<String> {
        self.signal.borrow().clone()
    }

    /// Whether the signal was raised.
    pub(crate) fn is_raised(&self) -> bool {
        self.signal.borrow().is_some()
    }

    /// Refuses once the signal was raised.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.message().map_or(Ok(()), |message| Err(io::Error::other(message)))
    }

    /// Waits for the signal.
    pub(crate) async fn raised(&self) -> String {
        let mut receiver = self.signal.subscribe();
        // The sender lives in `self`, so the channel cannot close while this waits.
        let message = receiver.wait_for(Option::is_some).await.map(|message| message.clone());
        match message {
            Ok(message) => message.unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }
}
