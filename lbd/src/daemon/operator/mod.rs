//! What people ask and order: the control socket, weight overrides, drains, denials and queries.
pub mod access;
pub(in crate::daemon) mod change_access;
pub(in crate::daemon) mod command;
pub mod control;
pub(in crate::daemon) mod denials;
pub mod feeds;
pub mod flow_query;
mod latest;
pub(in crate::daemon) mod notify;
pub mod openapi;
pub mod order;
pub(in crate::daemon) mod orders;
pub(in crate::daemon) mod request;
