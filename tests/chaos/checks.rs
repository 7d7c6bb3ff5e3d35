//! The judges judged: good histories pass, and every kind of bad history is caught.

use proptest::prelude::*;

use super::{
    history::{Call, Mode, Op, Outcome},
    linear::{Element, ElementCall, Event, Model, Register, RegisterCall, check},
    load, local, verdict,
};

/// A call of a register: client time from, to, what, answer.
type Row = (u64, u64, RegisterCall, Option<u64>);

fn register(rows: &[Row]) -> Result<(), String> {
    let events = rows.iter().cloned().map(|(invoked, returned, input, output)| Event {
        invoked,
        returned,
        input,
        output,
    });
    check::<Register>(0, &events.collect::<Vec<_>>())
}

fn element(rows: &[(u64, u64, ElementCall, Option<bool>)]) -> Result<(), String> {
    let events = rows.iter().map(|(invoked, returned, input, output)| Event {
        invoked: *invoked,
        returned: *returned,
        input: *input,
        output: *output,
    });
    check::<Element>(false, &events.collect::<Vec<_>>())
}

use RegisterCall::{Read, Write};

#[test]
fn linearizable_histories_pass() {
    register(&[]).unwrap();
    // Two writes at once, read in either order by those who begin later.
    register(&[(0, 9, Write(1), Some(1)), (1, 8, Write(2), Some(2)), (10, 11, Read, Some(1))])
        .unwrap();
    register(&[(0, 9, Write(1), Some(1)), (1, 8, Write(2), Some(2)), (10, 11, Read, Some(2))])
        .unwrap();
    // A write that nobody knows of takes effect late, or never.
    let open = (0, 1, Write(7), None);
    register(&[open.clone(), (2, 3, Read, Some(0)), (4, 5, Read, Some(7))]).unwrap();
    register(&[open, (2, 3, Read, Some(0)), (4, 5, Read, Some(0))]).unwrap();
    use ElementCall::{Add, Has, Remove};
    element(&[(0, 5, Add, Some(true)), (1, 6, Add, Some(false)), (7, 8, Has, Some(true))]).unwrap();
    element(&[(0, 1, Add, None), (2, 3, Remove, Some(true)), (4, 5, Has, Some(false))]).unwrap();
}

#[test]
fn histories_that_are_not_linearizable_are_caught() {
    // A read misses what was acknowledged before it.
    register(&[(0, 1, Write(1), Some(1)), (2, 3, Read, Some(0))]).unwrap_err();
    // Two reads see two writes in different orders.
    register(&[
        (0, 20, Write(1), Some(1)),
        (0, 20, Write(2), Some(2)),
        (1, 2, Read, Some(1)),
        (3, 4, Read, Some(2)),
        (5, 6, Read, Some(1)),
    ])
    .unwrap_err();
    // An acknowledged write is lost.
    register(&[(0, 1, Write(1), Some(1)), (2, 3, Write(2), Some(2)), (4, 5, Read, Some(1))])
        .unwrap_err();
    // A write takes effect before it was asked for, or a second time.
    register(&[(0, 1, Read, Some(1)), (2, 3, Write(1), Some(1))]).unwrap_err();
    register(&[
        (0, 1, Write(1), None),
        (2, 3, Read, Some(1)),
        (4, 5, Write(2), Some(2)),
        (6, 7, Read, Some(1)),
    ])
    .unwrap_err();
    use ElementCall::{Add, Has, Remove};
    // Two clients are both told that they were the one.
    element(&[(0, 5, Add, Some(true)), (1, 6, Add, Some(true))]).unwrap_err();
    element(&[(0, 1, Remove, Some(true))]).unwrap_err();
    element(&[(0, 1, Add, Some(true)), (2, 3, Has, Some(false))]).unwrap_err();
    element(&[(0, 1, Add, None), (2, 3, Remove, Some(true)), (4, 5, Has, Some(true))]).unwrap_err();
}

/// Tries all orders of all subsets that contain every answered call.
fn by_brute_force<M: Model>(
    state: &M::State,
    events: &[Event<M::Input, M::Output>],
    taken: &mut Vec<bool>,
) -> bool {
    let is_left = |number: usize, taken: &[bool]| !taken[number] && events[number].output.is_some();
    if !(0..events.len()).any(|number| is_left(number, taken)) {
        return true;
    }
    for number in 0..events.len() {
        let has_to_wait = (0..events.len())
            .any(|other| is_left(other, taken) && events[other].returned < events[number].invoked);
        if taken[number] || has_to_wait {
            continue;
        }
        let event = &events[number];
        if let Some(next) = M::step(state, &event.input, event.output.as_ref()) {
            taken[number] = true;
            let is_found = by_brute_force::<M>(&next, events, taken);
            taken[number] = false;
            if is_found {
                return true;
            }
        }
    }
    false
}

