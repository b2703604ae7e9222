//! What a node knows of one peer, and has for it.
use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use super::{
    datagram::{Body, Epoch, RECORD_BYTES, SenderId},
    record::{FlowRecord, Part},
    weights::Assembly,
    window::{Seen, Window},
};
use crate::history::Message;

/// Batches that may wait for a peer: some two million IPv4 flows.
const OUTBOX: usize = 32_768;
/// Messages about history that may wait for a peer.
const HISTORY: usize = 1024;
/// Former epochs of a peer that are remembered, so that recordings of them are refused.
const RETIRED: usize = 32;
/// A peer that is silent for so long is sent no flows.
const SILENT_NS: u64 = 5_000_000_000;

/// A part of some records that fits one datagram. Peers share the records.
#[derive(Clone, Debug)]
struct Batch {
    part: Part,
    records: Arc<[FlowRecord]>,
    from: usize,
    to: usize,
}

/// How far a full table of the peer has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Table {
    /// To be asked for.
    Wanted,
    /// Its first batch came.
    Coming {
        /// Its last batch came too; what is missing is between.
        last: bool,
    },
    /// It came without a gap, and all that came since.
    Complete,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) id: SenderId,
    pub(super) address: SocketAddr,
    /// The peer's present life, once it has shown that it knows ours.
    heard: Option<(Epoch, Window)>,
    retired: VecDeque<Epoch>,
    pub(super) heard_ns: Option<u64>,
    pub(super) hello_ns: Option<u64>,
    pub(super) answered_ns: Option<u64>,
    pub(super) table: Table,
    pub(super) weights: Assembly,
    next_sequence: u64,
    outbox: VecDeque<Batch>,
    table_batches: usize,
    history: VecDeque<Message>,
}

impl Link {
    pub(super) fn new(name: &str, address: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            id: SenderId::of(name),
            address,
            heard: None,
            retired: VecDeque::new(),
            heard_ns: None,
            hello_ns: None,
            answered_ns: None,
            table: Table::Wanted,
            weights: Assembly::default(),
            next_sequence: 1,
            outbox: VecDeque::new(),
            table_batches: 0,
            history: VecDeque::new(),
        }
    }

    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.heard.map(|(epoch, _)| epoch)
    }

    pub(super) fn is_live(&self, now_ns: u64) -> bool {
        self.heard.is_some()
            && self
                .heard_ns
                .is_some_and(|heard| now_ns.saturating_sub(heard) < SILENT_NS)
    }

    /// Takes note of a datagram that was meant for us. `None` when it was heard before; otherwise
    /// whether it is the first of another life of the peer.
    pub(super) fn accept(&mut self, epoch: Epoch, sequence: u64, now_ns: u64) -> Option<bool> {
        let is_new = match &mut self.heard {
            Some((known, window)) if *known == epoch => match window.accept(sequence) {
                Seen::New => false,
                Seen::Old => return None,
            },
            _ if self.retired.contains(&epoch) => return None,
            _ => true,
        };
        if is_new {
            if let Some((former, _)) = self.heard.replace((epoch, Window::starting(sequence))) {
                self.retired.push_back(former);
                if self.retired.len() > RETIRED {
                    self.retired.pop_front();
                }
            }
            self.outbox.clear();
            self.history.clear();
            self.table_batches = 0;
            self.table = Table::Wanted;
            self.weights = Assembly::default();
        }
        self.heard_ns = Some(now_ns);
        Some(is_new)
    }

    /// A batch of a table came.
    pub(super) fn note_table(&mut self, first: bool, last: bool) {
        if first {
            self.table = Table::Coming { last };
        } else if let Table::Coming { last: seen } = &mut self.table {
            *seen |= last;
        }
    }

    /// Whether the table has just become complete.
    pub(super) fn completes(&mut self) -> bool {
        let missing = self.heard.is_none_or(|(_, window)| window.missing() > 0);
        let completes = self.table == Table::Coming { last: true } && !missing;
        if completes {
            self.table = Table::Complete;
        }
        completes
    }

    /// Gives up what is missing by now, and wants the table instead. Returns how many datagrams.
    pub(super) fn give_up_missing(&mut self) -> u64 {
        let Some((_, window)) = &mut self.heard else {
            return 0;
        };
        let missing = window.missing();
        if missing > 0 {
            window.forget_missing();
            self.table = Table::Wanted;
        }
        missing
    }

    /// The next sequence number.
    pub(super) fn take_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        sequence
    }

    pub(super) fn has_table_to_send(&self) -> bool {
        self.table_batches > 0
    }

    pub(super) fn has_flows_to_send(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Queues records. Returns how many found no room: the peer will see a gap, and ask.
    pub(super) fn queue(&mut self, records: &Arc<[FlowRecord]>, is_table: bool) -> usize {
        let ranges = split(records);
        let count = ranges.len();
        for (index, (from, to)) in ranges.into_iter().enumerate() {
            if self.outbox.len() >= OUTBOX {
                self.take_sequence();
                return records.len() - from;
            }
            let part = if is_table {
                self.table_batches += 1;
                Part::Table {
                    first: index == 0,
                    last: index + 1 == count,
                }
            } else {
                Part::Stream
            };
            self.outbox.push_back(Batch {
                part,
                records: Arc::clone(records),
                from,
                to,
            });
        }
        0
    }

    /// Queues a message about history; false when there is no room.
    pub(super) fn queue_history(&mut self, message: &Message) -> bool {
        let has_room = self.history.len() < HISTORY;
        if has_room {
            self.history.push_back(message.clone());
        }
        has_room
    }

    pub(super) fn has_history_to_send(&self) -> bool {
        !self.history.is_empty()
    }

    pub(super) fn next_history(&mut self) -> Option<Message> {
        self.history.pop_front()
    }

    /// A silent peer will ask for what it lacks when it is back.
    pub(super) fn forget_history(&mut self) {
        self.history.clear();
    }

    /// Forgets what waits for a peer that is silent; it will see a gap when it is back.
    pub(super) fn discard(&mut self) {
        self.outbox.clear();
        self.table_batches = 0;
        self.take_sequence();
    }

    /// What to send next.
    pub(super) fn next_flows(&mut self) -> Option<Body> {
        let batch = self.outbox.pop_front()?;
        if batch.part != Part::Stream {
            self.table_batches -= 1;
        }
        Some(Body::Flows {
            part: batch.part,
            records: batch.records[batch.from..batch.to].to_vec(),
        })
    }
}

/// Ranges of records that fit one datagram each; one empty range when there are none.
fn split(records: &[FlowRecord]) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (index, record) in records.iter().enumerate() {
        let more = record.wire_bytes();
        if bytes + more > RECORD_BYTES {
            ranges.push((from, index));
            (from, bytes) = (index, 0);
        }
        bytes += more;
    }
    ranges.push((from, records.len()));
    ranges
}
