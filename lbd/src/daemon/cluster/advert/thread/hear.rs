//! What the sockets received, and what of it is accepted.
use std::io;

use super::{PACKETS_A_TURN, Worker, moment};
use crate::{
    daemon::cluster::advert::{event::Notice, wire::Packet},
    election::{Heard, Input},
    vrrp::{
        Advert, AuthError, AuthMode, ChecksumForm, Parsed, Received, VrrpError,
        announce::AddressClaim,
    },
};

impl Worker {
    /// Hands in what the sockets hold. False when there is more.
    pub(super) fn hear(&mut self) -> bool {
        let mut packets = Vec::new();
        let mut drained = true;
        for wire in &self.wires {
            drained &= drain(|| wire.next(), |packet| packets.push(packet));
        }
        for packet in packets {
            if let Some(heard) = self.judge(&packet) {
                self.handle(Input::Advert(heard));
            }
        }
        drained
    }

    /// Whether a packet is an advert to be believed.
    fn judge(&mut self, packet: &Packet) -> Option<Heard> {
        let from = packet.source;
        let peers = &self.settings.unicast_peers;
        if !peers.is_empty() && !peers.contains(&from) {
            self.counters.not_a_peer += 1;
            self.notice(Notice::NotAPeer { from });
            return None;
        }
        let received = Received {
            source: from,
            destination: packet.destination,
            ttl: packet.ttl,
            payload: &packet.payload,
        };
        let parsed = match Advert::parse(&received, self.settings.virtual_router_id) {
            Ok(parsed) => parsed,
            Err(why) => {
                self.counters.count_bad(why);
                // Several virtual routers on a segment are quite ordinary.
                if !matches!(why, VrrpError::VirtualRouterId { .. }) {
                    self.notice(Notice::BadAdvert { from, why });
                }
                return None;
            }
        };
        if !self.believes(&received, &parsed) {
            return None;
        }
        match parsed.checksum {
            ChecksumForm::WithPseudoHeader => {
                self.counters.checksum_with_pseudo_header += 1;
            }
            ChecksumForm::MessageOnly => self.counters.checksum_message_only += 1,
        }
        let (theirs, ours) = (&parsed.advert.addresses, self.settings.advertised(from));
        if !theirs.same_set(&ours) {
            self.counters.other_addresses += 1;
            self.notice(match theirs.has_more_link_locals(&ours) {
                Some(theirs_has) => Notice::OtherLinkLocal { from, theirs_has },
                None => Notice::OtherAddresses { from },
            });
        }
        Some(Heard {
            from,
            priority: parsed.advert.priority,
            interval: parsed.advert.interval,
            leased: self.leased.contains(&from),
        })
    }

    /// Whether authentication, where it is on, lets it pass.
    fn believes(&mut self, received: &Received<'_>, parsed: &Parsed) -> bool {
        let Some(authenticator) = &mut self.authenticator else {
            return true;
        };
        let from = received.source;
        match authenticator.verify(received, parsed, moment()) {
            Ok(()) => self.has_believed = true,
            Err(why) => {
                self.counters.count_unbelieved(why);
                self.notice(Notice::Unauthenticated { from, why });
                let enforces = self
                    .settings
                    .authenticate
                    .as_ref()
                    .is_some_and(|auth| auth.mode == AuthMode::Enforce);
                // An advert without a trailer is ignored: anyone can send it.
                let is_signed = !matches!(why, AuthError::Missing | AuthError::Replay);
                if enforces && is_signed && !self.has_believed {
                    self.handle(Input::Unbelieved { from });
                }
                return false;
            }
        }
        true
    }

    /// The same of the ARP and neighbour advertisements: rivals' claims, and answers of boxes that
    /// were asked. False when there is more.
    pub(super) fn hear_claims(&mut self) -> bool {
        let mut claims: Vec<AddressClaim> = Vec::new();
        let mut drained = true;
        for listener in &self.listeners {
            drained &= drain(|| listener.next(), |claim| claims.extend(claim));
        }
        for AddressClaim { address, mac } in claims {
            let elsewhere = &self.settings.elsewhere;
            if mac == self.settings.interface.mac || elsewhere.iter().any(|vip| vip.mac == mac) {
                continue;
            }
            if self.settings.virtual_addresses.contains(&address) {
                self.handle(Input::RivalClaim { address });
                self.relay(address, mac);
            } else if self.asked == Some(address) || self.settings.witnesses.contains(&address) {
                self.handle(Input::Alive { address });
            }
        }
        drained
    }
}

/// Takes what a socket holds, at most [`PACKETS_A_TURN`] of it: a sender that is faster than this loop
/// would hold a thread of real-time priority for good. False when there may be more.
fn drain<T>(mut next: impl FnMut() -> io::Result<Option<T>>, mut take: impl FnMut(T)) -> bool {
    for _ in 0..PACKETS_A_TURN {
        // A socket error (the interface went down) is the sender's and the host's to report.
        let Ok(Some(packet)) = next() else {
            return true;
        };
        take(packet);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_any_length_is_taken_a_turn_at_a_time() {
        // Frames that claim nothing count as well.
        let mut claims: Vec<u32> = Vec::new();
        let mut flood = (0_u64..).map(|frame| Ok(Some((frame % 7 == 0).then_some(1))));
        let mut next = || flood.next().expect("it has no end");
        assert!(!drain(&mut next, |claim| claims.extend(claim)));
        assert_eq!(claims.len(), PACKETS_A_TURN.div_ceil(7));
        assert_eq!(next().unwrap(), Some(None), "the turn's last was the 64th");
    }

    #[test]
    fn a_socket_that_holds_less_or_fails_is_drained() {
        for last in [Ok(None), Err(io::Error::other("the interface went down"))] {
            let mut held = [Ok(Some(1)), Ok(Some(2)), last].into_iter();
            let mut taken = Vec::new();
            let next = || held.next().expect("no more is asked for");
            assert!(drain(next, |packet| taken.push(packet)));
            assert_eq!(taken, [1, 2]);
        }
    }
}
