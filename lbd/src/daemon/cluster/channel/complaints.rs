//! What the log has of peers' failings: each kind once in a while, not once a datagram.
use std::{collections::BTreeMap, net::SocketAddr};

use crate::{
    channel::{PeerStatus, Refused},
    daemon::log_limiter::LogLimiter,
};

/// Between two complaints about refused datagrams.
const REFUSED_NS: u64 = 10_000_000_000;
/// Between two about what goes on for long: a table that is too small, a peer that sends too much.
const LONG_NS: u64 = 60_000_000_000;

/// When the log had what.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    log: LogLimiter<Kind>,
    no_room_told: u64,
    /// Of each peer by its name.
    floods_told: BTreeMap<String, u64>,
}

/// What a complaint is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Kind {
    Refused,
    NoRoom,
    Floods,
}

impl Complaints {
    /// For a channel that begins when so many flows have found no room already.
    pub(super) fn new(no_room: u64) -> Self {
        Self {
            no_room_told: no_room,
            ..Self::default()
        }
    }

    /// About a datagram that was refused.
    pub(super) fn refused(
        &mut self,
        from: SocketAddr,
        refused: Refused,
        now_ns: u64,
    ) -> Option<String> {
        // [`Self::floods`] says more of it.
        if refused == Refused::Flood || !self.log.allows(Kind::Refused, REFUSED_NS, now_ns) {
            return None;
        }
        Some(format!("refused a datagram from {from}: {refused}"))
    }

    /// About flows that found no room, of which there are so many: once for all of a table.
    pub(super) fn no_room(&mut self, no_room: u64, now_ns: u64) -> Option<String> {
        if no_room <= self.no_room_told || !self.log.allows(Kind::NoRoom, LONG_NS, now_ns) {
            return None;
        }
        let more = no_room - self.no_room_told;
        self.no_room_told = no_room;
        Some(format!(
            "{more} flows of peers did not fit in this node's table: if it becomes the master, only the ring chooses the backends of those sessions; raise node.flows and restart"
        ))
    }

    /// About each peer that has sent more than a peer may.
    pub(super) fn floods(&mut self, peers: &[PeerStatus], now_ns: u64) -> Vec<String> {
        if !self.log.is_due(&Kind::Floods, LONG_NS, now_ns) {
            return Vec::new();
        }
        let mut lines = Vec::new();
        for peer in peers.iter().filter(|peer| peer.refused_flood > 0) {
            let told = self
                .floods_told
                .insert(peer.name.clone(), peer.refused_flood);
            // It counts anew for a peer that was removed in between.
            let told = told.filter(|told| *told <= peer.refused_flood);
            let more = peer.refused_flood - told.unwrap_or(0);
            if more > 0 {
                let PeerStatus { name, address, .. } = peer;
                lines.push(format!(
                    "{more} datagrams from {name} ({address}) were refused, above the rate limit for a peer: check what runs there and restart its lbd; if it continues, another box has the key: change cluster.secret_file on all nodes"
                ));
            }
        }
        if !lines.is_empty() {
            self.log.allows(Kind::Floods, LONG_NS, now_ns);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, refused_flood: u64) -> PeerStatus {
        PeerStatus {
            tells_sessions: false,
            no_listener: crate::channel::NoListener::default(),
            checks: crate::channel::Checks::default(),
            name: name.to_owned(),
            address: "192.0.2.12:9426".parse().unwrap(),
            heard_ns: None,
            confirmed_ns: None,
            complete: true,
            edition: None,
            is_leaving: false,
            refused_flood,
            clock: None,
            station: None,
        }
    }

    #[test]
    fn a_flood_is_told_once_a_minute_with_the_peer_and_what_is_new() {
        let mut the = Complaints::default();
        let none: [String; 0] = [];
        assert_eq!(the.floods(&[peer("mx1", 0), peer("mx2", 0)], 0), none);
        let told = the.floods(&[peer("mx1", 0), peer("mx2", 5)], 1);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("5 datagrams from mx2 "), "{told:?}");
        let more = [peer("mx1", 0), peer("mx2", 12)];
        assert_eq!(the.floods(&more, LONG_NS), none);
        let told = the.floods(&more, LONG_NS + 1);
        assert!(told[0].starts_with("7 "), "{told:?}");
        assert_eq!(the.floods(&more, 3 * LONG_NS), none, "nothing new");
        let again = the.floods(&[peer("mx2", 3)], 3 * LONG_NS);
        assert!(
            again[0].starts_with("3 "),
            "a peer that was removed: {again:?}"
        );
    }

    #[test]
    fn what_is_refused_and_what_finds_no_room_is_told_once_in_a_while() {
        let mut the = Complaints::new(7);
        let from = "192.0.2.12:9426".parse().unwrap();
        assert_eq!(the.refused(from, Refused::Flood, 0), None);
        assert!(the.refused(from, Refused::Forged, 0).is_some());
        assert_eq!(the.refused(from, Refused::Forged, REFUSED_NS - 1), None);
        assert!(the.refused(from, Refused::Forged, REFUSED_NS).is_some());
        assert_eq!(the.no_room(7, 0), None, "of a channel before");
        assert!(the.no_room(9, 0).unwrap().starts_with("2 flows"));
        assert_eq!(the.no_room(10, LONG_NS - 1), None);
        assert!(the.no_room(10, LONG_NS).unwrap().starts_with("1 flows"));
    }
}
