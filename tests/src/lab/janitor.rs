//! Takes a lab away when its process can't: after SIGKILL, Ctrl-C, an abort.
use std::{
    fs,
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use super::netns;

/// Below this every pin of a lab has a name that starts with the lab's.
const BPFFS: &str = "/sys/fs/bpf";

/// Kills what runs in namespaces whose name starts with $1, removes them, and pins and folders.
/// Names of labs hold no blanks and no wildcards. $2 is a folder, or empty.
const CLEAN: &str = r#"
for ns in $(ls /run/netns 2>/dev/null); do
  case $ns in "$1"-*) for pid in $(ip netns pids "$ns"); do kill -9 "$pid"; done ;; esac
done
for ns in $(ls /run/netns 2>/dev/null); do
  case $ns in "$1"-*) ip netns del "$ns" ;; esac
done
for pin in /sys/fs/bpf/"$1"-*; do
  if [ -e "$pin" ]; then rm -rf "$pin"; fi
done
if [ -n "$2" ]; then rm -rf "$2"; fi
"#;

/// A shell that waits for the end of this process on a pipe and then cleans up.
#[derive(Debug)]
pub(super) struct Janitor {
    shell: Child,
}

impl Janitor {
    /// Starts one for the lab of that prefix and folder.
    pub(super) fn start(prefix: &str, folder: &Path) -> Result<Self> {
        // `read` ends when the last holder of the pipe's other end is gone: that is we alone,
        // since std opens pipes close-on-exec.
        let script = format!("read -r word; [ \"$word\" = done ] && exit 0\n{CLEAN}");
        let shell = Command::new("sh")
            .args(["-c", &script, "lbd-lab-janitor", prefix])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C goes to our process group; the janitor has to outlive us.
            .process_group(0)
            .spawn()
            .context("cannot run `sh`")?;
        Ok(Self { shell })
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.shell.stdin.take() {
            let _ = stdin.write_all(b"done\n");
        }
        let _ = self.shell.wait();
    }
}

/// Removes all that is left of the lab of that prefix.
pub(super) fn clean(prefix: &str, folder: Option<&Path>) {
    let _ = Command::new("sh")
        .args(["-c", CLEAN, "lbd-lab-clean", prefix])
        .arg(folder.unwrap_or(Path::new("")))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Removes labs and pins of processes that are gone.
pub(super) fn clean_stale() {
    let pins = fs::read_dir(BPFFS).into_iter().flatten().flatten();
    let pins = pins.filter_map(|entry| entry.file_name().into_string().ok());
    let mut stale: Vec<String> = netns::names()
        .into_iter()
        .chain(pins)
        .filter_map(|name| {
            let pid = owner(&name)?;
            (!alive(pid)).then(|| format!("lbd-{pid}"))
        })
        .collect();
    stale.sort();
    stale.dedup();
    for prefix in stale {
        clean(&prefix, None);
    }
}

/// The process id in a lab's name: `lbd-<pid>-...`. Other names belong to no lab.
fn owner(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix("lbd-")?.split_once('-')?;
    pid.parse().ok()
}

fn alive(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_a_process_id_have_an_owner() {
        assert_eq!(owner("lbd-4711-0-mx1"), Some(4711));
        for other in ["lbd-lab-mx1", "lbd", "lbd-4711", "lbd--mx1", "mx-4711-1"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
