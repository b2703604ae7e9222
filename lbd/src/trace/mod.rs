//! What a traced frame's record says, in words and as JSON: `lbd trace`.
//!
//! Pure: records and names come in, lines go out. The words name the stages in the order in which the
//! program takes them; [`lbd_common::trace`] says what was read when.
mod words;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use jiff::Timestamp;
use lbd_common::{
    counters::Reason,
    flow::{FlowWord, state},
    trace::{FULL, NO_BACKEND_ID, TraceRecord, UNRESOLVED, about, kind},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{config::Network, dataplane::address, flows::FlowState};

/// What numbers in a record stand for.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The backends by id.
    pub backends: BTreeMap<u16, BackendName>,
    /// The interfaces by number.
    pub interfaces: BTreeMap<u32, String>,
    /// The networks that are denied.
    pub denied: BTreeSet<Network>,
    /// When the box was booted, in nanoseconds since 1970.
    pub booted_unix_ns: u64,
}

/// A backend.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BackendName {
    /// Its name.
    pub name: String,
    /// Whether it is this box.
    pub is_local: bool,
}

/// A line of `lbd trace --json`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceLine {
    /// A frame, decided.
    Frame(Box<TracedFrame>),
    /// The last line.
    End(TraceEnd),
}

/// Why and with what the trace ended.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct TraceEnd {
    /// Frames that were told.
    pub frames: u64,
    /// Matching frames that were left out, because more came than the limit allows.
    pub left_out: u64,
    /// Why it ended.
    pub why: String,
}

/// What a frame was, why it went where it went, and what it became.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct TracedFrame {
    /// When it came: RFC 3339, UTC.
    pub time: String,
    /// What it is.
    pub kind: FrameKind,
    /// The client's address and port; of a frame without a TCP header port 0.
    pub client: SocketAddr,
    /// The virtual address and port, likewise.
    pub vip: SocketAddr,
    /// The TCP flags that are set.
    pub flags: Vec<String>,
    /// The interface that it came in by.
    pub interface: String,
    /// The client's session before the frame.
    pub session: Option<TracedSession>,
    /// The same after it.
    pub session_after: Option<TracedSession>,
    /// The session's ring candidates, where the frame has none or begins anew.
    pub candidates: Vec<TracedCandidate>,
    /// The backend that it was counted for.
    pub backend: Option<String>,
    /// The counters that went up, by name.
    pub counted: Vec<String>,
    /// Each stage's word, in their order.
    pub stages: Vec<String>,
    /// What was rewritten.
    pub rewritten: Vec<String>,
    /// What became of it.
    pub action: Action,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrameKind {
    /// A TCP segment for a virtual address.
    Segment,
    /// The same out of the tunnel of another box.
    Tunnelled,
    /// A segment of a `nat` backend for the client.
    Reply,
    /// An ICMP error about what the virtual address has sent.
    Error,
    /// An ICMP error about what the client has sent to a `nat` backend.
    ErrorReply,
    /// Anything else for a virtual address.
    Other,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is gone.
    Dropped,
    /// It went up this box's own stack.
    PassedUp,
    /// It left by the interface that it came in by.
    SentBack,
    /// It left by another interface.
    SentOut,
}

/// A session in the flow table.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct TracedSession {
    /// The backend that has it.
    pub backend: String,
    /// `half-open`, `unproven`, `established`, `closing`, `ended` or `doomed`.
    pub state: String,
}

/// The backend that the ring names for a session.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct TracedCandidate {
    /// The first backend from the session's place in the ring on that may take it, else one that could but for
    /// what is said below; nothing if there is none.
    pub backend: Option<String>,
    /// Its live sessions.
    pub sessions: u64,
    /// What its queue counts for, in sessions.
    pub queued_sessions: u32,
    /// Its effective weight.
    pub weight: f64,
    /// Its box is silent, or nothing listens there.
    pub avoided: bool,
    /// It cannot take it: its MAC is not known yet.
    pub unresolved: bool,
    /// It cannot take it: it has as many sessions as it may.
    pub full: bool,
    /// The backend in the place itself, which was passed over.
    pub passed_over: Option<String>,
}

impl Names {
    fn backend(&self, id: u16) -> String {
        let known = self.backends.get(&id).map(|backend| backend.name.clone());
        known.unwrap_or_else(|| format!("backend {id}"))
    }

    fn is_local(&self, id: u16) -> bool {
        let known = self.backends.get(&id);
        known.is_some_and(|backend| backend.is_local)
    }

    /// The smallest denied network that holds an address.
    fn denied_by(&self, address: IpAddr) -> Option<Network> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (0..=longest)
            .rev()
            .map(|bits| Network::of(address, bits))
            .find(|network| self.denied.contains(network))
    }

    fn interface(&self, ifindex: u32) -> String {
        let known = self.interfaces.get(&ifindex).cloned();
        known.unwrap_or_else(|| format!("interface {ifindex}"))
    }
}

