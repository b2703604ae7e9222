//! Which of a session's two candidates takes it: what the program does in its select stage.
use lbd_common::ring::{NO_BACKEND, RING_SLOTS, candidates};

use super::Ring;

/// A backend as a new session sees it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Live connections.
    pub load: u64,
    /// Effective weight in permille; 0 is never chosen.
    pub weight_permille: u32,
}

/// Ring slots that are looked at for a backend with a weight, as in the program's `select`: a
/// weight that fell to 0 leaves the ring only when the next one is swapped in.
const PROBES: u32 = 32;

/// The backend for a new session, of the two that its hash names on the ring.
///
/// The lower `(load + 1) / weight` wins, compared by cross-multiplication, as the program has
/// neither floats nor a division to spare; the first candidate wins a tie. `None` when neither has
/// a weight: the sender is reset and tries its next MX at once.
pub fn choose(ring: &Ring, hash: u64, standing: impl Fn(u32) -> Standing) -> Option<u32> {
    let (first, second) = candidates(hash);
    let candidate = |slot: u32| {
        let values = (0..PROBES).map(|step| ring.get((slot + step) % RING_SLOTS));
        let standings = values.filter(|value| *value != NO_BACKEND);
        standings
            .map(|value| (value, standing(value)))
            .find(|(_, standing)| standing.weight_permille > 0)
    };
    match (candidate(first), candidate(second)) {
        (Some((_, a)), Some((second, b))) if second_is_lighter(a, b) => Some(second),
        (Some((first, _)), _) => Some(first),
        (None, Some((second, _))) => Some(second),
        (None, None) => None,
    }
}

/// `(b.load + 1) / b.weight < (a.load + 1) / a.weight`, without a division.
fn second_is_lighter(a: Standing, b: Standing) -> bool {
    let left = u128::from(b.load + 1) * u128::from(a.weight_permille);
    let right = u128::from(a.load + 1) * u128::from(b.weight_permille);
    left < right
}
