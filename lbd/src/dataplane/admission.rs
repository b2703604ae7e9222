//! Who may open sessions, and how many.
use lbd_common::{director::flag, flow::SEEN_SHIFT};

use super::{AccessLists, DataPlane, Result};

/// The rates that the program keeps to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// New connections that one source (IPv4 address, IPv6 /64) may open each second; 0: no limit.
    pub new_per_second: u32,
    /// SYNs each second on each CPU from which on a flood is on; 0: never.
    pub flood_per_second: u32,
    /// Mid-session frames without a flow that become one, each second on each CPU; 0: none.
    pub adopt_per_second: u32,
    /// Seconds after which an open session that is not heard may lose its place; 0: never.
    pub idle_s: u32,
    /// All sessions of a source go to one backend as long as its load is within this many
    /// thousandths of its second one's; `None`: each session by itself.
    pub affinity_skew_permille: Option<u32>,
    /// A denied source's SYN is answered with RST instead of silence.
    pub reset_denied: bool,
}

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
