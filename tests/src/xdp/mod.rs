//! The XDP program under test, packet by packet.

pub mod floor;
