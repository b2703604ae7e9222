//! The health check's SMTP dialogue, without a socket.
//!
//! [`Dialogue`] says what to send and how long to wait; the shell feeds it what arrived. It ends
//! with a [`Verdict`], of which [`RiseFall`] makes the backend's [`Health`]. No message is ever
//! sent: the dialogue has no DATA in it.

mod dialogue;
mod reply;
mod rise_fall;
mod verdict;

pub use dialogue::{Action, Dialogue, Envelope, Settings, Timeouts, Tls};
pub use reply::{MAX_LINE_BYTES, MAX_LINES};
pub use rise_fall::{Health, RiseFall};
pub use verdict::{NoConnection, Reason, Stage, Verdict};
