//! Tells the daemon about sessions.
use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use lbd_common::{
    counters::Reason,
    event::{FlowEvent, kind},
};

use crate::{
    exit::count,
    family::{Family, Key},
    maps::EVENTS,
};

/// Puts one event into the ring buffer. What a peer does not know yet when this box dies is a lost
/// session, so a new one wakes the daemon; the kernel leaves that out while the daemon is still
/// busy with events before it (`ringbuf_commit()` of kernel/bpf/ringbuf.c). An end can wait until the
/// daemon looks by itself.
#[inline(always)]
pub(crate) fn emit<const K: usize, F: Family<K>>(key: &Key<K>, backend: u16, kind: u8) {
    let Some(mut entry) = EVENTS.reserve_untyped::<FlowEvent>(0) else {
        count(Reason::EventLost);
        return;
    };
    let (source, port_be, vip_id) = F::parts(key);
    entry.write(FlowEvent {
        source,
        port_be,
        vip_id,
        backend,
        family: F::NUMBER,
        kind,
    });
    entry.submit(if kind == kind::CLOSED {
        u64::from(BPF_RB_NO_WAKEUP)
    } else {
        0
    });
}
