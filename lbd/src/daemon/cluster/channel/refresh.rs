//! Which flows peers are told of again, so that they do not take a long session for an idle one.
use lbd_common::flow::{FlowWord, flag, state};

use crate::flows::age;

/// Between two parts of the table.
const PART_NS: u64 = 1_000_000_000;
/// Of the time after which an idle flow is forgotten: a peer may miss two rounds.
const ROUNDS_PER_IDLE: u64 = 4;

/// Goes through the table once in a quarter of the time after which an idle flow is forgotten, a
/// part each second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refresh {
    parts: usize,
    next: usize,
    due_ns: u64,
}

impl Refresh {
    pub(super) fn new(idle_ns: u64) -> Self {
        let parts = (idle_ns / ROUNDS_PER_IDLE / PART_NS).max(1);
        Self {
            parts: usize::try_from(parts).unwrap_or(usize::MAX),
            next: 0,
            due_ns: 0,
        }
    }

    /// The part that is due, and of how many.
    pub(super) fn part(&mut self, now_ns: u64) -> Option<(usize, usize)> {
        if now_ns < self.due_ns {
            return None;
        }
        self.due_ns = now_ns + PART_NS;
        let part = self.next % self.parts;
        self.next = part + 1;
        Some((part, self.parts))
    }

    /// Whether this node has heard of the flow itself since the last round. What only a peer has told
    /// is for that peer to tell again.
    pub(super) fn tells(&self, word: FlowWord, now_seen: u16) -> bool {
        let round = u64::try_from(self.parts).unwrap_or(u64::MAX);
        word.state == state::ESTABLISHED
            && word.flags & flag::FROM_PEER == 0
            && u64::from(age(now_seen, word.seen)) <= round + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn every_part_comes_once_a_round_and_one_a_second() {
        let mut refresh = Refresh::new(20 * SECOND);
        let mut parts = Vec::new();
        for half_second in 0..20 {
            parts.extend(refresh.part(half_second * SECOND / 2));
        }
        let expected: Vec<_> = (0..5).chain(0..5).map(|part| (part, 5)).collect();
        assert_eq!(parts, expected);
        assert_eq!(Refresh::new(0).part(0), Some((0, 1)));
    }

    #[test]
    fn only_sessions_heard_here_since_the_last_round_are_told() {
        let refresh = Refresh::new(40 * SECOND);
        let word = |state, flags, seen| FlowWord {
            state,
            flags,
            seen,
            ..FlowWord::default()
        };
        for (word, told) in [
            (word(state::ESTABLISHED, flag::COUNTED, 95), true),
            (word(state::ESTABLISHED, flag::COUNTED, 80), false),
            (word(state::ESTABLISHED, flag::FROM_PEER, 95), false),
            (word(state::HALF_OPEN, flag::COUNTED, 99), false),
            (word(state::CLOSING, 0, 99), false),
        ] {
            assert_eq!(refresh.tells(word, 100), told, "{word:?}");
        }
    }
}
