//! What people see: status, metrics, history and the web pages.
pub mod chronicle;
pub mod glossary;
pub mod history;
pub(in crate::daemon) mod metrics;
pub(in crate::daemon) mod record;
pub(in crate::daemon) mod report;
pub mod status;
pub(in crate::daemon) mod web;
