//! The look after: what became of the frame, told within the limit.
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lbd_common::{
    counters::Reason,
    trace::{NO_BACKEND_ID, TRACES_PER_SECOND, TraceRecord},
};
use lbd_ebpf::wire::{
    field::{ethernet, tcp},
    frame::{Frame, u16_at, u32_at},
    parse::{self, Ipv4, Ipv6, ethertype},
};

use super::{
    TRACES,
    before::{of_interest, packets, word},
    scratch,
};
use crate::xdp::{forward::translate::Place, packet::Packet, tables::maps::COUNTERS};

/// Completes the record that the look before has prepared, and tells it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn look_after(ctx: *mut xdp_md, action: u32) -> u32 {
    let Some(scratch) = scratch() else {
        return 0;
    };
    if scratch.is_traced == 0 {
        return 0;
    }
    scratch.is_traced = 0;
    let second = scratch.record.at_ns >> 30;
    if scratch.second != second {
        scratch.second = second;
        scratch.recorded = 0;
    }
    if scratch.recorded >= TRACES_PER_SECOND {
        scratch.left_out += 1;
        return 0;
    }
    scratch.recorded += 1;
    scratch.record.action = action;
    note_frame(ctx);
    note_counted();
    if TRACES
        .output_untyped::<TraceRecord>(&scratch.record, 0)
        .is_err()
    {
        scratch.left_out += 1;
    }
    1
}

/// The frame as it leaves.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note_frame(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    let Some(scratch) = scratch() else {
        return 0;
    };
    let record = &mut scratch.record;
    record.length_after = packet.len() as u32;
    if let Some(head) = packet.window::<{ ethernet::MACS }>(0) {
        record.macs_after = [u32_at(head, 0), u32_at(head, 4), u32_at(head, 8)];
    }
    let Some(link) = parse::link(&packet) else {
        return 0;
    };
    if link.ethertype == ethertype::IPV4 {
        let Some(ip) = Ipv4::at(&packet, link.network) else {
            return 0;
        };
        record.family_after = 4;
        record.source_after[0] = ip.source();
        record.destination_after[0] = ip.destination();
    } else if link.ethertype == ethertype::IPV6 {
        let Some(ip) = Ipv6::at(&packet, link.network) else {
            return 0;
        };
        record.family_after = 6;
        record.source_after = ip.source();
        record.destination_after = ip.destination();
    }
    note_ports(ctx)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note_ports(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    let Some(place) = Place::find(&packet) else {
        return 0;
    };
    let (Some(ports), Some(scratch)) =
        (packet.window::<{ tcp::PORTS }>(place.transport), scratch())
    else {
        return 0;
    };
    scratch.record.source_port_after_be = u16_at(ports, tcp::SOURCE_PORT);
    scratch.record.destination_port_after_be = u16_at(ports, tcp::DESTINATION_PORT);
    1
}

/// What was counted meanwhile, for which backend, and the flow as it is now.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note_counted() -> u32 {
    let Some(scratch) = scratch() else {
        return 0;
    };
    if let Some(counters) = COUNTERS.get_ptr(0) {
        let mut counted = 0;
        for index in 0..Reason::COUNT as usize {
            // SAFETY: as in `note_counters` of the look before.
            let now = unsafe { counters.cast::<u64>().add(index).read_volatile() };
            counted |= ((now != scratch.counters[index]) as u64) << index;
        }
        scratch.record.counted = counted;
    }
    for index in 0..3 {
        let id = of_interest(&scratch.record, index);
        if id != NO_BACKEND_ID && packets(id) != scratch.packets[index] {
            scratch.record.backend = id;
        }
    }
    let [high, low, rest] = scratch.name;
    scratch.record.flow_after = word(high, low, rest);
    1
}
