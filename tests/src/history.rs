//! A history for a node that has not run yesterday.
use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use lbd::{
    archive::{self, Archive, Bounds},
    history::{DAY, Reigned, Row, Sample, minute_of},
};

/// Files rows in `state_dir` as if `node` had been the master for the first `minutes` of yesterday, by
/// UTC, with itself for the only backend.
pub fn keep_yesterday(state_dir: &Path, node: &str, minutes: u32) -> Result<()> {
    let bounds = Bounds {
        keep: Duration::from_hours(24 * 31),
        most_bytes: 256 << 20,
    };
    let (mut archive, _) = Archive::open(&state_dir.join(archive::FILE), bounds)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let yesterday = minute_of(now.as_secs()) / DAY * DAY - DAY;
    let since_unix_s = 1_700_000_000;
    let mut rows = Vec::new();
    for minute in yesterday..yesterday + minutes {
        rows.push(Row::Reigned(Reigned {
            node: node.to_owned(),
            since_unix_s,
            minute,
            seconds: 60,
            ..Reigned::default()
        }));
        rows.push(Row::Sample(Sample {
            node: node.to_owned(),
            since_unix_s,
            minute,
            backend: node.to_owned(),
            seconds: 60,
            opened: 10 + u64::from(minute % 7),
            bytes: 480_000,
            sessions: 3,
            sessions_max: 5,
            sources: 4,
            queued: Some(minute % 13),
            weight_permille: 100_000,
            off_s: 0,
            reason: "normal".to_owned(),
        }));
    }
    archive.write(&rows)?;
    Ok(())
}
