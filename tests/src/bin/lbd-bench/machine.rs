//! What the figures were measured on.
use std::fs;

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
