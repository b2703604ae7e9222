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

/// An instant by the two clocks of this box.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment {
    /// The wall clock, in nanoseconds since 1970; it may be set.
    pub unix_ns: u64,
    /// Nanoseconds since boot, suspended time included; it only goes on.
    pub boot_ns: u64,
}

/// What another node's wall clock shows, as it said itself on the cluster channel: a word that no
/// recording can be, since it names this daemon's start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerClock {
    /// The node's address on the channel. Its IPv6 adverts come from another one.
    pub address: IpAddr,
    /// What the node's clock showed at [`Self::at_boot_ns`].
    pub unix_ns: u64,
    /// When that was, by our clock.
    pub at_boot_ns: u64,
}

impl PeerClock {
    /// What the node's clock showed or shows at an instant of ours.
    #[must_use]
    pub fn at(&self, boot_ns: u64) -> u64 {
        self.unix_ns
            .saturating_add(boot_ns)
            .saturating_sub(self.at_boot_ns)
    }
}

#[derive(Clone, Copy, Debug)]
struct Sender {
    address: IpAddr,
    last: Sequence,
    heard_boot_ns: u64,
    used: u64,
}

/// Accepts what is new of each sender.
///
/// A sender that was believed before is held to its own clock: what comes next is later than the last
/// one, and not by less than the time that has passed. So neither box's clock may be wrong, or be
/// set forward, without harm. A sender that is new, or whose clock was set back, has to agree with a
/// clock: with its own, as told on the cluster channel, else with ours or that of any node there. And what
/// was signed before this daemon began is a recording.
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    window_s: u32,
    started: Option<Moment>,
    clocks: Vec<PeerClock>,
    senders: Vec<Sender>,
    uses: u64,
}

impl ReplayWindow {
    /// `window_s`: by how many seconds the clocks of two nodes that know nothing of each other's may
    /// differ, and how long an advert may be on its way.
    #[must_use]
    pub fn new(window_s: u32) -> Self {
        Self {
            window_s,
            started: None,
            clocks: Vec::new(),
            senders: Vec::with_capacity(SENDERS),
            uses: 0,
        }
    }

    /// By how many seconds the clocks of two nodes may differ.
    #[must_use]
    pub fn window_s(&self) -> u32 {
        self.window_s
    }

    /// Nothing that was signed before counts from now on. Without it all of the window does.
    pub fn start(&mut self, now: Moment) {
        self.started.get_or_insert(now);
    }

    /// The nodes' clocks, as the cluster channel knows them now.
    pub fn set_clocks(&mut self, clocks: Vec<PeerClock>) {
        self.clocks = clocks;
    }

    /// Whether a clock that shows `unix_ns` now, and showed `started_ns` when this daemon began, fits.
    fn fits(&self, sequence: Sequence, unix_ns: u64, started_ns: Option<u64>) -> bool {
        let skew_s = sequence.ahead_of_s(Sequence::at(unix_ns));
        let is_recording = started_ns.is_some_and(|at| !sequence.is_after(Sequence::at(at)));
        skew_s.unsigned_abs() <= u64::from(self.window_s) && !is_recording
    }

    /// Whether `sequence` agrees with a clock by which the sender may be judged.
    fn agrees(&self, sender: IpAddr, sequence: Sequence, now: Moment) -> bool {
        let peer = |clock: &PeerClock| {
            let started_ns = self.started.map(|started| clock.at(started.boot_ns));
            self.fits(sequence, clock.at(now.boot_ns), started_ns)
        };
        if let Some(own) = self.clocks.iter().find(|clock| clock.address == sender) {
            return peer(own);
        }
        // Our clock may have been set since the start.
        let started_ns = self
            .started
            .map(|started| now.unix_ns.saturating_sub(now.boot_ns - started.boot_ns));
        self.fits(sequence, now.unix_ns, started_ns) || self.clocks.iter().any(peer)
    }

