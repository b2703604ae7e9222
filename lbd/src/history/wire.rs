//! Rows to and from bytes: what nodes tell each other, and what digests are made of.
use std::net::IpAddr;

use super::row::{Denied, Happened, Refusal, Reigned, Row, Sample};

/// The longest name of a node or backend (`values::name` has 63), and of a kind or reason.
const NAME: usize = 64;
/// The longest sentence; what is longer is cut when it is recorded.
pub(super) const TEXT: usize = 300;

mod kind {
    pub(super) const REIGNED: u8 = 1;
    pub(super) const SAMPLE: u8 = 2;
    pub(super) const DENIED: u8 = 3;
    pub(super) const HAPPENED: u8 = 4;
}

/// At most so many bytes, cut before a character and not within one.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn put_text(text: &str, most: usize, to: &mut Vec<u8>) {
    let text = cut(text, most);
    // Neither limit is beyond 16 bits.
    let length = u16::try_from(text.len()).unwrap_or(0);
    to.extend(length.to_be_bytes());
    to.extend(text.as_bytes());
}

/// Takes so many bytes off the front.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn take_text(most: usize, bytes: &mut &[u8]) -> Option<String> {
    let length = usize::from(u16::from_be_bytes(take(bytes)?));
    if length > most {
        return None;
    }
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

pub(super) fn put_name(name: &str, to: &mut Vec<u8>) {
    put_text(name, NAME, to);
}

pub(super) fn take_name(bytes: &mut &[u8]) -> Option<String> {
    take_text(NAME, bytes)
}

pub(super) fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(take(bytes)?))
}

pub(super) fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(take(bytes)?))
}

/// 1 to 60.
fn take_seconds(bytes: &mut &[u8]) -> Option<u8> {
    let [seconds] = take(bytes)?;
    (1..=60).contains(&seconds).then_some(seconds)
}

