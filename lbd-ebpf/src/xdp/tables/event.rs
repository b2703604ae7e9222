//! Tells the daemon about sessions.
use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use lbd_common::{
    counters::Reason,
    event::{FlowEvent, kind},
};

use super::maps::EVENTS;
use crate::xdp::{
    exit::count,
    family::{Family, Key},
};

/// Puts one event into the ring buffer. What a peer does not know yet when this box dies is a lost
/// session, so a new one wakes the daemon; the kernel leaves that out while the daemon is still
/// busy with events before it (`ringbuf_commit()` of kernel/bpf/ringbuf.c). An end or a denial can wait
/// until the daemon looks by itself.
#[inline(always)]
pub(crate) fn emit<const K: usize, F: Family<K>>(key: &Key<K>, backend: u16, kind: u8) {
    let (source, port_be, vip_id) = F::parts(key);
    put(FlowEvent {
        source,
        port_be,
        vip_id,
        backend,
        family: F::NUMBER,
        kind,
    });
}

/// Likewise for an event about an address only.
#[inline(always)]
pub(crate) fn emit_address(is_v4: bool, source: [u32; 4], kind: u8) {
    put(FlowEvent {
        source,
        family: if is_v4 { 4 } else { 6 },
        kind,
        port_be: 0,
        vip_id: 0,
        backend: 0,
    });
}

#[inline(always)]
fn put(event: FlowEvent) {
    let Some(mut entry) = EVENTS.reserve_untyped::<FlowEvent>(0) else {
        count(Reason::EventLost);
        return;
    };
    entry.write(event);
    let can_wait = matches!(event.kind, kind::CLOSED | kind::DENIED | kind::RATE_LIMITED);
    entry.submit(if can_wait {
        u64::from(BPF_RB_NO_WAKEUP)
    } else {
        0
    });
}
