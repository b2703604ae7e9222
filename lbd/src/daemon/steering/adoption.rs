//! For how long a frame in mid-session that has no flow makes one. Pure.
//!
//! A frame is enough to make such a flow, so it is possible only while sessions without flows are
//! expected. A box that tells of its sessions, and a peer, name them anyway.

/// After a start and a takeover: as long as a client that goes on may be silent. It waits for the answer
/// to its message for 10 minutes (RFC 5321, section 4.5.3.2.6).
const UNKNOWN_NS: u64 = 600_000_000_000;
/// After a new ring, for sessions that the ring alone steers since a flood or a full table: whoever sends a
/// message or commands is heard within a minute, and what is rarer finds its box by the second chance.
const NEW_RING_NS: u64 = 60_000_000_000;

/// Until when it is possible, and what the program was told last.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::daemon) struct Adoption {
    until_ns: u64,
    told: bool,
}

impl Adoption {
    /// The daemon has started, or this node is the master from now on.
    pub(in crate::daemon) fn sessions_are_unknown(&mut self, now_ns: u64) {
        self.until_ns = self.until_ns.max(now_ns + UNKNOWN_NS);
    }

    /// The ring is another.
    pub(in crate::daemon) fn ring_changed(&mut self, now_ns: u64) {
        self.until_ns = self.until_ns.max(now_ns + NEW_RING_NS);
    }

    /// Whether it is possible now, which the program is being told.
    pub(in crate::daemon) fn tell(&mut self, now_ns: u64) -> bool {
        self.told = now_ns < self.until_ns;
        self.told
    }

    /// Whether the program was told otherwise.
    pub(in crate::daemon) fn has_changed(self, now_ns: u64) -> bool {
        self.told != (now_ns < self.until_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn it_is_open_for_a_while_after_a_start_a_takeover_and_a_new_ring() {
        let mut adoption = Adoption::default();
        assert!(!adoption.tell(5 * S), "nothing has happened");
        adoption.sessions_are_unknown(5 * S);
        assert!(adoption.has_changed(5 * S) && adoption.tell(5 * S));
        assert!(!adoption.has_changed(604 * S));
        adoption.ring_changed(10 * S);
        assert!(
            !adoption.has_changed(604 * S),
            "a new ring shortens nothing"
        );
        assert!(adoption.has_changed(605 * S) && !adoption.tell(605 * S));
        adoption.ring_changed(1000 * S);
        assert!(adoption.has_changed(1001 * S) && adoption.tell(1059 * S));
        assert!(adoption.has_changed(1060 * S) && !adoption.tell(1060 * S));
        adoption.sessions_are_unknown(2000 * S);
        assert!(adoption.tell(2599 * S) && !adoption.tell(2600 * S));
    }
}
