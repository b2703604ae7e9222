//! Datagrams, to and from bytes.
//!
//! ```text
//!  0 version   1 kind   2 flags   3 key number
//!  4 sender               8 bytes, the same through restarts
//! 12 the sender's epoch   8 bytes, another at each start
//! 20 the receiver's epoch 8 bytes, 0 while the sender does not know it
//! 28 sequence             8 bytes, for this receiver
//! 36 number of records    2 bytes
//! 38 records
//!    HMAC-SHA256 over all before it, 32 bytes
//! ```
//! Numbers are in network byte order.
use std::num::NonZeroU64;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::{
    denials::DenialRecord,
    edition::Edition,
    keys::{Keys, SIGNATURE_BYTES},
    no_listener::NoListener,
    orders::OrderRecord,
    record::{FlowRecord, Part, take},
    station::Station,
    weights::Weights,
};
use crate::history;

/// Of the protocol. A node of another version is refused, and counted.
pub const VERSION: u8 = 5;

/// The largest datagram: it fits Ethernet's 1500 bytes with IPv6, UDP and a tunnel's headers.
pub const MAX_BYTES: usize = 1400;

const HEADER_BYTES: usize = 38;
/// Bytes of records in one datagram.
pub(super) const RECORD_BYTES: usize = MAX_BYTES - HEADER_BYTES - SIGNATURE_BYTES;
/// Bytes of flows in one datagram, which may name one that it repeats.
pub(super) const FLOW_BYTES: usize = RECORD_BYTES - 8;
/// Runs of missing datagrams that one hello can name, of 12 bytes each.
pub(super) const MOST_MISSING: usize = 64;

/// Bytes that a message about history may have.
pub const HISTORY_BYTES: usize = RECORD_BYTES;

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const FLOWS: u8 = 2;
    pub(super) const WEIGHTS: u8 = 3;
    pub(super) const ORDERS: u8 = 4;
    pub(super) const HISTORY: u8 = 5;
    pub(super) const GONE: u8 = 6;
    pub(super) const DENIALS: u8 = 7;
    pub(super) const NO_LISTENER: u8 = 8;
    pub(super) const LEAVING: u8 = 16;
}

mod flag {
    pub(super) const WANT_TABLE: u8 = 1;
    pub(super) const TABLE: u8 = 2;
    pub(super) const FIRST: u8 = 4;
    pub(super) const LAST: u8 = 8;
    pub(super) const REPEATS: u8 = 16;
    pub(super) const EDITION: u8 = 32;
    pub(super) const TELLS_SESSIONS: u8 = 64;
    pub(super) const HEARS: u8 = 128;
    /// Of hellos; flows have another meaning for these two.
    pub(super) const CHECKS_SUCCEED: u8 = 2;
    pub(super) const PROOF: u8 = 4;
    /// Of [`super::kind::NO_LISTENER`].
    pub(super) const REFUSES: u8 = 1;
    pub(super) const OF_HELLO: u8 =
        WANT_TABLE | EDITION | TELLS_SESSIONS | HEARS | CHECKS_SUCCEED | PROOF;
}

/// A node, by its name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SenderId(pub u64);

impl SenderId {
    /// The same on every node.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let digest = Sha256::digest(name);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(bytes))
    }
}

/// One start of a daemon: a number that no other start has.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Epoch(pub NonZeroU64);

/// Datagrams that have not come: `count` of them from `first` on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Missing {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u32,
}

/// How two lives of two nodes show each other that they are no recordings.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Proof {
    /// Say this number again: the sender does not know this life of the receiver.
    pub challenge: Option<NonZeroU64>,
    /// The number that the receiver has asked for.
    pub answer: Option<NonZeroU64>,
}

