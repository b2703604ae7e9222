//! Start, reload, handover and cleanup: from a configuration to a running daemon and back to the box as it was.
pub(in crate::daemon) mod drain_on_stop;
pub(in crate::daemon) mod interfaces;
pub(in crate::daemon) mod listeners;
pub(in crate::daemon) mod program_log;
pub(in crate::daemon) mod program_watch;
pub(in crate::daemon) mod reload;
pub(in crate::daemon) mod running;
pub(in crate::daemon) mod start;
pub(in crate::daemon) mod suspend;
pub(in crate::daemon) mod undone;
pub(in crate::daemon) mod virtual_addresses;
pub(in crate::daemon) mod watchdog;
