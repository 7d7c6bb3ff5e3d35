//! What came of the requests.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{Failure, plan::Group};

/// Longest latency that is told apart, in microseconds.
const SLOWEST_US: u64 = 60_000_000;

/// Counts of one client or of many.
pub(crate) struct Tally {
    times: Histogram<u64>,
    bytes: u64,
    failed: u64,
}

/// A group's figures; latencies in microseconds.
#[derive(Serialize)]
pub(crate) struct Row {
    op: String,
    clients: u64,
    offered_per_s: Option<f64>,
    done: u64,
    failed: u64,
    per_s: f64,
    bytes_per_s: f64,
    min: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self { times: Histogram::new_with_bounds(1, SLOWEST_US, 3)?, bytes: 0, failed: 0 })
    }

    /// A request was answered well.
    pub(crate) fn done(&mut self, took: Duration, bytes: u64) -> Result<(), Failure> {
        let us = u64::try_from(took.as_micros())?;
        self.times.saturating_record(us.max(1));
        self.bytes += bytes;
        Ok(())
    }

    /// A request was not.
    pub(crate) fn failed(&mut self) {
        self.failed += 1;
    }

    /// Takes in another's.
    pub(crate) fn add(&mut self, other: &Self) -> Result<(), Failure> {
        self.times.add(&other.times)?;
        self.bytes += other.bytes;
        self.failed += other.failed;
        Ok(())
    }

    /// The figures of all that a group did.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn row(&self, group: &Group, seconds: u64) -> Row {
        let op = format!("{:?}", group.op).to_lowercase();
        self.named(op, group.clients, group.rate, seconds.max(1) as f64)
    }

    /// The figures under a name.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn named(
        &self,
        op: String,
        clients: u64,
        offered_per_s: Option<f64>,
        seconds: f64,
    ) -> Row {
        let at = |share| self.times.value_at_quantile(share);
        Row {
            op,
            clients,
            offered_per_s,
            done: self.times.len(),
            failed: self.failed,
            per_s: self.times.len() as f64 / seconds,
            bytes_per_s: self.bytes as f64 / seconds,
            min: self.times.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.times.max(),
        }
    }
}
