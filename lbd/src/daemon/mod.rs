//! The tasks, clocks and sockets around the cores.
//!
//! | thread or task | file | owns |
//! |---|---|---|
//! | conductor thread | [`conductor`], `configure`, `interfaces`, `weigh`, `operator`, `report` | the state and the maps |
//! | advert thread | `advert` | the election's machine and sockets, the lease |
//! | history's thread | `history` | the file of the history, what peers lack of it |
//! | cluster channel's thread | `channel` | its socket, the program's events, the state of each peer |
//! | pollers and health checks | `poll`, `health` | a connection each |
//! | control socket | [`control`] | its listener |
//! | `node.channel` over TCP: stats for peers, pushes | `door`, [`push`] | its listener, the versions |
//! | ticker, signals, file watcher | `start`, `reload` | nothing |
//!
//! Everything that happens reaches the conductor as an [`event`], one after another.

pub mod access;
pub mod advert;
pub mod chronicle;
pub mod control;
pub mod flow_query;
pub mod glossary;
pub mod health;
pub mod history;
pub mod poll;
pub mod push;
pub mod status;

mod admission;
mod adopt;
mod asleep;
mod channel;
mod clock;
mod conductor;
mod configure;
mod denials;
mod door;
mod elected;
mod election_view;
mod event;
mod farewell;
mod interfaces;
mod known;
mod leaving;
mod led;
mod listeners;
mod members;
mod metrics;
mod operator;
mod orders;
mod outlets;
mod per_backend;
mod record;
mod reload;
mod reply_ways;
mod report;
mod start;
mod suspects;
mod suspicion;
mod sweep;
mod tunnel;
mod turnover;
mod watchdog;
mod web;
mod weigh;

pub use start::{cleanup, run};
