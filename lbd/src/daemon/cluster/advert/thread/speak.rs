//! Adverts, announcements and questions.
use std::net::IpAddr;

use super::{Worker, boottime_ns, unix_ns};
use crate::{
    daemon::cluster::advert::{event::Notice, packet::Announcer},
    election::{Families, Family},
    units::{Mac, Priority},
    vrrp::{Advert, Interval, advert::fill_checksum},
};

impl Worker {
    /// Sends an advert in each family. False when it went out in none.
    pub(super) fn send(&mut self, priority: Priority, interval: Interval) -> bool {
        self.send_in(None, priority, interval)
    }

    /// Sends an advert in one family, or in each. False when it went out in none.
    pub(super) fn send_in(
        &mut self,
        family: Option<Family>,
        priority: Priority,
        interval: Interval,
    ) -> bool {
        let mut sent = false;
        let mut failed = Vec::new();
        for wire in &self.wires {
            let source = wire.source();
            if family.is_some_and(|family| family != Family::of(source)) {
                continue;
            }
            let advert = Advert {
                virtual_router_id: self.settings.virtual_router_id,
                priority,
                interval,
                addresses: self.settings.advertised(source),
            };
            let pdu_bytes = advert.emitted_bytes();
            advert.emit(&mut self.message);
            if let Some(authenticator) = &mut self.authenticator {
                authenticator.sign(&mut self.message, source, unix_ns());
            }
            let group = [wire.group()];
            let peers = &self.settings.unicast_peers;
            let destinations = if peers.is_empty() { &group[..] } else { peers };
            for &to in destinations {
                if to == source || to.is_ipv4() != source.is_ipv4() {
                    continue;
                }
                let form = self.settings.checksum;
                fill_checksum(&mut self.message, pdu_bytes, source, to, form);
                match wire.send(&self.message, to) {
                    Ok(()) => sent = true,
                    Err(error) => failed.push(Notice::NotSent { to, error }),
                }
            }
        }
        for notice in failed {
            self.notice(notice);
        }
        sent
    }

    /// Announces the addresses as soon as they are there: at once, unless we became master only now.
    pub(super) fn announce(&mut self) {
        self.announcement_waits = !self.addresses_by.is_done(self.held);
        if self.announcement_waits {
            return;
        }
        for vip in self.settings.placed() {
            self.with_packets(|packets| packets.announce(&vip));
        }
    }

    /// Says where a virtual address is that this node has yielded: the winner answered for it. Clients
    /// keep our MAC otherwise, for as long as their caches do, where the winner's has not moved (a
    /// router with a virtual MAC announces nothing then).
    pub(super) fn relay(&mut self, address: IpAddr, mac: Mac) {
        if self.machine.is_master() || !self.relays.allow(address, boottime_ns()) {
            return;
        }
        let placed = self.settings.placed();
        if let Some(vip) = placed.iter().find(|vip| vip.address == address) {
            self.with_packets(|packets| packets.announce_at(vip, mac));
        }
    }

    /// Announces what waited for its addresses.
    pub(super) fn announce_what_waits(&mut self) {
        if self.announcement_waits {
            self.announce();
        }
    }

    /// Probes the master's box and the witnesses.
    pub(super) fn probe(&mut self, master: IpAddr) {
        self.asked = Some(master);
        let witnesses = self.settings.witnesses.iter().copied();
        let asked: Vec<IpAddr> = witnesses
            .filter(|witness| *witness != master)
            .chain([master])
            .collect();
        self.ask(asked);
    }

    /// Asks all witnesses, or the next one.
    pub(super) fn ask_witnesses(&mut self, all: bool) {
        let witnesses = &self.settings.witnesses;
        let asked = if all {
            witnesses.clone()
        } else {
            self.witness = self.witness.wrapping_add(1);
            let turn = self.witness.checked_rem(witnesses.len()).unwrap_or(0);
            witnesses.iter().skip(turn).take(1).copied().collect()
        };
        self.ask(asked);
    }

    /// Asks who has the virtual addresses.
    pub(super) fn ask_addresses(&mut self) {
        self.ask(self.settings.virtual_addresses.clone());
    }

    fn ask(&mut self, asked: Vec<IpAddr>) {
        let interface = self.settings.interface.clone();
        let own = Families {
            v4: interface.v4,
            v6: interface.v6,
        };
        for address in asked {
            if let Some(own) = own.like(address) {
                self.with_packets(|packets| packets.ask(address, own, interface.mac).map(drop));
            }
        }
    }

    /// Sends on the packet socket, which is opened when there is none.
    fn with_packets(&mut self, send: impl FnOnce(&Announcer) -> std::io::Result<()>) {
        if self.packets.is_none() {
            match Announcer::open(self.settings.interface.ifindex) {
                Ok(packets) => self.packets = Some(packets),
                Err(error) => return self.notice(Notice::NoPacketSocket(error)),
            }
        }
        if let Some(packets) = &self.packets
            && let Err(error) = send(packets)
        {
            self.notice(Notice::NotAnnounced(error));
        }
    }
}
