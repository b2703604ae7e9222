//! What was sent to a peer not long ago, so that what it missed can be told again.
//!
//! Not the datagrams are kept but what they were about: what is told again is how things stand then. A
//! datagram of a minute ago would bring back sessions that have ended since.
use std::collections::VecDeque;

use super::record::{FlowRecord, Part};

/// Datagrams that are remembered of a peer, and flows in them: some seconds of a busy stream, and a
/// table of two million flows.
const DATAGRAMS: usize = 1 << 16;
const RECORDS: usize = 1 << 18;
/// A datagram is told again so long after the last time at the earliest: the answer may be under way.
const AGAIN_NS: u64 = 40_000_000;

/// What a full table is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Table {
    /// The IPv4 flows.
    Flows4,
    /// The IPv6 flows.
    Flows6,
    /// The sessions of the sender's own kernel.
    Sessions,
}

/// A place in the sender's tables: buckets, or places, from one up to another. Never on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// In which table.
    pub of: Table,
    /// Its first bucket.
    pub from: usize,
    /// The bucket behind its last one.
    pub to: usize,
}

/// What a datagram was about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    /// What is told every few seconds anyway.
    Word,
    /// These flows.
    Stream(Vec<FlowRecord>),
    /// A place in the tables.
    Table(Part, Place),
}

/// What to retransmit of a datagram.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Again {
    /// It is too old: no node still holds it.
    Gone,
    /// It was told again just now.
    Told,
    /// This.
    Tell(Content),
}

#[derive(Clone, Debug)]
struct Sent {
    sequence: u64,
    kept: Content,
    again_ns: u64,
}

/// The last datagrams to one peer.
#[derive(Clone, Debug, Default)]
pub(super) struct RetransmitBuffer {
    sent: VecDeque<Sent>,
    records: usize,
}

impl RetransmitBuffer {
    /// Sequence numbers come in their order.
    pub(super) fn push(&mut self, sequence: u64, kept: Content) {
        self.records += records(&kept);
        self.sent.push_back(Sent {
            sequence,
            kept,
            again_ns: 0,
        });
        while self.sent.len() > DATAGRAMS || self.records > RECORDS {
            let Some(oldest) = self.sent.pop_front() else {
                return;
            };
            self.records -= records(&oldest.kept);
        }
    }

    /// What a datagram was about.
    pub(super) fn again(&mut self, sequence: u64, now_ns: u64) -> Again {
        let found = self
            .sent
            .binary_search_by_key(&sequence, |sent| sent.sequence);
        let Ok(index) = found else {
            return Again::Gone;
        };
        let sent = &mut self.sent[index];
        if now_ns < sent.again_ns {
            return Again::Told;
        }
        sent.again_ns = now_ns + AGAIN_NS;
        Again::Tell(sent.kept.clone())
    }

    pub(super) fn clear(&mut self) {
        self.sent.clear();
        self.records = 0;
    }
}

fn records(kept: &Content) -> usize {
    match kept {
        Content::Stream(records) => records.len(),
        Content::Word | Content::Table(..) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_known_once_in_a_while() {
        let mut history = RetransmitBuffer::default();
        for sequence in (0..2 * DATAGRAMS as u64).step_by(2) {
            history.push(sequence, Content::Word);
        }
        assert_eq!(history.again(1, 0), Again::Gone, "never sent");
        assert_eq!(history.again(4, 0), Again::Tell(Content::Word));
        assert_eq!(history.again(4, AGAIN_NS - 1), Again::Told);
        assert_eq!(history.again(4, AGAIN_NS), Again::Tell(Content::Word));
        history.push(u64::MAX, Content::Word);
        assert_eq!(history.again(0, 0), Again::Gone, "the oldest went");
    }

    #[test]
    fn flows_count_by_themselves() {
        let record = FlowRecord {
            change: super::super::Change::Opened,
            source: "198.51.100.7:1".parse().unwrap(),
            vip: "192.0.2.25:25".parse().unwrap(),
            backend: crate::units::Endpoint::of_virtual([192, 0, 2, 11].into()),
        };
        let mut history = RetransmitBuffer::default();
        for sequence in 0..=RECORDS as u64 / 64 {
            history.push(sequence, Content::Stream(vec![record; 64]));
        }
        assert_eq!(
            (history.again(0, 0), history.records),
            (Again::Gone, RECORDS)
        );
        history.clear();
        assert_eq!((history.again(9, 0), history.records), (Again::Gone, 0));
    }
}
