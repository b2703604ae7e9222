//! The kernel's routes and neighbours, for frames whose way lbd does not know itself.
use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_SUCCESS},
    helpers::generated::bpf_fib_lookup,
};
use lbd_ebpf::wire::{
    field::ethernet::{DESTINATION, MAC_TAIL, MACS, SOURCE},
    frame::{put_u16, put_u32},
    parse::protocol,
};

use super::translate::Ends;
use crate::xdp::packet::Packet;

/// `struct bpf_fib_lookup` of include/uapi/linux/bpf.h.
#[repr(C, align(8))]
struct Lookup {
    family: u8,
    protocol: u8,
    source_port_be: u16,
    destination_port_be: u16,
    /// 0: the length is not compared with the route's MTU. The client's MSS has limited it.
    length: u16,
    /// In: where the frame came in. Out: where it leaves.
    ifindex: u32,
    /// In: type of service, flow label.
    class: u32,
    source: [u32; 4],
    destination: [u32; 4],
    /// Out: a mark, and the first four bytes of our own MAC.
    mark_and_mac: u64,
    /// Out: the rest of it, and the next hop's.
    macs: u64,
}

const _: () = assert!(size_of::<Lookup>() == size_of::<aya_ebpf::bindings::bpf_fib_lookup>());

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// What the kernel says.
pub(crate) enum Way {
    /// Out of this interface; the MACs are in the frame.
    Out(u32),
    /// It is for this box.
    Local,
    /// The next hop has not said its MAC yet.
    NoNeighbour,
    /// Nowhere.
    None,
}

/// Looks the way of a segment with these ends up, and puts the MACs of its next hop into the frame.
#[inline(always)]
pub(crate) fn look_up(packet: &mut Packet, is_v4: bool, ends: &Ends) -> Option<Way> {
    let mut lookup = MaybeUninit::<Lookup>::uninit();
    let at = lookup.as_mut_ptr();
    // Field by field, and the last two as whole words: LLVM would zero those by a call of memset, and
    // read a MAC where the kernel sees a misaligned address.
    // SAFETY: every field is written, into memory of this function. The context is the one that this
    // program was called with, and the helper writes at most the size it is given.
    let found = unsafe {
        (*at).family = if is_v4 { AF_INET } else { AF_INET6 };
        (*at).protocol = protocol::TCP;
        (*at).source_port_be = ends.source_port_be;
        (*at).destination_port_be = ends.destination_port_be;
        (*at).length = 0;
        (*at).ifindex = packet.context().ingress_ifindex() as u32;
        (*at).class = 0;
        (*at).source = ends.source;
        (*at).destination = ends.destination;
        (&raw mut (*at).mark_and_mac).write_volatile(0);
        (&raw mut (*at).macs).write_volatile(0);
        let ctx = packet.context().ctx.cast();
        bpf_fib_lookup(ctx, at.cast(), size_of::<Lookup>() as i32, 0)
    };
    // The verifier must see the frame's length compared again before the frame is written to.
    packet.refresh();
    // A negative number is a mistake in what was asked.
    let Ok(found) = u32::try_from(found) else {
        return Some(Way::None);
    };
    Some(match found {
        BPF_FIB_LKUP_RET_SUCCESS => {
            let ethernet = packet.window_mut::<MACS>(0)?;
            // SAFETY: the helper has filled it.
            let (first, second, ifindex) = unsafe {
                (
                    (&raw const (*at).mark_and_mac).read_volatile(),
                    (&raw const (*at).macs).read_volatile(),
                    (*at).ifindex,
                )
            };
            put_u32(ethernet, DESTINATION, (second >> 16) as u32);
            put_u16(ethernet, DESTINATION + MAC_TAIL, (second >> 48) as u16);
            put_u32(ethernet, SOURCE, (first >> 32) as u32);
            put_u16(ethernet, SOURCE + MAC_TAIL, second as u16);
            Way::Out(ifindex)
        }
        BPF_FIB_LKUP_RET_NO_NEIGH => Way::NoNeighbour,
        BPF_FIB_LKUP_RET_NOT_FWDED => Way::Local,
        _ => Way::None,
    })
}
