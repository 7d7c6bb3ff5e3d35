//! Ranges and lists of them, by tables and against a model of single slots.

use proptest::prelude::*;

use super::*;

fn ranges(texts: &[&str]) -> Vec<SlotRange> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn texts_are_read_as_the_original_reads_them() {
    for (text, expected) in [
        ("5", Ok("5")),
        ("5-5", Ok("5")),
        ("+5", Ok("5")),
        ("0-16383", Ok("0-16383")),
        ("1-2-3", Err("invalid argument, cannot have more than one range")),
        ("20-10", Err("start slot id greater than stop slot id")),
        ("16384", Err("slot id was out of range, should be between 0 and 16383")),
        ("0-16384", Err("slot id was out of range, should be between 0 and 16383")),
        ("x", Err("strconv.Atoi: parsing \"x\": invalid syntax")),
        ("", Err("strconv.Atoi: parsing \"\": invalid syntax")),
        ("-5", Err("strconv.Atoi: parsing \"\": invalid syntax")),
        (" 5", Err("strconv.Atoi: parsing \" 5\": invalid syntax")),
        (
            "99999999999999999999",
            Err("strconv.Atoi: parsing \"99999999999999999999\": value out of range"),
        ),
    ] {
        let found = text.parse::<SlotRange>();
        let found = found.map(|range| range.to_string()).map_err(|error| error.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
    }
}

#[test]
fn adding_merges_what_overlaps_or_touches() {
    for (list, range, expected) in [
        (&["0-4"][..], "5-9", &["0-9"][..]),
        (&["0-4"], "6-9", &["0-4", "6-9"]),
        (&["6-9", "0-4"], "5", &["0-9"]),
        (&["0-9"], "3-4", &["0-9"]),
        (&[], "16383", &["16383"]),
        (&["16383"], "0-16382", &["0-16383"]),
    ] {
        assert_eq!(add(&ranges(list), range.parse().unwrap()), ranges(expected));
    }
}

#[test]
fn removing_cuts_what_overlaps() {
    for (list, range, expected) in [
        (&["0-9"][..], "5", &["0-4", "6-9"][..]),
        (&["0-9"], "0-9", &[]),
        (&["0-9"], "0-3", &["4-9"]),
        (&["0-9"], "9-16383", &["0-8"]),
        (&["5-9", "0-3"], "20", &["0-3", "5-9"]),
        (&["0-3", "5-9"], "2-6", &["0-1", "7-9"]),
    ] {
        assert_eq!(remove(&ranges(list), range.parse().unwrap()), ranges(expected));
    }
}

#[test]
fn all_slots_are_split_evenly_with_the_rest_at_the_end() {
    for (parts, expected) in [
        (1, &["0-16383"][..]),
        (2, &["0-8191", "8192-16383"]),
        (3, &["0-5460", "5461-10921", "10922-16383"]),
    ] {
        assert_eq!(split(parts), ranges(expected));
    }
    assert_eq!(split(7).last().unwrap().to_string(), "14040-16383");
    assert_eq!(split(SLOT_COUNT).len(), usize::from(SLOT_COUNT));
    for parts in [1, 2, 5, 1000, SLOT_COUNT] {
        assert_eq!(count(&split(parts)), u64::from(SLOT_COUNT), "{parts}");
    }
}

#[test]
fn a_stored_range_out_of_bounds_does_not_decode() {
    let bytes = postcard::to_allocvec(&(5_u16, 3_u16)).unwrap();
    assert!(postcard::from_bytes::<SlotRange>(&bytes).is_err());
    let bytes = postcard::to_allocvec(&(5_u16, 16384_u16)).unwrap();
    assert!(postcard::from_bytes::<SlotRange>(&bytes).is_err());
}

prop_compose! {
    fn any_range()(a in 0..=SLOT_MAX, b in 0..=SLOT_MAX) -> SlotRange {
        SlotRange { start: a.min(b), stop: a.max(b) }
    }
}

proptest! {
    #[test]
    fn printing_and_reading_give_the_range_back(range in any_range()) {
        prop_assert_eq!(range.to_string().parse::<SlotRange>(), Ok(range));
    }

    #[test]
    fn adding_then_removing_a_free_range_restores_the_list(
        list in prop::collection::vec(any_range(), 0..8),
        range in any_range(),
    ) {
        let list = list.iter().fold(Vec::new(), |list, range| add(&list, *range));
        let list = remove(&list, range);
        prop_assert_eq!(remove(&add(&list, range), range), list);
    }

    #[test]
    fn lists_stay_ascending_and_apart(
        steps in prop::collection::vec((any_range(), any::<bool>()), 0..20),
    ) {
        let mut list = Vec::new();
        let mut model = vec![false; usize::from(SLOT_COUNT)];
        for (range, is_added) in steps {
            list = if is_added { add(&list, range) } else { remove(&list, range) };
            model[usize::from(range.start)..=usize::from(range.stop)].fill(is_added);
        }
        for pair in list.windows(2) {
            prop_assert!(pair[0].stop + 1 < pair[1].start);
        }
        let have = list.iter().flat_map(|range| range.start..=range.stop);
        let want = (0..SLOT_COUNT).filter(|slot| model[usize::from(*slot)]);
        prop_assert!(have.eq(want));
    }
}
