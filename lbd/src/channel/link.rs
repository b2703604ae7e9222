//! What a node knows of one peer, and has for it.
use std::{collections::VecDeque, net::SocketAddr};

use super::{
    bucket::{self, Bucket},
    datagram::{Body, Epoch, FLOW_BYTES, MOST_MISSING, Missing, SenderId},
    edition::Edition,
    no_listener::NoListener,
    record::{FlowRecord, Part},
    retransmit::{Again, Content, Place, RetransmitBuffer},
    station::Station,
    weights::Assembly,
    window::{Seen, Window},
};
use crate::history::Message;

/// Messages about history that may wait for a peer.
const HISTORY: usize = 1024;
/// Flows that may wait for a peer: some ten seconds of a stream at its limit.
const OUTBOX: usize = 1 << 18;
/// Datagrams that may wait for a peer when it asks for more again: a tenth of a second's sending. It asks
/// twenty times a second.
const REPEATS: usize = 2048;
/// Former epochs of a peer that are remembered, so that recordings of them are refused.
const RETIRED: usize = 32;
/// A peer that is silent for so long is sent no flows.
const SILENT_NS: u64 = 3_000_000_000;
/// A peer that was heard before that long is not told that it is heard.
const HEARS_NS: u64 = 700_000_000;
/// Between two lists of what is missing: what was asked for has had the time to come.
const ASK_NS: u64 = 50_000_000;
/// After so long without what was missing first, the table is asked for.
const PATIENCE_NS: u64 = 2_000_000_000;

/// A datagram's worth of the table, or of what is told again.
#[derive(Clone, Debug)]
struct Batch {
    part: Part,
    place: Option<Place>,
    repeats: Option<u64>,
    records: Vec<FlowRecord>,
}

/// How far a full table of the peer has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Table {
    /// To be asked for.
    Wanted,
    /// Some of it came.
    Coming {
        /// Its first batch did.
        first: bool,
        /// The number of its last one, once that came: what is missing is before it.
        last: Option<u64>,
    },
    /// It came without a gap, and all that came since.
    Complete,
}

/// What a peer's health checks find.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Checks {
    /// None succeeds, as far as it has said.
    #[default]
    NoneSucceeds,
    /// One succeeds, at least.
    OneSucceeds,
}

impl From<bool> for Checks {
    fn from(succeed: bool) -> Self {
        if succeed {
            Self::OneSucceeds
        } else {
            Self::NoneSucceeds
        }
    }
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
    /// When the peer last said that it hears this node.
    pub(super) confirmed_ns: Option<u64>,
    pub(super) hello_ns: Option<u64>,
    pub(super) answered_ns: Option<u64>,
    /// When it was last told what it has asked to show that we are no recording.
    pub(super) proved_ns: Option<u64>,
    /// What its wall clock showed, and when that came.
    pub(super) clock: Option<(u64, u64)>,
    /// Its MACs, as its last hello said. They stay when it is silent: its program may steer on.
    pub(super) station: Option<Station>,
    /// The configuration that it has, as it said last.
    pub(super) edition: Option<Edition>,
    /// It has said that its present life ends.
    pub(super) is_leaving: bool,
    /// It tells of its own kernel's sessions, as it said last.
    pub(super) tells_sessions: bool,
    /// For which services it has no listening socket, as it said last.
    pub(super) no_listener: NoListener,
    /// As it said last.
    pub(super) checks: Checks,
    pub(super) table: Table,
    pub(super) weights: Assembly,
    /// What it may say still: of a table that this node lacks, and else.
    table_bucket: Bucket,
    bucket: Bucket,
    /// Datagrams of it that were more.
    pub(super) refused_flood: u64,
    asking: Asking,
    next_sequence: u64,
    history: VecDeque<Message>,
    /// Parts of the table and what is told again, as it was when it was read: nothing that happened
    /// later may overtake it.
    batches: VecDeque<Batch>,
    stream: VecDeque<FlowRecord>,
    sent: RetransmitBuffer,
    /// It is being told the table.
    is_told_table: bool,
}

/// What was asked for of what is missing.
#[derive(Clone, Copy, Debug, Default)]
struct Asking {
    due_ns: u64,
    /// The latest number when it was looked last: what is missing since then may just be overtaken.
    latest: u64,
    /// The first that is missing, and since when it is the first.
    first: Option<u64>,
    since_ns: u64,
}

