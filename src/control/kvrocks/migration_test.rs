//! Tables of what both ends show and what is done next.

use super::*;
use crate::{
    control::kvrocks::fixture::{Fixture, id, key},
    domain::kvrocks::{Command, SlotRange},
};

const NOW_MS: u64 = 1_000_000;

/// A cluster with a migration of 0-9 from node 1 to node 3.
fn fixture(is_running: bool) -> Fixture {
    let mut fixture = Fixture::new();
    let range: SlotRange = "0-9".parse().unwrap();
    fixture.apply(Command::StartMigration { cluster: key(), range, target: 1 });
    if is_running {
        let job = fixture.cluster().jobs[0].id;
        fixture.apply(Command::MigrationAccepted { cluster: key(), job, attempt: 1 });
    }
    fixture
}

/// What an end says: `epoch`, then `slots destination state` of a source, or `slots state` of a
/// destination.
fn end(epoch: i64, lines: &str) -> Probed {
    let mut info = ClusterInfo { epoch, ..ClusterInfo::default() };
    match lines.split(' ').collect::<Vec<_>>()[..] {
        [slots, destination, state] => {
            info.migrating = Some(Migrating {
                range: slots.parse().unwrap(),
                destination: id(destination.parse().unwrap()),
                state: state.to_owned(),
            });
        }
        [slots, state] => {
            let range = slots.parse().unwrap();
            info.importing = Some(Importing { range, state: state.to_owned() });
        }
        _ => {}
    }
    Probed::Answered { info, replication: None }
}

fn decide(fixture: &Fixture, source: &Probed, target: &Probed, known: Known) -> Next {
    let cluster = fixture.cluster();
    next(&cluster, &cluster.jobs[0], Ends { source, target }, known)
}

fn failed(next: &Next) -> bool {
    matches!(next, Next::End(MigrationOutcome::Failed { .. }))
}

#[test]
fn an_order_is_given_when_both_ends_have_the_version() {
    let fixture = fixture(false);
    let known = Known { now_ms: NOW_MS, ..Known::default() };
    let version = 2;
    for (source, target, expected) in [
        (end(version, ""), end(version, ""), Next::Order),
        (end(version, ""), end(version + 1, ""), Next::Order),
        (end(version - 1, ""), end(version, ""), Next::Wait),
        (end(version, ""), end(version - 1, ""), Next::Wait),
        (Probed::Loading, end(version, ""), Next::Wait),
        (end(version, ""), Probed::Silent("x".to_owned()), Next::Wait),
        // An earlier try of the same slots, another range, another destination.
        (end(version, "0-9 3 fail"), end(version, ""), Next::Order),
        (end(version, "0-9 3 success"), end(version, ""), Next::Order),
        (end(version, "0-8 3 start"), end(version, ""), Next::Order),
        (end(version, "0-9 4 start"), end(version, ""), Next::Order),
        // Ordered by a former leader.
        (end(version, "0-9 3 start"), end(version, ""), Next::Accept),
        (end(version - 1, "0-9 3 start"), Probed::Loading, Next::Accept),
    ] {
        assert_eq!(decide(&fixture, &source, &target, known), expected, "{source:?} {target:?}");
    }
    let ordered = Known { orders: 1, ..known };
    let over = end(version, "0-9 3 success");
    assert_eq!(decide(&fixture, &over, &end(version, ""), ordered), Next::Accept, "ours, and over");
}

#[test]
fn an_order_that_cannot_be_given_is_given_up_in_the_end() {
    let fixture = fixture(false);
    let known = Known { now_ms: NOW_MS + ORDER_MS_MAX, ..Known::default() };
    for (source, target) in [
        (end(1, ""), end(2, "")),
        (Probed::Silent("gone".to_owned()), end(2, "")),
        (end(2, ""), Probed::Uninitialised),
        (end(2, ""), Probed::Refused("NOAUTH".to_owned())),
    ] {
        let found = decide(&fixture, &source, &target, known);
        let is_given_up = matches!(found, Next::End(MigrationOutcome::Refused { .. }));
        assert!(is_given_up, "{source:?} {target:?}: {found:?}");
    }
}

