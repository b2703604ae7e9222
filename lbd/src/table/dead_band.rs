//! When a new ring is worth its movement.
use crate::units::WeightPermille;

/// A backend's share of the ring may be off by this part of it, in percent. The selection's
/// comparison uses the exact weights meanwhile, so a session's choice is never by an old weight.
const SHARE_PERCENT: u64 = 10;

/// Whether the ring for `new` weights should replace the one built for `old` ones; the backends
/// are the same, in the same order (other backends are always worth a new ring).
///
/// Every weight that falls to 0 or rises from it is, and every share that changed by more than a
/// tenth. Noise moves nothing.
#[must_use]
pub fn worth_rebuilding(old: &[WeightPermille], new: &[WeightPermille]) -> bool {
    if old.len() != new.len() {
        return true;
    }
    let total = |weights: &[WeightPermille]| -> u128 {
        weights.iter().map(|weight| u128::from(weight.0)).sum()
    };
    let (old_total, new_total) = (total(old), total(new));
    old.iter().zip(new).any(|(old, new)| {
        if (old.0 == 0) != (new.0 == 0) {
            return true;
        }
        // Shares with the common denominator old_total * new_total.
        let before = u128::from(old.0) * new_total;
        let after = u128::from(new.0) * old_total;
        before.abs_diff(after) * 100 > before * u128::from(SHARE_PERCENT)
    })
}

/// Whether both weights let the same of these backends take sessions.
#[must_use]
pub fn lets_the_same(old: &[WeightPermille], new: &[WeightPermille]) -> bool {
    let takes = |weight: &WeightPermille| weight.0 > 0;
    old.iter().map(takes).eq(new.iter().map(takes))
}