fn take_flag(bytes: &mut &[u8]) -> Option<bool> {
    match take(bytes)? {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

impl Row {
    /// Appends the row.
    pub fn emit(&self, to: &mut Vec<u8>) {
        match self {
            Self::Reigned(row) => {
                to.push(kind::REIGNED);
                put_name(&row.node, to);
                to.extend(row.since_unix_s.to_be_bytes());
                to.extend(row.minute.to_be_bytes());
                to.push(row.seconds);
                for count in [row.denied, row.rate_limited, row.turned_away, row.reset] {
                    to.extend(count.to_be_bytes());
                }
            }
            Self::Sample(row) => {
                to.push(kind::SAMPLE);
                put_name(&row.node, to);
                to.extend(row.since_unix_s.to_be_bytes());
                to.extend(row.minute.to_be_bytes());
                put_name(&row.backend, to);
                to.push(row.seconds);
                to.extend(row.opened.to_be_bytes());
                to.extend(row.bytes.to_be_bytes());
                for figure in [row.sessions, row.sessions_max, row.sources] {
                    to.extend(figure.to_be_bytes());
                }
                to.push(u8::from(row.queued.is_some()));
                to.extend(row.queued.unwrap_or(0).to_be_bytes());
                to.extend(row.weight_permille.to_be_bytes());
                to.push(row.off_s);
                put_name(&row.reason, to);
            }
            Self::Denied(row) => {
                to.push(kind::DENIED);
                put_name(&row.node, to);
                to.extend(row.minute.to_be_bytes());
                match row.source {
                    IpAddr::V4(v4) => {
                        to.push(4);
                        to.extend(v4.octets());
                    }
                    IpAddr::V6(v6) => {
                        to.push(6);
                        to.extend(v6.octets());
                    }
                }
                to.push(row.refusal.number());
                to.extend(row.frames.to_be_bytes());
            }
            Self::Happened(row) => {
                to.push(kind::HAPPENED);
                put_name(&row.node, to);
                to.extend(row.unix_s.to_be_bytes());
                put_name(&row.kind, to);
                put_name(&row.subject, to);
                put_text(&row.text, TEXT, to);
                to.push(u8::from(row.as_master));
            }
        }
    }

    /// Takes one row off the front of `bytes`; `None` when there is none that is whole and sound.
    #[must_use]
    pub fn parse(bytes: &mut &[u8]) -> Option<Self> {
        Some(match take(bytes)? {
            [kind::REIGNED] => Self::Reigned(Reigned {
                node: take_name(bytes)?,
                since_unix_s: take_u64(bytes)?,
                minute: take_u32(bytes)?,
                seconds: take_seconds(bytes)?,
                denied: take_u64(bytes)?,
                rate_limited: take_u64(bytes)?,
                turned_away: take_u64(bytes)?,
                reset: take_u64(bytes)?,
            }),
            [kind::SAMPLE] => Self::Sample(Sample {
                node: take_name(bytes)?,
                since_unix_s: take_u64(bytes)?,
                minute: take_u32(bytes)?,
                backend: take_name(bytes)?,
                seconds: take_seconds(bytes)?,
                opened: take_u64(bytes)?,
                bytes: take_u64(bytes)?,
                sessions: take_u32(bytes)?,
                sessions_max: take_u32(bytes)?,
                sources: take_u32(bytes)?,
                queued: match (take_flag(bytes)?, take_u32(bytes)?) {
                    (true, queued) => Some(queued),
                    (false, 0) => None,
                    (false, _) => return None,
                },
                weight_permille: take_u32(bytes)?,
                off_s: take(bytes).map(|[seconds]: [u8; 1]| seconds)?,
                reason: take_name(bytes)?,
            }),
            [kind::DENIED] => Self::Denied(Denied {
                node: take_name(bytes)?,
                minute: take_u32(bytes)?,
                source: match take(bytes)? {
                    [4] => IpAddr::from(take::<4>(bytes)?),
                    [6] => IpAddr::from(take::<16>(bytes)?),
                    _ => return None,
                },
                refusal: Refusal::of(take::<1>(bytes)?[0])?,
                frames: take_u64(bytes)?,
            }),
            [kind::HAPPENED] => Self::Happened(Happened {
                node: take_name(bytes)?,
                unix_s: take_u64(bytes)?,
                kind: take_name(bytes)?,
                subject: take_name(bytes)?,
                text: take_text(TEXT, bytes)?,
                as_master: take_flag(bytes)?,
            }),
            _ => return None,
        })
    }

    /// A number that two rows have in common only if they are the same (FNV-1a). Digests of many rows
    /// are these, exclusive-or: in any order, and one row can be taken out again.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut bytes = Vec::with_capacity(128);
        self.emit(&mut bytes);
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // The last bytes have reached the low bits only.
        (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Refusal {
    /// As it is kept and sent.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Listed => 1,
            Self::Rate => 2,
        }
    }

    /// The inverse of [`Self::number`].
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Listed),
            2 => Some(Self::Rate),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_row() -> impl Strategy<Value = Row> {
        let name = || "[a-z0-9.-]{0,20}";
        let reigned = (
            name(),
            any::<u64>(),
            any::<u32>(),
            1_u8..=60,
            any::<[u64; 4]>(),
        )
            .prop_map(|(node, since_unix_s, minute, seconds, counts)| {
                Row::Reigned(Reigned {
                    node,
                    since_unix_s,
                    minute,
                    seconds,
                    denied: counts[0],
                    rate_limited: counts[1],
                    turned_away: counts[2],
                    reset: counts[3],
                })
            });
        let sample = (
            (name(), name(), name()),
            (any::<u64>(), any::<u32>(), 1_u8..=60, any::<u8>()),
            (any::<[u64; 2]>(), any::<[u32; 4]>(), any::<Option<u32>>()),
        )
            .prop_map(|((node, backend, reason), key, (large, small, queued))| {
                Row::Sample(Sample {
                    node,
                    since_unix_s: key.0,
                    minute: key.1,
                    backend,
                    seconds: key.2,
                    opened: large[0],
                    bytes: large[1],
                    sessions: small[0],
                    sessions_max: small[1],
                    sources: small[2],
                    queued,
                    weight_permille: small[3],
                    off_s: key.3,
                    reason,
                })
            });
        let denied = (
            name(),
            any::<u32>(),
            any::<IpAddr>(),
            any::<bool>(),
            any::<u64>(),
        )
            .prop_map(|(node, minute, source, is_listed, frames)| {
                Row::Denied(Denied {
                    node,
                    minute,
                    source,
                    refusal: if is_listed {
                        Refusal::Listed
                    } else {
                        Refusal::Rate
                    },
                    frames,
                })
            });
        let happened = (
            (name(), name(), name()),
            any::<u64>(),
            "\\PC{0,60}",
            any::<bool>(),
        )
            .prop_map(|((node, kind, subject), unix_s, text, as_master)| {
                Row::Happened(Happened {
                    node,
                    unix_s,
                    kind,
                    subject,
                    text,
                    as_master,
                })
            });
        prop_oneof![reigned, sample, denied, happened]
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed_and_nothing_less(row in any_row(), at: prop::sample::Index) {
            let mut bytes = Vec::new();
            row.emit(&mut bytes);
            let mut rest = &bytes[..];
            prop_assert_eq!(Row::parse(&mut rest), Some(row));
            prop_assert!(rest.is_empty());
            let cut = at.index(bytes.len());
            prop_assert_eq!(Row::parse(&mut &bytes[..cut]), None);
        }

        #[test]
        fn any_bytes_are_a_row_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = &bytes[..];
            if let Some(row) = Row::parse(&mut rest) {
                let mut again = Vec::new();
                row.emit(&mut again);
                prop_assert_eq!(again.len() + rest.len(), bytes.len());
            }
        }

        #[test]
        fn another_row_has_another_digest(a in any_row(), b in any_row()) {
            prop_assert_eq!(a == b, a.digest() == b.digest());
        }
    }

    #[test]
    fn a_long_text_is_cut_before_a_character() {
        assert_eq!(cut("aéb", 2), "a");
        assert_eq!(cut("aéb", 3), "aé");
    }
}
