//! Which of a session's two candidates takes it: what the program does in its select stage.
use lbd_common::{
    ring::{NO_BACKEND, RING_SLOTS, candidates, other, part_256ths},
    weigh::{first_is_lighter, load_with_queue},
};

use super::Ring;

/// A backend as a new session sees it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Live connections.
    pub sessions: u64,
    /// What its queue counts for, in sessions.
    pub queued_sessions: u32,
    /// Effective weight in permille; 0 is never chosen.
    pub weight_permille: u32,
}

/// Ring slots that are looked at for a backend with a weight, as in the program's `select`: a
/// weight that fell to 0 leaves the ring only when the next one is swapped in.
const PROBES: u32 = 32;

/// The backend for a new session, of the two that its hash names on the ring.
///
/// The lower `(sessions + queue) / weight` wins, by [`first_is_lighter`], the program's own function. `None`
/// when neither has a weight: the sender is reset and tries its next MX at once.
pub fn choose(ring: &Ring, hash: u64, standing: impl Fn(u32) -> Standing) -> Option<u32> {
    let (first, second) = candidates(hash);
    let second = other(first, second, |slot| Some(ring.get(slot)));
    let candidate = |slot: u32| {
        let values = (0..PROBES).map(|step| ring.get((slot + step) % RING_SLOTS));
        let standings = values.filter(|value| *value != NO_BACKEND);
        standings
            .map(|value| (value, standing(value)))
            .find(|(_, standing)| standing.weight_permille > 0)
    };
    match (candidate(first), candidate(second)) {
        (Some((first, a)), Some((second, b))) => {
            let (weight_a, weight_b) = (a.weight_permille, b.weight_permille);
            let load = |of: Standing| load_with_queue(of.sessions, of.queued_sessions);
            let stays = first_is_lighter(load(a), weight_a, load(b), weight_b, part_256ths(hash));
            Some(if stays { first } else { second })
        }
        (Some((one, _)), None) | (None, Some((one, _))) => Some(one),
        (None, None) => None,
    }
}
