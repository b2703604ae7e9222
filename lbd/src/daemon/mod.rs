//! The tasks, clocks and sockets around the cores.

pub mod advert;
pub mod health;
mod per_backend;
pub mod poll;
