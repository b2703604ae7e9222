//! How many sessions the backends' boxes have told of.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use lbd_common::maps::MAX_BACKENDS;

use crate::units::BackendId;

/// Sessions that boxes have said to have begun and ended, by backend. No stranger can make one. Clones
/// share the counts and may be used on any thread.
#[derive(Clone, Debug)]
pub struct BoxSessions {
    counts: Arc<[Counts]>,
}

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// Those of one backend so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SessionCounts {
    /// Sessions that have begun, or were found to be open.
    pub begun: u64,
    /// Sessions that have ended.
    pub ended: u64,
}

impl Default for BoxSessions {
    fn default() -> Self {
        let counts = (0..MAX_BACKENDS).map(|_| Counts::default()).collect();
        Self { counts }
    }
}

impl BoxSessions {
    /// One has begun. An id that no backend can have is ignored.
    pub fn begun(&self, id: BackendId) {
        if let Some(counts) = self.counts.get(usize::from(id.0)) {
            counts.begun.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One has ended.
    pub fn ended(&self, id: BackendId) {
        if let Some(counts) = self.counts.get(usize::from(id.0)) {
            counts.ended.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All that was told of a backend so far.
    pub fn of(&self, id: BackendId) -> SessionCounts {
        self.counts
            .get(usize::from(id.0))
            .map_or_else(SessionCounts::default, |counts| SessionCounts {
                begun: counts.begun.load(Ordering::Relaxed),
                ended: counts.ended.load(Ordering::Relaxed),
            })
    }
}
