//! Hash slots: ranges of them, their text, and lists of ranges (spec 1.3).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How many slots there are.
pub const SLOT_COUNT: u16 = 16384;
/// The last one.
pub const SLOT_MAX: u16 = SLOT_COUNT - 1;

/// Slots from `start` to `stop`, both included; `start <= stop <= 16383`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct SlotRange {
    start: u16,
    stop: u16,
}

/// Why a text or a pair is no range. The texts are those of the original.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// More than one `-`.
    #[error("invalid argument, cannot have more than one range")]
    ManyRanges,
    /// A bound is no integer.
    #[error("strconv.Atoi: parsing {text:?}: {reason}")]
    Integer {
        /// The bound as given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The bounds are the wrong way round.
    #[error("start slot id greater than stop slot id")]
    Reversed,
    /// A bound is no slot.
    #[error("slot id was out of range, should be between 0 and 16383")]
    OutOfRange,
}

impl SlotRange {
    /// Every slot.
    pub const ALL: Self = Self { start: 0, stop: SLOT_MAX };

    /// A range from its bounds.
    ///
    /// # Errors
    /// [`SlotError`] for bounds that are reversed or no slots.
    pub fn new(start: i64, stop: i64) -> Result<Self, SlotError> {
        if start > stop {
            return Err(SlotError::Reversed);
        }
        match (u16::try_from(start), u16::try_from(stop)) {
            (Ok(start), Ok(stop)) if stop <= SLOT_MAX => Ok(Self { start, stop }),
            _ => Err(SlotError::OutOfRange),
        }
    }

    /// First slot.
    #[must_use]
    pub const fn start(self) -> u16 {
        self.start
    }

    /// Last slot.
    #[must_use]
    pub const fn stop(self) -> u16 {
        self.stop
    }

    /// How many slots; at least one.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.stop as u64 - self.start as u64 + 1
    }

    /// Whether the two share a slot.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.stop >= other.start && self.start <= other.stop
    }

    /// Whether every slot of `other` is in this one.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.stop <= self.stop
    }
}

impl TryFrom<(u16, u16)> for SlotRange {
    type Error = SlotError;

    fn try_from((start, stop): (u16, u16)) -> Result<Self, SlotError> {
        Self::new(i64::from(start), i64::from(stop))
    }
}

impl From<SlotRange> for (u16, u16) {
    fn from(range: SlotRange) -> Self {
        (range.start, range.stop)
    }
}

impl fmt::Display for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.start == self.stop {
            return write!(f, "{}", self.start);
        }
        write!(f, "{}-{}", self.start, self.stop)
    }
}

impl FromStr for SlotRange {
    type Err = SlotError;

    fn from_str(text: &str) -> Result<Self, SlotError> {
        let bounds: Vec<&str> = text.split('-').collect();
        match bounds[..] {
            [one] => {
                let slot = integer(one)?;
                Self::new(slot, slot)
            }
            [start, stop] => Self::new(integer(start)?, integer(stop)?),
            _ => Err(SlotError::ManyRanges),
        }
    }
}

/// Reads an integer; failures have the words of the original's platform.
///
/// # Errors
/// [`SlotError::Integer`] for anything that is no 64-bit decimal.
pub fn integer(text: &str) -> Result<i64, SlotError> {
    text.parse::<i64>().map_err(|error| {
        let reason = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                "value out of range"
            }
            _ => "invalid syntax",
        };
        SlotError::Integer { text: text.to_owned(), reason }
    })
}

/// The list with a range more: ascending, ranges that overlap or touch merged.
#[must_use]
pub fn add(list: &[SlotRange], range: SlotRange) -> Vec<SlotRange> {
    let mut all = list.to_vec();
    all.push(range);
    all.sort_unstable();
    let mut merged: Vec<SlotRange> = Vec::with_capacity(all.len());
    for range in all {
        match merged.last_mut() {
            Some(last) if u32::from(last.stop) + 1 >= u32::from(range.start) => {
                last.stop = last.stop.max(range.stop);
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// The list without the slots of a range: ascending, each range cut to what is left of it.
#[must_use]
pub fn remove(list: &[SlotRange], range: SlotRange) -> Vec<SlotRange> {
    let mut all = list.to_vec();
    all.sort_unstable();
    let mut left = Vec::with_capacity(all.len() + 1);
    for have in all {
        if !have.overlaps(range) {
            left.push(have);
            continue;
        }
        if have.start < range.start {
            left.push(SlotRange { start: have.start, stop: range.start - 1 });
        }
        if have.stop > range.stop {
            left.push(SlotRange { start: range.stop + 1, stop: have.stop });
        }
    }
    left
}

/// How many slots a list has.
#[must_use]
pub fn count(list: &[SlotRange]) -> u64 {
    list.iter().map(|range| range.count()).sum()
}

/// All slots in `parts` parts of equal size; the last one takes the rest. `parts` is 1 to
/// [`SLOT_COUNT`].
#[must_use]
pub fn split(parts: u16) -> Vec<SlotRange> {
    let parts = parts.clamp(1, SLOT_COUNT);
    let size = SLOT_COUNT / parts;
    (0..parts)
        .map(|part| {
            let start = part * size;
            let stop = if part + 1 == parts { SLOT_MAX } else { start + size - 1 };
            SlotRange { start, stop }
        })
        .collect()
}

#[cfg(test)]
#[path = "slots_test.rs"]
mod tests;
