//! What nodes say to each other about their rows.
use super::{
    row::Row,
    wire::{put_name, take, take_name, take_u32, take_u64},
};

/// One message: it fits a datagram of the cluster channel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message {
    /// Rows of any node and minute.
    Rows(Vec<Row>),
    /// The digest of each hour of a day that the sender has of a node; 0 for nothing.
    Hours {
        /// Whose rows.
        node: String,
        /// Days of UTC since 1970.
        day: u32,
        /// 24 digests.
        digests: Vec<u64>,
    },
    /// Tell me the minutes of this hour.
    AskMinutes {
        /// Whose rows.
        node: String,
        /// Hours since 1970.
        hour: u32,
    },
    /// The digest of each minute of an hour.
    Minutes {
        /// Whose rows.
        node: String,
        /// Hours since 1970.
        hour: u32,
        /// 60 digests.
        digests: Vec<u64>,
    },
    /// Send me the rows of these minutes.
    AskRows {
        /// Whose rows.
        node: String,
        /// Hours since 1970.
        hour: u32,
        /// A bit for each minute, the first one lowest.
        minutes: u64,
    },
    /// All that was asked for is sent, or as much of it as is sent at once.
    Done {
        /// Whose rows.
        node: String,
        /// Hours since 1970.
        hour: u32,
    },
}

mod kind {
    pub(super) const ROWS: u8 = 1;
    pub(super) const HOURS: u8 = 2;
    pub(super) const ASK_MINUTES: u8 = 3;
    pub(super) const MINUTES: u8 = 4;
    pub(super) const ASK_ROWS: u8 = 5;
    pub(super) const DONE: u8 = 6;
}

fn put_digests(digests: &[u64], to: &mut Vec<u8>) {
    for digest in digests {
        to.extend(digest.to_be_bytes());
    }
}

impl Message {
    /// Appends the message.
    pub fn emit(&self, to: &mut Vec<u8>) {
        let mut head = |kind: u8, node: &str, number: u32| {
            to.push(kind);
            put_name(node, to);
            to.extend(number.to_be_bytes());
        };
        match self {
            Self::Rows(rows) => {
                to.push(kind::ROWS);
                to.extend(u16::try_from(rows.len()).unwrap_or(u16::MAX).to_be_bytes());
                for row in rows {
                    row.emit(to);
                }
            }
            Self::Hours { node, day, digests } => {
                head(kind::HOURS, node, *day);
                put_digests(digests, to);
            }
            Self::AskMinutes { node, hour } => head(kind::ASK_MINUTES, node, *hour),
            Self::Minutes {
                node,
                hour,
                digests,
            } => {
                head(kind::MINUTES, node, *hour);
                put_digests(digests, to);
            }
            Self::AskRows {
                node,
                hour,
                minutes,
            } => {
                head(kind::ASK_ROWS, node, *hour);
                to.extend(minutes.to_be_bytes());
            }
            Self::Done { node, hour } => head(kind::DONE, node, *hour),
        }
    }

    /// Takes one message off the front of `bytes`; `None` when there is none that is whole and sound.
    #[must_use]
    pub fn parse(bytes: &mut &[u8]) -> Option<Self> {
        let [kind] = take(bytes)?;
        if kind == kind::ROWS {
            let count = u16::from_be_bytes(take(bytes)?);
            let rows = (0..count).map(|_| Row::parse(bytes));
            return Some(Self::Rows(rows.collect::<Option<_>>()?));
        }
        let (node, number) = (take_name(bytes)?, take_u32(bytes)?);
        let mut digests =
            |count: usize| -> Option<Vec<u64>> { (0..count).map(|_| take_u64(bytes)).collect() };
        Some(match kind {
            kind::HOURS => Self::Hours {
                digests: digests(24)?,
                day: number,
                node,
            },
            kind::ASK_MINUTES => Self::AskMinutes { node, hour: number },
            kind::MINUTES => Self::Minutes {
                digests: digests(60)?,
                hour: number,
                node,
            },
            kind::ASK_ROWS => Self::AskRows {
                minutes: take_u64(bytes)?,
                hour: number,
                node,
            },
            kind::DONE => Self::Done { node, hour: number },
            _ => return None,
        })
    }
}

/// Rows in messages of at most so many bytes each. A row is some 600 bytes at most.
#[must_use]
pub fn parts(rows: impl IntoIterator<Item = Row>, most_bytes: usize) -> Vec<Message> {
    let (mut messages, mut part, mut used) = (Vec::new(), Vec::new(), 3);
    for row in rows {
        let mut bytes = Vec::with_capacity(128);
        row.emit(&mut bytes);
        if used + bytes.len() > most_bytes && !part.is_empty() {
            messages.push(Message::Rows(std::mem::take(&mut part)));
            used = 3;
        }
        used += bytes.len();
        part.push(row);
    }
    if !part.is_empty() {
        messages.push(Message::Rows(part));
    }
    messages
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::{super::wire::tests::any_row, *};

    pub(crate) fn any_message() -> impl Strategy<Value = Message> {
        let name = || "[a-z0-9.-]{0,20}";
        let digests = |count| proptest::collection::vec(any::<u64>(), count);
        prop_oneof![
            proptest::collection::vec(any_row(), 0..3).prop_map(Message::Rows),
            (name(), any::<u32>(), digests(24)).prop_map(|(node, day, digests)| Message::Hours {
                node,
                day,
                digests
            }),
            (name(), any::<u32>()).prop_map(|(node, hour)| Message::AskMinutes { node, hour }),
            (name(), any::<u32>(), digests(60)).prop_map(|(node, hour, digests)| {
                Message::Minutes {
                    node,
                    hour,
                    digests,
                }
            }),
            (name(), any::<u32>(), any::<u64>()).prop_map(|(node, hour, minutes)| {
                Message::AskRows {
                    node,
                    hour,
                    minutes,
                }
            }),
            (name(), any::<u32>()).prop_map(|(node, hour)| Message::Done { node, hour }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed_and_nothing_less(
            message in any_message(), at: prop::sample::Index
        ) {
            let mut bytes = Vec::new();
            message.emit(&mut bytes);
            let mut rest = &bytes[..];
            prop_assert_eq!(Message::parse(&mut rest), Some(message));
            prop_assert!(rest.is_empty());
            prop_assert_eq!(Message::parse(&mut &bytes[..at.index(bytes.len())]), None);
        }

        #[test]
        fn parts_fit_and_keep_every_row(rows in proptest::collection::vec(any_row(), 0..50)) {
            let mut again = Vec::new();
            for message in parts(rows.clone(), 1200) {
                let mut bytes = Vec::new();
                message.emit(&mut bytes);
                prop_assert!(bytes.len() <= 1200, "{}", bytes.len());
                let Message::Rows(part) = message else { panic!("rows only") };
                again.extend(part);
            }
            prop_assert_eq!(again, rows);
        }
    }
}
