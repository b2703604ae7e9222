//! Each stage's word.
use lbd_common::{
    counters::Reason,
    flow::{FlowWord, state},
    trace::{NO_BACKEND_ID, TraceRecord, about, kind},
};

use super::{Names, TracedCandidate, address_of, candidates, state_of};
use crate::units::Mac;

/// What the stages say of a frame, in their order.
pub(super) fn stages(record: &TraceRecord, names: &Names) -> Vec<String> {
    let mut told: Vec<String> = what(record).into_iter().collect();
    told.extend(known(record, names));
    // Refusals come before the choice, what became of the session after it.
    let all = Reason::ALL.iter().copied();
    let counted: Vec<Reason> = all.filter(|reason| record.has_counted(*reason)).collect();
    let refused = counted.iter().any(|reason| is_refusal(*reason));
    if !refused {
        told.extend(chosen(record, names));
    }
    told.extend(
        counted
            .iter()
            .filter_map(|reason| of(*reason, record, names)),
    );
    told.extend(to_whom(record, names));
    told.extend(changed(record));
    told
}

/// What the frame is, where it is no client's own segment.
fn what(record: &TraceRecord) -> Option<String> {
    let said = match record.kind {
        kind::SEGMENT if record.about & about::FROM_NODE != 0 => {
            if record.about & about::MARKED != 0 {
                "from another box of the cluster, marked"
            } else {
                "from another box of the cluster"
            }
        }
        kind::TUNNELLED => "in another box's tunnel",
        kind::REPLY => "a backend's reply",
        kind::ERROR => "an ICMP error about the session",
        kind::ERROR_REPLY => "an ICMP error for the client",
        kind::OTHER => {
            return Some(format!(
                "no whole TCP segment, IP protocol {}",
                record.flags
            ));
        }
        _ => return None,
    };
    Some(said.to_owned())
}

/// What the flow table has.
fn known(record: &TraceRecord, names: &Names) -> Option<String> {
    if record.vip_id == 0 {
        return None;
    }
    let word = FlowWord::from_bits(record.flow_before);
    let Some(state) = state_of(word) else {
        return Some("no session".to_owned());
    };
    let backend = names.backend(word.backend);
    let is_out = record.flow_weight_permille == 0;
    let out = if is_out {
        ", which takes no new ones"
    } else {
        ""
    };
    Some(format!("{} session with {backend}{out}", state.name()))
}

/// Whether the frame did not come as far as the ring.
fn is_refusal(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::PassOtherMac
            | Reason::PassOtherService
            | Reason::DropNotMaster
            | Reason::DropMalformed
            | Reason::DropFragment
            | Reason::DropDenied
            | Reason::DropOddSource
            | Reason::DropSynEarly
            | Reason::DropRateLimited
            | Reason::DropTunnelStranger
            | Reason::ResetNoWeight
            | Reason::ResetDoomed
            | Reason::ResetDenied
    )
}

/// The backends that the ring names.
fn chosen(record: &TraceRecord, names: &Names) -> Vec<String> {
    let candidates = candidates(record, names);
    let word = FlowWord::from_bits(record.flow_before);
    let stays = word.state != state::FREE && record.flow_after == record.flow_before;
    let is_up = record.action == 2
        && record.backend == NO_BACKEND_ID
        && !record.has_counted(Reason::SecondChance);
    let [first, second] = &candidates[..] else {
        return Vec::new();
    };
    if stays || is_up {
        return Vec::new();
    }
    let mut told = Vec::new();
    if record.about & about::FROM_NODE == 0 {
        told.push("allowed".to_owned());
    }
    told.push(if first == second {
        format!("candidate {}", one(first))
    } else {
        format!("candidates {} and {}", one(first), one(second))
    });
    told
}