/// Puts a record into words. `None` for one that no program of this version writes.
#[must_use]
pub fn frame(record: &TraceRecord, names: &Names) -> Option<TracedFrame> {
    let kind = match record.kind {
        kind::SEGMENT => FrameKind::Segment,
        kind::TUNNELLED => FrameKind::Tunnelled,
        kind::REPLY => FrameKind::Reply,
        kind::ERROR => FrameKind::Error,
        kind::ERROR_REPLY => FrameKind::ErrorReply,
        kind::OTHER => FrameKind::Other,
        _ => return None,
    };
    let end = |words, port_be| {
        let address = address_of(record.family, words)?;
        Some(SocketAddr::new(address, u16::from_be(port_be)))
    };
    let at_ns = names.booted_unix_ns.saturating_add(record.at_ns);
    let time = Timestamp::from_nanosecond(at_ns.into()).ok()?;
    let counted = Reason::ALL.iter().copied();
    let counted = counted.filter(|reason| record.has_counted(*reason));
    Some(TracedFrame {
        time: format!("{time:.6}"),
        kind,
        client: end(record.client, record.client_port_be)?,
        vip: end(record.vip, record.vip_port_be)?,
        flags: match kind {
            FrameKind::Segment | FrameKind::Tunnelled | FrameKind::Reply => flags(record.flags),
            _ => Vec::new(),
        },
        interface: names.interface(record.ifindex),
        session: session(record.flow_before, names),
        session_after: session(record.flow_after, names),
        candidates: candidates(record, names),
        backend: (record.backend != NO_BACKEND_ID).then(|| names.backend(record.backend)),
        counted: counted.map(|reason| reason.name().to_owned()).collect(),
        stages: words::stages(record, names),
        rewritten: words::rewritten(record),
        action: match record.action {
            2 => Action::PassedUp,
            3 => Action::SentBack,
            4 => Action::SentOut,
            _ => Action::Dropped,
        },
    })
}

/// A frame as a line for people.
#[must_use]
pub fn line(frame: &TracedFrame) -> String {
    let (from, to) = match frame.kind {
        FrameKind::Reply | FrameKind::ErrorReply => (frame.vip, frame.client),
        _ => (frame.client, frame.vip),
    };
    let flags = if frame.flags.is_empty() {
        String::new()
    } else {
        format!(" {}", frame.flags.join(","))
    };
    let mut told = frame.stages.clone();
    told.extend(frame.rewritten.iter().cloned());
    told.push(match frame.action {
        Action::Dropped => "dropped".to_owned(),
        Action::PassedUp => "passed up".to_owned(),
        Action::SentBack => format!("sent out of {}", frame.interface),
        Action::SentOut => "sent out of another interface".to_owned(),
    });
    format!("{} {from} > {to}{flags}: {}", frame.time, told.join("; "))
}

impl TraceEnd {
    /// The closing line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let Self {
            frames,
            left_out,
            why,
        } = self;
        let out = if *left_out == 0 {
            String::new()
        } else {
            format!(", {left_out} more left out above the limit: narrow the filter")
        };
        format!("{frames} frames{out}; {why}")
    }
}

/// An address of a record.
fn address_of(family: u8, words: [u32; 4]) -> Option<IpAddr> {
    address::from_words(family.into(), words)
}

/// The state of a client's flow; `None` if there is none.
fn state_of(word: FlowWord) -> Option<FlowState> {
    (word.state != state::FREE).then(|| FlowState::of(word))
}

fn flags(bits: u8) -> Vec<String> {
    let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    let set = names
        .iter()
        .enumerate()
        .filter(|(at, _)| bits & 1 << at != 0);
    set.map(|(_, name)| (*name).to_owned()).collect()
}

fn session(bits: u64, names: &Names) -> Option<TracedSession> {
    let word = FlowWord::from_bits(bits);
    let state = state_of(word)?;
    Some(TracedSession {
        backend: names.backend(word.backend),
        state: state.name().to_owned(),
    })
}

fn candidates(record: &TraceRecord, names: &Names) -> Vec<TracedCandidate> {
    if record.about & about::CANDIDATES == 0 {
        return Vec::new();
    }
    let avoided = [about::FIRST_AVOIDED, about::SECOND_AVOIDED];
    let both = record.candidates.iter().zip(avoided);
    both.map(|(candidate, avoided)| {
        let id = match candidate.id {
            UNRESOLVED | FULL => candidate.kept_out,
            id => id,
        };
        let is_other = candidate.in_ring != NO_BACKEND_ID && candidate.in_ring != id;
        TracedCandidate {
            backend: (id != NO_BACKEND_ID).then(|| names.backend(id)),
            sessions: candidate.load,
            queued_sessions: candidate.queued_sessions,
            weight: f64::from(candidate.weight_permille) / 1000.0,
            avoided: record.about & avoided != 0,
            unresolved: candidate.id == UNRESOLVED,
            full: candidate.id == FULL,
            passed_over: is_other.then(|| names.backend(candidate.in_ring)),
        }
    })
    .collect()
}
