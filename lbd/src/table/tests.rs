//! The ring's properties.
use std::collections::HashMap;

use lbd_common::ring::NO_BACKEND;
use proptest::prelude::*;

use super::*;
use crate::units::WeightPermille;

/// Backends `mx0..`, whose value is their place.
struct Backends(Vec<(String, WeightPermille)>);

impl Backends {
    fn new(weights: &[u32]) -> Self {
        let named = weights.iter().enumerate();
        Self(
            named
                .map(|(i, weight)| (format!("192.0.2.{i}"), WeightPermille(*weight)))
                .collect(),
        )
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        let numbered = (0..).zip(&self.0);
        numbered
            .map(|(value, (name, weight))| Entry {
                identity: name.as_bytes(),
                weight: *weight,
                value,
            })
            .collect()
    }

    fn ring(&self) -> Ring {
        Ring::build(&self.entries())
    }
}

fn shares(ring: &Ring) -> HashMap<u32, usize> {
    let mut shares = HashMap::new();
    for value in ring.slots() {
        *shares.entry(*value).or_default() += 1;
    }
    shares
}

#[test]
fn maglev_honors_weight() {
    for weights in [
        vec![100_000, 50_000, 50_000],
        vec![1, 2, 3],
        vec![10_000_000, 1000],
        vec![7; 13],
        vec![1000],
    ] {
        let ring = Backends::new(&weights).ring();
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let shares = shares(&ring);
        for (value, weight) in (0..).zip(&weights) {
            let exact = SLOTS as u64 * u64::from(*weight) / total;
            let got = shares.get(&value).copied().unwrap_or(0) as u64;
            assert!(
                got.abs_diff(exact) <= 1,
                "{weights:?}: {value} has {got}, not {exact}"
            );
        }
    }
}

#[test]
fn weight_zero_is_never_chosen() {
    let ring = Backends::new(&[1000, 0, 1000]).ring();
    assert!(!ring.slots().contains(&1));
    assert!(!ring.slots().contains(&NO_BACKEND));
}

#[test]
fn no_weight_empties_every_slot() {
    for weights in [&[][..], &[0], &[0, 0, 0]] {
        let ring = Backends::new(weights).ring();
        assert!(
            ring.slots().iter().all(|slot| *slot == NO_BACKEND),
            "{weights:?}"
        );
    }
}

#[test]
fn same_input_same_ring() {
    let ring = Backends::new(&[100_000, 50_000, 50_000, 33_333]).ring();
    // Recorded on x86_64: a node of another architecture must come to the same.
    assert_eq!(ring.fingerprint(), 0x91d2_a665_ef09_38ce);
}

#[test]
fn order_and_ids_do_not_place_backends() {
    let backends = Backends::new(&[3000, 1000, 2000]);
    let mut entries = backends.entries();
    let ring = Ring::build(&entries);
    entries.reverse();
    assert_eq!(Ring::build(&entries), ring);
    for entry in &mut entries {
        entry.value += 40;
    }
    let renumbered = Ring::build(&entries);
    assert!(
        ring.slots()
            .iter()
            .zip(renumbered.slots())
            .all(|(a, b)| a + 40 == *b)
    );
}

#[test]
fn removing_one_moves_only_its_slots_nearly() {
    for servers in [3, 10, 100] {
        let mut weights = vec![1000; servers];
        let before = Backends::new(&weights).ring();
        weights[1] = 0;
        let after = Backends::new(&weights).ring();
        let owned = shares(&before)[&1];
        let others = before.moved(&after) - owned;
        assert!(
            others * 100 < SLOTS * 8,
            "{servers} servers: {others} slots of the others moved, besides {owned}"
        );
    }
}

#[test]
fn a_small_change_of_weight_moves_few_slots() {
    let mut weights = vec![100_000; 10];
    let before = Backends::new(&weights).ring();
    weights[4] = 80_000;
    let moved = before.moved(&Backends::new(&weights).ring());
    assert!(moved * 100 < SLOTS * 8, "{moved} slots moved");
}

#[test]
fn noise_is_not_worth_a_ring() {
    let permille = |weights: &[u32]| -> Vec<WeightPermille> {
        weights
            .iter()
            .map(|weight| WeightPermille(*weight))
            .collect()
    };
    for (old, new, expected) in [
        (&[1000, 1000][..], &[1000, 1000][..], false),
        (&[1000, 1000], &[1000, 960], false),
        (&[1000, 1000], &[500, 500], false),
        (&[1000, 1000], &[1000, 700], true),
        (&[1000, 1000], &[1000, 0], true),
        (&[1000, 0], &[1000, 1], true),
        (&[0, 0], &[0, 0], false),
        (&[1000], &[1000, 1000], true),
        (&[1_000_000, 1], &[1_000_000, 2], true),
    ] {
        assert_eq!(
            worth_rebuilding(&permille(old), &permille(new)),
            expected,
            "{old:?} {new:?}"
        );
    }
}

