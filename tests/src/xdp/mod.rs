//! The XDP program under test, packet by packet.
//!
//! A test is a table of [`row::Row`]s: a description, a packet in, the state before, the verdict
//! with the packet out (compared byte for byte), the counters and the flow after. Each row runs by
//! `BPF_PROG_TEST_RUN` in the same loaded program, whose maps are put back before it.

pub mod icmp;
pub mod object;
pub mod packet;
pub mod row;
pub mod tunnel;
pub mod world;
