//! `EVENTS`: what the program tells about sessions.
use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
};

use aya::maps::{MapData, RingBuf};
use lbd_common::event::{FlowEvent, kind};

use super::{address, plain::Plain as _};
use crate::units::BackendId;

/// What happened to a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventKind {
    /// The client's SYN was steered.
    Opening,
    /// The client's first ACK was seen.
    Opened,
    /// It is proven: the backend has answered through this box, or its client went on for long enough.
    Proven,
    /// The client's FIN or RST was seen.
    Closed,
    /// A reply of a `nat` backend found no MAC on its way to the client; only the client's address
    /// has a meaning.
    NoNeighbour,
    /// A frame of a source that a list denies; not each is told of.
    Denied,
    /// A SYN above the rate that a source may open; likewise.
    RateLimited,
}

/// A session that was opened or closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The client.
    pub source: SocketAddr,
    /// The id of the virtual address and port.
    pub vip_id: u16,
    /// The backend that has the session.
    pub backend: BackendId,
}

/// Reads a [`FlowEvent`]; `None` when its fields are none that the program writes.
pub fn decode(event: &FlowEvent) -> Option<Event> {
    let kind = match event.kind {
        kind::OPENING => EventKind::Opening,
        kind::OPENED => EventKind::Opened,
        kind::CLOSED => EventKind::Closed,
        kind::PROVEN => EventKind::Proven,
        kind::NO_NEIGHBOUR => EventKind::NoNeighbour,
        kind::DENIED => EventKind::Denied,
        kind::RATE_LIMITED => EventKind::RateLimited,
        _ => return None,
    };
    let source: IpAddr = address::from_words(u32::from(event.family), event.source)?;
    Some(Event {
        kind,
        source: SocketAddr::new(source, u16::from_be(event.port_be)),
        vip_id: event.vip_id,
        backend: BackendId(event.backend),
    })
}

/// The ring buffer's reader. As an iterator it ends when nothing is there; ask it again later. Its
/// descriptor becomes readable for a new session; an end wakes no reader.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl Events {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            let item = self.ring.next()?;
            let event = (item.len() >= size_of::<FlowEvent>())
                .then(|| FlowEvent::read_from(&item))
                .and_then(|event| decode(&event));
            // An entry that is not an event is skipped: the pinned layout (`ABI_VERSION`) rules it out.
            if event.is_some() {
                return event;
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENED: FlowEvent = FlowEvent {
        source: [u32::from_ne_bytes([198, 51, 100, 7]), 0, 0, 0],
        port_be: 40_000_u16.to_be(),
        vip_id: 3,
        backend: 2,
        family: 4,
        kind: kind::OPENED,
    };

    #[test]
    fn an_entry_becomes_an_event() {
        let expected = Event {
            kind: EventKind::Opened,
            source: "198.51.100.7:40000".parse().unwrap(),
            vip_id: 3,
            backend: BackendId(2),
        };
        assert_eq!(decode(&OPENED), Some(expected));
    }

    #[test]
    fn an_unknown_kind_or_family_is_no_event() {
        assert_eq!(decode(&FlowEvent { kind: 9, ..OPENED }), None);
        assert_eq!(
            decode(&FlowEvent {
                family: 5,
                ..OPENED
            }),
            None
        );
    }
}
