//! What people see: status, metrics, history and the web pages.
pub mod counter_help;
pub mod flow_table_status;
pub mod history;
pub(in crate::daemon) mod metrics;
pub mod recent;
pub(in crate::daemon) mod record;
pub(in crate::daemon) mod report;
pub mod status;
pub(in crate::daemon) mod web;
