//! The shell of the cluster channel: a thread with the socket and the tables, and the event loop's
//! handle to it.
mod complaints;
mod id_map;
mod learn;
mod listeners;
mod own;
mod refresh;
mod thread;
mod walk;
mod word;

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    num::NonZeroU16,
    os::fd::AsRawFd as _,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};

use socket2::{Domain, Protocol, Socket, Type};
use tracing::{error, info, warn};

pub(in crate::daemon) use self::id_map::IdMap;
use super::advert::wake::Bell;
use crate::{
    channel::{
        self, BackendWeight, Counters, DenialRecord, Edition, Keys, OrderRecord, SenderId, Station,
    },
    config::{Config, Forwarding},
    daemon::observe::status::{ChannelStatus, PeerStatus},
    dataplane::{Events, FlowTables},
    history::{Message, Refusal},
    push::Version,
    units::Endpoint,
    vrrp::PeerClock,
};
use own::Home;

/// A peer that was heard within this time runs an lbd: ten hellos of a second each.
const LIVE_NS: u64 = 10_000_000_000;
/// The receive buffer: the bursts of some peers while the thread waits for a CPU.
const RECEIVE_BYTES: usize = 4 << 20;

/// What the thread tells the event loop.
#[derive(Debug)]
pub(in crate::daemon) enum Event {
    /// The answer to [`ChannelHandle::join`]: every peer that can be asked was asked, and what it said is in
    /// the tables.
    Joined,
    /// A peer has asked for everything.
    PeerJoined,
    /// What a peer that takes itself for the master has decided.
    Weights {
        /// The peer's address.
        of: IpAddr,
        /// Every backend's.
        backends: Vec<BackendWeight>,
    },
    /// Operators' orders that a peer knows.
    Orders(Vec<OrderRecord>),
    /// Denials by hand that a peer knows.
    Denials(Vec<DenialRecord>),
    /// Where peers have sessions with boxes that this node knows at other endpoints only.
    /// [`ChannelHandle::other_ways_taken`] is to follow; [`Event::Joined`] waits for it.
    OtherWays(Vec<Endpoint>),
    /// Clients to whom a reply of a `nat` backend found no MAC: no news of a peer's, but of the
    /// program's, whose events the thread reads.
    NoNeighbour(Vec<IpAddr>),
    /// Sources that the program has denied; likewise. It does not tell of each frame.
    Denied(Vec<(IpAddr, Refusal)>),
    /// What a peer says about history.
    History {
        /// Which peer.
        peer: SenderId,
        /// What it says.
        message: Message,
    },
}

/// A peer's last word that it hears this node.
#[derive(Clone, Copy, Debug)]
pub(in crate::daemon) struct Heard {
    /// Whose.
    pub(in crate::daemon) address: IpAddr,
    /// When, in nanoseconds since boot; 0 when never.
    pub(in crate::daemon) at_ns: u64,
    /// It said that its daemon stops.
    pub(in crate::daemon) is_leaving: bool,
}

/// What the event loop wants.
#[derive(Debug)]
enum Request {
    /// The ids are these from now on, this box's own sessions end there, and idle flows are forgotten
    /// after so long.
    IdMap {
        id_map: Box<IdMap>,
        home: Option<Home>,
        idle_ns: u64,
    },
    /// Begin.
    On {
        name: String,
        socket: UdpSocket,
        keys: Keys,
    },
    /// End.
    Off,
    /// Another configuration.
    Configure {
        keys: Keys,
        peers: Vec<(String, SocketAddr)>,
    },
    /// Ask every peer for its table.
    Join,
    /// Likewise, and nothing waits for them: what they tell of was without an id here.
    AskForTables,
    /// The answer to [`Event::OtherWays`]: whether there are ids for them now.
    OtherWaysTaken { has_new: bool },
    /// The program had events for which there was no room.
    EventsLost,
    /// Tell the peers what the master, which we are, has decided.
    Weights(Vec<BackendWeight>),
    /// Tell the peers these orders.
    Orders(Vec<OrderRecord>),
    /// Tell the peers these denials by hand.
    Denials(Vec<DenialRecord>),
    /// This node has this configuration.
    Edition(Option<Edition>),
    /// Whether a health check of this node succeeds.
    ChecksSucceed(bool),
    /// This node sends with these MACs.
    Station(Station),
    /// This node stops.
    Leave,
    /// Tell one peer, or all.
    History {
        to: Option<SenderId>,
        message: Message,
    },
    /// The thread must end.
    End,
}

