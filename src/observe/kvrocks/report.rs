//! When the others are told what this replica sees, and what they are told.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::sight::Sights;
use crate::{
    broker::{Actor, Broker, Call},
    domain::{
        self,
        kvrocks::{Command, command::DownNode, model::Observer, query, settings::Settings},
    },
};

/// Time for a report to be committed.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What this replica sees, as it would be reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Report {
    probed: u64,
    failed: u64,
    down: Vec<DownNode>,
}

/// What of a report makes a difference to the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Gist {
    is_empty: bool,
    is_sighted: bool,
    down: BTreeSet<String>,
}

/// Remembers what was reported last.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    last: Option<(Gist, Instant)>,
}

impl Reporter {
    /// Reports if something changed or the last report grows old.
    pub(super) async fn report(&mut self, broker: &Broker, sights: &Sights, settings: &Settings) {
        let report = Report::of(sights, settings);
        let gist = report.gist(settings);
        if !self.is_due(&gist, settings) {
            return;
        }
        let call = Call {
            request_id: None,
            actor: Actor::Own("observer"),
            deadline: Instant::now() + TIMEOUT,
        };
        let command = Command::ReportHealth {
            observer: broker.status().replica_id,
            probed: report.probed,
            failed: report.failed,
            down: report.down,
        };
        match broker.propose(&call, domain::Command::Kvrocks(command)).await {
            Ok(_) => self.last = Some((gist, Instant::now())),
            // The next cycle tries again.
            Err(error) => tracing::debug!(%error, "health of nodes not reported"),
        }
    }

    fn is_due(&self, gist: &Gist, settings: &Settings) -> bool {
        match &self.last {
            // A cluster without nodes costs no entries.
            None => !gist.is_empty,
            Some((last, _)) if last != gist => true,
            Some(_) if gist.is_empty => false,
            Some((_, at)) => {
                let intervals = (settings.observer_ttl_intervals / 2).max(1);
                let age_max = settings.ping_interval_ms.saturating_mul(intervals);
                // The tick that is due a hair later must not wait for one more.
                let slack = settings.ping_interval_ms / 2;
                at.elapsed() + Duration::from_millis(slack) >= Duration::from_millis(age_max)
            }
        }
    }
}

impl Report {
    fn of(sights: &Sights, settings: &Settings) -> Self {
        let mut report = Self::default();
        sights.for_each(|node_id, sight| {
            report.probed += 1;
            report.failed += u64::from(sight.is_unseen());
            if sight.is_silent() && sight.failures >= settings.ping_failures_max {
                report.down.push(DownNode {
                    node_id: node_id.to_owned(),
                    failures: sight.failures,
                    error: sight.error().to_owned(),
                });
            }
        });
        report
    }

    fn gist(&self, settings: &Settings) -> Gist {
        let observer = Observer { probed: self.probed, failed: self.failed, ..Observer::default() };
        Gist {
            is_empty: self.probed == 0,
            is_sighted: query::is_sighted(&observer, settings, 0),
            down: self.down.iter().map(|down| down.node_id.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::kvrocks::sight::{Moment, Probed};

    fn settings() -> Settings {
        Settings { ping_failures_max: 2, ping_interval_ms: 60_000, ..Settings::default() }
    }

    fn note(sights: &Sights, number: usize, is_silent: bool) {
        let probed = match is_silent {
            true => Probed::Silent("gone".to_owned()),
            false => Probed::Uninitialised,
        };
        let moment = Moment { time_ms: 1, is_cycle: true };
        sights.note(&number.to_string(), "a:1", probed, moment);
    }

    #[test]
    fn a_node_is_reported_dead_after_enough_silence() {
        let (sights, settings) = (Sights::default(), settings());
        note(&sights, 1, true);
        note(&sights, 2, false);
        let report = Report::of(&sights, &settings);
        assert_eq!((report.probed, report.failed, report.down.len()), (2, 1, 0));
        note(&sights, 1, true);
        let down = Report::of(&sights, &settings).down;
        assert_eq!((down[0].node_id.as_str(), down[0].failures), ("1", 2));
        assert_eq!(down[0].error, "gone");
        note(&sights, 1, false);
        assert!(Report::of(&sights, &settings).down.is_empty());
    }

    #[tokio::test]
    async fn only_what_makes_a_difference_is_reported_between_two_turns() {
        let (sights, settings) = (Sights::default(), settings());
        let mut reporter = Reporter::default();
        let gist = |sights: &Sights| Report::of(sights, &settings).gist(&settings);
        assert!(!reporter.is_due(&gist(&sights), &settings), "nothing to probe");
        note(&sights, 1, false);
        note(&sights, 2, false);
        assert!(reporter.is_due(&gist(&sights), &settings), "never reported");
        reporter.last = Some((gist(&sights), Instant::now()));
        assert!(!reporter.is_due(&gist(&sights), &settings));
        note(&sights, 1, true);
        assert!(!reporter.is_due(&gist(&sights), &settings), "one silence says nothing");
        note(&sights, 1, true);
        assert!(reporter.is_due(&gist(&sights), &settings), "a node is dead");
        reporter.last = Some((gist(&sights), Instant::now()));
        note(&sights, 2, true);
        assert!(reporter.is_due(&gist(&sights), &settings), "it sees nothing any more");
        reporter.last = Some((gist(&sights), Instant::now()));
        let fast = Settings { ping_interval_ms: 0, ..settings.clone() };
        assert!(reporter.is_due(&gist(&sights), &fast), "the last report grows old");
        sights.retain(&BTreeSet::new());
        assert!(reporter.is_due(&gist(&sights), &settings), "its nodes are gone");
        reporter.last = Some((gist(&sights), Instant::now()));
        assert!(!reporter.is_due(&gist(&sights), &fast), "without nodes it costs nothing");
    }
}
