//! The arithmetic of the choice between two backends.

/// What a new session would wait for: the sessions that are open, and what the queue counts for.
#[inline(always)]
#[must_use]
pub const fn load_with_queue(sessions: u64, queued_sessions: u32) -> u64 {
    cut(sessions) + queued_sessions as u64
}

/// Whether a backend has as many sessions as it takes; a limit of 0 is none.
#[inline(always)]
#[must_use]
pub const fn is_at_limit(sessions: u64, session_limit: u32) -> bool {
    session_limit != 0 && cut(sessions) >= session_limit as u64
}

/// Whether the first of two candidates takes the session. The second one does where it would have the
/// lower `load / weight` even with a part of a session more, which `part_256ths` tells: a byte of the
/// session's hash, any value as often as any other.
///
/// The part makes few sessions follow the weights too. Without it the lighter backend wins whenever it
/// has none, with a whole session the heavier one does: with weights of 100, 50 and 50 and three
/// sessions open, 45 and 54 % went to the first. Between equal weights it changes nothing, and idle
/// backends tie, so that the ring, whose first candidates are shared by weight, decides.
///
/// Loads are cut to 2^22, so that the products fit.
#[inline(always)]
#[must_use]
pub const fn first_is_lighter(
    first_load: u64,
    first_weight: u32,
    second_load: u64,
    second_weight: u32,
    part_256ths: u8,
) -> bool {
    // At most 2^22 * 2^8 * 2^32, and a part more on the right.
    let first = (cut(first_load) << 8) * second_weight as u64;
    let second = ((cut(second_load) << 8) + part_256ths as u64) * first_weight as u64;
    first <= second
}

/// Whether a source stays with its first backend: as long as that backend's `(load + 1) / weight` is
/// not above the second one's by more than `skew_permille`.
///
/// Loads are cut to 2^20 and the skew to 1000, so that the products fit.
#[inline(always)]
#[must_use]
pub const fn is_within_skew(
    first_load: u64,
    first_weight: u32,
    second_load: u64,
    second_weight: u32,
    skew_permille: u32,
) -> bool {
    // At most 2^20 * 2^32 * 2^10 on the left, and 2^20 * 2^32 * 2^11 on the right.
    let skew = if skew_permille > 1000 {
        1000
    } else {
        skew_permille
    };
    let first = small(first_load) * second_weight as u64 * 1000;
    let second = small(second_load) * first_weight as u64 * (1000 + skew as u64);
    first <= second
}

#[inline(always)]
const fn small(load: u64) -> u64 {
    let load = cut(load) + 1;
    if load > 1 << 20 { 1 << 20 } else { load }
}

#[inline(always)]
const fn cut(load: u64) -> u64 {
    // A load is briefly negative when two CPUs count a flow in and out: then it is none.
    if load >> 63 == 1 {
        0
    } else if load > 1 << 22 {
        1 << 22
    } else {
        load
    }
}

#[cfg(test)]
mod tests {
    use super::{first_is_lighter, is_at_limit, is_within_skew, load_with_queue};

    #[test]
    fn a_queue_weighs_as_sessions_do() {
        for (sessions, queued, load) in [
            (3, 0, 3),
            (3, 7, 10),
            // Counted out before it was counted in.
            (u64::MAX, 7, 7),
            (1 << 40, u32::MAX, (1 << 22) + u64::from(u32::MAX)),
        ] {
            assert_eq!(
                load_with_queue(sessions, queued),
                load,
                "{sessions} {queued}"
            );
        }
    }

    #[test]
    fn a_limit_is_reached_with_its_last_session() {
        for (sessions, limit, reached) in [
            (9, 10, false),
            (10, 10, true),
            (11, 10, true),
            (u64::MAX, 1, false),
            (1 << 40, 0, false),
        ] {
            assert_eq!(is_at_limit(sessions, limit), reached, "{sessions} {limit}");
        }
    }

    /// With the least and the greatest part of a session more.
    #[test]
    fn the_lower_load_by_weight_wins() {
        const MOST: u32 = u32::MAX;
        for (first, second, wins) in [
            ((0, 1000), (0, 1000), [true, true]),
            ((1, 1000), (0, 1000), [false, false]),
            // Between idle ones the ring decides, regardless of their weights.
            ((0, 1000), (0, 2000), [true, true]),
            ((0, 2000), (0, 1000), [true, true]),
            ((2, 2000), (1, 1000), [true, true]),
            // Less than a session too many.
            ((3, 2000), (1, 1000), [false, true]),
            ((1, 2000), (0, 1000), [false, true]),
            ((4, 2000), (1, 1000), [false, false]),
            ((99, 100_000), (1, 1000), [true, true]),
            ((u64::MAX, 1), (0, 1), [true, true]),
            ((u64::MAX >> 1, 1000), (0, 1000), [false, false]),
            ((u64::MAX >> 1, MOST), (u64::MAX >> 1, MOST), [true, true]),
        ] {
            let stays = |part| first_is_lighter(first.0, first.1, second.0, second.1, part);
            assert_eq!([stays(0), stays(255)], wins, "{first:?} {second:?}");
        }
    }

    #[test]
    fn a_source_stays_until_the_skew_is_passed() {
        for (first, second, skew, stays) in [
            (9, 9, 0, true),
            (10, 9, 0, false),
            (10, 9, 100, true),
            (11, 9, 100, false),
            (19, 9, 1000, true),
            (20, 9, 1000, false),
            (20, 9, 9999, false),
            (1 << 40, 1 << 40, 1000, true),
        ] {
            assert_eq!(
                is_within_skew(first, u32::MAX, second, u32::MAX, skew),
                stays,
                "{first} {second} {skew}"
            );
        }
    }
}
