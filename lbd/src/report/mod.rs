//! A day's report: a pure function of the rows that are kept of it ([`crate::history`]).
//!
//! [`Report`] is plain data, which `lbd report --json` prints as it is; the command line has the
//! renderers for a terminal, a browser and a mail.
mod build;
mod day;
mod shut_off;
#[cfg(test)]
pub(crate) mod tests;
mod worst;

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use build::build;
pub use day::{Day, NoDay};

/// What happened on a day. The field names are a contract.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Report {
    /// `2026-01-31`, by the time zone.
    pub day: String,
    /// The box's time zone, as the day begins: `Europe/Berlin, UTC+01`.
    pub time_zone: String,
    /// When the day begins, in seconds since 1970.
    pub begin_unix_s: u64,
    /// When it ends: 23, 24 or 25 hours later.
    pub end_unix_s: u64,
    /// When the report was made.
    pub made_unix_s: u64,
    /// On which node.
    pub made_on: String,
    /// For how many seconds of the day, so far, some master has left figures.
    pub covered_s: u64,
    /// When none has: no master, or no node that could report it.
    pub gaps: Vec<Span>,
    /// All backends together.
    pub total: Total,
    /// Every backend, those with most sessions first.
    pub backends: Vec<BackendDay>,
    /// The day in hours.
    pub hours: Vec<Hour>,
    /// Spans in which a backend took no new sessions, in the order of time.
    pub shut_offs: Vec<ShutOff>,
    /// The masters, in the order of time.
    pub masters: Vec<Reign>,
    /// When mastership moved, or a master began anew.
    pub failovers: Vec<Failover>,
    /// Spans of more than five seconds in which two nodes were master. The masters' figures stand
    /// apart in `masters`; all others are sums.
    pub two_masters: Vec<TwoMasters>,
    /// Denied sources, those with most frames first.
    pub denied: Vec<DeniedSource>,
    /// The worst minutes, the worst first: those that cost sessions, then those with backends out of
    /// service, then those with the longest queues.
    pub worst_minutes: Vec<WorstMinute>,
    /// What happened besides, in the order of time; at most 200.
    pub events: Vec<Event>,
    /// Events beyond those.
    pub events_left_out: u64,
    /// Figures over the day, for plots.
    pub series: Series,
}

/// A span of time.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Span {
    /// Its begin, in seconds since 1970.
    pub from_unix_s: u64,
    /// Its end.
    pub to_unix_s: u64,
}

/// All backends together.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Total {
    /// Sessions that began.
    pub sessions: u64,
    /// Bytes that clients sent, with all headers.
    pub bytes: u64,
    /// The most open sessions in a minute.
    pub most_open: u64,
    /// That minute's begin.
    pub most_open_unix_s: u64,
    /// The longest queue of all backends together.
    pub longest_queue: u64,
    /// New sessions that no backend could take.
    pub turned_away: u64,
    /// Open sessions that were reset because their backend died.
    pub reset: u64,
    /// Frames of sources that a list or an operator denies.
    pub denied: u64,
    /// New connections above the rate that a source may open.
    pub rate_limited: u64,
}

/// A backend's day.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct BackendDay {
    /// As in the configuration.
    pub name: String,
    /// Sessions that began.
    pub sessions: u64,
    /// In percent of all backends' sessions.
    pub sessions_percent: f64,
    /// What its weight stood for in percent, as a mean over the day.
    pub weight_percent: f64,
    /// Bytes that clients sent, with all headers.
    pub bytes: u64,
    /// Open sessions, as a mean.
    pub mean_open: f64,
    /// The most at once.
    pub most_open: u64,
    /// The most unique sources at once.
    pub most_sources: u64,
    /// The longest queue; nothing when it never said.
    pub longest_queue: Option<u64>,
    /// For how many seconds it took no new sessions.
    pub off_s: u64,
    /// How many spans that were.
    pub shut_offs: u64,
}

