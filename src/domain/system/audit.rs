//! The audit trail: who changed what, when, from where, and what came of it.
//!
//! It is part of the state, written by `apply`: so every replica has the same trail, a new replica
//! gets it with its snapshot, a backup contains it, and no replica that was down has a gap, all of
//! which a file beside the log would lose. It costs one small record a change, is bounded by age
//! and by bytes, and forgets the oldest records first. Times and actors are those of the entries.

use imbl::Vector;
use serde::{Deserialize, Serialize};

use super::access::Family;
use crate::domain::Context;

/// Records older than this are forgotten, milliseconds: 90 days.
pub const AGE_MAX_MS: u64 = 90 * 24 * 3_600 * 1_000;
/// Most bytes of records; see [`Record::bytes`].
pub const BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Most old records forgotten for one new: what was allowed yesterday goes step by step.
const FORGOTTEN_MAX: usize = 8;
/// What a record costs besides its texts, bytes.
const FIXED_BYTES: u64 = 96;
/// Records in one record of a snapshot.
const PORTION: usize = 512;

/// One change, or the refusal of one. Encoded with `postcard`: fields are never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Log index of the entry.
    pub revision: u64,
    /// Entry time, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Who asked and from where, as the entry says: `ACTOR@ADDRESS`, or one of our own loops.
    pub actor: String,
    /// The request.
    pub request_id: [u8; 16],
    /// What it was about.
    pub family: Family,
    /// What was asked: the command's name.
    pub action: String,
    /// Whether it was refused; carried out otherwise.
    pub is_refused: bool,
}

impl Record {
    /// What it counts for against [`BYTES_MAX`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        FIXED_BYTES.saturating_add((self.actor.len() + self.action.len()) as u64)
    }

    /// The part of the actor that says who.
    #[must_use]
    pub fn who(&self) -> &str {
        self.actor.rsplit_once('@').map_or(&*self.actor, |(who, _)| who)
    }

    /// The part of the actor that says from where; empty for our own loops.
    #[must_use]
    pub fn source(&self) -> &str {
        self.actor.rsplit_once('@').map_or("", |(_, source)| source)
    }
}

/// The trail. Cloning is O(1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    records: Vector<Record>,
    bytes: u64,
}

impl State {
    /// Adds a record, and forgets a few of the oldest if they are too old or too many.
    pub fn add(
        &mut self,
        context: &Context<'_>,
        request_id: [u8; 16],
        (family, action): (Family, &str),
        is_refused: bool,
    ) {
        let record = Record {
            revision: context.index,
            time_ms: context.time_ms,
            actor: context.actor.to_owned(),
            request_id,
            family,
            action: action.to_owned(),
            is_refused,
        };
        self.push(record);
        for _ in 0..FORGOTTEN_MAX {
            let Some(oldest) = self.records.front() else { return };
            let is_old = context.time_ms.saturating_sub(oldest.time_ms) > AGE_MAX_MS;
            if !is_old && self.bytes <= BYTES_MAX {
                return;
            }
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            self.records.pop_front();
        }
    }

    /// Records from a revision on, oldest first.
    pub fn from(&self, revision: u64) -> impl Iterator<Item = &Record> {
        let at = match self.records.binary_search_by(|record| record.revision.cmp(&revision)) {
            Ok(at) | Err(at) => at,
        };
        (at..self.records.len()).filter_map(|at| self.records.get(at))
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Revision of the oldest record that is kept.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.records.front().map(|record| record.revision)
    }

    /// All records in portions, for a snapshot.
    pub fn portions(&self) -> impl Iterator<Item = Vec<Record>> + '_ {
        let mut records = self.records.iter().cloned();
        std::iter::from_fn(move || {
            let portion: Vec<Record> = records.by_ref().take(PORTION).collect();
            (!portion.is_empty()).then_some(portion)
        })
    }

    /// Puts back what a snapshot holds; false if the revisions do not grow.
    #[must_use]
    pub fn restore(&mut self, portion: Vec<Record>) -> bool {
        for record in portion {
            if self.records.back().is_some_and(|last| last.revision >= record.revision) {
                return false;
            }
            self.push(record);
        }
        true
    }

    fn push(&mut self, record: Record) {
        self.bytes = self.bytes.saturating_add(record.bytes());
        self.records.push_back(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(state: &mut State, index: u64, time_ms: u64, is_refused: bool) {
        let actor = "anonymous@10.0.0.1";
        let context = Context { index, term: 1, time_ms, actor };
        let what = (Family::Kvrocks, "create_namespace");
        state.add(&context, [1; 16], what, is_refused);
    }

    #[test]
    fn a_record_says_who_did_what_from_where() {
        let mut state = State::default();
        add(&mut state, 5, 9, true);
        let record = state.from(0).next().unwrap();
        assert_eq!((record.revision, record.time_ms), (5, 9));
        assert_eq!((record.who(), record.source()), ("anonymous", "10.0.0.1"));
        assert!(record.is_refused);
        let ours = Record { actor: "prune".to_owned(), ..record.clone() };
        assert_eq!((ours.who(), ours.source()), ("prune", ""));
    }

    #[test]
    fn a_range_begins_where_it_is_asked_to() {
        let mut state = State::default();
        for index in [2, 4, 9] {
            add(&mut state, index, 1, false);
        }
        let revisions = |from| state.from(from).map(|record| record.revision).collect::<Vec<_>>();
        assert_eq!(revisions(0), [2, 4, 9]);
        assert_eq!(revisions(4), [4, 9]);
        assert_eq!(revisions(5), [9]);
        assert_eq!(revisions(10), Vec::<u64>::new());
    }

    #[test]
    fn age_and_bytes_are_bounded() {
        let mut state = State::default();
        for index in 0..200_000 {
            add(&mut state, index, 1, false);
        }
        assert!(state.bytes <= BYTES_MAX, "{}", state.bytes);
        assert!(state.len() > 100_000, "{}", state.len());
        let kept = state.len();
        add(&mut state, 200_000, AGE_MAX_MS + 2, false);
        assert_eq!(state.len(), kept + 1 - FORGOTTEN_MAX, "old ones go a few at a time");
    }

    #[test]
    fn portions_come_back_as_they_were() {
        let mut state = State::default();
        for index in 0..1_500 {
            add(&mut state, index, index, false);
        }
        let mut again = State::default();
        let mut portions = 0;
        for portion in state.portions() {
            portions += 1;
            assert!(again.restore(portion));
        }
        assert_eq!((&again, portions), (&state, 3));
        let first = state.portions().next().unwrap();
        assert!(!again.restore(first), "revisions grow");
    }
}
