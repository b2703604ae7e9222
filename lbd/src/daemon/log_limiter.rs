//! A line of each kind once in a while.
use std::{collections::HashMap, hash::Hash};

/// When a line of each kind was last logged. The kinds have to be few: none is forgotten by itself.
#[derive(Debug)]
pub(in crate::daemon) struct LogLimiter<K> {
    logged_ns: HashMap<K, u64>,
}

impl<K> Default for LogLimiter<K> {
    fn default() -> Self {
        Self {
            logged_ns: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash> LogLimiter<K> {
    /// Whether a line of this kind is due, which then counts as logged.
    pub(in crate::daemon) fn allows(&mut self, kind: K, every_ns: u64, now_ns: u64) -> bool {
        let is_due = self.is_due(&kind, every_ns, now_ns);
        if is_due {
            self.logged_ns.insert(kind, now_ns);
        }
        is_due
    }

    /// Whether the last line of this kind is `every_ns` old, or there was none.
    pub(in crate::daemon) fn is_due(&self, kind: &K, every_ns: u64, now_ns: u64) -> bool {
        self.logged_ns
            .get(kind)
            .is_none_or(|logged| now_ns.saturating_sub(*logged) >= every_ns)
    }

    /// Forgets all other kinds.
    pub(in crate::daemon) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.logged_ns.retain(|kind, _| keep(kind));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_logged_once_and_again_later() {
        let mut limiter = LogLimiter::default();
        assert!(limiter.allows("rival", 10, 5));
        assert!(!limiter.allows("rival", 10, 14));
        assert!(limiter.allows("cured", 10, 6));
        assert!(limiter.allows("rival", 10, 15), "since it was last logged");
        assert!(!limiter.allows("rival", 10, 24));
        limiter.retain(|kind| *kind != "rival");
        assert!(limiter.allows("rival", 10, 24), "forgotten");
        assert!(!limiter.is_due(&"cured", 19, 24));
    }
}
