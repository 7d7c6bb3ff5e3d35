//! The storage suite of the consensus library, over both stores.

use std::{sync::Arc, time::Duration};

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use tempfile::TempDir;

use super::{
    Fatal, LogStore, MachineStore, Snapshots, fixture, history::History, replay::Resumed,
    snapshot::Kept,
};
use crate::{
    config::WindowLimits,
    replicated::Replicated,
    testing::{
        memory::{MemoryDisk, MemoryLog},
        register::Registers,
    },
    types::TypeConfig,
};

struct OnDisk;

impl StoreBuilder<TypeConfig, LogStore, MachineStore<Registers>, TempDir> for OnDisk {
    async fn build(
        &self,
    ) -> Result<(TempDir, LogStore, MachineStore<Registers>), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("a directory");
        let opened = fixture::open(dir.path());
        Ok((dir, opened.log, opened.machine.accepting_gaps()))
    }
}

struct InMemory;

impl StoreBuilder<TypeConfig, MemoryLog, MachineStore<Registers>, TempDir> for InMemory {
    async fn build(
        &self,
    ) -> Result<(TempDir, MemoryLog, MachineStore<Registers>), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("a directory");
        let log = MemoryDisk::new(Duration::ZERO).open();
        let kept = Kept::default();
        kept.clean(dir.path()).expect("directories");
        let fatal = Fatal::new();
        let snapshots =
            Arc::new(Snapshots::new(dir.path(), kept, Arc::new(log.clone()), fatal.clone()));
        let state = Replicated::new(Registers::default(), WindowLimits::default());
        let resumed = Resumed { history: History::new(state.index()), state };
        Ok((dir, log, MachineStore::resuming(resumed, snapshots, fatal).accepting_gaps()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_on_disk_passes_the_suite() {
    Suite::test_all(OnDisk).await.expect("the suite passes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_in_memory_passes_the_suite() {
    Suite::test_all(InMemory).await.expect("the suite passes");
}