    /// Accepts and remembers a sequence whose signature was verified, so that forged senders cannot
    /// push real ones out of the memory.
    pub fn accept(
        &mut self,
        sender: IpAddr,
        sequence: Sequence,
        now: Moment,
    ) -> Result<(), AuthError> {
        let agrees = self.agrees(sender, sequence, now);
        let skew_s = sequence.ahead_of_s(Sequence::at(now.unix_ns));
        let stale = Err(AuthError::Stale {
            skew_s,
            window_s: self.window_s,
        });
        let window_s = i64::from(self.window_s);
        let known = self.senders.iter().position(|s| s.address == sender);
        if let Some(known) = known.map(|index| self.senders[index]) {
            let passed_s = (now.boot_ns.saturating_sub(known.heard_boot_ns) / 1_000_000_000)
                .try_into()
                .unwrap_or(i64::MAX);
            let goes_on = sequence.is_after(known.last)
                && sequence.ahead_of_s(known.last).saturating_add(window_s) >= passed_s;
            // A mark that agrees with no clock any more is of a clock that was set right since.
            let is_mark_void = !self.agrees(sender, known.last, now) && agrees;
            if !goes_on && !is_mark_void {
                return if sequence.is_after(known.last) {
                    stale
                } else {
                    Err(AuthError::Replay)
                };
            }
        } else if !agrees {
            return stale;
        }
        self.uses += 1;
        let heard = Sender {
            address: sender,
            last: sequence,
            heard_boot_ns: now.boot_ns,
            used: self.uses,
        };
        if let Some(index) = known {
            self.senders[index] = heard;
            return Ok(());
        }
        if self.senders.len() == SENDERS {
            let oldest = self.senders.iter().enumerate().min_by_key(|(_, s)| s.used);
            if let Some(index) = oldest.map(|(index, _)| index) {
                self.senders.swap_remove(index);
            }
        }
        self.senders.push(heard);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Sequence {
        Sequence::at(seconds * SECOND)
    }

    /// Our wall clock shows `seconds`; the box has been up for 10 s less.
    fn now(seconds: u64) -> Moment {
        Moment {
            unix_ns: seconds * SECOND,
            boot_ns: (seconds - 10) * SECOND,
        }
    }

    fn stale(skew_s: i64) -> Result<(), AuthError> {
        Err(AuthError::Stale {
            skew_s,
            window_s: 5,
        })
    }

    /// A node whose clock is ahead of ours, as the channel says.
    fn clock(ahead_s: i64) -> PeerClock {
        PeerClock {
            address: A,
            unix_ns: 1000u64.checked_add_signed(ahead_s).unwrap() * SECOND,
            at_boot_ns: 990 * SECOND,
        }
    }

    #[test]
    fn a_sequence_is_taken_once() {
        let mut window = ReplayWindow::new(5);
        assert_eq!(window.accept(A, at(100), now(100)), Ok(()));
        assert_eq!(window.accept(A, at(100), now(100)), Err(AuthError::Replay));
        assert_eq!(window.accept(A, at(99), now(100)), Err(AuthError::Replay));
        assert_eq!(window.accept(A, Sequence(at(100).0 + 1), now(100)), Ok(()));
    }

    #[test]
    fn a_new_sender_outside_the_window_is_stale() {
        let mut window = ReplayWindow::new(5);
        for (seconds, skew_s) in [(94, -6), (106, 6)] {
            assert_eq!(window.accept(A, at(seconds), now(100)), stale(skew_s));
        }
        assert_eq!(window.accept(A, at(95), now(100)), Ok(()));
    }

    #[test]
    fn a_sender_whose_clock_is_known_may_be_off_by_any_time() {
        for ahead_s in [-900, -31, -6, 6, 31, 3600] {
            let sent = |seconds: u64| at(seconds.checked_add_signed(ahead_s).unwrap());
            let mut window = ReplayWindow::new(5);
            assert_eq!(window.accept(A, sent(1000), now(1000)), stale(ahead_s));
            window.set_clocks(vec![clock(ahead_s)]);
            for seconds in 1000..1100 {
                assert_eq!(window.accept(A, sent(seconds), now(seconds)), Ok(()));
            }
            let old = sent(1050);
            assert_eq!(window.accept(A, old, now(1100)), Err(AuthError::Replay));
        }
    }

    #[test]
    fn adverts_of_another_family_are_judged_by_any_node_s_clock() {
        let v6 = "fe80::1".parse().unwrap();
        let mut window = ReplayWindow::new(5);
        window.set_clocks(vec![clock(31)]);
        assert_eq!(window.accept(v6, at(1031), now(1000)), Ok(()));
        assert!(
            window.accept(A, at(1000), now(1000)).is_err(),
            "not its own"
        );
    }

    #[test]
    fn what_was_signed_before_the_start_is_a_recording() {
        let mut window = ReplayWindow::new(5);
        window.start(now(1000));
        for seconds in 995..=1000 {
            let verdict = window.accept(A, at(seconds), now(1000));
            assert!(
                matches!(verdict, Err(AuthError::Stale { .. })),
                "{verdict:?}"
            );
        }
        assert_eq!(window.accept(A, at(1001), now(1001)), Ok(()));
        // By the sender's own clock, where that is known.
        let mut window = ReplayWindow::new(5);
        window.start(now(1000));
        window.set_clocks(vec![clock(3)]);
        assert!(window.accept(A, at(1002), now(1001)).is_err());
        assert_eq!(window.accept(A, at(1004), now(1001)), Ok(()));
    }

    #[test]
    fn no_step_of_our_clock_makes_a_sender_unheard() {
        let mut window = ReplayWindow::new(5);
        window.start(now(1000));
        assert_eq!(window.accept(A, at(1001), now(1001)), Ok(()));
        for step_s in [-600, 600] {
            for seconds in 1002..1010 {
                let mut moment = now(seconds);
                moment.unix_ns = moment
                    .unix_ns
                    .checked_add_signed(step_s * 1_000_000_000)
                    .unwrap();
                let mut window = window.clone();
                assert_eq!(window.accept(A, at(seconds), moment), Ok(()));
            }
        }
    }

    #[test]
    fn a_step_of_the_sender_s_clock_is_followed() {
        let mut forward = ReplayWindow::new(5);
        assert_eq!(forward.accept(A, at(1000), now(1000)), Ok(()));
        assert_eq!(forward.accept(A, at(4601), now(1001)), Ok(()));
        assert_eq!(forward.accept(A, at(4602), now(1002)), Ok(()));
        // Back, it has to agree with a clock again: with ours, or its own as the channel has it.
        assert_eq!(forward.accept(A, at(1003), now(1003)), Ok(()));
        let mut back = ReplayWindow::new(5);
        assert_eq!(back.accept(A, at(1000), now(1000)), Ok(()));
        assert_eq!(back.accept(A, at(401), now(1001)), Err(AuthError::Replay));
        back.set_clocks(vec![clock(-600)]);
        assert_eq!(back.accept(A, at(401), now(1001)), Ok(()));
    }

    #[test]
    fn what_was_held_back_is_refused_later() {
        let mut window = ReplayWindow::new(5);
        window.set_clocks(vec![clock(0)]);
        assert_eq!(window.accept(A, at(1000), now(1000)), Ok(()));
        // Never heard, and recorded then.
        assert_eq!(window.accept(A, at(1001), now(1060)), stale(-59));
    }

    #[test]
    fn the_end_of_the_seconds_field_is_no_end() {
        let mut window = ReplayWindow::new(5);
        let last = Sequence(u64::from(u32::MAX) << 32);
        let next = Sequence(0);
        let wraps_ns = (1 << 32) * SECOND;
        let moment = |unix_ns: u64| Moment {
            unix_ns,
            boot_ns: unix_ns,
        };
        assert_eq!(window.accept(A, last, moment(wraps_ns - SECOND)), Ok(()));
        assert_eq!(window.accept(A, next, moment(wraps_ns)), Ok(()));
        assert_eq!(
            window.accept(A, last, moment(wraps_ns)),
            Err(AuthError::Replay)
        );
    }

    #[test]
    fn the_least_recent_sender_is_forgotten() {
        let mut window = ReplayWindow::new(5);
        let sender = |i: u8| IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 1, i));
        for i in 0..=8 {
            assert_eq!(window.accept(sender(i), at(100), now(100)), Ok(()));
        }
        assert_eq!(
            window.accept(sender(8), at(100), now(100)),
            Err(AuthError::Replay)
        );
        assert_eq!(window.accept(sender(0), at(100), now(100)), Ok(()));
    }
}
