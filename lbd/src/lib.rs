//! lbd: pure cores in a thin shell.
//!
//! The cores take `now` and inputs and return outputs; there is no clock, socket, task or log in
//! them: [`config`], [`vrrp`], [`history`], [`election`], [`table`], [`policy`], [`smtp`], [`stats`],
//! [`channel`], [`push`], [`report`], [`simulate`], and [`trace`], which stands below the maps whose entries it
//! puts into words. The shell around them owns every clock, socket, netlink handle, map and file: [`archive`]
//! the history on disk, [`flows`] and [`dataplane`] the maps, [`host`] netlink and what lbd changes on the
//! box, [`agent`] the box's own figures, [`sockets`] the sessions of its own TCP, [`daemon`] the tasks,
//! [`commands`] the command line. Before all of them stand what both sides share: [`units`], and helpers of a file
//! each.
//!
//! A module imports from those above it in this list, never back.

mod connection_limit;
mod counters;
mod markup;
mod netlink_error;
mod plain;
mod replace_file;
mod trust;
pub mod units;

pub mod config;
pub mod history;
pub mod vrrp;

pub mod channel;
pub mod election;
pub mod policy;
pub mod push;
pub mod smtp;
pub mod stats;
pub mod table;

pub mod report;
pub mod simulate;

pub mod archive;

pub mod flows;

pub mod dataplane;
pub mod host;
pub mod trace;

pub mod agent;
pub mod sockets;

pub mod daemon;

pub mod commands;

#[doc(hidden)]
pub mod fuzzing;
