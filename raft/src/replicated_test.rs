//! What applying an entry comes to: time, fences, the request window, the chain.

use super::*;
use crate::{
    RequestId,
    storage::{
        fixture::{add, blank, bytes_entry, command},
        snapshot::{
            format::{SnapshotReader, SnapshotWriter},
            state_digest,
        },
    },
    testing::register::{RegisterCommand, RegisterReply, Registers},
};

fn state(limits: WindowLimits) -> Replicated<Registers> {
    let mut state = Replicated::new(Registers::default(), limits);
    apply(&mut state, &blank(1, 0));
    state
}

fn small(requests_max: u64, reply_bytes_max: u64, age_max_ms: u64) -> WindowLimits {
    WindowLimits { requests_max, reply_bytes_max, age_max_ms }
}

fn apply(state: &mut Replicated<Registers>, entry: &Entry) -> Outcome {
    state.apply_entry(entry, &mut Vec::new()).expect("applies")
}

fn value(outcome: &Outcome) -> (RegisterReply, bool) {
    match outcome {
        Outcome::Reply { reply, is_duplicate } => {
            (postcard::from_bytes(reply).expect("a reply"), *is_duplicate)
        }
        other => panic!("not a reply: {other}"),
    }
}

#[test]
fn a_retry_gets_the_first_answer_and_changes_nothing() {
    let mut state = state(WindowLimits::default());
    let first = apply(&mut state, &command((1, 1), 7, 100, None, add("a", 5)));
    assert_eq!(value(&first), (RegisterReply::Value(Some(5)), false));
    apply(&mut state, &command((1, 2), 8, 101, None, add("a", 1)));
    let again = apply(&mut state, &command((2, 3), 7, 102, None, add("a", 5)));
    assert_eq!(value(&again), (RegisterReply::Value(Some(5)), true));
    assert_eq!(state.machine().get("a"), Some(6));
    assert_eq!(state.machine().commands(), 2);
}

#[test]
fn a_retry_is_known_after_the_state_came_from_a_snapshot() {
    let mut state = state(WindowLimits::default());
    let first = apply(&mut state, &command((1, 1), 7, 100, None, add("a", 5)));
    let mut file = SnapshotWriter::begin(Vec::new()).expect("memory");
    state.export(&mut file).expect("exports");
    let file = file.finish().expect("memory").out;
    let mut records = SnapshotReader::begin(&file[..]).expect("a snapshot");
    let mut state = Replicated::<Registers>::import(&mut records).expect("imports");
    let again = apply(&mut state, &command((2, 2), 7, 102, None, add("a", 5)));
    assert_eq!((value(&again).0, value(&again).1), (value(&first).0, true));
    assert_eq!(state.machine().get("a"), Some(5), "applied twice");
}

#[test]
fn an_id_used_for_another_command_is_refused() {
    let mut state = state(WindowLimits::default());
    apply(&mut state, &command((1, 1), 7, 100, None, add("a", 5)));
    let reused = apply(&mut state, &command((1, 2), 7, 100, None, add("a", 6)));
    assert_eq!(reused, Outcome::RequestIdReused);
    assert_eq!(state.machine().get("a"), Some(5));
}

#[test]
fn a_fence_holds_outside_its_term_but_not_against_a_retry() {
    let mut state = state(WindowLimits::default());
    let fenced = apply(&mut state, &command((2, 1), 1, 1, Some(1), add("a", 1)));
    assert_eq!(fenced, Outcome::Fenced);
    let inside = apply(&mut state, &command((2, 2), 2, 1, Some(2), add("a", 1)));
    assert_eq!(value(&inside).0, RegisterReply::Value(Some(1)));
    let retried = apply(&mut state, &command((3, 3), 2, 1, Some(2), add("a", 1)));
    assert_eq!(value(&retried), (RegisterReply::Value(Some(1)), true));
    let later = apply(&mut state, &command((3, 4), 1, 1, None, add("a", 1)));
    assert_eq!(value(&later), (RegisterReply::Value(Some(2)), false), "a fenced id is not used up");
}

#[test]
fn the_window_forgets_the_oldest_beyond_its_count() {
    let mut state = state(small(3, 1 << 20, 1_000_000));
    for request in 1..=4 {
        apply(&mut state, &command((1, request), request, 0, None, add("a", 1)));
    }
    assert_eq!(state.remembered_requests(), 3);
    let newest = apply(&mut state, &command((1, 5), 2, 0, None, add("a", 1)));
    assert!(value(&newest).1, "the second is still known");
    let oldest = apply(&mut state, &command((1, 6), 1, 0, None, add("a", 1)));
    assert!(!value(&oldest).1, "the first was forgotten");
}

#[test]
fn the_window_forgets_the_oldest_beyond_its_bytes_but_never_the_newest() {
    let mut state = state(small(100, 1000, 1_000_000));
    for request in 1..=3 {
        let fill = RegisterCommand::Fill { bytes: 400 };
        apply(&mut state, &command((1, request), request, 0, None, fill));
    }
    assert_eq!(state.remembered_requests(), 2);
    let huge = RegisterCommand::Fill { bytes: 5000 };
    apply(&mut state, &command((1, 4), 4, 0, None, huge.clone()));
    assert_eq!(state.remembered_requests(), 1);
    assert!(value(&apply(&mut state, &command((1, 5), 4, 0, None, huge))).1);
}