#[test]
fn a_running_migration_ends_as_its_source_says() {
    let fixture = fixture(true);
    let known = Known { now_ms: NOW_MS, orders: 1, stopped_ms: None };
    let moved = Next::End(MigrationOutcome::Moved);
    let silent = || Probed::Silent("gone".to_owned());
    for (source, target, expected) in [
        (end(2, "0-9 3 start"), end(2, ""), Next::Wait),
        (end(2, "0-9 3 none"), end(2, ""), Next::Wait),
        (end(2, "0-9 3 success"), end(2, ""), moved.clone()),
        (end(2, "0-9 3 success"), silent(), moved.clone()),
        (silent(), end(2, ""), Next::Wait),
        (silent(), end(2, "0-9 start"), Next::Wait),
        // The source is gone after the destination had everything.
        (silent(), end(2, "0-9 success"), moved.clone()),
        (Probed::Uninitialised, end(2, "0-9 success"), moved.clone()),
        (end(2, ""), end(2, "0-9 success"), moved),
        (Probed::Loading, end(2, ""), Next::Wait),
        // Just ordered, not shown yet.
        (end(2, ""), end(2, ""), Next::Wait),
    ] {
        assert_eq!(decide(&fixture, &source, &target, known), expected, "{source:?} {target:?}");
    }
    let later = Known { now_ms: NOW_MS + SHOW_MS_MAX, ..known };
    for (source, target) in [
        (end(2, "0-9 3 fail"), end(2, "")),
        (end(2, "0-9 3 odd"), end(2, "")),
        (end(2, ""), end(2, "")),
        (end(2, "0-8 3 success"), end(2, "")),
        (end(2, "0-9 4 success"), end(2, "")),
        (Probed::Uninitialised, end(2, "")),
    ] {
        let found = decide(&fixture, &source, &target, later);
        assert!(failed(&found), "{source:?} {target:?}: {found:?}");
    }
}

#[test]
fn the_first_failure_of_a_promoted_source_is_tried_again_at_once() {
    use crate::domain::kvrocks::{command::FailOver, model::FailoverCause};
    let mut fixture = Fixture::new();
    for (old_master, new_master, base_version) in [(id(1), id(2), 1), (id(2), id(1), 2)] {
        fixture.apply(Command::FailOver(FailOver {
            cluster: key(),
            shard: 0,
            old_master,
            new_master,
            base_version,
            cause: FailoverCause::Manual,
            request: [0; 16],
        }));
    }
    let range: SlotRange = "0-9".parse().unwrap();
    fixture.apply(Command::StartMigration { cluster: key(), range, target: 1 });
    let job = fixture.cluster().jobs[0].id;
    fixture.apply(Command::MigrationAccepted { cluster: key(), job, attempt: 1 });
    let known = |orders| Known { now_ms: NOW_MS, orders, stopped_ms: None };
    let (source, target) = (end(4, "0-9 3 fail"), end(4, ""));
    assert_eq!(decide(&fixture, &source, &target, known(1)), Next::Order);
    assert!(failed(&decide(&fixture, &source, &target, known(2))));
}

#[test]
fn a_cancelled_migration_is_stopped_at_its_destination() {
    let mut fixture = fixture(false);
    let job = fixture.cluster().jobs[0].id;
    fixture.apply(Command::CancelMigration { cluster: key(), job });
    let known = Known { now_ms: NOW_MS, ..Known::default() };
    let cancelled = Next::End(MigrationOutcome::Cancelled);
    assert_eq!(decide(&fixture, &end(2, ""), &end(2, ""), known), cancelled, "never ordered");

    fixture.apply(Command::MigrationAccepted { cluster: key(), job, attempt: 1 });
    let going_on = end(2, "0-9 3 start");
    assert_eq!(decide(&fixture, &going_on, &end(2, ""), known), Next::Stop);
    let stopped = Known { stopped_ms: Some(NOW_MS), ..known };
    assert_eq!(decide(&fixture, &going_on, &end(2, ""), stopped), Next::Wait);
    let later = Known { now_ms: NOW_MS + STOP_MS, ..stopped };
    assert_eq!(decide(&fixture, &going_on, &end(2, ""), later), Next::Stop);
    let moved = Next::End(MigrationOutcome::Moved);
    assert_eq!(decide(&fixture, &end(2, "0-9 3 success"), &end(2, ""), later), moved, "too late");
}

#[test]
fn a_refused_order_ends_the_attempt_unless_it_was_carried_out_before() {
    let fixture = fixture(false);
    let cluster = fixture.cluster();
    let job = &cluster.jobs[0];
    let text = "ERR Can't migrate slot which has been migrated";
    let over = end(2, "0-9 3 success");
    assert_eq!(refused(job, &over, text), Next::End(MigrationOutcome::Moved));
    for (probed, text) in [
        (end(2, ""), text),
        (end(2, "0-9 3 fail"), text),
        (over, "ERR There is already a migrating job"),
    ] {
        let expected = MigrationOutcome::Refused { error: text.to_owned() };
        assert_eq!(refused(job, &probed, text), Next::End(expected), "{probed:?}");
    }
}