fn some_events() -> impl Strategy<Value = Vec<Event<ElementCall, bool>>> {
    let call =
        prop_oneof![Just(ElementCall::Add), Just(ElementCall::Remove), Just(ElementCall::Has)];
    let event = (0_u64..20, 0_u64..8, call, proptest::option::weighted(0.8, any::<bool>()));
    let event = event.prop_map(|(invoked, length, input, output)| Event {
        invoked,
        returned: invoked + length,
        input,
        output,
    });
    proptest::collection::vec(event, 0..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn the_search_agrees_with_trying_everything(events in some_events()) {
        let expected = by_brute_force::<Element>(&false, &events, &mut vec![false; events.len()]);
        prop_assert_eq!(check::<Element>(false, &events).is_ok(), expected);
    }
}

/// A call at a time, in seconds, answered at once.
fn op(at_s: u64, call: Call, mode: Mode, outcome: Outcome, index: u64) -> Op {
    let invoked = at_s * 1_000_000_000;
    Op {
        client: 1,
        replica: 1,
        call,
        mode,
        invoked,
        returned: invoked + 1,
        outcome,
        index: Some(index),
        min_index: 0,
        attempts: 1,
    }
}

fn wrote(at_s: u64, value: u64, index: u64) -> Op {
    let call = Call::Write("reg0".to_owned(), value);
    op(at_s, call, Mode::Linearizable, Outcome::Done, index)
}

fn saw(at_s: u64, value: u64, index: u64) -> Op {
    op(at_s, Call::Read("reg0".to_owned()), Mode::Local, Outcome::Value(value), index)
}

fn caught(ops: &[Op], words: &str) {
    let found = local::faults(ops, load::initial).join("\n");
    assert!(found.contains(words), "`{words}` is not in: {found}");
}

#[test]
fn local_reads_that_keep_their_promises_pass() {
    let good = [saw(0, 1, 3), wrote(1, 100, 5), saw(2, 100, 6), wrote(3, 101, 8), saw(4, 101, 8)];
    assert_eq!(local::faults(&good, load::initial), Vec::<String>::new());
    // Another replica may lag, within the bound.
    let mut lagging = saw(4, 100, 7);
    lagging.replica = 2;
    let good = [wrote(1, 100, 5), wrote(3, 101, 8), lagging];
    assert_eq!(local::faults(&good, load::initial), Vec::<String>::new());
}

#[test]
fn local_reads_that_break_a_promise_are_caught() {
    caught(&[saw(0, 1, 7), saw(1, 1, 6)], "a step back from 7 to 6");
    caught(&[wrote(0, 100, 5), saw(1, 1, 4)], "a step back from 5 to 4");
    let mut behind = saw(0, 1, 4);
    behind.min_index = 5;
    caught(&[behind], "behind the index that was asked for");
    let mut old = saw(3, 1, 4);
    (old.client, old.replica) = (2, 2);
    caught(&[wrote(0, 100, 5), old], "more than the bound before");
    caught(&[saw(0, 77, 4)], "nobody wrote 77");
    let mut refused = wrote(0, 100, 5);
    refused.outcome = Outcome::NotDone("no leader".to_owned());
    caught(&[refused, saw(1, 100, 6)], "was refused and is there");
    caught(
        &[wrote(0, 100, 5), wrote(0, 101, 6), saw(1, 100, 7), saw(1, 101, 8), saw(1, 100, 9)],
        "between the same indexes",
    );
    caught(&[wrote(0, 100, 5), wrote(1, 101, 7), saw(2, 100, 8)], "is 100 at 8, after");
}

#[test]
fn the_judgement_sees_calls_about_all_objects() {
    let strict = |at_s, call, outcome| op(at_s, call, Mode::Linearizable, outcome, 9);
    let lost = [
        wrote(0, 100, 5),
        strict(1, Call::Read("reg0".to_owned()), Outcome::Value(1)),
        strict(2, Call::Add("e".to_owned()), Outcome::Flag(true)),
        strict(3, Call::Has("e".to_owned()), Outcome::Flag(false)),
    ];
    let broken = verdict::of_history(&lost).broken.join("\n");
    assert!(broken.contains("register reg0: not linearizable"), "{broken}");
    assert!(broken.contains("element e: not linearizable"), "{broken}");
}

#[test]
fn changes_are_counted_against_the_feed() {
    let event = |kind: &str, object: &str| (kind.to_owned(), object.to_owned());
    let add = |outcome| op(0, Call::Add("e".to_owned()), Mode::Linearizable, outcome, 9);
    let once = verdict::Feed::from([(9, event("namespace_created", "e"))]);
    let twice = verdict::Feed::from([
        (9, event("namespace_created", "e")),
        (10, event("namespace_created", "e")),
    ]);
    let unknown = || Outcome::Unknown("time-out".to_owned());
    for (feed, outcome, is_lost, is_duplicated) in [
        (&verdict::Feed::new(), Outcome::Flag(true), true, false),
        (&once, Outcome::Flag(true), false, false),
        (&twice, Outcome::Flag(true), false, true),
        (&verdict::Feed::new(), unknown(), false, false),
        (&once, unknown(), false, false),
        (&twice, unknown(), false, true),
        (&once, Outcome::NotDone("no leader".to_owned()), false, true),
    ] {
        let mut judged = verdict::Verdict::default();
        verdict::count(&[add(outcome.clone())], feed, &mut judged);
        assert_eq!(!judged.lost.is_empty(), is_lost, "{outcome:?}: {judged:?}");
        assert_eq!(!judged.duplicated.is_empty(), is_duplicated, "{outcome:?}: {judged:?}");
    }
}
