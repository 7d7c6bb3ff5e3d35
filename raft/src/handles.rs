//! Metrics on paths that are taken for every request: looked up in the registry once.
//!
//! There a look-up builds a key of strings, hashes it and takes a lock, which is a good part of what
//! a proposal costs otherwise.

use std::{fmt, sync::OnceLock, time::Duration};

use metrics::{Counter, Histogram, counter, histogram};

use crate::metrics::Metric;

type Labels = Vec<(&'static str, &'static str)>;

/// The handles of a metric, one for each combination of the values of its labels. What never
/// happened is not looked up, so it is not exported either.
pub struct Handles<H> {
    look_up: fn(&'static str, &Labels) -> H,
    name: &'static str,
    series: Vec<(Labels, OnceLock<H>)>,
}

impl<H> fmt::Debug for Handles<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handles").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Handles<Counter> {
    /// Those of a counter that a table has.
    #[must_use]
    pub fn of_counter(table: &'static [Metric], name: &'static str) -> Self {
        Self::made(table, name, |name, labels| counter!(name, labels))
    }

    /// Counts one. What has values that the table lacks is not counted.
    pub fn count(&self, values: &[&str]) {
        if let Some(counter) = self.get(values) {
            counter.increment(1);
        }
    }
}

impl Handles<Histogram> {
    /// Those of a histogram that a table has.
    #[must_use]
    pub fn of_histogram(table: &'static [Metric], name: &'static str) -> Self {
        Self::made(table, name, |name, labels| histogram!(name, labels))
    }

    /// Adds a time. What has values that the table lacks is left out.
    pub fn record(&self, values: &[&str], elapsed: Duration) {
        if let Some(histogram) = self.get(values) {
            histogram.record(elapsed);
        }
    }
}

impl<H> Handles<H> {
    fn made(
        table: &'static [Metric],
        name: &'static str,
        look_up: fn(&'static str, &Labels) -> H,
    ) -> Self {
        let metric = table.iter().find(|metric| metric.name == name);
        let series = metric.map(Metric::series).unwrap_or_default().into_iter();
        Self { look_up, name, series: series.map(|labels| (labels, OnceLock::new())).collect() }
    }

    fn get(&self, values: &[&str]) -> Option<&H> {
        let mut series = self.series.iter();
        let is_it = |labels: &Labels| labels.iter().map(|(_, value)| value).eq(values);
        let (labels, handle) = series.find(|(labels, _)| is_it(labels))?;
        Some(handle.get_or_init(|| (self.look_up)(self.name, labels)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{FORWARD_SECONDS, METRICS, PROPOSALS_TOTAL};

    #[test]
    fn every_series_of_the_table_has_a_handle_and_no_other() {
        let handles = Handles::of_counter(METRICS, PROPOSALS_TOTAL);
        for outcome in ["applied", "duplicate", "refused", "not_accepted", "unknown"] {
            assert!(handles.get(&[outcome]).is_some(), "{outcome}");
        }
        assert!(handles.get(&["lost"]).is_none());
        assert!(handles.get(&[]).is_none());
        let plain = Handles::of_histogram(METRICS, FORWARD_SECONDS);
        assert!(plain.get(&[]).is_some(), "without labels");
    }
}