/// What a datagram says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// I am here.
    Hello {
        /// Send me every live flow.
        want_table: bool,
        /// The configuration that I was given last; nothing where no version of it is kept.
        edition: Option<Edition>,
        /// What my own kernel says of its sessions is in my stream and in my table.
        tells_sessions: bool,
        /// I have heard you just now.
        hears: bool,
        /// One of my health checks succeeds, at least.
        checks_succeed: bool,
        /// What my wall clock shows, in nanoseconds since 1970.
        clock_unix_ns: u64,
        /// The MACs that my frames have.
        station: Station,
        /// That I am no recording, and whether you are.
        proof: Proof,
        /// Tell me again what these said.
        missing: Vec<Missing>,
    },
    /// Flows, in the order in which things happened.
    Flows {
        /// Of what.
        part: Part,
        /// The missing datagram in whose place this is.
        repeats: Option<u64>,
        /// At most what fits [`MAX_BYTES`].
        records: Vec<FlowRecord>,
    },
    /// What the sender, which is the master, has decided.
    Weights(Weights),
    /// Operators' orders that the sender knows.
    Orders(Vec<OrderRecord>),
    /// Rows of the history, or a question for them.
    History(history::Message),
    /// What a missing datagram said cannot be told again.
    Gone,
    /// This life of mine ends: choose me for nothing new.
    Leaving,
    /// Denials by hand that the sender knows, or some of them.
    Denials(Vec<DenialRecord>),
    /// The services for which the sender has no listening socket.
    NoListener(NoListener),
}

/// A datagram.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Datagram {
    /// Who sends it.
    pub sender: SenderId,
    /// In which of its lives.
    pub epoch: Epoch,
    /// For which life of the receiver.
    pub to_epoch: Option<Epoch>,
    /// One more than that of the datagram sent before to this receiver.
    pub sequence: u64,
    /// What it says.
    pub body: Body,
}

/// Why a datagram is not believed. It changes nothing and is counted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Refused {
    /// Not of this protocol, or damaged.
    #[error("not a cluster channel datagram: {0}")]
    Malformed(&'static str),
    /// Of another version of lbd.
    #[error("cluster channel version {found}; this lbd speaks {VERSION}")]
    Version {
        /// As received.
        found: u8,
    },
    /// Signed with a key that is not in `cluster.secret_file`.
    #[error("signed with key {number}, which cluster.secret_file does not have")]
    UnknownKey {
        /// As received.
        number: u8,
    },
    /// The signature is wrong.
    #[error("the HMAC is wrong: forged, or the keys differ")]
    Forged,
    /// Signed correctly, by a node that is not in the configuration.
    #[error("from a node that is not in the configuration")]
    Stranger,
    /// Heard before, or too old to tell.
    #[error("replayed, or delayed beyond the window")]
    Replayed,
    /// For another start of this daemon.
    #[error("not meant for this run of this daemon")]
    OtherEpoch,
    /// More than a peer may send.
    #[error("its sender exceeds the rate limit for a peer")]
    Flood,
}

