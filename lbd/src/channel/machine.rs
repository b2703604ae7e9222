//! The protocol of one node with all its peers.
use std::{net::SocketAddr, num::NonZeroU64};

use super::{
    counters::Counters,
    datagram::{Body, Datagram, Epoch, Missing, Proof, Refused, SenderId},
    denials::DenialRecord,
    edition::Edition,
    keys::Keys,
    link::{Checks, Link, Table},
    no_listener::NoListener,
    orders::OrderRecord,
    record::{FlowRecord, Part},
    retransmit::{Again, Content, Place},
    station::Station,
    weights::BackendWeight,
};
use crate::history::Message;

mod proof;
mod tell;

/// Between two hellos to a peer: a second of silence is a sign that its box may be dead.
const HELLO_NS: u64 = 300_000_000;
/// How long a node that joins waits for a first word of a peer.
const FIRST_WORD_NS: u64 = 1_000_000_000;
/// How long it waits for the tables of the peers that talk.
const TABLES_NS: u64 = 10_000_000_000;

/// Missing datagrams that one hello may ask for, so that one word does not make us talk for long.
const MOST_AGAIN: usize = 4096;

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Send this datagram.
    Send {
        /// Where to.
        to: SocketAddr,
        /// The whole of it.
        bytes: Vec<u8>,
    },
    /// A full table of a peer begins to come.
    Listing {
        /// Whose.
        peer: SocketAddr,
    },
    /// The table has come, and without a gap all that the peer told since: its sessions are those that it
    /// has confirmed since [`Output::Listing`] and has not ended.
    Listed {
        /// Whose.
        peer: SocketAddr,
    },
    /// Flows of a peer, in their order.
    Learn {
        /// Whose.
        peer: SocketAddr,
        /// Never empty.
        records: Vec<FlowRecord>,
    },
    /// What a peer that takes itself for the master has decided.
    Weights {
        /// Whose.
        peer: SocketAddr,
        /// Every backend's.
        backends: Vec<BackendWeight>,
    },
    /// Operators' orders.
    Orders(Vec<OrderRecord>),
    /// What a peer says about history.
    History {
        /// Which peer.
        peer: SenderId,
        /// What it says.
        message: Message,
    },
    /// Denials by hand.
    Denials(Vec<DenialRecord>),
    /// Hand every place of the tables to [`Channel::queue_table`], as long as
    /// [`Channel::is_told_table`].
    TableWanted {
        /// By whom.
        peer: SenderId,
    },
    /// Hand what these flows or this place are by now to [`Channel::queue_again`].
    Again {
        /// To whom.
        peer: SenderId,
        /// The datagram that the peer has missed.
        sequence: u64,
        /// What it was about.
        kept: Content,
    },
}

/// A peer, for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// Where it is sent datagrams.
    pub address: SocketAddr,
    /// When it was last heard; `None` when never.
    pub heard_ns: Option<u64>,
    /// When it last said that it hears this node; `None` when never. A box to which all frames are lost is
    /// heard, and says nothing of the kind (compare RFC 5880, section 6.2).
    pub confirmed_ns: Option<u64>,
    /// Whether this node has all its flows.
    pub complete: bool,
    /// The configuration that it has, as it said last.
    pub edition: Option<Edition>,
    /// It has said that it stops, and has not begun anew since.
    pub is_leaving: bool,
    /// Whether it tells of its own kernel's sessions.
    pub tells_sessions: bool,
    /// For which services it has no listening socket.
    pub no_listener: NoListener,
    /// What its health checks find.
    pub checks: Checks,
    /// Datagrams refused because it sent more than a peer may.
    pub refused_flood: u64,
    /// What its wall clock showed in nanoseconds since 1970, and when that came.
    pub clock: Option<(u64, u64)>,
    /// Its MACs, as it said last.
    pub station: Option<Station>,
}

