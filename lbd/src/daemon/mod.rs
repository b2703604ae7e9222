//! The tasks, clocks and sockets around the cores.
//!
//! | folder | what is in it |
//! |---|---|
//! | [`lifecycle`] | start, reload, handover and cleanup |
//! | [`steering`] | where new sessions go: backends, health, weights, admission, the sweep |
//! | [`cluster`] | the other boxes: adverts, the cluster channel, pushes |
//! | [`operator`] | what people ask and order: control socket, overrides, denials, queries |
//! | [`observe`] | what people see: status, metrics, history, web pages |
//!
//! | thread or task | where | owns |
//! |---|---|---|
//! | event loop thread | [`event_loop`] | the state and the maps |
//! | advert thread | [`cluster::advert`] | the election's machine and sockets, the lease |
//! | VIP thread | `cluster::advert::address_mover` | the socket that adds and removes the virtual addresses |
//! | history's thread | [`observe::history`] | the file of the history, what peers lack of it |
//! | cluster channel's thread | `cluster::channel` | its socket, the program's events, the state of each peer |
//! | pollers and health checks | [`steering::poll`], [`steering::health`] | a connection each |
//! | netlink watcher | [`crate::host`] | the socket that tells of links and neighbours |
//! | control socket | [`operator::control`] | its listener; during `lbd trace`, the traced program's records |
//! | `node.channel` over TCP: stats for peers, pushes | `cluster::channel_tcp`, [`cluster::push`] | its listener, the versions |
//! | ticker, signals, file watcher | `lifecycle::start`, `lifecycle::reload` | nothing |
//!
//! The event loop's thread has one owner for each part of the state, and hands each event to the one it is
//! about, together with what it needs of the rest ([`context`]):
//!
//! | owner | what it has |
//! |---|---|
//! | [`steering::Steering`] | the backends, their figures and health, the policy, the sweep |
//! | [`cluster::Cluster`] | the channel, the election, the other boxes' MACs |
//! | [`operator::Operators`] | weight overrides, drains, denials, feeds |
//! | `observe::record::Observed` | the histories, `node.notify` |
//! | `lifecycle::running::Running` | the configuration that runs, its version |
//! | `lifecycle::interfaces::Interfaces` | `node.interfaces`, and whether the program is on them |
//! | `lifecycle::virtual_addresses::VirtualAddresses` | the virtual addresses on the loopback |
//!
//! Everything that happens reaches the event loop as an [`event`], one after another.

mod clock;
pub mod cluster;
mod context;
mod event;
mod event_loop;
mod lifecycle;
mod log_failure;
mod log_limiter;
pub mod observe;
pub mod operator;
pub mod steering;

pub use lifecycle::start::{cleanup, run};
