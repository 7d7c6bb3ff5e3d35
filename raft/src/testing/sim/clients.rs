//! Clients: they write, read, and try again elsewhere when they do not know what became of a write.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::Rng;
use tokio::time::{Instant, sleep, timeout};

use super::{
    event::Event,
    place::{Places, within},
};
use crate::{
    Applied, Proposal, ProposeError, ReadMode, ReplicaId, RequestId,
    testing::register::{RegisterCommand, RegisterReply},
};

/// A client tries a write that often.
const ATTEMPTS_MAX: u32 = 4;
/// How much longer than the replica's deadline a client waits.
const GRACE: Duration = Duration::from_millis(50);

/// Numbers operations and values.
#[derive(Clone, Default)]
pub(crate) struct Numbers(Arc<AtomicU64>);

impl Numbers {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// One client.
#[derive(Clone)]
pub(crate) struct Client {
    /// Whom it asks.
    pub(crate) places: Places,
    /// Shared by all clients.
    pub(crate) numbers: Numbers,
}

impl Client {
    /// Asks one thing after the other for some time.
    pub(crate) async fn ask_until(self, end: Instant) {
        while Instant::now() < end {
            let kind = self.draw(100);
            match kind {
                0..50 => drop(self.write(None).await),
                50..55 => self.write_as_leader().await,
                55..75 => drop(self.read(self.places.any(), true).await),
                _ => drop(self.read(self.places.any(), false).await),
            }
            let think_ms = self.draw(60);
            sleep(Duration::from_millis(think_ms)).await;
        }
    }

    /// Writes something, through a given replica or any; whether it was acknowledged.
    pub(crate) async fn write(&self, through: Option<ReplicaId>) -> bool {
        self.write_within(through, None).await
    }

    /// Writes something as a loop of the leader does: in its term, or not at all.
    async fn write_as_leader(&self) {
        let Some(leader) = self.places.leader() else { return };
        let Some(node) = self.places.node(leader) else { return };
        let leadership = node.core().leadership();
        drop(node);
        // What a loop has found out is a while old when it proposes.
        sleep(Duration::from_millis(self.draw(150))).await;
        self.write_within(Some(leader), Some(leadership.term)).await;
    }

    async fn write_within(&self, through: Option<ReplicaId>, term: Option<u64>) -> bool {
        let operation = self.numbers.next();
        let request = request_of(operation);
        let command = self.command(operation);
        let world = &self.places.world;
        let fence = term.zip(through);
        world.tell(&Event::Invoked { operation, request: Some(request), fence });
        let mut is_doubtful = false;
        for _ in 0..ATTEMPTS_MAX {
            let at = through.unwrap_or_else(|| self.places.any());
            match self.try_write(at, request, &command, term).await {
                Some(Ok(applied)) => {
                    world.witness(|witness| witness.count("written"));
                    let Applied { index, reply, is_duplicate, .. } = applied;
                    if is_duplicate {
                        world.witness(|witness| witness.count("answered from memory"));
                    }
                    let written = Event::Written { operation, request, index, reply, is_duplicate };
                    world.tell(&written);
                    return true;
                }
                Some(Err(ProposeError::NotAccepted { .. })) => {}
                Some(Err(ProposeError::Fenced)) if term.is_some() => {
                    world.witness(|witness| witness.count("fenced"));
                    break;
                }
                Some(Err(ProposeError::Unknown { .. })) | None => is_doubtful = true,
                Some(Err(error)) => {
                    world.witness(|witness| {
                        witness.fail("answers make sense", format!("{operation}: {error}"));
                    });
                }
            }
            sleep(Duration::from_millis(self.draw(100))).await;
        }
        if !is_doubtful {
            world.tell(&Event::Refused { operation, request });
        }
        world.witness(|witness| {
            witness.count(if is_doubtful { "unknown" } else { "refused" });
        });
        false
    }

    async fn try_write(
        &self,
        at: ReplicaId,
        request_id: RequestId,
        command: &RegisterCommand,
        fence_term: Option<u64>,
    ) -> Option<Result<Applied<RegisterReply>, ProposeError>> {
        let patience_ms = 100 + self.draw(1900);
        let command = command.clone();
        let proposal = Proposal { request_id, actor: String::new(), fence_term, command };
        if self.places.node(at).is_none() {
            // No connection: nothing was asked.
            let reason = "no connection";
            return Some(Err(ProposeError::NotAccepted { reason, retry_after_ms: 0 }));
        }
        let asked = self
            .places
            .ask(at, move |node| async move { node.propose(proposal, within(patience_ms)).await });
        timeout(Duration::from_millis(patience_ms) + GRACE, asked).await.ok().flatten()
    }

    /// Reads a register; whether it was answered.
    pub(crate) async fn read(&self, at: ReplicaId, is_linearizable: bool) -> bool {
        let operation = self.numbers.next();
        let key = self.key();
        let world = &self.places.world;
        world.tell(&Event::Invoked { operation, request: None, fence: None });
        let mode = match is_linearizable {
            true => ReadMode::Linearizable,
            false => ReadMode::Local { staleness_max: None, min_index: 0 },
        };
        let patience_ms = 100 + self.draw(1900);
        let asked = self
            .places
            .ask(at, move |node| async move { node.read(mode, within(patience_ms)).await });
        let answered = timeout(Duration::from_millis(patience_ms) + GRACE, asked).await;
        let Ok(Some(Ok(view))) = answered else { return false };
        world.witness(|witness| {
            witness.count(if is_linearizable { "read" } else { "read locally" });
        });
        let (index, value) = (view.index, view.0.get(&key));
        world.tell(&Event::Read { operation, replica: at, is_linearizable, index, key, value });
        true
    }

    fn command(&self, operation: u64) -> RegisterCommand {
        let key = self.key();
        match self.draw(10) {
            0..4 => RegisterCommand::Put { key, value: operation },
            4..8 => RegisterCommand::Add { key, amount: 1 },
            8 => RegisterCommand::Swap { key, expected: None, value: operation },
            _ => RegisterCommand::Remove { key },
        }
    }

    fn key(&self) -> String {
        format!("register-{}", self.draw(self.places.plan.keys))
    }

    fn draw(&self, end: u64) -> u64 {
        self.places.world.draw(|draws| draws.random_range(0..end))
    }
}

fn request_of(operation: u64) -> RequestId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&operation.to_le_bytes());
    RequestId(id)
}
