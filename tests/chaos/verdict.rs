//! The judgement on a run: no acknowledged change is lost, none happened twice, what was shown is
//! linearizable where that was asked for, local reads keep their promises, replicas agree.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    history::{Call, Mode, Op, Outcome},
    linear::{self, Element, ElementCall, Event, Register, RegisterCall},
    load, local,
    site::Site,
};
use crate::support::compare;

/// Events asked for at a time.
const PAGE: usize = 1_000;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Calls altogether, and changes among them.
    pub calls: u64,
    /// Changes that were acknowledged.
    pub acknowledged: u64,
    /// Changes of which nobody knows.
    pub unknown: u64,
    /// Changes that happened and were acknowledged, but left no trace.
    pub lost: Vec<String>,
    /// Changes that happened more often than they may have.
    pub duplicated: Vec<String>,
    /// Everything else that breaks a promise.
    pub broken: Vec<String>,
}

impl Verdict {
    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.duplicated.is_empty() && self.broken.is_empty()
    }
}

/// Judges a history without a look at the replicas.
pub fn of_history(ops: &[Op]) -> Verdict {
    let writes = || ops.iter().filter(|op| op.is_write());
    let mut verdict = Verdict {
        calls: ops.len() as u64,
        acknowledged: writes().filter(|op| op.is_acknowledged_write()).count() as u64,
        unknown: writes().filter(|op| op.is_unknown()).count() as u64,
        ..Verdict::default()
    };
    verdict.broken.extend(registers(ops));
    verdict.broken.extend(elements(ops));
    verdict.broken.extend(local::faults(ops, load::initial));
    verdict
}

/// Judges a run, with everything healed, whose history is over.
pub async fn of(site: &mut Site, ops: &[Op]) -> Verdict {
    let mut verdict = of_history(ops);
    if let Err(difference) = compare::digests(&site.cluster).await {
        verdict.broken.push(difference);
    }
    let (_, differences) = compare::logs(&site.cluster).await;
    if let Some(first) = differences.first() {
        verdict.broken.push(format!("{} log positions differ: {first:?}", differences.len()));
    }
    let mut feeds = Vec::new();
    for id in site.ids() {
        feeds.push(events(site, id).await);
    }
    // A replica that began with a snapshot has no changes from before.
    let oldest = feeds.iter().filter_map(|feed| feed.keys().next()).max().copied().unwrap_or(0);
    let recent = |feed: &Feed| feed.range(oldest..).map(|(_, what)| what.clone()).collect();
    let recent: Vec<Vec<(String, String)>> = feeds.iter().map(recent).collect();
    if recent.windows(2).any(|pair| pair[0] != pair[1]) {
        verdict.broken.push("the change feeds of the replicas differ".to_owned());
    }
    let whole = feeds.iter().max_by_key(|feed| feed.len());
    count(ops, whole.expect("at least one replica"), &mut verdict);
    verdict
}

/// Linearizable calls about registers, judged register by register.
fn registers(ops: &[Op]) -> Vec<String> {
    let mut histories: BTreeMap<&str, Vec<Event<RegisterCall, u64>>> = BTreeMap::new();
    let strict = || ops.iter().filter(|op| op.mode == Mode::Linearizable);
    let mut read = BTreeSet::new();
    for op in strict() {
        if let (Call::Read(register), Outcome::Value(value)) = (&op.call, &op.outcome) {
            read.insert((register.as_str(), *value));
        }
    }
    for op in strict() {
        let (register, input, output) = match (&op.call, &op.outcome) {
            (Call::Write(register, value), Outcome::Done) => {
                (register, RegisterCall::Write(*value), Some(*value))
            }
            // One that nobody ever saw may as well never have happened.
            (Call::Write(register, value), Outcome::Unknown(_))
                if read.contains(&(register.as_str(), *value)) =>
            {
                (register, RegisterCall::Write(*value), None)
            }
            (Call::Read(register), Outcome::Value(value)) => {
                (register, RegisterCall::Read, Some(*value))
            }
            _ => continue,
        };
        let (invoked, returned) = (op.invoked, op.returned);
        let history = histories.entry(register).or_default();
        history.push(Event { invoked, returned, input, output });
    }
    let judged = histories.iter().filter_map(|(register, history)| {
        let judged = linear::check::<Register>(load::initial(register), history);
        judged.err().map(|why| format!("register {register}: {why}"))
    });
    judged.collect()
}

