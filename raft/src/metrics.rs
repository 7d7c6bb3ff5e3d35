//! Every metric of this crate, and the words in which a crate lists its own.
//!
//! [`metric_table!`](crate::metric_table) turns one row a metric into a constant with its name and
//! into an entry of a table, so that no name is in use that the table does not describe.

use metrics::{SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram};

/// How the values of a metric behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; begins at nought with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of values by size.
    Histogram,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// All values it may have; empty if they are bounded otherwise, as the help says.
    pub values: &'static [&'static str],
}

/// What is known of a metric before it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with the unit last; counters end with `_total`.
    pub name: &'static str,
    /// How its values behave.
    pub kind: Kind,
    /// What its values count.
    pub unit: &'static str,
    /// Its labels, in the order of the table.
    pub labels: &'static [Label],
    /// What it tells, for people.
    pub help: &'static str,
}

/// Most series of a counter that are begun at nought.
const SERIES_MAX: usize = 64;

impl Metric {
    /// Tells the recorder kind and help; begins a counter at nought for all values of its labels,
    /// so that the first event is seen as growth and not as a series that was never there.
    pub fn describe(&self) {
        let help = SharedString::const_str(self.help);
        match self.kind {
            Kind::Counter => {
                describe_counter!(self.name, Unit::Count, help);
                for labels in self.series() {
                    counter!(self.name, &labels).increment(0);
                }
            }
            Kind::Gauge => describe_gauge!(self.name, help),
            Kind::Histogram => describe_histogram!(self.name, help),
        }
    }

    /// Every combination of the values of the labels; none if some are not known beforehand.
    #[must_use]
    pub fn series(&self) -> Vec<Vec<(&'static str, &'static str)>> {
        let mut series = vec![Vec::new()];
        for label in self.labels {
            let longer = series.iter().flat_map(|begun: &Vec<_>| {
                label.values.iter().map(move |value| {
                    begun.iter().copied().chain([(label.name, *value)]).collect::<Vec<_>>()
                })
            });
            series = longer.collect();
        }
        if series.len() > SERIES_MAX { Vec::new() } else { series }
    }
}

