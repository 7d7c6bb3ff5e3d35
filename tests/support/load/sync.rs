//! The limit of writes: the disk.

use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;

use crate::{
    Failure,
    plan::{Group, Op},
    report::{Row, Tally},
};

/// What is written where.
#[derive(Args)]
pub(crate) struct Options {
    /// A file in this directory; removed at the end.
    #[arg(long)]
    dir: PathBuf,
    /// Bytes of each append.
    #[arg(long, default_value_t = 256)]
    bytes: usize,
    /// Seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// Appends and syncs until the time is over.
pub(crate) fn measure(options: &Options) -> Result<Row, Failure> {
    let path = options.dir.join("sync-limit");
    let mut file = File::create(&path)?;
    let block = vec![0x5a; options.bytes];
    let mut tally = Tally::new()?;
    let end = Instant::now() + Duration::from_secs(options.seconds);
    while Instant::now() < end {
        let begun = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        tally.done(begun.elapsed(), options.bytes as u64)?;
    }
    std::fs::remove_file(path)?;
    Ok(tally.row(&Group { op: Op::Write, clients: 1, rate: None }, options.seconds))
}
