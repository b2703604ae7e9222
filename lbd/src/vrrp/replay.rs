//! Which signed adverts are new.
use std::net::IpAddr;

use super::auth::AuthError;

/// Senders remembered. More than one at a time speak only while they contend.
const SENDERS: usize = 8;

/// The order and time of a signed advert: Unix seconds in the high 32 bits, then a binary fraction
/// of a second in 16, then a counter in 16. Compared by serial arithmetic (RFC 1982).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The first sequence of an instant.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the wire holds 32 bits of seconds; serial arithmetic outlives their end in 2106"
    )]
    pub fn at(unix_ns: u64) -> Self {
        let seconds = (unix_ns / 1_000_000_000) as u32;
        let fraction = ((unix_ns % 1_000_000_000) << 16) / 1_000_000_000;
        Self(u64::from(seconds) << 32 | fraction << 16)
    }

    /// Unix seconds, modulo 2^32.
    #[must_use]
    pub fn seconds(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether `self` comes after `other`.
    #[must_use]
    pub fn is_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    /// Seconds by which `self` is ahead of `other`; negative when behind.
    #[must_use]
    pub fn ahead_of_s(self, other: Self) -> i64 {
        i64::from(self.seconds().wrapping_sub(other.seconds()).cast_signed())
    }
}

#[derive(Clone, Copy, Debug)]
struct Sender {
    address: IpAddr,
    last: Sequence,
    used: u64,
}

/// Accepts a sequence that is within a time window of our clock and after the sender's last one.
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    window_s: u32,
    senders: Vec<Sender>,
    uses: u64,
}

impl ReplayWindow {
    /// `window_s`: by how many seconds the clocks of two nodes may differ.
    #[must_use]
    pub fn new(window_s: u32) -> Self {
        Self {
            window_s,
            senders: Vec::with_capacity(SENDERS),
            uses: 0,
        }
    }

    /// By how many seconds the clocks of two nodes may differ.
    #[must_use]
    pub fn window_s(&self) -> u32 {
        self.window_s
    }

    /// Accepts and remembers a sequence whose signature was verified, so that forged senders cannot
    /// push real ones out of the memory.
    pub fn accept(
        &mut self,
        sender: IpAddr,
        sequence: Sequence,
        now: Sequence,
    ) -> Result<(), AuthError> {
        let skew_s = sequence.ahead_of_s(now);
        if skew_s.unsigned_abs() > u64::from(self.window_s) {
            return Err(AuthError::Stale {
                skew_s,
                window_s: self.window_s,
            });
        }
        self.uses += 1;
        let used = self.uses;
        if let Some(known) = self.senders.iter_mut().find(|s| s.address == sender) {
            // A mark outside the window orders only what the window refuses: forgetting it lets a
            // sender come back whose clock was set right.
            let expired = known.last.ahead_of_s(now).unsigned_abs() > u64::from(self.window_s);
            if !expired && !sequence.is_after(known.last) {
                return Err(AuthError::Replay);
            }
            *known = Sender {
                address: sender,
                last: sequence,
                used,
            };
            return Ok(());
        }
        if self.senders.len() == SENDERS
            && let Some(oldest) = self
                .senders
                .iter()
                .enumerate()
                .min_by_key(|(_, s)| s.used)
                .map(|(i, _)| i)
        {
            self.senders.swap_remove(oldest);
        }
        self.senders.push(Sender {
            address: sender,
            last: sequence,
            used,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn at(seconds: u64) -> Sequence {
        Sequence::at(seconds * 1_000_000_000)
    }

    #[test]
    fn a_sequence_is_taken_once() {
        let mut window = ReplayWindow::new(5);
        assert_eq!(window.accept(A, at(100), at(100)), Ok(()));
        assert_eq!(window.accept(A, at(100), at(100)), Err(AuthError::Replay));
        assert_eq!(window.accept(A, at(99), at(100)), Err(AuthError::Replay));
        assert_eq!(window.accept(A, Sequence(at(100).0 + 1), at(100)), Ok(()));
    }

    #[test]
    fn a_sequence_outside_the_window_is_stale() {
        let mut window = ReplayWindow::new(5);
        for (seconds, skew_s) in [(94, -6), (106, 6)] {
            let stale = AuthError::Stale {
                skew_s,
                window_s: 5,
            };
            assert_eq!(window.accept(A, at(seconds), at(100)), Err(stale));
        }
        assert_eq!(window.accept(A, at(95), at(100)), Ok(()));
        assert_eq!(window.accept(A, at(105), at(100)), Ok(()));
    }

    #[test]
    fn a_sender_whose_clock_was_set_back_is_heard_again_after_the_window() {
        let mut window = ReplayWindow::new(5);
        assert_eq!(window.accept(A, at(104), at(100)), Ok(()));
        assert_eq!(window.accept(A, at(101), at(101)), Err(AuthError::Replay));
        assert_eq!(window.accept(A, at(110), at(110)), Ok(()));
    }

    #[test]
    fn the_end_of_the_seconds_field_is_no_end() {
        let mut window = ReplayWindow::new(5);
        let last = Sequence(u64::from(u32::MAX) << 32);
        let next = Sequence(0);
        assert_eq!(window.accept(A, last, last), Ok(()));
        assert_eq!(window.accept(A, next, next), Ok(()));
        assert_eq!(window.accept(A, last, next), Err(AuthError::Replay));
    }

    #[test]
    fn the_least_recent_sender_is_forgotten() {
        let mut window = ReplayWindow::new(5);
        let sender = |i: u8| IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 1, i));
        for i in 0..=8 {
            assert_eq!(window.accept(sender(i), at(100), at(100)), Ok(()));
        }
        assert_eq!(
            window.accept(sender(8), at(100), at(100)),
            Err(AuthError::Replay)
        );
        assert_eq!(window.accept(sender(0), at(100), at(100)), Ok(()));
    }
}
