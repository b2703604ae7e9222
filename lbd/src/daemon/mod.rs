//! The tasks, clocks and sockets around the cores.

mod per_backend;
pub mod poll;
