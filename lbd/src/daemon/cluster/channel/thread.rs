//! The thread: the program's events, a socket, the tables, and [`crate::channel::Channel`] between
//! them.
//!
//! A session that no peer knows yet is lost with this box. So between the program's event and the
//! datagram there is one thread and nothing else, and it comes before ordinary work.
use std::{
    collections::{HashSet, VecDeque},
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, UdpSocket},
    num::NonZeroU64,
    os::fd::{AsFd as _, BorrowedFd},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};

use tracing::{error, info, warn};

use super::{
    Event, Home, Request, Snapshot,
    complaints::Complaints,
    id_map::IdMap,
    learn::{Told, learn},
    listeners::sentence,
    own::Own,
    refresh::Refresh,
    walk::{self, Walk},
    word::{self, Listings, Word},
};
use crate::{
    channel::{Channel, Counters, Edition, Epoch, FlowRecord, Output, PeerStatus, Station},
    daemon::{
        clock,
        cluster::advert::wake::{Bell, Timer, wait},
    },
    dataplane::{EventKind, Events, FlowTables, Signs, seen},
    flows::{FlowKey as _, Flows4, Flows6, Key4, Key6},
    history::Refusal,
    units::{BackendId, Endpoint},
};

/// Datagrams of flows sent in one turn, and how often there is one: 28 Mbyte a second at most, which
/// is what a peer's receive buffer takes without loss.
const BURST: usize = 20;
const TURN_NS: u64 = 1_000_000;
/// Datagrams about history in one turn, after the flows: 2.8 Mbyte a second at most.
const HISTORY_BURST: usize = 2;
/// After events were read they are left to gather for so long: a busy stream is then told in full
/// datagrams, and neither the program nor this thread pays for a wake-up a session. The first event
/// after a pause waits for nothing.
const GATHER_NS: u64 = 1_000_000;
/// How often hellos, ends of sessions and the refresh are looked for.
const TICK_NS: u64 = 20_000_000;
/// Events and datagrams taken in one round: neither keeps the other waiting.
const EVENTS: usize = 4096;
const DATAGRAMS: usize = 256;
/// Before ordinary work, behind the election's.
const NICE: libc::c_int = -15;
/// A box that was not heard for so long says nothing of its sessions: three of its hellos are missing.
const SPEAKS_NS: u64 = 3_500_000_000;
/// Endpoints that the event loop is told of between two maps of ids.
const OTHER_WAYS: usize = 1024;

/// The thread's end of everything.
pub(super) struct Worker {
    orders: mpsc::Receiver<Request>,
    bell: Bell,
    timer: Timer,
    /// Of the program, unless another reader has them.
    events: Option<Events>,
    tables: FlowTables,
    id_map: IdMap,
    /// The sessions of this box's own kernel.
    own: Own,
    /// This box's address as a backend.
    own_address: Option<IpAddr>,
    /// Of peers whose tables are on their way.
    listings: Listings,
    refresh: Refresh,
    on: Option<On>,
    /// The configuration that this node has.
    edition: Option<Edition>,
    /// The MACs that it sends with.
    station: Station,
    tell: Box<dyn Fn(Event) -> bool + Send>,
    snapshot: Arc<Mutex<Snapshot>>,
    /// Of what became of the peers' flows.
    learned: Counters,
    /// Endpoints that the map of ids lacks and the event loop was told of.
    other_ways: HashSet<Endpoint>,
    /// Peers that are being told the table.
    walks: VecDeque<Walk>,
    tick_ns: u64,
    turn_ns: u64,
    /// When to read events again; 0 when their descriptor tells.
    events_ns: u64,
    budget: usize,
}

/// A channel that is in use.
struct On {
    socket: UdpSocket,
    channel: Channel,
    is_joining: bool,
    /// The event loop was told of endpoints of peers' sessions that have no id here.
    awaits_ids: bool,
    complaints: Complaints,
    send_failed: u64,
}

