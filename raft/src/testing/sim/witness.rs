//! Hears of everything that happens, hashes it, and has it judged.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{
    event::Event,
    invariants::{self, Invariant},
};

/// Events that a report of a failure shows.
const EVENTS_SHOWN: usize = 60;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Its name.
    pub(crate) invariant: &'static str,
    /// What was seen.
    pub(crate) what: String,
}

/// Hears of everything that happens.
pub(crate) struct Witness {
    /// Hash of everything so far. The keys of this hasher are fixed.
    hash: DefaultHasher,
    turns: u64,
    events: u64,
    kinds: BTreeMap<&'static str, u64>,
    invariants: Vec<Box<dyn Invariant>>,
    broken: Option<Broken>,
    recovery_ms: u64,
    last: VecDeque<String>,
    is_telling: bool,
}

impl Witness {
    /// Has everything judged by all invariants.
    pub(crate) fn new() -> Self {
        Self {
            hash: DefaultHasher::new(),
            turns: 0,
            events: 0,
            kinds: BTreeMap::new(),
            invariants: invariants::all(),
            broken: None,
            recovery_ms: 0,
            last: VecDeque::new(),
            is_telling: std::env::var_os("QUORATE_SIM_TRACE").is_some(),
        }
    }

    /// A task gets its turn.
    pub(crate) fn turn(&mut self, task: u64) {
        self.turns += 1;
        self.hash.write_u64(task);
    }

    /// Something has happened.
    pub(crate) fn saw(&mut self, now_ms: u64, event: &Event) {
        self.events += 1;
        self.hash.write_u64(now_ms);
        event.hash(&mut self.hash);
        if self.is_telling {
            #[allow(clippy::print_stderr, reason = "asked for, to look into a run")]
            {
                eprintln!("{now_ms:>6} {event:?}");
            }
        }
        if self.broken.is_some() {
            return;
        }
        match event {
            Event::Leads { .. } => self.count("led"),
            Event::Recovered { after_ms, .. } => self.recovery_ms = *after_ms,
            _ => {}
        }
        if !matches!(event, Event::Stored { .. } | Event::Published { .. }) {
            if self.last.len() == EVENTS_SHOWN {
                self.last.pop_front();
            }
            self.last.push_back(format!("{now_ms:>6} {event:?}"));
        }
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.saw(now_ms, event) {
                self.broken = Some(Broken { invariant: invariant.name(), what });
                return;
            }
        }
    }

    /// How long the cluster took to work again.
    pub(crate) fn recovery_ms(&self) -> u64 {
        self.recovery_ms
    }

    /// Counts something that a run is to be judged by.
    pub(crate) fn count(&mut self, kind: &'static str) {
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// Breaks an invariant that no event shows.
    pub(crate) fn fail(&mut self, invariant: &'static str, what: String) {
        self.broken.get_or_insert(Broken { invariant, what });
    }

    /// Whether an invariant is broken.
    pub(crate) fn has_failed(&self) -> bool {
        self.broken.is_some()
    }

    /// The first invariant that was broken.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.broken.clone()
    }

    /// What happened last, for people.
    pub(crate) fn last(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }

    /// Hash of everything that happened.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// How often each kind was counted.
    pub(crate) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.kinds
    }

    /// How many turns tasks had, and how many events there were.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.turns, self.events)
    }
}
