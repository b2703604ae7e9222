//! The minutes that deserve a look.
use std::{cmp::Reverse, collections::BTreeMap};

use super::{WorstMinute, build::MinuteSum};
use crate::history::{RowStore, begin_of};

/// How many are shown.
const SHOWN: usize = 10;

/// The worst first: a session that is lost is worse than a backend that is out, and that is worse than
/// mail that waits. A minute of which nothing of this is true is not bad.
pub(super) fn worst(rows: &RowStore, minutes: &BTreeMap<u32, MinuteSum>) -> Vec<WorstMinute> {
    let mut bad: Vec<(u32, &MinuteSum)> = minutes
        .iter()
        .map(|(minute, sum)| (*minute, sum))
        .filter(|(_, sum)| sum.lost() > 0 || !sum.off.is_empty() || sum.queued > 0)
        .collect();
    bad.sort_by_key(|(minute, sum)| (Reverse((sum.lost(), sum.off.len(), sum.queued)), *minute));
    bad.truncate(SHOWN);
    let row = |(minute, sum): (u32, &MinuteSum)| WorstMinute {
        begin_unix_s: begin_of(minute),
        turned_away: sum.turned_away,
        reset: sum.reset,
        out_of_service: sum
            .off
            .iter()
            .map(|name| rows.name(*name).to_owned())
            .collect(),
        queued: sum.queued,
        sessions: sum.sessions,
        most_open: sum.most_open,
    };
    bad.into_iter().map(row).collect()
}