/// Linearizable calls about the set, judged element by element.
fn elements(ops: &[Op]) -> Vec<String> {
    let mut histories: BTreeMap<&str, Vec<Event<ElementCall, bool>>> = BTreeMap::new();
    for op in ops.iter().filter(|op| op.mode == Mode::Linearizable) {
        let (element, input) = match &op.call {
            Call::Add(element) => (element, ElementCall::Add),
            Call::Remove(element) => (element, ElementCall::Remove),
            Call::Has(element) => (element, ElementCall::Has),
            Call::Write(..) | Call::Read(_) => continue,
        };
        let output = match &op.outcome {
            Outcome::Flag(flag) => Some(*flag),
            Outcome::Unknown(_) if op.is_write() => None,
            _ => continue,
        };
        let (invoked, returned) = (op.invoked, op.returned);
        let history = histories.entry(element).or_default();
        history.push(Event { invoked, returned, input, output });
    }
    let judged = histories.iter().filter_map(|(element, history)| {
        let judged = linear::check::<Element>(false, history);
        judged.err().map(|why| format!("element {element}: {why}"))
    });
    judged.collect()
}

/// A change as the feed tells it: kind and object, by revision.
pub type Feed = BTreeMap<u64, (String, String)>;

async fn events(site: &Site, id: u64) -> Feed {
    let mut feed = Feed::new();
    let mut from = 0;
    loop {
        let path = format!("/quorate/v1/events?from={from}&wait=0&limit={PAGE}");
        let page = site.cluster.ask(id, &path).await.expect("a page of the feed");
        let events = page["events"].as_array().expect("events").clone();
        for event in &events {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            let revision = event["revision"].as_u64().expect("a revision");
            feed.insert(revision, (text("kind"), text("object")));
        }
        let next = page["next"].as_u64().expect("where to go on");
        if events.is_empty() || next == from {
            return feed;
        }
        from = next;
    }
}

/// What a change that took place looks like in the feed.
fn event_of(call: &Call) -> Option<(&'static str, &str)> {
    Some(match call {
        Call::Write(register, _) if register.starts_with("reg") => ("config_changed", register),
        Call::Write(..) => ("settings_changed", ""),
        Call::Add(element) => ("namespace_created", element),
        Call::Remove(element) => ("namespace_deleted", element),
        Call::Read(_) | Call::Has(_) => return None,
    })
}

/// Compares the number of changes that were acknowledged, and that may have happened, with those
/// that did.
pub fn count(ops: &[Op], feed: &Feed, verdict: &mut Verdict) {
    let mut least: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut most: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for op in ops {
        let Some(event) = event_of(&op.call) else { continue };
        let (is_sure, is_possible) = match &op.outcome {
            Outcome::Done | Outcome::Flag(true) => (1, 1),
            Outcome::Unknown(_) => (0, 1),
            _ => (0, 0),
        };
        *least.entry(event).or_default() += is_sure;
        *most.entry(event).or_default() += is_possible;
        if let (1, 1, Some(index)) = (is_sure, op.attempts, op.index) {
            let found = feed.get(&index).map(|(kind, object)| (kind.as_str(), object.as_str()));
            if found != Some(event) && !told_earlier(feed, event, index) {
                verdict.lost.push(format!("nothing at {index} of {op:?}, but {found:?}"));
            }
        }
    }
    for (event, most) in most {
        let happened =
            feed.values().filter(|(kind, object)| (kind.as_str(), object.as_str()) == event);
        let happened = happened.count() as u64;
        // What was set up before the clients began.
        let before = match event {
            ("config_changed", _) | ("settings_changed", _) => 1,
            _ => 0,
        };
        let least = least[&event] + before;
        if happened < least {
            verdict.lost.push(format!("{event:?} happened {happened} times, not {least}"));
        }
        if happened > most + before {
            let most = most + before;
            verdict.duplicated.push(format!("{event:?} happened {happened} times, not {most}"));
        }
    }
}

/// A call that reached the leader twice under its request id is answered from the second entry,
/// which changes nothing.
fn told_earlier(feed: &Feed, event: (&str, &str), index: u64) -> bool {
    feed.range(..index).any(|(_, (kind, object))| (kind.as_str(), object.as_str()) == event)
}

/// The judgement in words.
pub fn summary(verdict: &Verdict) -> String {
    let Verdict { calls, acknowledged, unknown, lost, duplicated, broken } = verdict;
    format!(
        "{calls} calls, {acknowledged} changes acknowledged, {unknown} unknown, {} lost, {} \
         duplicated, {} promises broken\n{}",
        lost.len(),
        duplicated.len(),
        broken.len(),
        [lost.as_slice(), duplicated, broken].concat().join("\n")
    )
}