fn standing(sessions: u64, weight_permille: u32) -> Standing {
    Standing {
        sessions,
        queued_sessions: 0,
        weight_permille,
    }
}

/// A hash whose candidates on `ring` are the two backends in this order.
fn hash_between(ring: &Ring, first: u32, second: u32) -> u64 {
    let named = |hash: u64| {
        let (a, b) = lbd_common::ring::candidates(hash);
        (ring.get(a), ring.get(b)) == (first, second)
    };
    (0..1_000_000)
        .map(lbd_common::hash::mix)
        .find(|hash| named(*hash))
        .expect("they are many")
}

#[test]
fn the_lighter_candidate_takes_the_session() {
    let ring = Backends::new(&[1000, 1000]).ring();
    let hash = hash_between(&ring, 0, 1);
    for (a, b, expected) in [
        (standing(5, 1000), standing(5, 1000), Some(0)),
        (standing(6, 1000), standing(5, 1000), Some(1)),
        (standing(5, 1000), standing(6, 1000), Some(0)),
        (standing(8, 1000), standing(4, 500), Some(0)),
        (standing(10, 1000), standing(4, 500), Some(1)),
        (standing(0, 0), standing(99, 1), Some(1)),
        (standing(99, 1), standing(0, 0), Some(0)),
        (standing(0, 0), standing(0, 0), None),
        (
            standing(u64::MAX >> 1, 1),
            standing(u64::MAX >> 1, 2),
            Some(1),
        ),
    ] {
        let standings = [a, b];
        let chosen = choose(&ring, hash, |value| standings[value as usize]);
        assert_eq!(chosen, expected, "{a:?} {b:?}");
    }
    assert_eq!(choose(&Ring::empty(), hash, |_| standing(0, 1000)), None);
}

/// One more session begins whenever one ends, so that as many are open all the time.
#[test]
fn sessions_are_shared_by_weight_however_few_are_open() {
    const TOTAL: u32 = 40_000;
    let weights = [1000, 500, 500];
    let ring = Backends::new(&weights).ring();
    let weight_sum: u32 = weights.iter().sum();
    for open in [1_usize, 3, 5, 20, 100] {
        let (mut load, mut taken) = ([0_u64; 3], [0_u32; 3]);
        let mut sessions = Vec::new();
        for nth in 0..TOTAL {
            let hash = lbd_common::hash::mix(nth.into());
            if sessions.len() == open {
                let ending = lbd_common::hash::mix(hash ^ 1).to_be_bytes()[0];
                let ended: usize = sessions.swap_remove(usize::from(ending) % open);
                load[ended] -= 1;
            }
            let standing = |value: u32| standing(load[value as usize], weights[value as usize]);
            let chosen = choose(&ring, hash, standing).unwrap() as usize;
            load[chosen] += 1;
            taken[chosen] += 1;
            sessions.push(chosen);
        }
        for (taken, weight) in taken.iter().zip(weights) {
            let share_permille = taken * 1000 / TOTAL;
            let wanted_permille = weight * 1000 / weight_sum;
            assert!(
                share_permille.abs_diff(wanted_permille) <= 20,
                "{open} open: {share_permille} of {wanted_permille} permille"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_weights_give_exact_shares(
        weights in prop::collection::vec(prop_oneof![Just(0), 1..10_000_001_u32], 1..60),
    ) {
        let ring = Backends::new(&weights).ring();
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let shares = shares(&ring);
        for (value, weight) in (0..).zip(&weights) {
            let got = shares.get(&value).copied().unwrap_or(0) as u64;
            if *weight == 0 {
                prop_assert_eq!(got, 0);
            } else {
                let exact = SLOTS as u64 * u64::from(*weight) / total;
                prop_assert!(got.abs_diff(exact) <= 1, "{} of {}", got, exact);
            }
        }
    }

    #[test]
    fn a_chosen_backend_always_has_a_weight(
        weights in prop::collection::vec(0..3_u32, 1..10),
        loads in prop::collection::vec(0..100_u64, 10),
        hash: u64,
    ) {
        let ring = Backends::new(&weights).ring();
        let of = |value: u32| standing(loads[value as usize], weights[value as usize]);
        let chosen = choose(&ring, lbd_common::hash::mix(hash), of);
        prop_assert_eq!(chosen.is_some(), weights.iter().any(|weight| *weight > 0));
        if let Some(value) = chosen {
            prop_assert!(weights[value as usize] > 0);
        }
    }
}
