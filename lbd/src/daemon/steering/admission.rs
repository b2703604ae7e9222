//! Who may open sessions: the configuration's lists and limits, in the maps.
use lbd_common::flow::state;
use tracing::info;

use super::adoption::Adoption;
use crate::{
    config::{Affinity, Config, OnDeny},
    daemon::clock,
    dataplane::{AccessLists, DataPlane, Limits, seen},
};

/// Mid-session frames without a flow that may become one, each second on each CPU, while
/// [`super::adoption`] lets any: enough to learn a failover's sessions in seconds, too few for a flood of
/// ACKs to fill the table.
const ADOPT_PER_SECOND: u32 = 5_000;
/// SYNs a second on one CPU from which on choices are stateless: far above what mail needs, far
/// below what fills the table before its half-open flows expire.
const FLOOD_PER_SECOND: u32 = 20_000;

/// Puts lists and limits into the maps.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Admission {
    pub(in crate::daemon) adoption: Adoption,
}

impl Admission {
    /// Puts lists and limits into the maps, and ends the open sessions of newly denied sources.
    /// Returns how many sessions that were.
    pub(in crate::daemon) fn apply(
        &mut self,
        plane: &mut DataPlane,
        config: &Config,
        lists: &AccessLists,
    ) -> anyhow::Result<u64> {
        self.set_limits(plane, config, clock::boottime_ns());
        plane.set_access(lists)?;
        if lists.deny.is_empty() {
            return Ok(0);
        }
        let judge = lists.judge();
        let now_seen = seen(clock::monotonic_ns());
        let ended = plane.flows().doom(now_seen, |client, word| {
            word.state != state::CLOSING && judge.denies(client.ip())
        });
        if ended > 0 {
            info!("{ended} open sessions of denied sources end with their next frame");
        }
        Ok(ended)
    }

    /// Opens or closes adoption when it is time.
    pub(in crate::daemon) fn follow_adoption(
        &mut self,
        plane: &DataPlane,
        config: &Config,
        now_ns: u64,
    ) {
        if self.adoption.has_changed(now_ns) {
            self.set_limits(plane, config, now_ns);
        }
    }

    fn set_limits(&mut self, plane: &DataPlane, config: &Config, now_ns: u64) {
        let may_adopt = self.adoption.tell(now_ns);
        plane.set_limits(&limits(config, may_adopt));
    }
}

fn limits(config: &Config, may_adopt: bool) -> Limits {
    let cluster = &config.cluster;
    Limits {
        new_per_second: cluster.access.new_per_second.unwrap_or(0),
        flood_per_second: FLOOD_PER_SECOND,
        adopt_per_second: if may_adopt { ADOPT_PER_SECOND } else { 0 },
        idle_s: u32::try_from(cluster.idle.established.as_secs()).unwrap_or(u32::MAX),
        affinity_skew_permille: match cluster.selection.affinity {
            Affinity::Off => None,
            Affinity::Source => Some(permille(cluster.selection.max_skew)),
        },
        reset_denied: cluster.access.on_deny == OnDeny::Reset,
    }
}

/// A part as thousandths; the configuration keeps it between 0 and a small number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped before"
)]
fn permille(part: f64) -> u32 {
    (part * 1000.0).round().clamp(0.0, 1_000_000.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_thousandths_and_nonsense_stays_in_bounds() {
        for (part, expected) in [(0.0, 0), (0.25, 250), (1.0, 1000), (-1.0, 0), (f64::NAN, 0)] {
            assert_eq!(permille(part), expected, "{part}");
        }
    }
}
