//! A small SMTP server and client, so that a demonstration needs no mail system.
//!
//! The server keeps a real spool folder, in Postfix's layout, for the real agent to count.
pub mod client;
pub mod held;
pub mod server;
pub mod spool;
pub mod tally;
pub mod traffic;
