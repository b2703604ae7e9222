//! What the program reads and writes: maps, backends, boxes, VIPs, events, clocks.
pub(crate) mod atomic;
pub(crate) mod backend;
pub(crate) mod clock;
pub(crate) mod event;
pub(crate) mod maps;
pub(crate) mod node;
pub(crate) mod prefilter;
pub(crate) mod sign;
pub(crate) mod vip;
