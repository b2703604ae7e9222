//! The arithmetic of the choice between two backends.

/// Whether the first of two candidates takes the session: the lower `(load + 1) / weight` wins,
/// compared by cross-multiplication, because a division costs more and rounds. The first wins a tie.
///
/// Loads are cut to 32 bits, so that the products fit.
#[inline(always)]
#[must_use]
pub const fn first_is_lighter(
    first_load: u64,
    first_weight: u32,
    second_load: u64,
    second_weight: u32,
) -> bool {
    let first = (cut(first_load) + 1) * second_weight as u64;
    let second = (cut(second_load) + 1) * first_weight as u64;
    first <= second
}

#[inline(always)]
const fn cut(load: u64) -> u64 {
    // A load is briefly negative when two CPUs count a flow in and out: then it is none.
    if load > u32::MAX as u64 - 1 {
        if load >> 63 == 1 {
            0
        } else {
            u32::MAX as u64 - 1
        }
    } else {
        load
    }
}