impl Worker {
    pub(super) fn spawn(
        orders: mpsc::Receiver<Request>,
        bell: Bell,
        events: Option<Events>,
        tables: FlowTables,
        snapshot: Arc<Mutex<Snapshot>>,
        tell: Box<dyn Fn(Event) -> bool + Send>,
    ) -> io::Result<JoinHandle<()>> {
        let worker = Self {
            orders,
            bell,
            timer: Timer::new()?,
            events,
            tables,
            id_map: IdMap::default(),
            own: Own::default(),
            own_address: None,
            listings: Listings::default(),
            refresh: Refresh::new(0),
            on: None,
            edition: None,
            station: Station::default(),
            tell,
            snapshot,
            learned: Counters::default(),
            other_ways: HashSet::new(),
            walks: VecDeque::new(),
            tick_ns: 0,
            turn_ns: 0,
            events_ns: 0,
            budget: BURST,
        };
        std::thread::Builder::new()
            .name("lbd-channel".into())
            .spawn(move || worker.run())
    }

    fn run(mut self) {
        // SAFETY: takes plain numbers; 0 names the calling thread. Refused, it runs like any other.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
        while self.turn() {}
    }

    /// One round; false after the last.
    fn turn(&mut self) -> bool {
        if let Err(failed) = self.sleep() {
            error!("the cluster channel stops because its thread cannot wait: {failed}");
            return false;
        }
        loop {
            match self.orders.try_recv() {
                Ok(Request::End) | Err(mpsc::TryRecvError::Disconnected) => return false,
                Ok(order) => self.obey(order),
                Err(mpsc::TryRecvError::Empty) => break,
            }
        }
        let now_ns = clock::boottime_ns();
        if now_ns >= self.events_ns {
            // The program's first: a flow that it opens is there when its backend's word comes.
            let some = self.tell_events(now_ns) | self.tell_own(now_ns);
            self.events_ns = if some { now_ns + GATHER_NS } else { 0 };
        }
        self.send_flows(now_ns);
        self.receive(now_ns);
        if now_ns >= self.tick_ns {
            self.tick_ns = now_ns + TICK_NS;
            self.tick(now_ns);
        }
        true
    }

