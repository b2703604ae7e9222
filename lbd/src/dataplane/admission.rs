//! Who may open sessions, and how many.
use lbd_common::{director::flag, flow::SEEN_SHIFT};

use super::{AccessLists, DataPlane, Limits, Result};

impl DataPlane {
    /// Admits by exactly these lists from now on: 100,000 entries in a fraction of a second. Who is
    /// admitted before and after is admitted throughout. Sessions that are open stay: end those of
    /// newly denied sources with [`super::FlowTables::doom`] and [`AccessLists::judge`].
    pub fn set_access(&mut self, lists: &AccessLists) -> Result<()> {
        if !lists.is_empty() {
            self.director.set_flag(flag::LISTS, true);
        }
        self.lists.write(lists)?;
        self.director.set_flag(flag::LISTS, !lists.is_empty());
        Ok(())
    }

    /// Keeps to these rates from now on.
    pub fn set_limits(&self, limits: &Limits) {
        let idle_ns = u64::from(limits.idle_s) * 1_000_000_000;
        self.director.set_limits(
            limits,
            u32::try_from(idle_ns >> SEEN_SHIFT).unwrap_or(u32::MAX),
        );
    }
}