impl Link {
    pub(super) fn new(name: &str, address: SocketAddr, first_sequence: u64) -> Self {
        Self {
            name: name.to_owned(),
            id: SenderId::of(name),
            address,
            heard: None,
            retired: VecDeque::new(),
            heard_ns: None,
            confirmed_ns: None,
            hello_ns: None,
            answered_ns: None,
            proved_ns: None,
            clock: None,
            station: None,
            edition: None,
            is_leaving: false,
            tells_sessions: false,
            no_listener: NoListener::default(),
            checks: Checks::default(),
            table: Table::Wanted,
            weights: Assembly::default(),
            table_bucket: Bucket::new(bucket::TABLE),
            bucket: Bucket::new(bucket::BURST),
            refused_flood: 0,
            asking: Asking::default(),
            next_sequence: first_sequence,
            history: VecDeque::new(),
            batches: VecDeque::new(),
            stream: VecDeque::new(),
            sent: RetransmitBuffer::default(),
            is_told_table: false,
        }
    }

    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.heard.as_ref().map(|(epoch, _)| *epoch)
    }

    pub(super) fn is_live(&self, now_ns: u64) -> bool {
        self.heard.is_some()
            && self
                .heard_ns
                .is_some_and(|heard| now_ns.saturating_sub(heard) < SILENT_NS)
    }

    /// Whether it was heard just now, as it is told: two of its hellos may be lost.
    pub(super) fn is_heard(&self, now_ns: u64) -> bool {
        self.heard_ns
            .is_some_and(|heard| now_ns.saturating_sub(heard) < HEARS_NS)
    }

    /// Whether the peer has said all that it may for now.
    pub(super) fn is_flooded(&mut self, is_table: bool, now_ns: u64) -> bool {
        let is_flooded = self.bucket(is_table).is_empty(now_ns);
        self.refused_flood += u64::from(is_flooded);
        is_flooded
    }

    fn bucket(&mut self, is_table: bool) -> &mut Bucket {
        if is_table && self.table != Table::Complete {
            &mut self.table_bucket
        } else {
            &mut self.bucket
        }
    }

    /// Whether a life of the peer was ended by another one.
    pub(super) fn is_retired(&self, epoch: Epoch) -> bool {
        self.retired.contains(&epoch)
    }

    /// Takes note of a datagram that was meant for us, and counts it against what the peer may say.
    /// `None` when it was heard before; otherwise whether it is the first of another life of the peer.
    pub(super) fn accept(
        &mut self,
        epoch: Epoch,
        sequence: u64,
        is_table: bool,
        now_ns: u64,
    ) -> Option<bool> {
        let is_new = match &mut self.heard {
            Some((known, window)) if *known == epoch => match window.accept(sequence) {
                Seen::New => false,
                Seen::Old => return None,
            },
            _ if self.retired.contains(&epoch) => return None,
            _ => true,
        };
        self.bucket(is_table).take(now_ns);
        if is_new {
            if let Some((former, _)) = self.heard.replace((epoch, Window::starting(sequence))) {
                self.retired.push_back(former);
                if self.retired.len() > RETIRED {
                    self.retired.pop_front();
                }
            }
            self.is_leaving = false;
            self.no_listener = NoListener::default();
            self.history.clear();
            self.forget_unsent();
            self.table = Table::Wanted;
            self.weights = Assembly::default();
            self.asking = Asking::default();
        }
        self.heard_ns = Some(now_ns);
        Some(is_new)
    }

    /// The peer has begun to tell of its sessions: the table that it told before is without them.
    pub(super) fn note_tells_sessions(&mut self, tells_sessions: bool) {
        if !std::mem::replace(&mut self.tells_sessions, tells_sessions) && tells_sessions {
            self.table = Table::Wanted;
        }
    }

    /// A batch of a table came. Returns whether a table begins to come by it.
    pub(super) fn note_table(
        &mut self,
        sequence: u64,
        (first, last): (bool, bool),
        again: bool,
    ) -> bool {
        let fresh = Table::Coming { first, last: None };
        let (mut table, begins) = match self.table {
            Table::Coming { .. } if first && !again => (fresh, true),
            Table::Coming { .. } => (self.table, false),
            Table::Wanted => (fresh, true),
            // The peer sends it unrequested.
            Table::Complete => return false,
        };
        if let Table::Coming {
            first: has_first,
            last: has_last,
        } = &mut table
        {
            *has_first |= first;
            if last {
                *has_last = Some(sequence);
            }
        }
        self.table = table;
        begins
    }

    /// Whether the table has just become complete. One that ended without its beginning, which was given
    /// up in the middle of it, has to be requested again.
    pub(super) fn completes(&mut self) -> bool {
        let (
            Table::Coming {
                first,
                last: Some(last),
            },
            Some((_, window)),
        ) = (self.table, &self.heard)
        else {
            return false;
        };
        if window.first_missing().is_some_and(|missing| missing < last) {
            return false;
        }
        self.table = if first {
            Table::Complete
        } else {
            Table::Wanted
        };
        first
    }

    /// What was missing has been told again; false when it was not missing any more.
    pub(super) fn settle(&mut self, sequence: u64) -> bool {
        self.heard
            .as_mut()
            .is_some_and(|(_, window)| window.settle(sequence))
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

    /// Gives up what was asked for in vain for long, or is too much. Returns how many datagrams.
    pub(super) fn give_up_if_vain(&mut self, now_ns: u64) -> u64 {
        let Some((_, window)) = &self.heard else {
            return 0;
        };
        let first = window.first_missing();
        if first != self.asking.first {
            (self.asking.first, self.asking.since_ns) = (first, now_ns);
        }
        let waited_ns = now_ns.saturating_sub(self.asking.since_ns);
        if window.is_torn() || first.is_some() && waited_ns >= PATIENCE_NS {
            return self.give_up_missing();
        }
        0
    }

    /// What to request, when it is time. Call it repeatedly.
    pub(super) fn ask_if_due(&mut self, now_ns: u64) -> Option<Vec<Missing>> {
        let (_, window) = self.heard.as_ref()?;
        let looked = std::mem::replace(&mut self.asking.latest, window.latest());
        if now_ns < self.asking.due_ns || window.missing() == 0 {
            return None;
        }
        let runs = window.runs(looked).take(MOST_MISSING);
        let missing: Vec<Missing> = runs
            .map(|(first, count)| Missing {
                first,
                count: u32::try_from(count).unwrap_or(u32::MAX),
            })
            .collect();
        if missing.is_empty() {
            return None;
        }
        self.asking.due_ns = now_ns + ASK_NS;
        Some(missing)
    }

    /// Whether to request the whole table. Once some of it came, what is missing of it is asked
    /// for instead.
    pub(super) fn wants_table(&self) -> bool {
        self.heard.is_some() && self.table == Table::Wanted
    }

    /// The next sequence number, of a datagram that says this.
    pub(super) fn take_sequence(&mut self, kept: Content) -> u64 {
        let sequence = self.skip_sequence();
        self.sent.push(sequence, kept);
        sequence
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Leaves a gap that cannot be closed: the peer will ask for the table.
    pub(super) fn skip_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        sequence
    }

    /// What a datagram was about: see [`RetransmitBuffer::again`].
    pub(super) fn again(&mut self, sequence: u64, now_ns: u64) -> Again {
        self.sent.again(sequence, now_ns)
    }

    pub(super) fn begin_table(&mut self) -> bool {
        !std::mem::replace(&mut self.is_told_table, true)
    }

    pub(super) fn is_told_table(&self) -> bool {
        self.is_told_table
    }

    pub(super) fn has_flows_to_send(&self) -> bool {
        !self.batches.is_empty() || !self.stream.is_empty()
    }

    /// Queues what happened. Returns how many flows found no room: the peer will see a gap, and ask.
    pub(super) fn queue(&mut self, records: &[FlowRecord]) -> usize {
        let room = OUTBOX - self.stream.len();
        self.stream.extend(records.iter().take(room));
        let overrun = records.len().saturating_sub(room);
        if overrun > 0 {
            self.skip_sequence();
        }
        overrun
    }

    /// How many more datagrams may be queued to be told again.
    pub(super) fn room_to_repeat(&self) -> usize {
        REPEATS.saturating_sub(self.batches.len())
    }

    /// Queues a place of the table, or what is told again, as it was read just now. What is more than
    /// a datagram takes goes first, so that the one that counts says all is there.
    pub(super) fn queue_read(
        &mut self,
        part: Part,
        place: Option<Place>,
        repeats: Option<u64>,
        records: &[FlowRecord],
    ) {
        let mut rest = records;
        while let (count, true) = fitting(rest.iter()) {
            let (some, others) = rest.split_at(count);
            rest = others;
            let part = match part {
                Part::Stream => Part::Stream,
                Part::Table { .. } => Part::Table {
                    first: false,
                    last: false,
                },
            };
            self.batches.push_back(Batch {
                part,
                place,
                repeats: None,
                records: some.to_vec(),
            });
        }
        self.batches.push_back(Batch {
            part,
            place,
            repeats,
            records: rest.to_vec(),
        });
        if repeats.is_none() && matches!(part, Part::Table { last: true, .. }) {
            self.is_told_table = false;
        }
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
        self.forget_unsent();
        self.skip_sequence();
    }

    fn forget_unsent(&mut self) {
        self.batches.clear();
        self.stream.clear();
        self.sent.clear();
        self.is_told_table = false;
    }

    /// What to send next, and what to keep of it.
    pub(super) fn next_flows(&mut self) -> Option<(Body, Content)> {
        if let Some(batch) = self.batches.pop_front() {
            let Batch {
                part,
                place,
                repeats,
                records,
            } = batch;
            let kept = match place {
                Some(place) => Content::Table(part, place),
                None => Content::Stream(records.clone()),
            };
            let body = Body::Flows {
                part,
                repeats,
                records,
            };
            return Some((body, kept));
        }
        let (count, _) = fitting(self.stream.iter());
        if count == 0 {
            return None;
        }
        let records: Vec<FlowRecord> = self.stream.drain(..count).collect();
        let body = Body::Flows {
            part: Part::Stream,
            repeats: None,
            records: records.clone(),
        };
        Some((body, Content::Stream(records)))
    }
}

/// How many of the first records one datagram takes, and whether there are more.
fn fitting<'a>(records: impl Iterator<Item = &'a FlowRecord>) -> (usize, bool) {
    let (mut count, mut bytes) = (0, 0);
    for record in records {
        bytes += record.wire_bytes();
        if bytes > FLOW_BYTES {
            return (count, true);
        }
        count += 1;
    }
    (count, false)
}
