//! A notice of a kind once in a while.
use std::collections::HashMap;
use std::mem::Discriminant;

use super::event::Notice;

const AGAIN_AFTER_NS: u64 = 10_000_000_000;

/// Whether a kind of notice was given lately. The kinds are few, so this does not grow.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    given_ns: HashMap<(Discriminant<Notice>, u64), u64>,
}

impl Limiter {
    /// Whether to give it now.
    pub(super) fn allows(&mut self, notice: &Notice, now_ns: u64) -> bool {
        match self.given_ns.get(&notice.kind()) {
            Some(given) if now_ns.saturating_sub(*given) < AGAIN_AFTER_NS => false,
            _ => {
                self.given_ns.insert(notice.kind(), now_ns);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election;

    #[test]
    fn a_kind_is_given_once_and_again_later() {
        let mut limiter = Limiter::default();
        let rival = || Notice::NotAPeer {
            from: "192.0.2.1".parse().unwrap(),
        };
        let cured = Notice::Election(election::Notice::Cured);
        assert!(limiter.allows(&rival(), 5));
        assert!(!limiter.allows(&rival(), 6));
        assert!(limiter.allows(&cured, 6));
        assert!(limiter.allows(&rival(), 5 + AGAIN_AFTER_NS));
    }
}