impl Datagram {
    /// Signs and emits. Records beyond what fits must not be there: see `link`.
    #[must_use]
    pub fn emit(&self, keys: &Keys) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_BYTES);
        let (kind, flags, count) = match &self.body {
            Body::Hello {
                want_table,
                edition,
                tells_sessions,
                hears,
                checks_succeed,
                proof,
                missing,
                ..
            } => {
                let edition = u8::from(edition.is_some()) * flag::EDITION;
                let tells = u8::from(*tells_sessions) * flag::TELLS_SESSIONS;
                let succeed = u8::from(*checks_succeed) * flag::CHECKS_SUCCEED;
                let flags = u8::from(*want_table) * flag::WANT_TABLE;
                let hears = u8::from(*hears) * flag::HEARS;
                let proof = u8::from(*proof != Proof::default()) * flag::PROOF;
                let flags = flags | edition | tells | hears | succeed | proof;
                (kind::HELLO, flags, missing.len())
            }
            Body::Flows {
                part,
                repeats,
                records,
            } => {
                let repeats = u8::from(repeats.is_some()) * flag::REPEATS;
                (kind::FLOWS, part_flags(*part) | repeats, records.len())
            }
            Body::Gone => (kind::GONE, 0, 0),
            Body::Leaving => (kind::LEAVING, 0, 0),
            Body::Weights(weights) => (kind::WEIGHTS, 0, weights.backends.len()),
            Body::Orders(orders) => (kind::ORDERS, 0, orders.len()),
            Body::History(_) => (kind::HISTORY, 0, 1),
            Body::Denials(denials) => (kind::DENIALS, 0, denials.len()),
            Body::NoListener(it) => {
                let refuses = u8::from(it.refuses) * flag::REFUSES;
                (kind::NO_LISTENER, refuses, it.services.len())
            }
        };
        bytes.extend([VERSION, kind, flags, keys.signing_number()]);
        bytes.extend(self.sender.0.to_be_bytes());
        bytes.extend(self.epoch.0.get().to_be_bytes());
        let to_epoch = self.to_epoch.map_or(0, |epoch| epoch.0.get());
        bytes.extend(to_epoch.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        bytes.extend(count.to_be_bytes());
        match &self.body {
            Body::Hello {
                edition,
                clock_unix_ns,
                station,
                proof,
                missing,
                ..
            } => {
                if let Some(edition) = edition {
                    edition.emit(&mut bytes);
                }
                bytes.extend(clock_unix_ns.to_be_bytes());
                station.emit(&mut bytes);
                if *proof != Proof::default() {
                    for nonce in [proof.challenge, proof.answer] {
                        bytes.extend(nonce.map_or(0, NonZeroU64::get).to_be_bytes());
                    }
                }
                for run in missing {
                    bytes.extend(run.first.to_be_bytes());
                    bytes.extend(run.count.to_be_bytes());
                }
            }
            Body::Flows {
                repeats, records, ..
            } => {
                if let Some(sequence) = repeats {
                    bytes.extend(sequence.to_be_bytes());
                }
                for record in records {
                    record.emit(&mut bytes);
                }
            }
            Body::Gone | Body::Leaving => {}
            Body::Weights(weights) => weights.emit(&mut bytes),
            Body::Orders(orders) => orders.iter().for_each(|order| order.emit(&mut bytes)),
            Body::History(message) => message.emit(&mut bytes),
            Body::Denials(denials) => denials.iter().for_each(|it| it.emit(&mut bytes)),
            Body::NoListener(it) => it.emit(&mut bytes),
        }
        let signature = keys.sign(&bytes);
        bytes.extend(signature);
        bytes
    }

    /// Verifies, then parses: nothing but the version and the key's number is believed of what no key
    /// with a key has signed.
    pub fn parse(bytes: &[u8], keys: &Keys) -> Result<Self, Refused> {
        let found = *bytes.first().ok_or(Refused::Malformed("it is empty"))?;
        if found != VERSION {
            return Err(Refused::Version { found });
        }
        if bytes.len() < HEADER_BYTES + SIGNATURE_BYTES {
            return Err(Refused::Malformed("it is too short"));
        }
        if bytes.len() > MAX_BYTES {
            return Err(Refused::Malformed("it is too long"));
        }
        let (message, signature) = bytes.split_at(bytes.len() - SIGNATURE_BYTES);
        keys.verify(message[3], message, signature)?;
        parse_message(message).ok_or(Refused::Malformed("it has invalid fields"))
    }
}

/// What an unverified datagram claims, so that more of a flood costs no HMAC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unverified {
    pub(super) sender: SenderId,
    pub(super) to_epoch: Option<Epoch>,
    /// It is part of a full table.
    pub(super) is_table: bool,
}

impl Unverified {
    /// `None` where there is no header of this version.
    pub(super) fn read(mut bytes: &[u8]) -> Option<Self> {
        let [version, kind, flags, _key] = take(&mut bytes)?;
        let sender = SenderId(u64::from_be_bytes(take(&mut bytes)?));
        let _epoch: [u8; 8] = take(&mut bytes)?;
        let to_epoch = NonZeroU64::new(u64::from_be_bytes(take(&mut bytes)?)).map(Epoch);
        (version == VERSION).then_some(Self {
            sender,
            to_epoch,
            is_table: kind == kind::FLOWS && flags & flag::TABLE != 0,
        })
    }
}

