//! Operators' orders, which every node keeps, so that they outlive the node they were given on.
use serde::{Deserialize, Serialize};

use super::record::take;

/// What was ordered for a backend.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Nothing any more.
    Released,
    /// No new sessions.
    Drain {
        /// When the open ones have had long enough, in seconds since 1970.
        until_unix_s: Option<u64>,
        /// Whether what is open then is reset.
        then_reset: bool,
    },
    /// This weight.
    Weight(u16),
}

/// An order, and when it was given: of two for a backend the later one counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OrderRecord {
    /// The backend's name.
    pub backend: String,
    /// Grows with every order for the backend, on any node.
    pub version: u64,
    /// The order.
    pub word: Word,
}

mod kind {
    pub(super) const RELEASED: u8 = 0;
    pub(super) const DRAIN: u8 = 1;
    pub(super) const DRAIN_THEN_RESET: u8 = 2;
    pub(super) const WEIGHT: u8 = 3;
}

impl OrderRecord {
    /// Bytes on the wire.
    pub(super) fn wire_bytes(&self) -> usize {
        1 + self.backend.len().min(usize::from(u8::MAX)) + 8 + 1 + 8
    }

    pub(super) fn emit(&self, to: &mut Vec<u8>) {
        let name = self.backend.as_bytes();
        let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
        to.push(length);
        to.extend(&name[..usize::from(length)]);
        to.extend(self.version.to_be_bytes());
        let (kind, value) = match self.word {
            Word::Released => (kind::RELEASED, 0),
            Word::Drain {
                until_unix_s,
                then_reset: false,
            } => (kind::DRAIN, until_unix_s.unwrap_or(0)),
            Word::Drain {
                until_unix_s,
                then_reset: true,
            } => (kind::DRAIN_THEN_RESET, until_unix_s.unwrap_or(0)),
            Word::Weight(weight) => (kind::WEIGHT, u64::from(weight)),
        };
        to.push(kind);
        to.extend(value.to_be_bytes());
    }

    pub(super) fn parse(bytes: &mut &[u8]) -> Option<Self> {
        let [length] = take(bytes)?;
        let (name, rest) = bytes.split_at_checked(usize::from(length))?;
        *bytes = rest;
        let version = u64::from_be_bytes(take(bytes)?);
        let [kind] = take(bytes)?;
        let value = u64::from_be_bytes(take(bytes)?);
        let drain = |then_reset| Word::Drain {
            until_unix_s: (value > 0).then_some(value),
            then_reset,
        };
        let word = match kind {
            kind::RELEASED if value == 0 => Word::Released,
            kind::DRAIN => drain(false),
            kind::DRAIN_THEN_RESET => drain(true),
            kind::WEIGHT => Word::Weight(u16::try_from(value).ok()?),
            _ => return None,
        };
        Some(Self {
            backend: String::from_utf8(name.to_vec()).ok()?,
            version,
            word,
        })
    }
}