/// Tells the peers about history, from another thread.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Teller {
    orders: mpsc::Sender<Request>,
    bell: Bell,
}

impl Teller {
    /// Tells one peer, or every peer that is heard.
    pub(in crate::daemon) fn tell_history(&self, to: Option<SenderId>, message: Message) {
        // A thread that has ended has said why in the log.
        let _ = self.orders.send(Request::History { to, message });
        self.bell.ring();
    }
}

/// What the thread knows, for people.
#[derive(Clone, Debug, Default)]
struct Snapshot {
    /// Sessions of this box's own kernel.
    own_sessions: Option<u64>,
    own_sessions_off: Option<String>,
    /// Boxes without some listeners.
    lacking: Vec<String>,
    counters: Counters,
    peers: Vec<channel::PeerStatus>,
}

/// The event loop's handle to the thread; dropping it ends the thread.
#[derive(Debug)]
pub(in crate::daemon) struct ChannelHandle {
    orders: Option<mpsc::Sender<Request>>,
    bell: Bell,
    thread: Option<JoinHandle<()>>,
    snapshot: Arc<Mutex<Snapshot>>,
    /// Why there is no channel.
    off: Option<String>,
    /// The peers of the configuration, also before the thread has told of them.
    addresses: Vec<IpAddr>,
    /// The configuration that this node has.
    edition: Option<Edition>,
    /// Whether a health check of this node succeeds.
    checks_succeed: bool,
}

