//! Tells the daemon about sessions.
use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use lbd_common::{counters::Reason, event::FlowEvent};

use crate::{
    exit::count,
    family::{Family, Key},
    maps::EVENTS,
};

/// Puts one event into the ring buffer. The daemon looks by itself every few milliseconds: waking
/// it for each session would cost more than the session.
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
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
}
