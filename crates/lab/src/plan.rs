//! The order of measurements: in every round each case runs once in each environment of each size, and each round is
//! shuffled anew. What drifts, the machine's heat as much as its neighbours, then falls on all of them. Pure.

use crate::record::{Case, Environment, Size, Slot};

/// The slots of a whole run.
pub(crate) fn order(
    environments: &[Environment],
    sizes: &[Size],
    cases: &[Case],
    repeat: u32,
    seed: u64,
) -> Vec<Slot> {
    let mut random = Random(seed);
    let mut order = Vec::new();
    for repetition in 1..=repeat {
        let mut round = Vec::new();
        for environment in environments {
            for size in sizes {
                round.extend(cases.iter().map(|case| Slot {
                    number: 0,
                    environment: environment.name.clone(),
                    size: size.name.clone(),
                    case: case.name.clone(),
                    repetition,
                }));
            }
        }
        // Fisher and Yates.
        for place in (1..round.len()).rev() {
            round.swap(place, random.below(place as u64 + 1) as usize);
        }
        order.append(&mut round);
    }
    for (number, slot) in (1..).zip(&mut order) {
        slot.number = number;
    }
    order
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): the same order for the same
/// seed, on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`: the high half of the product, whose bias of 2^-60 does not matter here.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::record::Kind;

    fn made(seed: u64) -> Vec<Slot> {
        let environment = |name: &str| Environment {
            name: name.to_owned(),
            kind: Kind::Native,
            description: String::new(),
            facts: BTreeMap::new(),
        };
        let size = |name: &str| Size { name: name.to_owned(), memory: 1, cpus: 1 };
        let case = |name: &str| Case {
            name: name.to_owned(),
            title: String::new(),
            about: String::new(),
            group: String::new(),
            headline: String::new(),
            metrics: Vec::new(),
            published: Vec::new(),
        };
        let environments = ["native", "container", "vm"].map(environment);
        order(&environments, &["s", "m"].map(size), &["a", "b"].map(case), 3, seed)
    }

    #[test]
    fn every_round_has_everything_once_in_an_order_of_its_own() {
        let order = made(7);
        assert_eq!(order.len(), 36);
        assert!(order.iter().map(|slot| slot.number).eq(1..=36));
        let mut rounds = Vec::new();
        for (round, slots) in order.chunks(12).enumerate() {
            assert!(slots.iter().all(|slot| slot.repetition == round as u32 + 1));
            let names = slots.iter().map(|slot| (&slot.environment, &slot.size, &slot.case));
            assert_eq!(names.clone().collect::<BTreeSet<_>>().len(), 12);
            rounds.push(names.collect::<Vec<_>>());
        }
        assert!(rounds[0] != rounds[1] && rounds[1] != rounds[2]);
        assert_eq!(made(7), order);
        assert_ne!(made(8), order);
    }
}
