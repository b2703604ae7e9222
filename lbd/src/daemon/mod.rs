//! The tasks, clocks and sockets around the cores.