    fn sleep(&self) -> io::Result<()> {
        let waits = |channel: &Channel| channel.has_flows() || channel.has_history();
        let has_flows = self.on.as_ref().is_some_and(|on| waits(&on.channel));
        let mut next_ns = self.tick_ns;
        if has_flows || !self.walks.is_empty() {
            next_ns = next_ns.min(self.turn_ns + TURN_NS);
        }
        if self.events_ns > 0 {
            next_ns = next_ns.min(self.events_ns);
        }
        self.timer.set(Some(next_ns))?;
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.timer.as_fd(), self.bell.as_fd()];
        if self.events_ns == 0 {
            fds.extend(self.events.as_ref().map(|events| events.as_fd()));
        }
        fds.extend(self.on.as_ref().map(|on| on.socket.as_fd()));
        wait(&fds)?;
        self.bell.silence();
        Ok(())
    }

    fn obey(&mut self, order: Request) {
        let now_ns = clock::boottime_ns();
        let on = self.on.as_mut();
        let outputs = match (order, on) {
            (
                Request::IdMap {
                    id_map,
                    home,
                    idle_ns,
                },
                _,
            ) => {
                self.id_map = *id_map;
                self.other_ways.clear();
                self.refresh = Refresh::new(idle_ns);
                self.serve_from(home, now_ns);
                return;
            }
            (Request::Off, _) => {
                self.on = None;
                // Nobody says anything of other boxes' sessions any more.
                self.id_map
                    .ids()
                    .for_each(|id| self.tables.signs().set_speaks(id, false));
                self.note_own_sign();
                return;
            }
            (Request::On { name, socket, keys }, _) => {
                let mut channel = Channel::new(&name, new_epoch(), keys, now_ns);
                // It has no peers yet whom to tell.
                let _ = channel.set_clock(clock::unix_ns(), now_ns);
                let _ = channel.tell_edition(self.edition, now_ns);
                let _ = channel.tell_station(self.station.clone(), now_ns);
                let _ = channel.tell_sessions(self.own.tells(), now_ns);
                let _ = channel.tell_no_listener(self.own.lacks().clone());
                self.on = Some(On {
                    socket,
                    channel,
                    is_joining: false,
                    awaits_ids: false,
                    complaints: Complaints::new(self.learned.flows_no_room),
                    send_failed: 0,
                });
                return;
            }
            (Request::Edition(edition), on) => {
                self.edition = edition;
                match on {
                    Some(on) => on.channel.tell_edition(edition, now_ns),
                    None => return,
                }
            }
            (Request::Station(station), on) => {
                self.station = station.clone();
                match on {
                    Some(on) => on.channel.tell_station(station, now_ns),
                    None => return,
                }
            }
            (Request::Configure { keys, peers }, Some(on)) => {
                on.channel.configure(keys, &peers);
                return;
            }
            (Request::Join, Some(on)) => {
                on.is_joining = true;
                on.channel.join(now_ns)
            }
            (Request::OtherWaysTaken { has_new }, Some(on)) => {
                on.awaits_ids = false;
                match (has_new, on.is_joining) {
                    (false, _) => return,
                    (true, true) => on.channel.join(now_ns),
                    (true, false) => on.channel.ask_for_tables(now_ns),
                }
            }
            (Request::AskForTables, Some(on)) => on.channel.ask_for_tables(now_ns),
            (Request::ChecksSucceed(succeed), Some(on)) => {
                on.channel.tell_checks_succeed(succeed, now_ns)
            }
            (Request::Leave, Some(on)) => on.channel.leave(),
            (Request::EventsLost, Some(on)) => {
                on.channel.note_lost_events();
                return;
            }
            (Request::Weights(backends), Some(on)) => on.channel.tell_weights(&backends, now_ns),
            (Request::Orders(orders), Some(on)) => on.channel.tell_orders(&orders, now_ns),
            (Request::Denials(denials), Some(on)) => on.channel.tell_denials(&denials, now_ns),
            (Request::History { to, message }, Some(on)) => {
                on.channel.queue_history(to, &message, now_ns);
                return;
            }
            (Request::End, _) | (_, None) => return,
        };
        self.perform(outputs);
    }

    /// Tells the peers what the program told; whether it told anything. Without a channel it is read
    /// all the same, so that the program finds room.
    fn tell_events(&mut self, now_ns: u64) -> bool {
        let Some(events) = &mut self.events else {
            return false;
        };
        let (id_map, mut some) = (&self.id_map, false);
        let mut no_neighbour: Vec<IpAddr> = Vec::new();
        let mut denied: Vec<(IpAddr, Refusal)> = Vec::new();
        let records: Vec<FlowRecord> = events
            .take(EVENTS)
            .inspect(|event| {
                some = true;
                let source = event.source.ip();
                match event.kind {
                    EventKind::NoNeighbour => no_neighbour.push(source),
                    EventKind::Denied => denied.push((source, Refusal::Listed)),
                    EventKind::RateLimited => denied.push((source, Refusal::Rate)),
                    EventKind::Opening
                    | EventKind::Opened
                    | EventKind::Proven
                    | EventKind::Closed => {}
                }
            })
            .filter_map(|event| id_map.of_event(&event))
            .collect();
        if !no_neighbour.is_empty() {
            // Without room there now: the client's next frame tells it again.
            let _ = (self.tell)(Event::NoNeighbour(no_neighbour));
        }
        if !denied.is_empty() {
            // An event loop without room has other worries; the counters have all of them.
            let _ = (self.tell)(Event::Denied(denied));
        }
        if let Some(on) = &mut self.on {
            on.channel.queue(&records, now_ns);
        }
        some
    }

    /// This box's own sessions end there from now on.
    fn serve_from(&mut self, home: Option<Home>, now_ns: u64) {
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
    fn note_own_sign(&self) {
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
    fn tell_own(&mut self, now_ns: u64) -> bool {
        let heard = self.own.hear(EVENTS);
        self.take_own(&heard.records, now_ns);
        self.claim_elsewhere(&heard.elsewhere, now_ns);
        heard.some
    }

    /// Takes sessions of these clients on other ports for those that directors have steered here.
    fn claim_elsewhere(&mut self, clients: &[SocketAddr], now_ns: u64) {
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
    fn take_own(&mut self, records: &[FlowRecord], now_ns: u64) {
        let Some(own) = self.own_address.filter(|_| !records.is_empty()) else {
            return;
        };
        self.learned.sessions_told += records.len() as u64;
        self.learn(own, records);
        if let Some(on) = &mut self.on {
            on.channel.queue(records, now_ns);
        }
    }

    /// For which services a box says that it has no listener.
    fn lacks(&self, of: IpAddr) -> Vec<SocketAddr> {
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
    fn end_unlisted(&mut self, of: IpAddr) {
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
        let (v4, v6) = (self.tables.v4(), self.tables.v6());
        let ended = word::end_unlisted(
            &v4,
            is_its,
            |key| is_listed(key.source(), key.vip_id()),
            now_seen,
        ) + word::end_unlisted(
            &v6,
            is_its,
            |key| is_listed(key.source(), key.vip_id()),
            now_seen,
        );
        self.learned.sessions_ended += ended;
    }

    fn send_flows(&mut self, now_ns: u64) {
        let Some(on) = &mut self.on else {
            self.walks.clear();
            return;
        };
        if now_ns >= self.turn_ns + TURN_NS {
            self.turn_ns = now_ns;
            self.budget = BURST;
            for _ in 0..HISTORY_BURST {
                let Some(Output::Send { to, bytes }) = on.channel.next_history() else {
                    break;
                };
                on.send(to, &bytes);
            }
        }
        let now_seen = seen(clock::monotonic_ns());
        while self.budget > 0 && (on.channel.has_flows() || !self.walks.is_empty()) {
            // A stream that never ends leaves every other datagram to those who join.
            if !on.channel.has_flows() || self.budget.is_multiple_of(2) {
                on.walk(
                    &mut self.walks,
                    &self.tables,
                    &self.own,
                    &self.id_map,
                    now_seen,
                );
            }
            self.budget -= 1;
            if let Some(Output::Send { to, bytes }) = on.channel.next_flows() {
                on.send(to, &bytes);
            }
        }
    }

    fn receive(&mut self, now_ns: u64) {
        let mut bytes = [0; 2048];
        for _ in 0..DATAGRAMS {
            let Some(on) = &mut self.on else {
                return;
            };
            match on.socket.recv_from(&mut bytes) {
                Ok((length, from)) => {
                    let outputs = on.hear(&bytes[..length], from, now_ns);
                    self.perform(outputs);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // An ICMP error of a peer that does not listen.
                Err(_) => {}
            }
        }
    }

    fn tick(&mut self, now_ns: u64) {
        self.refresh_peers(now_ns);
        let found = self.own.check();
        self.take_own(&found, now_ns);
        self.look_for_listeners(now_ns);
        self.note_own_sign();
        let Some(on) = &mut self.on else {
            return;
        };
        let mut hellos = on.channel.set_clock(clock::unix_ns(), now_ns);
        hellos.extend(on.channel.tick(now_ns));
        let has_joined = on.is_joining && !on.awaits_ids && on.channel.has_joined(now_ns);
        self.perform(hellos);
        let Some(on) = &mut self.on else {
            return;
        };
        // An event loop that has no room is asked again.
        if has_joined && (self.tell)(Event::Joined) {
            on.is_joining = false;
        }
        let (peers, no_room) = (on.channel.peers(), self.learned.flows_no_room);
        note_signs(self.tables.signs(), &self.id_map, &peers, now_ns);
        for told in on.complaints.floods(&peers, now_ns) {
            warn!("cluster channel: {told}");
        }
        if let Some(told) = on.complaints.no_room(no_room, now_ns) {
            warn!("{told}");
        }
        let services: Vec<SocketAddr> = self.id_map.services().collect();
        let mut lacking: Vec<String> = peers
            .iter()
            .filter_map(|peer| sentence(&peer.name, &peer.no_listener, &services))
            .collect();
        lacking.extend(sentence("this box", self.own.lacks(), &services));
        let mut counters = on.channel.counters();
        counters.send_failed = on.send_failed;
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Snapshot {
            own_sessions: self.own.tells().then(|| self.own.open() as u64),
            own_sessions_off: self.own.off().map(str::to_owned),
            lacking,
            counters: counters.with(&self.learned),
            peers,
        };
    }

    fn look_for_listeners(&mut self, now_ns: u64) {
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

    fn refresh_peers(&mut self, now_ns: u64) {
        let Some((part, of)) = self.refresh.part(now_ns) else {
            return;
        };
        // A session that its own kernel has is not idle, however long it says nothing.
        let held = self.own.part(part, of);
        self.take_own(&held, now_ns);
        let Some(on) = &mut self.on else {
            return;
        };
        let now_seen = seen(clock::monotonic_ns());
        let (id_map, refresh) = (&self.id_map, &self.refresh);
        let (v4, v6) = (self.tables.v4(), self.tables.v6());
        let v4 = v4.part(part, of).filter_map(|flow| {
            let tells = refresh.tells(flow.word, now_seen);
            tells.then(|| id_map.of_flow(&flow, now_seen))?
        });
        let v6 = v6.part(part, of).filter_map(|flow| {
            let tells = refresh.tells(flow.word, now_seen);
            tells.then(|| id_map.of_flow(&flow, now_seen))?
        });
        let records: Vec<FlowRecord> = v4.chain(v6).collect();
        on.channel.queue(&records, now_ns);
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { to, bytes } => {
                    if let Some(on) = &mut self.on {
                        on.send(to, &bytes);
                    }
                }
                Output::Listing { peer } => self.listings.begin(peer.ip()),
                Output::Listed { peer } => self.end_unlisted(peer.ip()),
                Output::Learn { peer, records } => self.learn(peer.ip(), &records),
                Output::TableWanted { peer } => {
                    self.walks.retain(|walk| walk.peer != peer);
                    self.walks.push_back(Walk::new(peer));
                    (self.tell)(Event::PeerJoined);
                }
                Output::Again {
                    peer,
                    sequence,
                    kept,
                } => {
                    let now_seen = seen(clock::monotonic_ns());
                    let records =
                        walk::again(&kept, &self.tables, &self.own, &self.id_map, now_seen);
                    if let Some(on) = &mut self.on {
                        on.channel.queue_again(peer, sequence, &kept, &records);
                    }
                }
                Output::Weights { peer, backends } => {
                    (self.tell)(Event::Weights {
                        of: peer.ip(),
                        backends,
                    });
                }
                Output::Orders(orders) => {
                    (self.tell)(Event::Orders(orders));
                }
                Output::History { peer, message } => {
                    (self.tell)(Event::History { peer, message });
                }
                Output::Denials(denials) => {
                    (self.tell)(Event::Denials(denials));
                }
            }
        }
    }

    fn learn(&mut self, peer: IpAddr, records: &[FlowRecord]) {
        let now_seen = seen(clock::monotonic_ns());
        let (v4, v6) = (self.tables.v4(), self.tables.v6());
        let mut other_ways = Vec::new();
        let from_peer = self.own_address != Some(peer);
        let mut elsewhere = Vec::new();
        for record in records {
            if record.change.is_by_backend() {
                self.listings.note(peer, record);
                let outcome = take_word(&self.id_map, &v4, &v6, peer, from_peer, record, now_seen);
                match outcome {
                    Some(outcome) => *outcome.counter(&mut self.learned) += 1,
                    None => self.learned.sessions_not_its_own += 1,
                }
                continue;
            }
            // It was steered here, and its socket may be on another port.
            if self.own_address == Some(record.backend.address)
                && self.own.has_elsewhere(record.source)
            {
                elsewhere.push(record.source);
            }
            let Some((vip_id, backend)) = self.id_map.ids_of(record) else {
                self.learned.flows_unknown_target += 1;
                let other_way = self.id_map.other_way(record);
                let has_room = self.other_ways.len() < OTHER_WAYS;
                other_ways.extend(other_way.filter(|it| has_room && self.other_ways.insert(*it)));
                continue;
            };
            let told = Told {
                change: record.change,
                backend,
                by_backend: record.backend.address == peer,
            };
            let (port, counters) = (record.source.port(), &mut self.learned);
            match record.source.ip() {
                IpAddr::V4(source) => {
                    let key = Key4 {
                        source,
                        port,
                        vip_id,
                    };
                    learn(&v4, key, told, now_seen, counters);
                }
                IpAddr::V6(source) => {
                    let key = Key6 {
                        source,
                        port,
                        vip_id,
                    };
                    learn(&v6, key, told, now_seen, counters);
                }
            }
        }
        self.claim_elsewhere(&elsewhere, clock::boottime_ns());
        if other_ways.is_empty() {
            return;
        }
        let is_told = (self.tell)(Event::OtherWays(other_ways));
        if !is_told {
            // There is no room now: the next such session tells it again.
            self.other_ways.clear();
        }
        if let Some(on) = &mut self.on {
            on.awaits_ids |= is_told;
        }
    }
}

impl On {
    /// Reads one more place of the table for the peer whose turn it is. What happens after it is read
    /// is told after it: the place is sent before the stream.
    fn walk(
        &mut self,
        walks: &mut VecDeque<Walk>,
        tables: &FlowTables,
        own: &Own,
        id_map: &IdMap,
        now_seen: u16,
    ) {
        let Some(mut walk) = walks.pop_front() else {
            return;
        };
        if !self.channel.is_told_table(walk.peer) {
            return;
        }
        let step = walk.step(tables, own, id_map, now_seen);
        let is_last = step.as_ref().is_some_and(|step| step.is_last);
        if let Some(step) = step {
            let ends = (step.is_first, step.is_last);
            self.channel
                .queue_table(walk.peer, ends, step.place, &step.records);
        }
        if !is_last {
            walks.push_back(walk);
        }
    }

    fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        // A datagram that is not sent is one that is lost: the peer sees the gap.
        if self.socket.send_to(bytes, to).is_err() {
            self.send_failed += 1;
        }
    }

    fn hear(&mut self, bytes: &[u8], from: SocketAddr, now_ns: u64) -> Vec<Output> {
        match self.channel.receive(bytes, now_ns) {
            Ok(outputs) => outputs,
            Err(refused) => {
                if let Some(told) = self.complaints.refused(from, refused, now_ns) {
                    warn!("cluster channel: {told}");
                }
                Vec::new()
            }
        }
    }
}

/// A box's word on its own session; `None` when it is another's.
fn take_word(
    id_map: &IdMap,
    v4: &Flows4<'_>,
    v6: &Flows6<'_>,
    peer: IpAddr,
    from_peer: bool,
    record: &FlowRecord,
    now_seen: u16,
) -> Option<word::Outcome> {
    if record.backend.address != peer {
        return None;
    }
    let Some(vip_id) = id_map.vip_id(record.vip) else {
        return Some(word::Outcome::Unknown);
    };
    let backend = id_map.backend_id(record.backend);
    let said = Word {
        change: record.change,
        backend: backend.filter(|_| !record.backend.is_translated()),
        from_peer,
    };
    let port = record.source.port();
    let is_its = |backend| id_map.is_box(backend, peer);
    Some(match record.source.ip() {
        IpAddr::V4(source) => {
            let key = Key4 {
                source,
                port,
                vip_id,
            };
            word::take(v4, key, said, is_its, now_seen)
        }
        IpAddr::V6(source) => {
            let key = Key6 {
                source,
                port,
                vip_id,
            };
            word::take(v6, key, said, is_its, now_seen)
        }
    })
}

/// Notes which boxes live, by what was heard of them, and whose word on their sessions counts.
fn note_signs(signs: &Signs, id_map: &IdMap, peers: &[PeerStatus], now_ns: u64) {
    let monotonic_ns = clock::monotonic_ns();
    for peer in peers {
        let silent_ns = peer.heard_ns.map(|heard| now_ns.saturating_sub(heard));
        let is_heard = silent_ns.is_some_and(|silent| silent < SPEAKS_NS);
        let lacks = if is_heard {
            id_map.service_bits(&peer.no_listener.services)
        } else {
            0
        };
        let speaks = peer.tells_sessions && is_heard;
        for id in id_map.ids_of_box(peer.address.ip()) {
            signs.set_speaks(id, speaks);
            signs.set_no_listener(id, lacks, peer.no_listener.refuses);
            // Its program does, also while its daemon is silent. An agent has none, and names no MACs.
            let station = peer.station.as_ref();
            let has_program = station.is_some_and(|station| !station.macs.is_empty());
            signs.set_takes_mark(id, has_program);
            if let Some(silent_ns) = silent_ns {
                signs.heard(id, monotonic_ns.saturating_sub(silent_ns));
            }
        }
    }
}

/// Nanoseconds since 1970 differ from start to start, even where the clock is set back in between.
fn new_epoch() -> Epoch {
    Epoch(NonZeroU64::new(clock::unix_ns()).unwrap_or(NonZeroU64::MIN))
}
