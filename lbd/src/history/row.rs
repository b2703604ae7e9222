//! What a row says.
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A fact of one node and one minute.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// It was the master.
    Reigned(Reigned),
    /// What went to a backend.
    Sample(Sample),
    /// It denied a source.
    Denied(Denied),
    /// Something happened.
    Happened(Happened),
}

/// A minute in which a node was the master.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reigned {
    /// The master.
    pub node: String,
    /// When it became master, in seconds since 1970: which of its reigns.
    pub since_unix_s: u64,
    /// Minutes since 1970.
    pub minute: u32,
    /// How many of the minute's seconds it was the master, 1 to 60.
    pub seconds: u8,
    /// Frames of sources that a list denies.
    pub denied: u64,
    /// New connections above the rate that a source may open.
    pub rate_limited: u64,
    /// New sessions that no backend could take.
    pub turned_away: u64,
    /// Open sessions that were reset because their backend died.
    pub reset: u64,
}

/// What went to a backend in a minute of a reign. `N` is what stands for a name.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sample<N = String> {
    /// The master.
    pub node: N,
    /// Which of its reigns.
    pub since_unix_s: u64,
    /// Minutes since 1970.
    pub minute: u32,
    /// The backend's name.
    pub backend: N,
    /// How many of the minute's seconds this is about, 1 to 60.
    pub seconds: u8,
    /// Sessions that began.
    pub opened: u64,
    /// Bytes of clients' frames, Ethernet header included.
    pub bytes: u64,
    /// Open sessions, as a mean over these seconds.
    pub sessions: u32,
    /// The most at once.
    pub sessions_max: u32,
    /// The most unique sources at once.
    pub sources: u32,
    /// The longest queue it reported; nothing when it does not say.
    pub queued: Option<u32>,
    /// Effective weight in thousandths, as a mean.
    pub weight_permille: u32,
    /// For how many of the seconds it took no new sessions.
    pub off_s: u8,
    /// Why it was out of service, else why the weight was what it was, as a word: `normal`, `drained`.
    pub reason: N,
}

impl<N> Sample<N> {
    /// The same with something else for each name.
    pub(super) fn with_names<M>(&self, name: impl Fn(&N) -> M) -> Sample<M> {
        Sample {
            node: name(&self.node),
            since_unix_s: self.since_unix_s,
            minute: self.minute,
            backend: name(&self.backend),
            seconds: self.seconds,
            opened: self.opened,
            bytes: self.bytes,
            sessions: self.sessions,
            sessions_max: self.sessions_max,
            sources: self.sources,
            queued: self.queued,
            weight_permille: self.weight_permille,
            off_s: self.off_s,
            reason: name(&self.reason),
        }
    }
}

/// Why a source was denied.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// A list has it, or an operator's denial.
    Listed,
    /// It opened more sessions in a second than a source may.
    Rate,
}

/// A denied source in a minute.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Denied {
    /// The master.
    pub node: String,
    /// Minutes since 1970.
    pub minute: u32,
    /// Who.
    pub source: IpAddr,
    /// Why.
    pub refusal: Refusal,
    /// Frames, as estimated from those that the program told of.
    pub frames: u64,
}

/// Something that happened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Happened {
    /// The node that saw it.
    pub node: String,
    /// When, in seconds since 1970.
    pub unix_s: u64,
    /// What about, as a word: `shut-off`, `role`.
    pub kind: String,
    /// The backend or interface, when it is about one; else empty.
    pub subject: String,
    /// A sentence.
    pub text: String,
    /// Whether the node was the master then.
    pub as_master: bool,
}

impl Row {
    /// The node that saw it.
    #[must_use]
    pub fn node(&self) -> &str {
        match self {
            Self::Reigned(row) => &row.node,
            Self::Sample(row) => &row.node,
            Self::Denied(row) => &row.node,
            Self::Happened(row) => &row.node,
        }
    }

    /// Its minute since 1970.
    #[must_use]
    pub fn minute(&self) -> u32 {
        match self {
            Self::Reigned(row) => row.minute,
            Self::Sample(row) => row.minute,
            Self::Denied(row) => row.minute,
            Self::Happened(row) => super::minute_of(row.unix_s),
        }
    }
}
