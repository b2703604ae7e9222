//! Whether a backend may be dead, by signs that come before any verdict. Pure.
//!
//! A sign takes no session away: the backend gets no new one until it answers, which it is asked for at
//! once and which takes a living one a round trip.
use crate::policy::{Sign, Suspect};

/// A peer says hello several times a second; a second without a word that this node is heard is a sign.
pub(in crate::daemon) const CHANNEL_SILENCE_NS: u64 = 1_000_000_000;

/// A box whose lbd has said that it stops, and was silent for so long, has no virtual address any more.
/// A quick stop and start takes less, and its sessions go on.
pub(in crate::daemon) const LEFT_NS: u64 = 5_000_000_000;

/// When a word that was heard at `at_ns` since boot came, on the monotonic clock; both clocks as they are now.
/// The program compares it with when a session began: stamped later, when the event loop comes to it, the last
/// word of a box that died would be a sign of life for sessions that began after it.
pub(in crate::daemon) fn heard_monotonic_ns(
    at_ns: u64,
    boottime_ns: u64,
    monotonic_ns: u64,
) -> u64 {
    monotonic_ns.saturating_sub(boottime_ns.saturating_sub(at_ns))
}

/// What is known against one backend.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::daemon) struct Suspicion {
    suspect: Option<Suspect>,
    /// When its lbd was last heard on the channel to say that it hears this node; 0 when never.
    heard_ns: u64,
    /// The silence after this word of its lbd is explained: the box answers without it.
    excused_ns: u64,
}

impl Suspicion {
    /// As the policy takes it.
    pub(in crate::daemon) fn suspect(&self) -> Option<Suspect> {
        self.suspect
    }

    /// Whether this word of its lbd is later than the last one.
    pub(in crate::daemon) fn is_news(&self, heard_ns: u64) -> bool {
        heard_ns > self.heard_ns
    }

    /// Whether its lbd has stopped, and has not come back.
    pub(in crate::daemon) fn has_left(&self, now_ns: u64) -> bool {
        let is_leaving = self
            .suspect
            .is_some_and(|suspect| suspect.sign == Sign::Leaving);
        is_leaving && now_ns.saturating_sub(self.heard_ns) > LEFT_NS
    }

    /// There is a sign. True if it is the first.
    pub(in crate::daemon) fn sign(&mut self, sign: Sign, now_ns: u64) -> bool {
        let is_first = self.suspect.is_none();
        if is_first {
            let since_ns = now_ns;
            self.suspect = Some(Suspect { since_ns, sign });
        }
        is_first
    }

    /// Its stack has answered. True if that ends a suspicion.
    pub(in crate::daemon) fn answered(&mut self) -> bool {
        self.excused_ns = self.heard_ns;
        // Who says that it leaves lives, and wants nothing new.
        let is_over = self
            .suspect
            .take_if(|suspect| suspect.sign != Sign::Leaving);
        is_over.is_some()
    }

    /// Its lbd was last heard on the channel at `heard_ns`. True if that begins or ends a suspicion.
    pub(in crate::daemon) fn channel(
        &mut self,
        heard_ns: u64,
        is_leaving: bool,
        now_ns: u64,
    ) -> bool {
        let is_news = heard_ns > self.heard_ns;
        self.heard_ns = self.heard_ns.max(heard_ns);
        let before = self.suspect;
        if is_leaving {
            let left = |suspect: Suspect| suspect.sign == Sign::Leaving;
            if !self.suspect.is_some_and(left) {
                self.suspect = None;
                self.sign(Sign::Leaving, now_ns);
            }
        } else if is_news {
            self.suspect.take_if(|suspect| heard_ns > suspect.since_ns);
        } else if self.heard_ns > self.excused_ns
            && now_ns.saturating_sub(self.heard_ns) > CHANNEL_SILENCE_NS
        {
            self.sign(Sign::ChannelSilent, now_ns);
        }
        self.suspect != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn sign(suspicion: &Suspicion) -> Option<Sign> {
        suspicion.suspect().map(|suspect| suspect.sign)
    }

    #[test]
    fn a_word_is_as_old_as_it_was_heard_and_not_as_it_is_looked_at() {
        // The monotonic clock stood still through a suspend of 50 s.
        assert_eq!(heard_monotonic_ns(99 * S, 100 * S, 50 * S), 49 * S);
        assert_eq!(heard_monotonic_ns(100 * S, 100 * S, 50 * S), 50 * S);
        assert_eq!(
            heard_monotonic_ns(101 * S, 100 * S, 50 * S),
            50 * S,
            "heard meanwhile"
        );
        assert_eq!(
            heard_monotonic_ns(S, 100 * S, 50 * S),
            0,
            "before the clock began"
        );
    }

    #[test]
    fn a_peer_that_falls_silent_is_suspect_until_it_is_heard() {
        let mut peer = Suspicion::default();
        assert!(
            !peer.channel(0, false, 100 * S),
            "one that was never heard runs no lbd"
        );
        assert!(!peer.channel(101 * S, false, 101 * S));
        assert!(!peer.channel(101 * S, false, 102 * S));
        assert!(peer.channel(101 * S, false, 102 * S + 1));
        assert_eq!(sign(&peer), Some(Sign::ChannelSilent));
        assert!(!peer.channel(101 * S, false, 103 * S), "it is one already");
        assert!(peer.channel(104 * S, false, 104 * S));
        assert_eq!(sign(&peer), None);
    }

    #[test]
    fn a_box_that_answers_is_none_though_its_lbd_is_dead() {
        let mut peer = Suspicion::default();
        peer.channel(S, false, S);
        assert!(peer.channel(S, false, 3 * S));
        assert!(peer.answered());
        assert!(!peer.channel(S, false, 60 * S), "its silence is explained");
        assert_eq!(sign(&peer), None);
        // Later it dies for good: that is for the checks to notice.
        assert!(peer.sign(Sign::Unanswered, 61 * S));
        assert!(peer.answered());
        // Its lbd comes back, and dies again.
        peer.channel(70 * S, false, 70 * S);
        assert!(peer.channel(70 * S, false, 72 * S));
    }

    #[test]
    fn what_was_heard_before_the_sign_does_not_clear_it() {
        let mut peer = Suspicion::default();
        peer.channel(10 * S, false, 10 * S);
        assert!(peer.sign(Sign::MasterGone, 11 * S));
        assert!(!peer.channel(10 * S + 1, false, 11 * S));
        assert_eq!(sign(&peer), Some(Sign::MasterGone));
        assert!(peer.channel(11 * S + 1, false, 11 * S + 2));
    }

    #[test]
    fn one_that_leaves_is_not_cleared_by_living() {
        let mut peer = Suspicion::default();
        peer.channel(S, false, S);
        assert!(peer.channel(2 * S, true, 2 * S));
        assert_eq!(sign(&peer), Some(Sign::Leaving));
        assert!(!peer.answered());
        assert!(!peer.channel(3 * S, true, 3 * S));
        // Its daemon has ended; its silence changes nothing.
        assert!(!peer.has_left(7 * S));
        assert!(!peer.channel(3 * S, true, 9 * S));
        assert!(peer.has_left(9 * S));
        assert!(peer.channel(10 * S, false, 10 * S), "it is back");
        assert_eq!(sign(&peer), None);
        assert!(!peer.has_left(60 * S));
    }
}
