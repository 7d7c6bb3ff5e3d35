//! Arithmetic on slots and range lists (spec 1.3 and 4.1).

/// Number of slots of a cluster.
pub const SLOTS: u64 = 16_384;

/// Inclusive ranges of slots.
pub type RangeList = Vec<(u64, u64)>;

/// Brings a range list into compact form: sorted, adjacent and overlapping ranges merged.
#[must_use]
pub fn compact(mut ranges: RangeList) -> RangeList {
    ranges.sort_unstable();
    let mut merged: RangeList = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if last.1.saturating_add(1) >= start => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// Whether a range list is compact and lies within the slots of a cluster.
#[must_use]
pub fn is_well_formed(ranges: &[(u64, u64)]) -> bool {
    ranges.iter().all(|(start, end)| start <= end && *end < SLOTS)
        && ranges.windows(2).all(|pair| match pair {
            [(_, end), (start, _)] => end.saturating_add(1) < *start,
            _ => true,
        })
}

/// Number of slots in a range list.
#[must_use]
pub fn size(ranges: &[(u64, u64)]) -> u64 {
    ranges.iter().map(|range| length(*range)).fold(0, u64::saturating_add)
}

/// Slots that the master of index `master` owns when all are spread evenly over `masters`.
#[must_use]
pub fn even_share(masters: u64, master: u64) -> u64 {
    let (Some(share), Some(rest)) = (SLOTS.checked_div(masters), SLOTS.checked_rem(masters)) else {
        return 0;
    };
    if master < rest { share.saturating_add(1) } else { share }
}

/// The contiguous ranges of an even distribution, in master order; `None` for a master without
/// slots.
#[must_use]
pub fn even_ranges(masters: u64) -> Vec<Option<RangeList>> {
    let mut start = 0_u64;
    (0..masters)
        .map(|master| {
            let share = even_share(masters, master);
            let end = start.saturating_add(share);
            let range = (share > 0).then(|| vec![(start, end.saturating_sub(1))]);
            start = end;
            range
        })
        .collect()
}

/// Takes at most `wanted` slots off the end: the whole last range if it fits, else its last slots.
pub fn take_from_end(ranges: &mut RangeList, wanted: u64) -> Option<(u64, u64)> {
    let last = ranges.last_mut().filter(|_| wanted > 0)?;
    if length(*last) <= wanted {
        return ranges.pop();
    }
    let start = last.1.saturating_sub(wanted).saturating_add(1);
    let taken = (start, last.1);
    last.1 = start.saturating_sub(1);
    Some(taken)
}

/// Takes at most `wanted` slots off the front: the whole first range if it fits, else its first
/// slots.
pub fn take_from_front(ranges: &mut RangeList, wanted: u64) -> Option<(u64, u64)> {
    let first = ranges.first_mut().filter(|_| wanted > 0)?;
    if length(*first) <= wanted {
        return Some(ranges.remove(0));
    }
    let end = first.0.saturating_add(wanted).saturating_sub(1);
    let taken = (first.0, end);
    first.0 = end.saturating_add(1);
    Some(taken)
}

/// Number of slots in one range.
#[must_use]
pub fn length((start, end): (u64, u64)) -> u64 {
    end.saturating_sub(start).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_sorts_and_merges_what_touches() {
        for (given, wanted) in [
            (vec![], vec![]),
            (vec![(5, 9), (0, 4)], vec![(0, 9)]),
            (vec![(0, 3), (5, 9)], vec![(0, 3), (5, 9)]),
            (vec![(0, 8), (2, 5), (10, 10)], vec![(0, 8), (10, 10)]),
        ] {
            assert_eq!(compact(given.clone()), wanted, "{given:?}");
        }
    }

    #[test]
    fn three_chunks_get_the_ranges_of_the_specification() {
        let ranges: Vec<_> = even_ranges(6).into_iter().flatten().flatten().collect();
        let wanted =
            [(0, 2730), (2731, 5461), (5462, 8192), (8193, 10923), (10924, 13653), (13654, 16383)];
        assert_eq!(ranges, wanted);
    }

    #[test]
    fn every_number_of_masters_covers_all_slots_once() {
        for masters in [1, 2, 3, 7, 16_383, 16_384, 20_000] {
            let ranges = even_ranges(masters).into_iter().flatten().flatten().collect();
            assert_eq!(compact(ranges), vec![(0, SLOTS - 1)], "{masters}");
        }
        assert!(even_ranges(0).is_empty());
    }

    #[test]
    fn taking_splits_a_range_only_when_it_must() {
        let mut ranges = vec![(0, 9), (20, 24)];
        assert_eq!(take_from_end(&mut ranges, 7), Some((20, 24)));
        assert_eq!(take_from_end(&mut ranges, 2), Some((8, 9)));
        assert_eq!(take_from_front(&mut ranges, 3), Some((0, 2)));
        assert_eq!(take_from_front(&mut ranges, 9), Some((3, 7)));
        assert_eq!(take_from_front(&mut ranges, 9), None);
        assert_eq!(take_from_end(&mut vec![(1, 2)], 0), None);
    }
}