/// All that one node knows of the channel.
#[derive(Debug)]
pub struct Channel {
    id: SenderId,
    epoch: Epoch,
    keys: Keys,
    links: Vec<Link>,
    /// Where the numbers of a peer that is new begin: behind those that it was told before it was
    /// removed, which it refuses.
    first_sequence: u64,
    /// The configuration that this node has.
    edition: Option<Edition>,
    /// This node stops.
    is_leaving: bool,
    /// Whether this node tells of its own kernel's sessions.
    tells_sessions: bool,
    /// For which services this node has no listening socket; nothing while it never lacked one.
    no_listener: Option<NoListener>,
    /// Whether a health check of this node succeeds.
    checks_succeed: bool,
    /// Whose turn it is in [`Self::next_flows`].
    turn: usize,
    joined_ns: u64,
    /// What this node's wall clock showed, and when.
    clock: (u64, u64),
    /// This node's MACs.
    station: Station,
    /// Of the last weights told.
    round: u64,
    counters: Counters,
}

impl Channel {
    /// `epoch`: a number that no other start of this node had. Times are nanoseconds of any clock.
    #[must_use]
    pub fn new(name: &str, epoch: Epoch, keys: Keys, now_ns: u64) -> Self {
        Self {
            id: SenderId::of(name),
            epoch,
            keys,
            links: Vec::new(),
            first_sequence: 1,
            edition: None,
            is_leaving: false,
            tells_sessions: false,
            no_listener: None,
            checks_succeed: false,
            turn: 0,
            joined_ns: now_ns,
            clock: (0, now_ns),
            station: Station::default(),
            round: 0,
            counters: Counters::default(),
        }
    }

