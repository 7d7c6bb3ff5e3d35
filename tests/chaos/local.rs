//! What is promised of reads: committed values only, in one order for everybody, never back on one
//! replica, own writes, and never older than the bound.

use std::collections::BTreeMap;

use super::history::{Call, Mode, Op, Outcome};

/// Oldest state a replica may show; the default of `read_staleness_max_ms`.
const STALENESS_MAX_NS: u64 = 2_000_000_000;
/// Most faults that are told of one kind.
const SHOWN_MAX: usize = 5;

/// Everything about reads that breaks a promise.
pub fn faults(ops: &[Op], initial: impl Fn(&str) -> u64) -> Vec<String> {
    let mut found = Vec::new();
    for check in [backward(ops), not_as_asked(ops), too_old(ops), out_of_order(ops, initial)] {
        let more = check.len().saturating_sub(SHOWN_MAX);
        found.extend(check.into_iter().take(SHOWN_MAX));
        if more > 0 {
            found.push(format!("and {more} more of this kind"));
        }
    }
    found
}

/// Local reads that were answered, with their index.
fn local_reads(ops: &[Op]) -> impl Iterator<Item = (&Op, u64)> {
    let local = ops.iter().filter(|op| op.mode == Mode::Local && op.is_answered());
    local.filter_map(|op| Some((op, op.index?)))
}

/// A client was shown something older than before, on the same replica.
fn backward(ops: &[Op]) -> Vec<String> {
    let mut seen: BTreeMap<(u64, u64), (u64, &Op)> = BTreeMap::new();
    let mut found = Vec::new();
    for op in ops.iter().filter(|op| op.is_answered()) {
        let Some(index) = op.index else { continue };
        let place = (op.client, op.replica);
        if let Some((before, earlier)) = seen.get(&place)
            && index < *before
            && !op.is_write()
        {
            found.push(format!("a step back from {before} to {index}: {earlier:?} then {op:?}"));
        }
        let entry = seen.entry(place).or_insert((index, op));
        if index >= entry.0 {
            *entry = (index, op);
        }
    }
    found
}

/// A read is behind the index that was asked for.
fn not_as_asked(ops: &[Op]) -> Vec<String> {
    let behind = local_reads(ops).filter(|(op, index)| *index < op.min_index);
    behind.map(|(op, _)| format!("behind the index that was asked for: {op:?}")).collect()
}

/// A local read lacks what somebody had been shown more than the bound before it was asked for.
fn too_old(ops: &[Op]) -> Vec<String> {
    let mut shown: Vec<(u64, u64)> =
        ops.iter().filter_map(|op| Some((op.returned, op.index?))).collect();
    shown.sort_unstable();
    let mut highest = 0;
    for (_, index) in &mut shown {
        highest = highest.max(*index);
        *index = highest;
    }
    let mut found = Vec::new();
    for (op, index) in local_reads(ops) {
        let Some(limit) = op.invoked.checked_sub(STALENESS_MAX_NS) else { continue };
        let before = shown.partition_point(|(at, _)| *at <= limit);
        if before > 0 && index < shown[before - 1].1 {
            let known = shown[before - 1].1;
            found.push(format!("{known} was shown more than the bound before {op:?}"));
        }
    }
    found
}

/// What is known of one value of a register.
#[derive(Debug)]
struct Shown<'a> {
    write: Option<&'a Op>,
    first: u64,
    last: u64,
}

/// All replicas go through the same values in the same order, and only through written ones.
fn out_of_order(ops: &[Op], initial: impl Fn(&str) -> u64) -> Vec<String> {
    let mut writes: BTreeMap<(&str, u64), &Op> = BTreeMap::new();
    let mut values: BTreeMap<&str, BTreeMap<u64, Shown<'_>>> = BTreeMap::new();
    for op in ops {
        if let Call::Write(register, value) = &op.call {
            writes.insert((register, *value), op);
        }
    }
    let mut found = Vec::new();
    for op in ops {
        let (Call::Read(register), Outcome::Value(value), Some(index)) =
            (&op.call, &op.outcome, op.index)
        else {
            continue;
        };
        let write = writes.get(&(register.as_str(), *value)).copied();
        match write {
            None if *value == initial(register) => {}
            None => found.push(format!("nobody wrote {value}: {op:?}")),
            Some(write) if matches!(write.outcome, Outcome::NotDone(_)) => {
                found.push(format!("{value} was refused and is there: {op:?}"));
            }
            Some(_) => {}
        }
        let shown = values.entry(register).or_default();
        let shown = shown.entry(*value).or_insert(Shown { write, first: index, last: index });
        shown.first = shown.first.min(index);
        shown.last = shown.last.max(index);
    }
    for (register, values) in &values {
        found.extend(order_of(register, values));
        found.extend(late(register, values, ops));
    }
    found
}

/// No value is shown before and after another one.
fn order_of(register: &str, values: &BTreeMap<u64, Shown<'_>>) -> Vec<String> {
    let mut spans: Vec<(u64, u64, u64)> =
        values.iter().map(|(value, shown)| (shown.first, shown.last, *value)).collect();
    spans.sort_unstable();
    let overlaps = spans.windows(2).filter(|pair| pair[0].1 >= pair[1].0);
    overlaps
        .map(|pair| {
            format!("{register} is {} and {} between the same indexes", pair[0].2, pair[1].2)
        })
        .collect()
}

/// A value is shown at an index at which it had been overwritten: the other write began after this
/// one was acknowledged, and was applied by then.
fn late(register: &str, values: &BTreeMap<u64, Shown<'_>>, ops: &[Op]) -> Vec<String> {
    let mut found = Vec::new();
    let is_here = |op: &&Op| {
        matches!(&op.call, Call::Write(name, _) if name == register) && op.index.is_some()
    };
    for next in ops.iter().filter(is_here).filter(|op| op.is_acknowledged_write()) {
        let applied = next.index.unwrap_or(u64::MAX);
        for (value, shown) in values {
            let is_over = shown
                .write
                .is_none_or(|write| write.is_acknowledged_write() && write.returned < next.invoked);
            if is_over && shown.last >= applied {
                found.push(format!("{register} is {value} at {}, after {next:?}", shown.last));
            }
        }
    }
    found
}
