//! The replicated state as the consensus library sees it: applying, publishing, snapshots.
//!
//! A batch of committed entries is applied, then published in one step, and only then are the
//! proposers answered: whoever hears of a write finds it in the published state.

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use futures::{FutureExt, Stream, StreamExt};
use metrics::{gauge, histogram};
use openraft::{
    OptionalSend, RaftSnapshotBuilder,
    storage::{ApplyResponder, EntryResponder, RaftStateMachine},
};
use tokio::sync::{broadcast, watch};

use super::{Fatal, SnapshotFile, Snapshots, history::History, replay::Resumed, waiters::Waiters};
use crate::{
    Machine,
    agreement::{Samples, Standing},
    metrics::{APPLY_BATCH_ENTRIES, WINDOW_REQUESTS},
    replicated::{AppliedEvents, Replicated},
    types::{LogId, Outcome, SnapshotMeta, StoredMembership, TypeConfig},
};

/// Most entries that are applied before they are published.
const APPLY_ENTRIES_MAX: usize = 512;
/// Most batches of events a slow watcher may lag behind.
const EVENTS_KEPT: usize = 1024;

/// A snapshot as the consensus library passes it around.
pub(crate) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>;

/// Where the replicated state is published.
pub(crate) struct Board<M: Machine> {
    published: ArcSwap<Replicated<M>>,
    applied: watch::Sender<u64>,
    waiters: Waiters,
    events: broadcast::Sender<Arc<AppliedEvents<M::Event>>>,
    history: History<M::Event>,
    samples: Samples<M>,
}

impl<M: Machine> Board<M> {
    fn new(state: Replicated<M>, history: History<M::Event>) -> Self {
        Self {
            applied: watch::Sender::new(state.index()),
            waiters: Waiters::default(),
            history,
            samples: Samples::new(),
            published: ArcSwap::from_pointee(state),
            events: broadcast::Sender::new(EVENTS_KEPT),
        }
    }

    /// The state as of the last published batch.
    pub(crate) fn latest(&self) -> Arc<Replicated<M>> {
        self.published.load_full()
    }

    /// Tells the index of the last published entry; a state at least that new is published by
    /// then.
    pub(crate) fn watch_applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Index of the last published entry.
    pub(crate) fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    /// Resolves once a committed entry is applied and published.
    pub(crate) async fn reached(&self, index: u64) {
        if self.applied() < index
            && let Some(reached) = self.waiters.enter(index, || self.applied())
        {
            // Never dropped unsent while this lives.
            drop(reached.await);
        }
    }

    /// Tells what the entries led to. A watcher that lags too far behind is told so, and must
    /// read the state instead.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<AppliedEvents<M::Event>>> {
        self.events.subscribe()
    }

    /// What the last entries led to.
    pub(crate) fn history(&self) -> &History<M::Event> {
        &self.history
    }

    /// The states that are compared with other replicas'.
    pub(crate) fn samples(&self) -> &Samples<M> {
        &self.samples
    }

    /// Events come with the index of their entry.
    fn publish(&self, state: &Replicated<M>, events: Vec<(u64, M::Event)>) {
        let index = state.index();
        self.published.store(Arc::new(state.clone()));
        // Before the index is told: whoever waits for it finds the events.
        self.history.extend(index, events.iter().cloned());
        self.applied.send_replace(index);
        self.waiters.publish(index);
        if !events.is_empty() {
            let events = events.into_iter().map(|(_, event)| event).collect();
            // Nobody may be listening.
            drop(self.events.send(Arc::new(AppliedEvents { index, events })));
        }
    }

    /// Publishes a state that was not reached entry by entry.
    fn replace(&self, state: &Replicated<M>) {
        self.samples.forget();
        self.published.store(Arc::new(state.clone()));
        self.history.reset(state.index());
        self.applied.send_replace(state.index());
        self.waiters.publish(state.index());
    }
}

/// Applies committed entries to the replicated state.
pub(crate) struct MachineStore<M: Machine> {
    state: Replicated<M>,
    board: Arc<Board<M>>,
    snapshots: Arc<Snapshots>,
    fatal: Fatal,
    /// Told when the state is replaced; `None` only in tests of the storage.
    standing: Option<Arc<Standing>>,
}

