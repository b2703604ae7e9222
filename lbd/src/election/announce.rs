//! When to announce: at once, a few times more, and anew whenever a rival was heard.
use super::config::AnnounceConfig;

/// Requests of a kind that a second may hold before they are spaced out: rivals that answer each
/// other's claims must not fill the segment.
const QUICK_PER_SECOND: u8 = 10;
const SECOND_NS: u64 = 1_000_000_000;
const QUICK_GAP_NS: u64 = 1_000_000;
const SLOW_GAP_NS: u64 = 100_000_000;
/// For so long after a burst single announcements follow it. A dead predecessor's kernel keeps the
/// addresses until their lifetime ends, and names its own MAC for an IPv6 one in each solicitation
/// of a host that it answers from there (`ndisc_solicit` in net/ipv6/ndisc.c): neighbours that were
/// moved here move back.
const SETTLE_NS: u64 = 5 * SECOND_NS;
const SETTLE_GAP_NS: u64 = 250_000_000;

/// Why an announcement is asked for. Each kind has its own quick requests: two masters that could
/// not hear each other's adverts answer each other's claims all the time, and the one announcement
/// that counts, the winner's after the other has yielded, must not wait for those.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    /// We took over, or a rival's advert was heard.
    Advert,
    /// Another box says that the address is its own.
    Claim,
}

/// Quick requests within a second.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Budget {
    second_from_ns: u64,
    used: u8,
}

impl Budget {
    fn spend(&mut self, now_ns: u64) -> bool {
        if now_ns.saturating_sub(self.second_from_ns) >= SECOND_NS {
            *self = Self {
                second_from_ns: now_ns,
                used: 0,
            };
        }
        let is_left = self.used < QUICK_PER_SECOND;
        self.used = self.used.saturating_add(1);
        is_left
    }
}

/// The announcements of one mastership. One is delayed when it would come too soon after
/// another, never dropped: the last word on the wire is the master's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Schedule {
    due_ns: Option<u64>,
    burst_left: u8,
    settled_ns: u64,
    last_ns: Option<u64>,
    adverts: Budget,
    claims: Budget,
}

impl Schedule {
    /// Asks for a burst.
    pub(super) fn request(&mut self, cause: Cause, now_ns: u64, config: &AnnounceConfig) {
        let after = |gap_ns: u64| {
            self.last_ns
                .map_or(now_ns, |last| now_ns.max(last + gap_ns))
        };
        let (quick_ns, slow_ns) = (after(QUICK_GAP_NS), after(SLOW_GAP_NS));
        self.burst_left = config.count.max(1) - 1;
        self.settled_ns = now_ns + SETTLE_NS;
        if self.due_ns.is_some_and(|due| due <= quick_ns) {
            return;
        }
        let budget = match cause {
            Cause::Advert => &mut self.adverts,
            Cause::Claim => &mut self.claims,
        };
        let earliest_ns = if budget.spend(now_ns) {
            quick_ns
        } else {
            slow_ns
        };
        self.due_ns = Some(self.due_ns.map_or(earliest_ns, |due| due.min(earliest_ns)));
    }

    /// When the next announcement is due.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.due_ns
    }

    /// Whether to announce now; if so, the next one is scheduled.
    pub(super) fn take(&mut self, now_ns: u64, config: &AnnounceConfig) -> bool {
        if self.due_ns.is_none_or(|due| now_ns < due) {
            return false;
        }
        self.last_ns = Some(now_ns);
        self.due_ns = if self.burst_left > 0 {
            self.burst_left -= 1;
            Some(now_ns + config.gap_ns.max(QUICK_GAP_NS))
        } else if now_ns + SETTLE_GAP_NS <= self.settled_ns {
            Some(now_ns + SETTLE_GAP_NS)
        } else if config.repeat_ns > 0 {
            Some(now_ns + config.repeat_ns.max(SLOW_GAP_NS))
        } else {
            None
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const CONFIG: AnnounceConfig = AnnounceConfig {
        count: 3,
        gap_ns: 250 * MS,
        repeat_ns: 0,
    };

    fn times(mut schedule: Schedule, until_ns: u64, config: &AnnounceConfig) -> Vec<u64> {
        let mut all = Vec::new();
        while let Some(due) = schedule.due_ns().filter(|due| *due <= until_ns) {
            assert!(schedule.take(due, config));
            all.push(due);
        }
        all
    }

    #[test]
    fn a_takeover_announces_at_once_and_then_repeats() {
        let mut schedule = Schedule::default();
        schedule.request(Cause::Advert, 7, &CONFIG);
        let gap = 100 * MS;
        let config = AnnounceConfig {
            gap_ns: gap,
            ..CONFIG
        };
        let all = times(schedule, u64::MAX, &config);
        assert_eq!(all[..3], [7, 7 + gap, 7 + 2 * gap]);
        // Until a dead predecessor has surely lost the addresses.
        assert!(
            all[2..]
                .windows(2)
                .all(|pair| pair[1] - pair[0] == SETTLE_GAP_NS)
        );
        let last = all[all.len() - 1];
        assert!((7 + SETTLE_NS - SETTLE_GAP_NS..=7 + SETTLE_NS).contains(&last));
    }

    #[test]
    fn a_rival_gets_an_answer_after_a_millisecond_and_is_never_the_last_to_speak() {
        let mut schedule = Schedule::default();
        schedule.request(Cause::Advert, 0, &CONFIG);
        assert!(schedule.take(0, &CONFIG));
        schedule.request(Cause::Claim, 10, &CONFIG);
        assert!(!schedule.take(10, &CONFIG));
        assert_eq!(schedule.due_ns(), Some(MS));
        assert!(schedule.take(MS, &CONFIG));
    }

    #[test]
    fn a_war_of_claims_is_slowed_down() {
        let mut schedule = Schedule::default();
        let mut sent = 0;
        for now in (0..5 * SECOND_NS).step_by(100_000) {
            schedule.request(Cause::Claim, now, &CONFIG);
            sent += u32::from(schedule.take(now, &CONFIG));
        }
        assert!((50..=110).contains(&sent), "{sent} in 5 s");
    }

    #[test]
    fn a_rival_that_yields_amid_a_war_of_claims_is_answered_at_once() {
        let mut schedule = Schedule::default();
        let mut now = 0;
        while now < 700 * MS {
            schedule.request(Cause::Claim, now, &CONFIG);
            schedule.take(now, &CONFIG);
            now += MS / 2;
        }
        let spaced = schedule.due_ns().unwrap();
        assert!(spaced > now + 2 * MS, "the war is slowed down");
        schedule.request(Cause::Advert, now, &CONFIG);
        assert!(schedule.due_ns().unwrap() <= now + MS);
    }

    #[test]
    fn single_ones_go_on() {
        let config = AnnounceConfig {
            count: 1,
            repeat_ns: SECOND_NS,
            ..CONFIG
        };
        let mut schedule = Schedule::default();
        schedule.request(Cause::Advert, 0, &config);
        let all = times(schedule, SETTLE_NS + 2 * SECOND_NS, &config);
        assert_eq!(
            all[all.len() - 3..],
            [SETTLE_NS, SETTLE_NS + SECOND_NS, SETTLE_NS + 2 * SECOND_NS]
        );
    }
}
