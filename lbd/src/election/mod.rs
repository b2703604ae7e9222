//! Who is master: a machine without a clock.
//!
//! VRRPv3's election (RFC 9568, 6.4) with what keeps two boxes from answering at once, and what
//! keeps a box from going unserved: the data plane's *lease*, joint health, preemption that waits
//! for the flows, an announcement whenever a rival was heard.
//!
//! [`Machine::handle`] takes `now` and an [`Input`] and returns [`Output`]s, to be carried out in
//! order. Times are nanoseconds of one clock that counts suspended time (`CLOCK_BOOTTIME`), so
//! that a box that slept finds its lease over.
//!
//! # States
//! ```text
//!                          Start (nothing found)
//!     ┌─────────┐ ─────────────────────────────────▶ ┌────────┐
//!     │ Stopped │        Start (lease over): says 0  │ Backup │ ◀──────────────┐
//!     └─────────┘ ◀───────────────────────────────── └────────┘                │
//!       │     ▲            Stop, HandOver              │    ▲                 │
//!       │     │                                        │    │ cured           │ Yielded: a better master
//!       │     │ Stop: says 0,              MasterDown  │  ┌────────┐          │ LeaseLost: no advert could be
//!       │     │ releases the lease         MasterStopped  │ Faulty │          │   sent for three intervals
//!       │     │ HandOver: keeps it         MasterGone  │  └────────┘          │ Contested: adverts that it does
//!       │     │                            LeaseEnded  │    ▲  no data plane, │   not believe
//!       │     │                            Preempted   │    │  link down;     │ Rejoined: was cut off or paused
//!       │     │                                        ▼    │  a master says 0│   while another one served
//!       │     │                                      ┌────────┐                │
//!       │     └───────────────────────────────────── │ Master │ ───────────────┘
//!       └──────────────────────────────────────────▶ └────────┘
//!                 Start (lease held): Adopted
//! ```
//! The words on the arrows are those of [`Takeover`], [`WhyBackup`] and [`Fault`]; a backup that fails becomes
//! faulty as well. A master holds the lease, and renews it with each advert; in every other state it is
//! released, or left to end by itself.
//!
//! # One machine, two families
//! A cluster's IPv4 and IPv6 addresses move together: there is one machine, an advert goes out in
//! each family, and an advert of either family is heard. Equal priorities are decided by the
//! sender's address (RFC 9568, 6.4.3), but the order of two boxes' IPv4 addresses may be the
//! opposite of their IPv6 ones; if both counted, both boxes would yield, and then both take over.
//! So ties are decided in the *primary* family alone: IPv4 where the cluster has an IPv4 address,
//! else IPv6. A tie in the other family counts only where no tie was heard in the primary one for
//! a master-down interval: then the primary family does not pass between the two boxes.

mod announce;
mod config;
mod counters;
mod event;
mod machine;
pub mod timing;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

pub use config::{AnnounceConfig, Config, Families, Family};
pub use counters::Counters;
pub use event::{Fault, Found, Health, Heard, Input, Notice, Output, Takeover, WhyBackup};
pub use machine::{Leader, Machine, Role, Status};
