//! The rule by which digests of one index are judged. Pure, and the same on every replica.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::StateDigest;
use crate::ReplicaId;

/// What the digest of a replica is worth as evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Credit {
    /// It computed its state from entries, or was found equal to a majority since.
    Witness,
    /// Its state came as a snapshot, and repeats what the sender computed.
    Unproven,
    /// It is in quarantine.
    Quarantined,
}

/// What one replica came to at an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Testimony {
    /// The replica.
    pub(crate) id: ReplicaId,
    /// Digest of its state.
    pub(crate) digest: StateDigest,
    /// What that is worth.
    pub(crate) credit: Credit,
}

/// What follows from the testimonies of one index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This digest is right: whoever has another one is wrong.
    Majority(StateDigest),
    /// The replicas differ, and nobody can tell who is right.
    Disputed,
    /// Too few have answered.
    Open,
}

/// Judges what the members came to at one index.
///
/// A digest is right once more than half of all voters, and not only of those that answered, have
/// computed it themselves. If all voters answer and nobody differs, that will do as well, however
/// they came to it: otherwise a cluster of restored replicas could never be sure of itself again.
/// Replicas in quarantine and learners are judged, and count for nothing.
pub(crate) fn judge(voters: &BTreeSet<ReplicaId>, testimonies: &[Testimony]) -> Verdict {
    let of_voters = |testimony: &&Testimony| voters.contains(&testimony.id);
    let believed = |testimony: &&Testimony| testimony.credit != Credit::Quarantined;
    let counted: Vec<_> = testimonies.iter().filter(of_voters).filter(believed).collect();
    let supporters = |digest: StateDigest| -> BTreeSet<ReplicaId> {
        let same = counted.iter().filter(|testimony| testimony.digest == digest);
        same.filter(|testimony| testimony.credit == Credit::Witness).map(|one| one.id).collect()
    };
    let is_majority = |digest: &StateDigest| supporters(*digest).len() * 2 > voters.len();
    if let Some(digest) = counted.iter().map(|testimony| testimony.digest).find(is_majority) {
        return Verdict::Majority(digest);
    }
    let mut others = testimonies.iter().filter(believed);
    let Some(first) = others.next() else { return Verdict::Open };
    if others.any(|testimony| testimony.digest != first.digest) {
        return Verdict::Disputed;
    }
    let answered: BTreeSet<_> = counted.iter().map(|testimony| testimony.id).collect();
    if answered == *voters { Verdict::Majority(first.digest) } else { Verdict::Open }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RIGHT: u8 = 1;
    const WRONG: u8 = 2;

    fn voters(count: u64) -> BTreeSet<ReplicaId> {
        (1..=count).collect()
    }

    fn says(id: ReplicaId, digest: u8, credit: Credit) -> Testimony {
        Testimony { id, digest: [digest; 32], credit }
    }

    fn check(count: u64, said: &[(ReplicaId, u8, Credit)], expected: Verdict) {
        let said = said.iter().map(|(id, digest, credit)| says(*id, *digest, *credit));
        assert_eq!(judge(&voters(count), &said.collect::<Vec<_>>()), expected);
    }

    #[test]
    fn the_table_of_verdicts() {
        use Credit::{Quarantined, Unproven, Witness};
        let right = Verdict::Majority([RIGHT; 32]);
        // All alike; one differs; one is silent.
        check(3, &[(1, 1, Witness), (2, 1, Witness), (3, 1, Witness)], right);
        check(3, &[(1, 1, Witness), (2, 2, Witness), (3, 1, Witness)], right);
        check(3, &[(1, 1, Witness), (3, 1, Witness)], right);
        // No majority of all voters, although most of those that answered agree.
        check(5, &[(1, 1, Witness), (2, 1, Witness), (3, 2, Witness)], Verdict::Disputed);
        check(3, &[(1, 1, Witness), (2, 2, Witness)], Verdict::Disputed);
        check(3, &[(1, 1, Witness), (2, 2, Witness), (3, 3, Witness)], Verdict::Disputed);
        check(3, &[(1, 1, Witness)], Verdict::Open);
        check(3, &[], Verdict::Open);
        // A wrong leader's snapshot does not outvote the only one that is right.
        check(3, &[(1, 2, Witness), (2, 1, Witness), (3, 2, Unproven)], Verdict::Disputed);
        // It is judged by the others, and is believed once nobody differs.
        check(3, &[(1, 1, Witness), (2, 1, Witness), (3, 2, Unproven)], right);
        check(3, &[(1, 1, Witness), (2, 1, Unproven), (3, 1, Unproven)], right);
        check(3, &[(1, 1, Witness), (2, 1, Unproven)], Verdict::Open);
        // One in quarantine neither counts nor stirs up a dispute.
        check(3, &[(1, 1, Witness), (2, 2, Quarantined)], Verdict::Open);
        check(3, &[(1, 1, Witness), (2, 1, Witness), (3, 2, Quarantined)], right);
        check(3, &[(1, 1, Witness), (2, 2, Witness), (3, 2, Quarantined)], Verdict::Disputed);
        // A learner may be wrong, and never outvotes anybody.
        check(3, &[(1, 1, Witness), (2, 1, Witness), (4, 2, Witness)], right);
        check(3, &[(1, 1, Witness), (4, 1, Witness), (5, 1, Witness)], Verdict::Open);
        // The same replica does not count twice.
        check(3, &[(1, 1, Witness), (1, 1, Witness)], Verdict::Open);
    }

    fn credit() -> impl Strategy<Value = Credit> {
        prop_oneof![Just(Credit::Witness), Just(Credit::Unproven), Just(Credit::Quarantined)]
    }

    proptest! {
        /// As long as fewer than half of the voters went wrong by themselves, and nobody else
        /// differs but through a snapshot of one of them, no right replica is found wrong.
        #[test]
        fn a_minority_never_makes_the_right_ones_wrong(
            count in 1_u64..=7,
            wrong in proptest::collection::btree_set(1_u64..=7, 0..4),
            copies in proptest::collection::btree_set(1_u64..=9, 0..9),
            silent in proptest::collection::btree_set(1_u64..=9, 0..9),
        ) {
            let wrong: Vec<_> = wrong.into_iter().filter(|id| *id <= count).collect();
            prop_assume!(wrong.len() as u64 * 2 < count);
            let said: Vec<_> = (1..=9_u64)
                .filter(|id| !silent.contains(id))
                .map(|id| match () {
                    () if wrong.contains(&id) => says(id, WRONG, Credit::Witness),
                    () if copies.contains(&id) => says(id, WRONG, Credit::Unproven),
                    () => says(id, RIGHT, Credit::Witness),
                })
                .collect();
            let has_right_voter = said.iter().any(|one| one.id <= count && one.digest[0] == RIGHT);
            if has_right_voter {
                prop_assert_ne!(judge(&voters(count), &said), Verdict::Majority([WRONG; 32]));
            }
        }

        /// The order of the testimonies does not matter, and what a majority computed is found.
        #[test]
        fn a_majority_is_found_in_any_order(
            rest in proptest::collection::vec((4_u64..=9, 0_u8..4, credit()), 0..6)
                .prop_shuffle(),
            at in 0_usize..6,
        ) {
            let mut said: Vec<_> = rest.iter().map(|(id, d, credit)| says(*id, *d, *credit)).collect();
            for id in 1..=3 {
                said.insert(at.min(said.len()), says(id, RIGHT, Credit::Witness));
            }
            prop_assert_eq!(judge(&voters(5), &said), Verdict::Majority([RIGHT; 32]));
        }
    }
}
