//! The authentication trailer of draft-cassen-vrrp-auth-hmac-00, which keepalived 2.4 speaks.
//!
//! ```text
//! +---------------+---------------+-------------------------------+
//! |   Type = 1    |    Key ID     |           Reserved            |
//! +---------------+---------------+-------------------------------+
//! |                       Unix seconds                            |
//! +-------------------------------+-------------------------------+
//! |    Fraction (2^-16 s)         |           Counter             |
//! +-------------------------------+-------------------------------+
//! |            HMAC-SHA256, its first 16 bytes                    |
//! ```
//! The HMAC covers the family, the version, the VRID, a zero, the source padded to 16 bytes, the
//! message with its checksum read as zero, and the trailer with its HMAC read as zero.
use std::fmt;
use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::advert::{CHECKSUM_FIELD, Parsed, Received};
use super::replay::{Moment, PeerClock, ReplayWindow, Sequence};

/// Bytes of a trailer.
pub const TRAILER_BYTES: usize = 28;
const PREFIX_BYTES: usize = 12;
const HMAC_BYTES: usize = TRAILER_BYTES - PREFIX_BYTES;
const TYPE_HMAC_SHA256: u8 = 1;
/// See [`Key::of_cluster`]; `deploy/OPERATIONS.md` gives the command that derives the same.
const ADVERT_LABEL: &[u8] = b"lbd adverts";
const VERSION: u8 = 3;

/// A shared secret and the id that adverts carry for it. Two keys may have the same id: see
/// [`Key::of_cluster`].
#[derive(Clone, Eq, PartialEq)]
pub struct Key {
    /// Sent with each advert it signs.
    pub id: u8,
    /// Padded to SHA-256's block, as HMAC does with a shorter key (RFC 2104, section 2).
    block: [u8; 64],
}

impl Key {
    /// The key of adverts that follows from one of the cluster's: HMAC-SHA256 of a label, so that what
    /// is signed for one purpose says nothing for another (a peer of another make is configured with
    /// the result). Its id is a byte of its hash, the same on every node, so two keys can share one.
    #[must_use]
    pub fn of_cluster(secret: &[u8; 32]) -> Self {
        let mut block = [0; 64];
        block[..secret.len()].copy_from_slice(secret);
        let mut hmac = <Hmac<Sha256>>::new(&block.into());
        hmac.update(ADVERT_LABEL);
        let derived: [u8; 32] = hmac.finalize().into_bytes().into();
        Self::new(Sha256::digest(derived)[0], derived)
    }

    /// A key of 32 bytes.
    #[must_use]
    pub fn new(id: u8, secret: [u8; 32]) -> Self {
        let mut block = [0; 64];
        block[..secret.len()].copy_from_slice(&secret);
        Self { id, block }
    }
}

impl fmt::Debug for Key {
    /// Without the secret, which must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// How far the roll-out of authentication has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthMode {
    /// Sends none; a trailer that is there must be right.
    ReceiveOnly,
    /// Signs; takes adverts without a trailer too.
    Permissive,
    /// Signs; takes nothing unsigned.
    Enforce,
}

/// Why an advert is not believed. It changes nothing and is counted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum AuthError {
    /// Mode enforce, and no trailer.
    #[error("no authentication trailer, and the mode is enforce")]
    Missing,
    /// A type that is not defined.
    #[error("authentication type {found}, expected 1 (HMAC-SHA256)")]
    Type {
        /// As received.
        found: u8,
    },
    /// No key verifies it, and its key id is none of ours.
    #[error("key id {found} is not known here")]
    UnknownKey {
        /// As received.
        found: u8,
    },
    /// Forged, damaged, or the keys differ.
    #[error("the HMAC is wrong: forged, or the keys differ")]
    Forged,
    /// Too old or too new.
    #[error(
        "signed {skew_s} s from our clock, the window is {window_s} s: a recording, or set the clocks (NTP)"
    )]
    Stale {
        /// Positive when the sender's clock is ahead.
        skew_s: i64,
        /// As configured.
        window_s: u32,
    },
    /// Heard before.
    #[error("replayed: this or a later advert of the sender was heard before")]
    Replay,
}

/// A trailer as received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trailer {
    prefix: [u8; PREFIX_BYTES],
    hmac: [u8; HMAC_BYTES],
}

impl Trailer {
    pub(super) fn parse(bytes: &[u8; TRAILER_BYTES]) -> Self {
        let mut trailer = Self {
            prefix: [0; PREFIX_BYTES],
            hmac: [0; HMAC_BYTES],
        };
        trailer.prefix.copy_from_slice(&bytes[..PREFIX_BYTES]);
        trailer.hmac.copy_from_slice(&bytes[PREFIX_BYTES..]);
        trailer
    }

    fn new(key_id: u8, sequence: Sequence) -> Self {
        let mut prefix = [0; PREFIX_BYTES];
        prefix[0] = TYPE_HMAC_SHA256;
        prefix[1] = key_id;
        prefix[4..].copy_from_slice(&sequence.0.to_be_bytes());
        Self {
            prefix,
            hmac: [0; HMAC_BYTES],
        }
    }

    fn kind(&self) -> u8 {
        self.prefix[0]
    }

    /// The number of the key that signed.
    #[must_use]
    pub fn key_id(&self) -> u8 {
        self.prefix[1]
    }

