//! What is kept of every minute of every master, for reports, and how nodes come to have all of it.
//!
//! Pure. A [`Row`] is a fact of one node and one minute: that it was the master, what went to a
//! backend, who was denied, what happened. Its key names the node that saw it, so that rows of two
//! masters stand side by side, and a row that comes twice is one. What grows within its minute (the
//! seconds it covers) says which of two versions is the later one. So sets of rows can be joined in any
//! order, on any node, any number of times: nodes compare a digest for each hour, then for each minute
//! of those that differ, and ask for the minutes ([`sync`]).
mod message;
mod recorder;
mod row;
mod row_store;
pub mod sync;
mod wire;

#[cfg(test)]
pub(crate) use message::tests::any_message;
pub use message::{Message, parts};
pub use recorder::{BackendNow, Now, Recorder, Totals};
pub use row::{Denied, Happened, Refusal, Reigned, Row, Sample};
pub use row_store::{NameId, RowStore, StoredSample};

/// Minutes of an hour.
pub const HOUR: u32 = 60;
/// Minutes of a day of UTC.
pub const DAY: u32 = 24 * HOUR;

/// The minute of a moment, since 1970.
#[must_use]
pub fn minute_of(unix_s: u64) -> u32 {
    u32::try_from(unix_s / 60).unwrap_or(u32::MAX)
}

/// When a minute begins, in seconds since 1970.
#[must_use]
pub fn begin_of(minute: u32) -> u64 {
    u64::from(minute) * 60
}
