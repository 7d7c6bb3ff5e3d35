//! Whether a history of one object is linearizable.
//!
//! The search of Wing and Gong with the memory of Lowe: take any call that nobody else's answer
//! precedes, see whether the object could have answered so, go on; never visit the same set of
//! calls with the same state twice. A call whose outcome nobody knows may have happened at any
//! time after it was made, or never. Objects are judged one by one, which is allowed because
//! linearizability is a local property.

use std::{
    collections::{BTreeSet, HashSet},
    fmt::Debug,
    hash::Hash,
};

/// Most steps of one search; reaching it is no verdict, and fails the test.
const STEPS_MAX: usize = 20_000_000;

/// One call to an object.
#[derive(Clone, Debug)]
pub struct Event<I, O> {
    /// When it was made.
    pub invoked: u64,
    /// When it was answered.
    pub returned: u64,
    /// What was asked.
    pub input: I,
    /// What was answered; `None` if nobody knows.
    pub output: Option<O>,
}

/// How an object behaves when it is asked for one thing at a time.
pub trait Model {
    /// What it remembers.
    type State: Clone + Eq + Hash + Debug;
    /// What it is asked.
    type Input: Clone + Debug;
    /// What it answers.
    type Output: Clone + Debug;

    /// The state afterwards, if the object could have given the answer. Any answer is right where
    /// nobody knows it.
    fn step(
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;
}

/// A place in the search.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place<S> {
    state: S,
    /// All answered calls before this one are taken.
    first: usize,
    /// Answered calls behind it that are taken.
    ahead: BTreeSet<usize>,
    /// Unanswered calls that are taken.
    open: BTreeSet<usize>,
}

/// Judges the history of one object that began with `initial`.
///
/// # Errors
/// What cannot be explained.
pub fn check<M: Model>(
    initial: M::State,
    history: &[Event<M::Input, M::Output>],
) -> Result<(), String> {
    let mut sorted: Vec<&Event<M::Input, M::Output>> = history.iter().collect();
    sorted.sort_by_key(|event| event.invoked);
    let (answered, open): (Vec<_>, Vec<_>) =
        sorted.into_iter().partition(|event| event.output.is_some());
    let start = Place { state: initial, first: 0, ahead: BTreeSet::new(), open: BTreeSet::new() };
    let mut seen = HashSet::from([start.clone()]);
    let mut stack = vec![start];
    let mut furthest = 0;
    let mut steps = 0_usize;
    while let Some(place) = stack.pop() {
        if place.first == answered.len() {
            return Ok(());
        }
        steps += 1;
        if steps > STEPS_MAX {
            return Err(format!("no verdict after {STEPS_MAX} steps"));
        }
        furthest = furthest.max(place.first);
        for next in successors::<M>(&place, &answered, &open) {
            if seen.insert(next.clone()) {
                stack.push(next);
            }
        }
    }
    let from = furthest.saturating_sub(6);
    let to = answered.len().min(furthest + 6);
    Err(format!("not linearizable near {:#?}; unanswered calls: {open:?}", &answered[from..to]))
}

/// Where the search can go on from a place.
fn successors<M: Model>(
    place: &Place<M::State>,
    answered: &[&Event<M::Input, M::Output>],
    open: &[&Event<M::Input, M::Output>],
) -> Vec<Place<M::State>> {
    // Whatever began after the earliest answer that is not explained yet has to wait.
    let mut limit = u64::MAX;
    let mut candidates = Vec::new();
    for (number, event) in answered.iter().enumerate().skip(place.first) {
        if event.invoked > limit {
            break;
        }
        if !place.ahead.contains(&number) {
            limit = limit.min(event.returned);
            candidates.push(number);
        }
    }
    let mut found = Vec::new();
    for (number, event) in open.iter().enumerate() {
        if event.invoked > limit {
            break;
        }
        if place.open.contains(&number) {
            continue;
        }
        // One that changes nothing may as well never have happened.
        let state = M::step(&place.state, &event.input, None);
        if let Some(state) = state.filter(|state| *state != place.state) {
            let mut next = Place { state, ..place.clone() };
            next.open.insert(number);
            found.push(next);
        }
    }
    for number in candidates.into_iter().rev() {
        let event = answered[number];
        if event.invoked > limit {
            continue;
        }
        let Some(state) = M::step(&place.state, &event.input, event.output.as_ref()) else {
            continue;
        };
        let mut next = Place { state, ..place.clone() };
        next.ahead.insert(number);
        while next.ahead.remove(&next.first) {
            next.first += 1;
        }
        found.push(next);
    }
    found
}

/// A register.
pub struct Register;

/// What a register is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterCall {
    /// To take a value.
    Write(u64),
    /// For its value.
    Read,
}

impl Model for Register {
    type State = u64;
    type Input = RegisterCall;
    /// The value, before or after the call.
    type Output = u64;

    fn step(state: &u64, input: &RegisterCall, output: Option<&u64>) -> Option<u64> {
        match input {
            RegisterCall::Write(value) => Some(*value),
            RegisterCall::Read if output.is_none_or(|output| output == state) => Some(*state),
            RegisterCall::Read => None,
        }
    }
}

/// One element of a set: there or not.
pub struct Element;

/// What a set is asked about one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementCall {
    /// To take it in; answers whether it was missing.
    Add,
    /// To let it go; answers whether it was there.
    Remove,
    /// Whether it is there.
    Has,
}

impl Model for Element {
    type State = bool;
    type Input = ElementCall;
    type Output = bool;

    fn step(is_there: &bool, call: &ElementCall, output: Option<&bool>) -> Option<bool> {
        let (next, answer) = match call {
            ElementCall::Add => (true, !is_there),
            ElementCall::Remove => (false, *is_there),
            ElementCall::Has => (*is_there, *is_there),
        };
        output.is_none_or(|output| *output == answer).then_some(next)
    }
}
