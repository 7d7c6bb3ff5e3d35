//! Tables of what nodes show and who is told what, in which order.

use super::*;
use crate::{
    control::kvrocks::fixture::{Fixture, id, key, said},
    domain::kvrocks::{
        Command, SlotRange,
        command::{FailOver, MigrationOutcome},
        model::FailoverCause,
    },
    observe::kvrocks::{
        info::{Importing, Replication},
        sight::{Compared, Probed},
    },
};

/// Who is told, step by step; `!` stands before who is forced.
fn planned(fixture: &Fixture, sights: &SightMap, memory: &mut Memory) -> Vec<Vec<String>> {
    shown(&plan(&fixture.cluster(), sights, memory, fixture.time_ms))
}

fn shown(steps: &Steps) -> Vec<Vec<String>> {
    let one = |push: &Push| {
        let number: u64 = push.node_id.parse().unwrap();
        format!("{}{number}", if push.is_forced { "!" } else { "" })
    };
    steps.iter().map(|step| step.iter().map(one).collect()).collect()
}

fn range(text: &str) -> SlotRange {
    text.parse().unwrap()
}

fn migrate(fixture: &mut Fixture, slots: &str) -> u64 {
    let command = Command::StartMigration { cluster: key(), range: range(slots), target: 1 };
    fixture.apply(command);
    fixture.cluster().jobs.last().unwrap().id
}

#[test]
fn nodes_that_are_behind_are_told_and_those_that_do_not_answer_wait() {
    let fixture = Fixture::new();
    let mut sights = fixture.sights();
    let mut memory = Memory::default();
    assert!(planned(&fixture, &sights, &mut memory).is_empty(), "all is well");
    said(&mut sights, 2, |info, _| info.epoch = 0);
    sights.get_mut(&id(3)).unwrap().probed = Probed::Uninitialised;
    assert_eq!(planned(&fixture, &sights, &mut memory), [["2", "3"]]);
    for probed in
        [Probed::Loading, Probed::Silent("gone".to_owned()), Probed::Refused("NOAUTH".to_owned())]
    {
        sights.get_mut(&id(3)).unwrap().probed = probed;
        assert_eq!(planned(&fixture, &sights, &mut memory), [["2"]]);
    }
    said(&mut sights, 2, |info, _| info.epoch = 99);
    assert!(planned(&fixture, &sights, &mut memory).is_empty(), "who is ahead is not told");
}

#[test]
fn a_failed_push_is_put_off() {
    let fixture = Fixture::new();
    let mut sights = fixture.sights();
    said(&mut sights, 2, |info, _| info.epoch = 0);
    let mut memory = Memory::default();
    memory.pushes.entry(id(2)).or_default().fail(fixture.time_ms, u64::MAX);
    assert!(planned(&fixture, &sights, &mut memory).is_empty());
    let later = Fixture { time_ms: fixture.time_ms + 500, ..fixture };
    assert_eq!(planned(&later, &sights, &mut memory), [["2"]]);
}

#[test]
fn a_wrong_view_at_the_right_version_is_forced_once_it_was_seen_twice() {
    let wrong: [fn(&mut Sight); 5] = [
        |sight| change(sight, |info, _| info.known_nodes = 3),
        |sight| change(sight, |info, _| info.slots_assigned = 16_383),
        |sight| change(sight, |_, replication| replication.role = Role::Master),
        |sight| change(sight, |_, replication| replication.master = Some("10.0.0.1:3".to_owned())),
        |sight| {
            let fault = Some("it knows other nodes".to_owned());
            sight.compared = Some(Compared { version: 1, round: 1, fault });
        },
    ];
    for (number, spoil) in wrong.iter().enumerate() {
        let fixture = Fixture::new();
        let mut sights = fixture.sights();
        let mut memory = Memory::default();
        let sight = sights.get_mut(&id(2)).unwrap();
        spoil(sight);
        assert!(planned(&fixture, &sights, &mut memory).is_empty(), "{number}: seen once");
        sights.get_mut(&id(2)).unwrap().round = 2;
        assert_eq!(planned(&fixture, &sights, &mut memory), [["!2"]], "{number}");
        let well = fixture.sights();
        assert!(planned(&fixture, &well, &mut memory).is_empty());
        assert!(memory.drifts.is_empty() && memory.pushes.is_empty(), "it is forgotten");
    }
}

