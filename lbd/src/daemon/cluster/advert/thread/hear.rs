//! What the sockets received, and what of it is accepted.
use super::{PACKETS_A_TURN, Worker, now};
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
            let mut taken = 0;
            // A socket error (the interface went down) is the sender's and the host's to report.
            while let Ok(Some(packet)) = wire.next() {
                packets.push(packet);
                taken += 1;
                if taken == PACKETS_A_TURN {
                    drained = false;
                    break;
                }
            }
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
        match authenticator.verify(received, parsed, now()) {
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
            let mut taken = 0;
            while let Ok(Some(claim)) = listener.next() {
                claims.extend(claim);
                taken += 1;
                if taken == PACKETS_A_TURN {
                    drained = false;
                    break;
                }
            }
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
