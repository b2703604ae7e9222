//! The sessions of this box's own kernel: into the tables, and to the peers.
use std::net::{IpAddr, SocketAddr};

use tracing::info;

use super::{EVENTS, Worker};
use crate::{
    channel::FlowRecord,
    daemon::{
        clock,
        cluster::channel::{Home, listeners::sentence, word},
    },
    dataplane::seen,
    flows::FlowKey as _,
    units::BackendId,
};

impl Worker {
    /// This box's own sessions end there from now on.
    pub(super) fn serve_from(&mut self, home: Option<Home>, now_ns: u64) {
        self.own_address = home.as_ref().map(|home| home.address);
        let records = self.own.follow(home);
        self.take_own(&records, now_ns);
        self.claim_elsewhere(&self.own.all_elsewhere(), now_ns);
        if let Some(own) = self.own_address.filter(|_| self.own.tells()) {
            // A flow of the time before this daemon has ended if the kernel has no session of it.
            self.listings.begin(own);
            for record in self.own.in_places(0, usize::MAX) {
                self.listings.note(own, &record);
            }
            self.end_unlisted(own);
        }
        let tells = self.own.tells();
        for id in self
            .own_address
            .into_iter()
            .flat_map(|own| self.id_map.ids_of_box(own))
        {
            self.tables.signs().set_speaks(id, tells);
        }
        if let Some(on) = &mut self.on {
            let hellos = on.channel.tell_sessions(tells, now_ns);
            self.perform(hellos);
        }
    }

    /// This box lives, and may tell of its own sessions.
    pub(super) fn note_own_sign(&self) {
        let (signs, tells, now_ns) = (self.tables.signs(), self.own.tells(), clock::monotonic_ns());
        let lacks = self.own.lacks();
        let bits = self.id_map.service_bits(&lacks.services);
        for id in self
            .own_address
            .into_iter()
            .flat_map(|own| self.id_map.ids_of_box(own))
        {
            signs.set_speaks(id, tells);
            signs.set_no_listener(id, bits, lacks.refuses);
            signs.heard(id, now_ns);
        }
    }

    /// What this box's own kernel has told; whether it told anything.
    pub(super) fn tell_own(&mut self, now_ns: u64) -> bool {
        let heard = self.own.hear(EVENTS);
        self.take_own(&heard.records, now_ns);
        self.claim_elsewhere(&heard.elsewhere, now_ns);
        heard.some
    }

    /// Takes sessions of these clients on other ports for those that directors have steered here.
    pub(super) fn claim_elsewhere(&mut self, clients: &[SocketAddr], now_ns: u64) {
        let Some(own) = self.own_address.filter(|_| !clients.is_empty()) else {
            return;
        };
        let services: Vec<(SocketAddr, u16)> = self
            .id_map
            .services()
            .filter_map(|vip| Some((vip, self.id_map.vip_id(vip)?)))
            .collect();
        let mut records = Vec::new();
        for client in clients {
            let is_steered_here = |id| {
                let known = self.tables.lookup(*client, id);
                known.is_some_and(|known| self.id_map.is_box(BackendId(known.backend), own))
            };
            let service = services.iter().find(|(_, id)| is_steered_here(*id));
            if let Some((vip, _)) = service {
                records.extend(self.own.claim(*client, *vip));
            }
        }
        self.take_own(&records, now_ns);
    }

    /// Puts what this box's own kernel says into the tables, and tells the peers.
    pub(super) fn take_own(&mut self, records: &[FlowRecord], now_ns: u64) {
        let Some(own) = self.own_address.filter(|_| !records.is_empty()) else {
            return;
        };
        self.learned.sessions_told += records.len() as u64;
        self.learn(own, records);
        if let Some(on) = &mut self.on {
            on.channel.queue(records, now_ns);
        }
    }

    pub(super) fn look_for_listeners(&mut self, now_ns: u64) {
        if !self.own.look_for_listeners(now_ns) {
            return;
        }
        let services: Vec<SocketAddr> = self.id_map.services().collect();
        let told = sentence("this box", self.own.lacks(), &services);
        info!(
            "{}",
            told.as_deref()
                .unwrap_or("this box listens for every service")
        );
        if let Some(on) = &mut self.on {
            let told = on.channel.tell_no_listener(self.own.lacks().clone());
            self.perform(told);
        }
    }

    /// For which services a box says that it has no listener.
    pub(super) fn lacks(&self, of: IpAddr) -> Vec<SocketAddr> {
        if self.own_address == Some(of) {
            return self.own.lacks().services.clone();
        }
        let peers = self.on.as_ref().map(|on| on.channel.peers());
        let peer = peers
            .into_iter()
            .flatten()
            .find(|peer| peer.address.ip() == of);
        peer.map_or_else(Vec::new, |peer| peer.no_listener.services)
    }

    /// Ends what a box is said to have, and its own list does not have.
    pub(super) fn end_unlisted(&mut self, of: IpAddr) {
        let Some(listed) = self.listings.complete(of) else {
            return;
        };
        let (id_map, now_seen) = (&self.id_map, seen(clock::monotonic_ns()));
        let is_its = |backend| id_map.is_box(backend, of);
        // Where nothing listens there, another stack may have the sessions.
        let lacks = self.lacks(of);
        let is_listed = |source, vip_id| {
            let vip = id_map.vip(vip_id);
            vip.is_none_or(|vip| lacks.contains(&vip) || listed.contains(&(source, vip)))
        };
        let (v4, v6, told) = (
            self.tables.v4(),
            self.tables.v6(),
            self.tables.box_sessions(),
        );
        let ended = word::end_unlisted(
            &v4,
            is_its,
            |key| is_listed(key.source(), key.vip_id()),
            now_seen,
            told,
        ) + word::end_unlisted(
            &v6,
            is_its,
            |key| is_listed(key.source(), key.vip_id()),
            now_seen,
            told,
        );
        self.learned.sessions_ended += ended;
    }
}
