//! The other boxes: adverts, the cluster channel and pushes of the configuration.
pub mod advert;
pub(in crate::daemon) mod channel;
pub(in crate::daemon) mod channel_tcp;
pub(in crate::daemon) mod elected;
pub(in crate::daemon) mod election_view;
mod joining;
pub(in crate::daemon) mod known;
pub mod push;
mod session_teller;
pub(in crate::daemon) mod stations;

pub use session_teller::SessionTeller;

use tracing::warn;

use self::{
    advert::Command, channel::ChannelHandle, election_view::ElectionView, known::Known,
    stations::Stations,
};
use super::{
    clock,
    log_failure::log_failure,
    steering::{backend_tasks::BackendTasks, members::Members},
};
use crate::{
    channel::Station,
    config::{Authentication, Config},
    dataplane::DataPlane,
    election::Leader,
    host::links::Links,
    units::Mac,
};

/// What this node knows of the others, and what it tells them.
#[derive(Debug)]
pub(in crate::daemon) struct Cluster {
    pub(in crate::daemon) channel: ChannelHandle,
    pub(in crate::daemon) election: ElectionView,
    /// What the nodes have told of their MACs.
    pub(in crate::daemon) stations: Stations,
    /// The boxes of the cluster, for what listens.
    pub(in crate::daemon) known: Known,
    /// The cluster's link-layer addresses changed. Written at the next tick, once for a thousand
    /// of them.
    nodes_stale: bool,
    /// As the program counts them; `None` before the first look.
    events_lost: Option<u64>,
}

impl Cluster {
    /// A node that has not heard of another.
    pub(in crate::daemon) fn new(channel: ChannelHandle, now_ns: u64) -> Self {
        Self {
            channel,
            election: ElectionView::starting(now_ns),
            stations: Stations::starting(now_ns),
            known: Known::default(),
            nodes_stale: false,
            events_lost: None,
        }
    }

    /// Tells the channel which ids there are.
    pub(in crate::daemon) fn follow_ids(&mut self, config: &Config, plane: &DataPlane) {
        let id_map = channel::IdMap::new(&plane.services(), plane.backend_ids());
        self.channel.follow(config, id_map);
        self.tell_station(config);
    }

    /// Tells the peers with which MACs this box sends, and which of them stands for the address that they
    /// know it by.
    pub(in crate::daemon) fn tell_station(&self, config: &Config) {
        let station = station(config).map(|station| self.channel.tell_station(station));
        log_failure("what the peers are told of this box's MACs", station);
    }

    /// Events that the XDP program lost are still in its tables: peers must resync those.
    pub(in crate::daemon) fn look_for_lost_events(&mut self, plane: &DataPlane) {
        let Ok(counters) = plane.counters() else {
            return;
        };
        let before = self.events_lost.replace(counters.event_lost);
        let before = before.unwrap_or(counters.event_lost);
        let lost = counters.event_lost.saturating_sub(before);
        if lost > 0 {
            warn!(
                "{lost} session events were lost because the ring buffer was full: peers will resync the whole table"
            );
            self.channel.note_lost_events();
        }
    }

    /// The map of the cluster's link-layer addresses has to be written.
    pub(in crate::daemon) fn mark_nodes_stale(&mut self) {
        self.nodes_stale = true;
    }

    /// Whether it has to be written, which the caller then does.
    pub(in crate::daemon) fn take_nodes_stale(&mut self) -> bool {
        std::mem::take(&mut self.nodes_stale)
    }

    /// Takes in what the peers have told of their MACs.
    pub(in crate::daemon) fn take_stations(&mut self, backend_tasks: &BackendTasks, now_ns: u64) {
        if self.stations.take(self.channel.stations(), now_ns) {
            self.nodes_stale = true;
            backend_tasks.vouch(self.stations.vouched());
        }
    }

    /// The MACs whose frames were steered already.
    pub(in crate::daemon) fn node_macs(&mut self, config: &Config, members: &Members) -> Vec<Mac> {
        let is_proven =
            self.channel.is_on() && config.cluster.authentication == Authentication::Enforce;
        if !is_proven {
            return self.stations.node_macs(&members.neighbours(false));
        }
        if !self.stations.is_mute(clock::boottime_ns()) {
            return self.stations.node_macs(&[]);
        }
        let neighbours = members.neighbours(true);
        if !neighbours.is_empty()
            && let Some(said) = self.stations.say_mute()
        {
            warn!("{said}");
        }
        self.stations.node_macs(&neighbours)
    }

    /// Tells the election which masters hold leases: those that the channel hears.
    pub(in crate::daemon) fn tell_election_of_peers(&mut self, now_ns: u64) {
        let peers = self.channel.live(now_ns);
        self.election.tell_leased(peers);
    }

    /// Tells the election by which clocks adverts are signed.
    pub(in crate::daemon) fn tell_election_of_clocks(&mut self) {
        for said in self.election.tell_clocks(self.channel.clocks()) {
            warn!("{said}");
        }
    }

    /// Answers the election when it waits for the flows of the others. Without a channel there is no peer
    /// to ask, and of a master that is no node of the channel (keepalived) there are no flows.
    fn sync(&self, config: &Config, leader: Option<Leader>) {
        // A pure director's adverts may come from another address than its channel's.
        let has_directors = !config.cluster.directors.is_empty();
        let may_know = leader.is_none_or(|leader| {
            let addresses = [Some(leader.address), leader.other_address];
            let is_peer = |address| self.channel.is_peer(address);
            has_directors || addresses.into_iter().flatten().any(is_peer)
        });
        if !may_know || !self.channel.join() {
            self.election.tell(Command::SyncDone);
        }
    }
}

/// This box's MACs, as the peers are told them.
fn station(config: &Config) -> anyhow::Result<Station> {
    let own = config.own_backend().map(|backend| backend.address);
    let own = own.or(config.node.channel.map(|channel| channel.ip()));
    let links = Links::read()?;
    let home = links
        .iter()
        .find(|link| !link.loopback && own.is_some_and(|own| link.has(own)));
    let macs = links.own_macs(&config.node.interfaces);
    let macs: Vec<Mac> = macs.into_iter().map(|(_, mac)| mac).collect();
    Ok(Station::new(home.and_then(|link| link.mac), &macs))
}