impl<M: Machine> MachineStore<M> {
    /// Goes on where a replica stopped.
    pub(crate) fn resuming(resumed: Resumed<M>, snapshots: Arc<Snapshots>, fatal: Fatal) -> Self {
        let Resumed { state, history } = resumed;
        let board = Arc::new(Board::new(state.clone(), history));
        Self { state, board, snapshots, fatal, standing: None }
    }

    /// Tells when the state is replaced.
    pub(crate) fn with_standing(self, standing: Arc<Standing>) -> Self {
        Self { standing: Some(standing), ..self }
    }

    /// Lets entries leave indexes out; see [`Replicated::accepting_gaps`].
    #[cfg(test)]
    pub(crate) fn accepting_gaps(self) -> Self {
        Self { state: self.state.accepting_gaps(), ..self }
    }

    /// Where the state is published.
    pub(crate) fn board(&self) -> Arc<Board<M>> {
        self.board.clone()
    }

    async fn tell_replaced(&self) -> io::Result<()> {
        let Some(standing) = &self.standing else { return Ok(()) };
        standing.state_replaced().await.inspect_err(|error| {
            let message = format!("writing down that the state is replaced failed: {error}");
            self.fatal.raise(message);
        })
    }

    fn apply_batch(
        &mut self,
        batch: Vec<Result<EntryResponder<TypeConfig>, io::Error>>,
    ) -> io::Result<()> {
        let mut events = Vec::new();
        let mut of_entry = Vec::new();
        let mut answers: Vec<(ApplyResponder<TypeConfig>, Outcome)> = Vec::new();
        #[allow(clippy::cast_precision_loss)]
        histogram!(APPLY_BATCH_ENTRIES).record(batch.len() as f64);
        for item in batch {
            let (entry, responder) = item?;
            let outcome = self.state.apply_entry(&entry, &mut of_entry).map_err(|error| {
                self.fatal.raise(error.to_string());
                io::Error::other(error)
            })?;
            let index = self.state.index();
            self.board.samples.offer(&self.state);
            events.extend(of_entry.drain(..).map(|event| (index, event)));
            answers.extend(responder.map(|responder| (responder, outcome)));
        }
        #[allow(clippy::cast_precision_loss)]
        gauge!(WINDOW_REQUESTS).set(self.state.remembered_requests() as f64);
        self.board.publish(&self.state, events);
        for (responder, outcome) in answers {
            responder.send(outcome);
        }
        Ok(())
    }
}

impl<M: Machine> RaftStateMachine<TypeConfig> for MachineStore<M> {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder<M>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.state.applied().copied(), self.state.membership().clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut entries = std::pin::pin!(entries);
        while let Some(first) = entries.next().await {
            let mut batch = vec![first];
            // Takes what is ready and never waits for more: a lone entry is published at once.
            while batch.len() < APPLY_ENTRIES_MAX
                && let Some(Some(next)) = entries.next().now_or_never()
            {
                batch.push(next);
            }
            self.apply_batch(batch)?;
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder<M>> {
        if !force && self.state.applied().is_none() {
            return None;
        }
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder<M> {
        Builder { state: self.state.clone(), snapshots: self.snapshots.clone() }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        // Before it is so, because it must not be forgotten; what is written too early only costs a
        // comparison. And after it, because one of the former state may have ended meanwhile.
        self.tell_replaced().await?;
        let state = self.snapshots.install::<M>(meta, snapshot, self.state.level_max()).await?;
        self.state = state.succeeding(&self.state);
        self.board.replace(&self.state);
        self.tell_replaced().await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let newest = self.snapshots.newest()?;
        Ok(newest.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Writes a snapshot of the state as it was when the builder was made.
pub(crate) struct Builder<M: Machine> {
    state: Replicated<M>,
    snapshots: Arc<Snapshots>,
}

impl<M: Machine> RaftSnapshotBuilder<TypeConfig> for Builder<M> {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let (meta, snapshot) = self.snapshots.write(self.state.clone()).await?;
        Ok(Snapshot { meta, snapshot })
    }
}
