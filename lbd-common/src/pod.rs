//! Lets aya copy these types into and out of maps.
use crate::{
    backend, counters, denied, director, event, flow, fragment, node, prefilter, rate, reply, sign,
    sock, trace, tunnel, vip,
};

macro_rules! pod {
    ($($of:ty),+ $(,)?) => {
        $(
            // SAFETY: `#[repr(C)]` of integers without padding (the layouts are asserted next to
            // the types), so every byte is initialised and every bit pattern is valid.
            unsafe impl aya::Pod for $of {}
        )+
    };
}

pod!(
    backend::Backend,
    backend::BackendStats,
    prefilter::Prefilter,
    counters::Counters,
    denied::DenyLengths,
    denied::Network4,
    denied::Network6,
    director::Director,
    event::FlowEvent,
    flow::Bucket4,
    flow::Bucket6,
    flow::Slot4,
    flow::Slot6,
    fragment::FragmentKey,
    node::Node,
    rate::Rates,
    rate::SourceRate,
    reply::Reply,
    reply::ReplyKey,
    sign::Sign,
    sock::SockEvent,
    trace::TraceRecord,
    trace::TraceScratch,
    tunnel::TunnelEnd,
    vip::Vip,
);
