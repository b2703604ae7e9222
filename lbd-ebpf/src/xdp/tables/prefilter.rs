//! Whether a frame can concern lbd at all, told by one byte of it: nearly no frame does.
use lbd_common::prefilter::{MAC_SLOTS, Prefilter};

/// Pinned as [`lbd_common::maps::PREFILTER`].
///
/// A variable and no named map, because the address of a variable is a constant in the program: this is
/// read for every frame, also for the operator's own ssh.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.prefilter")]
static mut PREFILTER: Prefilter = Prefilter::NONE;

/// Whether `bit` of [`lbd_common::prefilter`] stands for an address with this last byte: a family's, if
/// a frame to it may be for a VIP, for this box's end of a tunnel, or a `nat` backend's reply; that of
/// nodes, if a frame from it may be from a box of the cluster.
#[inline(always)]
pub(crate) fn is_possible(last_byte: u8, bit: u8) -> bool {
    // SAFETY: the index is below the array's length. The daemon writes while programs read, hence the
    // volatile read of one byte.
    let bits = unsafe {
        (&raw const PREFILTER.bits)
            .cast::<u8>()
            .add(last_byte as usize)
            .read_volatile()
    };
    bits & bit != 0
}

/// The entry in a slot of [`Prefilter::macs`].
#[inline(always)]
pub(crate) fn own_arrival(slot: u32) -> u64 {
    // SAFETY: the index is below the array's length; a word is read whole.
    unsafe {
        (&raw const PREFILTER.macs)
            .cast::<u64>()
            .add((slot & (MAC_SLOTS - 1)) as usize)
            .read_volatile()
    }
}