impl ChannelHandle {
    /// Starts the thread. `tell` is called on it, must not wait, and says whether there was room.
    pub(in crate::daemon) fn start(
        events: Option<Events>,
        tables: FlowTables,
        tell: impl Fn(Event) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, ordered) = mpsc::channel();
        let (bell, snapshot) = (Bell::new()?, Arc::default());
        let thread = thread::Worker::spawn(
            ordered,
            bell.clone(),
            events,
            tables,
            Arc::clone(&snapshot),
            Box::new(tell),
        )?;
        Ok(Self {
            orders: Some(orders),
            bell,
            thread: Some(thread),
            snapshot,
            off: Some("not started yet".to_owned()),
            addresses: Vec::new(),
            edition: None,
            checks_succeed: false,
        })
    }

    /// Follows a configuration from now on.
    pub(in crate::daemon) fn follow(&mut self, config: &Config, id_map: IdMap) {
        let idle = config.cluster.idle.established;
        self.order(Request::IdMap {
            home: home(config, &id_map),
            id_map: Box::new(id_map),
            idle_ns: u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX),
        });
        let (Some(address), Some(keys)) = (config.node.channel, config.keys()) else {
            let missing = match config.node.channel {
                None => "node.channel",
                Some(_) => "cluster.secret_file",
            };
            self.turn_off(format!(
                "without {missing} flows are not shared with peers: a failover loses sessions"
            ));
            return;
        };
        let keys = Keys::new(keys.signing(), keys.verifying());
        if self.off.is_some() {
            match bind(address) {
                Ok(socket) => {
                    info!("flows are shared with peers from {address}/udp");
                    self.order(Request::On {
                        name: own_name(config, address),
                        socket,
                        keys: keys.clone(),
                    });
                    self.order(Request::ChecksSucceed(self.checks_succeed));
                    self.off = None;
                }
                Err(failed) => {
                    let why = format!("node.channel: {address}/udp cannot be used: {failed}");
                    error!("{why}");
                    self.off = Some(why);
                    return;
                }
            }
        }
        let peers = peers(config, address);
        self.addresses = peers.iter().map(|(_, peer)| peer.ip()).collect();
        self.order(Request::Configure { keys, peers });
    }

    fn turn_off(&mut self, why: String) {
        if self.off.as_ref() != Some(&why) {
            warn!("{why}");
            self.off = Some(why);
            self.addresses.clear();
            self.order(Request::Off);
        }
    }

    /// Asks every peer for its table; [`Event::Joined`] follows. False when there is no channel.
    pub(in crate::daemon) fn join(&self) -> bool {
        self.order(Request::Join);
        self.is_on()
    }

    /// Asks every peer for its table once more: there are ids now that were lacking.
    pub(in crate::daemon) fn ask_for_tables(&self) {
        self.order(Request::AskForTables);
    }

    /// Answers [`Event::OtherWays`]: if there are new ids, the tables are asked for once more, and a node
    /// that joins has not joined before they came.
    pub(in crate::daemon) fn other_ways_taken(&self, has_new: bool) {
        self.order(Request::OtherWaysTaken { has_new });
    }

    /// Tells the peers, again and again, that this node stops.
    pub(in crate::daemon) fn leave(&self) {
        self.order(Request::Leave);
    }

    /// Whether an address is one of the peers'. What is configured tells, not what the thread has told
    /// so far: a node that starts is asked this before the thread's first word.
    pub(in crate::daemon) fn is_peer(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// Where every peer is told of flows.
    pub(in crate::daemon) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// When each peer last said that it hears this node. One that is heard and hears nothing counts as
    /// silent: no session reaches it.
    pub(in crate::daemon) fn heard(&self) -> Vec<Heard> {
        self.of_peers(|peer| {
            Some(Heard {
                address: peer.address.ip(),
                at_ns: peer.confirmed_ns.unwrap_or(0),
                is_leaving: peer.is_leaving,
            })
        })
    }

    /// The peers that were heard not long ago.
    pub(in crate::daemon) fn live(&self, now_ns: u64) -> Vec<IpAddr> {
        self.of_peers(|peer| is_live(peer, now_ns).then(|| peer.address.ip()))
    }

    /// The name of a peer that was heard not long ago, does not stop, and has a health check that succeeds.
    pub(in crate::daemon) fn a_peer_whose_checks_succeed(&self, now_ns: u64) -> Option<String> {
        let succeeds = |peer: &channel::PeerStatus| {
            is_live(peer, now_ns) && peer.checks == channel::Checks::OneSucceeds && !peer.is_leaving
        };
        let names = self.of_peers(|peer| succeeds(peer).then(|| peer.name.clone()));
        names.into_iter().next()
    }

    /// What the peers' wall clocks show, with their names. A silent peer's counts as well: its adverts
    /// may come all the same.
    pub(in crate::daemon) fn clocks(&self) -> Vec<(String, PeerClock)> {
        self.of_peers(|peer| {
            let (unix_ns, at_boot_ns) = peer.clock?;
            let clock = PeerClock {
                address: peer.address.ip(),
                unix_ns,
                at_boot_ns,
            };
            Some((peer.name.clone(), clock))
        })
    }

    /// What `take` finds at each peer, read where the thread left it.
    fn of_peers<T>(&self, take: impl FnMut(&channel::PeerStatus) -> Option<T>) -> Vec<T> {
        if !self.is_on() {
            return Vec::new();
        }
        let snapshot = self.snapshot.lock();
        let snapshot = snapshot.unwrap_or_else(PoisonError::into_inner);
        snapshot.peers.iter().filter_map(take).collect()
    }

    /// The program had events for which there was no room: peers are made to ask for the table.
    pub(in crate::daemon) fn note_lost_events(&self) {
        self.order(Request::EventsLost);
    }

    /// Tells the peers what this node, as the master, has decided.
    pub(in crate::daemon) fn tell_weights(&self, backends: Vec<BackendWeight>) {
        self.order(Request::Weights(backends));
    }

    /// Tells the peers the operators' orders.
    pub(in crate::daemon) fn tell_orders(&self, orders: Vec<OrderRecord>) {
        self.order(Request::Orders(orders));
    }

    /// Tells the peers denials by hand.
    pub(in crate::daemon) fn tell_denials(&self, denials: Vec<DenialRecord>) {
        if !denials.is_empty() {
            self.order(Request::Denials(denials));
        }
    }

    /// Tells the peers which configuration this node was given last.
    pub(in crate::daemon) fn tell_version(&mut self, version: Option<&Version>) {
        self.edition = version.map(|version| Edition {
            number: version.number,
            digest: version.digest.head(),
        });
        self.order(Request::Edition(self.edition));
    }

    /// Tells the peers, when it is news, whether a health check of this node succeeds.
    pub(in crate::daemon) fn tell_checks_succeed(&mut self, succeed: bool) {
        if std::mem::replace(&mut self.checks_succeed, succeed) != succeed {
            self.order(Request::ChecksSucceed(succeed));
        }
    }

    /// Tells the peers with which MACs this node sends.
    pub(in crate::daemon) fn tell_station(&self, station: Station) {
        self.order(Request::Station(station));
    }

    /// The MACs that the peers have told of themselves, with their names. A silent peer's count as well: its
    /// program may steer on.
    pub(in crate::daemon) fn stations(&self) -> BTreeMap<IpAddr, (String, Station)> {
        let told = self.of_peers(|peer| {
            Some((
                peer.address.ip(),
                (peer.name.clone(), peer.station.clone()?),
            ))
        });
        told.into_iter().collect()
    }

    /// Why there is no channel.
    pub(in crate::daemon) fn off(&self) -> Option<&str> {
        self.off.as_deref()
    }

    /// Whether there is a channel.
    pub(in crate::daemon) fn is_on(&self) -> bool {
        self.off.is_none()
    }

    /// For the history's thread.
    pub(in crate::daemon) fn teller(&self) -> Option<Teller> {
        Some(Teller {
            orders: self.orders.clone()?,
            bell: self.bell.clone(),
        })
    }

    fn order(&self, order: Request) {
        if let Some(orders) = &self.orders {
            // A thread that has ended has said why in the log.
            let _ = orders.send(order);
            self.bell.ring();
        }
    }

    /// As `lbd status` shows it.
    pub(in crate::daemon) fn status(&self, now_ns: u64) -> ChannelStatus {
        let snapshot = self.snapshot.lock();
        let snapshot = snapshot.unwrap_or_else(PoisonError::into_inner).clone();
        let counters: BTreeMap<String, u64> = snapshot
            .counters
            .iter()
            .map(|(name, count, _)| (name.to_owned(), count))
            .collect();
        let peers = snapshot.peers.into_iter().map(|peer| PeerStatus {
            name: peer.name,
            address: peer.address,
            heard_s: peer.heard_ns.map(|heard| {
                std::time::Duration::from_nanos(now_ns.saturating_sub(heard)).as_secs_f64()
            }),
            complete: peer.complete,
            tells_sessions: peer.tells_sessions,
            config_version: peer.edition.map(|edition| edition.number),
            config: peer
                .edition
                .zip(self.edition)
                .map(|(peer, own)| peer.compared_with(own).into()),
        });
        ChannelStatus {
            off: self.off.clone(),
            peers: peers.collect(),
            own_sessions: snapshot.own_sessions,
            own_sessions_off: snapshot.own_sessions_off,
            warnings: snapshot.lacking,
            counters,
        }
    }
}