fn part_flags(part: Part) -> u8 {
    match part {
        Part::Stream => 0,
        Part::Table { first, last } => {
            flag::TABLE | (u8::from(first) * flag::FIRST) | (u8::from(last) * flag::LAST)
        }
    }
}

fn parse_message(mut message: &[u8]) -> Option<Datagram> {
    let [_version, kind, flags, _key] = take(&mut message)?;
    let sender = SenderId(u64::from_be_bytes(take(&mut message)?));
    let epoch = Epoch(NonZeroU64::new(u64::from_be_bytes(take(&mut message)?))?);
    let to_epoch = NonZeroU64::new(u64::from_be_bytes(take(&mut message)?)).map(Epoch);
    let sequence = u64::from_be_bytes(take(&mut message)?);
    let count = u16::from_be_bytes(take(&mut message)?);
    let body = match kind {
        kind::HELLO if flags & !flag::OF_HELLO == 0 => Body::Hello {
            want_table: flags & flag::WANT_TABLE != 0,
            tells_sessions: flags & flag::TELLS_SESSIONS != 0,
            hears: flags & flag::HEARS != 0,
            checks_succeed: flags & flag::CHECKS_SUCCEED != 0,
            edition: if flags & flag::EDITION == 0 {
                None
            } else {
                Some(Edition::parse(&mut message)?)
            },
            clock_unix_ns: u64::from_be_bytes(take(&mut message)?),
            station: Station::parse(&mut message)?,
            proof: if flags & flag::PROOF == 0 {
                Proof::default()
            } else {
                Proof {
                    challenge: NonZeroU64::new(u64::from_be_bytes(take(&mut message)?)),
                    answer: NonZeroU64::new(u64::from_be_bytes(take(&mut message)?)),
                }
            },
            missing: (0..count)
                .map(|_| {
                    Some(Missing {
                        first: u64::from_be_bytes(take(&mut message)?),
                        count: u32::from_be_bytes(take(&mut message)?),
                    })
                })
                .collect::<Option<_>>()?,
        },
        kind::FLOWS => {
            let repeats = if flags & flag::REPEATS == 0 {
                None
            } else {
                Some(u64::from_be_bytes(take(&mut message)?))
            };
            let flags = flags & !flag::REPEATS;
            let part = match flags {
                0 => Part::Stream,
                _ if flags & flag::TABLE != 0
                    && flags & !(flag::TABLE | flag::FIRST | flag::LAST) == 0 =>
                {
                    Part::Table {
                        first: flags & flag::FIRST != 0,
                        last: flags & flag::LAST != 0,
                    }
                }
                _ => return None,
            };
            let records = (0..count)
                .map(|_| FlowRecord::parse(&mut message))
                .collect::<Option<Vec<_>>>()?;
            Body::Flows {
                part,
                repeats,
                records,
            }
        }
        kind::GONE if flags == 0 && count == 0 => Body::Gone,
        kind::LEAVING if flags == 0 && count == 0 => Body::Leaving,
        kind::WEIGHTS if flags == 0 => Body::Weights(Weights::parse(count, &mut message)?),
        kind::ORDERS if flags == 0 => {
            let orders = (0..count).map(|_| OrderRecord::parse(&mut message));
            Body::Orders(orders.collect::<Option<_>>()?)
        }
        kind::HISTORY if flags == 0 && count == 1 => {
            Body::History(history::Message::parse(&mut message)?)
        }
        kind::NO_LISTENER if flags & !flag::REFUSES == 0 => {
            let refuses = flags & flag::REFUSES != 0;
            Body::NoListener(NoListener::parse(refuses, count, &mut message)?)
        }
        kind::DENIALS if flags == 0 => {
            let denials = (0..count).map(|_| DenialRecord::parse(&mut message));
            Body::Denials(denials.collect::<Option<_>>()?)
        }
        _ => return None,
    };
    message.is_empty().then_some(Datagram {
        sender,
        epoch,
        to_epoch,
        sequence,
        body,
    })
}
