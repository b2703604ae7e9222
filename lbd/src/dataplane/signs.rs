//! `SIGNS`: what the cluster knows of a backend besides its address and its weight.
use std::{
    mem::offset_of,
    sync::atomic::{AtomicU32, Ordering},
};

use lbd_common::sign::{Sign, flag, service_bit};

use super::mmap::MmapArray;
use crate::units::BackendId;

/// The backends' signs, for any thread: no system call and no lock. An id that no backend can have is
/// ignored.
#[derive(Clone, Debug)]
pub struct Signs {
    signs: MmapArray<Sign>,
}

impl Signs {
    pub(super) fn new(signs: MmapArray<Sign>) -> Self {
        Self { signs }
    }

    /// Signs that no program shares, for tests.
    pub fn anonymous() -> std::io::Result<Self> {
        MmapArray::anonymous(lbd_common::maps::MAX_BACKENDS as usize).map(Self::new)
    }

    /// What is known of a backend.
    pub fn get(&self, id: BackendId) -> Sign {
        if self.knows(id) {
            self.signs.get(id.0.into())
        } else {
            Sign::default()
        }
    }

    /// Its box has given a sign of life at this time of `CLOCK_MONOTONIC`.
    pub fn heard(&self, id: BackendId, monotonic_ns: u64) {
        if self.knows(id) {
            let at = offset_of!(Sign, last_ns);
            let last = self.signs.field_u64(id.0.into(), at);
            last.fetch_max(monotonic_ns, Ordering::AcqRel);
        }
    }

    /// Whether it gets no new sessions while another can take them. Takes effect with the next frame.
    pub fn set_suspect(&self, id: BackendId, suspect: bool) {
        self.set(id, flag::SUSPECT, suspect);
    }

    /// Whether it is suspect.
    pub fn is_suspect(&self, id: BackendId) -> bool {
        self.get(id).flags & flag::SUSPECT != 0
    }

    /// Whether its box tells of every session that it opens and ends, and is heard each second.
    pub fn set_speaks(&self, id: BackendId, speaks: bool) {
        self.set(id, flag::SPEAKS, speaks);
    }

    /// Whether its box runs lbd, which takes marks off.
    pub fn set_takes_mark(&self, id: BackendId, takes_mark: bool) {
        self.set(id, flag::TAKES_MARK, takes_mark);
    }

    /// For which services its box has no listening socket, by [`service_bit`], and whether it refuses their
    /// connections.
    pub fn set_no_listener(&self, id: BackendId, services: u64, refuses: bool) {
        if self.knows(id) {
            let at = offset_of!(Sign, no_listener);
            let field = self.signs.field_u64(id.0.into(), at);
            field.store(services, Ordering::Release);
        }
        self.set(id, flag::REFUSES, refuses);
    }

    /// Whether its box tells of its sessions of a service.
    pub fn speaks_of(&self, id: BackendId, vip_id: u16) -> bool {
        let sign = self.get(id);
        sign.flags & flag::SPEAKS != 0 && sign.no_listener & service_bit(vip_id) == 0
    }

    /// Whether its box tells of its sessions.
    pub fn speaks(&self, id: BackendId) -> bool {
        self.get(id).flags & flag::SPEAKS != 0
    }

    /// By backend id: the services of whose sessions its box tells, by [`service_bit`].
    pub(super) fn spoken_of(&self) -> Vec<u64> {
        let spoken_of = |id| {
            let no_listener = self.signs.field_u64(id, offset_of!(Sign, no_listener));
            match self.flags(id).load(Ordering::Acquire) & flag::SPEAKS {
                0 => 0,
                _ => !no_listener.load(Ordering::Acquire),
            }
        };
        (0..self.signs.len()).map(spoken_of).collect()
    }

    /// What its queue counts for at the choice, in sessions. Takes effect with the next SYN.
    pub fn set_queued(&self, id: BackendId, sessions: u32) {
        self.store(id, offset_of!(Sign, queued_sessions), sessions);
    }

    /// How many sessions it takes at most; 0 is no limit. Takes effect with the next SYN; sessions that
    /// are open beyond it stay.
    pub fn set_session_limit(&self, id: BackendId, sessions: u32) {
        self.store(id, offset_of!(Sign, session_limit), sessions);
    }

    fn store(&self, id: BackendId, at: usize, value: u32) {
        if self.knows(id) {
            let field = self.signs.field_u32(id.0.into(), at);
            if field.load(Ordering::Relaxed) != value {
                field.store(value, Ordering::Release);
            }
        }
    }

    /// Forgets a backend whose id may be given to another.
    pub(super) fn forget(&self, id: BackendId) {
        if self.knows(id) {
            self.signs.set(id.0.into(), &Sign::default());
        }
    }

    fn set(&self, id: BackendId, bit: u32, on: bool) {
        if !self.knows(id) {
            return;
        }
        let flags = self.flags(id.0.into());
        if on {
            flags.fetch_or(bit, Ordering::AcqRel);
        } else {
            flags.fetch_and(!bit, Ordering::AcqRel);
        }
    }

    fn flags(&self, index: usize) -> &AtomicU32 {
        self.signs.field_u32(index, offset_of!(Sign, flags))
    }

    fn knows(&self, id: BackendId) -> bool {
        usize::from(id.0) < self.signs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_writer_leaves_the_others_bits_alone() {
        let signs = Signs::anonymous().unwrap();
        let id = BackendId(3);
        signs.set_suspect(id, true);
        signs.set_speaks(id, true);
        signs.heard(id, 7);
        signs.heard(id, 5);
        assert_eq!(signs.get(id).last_ns, 7, "time does not go back");
        signs.set_suspect(id, false);
        signs.set_queued(id, 30);
        signs.set_session_limit(id, 400);
        assert!(signs.speaks(id) && !signs.is_suspect(id));
        let sign = signs.get(id);
        assert_eq!((sign.queued_sessions, sign.session_limit), (30, 400));
        signs.forget(id);
        assert_eq!(signs.get(id), Sign::default());
    }

    #[test]
    fn a_box_does_not_speak_for_a_service_without_a_listener() {
        let signs = Signs::anonymous().unwrap();
        let id = BackendId(3);
        signs.set_no_listener(id, service_bit(2), false);
        assert!(!signs.speaks_of(id, 1) && !signs.speaks_of(id, 2));
        signs.set_speaks(id, true);
        assert!(signs.speaks_of(id, 1) && !signs.speaks_of(id, 2));
        assert_eq!(signs.spoken_of()[3], !service_bit(2));
        signs.set_no_listener(id, 0, false);
        assert!(signs.speaks_of(id, 2));
    }

    #[test]
    fn an_id_that_no_backend_has_is_ignored() {
        let signs = Signs::anonymous().unwrap();
        let id = BackendId(u16::MAX);
        signs.heard(id, 1);
        signs.set_suspect(id, true);
        signs.set_queued(id, 1);
        assert_eq!(signs.get(id), Sign::default());
    }
}