fn one(candidate: &TracedCandidate) -> String {
    let TracedCandidate {
        backend,
        sessions,
        queued_sessions,
        weight,
        avoided,
        unresolved,
        full,
        passed_over,
    } = candidate;
    let over = passed_over.as_ref();
    let over = over.map_or_else(String::new, |name| {
        format!(" ({name} takes no new sessions)")
    });
    let Some(backend) = backend else {
        return format!("none{over}");
    };
    if *unresolved {
        return format!("{backend}, whose MAC is not known yet{over}");
    }
    if *full {
        return format!("{backend}, which has as many sessions as it may{over}");
    }
    let queued = match queued_sessions {
        0 => String::new(),
        queued => format!(" and {queued} for its queue"),
    };
    let avoided = if *avoided { ", avoided" } else { "" };
    format!("{backend} with {sessions} of {weight}{queued}{avoided}{over}")
}

/// What a counter says of this frame; nothing where another part of the line does.
fn of(reason: Reason, record: &TraceRecord, names: &Names) -> Option<String> {
    let flow = FlowWord::from_bits(record.flow_before).backend;
    let said = match reason {
        Reason::DropDenied | Reason::ResetDenied => {
            let client = address_of(record.family, record.client);
            let network = client.and_then(|client| names.denied_by(client));
            return Some(match network {
                Some(network) => format!("denied by {network}"),
                None => "denied by a list".to_owned(),
            });
        }
        Reason::DropNotMaster if record.about & about::MASTER != 0 => {
            "this box is the master, but its lease has run out"
        }
        Reason::DropUnresolved if FlowWord::from_bits(record.flow_before).state != state::FREE => {
            return Some(format!(
                "the MAC of {} is not known yet",
                names.backend(flow)
            ));
        }
        Reason::ResetDead => {
            return Some(format!("{} is dead: reset", names.backend(flow)));
        }
        Reason::PassMalformed => "its headers cannot be read",
        Reason::PassOtherMac => "addressed to another box's MAC",
        Reason::PassOtherService => "not for us: no such service here",
        Reason::PassFromNode => "steered here by another box",
        Reason::PassNeighbour | Reason::DropNeighbour => "asks for the virtual address's MAC",
        Reason::DropNotMaster => "this box is not the master",
        Reason::DropMalformed => "impossible lengths or headers",
        Reason::DropFragment => {
            "a part of a packet whose first part was not seen, or of no proven session"
        }
        Reason::FragmentFollowed => "a later part, which follows the first",
        Reason::DropUnresolved => "the backend's MAC is not known yet",
        Reason::DropNoBackend => "the ring has no backend for it",
        Reason::DropOddSource => "no client has this address",
        Reason::DropSynEarly => "its port's session ends just now: the client sends the SYN again",
        Reason::DropRateLimited => "above the rate that a source may open",
        Reason::DropNoDevice => "the backend is behind an interface that lbd does not run on",
        Reason::DropRewriteFailed => "it could not be changed for its backend",
        Reason::DropTunnelStranger => "the tunnel's sender is no box of the cluster",
        Reason::DropTooBig => "too big for the tunnel",
        Reason::DropNoResetForReset => "a reset is not answered with a reset",
        Reason::ResetNoWeight => "all weights are 0: reset",
        Reason::ResetFull => "every backend has as many sessions as it may: reset",
        Reason::ResetDoomed => "the session was ended here: reset",
        Reason::FlowNoRoom => "no room in the flow table",
        Reason::FlowAdopted => "adopted in mid-session",
        Reason::StatelessMidFlow => "in mid-session, by the ring alone",
        Reason::StatelessFlood => "a SYN flood lasts: by the ring alone",
        Reason::SecondChance => "no socket of it here: handed on to the other candidate",
        Reason::SecondChanceFound => "handed on to this box, which has the session",
        Reason::PassNoSession => "no box has the session",
        Reason::IcmpSteered => "goes where the session is",
        Reason::PassIcmpUnknown => "about no known session",
        Reason::IcmpTooBig => "too big for the tunnel: answered with ICMP",
        Reason::Decapsulated => "taken out of the tunnel",
        Reason::NatReply => "translated back",
        Reason::DropNatNoNeighbour => "the next hop's MAC is not known yet",
        Reason::DropNatUnrouted => "there is no route to the client",
        Reason::DropNatTwin => "the client's port is in use with this backend already",
        Reason::DropNatNoFlow => "no room in the flow table, which nat needs",
        Reason::SynUnanswered => "its SYN was not answered",
        Reason::SynMoved => "tries the other candidate",
        Reason::FlowOpened | Reason::FlowClosed | Reason::FlowDisplaced | Reason::EventLost => {
            return None;
        }
    };
    Some(said.to_owned())
}

