//! Which of a session's two candidates takes it: what the program does in its select stage.
use lbd_common::ring::{NO_BACKEND, candidates};

use super::Ring;

/// A backend as a new session sees it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Live connections.
    pub load: u64,
    /// Effective weight in permille; 0 is never chosen.
    pub weight_permille: u32,
}

/// The backend for a new session, of the two that its hash names on the ring.
///
/// The lower `(load + 1) / weight` wins, compared by cross-multiplication, as the program has
/// neither floats nor a division to spare; the first candidate wins a tie. `None` when neither has
/// a weight: the sender is reset and tries its next MX at once.
pub fn choose(ring: &Ring, hash: u64, standing: impl Fn(u32) -> Standing) -> Option<u32> {
    let (first, second) = candidates(hash);
    let (first, second) = (ring.get(first), ring.get(second));
    let of = |value| match value {
        NO_BACKEND => Standing::default(),
        value => standing(value),
    };
    let (a, b) = (of(first), of(second));
    match (a.weight_permille, b.weight_permille) {
        (0, 0) => None,
        (_, 0) => Some(first),
        (0, _) => Some(second),
        _ if second_is_lighter(a, b) => Some(second),
        _ => Some(first),
    }
}

/// `(b.load + 1) / b.weight < (a.load + 1) / a.weight`, without a division.
fn second_is_lighter(a: Standing, b: Standing) -> bool {
    let left = u128::from(b.load + 1) * u128::from(a.weight_permille);
    let right = u128::from(a.load + 1) * u128::from(b.weight_permille);
    left < right
}
