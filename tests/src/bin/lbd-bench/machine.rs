//! What the figures were measured on.
use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};

/// One sentence: processor, cores, memory, kernel.
pub(crate) fn describe() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = value_of(&cpuinfo, "model name").unwrap_or("unknown processor");
    let cores = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let guest = cpuinfo
        .lines()
        .any(|line| line.starts_with("flags") && line.contains(" hypervisor"));
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let gigabytes = value_of(&meminfo, "MemTotal")
        .and_then(|kib| kib.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib >> 20);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{model}, {cores} cores{}, {gigabytes} GB, Linux {}",
        if guest { " of a virtual machine" } else { "" },
        kernel.trim()
    )
}

fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.split_once(':'))
        .map(|(_, value)| value.trim())
}

/// What this thread has used of its CPU: what others use meanwhile does not count.
pub(crate) fn cpu_ns() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock exists, and the pointer is to a live `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    #[expect(clippy::cast_precision_loss, reason = "a run takes no years")]
    (time.tv_sec as f64).mul_add(1e9, time.tv_nsec as f64)
}

/// Seconds that all processors together have worked, softirq included (proc(5), /proc/stat). Time
/// stolen by the host of a virtual machine is no work.
pub(crate) fn busy_s() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let ticks = busy_ticks(&text).context("/proc/stat has another form")?;
    Ok(seconds(ticks))
}

fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
    let fields = fields.ok()?;
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user and nice.
    let [user, nice, system, _, _, irq, softirq, ..] = fields[..] else {
        return None;
    };
    Some(user + nice + system + irq + softirq)
}

/// Of `USER_HZ`.
fn seconds(ticks: u64) -> f64 {
    // SAFETY: sysconf takes a number and keeps nothing.
    let hz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let hz = u32::try_from(hz).unwrap_or(100).max(1);
    u32::try_from(ticks).map_or(f64::INFINITY, f64::from) / f64::from(hz)
}

/// What every process of ours and of others has worked so far.
#[derive(Debug)]
pub(crate) struct Processes(HashMap<u32, u64>);

impl Processes {
    /// Those that are neither this one nor in a namespace whose name starts with `prefix`.
    pub(crate) fn of_others(prefix: &str) -> Self {
        let inode = |path: &Path| fs::metadata(path).map(|of| of.ino()).ok();
        let namespaces = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let ours: HashSet<u64> = namespaces
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .filter_map(|entry| inode(&entry.path()))
            .collect();
        let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
        let others = folders.filter_map(|folder| {
            let pid: u32 = folder.file_name().to_str()?.parse().ok()?;
            let path = folder.path();
            let ours = pid == std::process::id()
                || inode(&path.join("ns/net")).is_none_or(|inode| ours.contains(&inode));
            if ours {
                return None;
            }
            let stat = fs::read_to_string(path.join("stat")).ok()?;
            Some((pid, worked_ticks(&stat)?))
        });
        Self(others.collect())
    }

    /// Seconds that they have worked since; of those that began meanwhile all.
    pub(crate) fn worked_since(&self, before: &Self) -> f64 {
        let since = self.0.iter().map(|(pid, ticks)| {
            ticks.saturating_sub(before.0.get(pid).copied().unwrap_or_default())
        });
        seconds(since.sum())
    }
}

/// `utime` and `stime` of /proc/PID/stat; kernel threads, which work for all, have none here.
fn worked_ticks(stat: &str) -> Option<u64> {
    // PF_KTHREAD of include/linux/sched.h.
    const KERNEL_THREAD: u64 = 0x0020_0000;
    // The name may hold anything, blanks and brackets too: what follows its last bracket does not.
    let (_, rest) = stat.rsplit_once(')')?;
    let field = |nth: usize| rest.split_whitespace().nth(nth)?.parse::<u64>().ok();
    let (flags, user, system) = (field(6)?, field(11)?, field(12)?);
    (flags & KERNEL_THREAD == 0).then_some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_what_is_neither_idle_nor_stolen() {
        let stat = "cpu  1 20 300 4000 50000 600000 7000000 80000000 0 0\ncpu0 1 1\n";
        assert_eq!(busy_ticks(stat), Some(7_600_321));
        assert_eq!(busy_ticks("cpu 1 2 3\n"), None);
    }

    #[test]
    fn a_name_with_brackets_hides_no_figures() {
        let stat = "7 (a) b) S 1 1 1 0 -1 64 0 0 0 0 11 22 0 0 20 0";
        assert_eq!(worked_ticks(stat), Some(33));
        let kernel = stat.replace(" 64 ", " 2097152 ");
        assert_eq!(worked_ticks(&kernel), None);
    }
}