fn change(
    sight: &mut Sight,
    change: impl FnOnce(&mut crate::observe::kvrocks::info::ClusterInfo, &mut Replication),
) {
    if let Probed::Answered { info, replication: Some(replication) } = &mut sight.probed {
        change(info, replication);
    }
}

#[test]
fn trouble_is_over_when_a_node_is_as_it_ought_to_be() {
    let fixture = Fixture::new();
    let mut sights = fixture.sights();
    for number in 1..=4 {
        sights.get_mut(&id(number)).unwrap().trouble = Some("late".to_owned());
    }
    sights.get_mut(&id(2)).unwrap().trouble = None;
    said(&mut sights, 3, |info, _| info.epoch = 9);
    said(&mut sights, 4, |_, replication| replication.master = None);
    assert_eq!(relieved(&fixture.cluster(), &sights), [id(1)]);
}

#[test]
fn a_comparison_with_another_version_says_nothing() {
    let fixture = Fixture::new();
    let mut sights = fixture.sights();
    let sight = sights.get_mut(&id(2)).unwrap();
    sight.compared = Some(Compared { version: 7, round: 1, fault: Some("old".to_owned()) });
    sight.round = 9;
    assert!(planned(&fixture, &sights, &mut Memory::default()).is_empty());
}

#[test]
fn whoever_is_no_longer_master_is_told_before_its_successor() {
    let mut fixture = Fixture::new();
    let sights = fixture.sights();
    fixture.apply(Command::FailOver(FailOver {
        cluster: key(),
        shard: 0,
        old_master: id(1),
        new_master: id(2),
        base_version: 1,
        cause: FailoverCause::Manual,
        request: [0; 16],
    }));
    let steps = planned(&fixture, &sights, &mut Memory::default());
    assert_eq!(steps, [vec!["1"], vec!["2", "3", "4"]]);
}

#[test]
fn a_migration_that_was_ordered_is_not_disturbed() {
    let mut fixture = Fixture::new();
    let mut memory = Memory::default();
    let job = migrate(&mut fixture, "0-9");
    let mut sights = fixture.sights();
    for number in 1..=4 {
        said(&mut sights, number, |info, _| info.epoch = 1);
    }
    let all = [["1", "2", "3", "4"]];
    assert_eq!(planned(&fixture, &sights, &mut memory), all, "not ordered yet");
    memory.orders.insert((job, 1), 1);
    assert_eq!(planned(&fixture, &sights, &mut memory), [["2", "4"]], "may have been taken");
    memory.orders.clear();
    let accepted = Command::MigrationAccepted { cluster: key(), job, attempt: 1 };
    fixture.apply(accepted);
    assert_eq!(planned(&fixture, &sights, &mut memory), [["2", "4"]], "goes on");
    let cluster = fixture.cluster();
    assert_eq!(shown(&plan_all(&cluster, &sights, &memory, false)), [["2", "4"]]);
    assert_eq!(shown(&plan_all(&cluster, &sights, &memory, true)), [["!1", "!2", "!3", "!4"]]);
    sights.get_mut(&id(3)).unwrap().probed = Probed::Uninitialised;
    let with_lost = [["2", "3", "4"]];
    assert_eq!(planned(&fixture, &sights, &mut memory), with_lost, "it has nothing to disturb");
}

#[test]
fn whoever_gave_slots_is_told_last_and_a_destination_that_failed_first() {
    for (outcome, expected) in [
        (MigrationOutcome::Moved, vec![vec!["2", "3", "4"], vec!["1"]]),
        (
            MigrationOutcome::Refused { error: "no".to_owned() },
            vec![vec!["3"], vec!["1", "2", "4"]],
        ),
    ] {
        let mut fixture = Fixture::new();
        let job = migrate(&mut fixture, "0-9");
        let sights = fixture.sights();
        fixture.apply(Command::EndMigration { cluster: key(), job, attempt: 1, outcome });
        assert_eq!(planned(&fixture, &sights, &mut Memory::default()), expected);
    }
    let fixture = Fixture::new();
    let mut sights = fixture.sights();
    for number in [2, 4] {
        said(&mut sights, number, |info, _| info.epoch = 0);
    }
    said(&mut sights, 4, |info, _| {
        info.importing = Some(Importing { range: range("0-9"), state: "start".to_owned() });
    });
    let steps = planned(&fixture, &sights, &mut Memory::default());
    assert_eq!(steps, [["4"], ["2"]], "an import that nobody wants ends first");
}
