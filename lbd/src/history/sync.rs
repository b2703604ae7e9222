//! What a node asks of a peer whose digests differ from its own.
use std::collections::VecDeque;

use super::{DAY, HOUR, Message};

/// Hours that may wait to be asked for; those beyond are seen again in the next comparison.
const WAITING: usize = 4096;
/// An answer that does not come is waited for no longer.
const PATIENCE_NS: u64 = 2_000_000_000;

/// The hours of a peer's day that this node should ask for: those that differ and are not over for it.
///
/// `oldest` is the first minute that this node keeps.
#[must_use]
pub fn differing_hours(day: u32, own: &[u64], told: &[u64], oldest: u32) -> Vec<u32> {
    let hours = own.iter().zip(told).zip(day * 24..);
    hours
        .filter(|((own, told), hour)| {
            own != told && **told != 0 && hour.saturating_add(1).saturating_mul(HOUR) > oldest
        })
        .map(|(_, hour)| hour)
        .collect()
}

/// The minutes of a peer's hour to ask for, a bit each: those that differ, that this node keeps, and
/// that are before `now`, whose rows are still on their way.
#[must_use]
pub fn differing_minutes(hour: u32, own: &[u64], told: &[u64], oldest: u32, now: u32) -> u64 {
    let first = hour.saturating_mul(HOUR);
    let minutes = own.iter().zip(told).zip(first..).enumerate();
    minutes
        .filter(|(_, ((own, told), minute))| {
            own != told && **told != 0 && (oldest..now).contains(minute)
        })
        .fold(0, |bits, (index, _)| bits | 1 << index)
}

/// The minutes that a request's bits name.
pub fn minutes_of(hour: u32, bits: u64) -> impl Iterator<Item = u32> {
    let first = hour.saturating_mul(HOUR);
    (0..HOUR)
        .filter(move |index| bits >> index & 1 == 1)
        .map(move |index| first.saturating_add(index))
}

/// A day's digests of hours, or an hour's of minutes, from digests by minute.
#[must_use]
pub fn folded(
    first_minute: u32,
    step: u32,
    steps: usize,
    by_minute: impl IntoIterator<Item = (u32, u64)>,
) -> Vec<u64> {
    let mut digests = vec![0; steps];
    for (minute, digest) in by_minute {
        let index = minute.checked_sub(first_minute).map(|after| after / step);
        if let Some(sum) = index.and_then(|index| digests.get_mut(index as usize)) {
            *sum ^= digest;
        }
    }
    digests
}

/// The day of UTC of a minute, since 1970.
#[must_use]
pub fn day_of(minute: u32) -> u32 {
    minute / DAY
}

/// What waits to be asked, one hour at a time, so that a node that was away for a month overloads no peer.
#[derive(Debug)]
pub struct Asking<P> {
    waiting: VecDeque<(P, String, u32)>,
    asked: Option<(P, String, u32, u64)>,
}

impl<P> Default for Asking<P> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            asked: None,
        }
    }
}

impl<P: Clone + PartialEq> Asking<P> {
    /// An hour of a node in which a peer has something else.
    pub fn want(&mut self, peer: &P, node: &str, hour: u32) {
        let is =
            |(one, whose, when): &(P, String, u32)| one == peer && whose == node && *when == hour;
        if self.waiting.len() < WAITING && !self.waiting.iter().any(is) {
            self.waiting
                .push_back((peer.clone(), node.to_owned(), hour));
        }
    }

    /// The peer goes on answering.
    pub fn heard(&mut self, peer: &P, now_ns: u64) {
        if let Some((asked, _, _, since_ns)) = &mut self.asked
            && asked == peer
        {
            *since_ns = now_ns;
        }
    }

    /// The peer has answered all that there was.
    pub fn done(&mut self, peer: &P, node: &str, hour: u32) {
        self.asked
            .take_if(|(asked, whose, when, _)| asked == peer && whose == node && *when == hour);
    }

    /// The next question, when none is open.
    pub fn next(&mut self, now_ns: u64) -> Option<(P, Message)> {
        self.asked
            .take_if(|(.., since_ns)| now_ns.saturating_sub(*since_ns) >= PATIENCE_NS);
        if self.asked.is_some() {
            return None;
        }
        let (peer, node, hour) = self.waiting.pop_front()?;
        self.asked = Some((peer.clone(), node.clone(), hour, now_ns));
        Some((peer, Message::AskMinutes { node, hour }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_there_and_is_kept_is_asked_for() {
        let (mut own, mut told) = (vec![0; 24], vec![0; 24]);
        told[3] = 7;
        (own[4], told[4]) = (9, 9);
        own[5] = 1;
        (own[6], told[6]) = (1, 2);
        assert_eq!(differing_hours(10, &own, &told, 0), [243, 246]);
        assert_eq!(differing_hours(10, &own, &told, 244 * 60 - 1), [243, 246]);
        assert_eq!(differing_hours(10, &own, &told, 244 * 60), [246]);

        let own = vec![0; 60];
        let told = vec![5; 60];
        let all = differing_minutes(2, &own, &told, 0, 1000);
        assert_eq!(all, (1 << 60) - 1);
        assert_eq!(differing_minutes(2, &own, &told, 121, 123), 0b110);
        assert_eq!(differing_minutes(2, &told, &told, 0, 1000), 0);
        assert_eq!(minutes_of(2, 0b110).collect::<Vec<_>>(), [121, 122]);
    }

    #[test]
    fn digests_fold_in_any_order_and_outsiders_do_not_count() {
        let rows = [(60, 1), (61, 2), (119, 4), (120, 8), (59, 16), (3000, 32)];
        let mut backwards = rows;
        backwards.reverse();
        assert_eq!(folded(60, 60, 2, rows), [7, 8]);
        assert_eq!(folded(60, 60, 2, backwards), [7, 8]);
    }

    #[test]
    fn one_hour_is_asked_for_at_a_time_each_once_and_no_peer_is_waited_for_for_ever() {
        let mut asking = Asking::default();
        for _ in 0..2 {
            asking.want(&1, "mx1", 5);
            asking.want(&2, "mx1", 5);
        }
        let ask = |hour| Message::AskMinutes {
            node: "mx1".to_owned(),
            hour,
        };
        assert_eq!(asking.next(0), Some((1, ask(5))));
        assert_eq!(asking.next(1), None);
        asking.heard(&1, PATIENCE_NS - 1);
        assert_eq!(asking.next(PATIENCE_NS), None, "it goes on");
        asking.done(&2, "mx1", 5);
        assert_eq!(asking.next(PATIENCE_NS), None, "of another peer");
        assert_eq!(asking.next(2 * PATIENCE_NS), Some((2, ask(5))));
        asking.done(&2, "mx1", 5);
        assert_eq!(asking.next(2 * PATIENCE_NS), None, "each once");
        for hour in 0..10_000 {
            asking.want(&1, "mx1", hour);
        }
        assert!(asking.waiting.len() <= WAITING);
    }
}
