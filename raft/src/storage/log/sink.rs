//! The one place that writes to RocksDB.
//!
//! [`BatchSink`] is a seam for tests that make a write fail; the program has one implementor.

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::format::{decode_value, index_of, key_of};
use crate::{storage::wire::damaged, types::Entry};

/// Column family of the entries.
pub(crate) const CF_LOG: &str = "log";
/// Column family of everything about the log.
pub(crate) const CF_META: &str = "meta";

/// One change of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Stores an entry.
    Put {
        /// Its index.
        index: u64,
        /// Its value.
        value: Bytes,
    },
    /// Removes the entries `[from, to)`.
    Delete {
        /// First index.
        from: u64,
        /// First index that stays.
        to: u64,
        /// Whether whole files of that range may be dropped: only for a purge, because nothing
        /// is ever written there again.
        is_purge: bool,
    },
    /// Stores something about the log.
    Meta {
        /// Its name.
        key: &'static str,
        /// Its value.
        value: Vec<u8>,
    },
}

/// Takes batches of changes, whole or not at all.
pub(crate) trait BatchSink: Send {
    /// Applies the changes in order; returns after they are durable if `is_synced`.
    ///
    /// # Errors
    /// Any error means that nothing is known about the batch, and that nothing may be written
    /// after it.
    fn write(&mut self, ops: &[Op], is_synced: bool) -> io::Result<()>;

    /// What to wait for before a write: a disk takes its own time, a simulated one must be given
    /// some.
    fn pause(&self, ops: &[Op]) -> Option<BoxFuture<'static, ()>> {
        let _ = ops;
        None
    }
}

/// The database of the log, shared by the writer and the readers.
#[derive(Clone)]
pub(crate) struct LogDb {
    db: Database,
}

#[derive(Clone)]
enum Database {
    Rocks(Arc<DB>),
    #[cfg(test)]
    Simulated(crate::testing::sim::disk::Opened),
}

impl LogDb {
    /// Opens the database, and creates it if it is not there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        #[cfg(test)]
        if let Some(simulated) = crate::testing::sim::disk::open(path)? {
            return Ok(Self { db: Database::Simulated(simulated) });
        }
        let families = [
            ColumnFamilyDescriptor::new(CF_LOG, log_options()),
            ColumnFamilyDescriptor::new(CF_META, meta_options()),
        ];
        let db =
            DB::open_cf_descriptors(&db_options(), path, families).map_err(io::Error::other)?;
        Ok(Self { db: Database::Rocks(Arc::new(db)) })
    }

    /// Opens a database that is there, without changing a byte of it.
    pub(crate) fn open_read_only(path: &Path) -> io::Result<Self> {
        #[cfg(test)]
        if let Some(simulated) = crate::testing::sim::disk::open(path)? {
            return Ok(Self { db: Database::Simulated(simulated) });
        }
        let mut options = db_options();
        options.create_if_missing(false);
        options.create_missing_column_families(false);
        let families = [(CF_LOG, log_options()), (CF_META, meta_options())];
        let db = DB::open_cf_with_opts_for_read_only(&options, path, families, false);
        Ok(Self { db: Database::Rocks(Arc::new(db.map_err(io::Error::other)?)) })
    }

    /// Reads something about the log.
    pub(crate) fn meta(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        match &self.db {
            Database::Rocks(db) => db.get_cf(family(db, CF_META)?, key).map_err(io::Error::other),
            #[cfg(test)]
            Database::Simulated(disk) => Ok(disk.meta(key)),
        }
    }

    /// Hands over the entries of `[start, end)` in order until told to stop, or a gap.
    ///
    /// # Errors
    /// What `take` returns; `InvalidData` if an entry is damaged or missing.
    pub(crate) fn scan(
        &self,
        start: u64,
        end: u64,
        mut take: impl FnMut(Entry, usize) -> io::Result<bool>,
    ) -> io::Result<()> {
        let mut previous = None;
        let mut step = |index: u64, value: Bytes| {
            if let Some(previous) = previous
                && index != previous + 1
            {
                return Err(damaged(format!(
                    "the log has entry {previous} and then entry {index}: what lay between is gone"
                )));
            }
            previous = Some(index);
            let bytes = value.len();
            take(decode_value(index, value)?, bytes)
        };
        match &self.db {
            Database::Rocks(db) => scan(db, start, end, &mut step),
            #[cfg(test)]
            Database::Simulated(disk) => {
                for (index, value) in disk.entries(start, end) {
                    if !step(index, value)? {
                        break;
                    }
                }
                Ok(())
            }
        }
    }
}

