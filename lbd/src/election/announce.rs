//! When to announce: at once, a few times more, and anew whenever a rival was heard.
use super::config::AnnounceConfig;

/// Announcements that a second may hold before they are spaced out: rivals that answer each other's
/// claims must not fill the segment.
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

/// The announcements of one mastership. One is delayed when it would come too soon after
/// another, never dropped: the last word on the wire is the master's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Schedule {
    due_ns: Option<u64>,
    burst_left: u8,
    settled_ns: u64,
    last_ns: Option<u64>,
    second_from_ns: u64,
    in_second: u8,
}

impl Schedule {
    /// Asks for a burst.
    pub(super) fn request(&mut self, now_ns: u64, config: &AnnounceConfig) {
        if now_ns.saturating_sub(self.second_from_ns) >= SECOND_NS {
            self.second_from_ns = now_ns;
            self.in_second = 0;
        }
        let gap_ns = if self.in_second < QUICK_PER_SECOND {
            QUICK_GAP_NS
        } else {
            SLOW_GAP_NS
        };
        let earliest_ns = self
            .last_ns
            .map_or(now_ns, |last| (last + gap_ns).max(now_ns));
        self.burst_left = config.count.max(1) - 1;
        self.settled_ns = now_ns + SETTLE_NS;
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
        self.in_second = self.in_second.saturating_add(1);
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
        schedule.request(7, &CONFIG);
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
        schedule.request(0, &CONFIG);
        assert!(schedule.take(0, &CONFIG));
        schedule.request(10, &CONFIG);
        assert!(!schedule.take(10, &CONFIG));
        assert_eq!(schedule.due_ns(), Some(MS));
        assert!(schedule.take(MS, &CONFIG));
    }

    #[test]
    fn a_war_of_claims_is_slowed_down() {
        let mut schedule = Schedule::default();
        let mut sent = 0;
        for now in (0..5 * SECOND_NS).step_by(100_000) {
            schedule.request(now, &CONFIG);
            sent += u32::from(schedule.take(now, &CONFIG));
        }
        assert!((50..=110).contains(&sent), "{sent} in 5 s");
    }

    #[test]
    fn single_ones_go_on() {
        let config = AnnounceConfig {
            count: 1,
            repeat_ns: SECOND_NS,
            ..CONFIG
        };
        let mut schedule = Schedule::default();
        schedule.request(0, &config);
        let all = times(schedule, SETTLE_NS + 2 * SECOND_NS, &config);
        assert_eq!(
            all[all.len() - 3..],
            [SETTLE_NS, SETTLE_NS + SECOND_NS, SETTLE_NS + 2 * SECOND_NS]
        );
    }
}
