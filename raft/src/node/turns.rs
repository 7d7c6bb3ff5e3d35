//! Who of those that wait goes next, and how many together.
//!
//! Whatever takes proposals somewhere costs much for each trip and little for each proposal, so few
//! trips with many carry more than many with few. There is no linger: who comes goes at once while
//! no trip is under way. A second trip begins beside the first when it is no smaller, so that the
//! two take turns, and none leaves with the first of many that are about to come. A trip that takes
//! long keeps nobody waiting any more.

use std::{collections::VecDeque, future::Future, time::Duration};

use tokio::time::timeout;

use crate::rt;

/// Trips that are under way at a time, of those that have not taken long yet.
const TRIPS_MAX: usize = 2;
/// Most that go together.
pub(super) const LOAD_MAX: usize = 256;
/// Most bytes that go together, unless one alone has more.
const LOAD_BYTES_MAX: usize = 1024 * 1024;
/// How long a trip keeps others back. What a quorum and its disks need is well below.
const PATIENCE: Duration = Duration::from_millis(50);

/// What waits to be taken somewhere.
pub(super) trait Cargo {
    /// How many bytes it has.
    fn bytes(&self) -> usize;

    /// Whether nobody waits for it any more, so that it can stay behind: whoever has given up was
    /// told that it is not known what became of it, and nothing of it has left yet.
    fn is_given_up(&self) -> bool;
}

/// What waits, and what is under way. Whoever fills it bounds it.
pub(super) struct Turns<T> {
    waiting: VecDeque<T>,
    trips: usize,
    under_way: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), trips: 0, under_way: 0 }
    }
}

impl<T: Cargo> Turns<T> {
    /// Waits for its turn from now on.
    pub(super) fn enter(&mut self, cargo: T) {
        self.waiting.push_back(cargo);
    }

    /// What goes now, if anything does. Its trip is to be ended with [`Self::arrive`].
    pub(super) fn depart(&mut self) -> Option<Vec<T>> {
        if self.trips >= TRIPS_MAX || self.waiting.len() < self.under_way {
            return None;
        }
        let load = self.load();
        if load.is_empty() {
            return None;
        }
        self.trips += 1;
        self.under_way += load.len();
        Some(load)
    }

    /// A trip with so many is over, or has taken long.
    pub(super) fn arrive(&mut self, count: usize) {
        self.trips -= 1;
        self.under_way -= count;
    }

    /// Whether nothing waits and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.trips == 0 && self.waiting.is_empty()
    }

    fn load(&mut self) -> Vec<T> {
        let (mut load, mut bytes) = (Vec::new(), 0);
        while let Some(cargo) = self.waiting.pop_front() {
            if cargo.is_given_up() {
                continue;
            }
            let is_full = load.len() >= LOAD_MAX || bytes + cargo.bytes() > LOAD_BYTES_MAX;
            if is_full && !load.is_empty() {
                self.waiting.push_front(cargo);
                break;
            }
            bytes += cargo.bytes();
            load.push(cargo);
        }
        load
    }
}

/// Resolves when a trip is over, or has taken long; then it goes on by itself.
pub(super) async fn trip<F>(trip: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    drop(timeout(PATIENCE, rt::spawn(trip)).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sized(usize, bool);

    impl Cargo for Sized {
        fn bytes(&self) -> usize {
            self.0
        }

        fn is_given_up(&self) -> bool {
            self.1
        }
    }

    fn enter(turns: &mut Turns<Sized>, count: usize) {
        (0..count).for_each(|_| turns.enter(Sized(1, false)));
    }

    fn departs(turns: &mut Turns<Sized>) -> Option<usize> {
        turns.depart().map(|load| load.len())
    }

    #[test]
    fn one_goes_at_once_and_the_second_trip_is_no_smaller() {
        let mut turns = Turns::default();
        enter(&mut turns, 1);
        assert_eq!(departs(&mut turns), Some(1));
        enter(&mut turns, 3);
        assert_eq!(departs(&mut turns), Some(3), "beside the first");
        enter(&mut turns, 9);
        assert_eq!(departs(&mut turns), None, "two are under way");
        turns.arrive(1);
        assert_eq!(departs(&mut turns), Some(9));
        turns.arrive(3);
        enter(&mut turns, 8);
        assert_eq!(departs(&mut turns), None, "nine are under way, and more is about to come");
        turns.arrive(9);
        assert_eq!(departs(&mut turns), Some(8), "nothing is under way any more");
        turns.arrive(8);
        assert!(turns.is_idle());
    }

    #[test]
    fn who_has_given_up_stays_behind_and_nobody_waits_for_him() {
        let mut turns = Turns::default();
        turns.enter(Sized(1, true));
        assert_eq!(departs(&mut turns), None);
        assert!(turns.is_idle());
        turns.enter(Sized(1, true));
        turns.enter(Sized(1, false));
        assert_eq!(departs(&mut turns), Some(1));
    }

    #[test]
    fn a_load_is_bounded_by_number_and_by_bytes_but_one_always_goes() {
        let mut turns = Turns::default();
        enter(&mut turns, LOAD_MAX + 1);
        assert_eq!(departs(&mut turns), Some(LOAD_MAX));
        turns.arrive(LOAD_MAX);
        assert_eq!(departs(&mut turns), Some(1));
        turns.arrive(1);
        turns.enter(Sized(LOAD_BYTES_MAX + 1, false));
        enter(&mut turns, 1);
        assert_eq!(departs(&mut turns), Some(1));
        assert_eq!(departs(&mut turns), Some(1));
    }
}
