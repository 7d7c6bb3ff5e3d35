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
