//! Namespaces that a killed lab left behind.
//!
//! A lab's namespaces are named `lbd-PID-...` by the process that made them, and a shell of its
//! own removes them when that process dies. This looks after the shell.
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

const NAMESPACES: &str = "/run/netns";
/// How long the labs' own shells are given.
const PATIENCE: Duration = Duration::from_secs(10);

/// The names of all namespaces.
pub(crate) fn namespaces() -> BTreeSet<String> {
    let entries = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Removes the namespaces of dead labs that were not there `before`. Those of labs that run, be
/// they another person's, stay.
pub(crate) fn remove(before: &BTreeSet<String>) {
    let asked = Instant::now();
    loop {
        let left = orphans(before, &namespaces(), |pid| {
            Path::new("/proc").join(pid.to_string()).exists()
        });
        if left.is_empty() {
            return;
        }
        if asked.elapsed() > PATIENCE {
            for name in left {
                eprintln!("xtask: removing the namespace {name} that a killed lab left behind");
                let script = "for pid in $(ip netns pids \"$1\"); do kill -9 \"$pid\"; done; ip netns del \"$1\"";
                let _ = Command::new("sh")
                    .args(["-c", script, "remove", &name])
                    .status();
            }
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The new ones whose maker is dead.
fn orphans(
    before: &BTreeSet<String>,
    now: &BTreeSet<String>,
    lives: impl Fn(u32) -> bool,
) -> Vec<String> {
    let is_orphan = |name: &&String| maker(name).is_some_and(|pid| !lives(pid));
    now.difference(before).filter(is_orphan).cloned().collect()
}

/// The process in `lbd-PID-...`.
fn maker(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("lbd-")?;
    rest.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_namespaces_of_dead_labs_are_orphans() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let before = set(&["lbd-7-0-old", "office"]);
        let now = set(&[
            "lbd-7-0-old",
            "lbd-7-0-mx1",
            "lbd-8-0-mx1",
            "lbd-lab-mx1",
            "lbd-",
            "lbd-7x-mx1",
            "office",
            "new",
        ]);
        assert_eq!(orphans(&before, &now, |pid| pid == 8), ["lbd-7-0-mx1"]);
    }
}