/// Declares the metrics of a crate: one row is a constant's name, the kind, what is counted, the
/// metric's name, its labels with their values, and the help text.
///
/// ```
/// quorate_raft::metric_table! {
///     /// Every metric of the kitchen.
///     pub static METRICS, pub const;
///     PLATES_TOTAL: Counter "plates" "kitchen_plates_total" [state = "whole" | "broken"]
///         "Plates that were washed.";
///     WATER: Gauge "litres" "kitchen_water_litres" [] "Water in the sink.";
/// }
/// assert_eq!(METRICS[0].name, PLATES_TOTAL);
/// assert_eq!(METRICS[0].series().len(), 2);
/// assert_eq!(METRICS[1].series(), [[]]);
/// ```
#[macro_export]
macro_rules! metric_table {
    (
        $(#[$about:meta])*
        $table_vis:vis static $table:ident, $vis:vis const;
        $($constant:ident: $kind:ident $unit:literal $name:literal
            [$($label:ident = $($value:literal)|*),*] $help:literal;)*
    ) => {
        $(
            #[doc = $help]
            $vis const $constant: &str = $name;
        )*
        $(#[$about])*
        $table_vis static $table: &[$crate::metrics::Metric] = &[$(
            $crate::metrics::Metric {
                name: $name,
                kind: $crate::metrics::Kind::$kind,
                unit: $unit,
                labels: &[$($crate::metrics::Label {
                    name: stringify!($label),
                    values: &[$($value),*],
                }),*],
                help: $help,
            },
        )*];
    };
}

metric_table! {
    /// Every metric of this crate.
    pub static METRICS, pub(crate) const;

    PROPOSALS_TOTAL: Counter "proposals" "quorate_raft_proposals_total"
        [outcome = "applied" | "duplicate" | "refused" | "not_accepted" | "unknown"]
        "Proposals of this replica's own callers, by what became of them.";
    PROPOSALS_IN_FLIGHT: Gauge "proposals" "quorate_raft_proposals_in_flight" []
        "Proposals taken by this replica as the leader and not answered yet.";
    FORWARDS_TOTAL: Counter "attempts" "quorate_raft_forwards_total"
        [outcome = "applied" | "not_accepted" | "busy" | "unknown"]
        "Proposals handed to the leader over the peer port, by what became of the attempt.";
    FORWARD_SECONDS: Histogram "seconds" "quorate_raft_forward_seconds" []
        "From handing a proposal to the leader to its answer.";
    LEADER_CHANGES_TOTAL: Counter "changes" "quorate_raft_leader_changes_total" []
        "How often another leader, another term, or no leader became known.";
    CAMPAIGNS_TOTAL: Counter "campaigns" "quorate_raft_campaigns_total" []
        "How often this replica stood for election, pre-votes that failed included.";
    PEER_REFUSALS_TOTAL: Counter "requests" "quorate_raft_peer_refusals_total" []
        "Requests refused on the peer port because of who sent them or whom they name.";
    MEMBER_CHANGES_TOTAL: Counter "changes" "quorate_raft_member_changes_total"
        [outcome = "done" | "refused" | "unknown"]
        "Changes of the membership that this replica wrote as the leader.";
    VOTERS: Gauge "replicas" "quorate_raft_voters" []
        "Members with a vote, as this replica knows them.";
    LEARNERS: Gauge "replicas" "quorate_raft_learners" []
        "Members without a vote, as this replica knows them.";
    LOG_SYNC_SECONDS: Histogram "seconds" "quorate_raft_log_sync_seconds" []
        "One synced write of the log, fsync included.";
    LOG_BATCH_ENTRIES: Histogram "entries" "quorate_raft_log_batch_entries" []
        "Entries that one synced write carried.";
    LOG_BATCH_BYTES: Histogram "bytes" "quorate_raft_log_batch_bytes" []
        "Bytes of entries that one synced write carried.";
    DISK_STALLED: Gauge "0 or 1" "quorate_raft_disk_stalled" []
        "1 while a write of the log does not return, for longer than a leader may take.";
    LEADERSHIP_GIVEN_UP_TOTAL: Counter "times" "quorate_raft_leadership_given_up_total" []
        "Times that this replica led and gave it up because its disk hung.";
    QUARANTINED: Gauge "0 or 1" "quorate_raft_quarantined" []
        "1 while this replica is in quarantine, because its state differs from the majority's.";
    DIGEST_DISPUTED: Gauge "0 or 1" "quorate_raft_digest_disputed" []
        "1 while the members' states differ and none of them has a majority.";
    DIGEST_AGREED_INDEX: Gauge "index" "quorate_raft_digest_agreed_index" []
        "Last index at which this replica's state was that of a majority.";
    DIGEST_ROUNDS_TOTAL: Counter "rounds" "quorate_raft_digest_rounds_total"
        [outcome = "agreed" | "incomplete" | "differs" | "disputed"]
        "Comparisons of all members' states that this replica made as the leader.";
    DIGEST_SECONDS: Histogram "seconds" "quorate_raft_digest_seconds" []
        "Digesting one state for a comparison, off the path on which entries are applied.";
    LOG_QUEUE_JOBS: Gauge "jobs" "quorate_raft_log_queue_jobs" []
        "What the thread that writes the log found waiting when it last looked.";
    LOG_DISK_READS_TOTAL: Counter "entries" "quorate_raft_log_disk_reads_total" []
        "Entries read from the disk because the tail in memory no longer had them.";
    APPLY_BATCH_ENTRIES: Histogram "entries" "quorate_raft_apply_batch_entries" []
        "Entries that were applied and published together.";
    WINDOW_REQUESTS: Gauge "requests" "quorate_raft_window_requests" []
        "Request ids that are remembered, so that a repeated request is not carried out twice.";
    SNAPSHOT_WRITE_SECONDS: Histogram "seconds" "quorate_raft_snapshot_write_seconds" []
        "Writing one snapshot; the count says how many were written.";
    SNAPSHOT_BYTES: Gauge "bytes" "quorate_raft_snapshot_bytes" []
        "Size of the newest snapshot.";
    SNAPSHOTS_RECEIVED_TOTAL: Counter "snapshots" "quorate_raft_snapshots_received_total"
        [outcome = "received" | "failed"]
        "Snapshots that the leader sent because the log no longer reached back far enough.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_are_and_come_once() {
        for (at, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..at].iter().all(|other| other.name != metric.name), "{metric:?}");
            assert!(metric.name.starts_with("quorate_raft_"), "{metric:?}");
            let is_counter = metric.kind == Kind::Counter;
            assert_eq!(metric.name.ends_with("_total"), is_counter, "{metric:?}");
            assert!(metric.help.ends_with('.'), "{metric:?}");
        }
    }

    #[test]
    fn labels_that_are_open_begin_no_series() {
        const CLOSED: Label = Label { name: "outcome", values: &["ok", "failed"] };
        const KIND: Label = Label { name: "kind", values: &["read", "change"] };
        const OPEN: Label = Label { name: "route", values: &[] };
        let series = |labels| Metric { labels, ..METRICS[0] }.series();
        assert_eq!(series(&[]), [[]]);
        assert_eq!(series(&[CLOSED]), [[("outcome", "ok")], [("outcome", "failed")]]);
        assert_eq!(series(&[CLOSED, KIND]).len(), 4);
        assert!(series(&[CLOSED, OPEN]).is_empty());
    }
}
