//! Whether this node's checks say more of this node than of the backends. Pure.
//!
//! A node whose every check fails steers on, as long as the boxes say that they serve: most likely the
//! check is wrong. Not so when a peer's checks succeed meanwhile. Then something stands between this node
//! and the backends, and the peer is the better master.
use super::members::nanoseconds;
use crate::config;

/// Whether this node gives the mastership to a peer that reaches backends which it does not reach itself.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::daemon) struct Reach {
    /// Since when every check fails here while one of a peer succeeds.
    worse_since_ns: Option<u64>,
    is_worse: bool,
}

impl Reach {
    /// Takes in what is known now. After [`patience_ns`] with every check failing here and one succeeding
    /// at a peer this node is worse than the peer, until a check succeeds here: when the peer's begin to
    /// fail too, nothing is gained by taking the mastership back.
    pub(in crate::daemon) fn look(
        &mut self,
        every_check_fails: bool,
        a_peer_succeeds: bool,
        patience_ns: u64,
        now_ns: u64,
    ) {
        if !every_check_fails {
            *self = Self::default();
            return;
        }
        if !a_peer_succeeds {
            self.worse_since_ns = None;
            return;
        }
        let since_ns = *self.worse_since_ns.get_or_insert(now_ns);
        self.is_worse |= now_ns.saturating_sub(since_ns) >= patience_ns;
    }

    /// Whether a peer is the better master.
    pub(in crate::daemon) fn is_worse(&self) -> bool {
        self.is_worse
    }
}

/// How long nodes may differ in what they find of a backend that fails, or is cured, for all of them: each
/// checks at times of its own.
pub(in crate::daemon) fn patience_ns(health: &config::Health) -> u64 {
    let rounds = u64::from(health.rise.max(health.fall)) + 1;
    let interval_ns = nanoseconds(health.interval);
    nanoseconds(health.timeout).saturating_add(interval_ns.saturating_mul(rounds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a node is worse after each look, one a second with a patience of two: `f`, every check
    /// fails here; `p`, one succeeds at a peer.
    fn worse(looks: &[&str]) -> Vec<bool> {
        let mut reach = Reach::default();
        let look = |(now, look): (u64, &&str)| {
            reach.look(look.contains('f'), look.contains('p'), 2, now);
            reach.is_worse()
        };
        (100..).zip(looks).map(look).collect()
    }

    #[test]
    fn a_node_whose_checks_fail_while_a_peers_succeed_is_worse() {
        let worse = worse(&["p", "fp", "fp", "fp", "fp", "p", "fp"]);
        assert_eq!(worse, [false, false, false, true, true, false, false]);
    }

    #[test]
    fn checks_that_fail_everywhere_make_no_backend_worse() {
        // The peer's checks end to succeed a little later, and begin again a little sooner.
        let worse = worse(&["p", "fp", "fp", "f", "f", "fp", "fp", "p"]);
        assert_eq!(worse, [false; 8]);
    }

    #[test]
    fn who_has_given_way_stays_so_until_a_check_succeeds() {
        let worse = worse(&["fp", "fp", "fp", "f", "f", "", "f"]);
        assert_eq!(worse, [false, false, true, true, true, false, false]);
    }
}
