//! Entries of the log, and what applying them comes to.
//!
//! An input is a sequence of `length u16 | entry`. Entries that decode are applied to a state that
//! has something of everything, twice: as they were, and encoded anew. Both must answer the same
//! and lead to the same records, which must come back from a snapshot; nothing may panic.

use std::{collections::VecDeque, fs, io, sync::OnceLock};

use quorate::{domain::Command, replica::Replica};
use quorate_raft::{Context, Machine, Proposal, RecordSink, RecordSource, entry};

use super::bounded;

/// Golden entries, beside the other released formats.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/1/entries-001.txt");
/// A command may not take more memory than this, whatever it says.
const APPLY_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub fn take(input: &[u8]) {
    let base = base();
    let (mut first, mut second) = (base.clone(), base.clone());
    let mut rest = input;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (bytes, after) = after.split_at(length);
        rest = after;
        let Some((command, again)) = decode(bytes) else { continue };
        let used = allocation_counter::measure(|| {
            let reply = first.apply(bytes, command);
            assert!(reply == second.apply(bytes, again), "two replicas answer differently");
        });
        assert!(used.bytes_max <= APPLY_BYTES_MAX, "{} bytes to apply", used.bytes_max);
    }
    let records = records(&first.replica);
    assert!(records == self::records(&second.replica), "two replicas have different states");
    let imported = Replica::import(&mut Records(records.clone())).expect("its own records");
    assert!(self::records(&imported) == records, "a snapshot leads to another state");
}

/// The command of an entry, and the same after it was encoded anew.
fn decode(bytes: &[u8]) -> Option<(Command, Command)> {
    let view = entry::view(bytes).ok()?;
    let command: Command = bounded(bytes.len(), || postcard::from_bytes(view.command)).ok()?;
    let proposal = Proposal {
        request_id: view.request_id,
        actor: view.actor.to_owned(),
        fence_term: view.fence_term,
        command,
    };
    let encoded = entry::encode(&proposal).expect("what was decoded encodes");
    let again = entry::view(&encoded).expect("what was encoded is an entry");
    assert_eq!((again.request_id, again.fence_term), (view.request_id, view.fence_term));
    assert!(view.actor.starts_with(again.actor));
    let again = postcard::from_bytes(again.command).expect("what was encoded decodes");
    assert!(again == proposal.command, "{again:?} was {:?}", proposal.command);
    let is_known = Replica::level_needed(&again) <= Replica::level_known_max();
    is_known.then_some((proposal.command, again))
}

/// A state and its position.
#[derive(Clone, Default)]
struct Player {
    replica: Replica,
    index: u64,
    time_ms: u64,
}

impl Player {
    fn apply(&mut self, bytes: &[u8], command: Command) -> Vec<u8> {
        let view = entry::view(bytes).expect("an entry");
        self.index += 1;
        self.time_ms = self.time_ms.max(view.time_ms);
        let context = Context {
            index: self.index,
            term: 1,
            time_ms: self.time_ms,
            actor: view.actor,
            request_id: view.request_id,
        };
        let reply = self.replica.apply(&context, command, &mut Vec::new());
        postcard::to_stdvec(&reply).expect("a reply encodes")
    }
}

/// The state that the golden entries lead to.
fn base() -> &'static Player {
    static BASE: OnceLock<Player> = OnceLock::new();
    BASE.get_or_init(|| {
        let mut player = Player::default();
        for line in fs::read_to_string(GOLDEN).unwrap().lines() {
            let bytes = bytes_of(line.split(' ').nth(1).unwrap());
            let (command, _) = decode(&bytes).expect("a released entry");
            player.apply(&bytes, command);
        }
        player
    })
}

fn bytes_of(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digits).collect()
}

/// The records of a state.
pub fn records(replica: &Replica) -> VecDeque<(u8, Vec<u8>)> {
    let mut records = Records::default();
    replica.export(&mut records).expect("a state exports");
    records.0
}

/// Records in memory.
#[derive(Default)]
pub struct Records(pub VecDeque<(u8, Vec<u8>)>);

impl RecordSink for Records {
    fn put(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        self.0.push_back((kind, bytes.to_vec()));
        Ok(())
    }
}

impl RecordSource for Records {
    fn next_record(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        Ok(self.0.pop_front())
    }
}