/// Hands over what lies under the keys of `[start, end)` in order until told to stop.
fn scan(
    db: &DB,
    start: u64,
    end: u64,
    mut step: impl FnMut(u64, Bytes) -> io::Result<bool>,
) -> io::Result<()> {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(key_of(end));
    options.set_verify_checksums(true);
    options.fill_cache(false);
    let mut entries = db.raw_iterator_cf_opt(family(db, CF_LOG)?, options);
    entries.seek(key_of(start));
    while let Some((key, value)) = entries.item() {
        if !step(index_of(key)?, Bytes::copy_from_slice(value))? {
            return Ok(());
        }
        entries.next();
    }
    entries.status().map_err(io::Error::other)
}

fn family<'a>(db: &'a DB, name: &str) -> io::Result<&'a ColumnFamily> {
    db.cf_handle(name)
        .ok_or_else(|| damaged(format!("the database of the log has no family {name}")))
}

impl BatchSink for LogDb {
    fn write(&mut self, ops: &[Op], is_synced: bool) -> io::Result<()> {
        match &self.db {
            Database::Rocks(db) => write(db, ops, is_synced),
            #[cfg(test)]
            Database::Simulated(disk) => disk.write(ops, is_synced),
        }
    }

    #[cfg(test)]
    fn pause(&self, ops: &[Op]) -> Option<BoxFuture<'static, ()>> {
        match &self.db {
            Database::Rocks(_) => None,
            Database::Simulated(disk) => Some(disk.pause(ops)),
        }
    }
}

fn write(db: &DB, ops: &[Op], is_synced: bool) -> io::Result<()> {
    let (log, meta) = (family(db, CF_LOG)?, family(db, CF_META)?);
    let mut batch = WriteBatch::default();
    for op in ops {
        match op {
            Op::Put { index, value } => batch.put_cf(log, key_of(*index), value),
            Op::Delete { from, to, .. } => {
                batch.delete_range_cf(log, key_of(*from), key_of(*to));
            }
            Op::Meta { key, value } => batch.put_cf(meta, key, value),
        }
    }
    let mut options = WriteOptions::default();
    options.set_sync(is_synced);
    db.write_opt(batch, &options).map_err(io::Error::other)?;
    for op in ops {
        if let Op::Delete { from, to, is_purge: true } = op
            && to.saturating_sub(*from) > 1
        {
            db.delete_file_in_range_cf(log, key_of(*from), key_of(to - 1))
                .map_err(io::Error::other)?;
        }
    }
    Ok(())
}

fn db_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // A torn tail is normal after a power cut and recycled files end in old records; both end the
    // log silently, which is what the guards at start are for.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Overwriting a block needs no metadata commit. From the first start on: switching it on for
    // an existing database had a bug in older releases.
    options.set_recycle_log_file_num(4);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(256 * 1024 * 1024);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options.set_stats_dump_period_sec(0);
    options
}

fn log_options() -> Options {
    let mut options = Options::default();
    // Most entries are purged before they would reach a table.
    options.set_write_buffer_size(64 * 1024 * 1024);
    options.set_max_write_buffer_number(4);
    options.set_compression_type(DBCompressionType::None);
    options.set_level_zero_file_num_compaction_trigger(4);
    // The tombstones of purges are only removed by compaction.
    options.set_disable_auto_compactions(false);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(8 * 1024 * 1024));
    options.set_block_based_table_factory(&table);
    options
}

fn meta_options() -> Options {
    let mut options = Options::default();
    // A tiny family must not pin old write-ahead logs.
    options.set_write_buffer_size(1024 * 1024);
    options.set_compression_type(DBCompressionType::None);
    options
}
