//! The thread: the program's events, a socket, the tables, and [`crate::channel::Channel`] between
//! them.
//!
//! A session that no peer knows yet is lost with this box. So between the program's event and the
//! datagram there is one thread and nothing else, and it comes before ordinary work.
use std::{
    collections::{HashSet, VecDeque},
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd as _, BorrowedFd},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};

use tracing::{error, warn};

use super::{
    Event, Request, Snapshot,
    complaints::Complaints,
    id_map::IdMap,
    listeners::sentence,
    own::Own,
    refresh::Refresh,
    walk::{self, Walk},
    word::Listings,
};
use crate::{
    channel::{Channel, Counters, Edition, FlowRecord, Output, PeerStatus, Station},
    daemon::{
        clock,
        cluster::advert::wake::{Bell, Timer, wait},
    },
    dataplane::{EventKind, Events, FlowTables, Signs, seen},
    history::Refusal,
    units::Endpoint,
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
mod obey;
mod own_sessions;
mod take_in;

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
