//! Which of a peer's datagrams are new, and which are missing.

/// How far a datagram may come behind the latest one.
const SPAN: u64 = 128;

/// What a sequence number is to a window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// Not heard before.
    New,
    /// Heard before, or so old that nobody can tell.
    Old,
}

/// The sequence numbers heard of one epoch of one peer: the latest, and a bit for each of the 128
/// up to it. A replay is refused; reordering within the span is not (RFC 4303, section 3.4.3, has
/// the same for ESP).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    latest: u64,
    /// Bit `n` is `latest - n`.
    heard: u128,
    missing: u64,
}

impl Window {
    /// Begins with the first sequence number heard; all before it count as heard.
    #[must_use]
    pub fn starting(first: u64) -> Self {
        Self {
            latest: first,
            heard: u128::MAX,
            missing: 0,
        }
    }

    /// Takes a sequence number whose signature was verified.
    pub fn accept(&mut self, sequence: u64) -> Seen {
        if sequence > self.latest {
            let ahead = sequence - self.latest;
            self.missing = self.missing.saturating_add(ahead - 1);
            self.heard = if ahead < SPAN {
                self.heard << ahead | 1
            } else {
                1
            };
            self.latest = sequence;
            return Seen::New;
        }
        let behind = self.latest - sequence;
        if behind >= SPAN || self.heard >> behind & 1 == 1 {
            return Seen::Old;
        }
        self.heard |= 1 << behind;
        self.missing = self.missing.saturating_sub(1);
        Seen::New
    }

    /// How many have not come since the last [`Self::forget_missing`].
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Gives them up: from now on they count as heard.
    pub fn forget_missing(&mut self) {
        self.missing = 0;
        self.heard = u128::MAX;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_never_came_is_missing_until_it_comes() {
        let mut window = Window::starting(10);
        assert_eq!(window.accept(14), Seen::New);
        assert_eq!(window.missing(), 3);
        assert_eq!(window.accept(12), Seen::New);
        assert_eq!(window.missing(), 2);
        window.forget_missing();
        assert_eq!(window.accept(13), Seen::Old);
        assert_eq!(window.missing(), 0);
    }

    #[test]
    fn what_is_beyond_the_span_is_old() {
        let mut window = Window::starting(0);
        assert_eq!(window.accept(1000), Seen::New);
        assert_eq!(window.accept(1000 - SPAN), Seen::Old);
        assert_eq!(window.accept(1000 - SPAN + 1), Seen::New);
        assert_eq!(window.accept(u64::MAX), Seen::New);
    }

    proptest! {
        #[test]
        fn nothing_is_accepted_twice_and_nothing_new_refused(
            sequences in proptest::collection::vec(1_u64..400, 1..300)
        ) {
            let mut window = Window::starting(0);
            let (mut heard, mut latest) = (BTreeSet::from([0]), 0);
            for sequence in sequences {
                let new = !heard.contains(&sequence) && sequence + SPAN > latest;
                prop_assert_eq!(window.accept(sequence) == Seen::New, new);
                if new {
                    heard.insert(sequence);
                    latest = latest.max(sequence);
                }
                let all = usize::try_from(latest + 1).unwrap();
                prop_assert_eq!(window.missing(), (all - heard.len()) as u64);
            }
        }
    }
}
