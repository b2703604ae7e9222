//! `cluster.access`: who may open sessions.
use std::path::PathBuf;

use serde::Serialize;

use super::{address::Network, choice::choice};

choice! {
    /// What becomes of a connection that is denied.
    pub enum OnDeny {
        /// No answer.
        Drop = "drop",
        /// A RST.
        Reset = "reset",
    }
}

/// Lists and limits. The allow list is asked first and outranks the deny list and the rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Access {
    /// Default none.
    pub allow: Vec<Network>,
    /// Default none.
    pub deny: Vec<Network>,
    /// More to allow: a network a line, `#` begins a comment. Default `null`.
    pub allow_file: Option<PathBuf>,
    /// More to deny, in the same form. Default `null`.
    pub deny_file: Option<PathBuf>,
    /// Default `drop`.
    pub on_deny: OnDeny,
    /// New connections a second that one source may open: IPv4 /32, IPv6 /64. Default `null`: no limit.
    pub new_per_second: Option<u32>,
}