    /// When, and in which order.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.prefix[4..]);
        Sequence(u64::from_be_bytes(bytes))
    }
}

/// Signs what we send and verifies what we hear.
#[derive(Clone, Debug)]
pub struct Authenticator {
    mode: AuthMode,
    /// The first signs, all verify.
    keys: Vec<Key>,
    replay: ReplayWindow,
    sent: Option<Sequence>,
}

impl Authenticator {
    /// `keys`: the first signs, all verify; `window_s` is by how much clocks may differ.
    ///
    /// `None` without a key.
    #[must_use]
    pub fn new(mode: AuthMode, keys: Vec<Key>, window_s: u32) -> Option<Self> {
        if keys.is_empty() {
            return None;
        }
        Some(Self {
            mode,
            keys,
            replay: ReplayWindow::new(window_s),
            sent: None,
        })
    }

    /// The window for an interval: three intervals, at least 5 s, at most 300 s.
    #[must_use]
    pub fn default_window_s(interval: super::Interval) -> u32 {
        u32::from(interval.centiseconds())
            .div_ceil(100)
            .saturating_mul(3)
            .clamp(5, 300)
    }

    /// Takes other keys, keeping what was heard and sent, so that a roll-over opens no window for
    /// replays. `false`, and no change, without a key.
    pub fn set_keys(&mut self, mode: AuthMode, keys: Vec<Key>) -> bool {
        if keys.is_empty() {
            return false;
        }
        self.mode = mode;
        self.keys = keys;
        true
    }

    /// See [`ReplayWindow::start`].
    pub fn start(&mut self, now: Moment) {
        self.replay.start(now);
    }

    /// See [`ReplayWindow::set_clocks`].
    pub fn set_clocks(&mut self, clocks: Vec<PeerClock>) {
        self.replay.set_clocks(clocks);
    }

    /// Appends the trailer to an emitted message, unless the mode is receive-only.
    pub fn sign(&mut self, message: &mut Vec<u8>, source: IpAddr, unix_ns: u64) {
        if self.mode == AuthMode::ReceiveOnly {
            return;
        }
        let sequence = self.next_sequence(unix_ns);
        let key = &self.keys[0];
        let trailer = Trailer::new(key.id, sequence);
        let hmac = digest(key, source, message, &trailer.prefix)
            .finalize()
            .into_bytes();
        message.extend(trailer.prefix);
        message.extend(&hmac[..HMAC_BYTES]);
    }

    /// The clock, or the last one plus one where the clock has not moved. A clock set back by more
    /// than the window is followed: receivers refuse the old times anyway.
    fn next_sequence(&mut self, unix_ns: u64) -> Sequence {
        let clock = Sequence::at(unix_ns);
        let next = match self.sent {
            Some(last)
                if !clock.is_after(last)
                    && last.ahead_of_s(clock) <= i64::from(self.replay.window_s()) =>
            {
                Sequence(last.0.wrapping_add(1))
            }
            _ => clock,
        };
        self.sent = Some(next);
        next
    }

    /// Whether a parsed packet may be believed.
    pub fn verify(
        &mut self,
        received: &Received<'_>,
        parsed: &Parsed,
        now: Moment,
    ) -> Result<(), AuthError> {
        let Some(trailer) = &parsed.trailer else {
            return match self.mode {
                AuthMode::Enforce => Err(AuthError::Missing),
                AuthMode::ReceiveOnly | AuthMode::Permissive => Ok(()),
            };
        };
        if trailer.kind() != TYPE_HMAC_SHA256 {
            return Err(AuthError::Type {
                found: trailer.kind(),
            });
        }
        let message = &received.payload[..received.payload.len() - TRAILER_BYTES];
        // All keys are tried, the named one first: two keys of a roll-over may have one number.
        let named = trailer.key_id();
        let mut keys: Vec<&Key> = self.keys.iter().collect();
        keys.sort_by_key(|key| key.id != named);
        let right = keys.iter().any(|key| {
            digest(key, received.source, message, &trailer.prefix)
                .verify_truncated_left(&trailer.hmac)
                .is_ok()
        });
        if !right {
            return Err(if self.keys.iter().any(|key| key.id == named) {
                AuthError::Forged
            } else {
                AuthError::UnknownKey { found: named }
            });
        }
        self.replay.accept(received.source, trailer.sequence(), now)
    }
}

fn digest(key: &Key, source: IpAddr, message: &[u8], prefix: &[u8; PREFIX_BYTES]) -> Hmac<Sha256> {
    let mut bound = [0; 20];
    bound[1] = VERSION;
    bound[2] = message[1];
    match source {
        IpAddr::V4(a) => {
            bound[0] = 4;
            bound[4..8].copy_from_slice(&a.octets());
        }
        IpAddr::V6(a) => {
            bound[0] = 6;
            bound[4..].copy_from_slice(&a.octets());
        }
    }
    let mut hmac = <Hmac<Sha256>>::new(&key.block.into());
    hmac.update(&bound);
    hmac.update(&message[..CHECKSUM_FIELD.start]);
    hmac.update(&[0; 2]);
    hmac.update(&message[CHECKSUM_FIELD.end..]);
    hmac.update(prefix);
    hmac.update(&[0; HMAC_BYTES]);
    hmac
}

#[cfg(test)]
mod tests;