    /// Takes other keys and peers. What is known of a peer that stays, stays.
    pub fn configure(&mut self, keys: Keys, peers: &[(String, SocketAddr)]) {
        self.keys = keys;
        let mut before = std::mem::take(&mut self.links);
        let used = before.iter().map(Link::next_sequence).max();
        let first_sequence = self.first_sequence.max(used.unwrap_or(1));
        self.first_sequence = first_sequence;
        for (name, address) in peers {
            let same = |link: &Link| link.name == *name && link.address == *address;
            let link = match before.iter().position(same) {
                Some(index) => before.swap_remove(index),
                None => Link::new(name, *address, first_sequence),
            };
            self.links.push(link);
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The peers.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        let status = |link: &Link| PeerStatus {
            name: link.name.clone(),
            address: link.address,
            heard_ns: link.heard_ns,
            confirmed_ns: link.confirmed_ns,
            complete: link.table == Table::Complete,
            edition: link.edition,
            is_leaving: link.is_leaving,
            tells_sessions: link.tells_sessions,
            no_listener: link.no_listener.clone(),
            checks: link.checks,
            refused_flood: link.refused_flood,
            clock: link.clock,
            station: link.station.clone(),
        };
        self.links.iter().map(status).collect()
    }

    /// Takes a datagram from the network. One that is refused changes nothing and is counted.
    pub fn receive(&mut self, bytes: &[u8], now_ns: u64) -> Result<Vec<Output>, Refused> {
        let received = self.try_receive(bytes, now_ns);
        if let Err(refused) = &received {
            let counters = &mut self.counters;
            *match refused {
                Refused::Malformed(_) => &mut counters.refused_malformed,
                Refused::Version { .. } => &mut counters.refused_version,
                Refused::UnknownKey { .. } => &mut counters.refused_unknown_key,
                Refused::Forged => &mut counters.refused_forged,
                Refused::Stranger => &mut counters.refused_stranger,
                Refused::Replayed => &mut counters.refused_replayed,
                Refused::OtherEpoch => &mut counters.refused_other_epoch,
                Refused::Flood => &mut counters.refused_flood,
            } += 1;
        }
        received
    }

    fn try_receive(&mut self, bytes: &[u8], now_ns: u64) -> Result<Vec<Output>, Refused> {
        let is_table = self.refuse_flood(bytes, now_ns)?;
        let datagram = Datagram::parse(bytes, &self.keys)?;
        let index = self.index(datagram.sender).ok_or(Refused::Stranger)?;
        if datagram.to_epoch != Some(self.epoch) {
            return self.introduce(index, &datagram, now_ns);
        }
        let link = &mut self.links[index];
        // Another life is believed once it has said again what only it can be asked: what was recorded
        // in a life that this node never heard must not end the present one.
        if link.epoch() != Some(datagram.epoch) && !self.is_proved(index, &datagram, now_ns) {
            if self.links[index].is_retired(datagram.epoch) {
                return Err(Refused::Replayed);
            }
            return self.introduce(index, &datagram, now_ns);
        }
        let link = &mut self.links[index];
        let is_new = link
            .accept(datagram.epoch, datagram.sequence, is_table, now_ns)
            .ok_or(Refused::Replayed)?;
        self.counters.datagrams_accepted += 1;
        let mut outputs = Vec::new();
        let mut answer = None;
        match datagram.body {
            Body::Hello {
                want_table,
                edition,
                tells_sessions,
                hears,
                checks_succeed,
                clock_unix_ns,
                station,
                proof,
                missing,
            } => {
                link.edition = edition;
                link.checks = checks_succeed.into();
                if hears {
                    link.confirmed_ns = Some(now_ns);
                }
                link.note_tells_sessions(tells_sessions);
                link.clock = Some((clock_unix_ns, now_ns));
                link.station = Some(station);
                answer = proof.challenge;
                if want_table && link.begin_table() {
                    let peer = link.id;
                    // First: what the table does not list may be another stack's.
                    outputs.extend(self.without(index));
                    outputs.push(Output::TableWanted { peer });
                }
                self.tell_again(index, &missing, now_ns, &mut outputs);
            }
            Body::Flows {
                part,
                repeats,
                records,
            } => {
                if let Some(missed) = repeats {
                    self.counters.repaired += u64::from(link.settle(missed));
                }
                if let Part::Table { first, last } = part {
                    let ends = (first, last);
                    if link.note_table(datagram.sequence, ends, repeats.is_some()) {
                        let peer = link.address;
                        outputs.push(Output::Listing { peer });
                    }
                }
                if !records.is_empty() {
                    let peer = link.address;
                    outputs.push(Output::Learn { peer, records });
                }
            }
            Body::Gone => self.counters.lost += link.give_up_missing(),
            Body::Leaving => link.is_leaving = true,
            Body::Weights(part) => {
                if let Some(backends) = link.weights.take(&part) {
                    let peer = link.address;
                    outputs.push(Output::Weights { peer, backends });
                }
            }
            Body::Orders(orders) => outputs.push(Output::Orders(orders)),
            Body::History(message) => {
                let peer = link.id;
                outputs.push(Output::History { peer, message });
            }
            Body::Denials(denials) => outputs.push(Output::Denials(denials)),
            Body::NoListener(told) => link.no_listener = told,
        }
        let link = &mut self.links[index];
        if link.completes() {
            self.counters.tables_received += 1;
            if link.tells_sessions {
                let peer = link.address;
                outputs.push(Output::Listed { peer });
            }
        }
        if is_new || answer.is_some() {
            outputs.push(self.answering_hello(index, answer, now_ns));
        }
        Ok(outputs)
    }

    fn index(&self, sender: SenderId) -> Option<usize> {
        self.links.iter().position(|link| link.id == sender)
    }

    /// A peer has missed datagrams. What would wait too long is left: the peer asks again.
    fn tell_again(
        &mut self,
        index: usize,
        missing: &[Missing],
        now_ns: u64,
        outputs: &mut Vec<Output>,
    ) {
        let runs = missing.iter().flat_map(|run| {
            let count = u64::from(run.count);
            run.first..run.first.saturating_add(count)
        });
        let mut room = self.links[index].room_to_repeat();
        for sequence in runs.take(MOST_AGAIN) {
            if room == 0 {
                return;
            }
            let link = &mut self.links[index];
            match link.again(sequence, now_ns) {
                Again::Gone => {
                    let epoch = link.epoch();
                    outputs.push(self.signed(index, epoch, Body::Gone, Content::Word));
                    return;
                }
                Again::Told => continue,
                Again::Tell(Content::Word) => {
                    outputs.extend(self.without(index));
                    let link = &mut self.links[index];
                    link.queue_read(Part::Stream, None, Some(sequence), &[]);
                }
                Again::Tell(kept) => outputs.push(Output::Again {
                    peer: link.id,
                    sequence,
                    kept,
                }),
            }
            room -= 1;
        }
    }

    /// The hellos that are due. Call it some fifty times a second.
    pub fn tick(&mut self, now_ns: u64) -> Vec<Output> {
        let mut outputs = Vec::new();
        for index in 0..self.links.len() {
            let link = &mut self.links[index];
            self.counters.lost += link.give_up_if_vain(now_ns);
            if let Some(missing) = link.ask_if_due(now_ns) {
                let epoch = link.epoch();
                let ask = self.hello_body(index, false, Proof::default(), missing, now_ns);
                outputs.push(self.signed(index, epoch, ask, Content::Word));
            }
            let link = &mut self.links[index];
            let is_due = link
                .hello_ns
                .is_none_or(|hello| now_ns.saturating_sub(hello) >= HELLO_NS);
            if !is_due {
                continue;
            }
            if !link.is_live(now_ns) {
                link.forget_history();
                if link.has_flows_to_send() {
                    link.discard();
                }
            }
            outputs.push(self.hello(index, now_ns));
            // Again with each hello: a datagram may be lost.
            outputs.extend(self.leaving(index));
            outputs.extend(self.without(index));
        }
        outputs
    }

    /// Asks every peer for its full table.
    pub fn join(&mut self, now_ns: u64) -> Vec<Output> {
        self.joined_ns = now_ns;
        self.ask_for_tables(now_ns)
    }

    /// Likewise, and [`Self::has_joined`] counts from the last [`Self::join`] on.
    pub fn ask_for_tables(&mut self, now_ns: u64) -> Vec<Output> {
        for link in &mut self.links {
            link.table = Table::Wanted;
        }
        self.hello_all(now_ns)
    }

    /// Whether every peer that can be asked has handed its full table over since [`Self::join`], or
    /// is waited for no longer.
    #[must_use]
    pub fn has_joined(&self, now_ns: u64) -> bool {
        let waited_ns = now_ns.saturating_sub(self.joined_ns);
        waited_ns >= TABLES_NS
            || self.links.iter().all(|link| {
                link.table == Table::Complete
                    || (waited_ns >= FIRST_WORD_NS && !link.is_live(now_ns))
            })
    }

    /// Queues flows that were opened or closed here, for every peer that is heard.
    pub fn queue(&mut self, records: &[FlowRecord], now_ns: u64) {
        if records.is_empty() {
            return;
        }
        for link in &mut self.links {
            if link.is_live(now_ns) {
                self.counters.flows_overrun += link.queue(records) as u64;
            } else {
                // Should it still be there, it sees a gap and asks.
                link.skip_sequence();
            }
        }
    }

    /// Events were lost before they came here: makes every peer ask for the table.
    pub fn note_lost_events(&mut self) {
        self.counters.events_overrun += 1;
        for link in &mut self.links {
            link.skip_sequence();
        }
    }

    /// Whether the peer that asked for the table still waits for it.
    #[must_use]
    pub fn is_told_table(&self, peer: SenderId) -> bool {
        self.index(peer)
            .is_some_and(|index| self.links[index].is_told_table())
    }

    /// Queues a place of the table for the peer that asked for it. Only what happened before it was
    /// read may have been queued before.
    pub fn queue_table(
        &mut self,
        peer: SenderId,
        (first, last): (bool, bool),
        place: Place,
        records: &[FlowRecord],
    ) {
        let Some(index) = self.index(peer) else {
            return;
        };
        let link = &mut self.links[index];
        let part = Part::Table { first, last };
        link.queue_read(part, Some(place), None, records);
        self.counters.tables_sent += u64::from(last);
    }

    /// Queues what the flows or the place of a datagram that a peer has missed are by now.
    pub fn queue_again(
        &mut self,
        peer: SenderId,
        sequence: u64,
        kept: &Content,
        records: &[FlowRecord],
    ) {
        let Some(index) = self.index(peer) else {
            return;
        };
        let link = &mut self.links[index];
        // A place that was all but empty when it was told may fill many datagrams by now.
        if link.room_to_repeat() == 0 {
            return;
        }
        let (part, place) = match kept {
            Content::Word | Content::Stream(_) => (Part::Stream, None),
            Content::Table(part, place) => (*part, Some(*place)),
        };
        link.queue_read(part, place, Some(sequence), records);
        self.counters.repeated += 1;
    }

    /// Whether flows wait to be sent.
    #[must_use]
    pub fn has_flows(&self) -> bool {
        self.links.iter().any(Link::has_flows_to_send)
    }

    /// The next datagram of flows, from each peer's queue in turn.
    pub fn next_flows(&mut self) -> Option<Output> {
        for _ in 0..self.links.len() {
            self.turn = (self.turn + 1) % self.links.len();
            let index = self.turn;
            let epoch = self.links[index].epoch();
            if let Some((body, kept)) = self.links[index].next_flows() {
                if let Body::Flows { records, .. } = &body {
                    self.counters.flows_sent += records.len() as u64;
                }
                return Some(self.signed(index, epoch, body, kept));
            }
        }
        None
    }

    /// Queues a message about history for a peer, or for every peer that is heard.
    pub fn queue_history(&mut self, to: Option<SenderId>, message: &Message, now_ns: u64) {
        for link in &mut self.links {
            if link.is_live(now_ns) && to.is_none_or(|to| to == link.id) {
                self.counters.history_overrun += u64::from(!link.queue_history(message));
            }
        }
    }

    /// The next datagram about history; flows come before it.
    pub fn next_history(&mut self) -> Option<Output> {
        let waits = |link: &Link| link.has_history_to_send() && !link.has_flows_to_send();
        let index = self.links.iter().position(waits)?;
        let message = self.links[index].next_history()?;
        let epoch = self.links[index].epoch();
        Some(self.signed(index, epoch, Body::History(message), Content::Word))
    }

    /// Whether messages about history wait to be sent.
    #[must_use]
    pub fn has_history(&self) -> bool {
        self.links.iter().any(Link::has_history_to_send)
    }

    fn hello(&mut self, index: usize, now_ns: u64) -> Output {
        self.answering_hello(index, None, now_ns)
    }

    fn answering_hello(&mut self, index: usize, answer: Option<NonZeroU64>, now_ns: u64) -> Output {
        let link = &mut self.links[index];
        link.hello_ns = Some(now_ns);
        let epoch = link.epoch();
        let want_table = link.wants_table();
        self.counters.tables_asked += u64::from(want_table);
        let proof = Proof {
            challenge: None,
            answer,
        };
        let body = self.hello_body(index, want_table, proof, Vec::new(), now_ns);
        self.signed(index, epoch, body, Content::Word)
    }

    fn hello_body(
        &self,
        index: usize,
        want_table: bool,
        proof: Proof,
        missing: Vec<Missing>,
        now_ns: u64,
    ) -> Body {
        Body::Hello {
            want_table,
            edition: self.edition,
            tells_sessions: self.tells_sessions,
            hears: self.links[index].is_heard(now_ns),
            checks_succeed: self.checks_succeed,
            clock_unix_ns: self.clock_unix_ns(now_ns),
            station: self.station.clone(),
            proof,
            missing,
        }
    }

    fn signed(
        &mut self,
        index: usize,
        to_epoch: Option<Epoch>,
        body: Body,
        kept: Content,
    ) -> Output {
        let link = &mut self.links[index];
        let datagram = Datagram {
            sender: self.id,
            epoch: self.epoch,
            to_epoch,
            sequence: link.take_sequence(kept),
            body,
        };
        let bytes = datagram.emit(&self.keys);
        self.counters.datagrams_sent += 1;
        self.counters.bytes_sent += bytes.len() as u64;
        Output::Send {
            to: link.address,
            bytes,
        }
    }
}