impl Drop for ChannelHandle {
    fn drop(&mut self) {
        // A teller may have a sender still.
        self.order(Request::End);
        self.orders = None;
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where this box's own sessions end, if it is a backend.
fn home(config: &Config, id_map: &IdMap) -> Option<Home> {
    let own = config.own_backend()?;
    Some(Home {
        address: own.address,
        // A port that is written out is the same service as the only port left out.
        port: own
            .port
            .filter(|port| own.forwarding == Forwarding::Nat && config.cluster.ports != [*port])
            .and_then(NonZeroU16::new),
        is_translated: own.forwarding == Forwarding::Nat,
        services: id_map.services().collect(),
    })
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    set_receive_buffer(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The buffer that a burst needs. The system-wide limit (`net.core.rmem_max`, 208 KB by default, not
/// two hundred datagrams) does not hold for who may administrate the network.
fn set_receive_buffer(socket: &Socket) -> io::Result<()> {
    let bytes = libc::c_int::try_from(RECEIVE_BYTES).unwrap_or(libc::c_int::MAX);
    // SAFETY: the value is an int that outlives the call, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const bytes).cast(),
            libc::socklen_t::try_from(size_of_val(&bytes)).unwrap_or_default(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    socket.set_recv_buffer_size(RECEIVE_BYTES)
}

/// What this node is called among its peers. A pure director stands in no list by its name, and the
/// others know its address only.
pub(in crate::daemon) fn own_name(config: &Config, own: SocketAddr) -> String {
    let mut backends = config.cluster.backends();
    if backends.any(|(_, backend)| backend.name == config.node.name) {
        return config.node.name.clone();
    }
    own.ip().to_string()
}

fn is_live(peer: &channel::PeerStatus, now_ns: u64) -> bool {
    peer.heard_ns
        .is_some_and(|heard_ns| now_ns.saturating_sub(heard_ns) < LIVE_NS)
}

/// The other backends and directors: one that runs no lbd hears nothing, which does no harm.
pub(in crate::daemon) fn peers(config: &Config, own: SocketAddr) -> Vec<(String, SocketAddr)> {
    let backends = config
        .cluster
        .backends()
        .filter(|(_, backend)| backend.name != config.node.name)
        .map(|(_, backend)| (backend.name.clone(), backend.address));
    let directors = config
        .cluster
        .directors
        .iter()
        .filter(|director| **director != own.ip())
        .map(|director| (director.to_string(), *director));
    backends
        .chain(directors)
        .map(|(name, address)| (name, SocketAddr::new(address, own.port())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_know_each_other_by_names_that_each_can_tell() {
        let file = "
node: {name: NAME, interfaces: [eth0], channel: 'OWN:9426'}
cluster:
  virtual_router_id: 51
  virtual_addresses: [192.0.2.25/24]
  directors: [192.0.2.2, 192.0.2.3]
  sites:
    - name: here
      backends:
        - {name: mx1, address: 192.0.2.11}
        - {name: mx2, address: 192.0.2.12}
";
        let nodes = [
            ("lb1", "192.0.2.2"),
            ("lb2", "192.0.2.3"),
            ("mx1", "192.0.2.11"),
            ("mx2", "192.0.2.12"),
        ];
        let known: Vec<_> = nodes
            .iter()
            .map(|(name, own)| {
                let text = file.replace("NAME", name).replace("OWN", own);
                let config = Config::parse(&text, "f").expect("right");
                let own = config.node.channel.expect("given");
                ((own_name(&config, own), own), peers(&config, own))
            })
            .collect();
        for (index, (node, _)) in known.iter().enumerate() {
            for (other, (_, peers)) in known.iter().enumerate() {
                let count = peers.iter().filter(|peer| *peer == node).count();
                assert_eq!(count, usize::from(other != index), "{node:?} in {peers:?}");
            }
        }
    }
}
