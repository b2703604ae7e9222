//! Programs of this machine that only some tests use.
use std::{env, path::PathBuf};

/// A program on PATH, where Debian keeps those that a user's PATH leaves out, in FRR's own folder, or in
/// one of LLVM's, the newest of them.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let entries = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("/llvm-"))
        .collect();
    versions.sort();
    let versions = versions.into_iter().rev().map(|folder| folder.join("bin"));
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into(), "/usr/lib/frr".into()])
        .chain(versions)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Whether all of `programs` are there; when not, says on stderr that `test` was skipped.
///
/// ```no_run
/// if !lbd_tests::programs::or_skip("a_router_spreads", &["bird"]) {
///     return;
/// }
/// ```
#[must_use]
pub fn or_skip(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|name| find(name).is_none());
    if let Some(name) = missing {
        eprintln!("skipped: {test} needs {name}");
    }
    missing.is_none()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_test_is_skipped_for_what_is_not_there_alone() {
        assert!(super::or_skip("a", &["sh", "ls"]));
        assert!(!super::or_skip("a", &["sh", "no-such-program-at-all"]));
    }
}