/// An hour of the day.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Hour {
    /// Its begin, in seconds since 1970.
    pub begin_unix_s: u64,
    /// Sessions that began.
    pub sessions: u64,
    /// Bytes that clients sent.
    pub bytes: u64,
    /// The most open sessions in a minute.
    pub most_open: u64,
    /// The longest queue of all backends together.
    pub longest_queue: u64,
    /// The backend with most sessions beyond its weight's share.
    pub busiest: Option<String>,
    /// Its sessions in percent of what its weight stands for: 100 is balance.
    pub busiest_percent: Option<f64>,
}

/// A span in which a backend took no new sessions.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct ShutOff {
    /// The backend.
    pub backend: String,
    /// Its begin, in seconds since 1970.
    pub from_unix_s: u64,
    /// Its end.
    pub to_unix_s: u64,
    /// For how many seconds of it no new session was taken.
    pub off_s: u64,
    /// Whether it lasts until the last that is known.
    pub lasts: bool,
    /// The reason as a word: `drained`, `shut_off_above_average`.
    pub reason_kind: String,
    /// The reason as the log had it; the word where no sentence is known.
    pub reason: String,
}

/// A master's time.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Reign {
    /// The node.
    pub node: String,
    /// Since when within the day, in seconds since 1970.
    pub from_unix_s: u64,
    /// Until when, as far as is known: after a `kill -9` up to ten seconds more.
    pub to_unix_s: u64,
    /// Sessions that began under it.
    pub sessions: u64,
    /// Bytes under it.
    pub bytes: u64,
}

/// A change of master.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Failover {
    /// When the new one began.
    pub unix_s: u64,
    /// The master before it.
    pub from: String,
    /// The new one; the same node when its daemon began anew.
    pub to: String,
    /// For how many seconds at most there was no master: figures are kept every ten seconds.
    pub without_s_at_most: u64,
    /// What the new master said.
    pub why: String,
}

/// Two masters at once.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct TwoMasters {
    /// The one.
    pub node: String,
    /// The other.
    pub other: String,
    /// Begin.
    pub from_unix_s: u64,
    /// End.
    pub to_unix_s: u64,
}

/// A denied source.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct DeniedSource {
    /// Its address.
    pub source: IpAddr,
    /// `listed` or `rate`.
    pub why: String,
    /// Frames that were denied; an estimate where there were many.
    pub frames: u64,
    /// In how many minutes it was among the twenty with most.
    pub minutes: u64,
    /// The first of them, in seconds since 1970.
    pub first_unix_s: u64,
    /// The last of them.
    pub last_unix_s: u64,
}

/// A minute that went badly.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct WorstMinute {
    /// Its begin, in seconds since 1970.
    pub begin_unix_s: u64,
    /// New sessions that no backend could take.
    pub turned_away: u64,
    /// Open sessions that were reset because their backend died.
    pub reset: u64,
    /// Backends that took no new sessions.
    pub out_of_service: Vec<String>,
    /// The queue of all backends together.
    pub queued: u64,
    /// Sessions that began.
    pub sessions: u64,
    /// The most open sessions.
    pub most_open: u64,
}

/// Something that happened.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Event {
    /// When, in seconds since 1970.
    pub unix_s: u64,
    /// Which node saw it.
    pub node: String,
    /// `role`, `operator`, `health`, `config`, `link`.
    pub kind: String,
    /// A sentence.
    pub text: String,
}

/// Figures over the day. Every list has an entry for each step; nothing where no master was.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Series {
    /// Seconds of a step.
    pub step_s: u64,
    /// Each step's begin, in seconds since 1970.
    pub times_unix_s: Vec<u64>,
    /// A backend's, in the order of `backends`.
    pub backends: Vec<BackendSeries>,
}

/// A backend's figures over the day.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct BackendSeries {
    /// Its name.
    pub name: String,
    /// Sessions that began.
    pub sessions: Vec<Option<u64>>,
    /// The most open sessions.
    pub open: Vec<Option<u64>>,
    /// The longest queue.
    pub queued: Vec<Option<u64>>,
    /// Seconds without new sessions.
    pub off_s: Vec<Option<u64>>,
}