#[test]
fn the_window_forgets_what_is_too_old_by_stamped_time() {
    let mut state = state(small(100, 1 << 20, 1000));
    apply(&mut state, &command((1, 1), 1, 5000, None, add("a", 1)));
    let at_the_bound = apply(&mut state, &command((1, 2), 1, 6000, None, add("a", 1)));
    assert!(value(&at_the_bound).1);
    let beyond = apply(&mut state, &command((1, 3), 1, 6001, None, add("a", 1)));
    assert!(!value(&beyond).1);
    assert_eq!(state.machine().get("a"), Some(2));
}

#[test]
fn time_never_falls() {
    let mut state = state(WindowLimits::default());
    apply(&mut state, &command((1, 1), 1, 5000, None, add("a", 1)));
    apply(&mut state, &command((2, 2), 2, 4000, None, add("a", 1)));
    assert_eq!(state.time_ms(), 5000);
}

#[test]
fn an_entry_out_of_turn_stops_the_replica() {
    let mut state = state(WindowLimits::default());
    state.apply_entry(&blank(1, 2), &mut Vec::new()).expect_err("entry 1 is missing");
    state.apply_entry(&blank(1, 0), &mut Vec::new()).expect_err("entry 0 was applied");
}

#[test]
fn an_entry_that_does_not_decode_is_an_error_and_no_panic() {
    let good = command((1, 1), 1, 1, None, add("a", 1));
    let EntryPayload::Normal(Payload(bytes)) = &good.payload else {
        panic!("a command");
    };
    for end in 0..bytes.len() {
        let mut state = state(WindowLimits::default());
        let cut = bytes_entry(1, 1, bytes[..end].to_vec());
        let error = state.apply_entry(&cut, &mut Vec::new()).expect_err("cut off");
        assert!(error.to_string().contains("entry 1"), "{error}");
    }
}

#[test]
fn the_chain_tells_any_two_histories_apart() {
    let histories: [&[Entry]; 6] = [
        &[command((1, 1), 1, 1, None, add("a", 1))],
        &[command((1, 1), 1, 1, None, add("a", 2))],
        &[command((2, 1), 1, 1, None, add("a", 1))],
        &[command((1, 1), 1, 2, None, add("a", 1))],
        &[blank(1, 1)],
        &[command((1, 1), 1, 1, None, add("a", 1)), blank(1, 2)],
    ];
    let mut chains: Vec<_> = histories
        .iter()
        .map(|history| {
            let mut state = state(WindowLimits::default());
            history.iter().for_each(|entry| drop(apply(&mut state, entry)));
            state.log_chain()
        })
        .collect();
    chains.sort_unstable();
    chains.dedup();
    assert_eq!(chains.len(), histories.len());
}

#[test]
fn the_same_log_gives_the_same_bytes() {
    let run = || {
        let mut state = state(small(5, 1000, 50));
        for index in 1..200 {
            let entry =
                command((1 + index / 50, index), index % 40, index * 3, None, add("a", index));
            apply(&mut state, &entry);
        }
        (state.log_chain(), state_digest(&state).expect("digests"))
    };
    assert_eq!(run(), run());
}

#[test]
fn a_clone_is_not_touched_by_what_is_applied_later() {
    let mut state = state(WindowLimits::default());
    apply(&mut state, &command((1, 1), 1, 1, None, add("a", 1)));
    let clone = state.clone();
    let digest = state_digest(&clone).expect("digests");
    for index in 2..100 {
        apply(&mut state, &command((1, index), index, index, None, add("a", 1)));
    }
    assert_eq!(state_digest(&clone).expect("digests"), digest);
    assert_eq!((clone.index(), clone.machine().get("a")), (1, Some(1)));
}

/// A machine that breaks its promise.
#[derive(Clone)]
struct Panics;

impl Machine for Panics {
    type Command = u8;
    type Reply = u8;
    type Event = ();

    fn apply(&mut self, _: &Context<'_>, command: u8, _: &mut Vec<()>) -> u8 {
        assert!(command != 9, "nine is too much");
        command
    }

    fn export(&self, _: &mut dyn RecordSink) -> io::Result<()> {
        Ok(())
    }

    fn import(_: &mut dyn RecordSource) -> io::Result<Self> {
        Ok(Self)
    }
}

#[test]
fn a_panic_of_the_machine_is_an_error_that_names_the_entry() {
    let mut state = Replicated::new(Panics, WindowLimits::default());
    let proposal = crate::Proposal {
        request_id: RequestId([1; 16]),
        actor: String::new(),
        fence_term: None,
        command: 9_u8,
    };
    let bytes = entry::encode(&proposal).expect("encodes").to_vec();
    let error = state.apply_entry(&bytes_entry(1, 0, bytes), &mut Vec::new()).expect_err("panics");
    let message = error.to_string();
    assert!(message.contains("entry 0") && message.contains("nine is too much"), "{message}");
}