/// The backend that the frame went to.
fn to_whom(record: &TraceRecord, names: &Names) -> Option<String> {
    let id = if record.backend != NO_BACKEND_ID {
        record.backend
    } else if record.has_counted(Reason::SecondChance) {
        let both = record.candidates.iter().map(|candidate| candidate.id);
        both.filter(|id| *id != NO_BACKEND_ID)
            .find(|id| !names.is_local(*id))?
    } else {
        return None;
    };
    let (before, after) = (
        FlowWord::from_bits(record.flow_before),
        FlowWord::from_bits(record.flow_after),
    );
    let begins = after.state == state::HALF_OPEN && record.flow_after != record.flow_before;
    let verb = if begins { "takes" } else { "to" };
    if !begins && before.state != state::FREE && before.backend == id {
        return None;
    }
    Some(format!("{verb} {}", names.backend(id)))
}

/// The session's new state.
fn changed(record: &TraceRecord) -> Option<String> {
    let (before, after) = (
        FlowWord::from_bits(record.flow_before),
        FlowWord::from_bits(record.flow_after),
    );
    let begins = before.state == state::FREE && after.state == state::HALF_OPEN;
    if before.state == after.state || begins {
        return None;
    }
    state_of(after).map(|state| format!("now {}", state.name()))
}

/// What was rewritten.
pub(super) fn rewritten(record: &TraceRecord) -> Vec<String> {
    let mut told = Vec::new();
    if !matches!(record.action, 2..=4) {
        return told;
    }
    if record.macs_after != record.macs_before {
        told.push(format!("MAC {}", destination(record.macs_after)));
    }
    let end = |words, port_be| {
        let address = address_of(record.family_after, words)?;
        Some((address, u16::from_be(port_be)))
    };
    let source = end(record.source_after, record.source_port_after_be);
    let to = end(record.destination_after, record.destination_port_after_be);
    let (Some((source, source_port)), Some((to, port))) = (source, to) else {
        return told;
    };
    let client = address_of(record.family, record.client);
    let vip = address_of(record.family, record.vip);
    let resets = [
        Reason::ResetNoWeight,
        Reason::ResetFull,
        Reason::ResetDead,
        Reason::ResetDoomed,
        Reason::ResetDenied,
    ];
    if resets.iter().any(|reason| record.has_counted(*reason)) {
        told.push("answered with RST".to_owned());
    } else if record.kind == kind::SEGMENT && record.length_after > record.length_before {
        told.push(format!("in a tunnel from {source} to {to}"));
    } else if record.kind == kind::SEGMENT && Some(to) != vip && Some(source) == client {
        told.push(format!("destination {}", with_port(to, port)));
    } else if record.kind == kind::REPLY && Some(source) == vip {
        told.push(format!("source {}", with_port(source, source_port)));
    }
    told
}

fn with_port(address: std::net::IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

/// The first of both MACs.
fn destination([first, second, _]: [u32; 3]) -> Mac {
    let mut mac = Mac::default();
    mac.0[..4].copy_from_slice(&first.to_ne_bytes());
    mac.0[4..].copy_from_slice(&second.to_ne_bytes()[..2]);
    mac
}
