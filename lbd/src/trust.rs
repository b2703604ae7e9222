//! Whether others may change what stands at a path.
//!
//! A file is as safe as every folder above it: who may write to one of them may rename the next away
//! and put another in its place.
use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The service's user of the package.
const SERVICE: &str = "lbd";
/// Mode bits: `S_ISVTX`, and who may write.
const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// Who a process is, and whom it trusts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Trusted {
    users: Vec<u32>,
    groups: Vec<u32>,
}

impl Trusted {
    /// Root, this process's own user and group, and for root the service's user as well: root cleans
    /// up after the service and checks its files.
    pub(crate) fn of_this_process() -> Self {
        // SAFETY: the calls take nothing and cannot fail.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        let mut trusted = Self {
            users: vec![0, user],
            groups: vec![0, group],
        };
        if user == 0
            && let Some((user, group)) = service()
        {
            trusted.users.push(user);
            trusted.groups.push(group);
        }
        trusted
    }

    /// Whether a file or folder of that user is safe from others.
    pub(crate) fn owns(&self, user: u32) -> bool {
        self.users.contains(&user)
    }

    /// Whether others may change which file or folder stands at `path`, as far as it exists; if so, a
    /// sentence that says by what and what to do.
    pub(crate) fn check(&self, path: &Path) -> Result<(), String> {
        for part in path.ancestors() {
            self.check_one(part, part == path)?;
        }
        // Links lead elsewhere: what they lead to counts as well.
        let real = path
            .ancestors()
            .find_map(|part| fs::canonicalize(part).ok());
        let real = real.unwrap_or_else(|| PathBuf::from("/"));
        real.ancestors()
            .try_for_each(|part| self.check_one(part, part == real && path.exists()))
    }

    fn check_one(&self, part: &Path, is_last: bool) -> Result<(), String> {
        // What is not there yet is made by this process; what cannot be looked at cannot be used.
        let Ok(metadata) = fs::symlink_metadata(part) else {
            return Ok(());
        };
        match self.fault(&metadata, is_last) {
            Some(fault) => Err(format!("{} {fault}", part.display())),
            None => Ok(()),
        }
    }

    fn fault(&self, metadata: &Metadata, is_last: bool) -> Option<String> {
        let (user, group) = (metadata.uid(), metadata.gid());
        if !self.owns(user) {
            return Some(format!(
                "belongs to another user (uid {user}), who can replace what is in it: remove it, or \
                 `chown` it to the user that lbd runs as"
            ));
        }
        if metadata.is_symlink() {
            return None;
        }
        let mode = metadata.mode() & 0o7777;
        // In a sticky folder only the owner of a file renames or removes it.
        if mode & STICKY != 0 && !is_last {
            return None;
        }
        let by_others = mode & OTHERS_WRITE != 0;
        let by_group = mode & GROUP_WRITES != 0 && !self.groups.contains(&group);
        (by_others || by_group).then(|| {
            format!(
                "can be written by others (mode {mode:o}), who can replace what is in it: run \
                 `chmod go-w` on it"
            )
        })
    }
}

/// The service's user and group, when the package is installed. Read from the file: the service is a
/// system user, and asking for it must not load the name service's modules.
fn service() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(SERVICE) {
            return None;
        }
        let user = fields.nth(1)?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some((user, group))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    fn folder(path: &Path, mode: u32) {
        fs::create_dir_all(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused_wherever_it_stands() {
        let root = tempfile::tempdir().unwrap();
        let (above, below) = (root.path().join("above"), root.path().join("above/below"));
        let trusted = Trusted::of_this_process();
        for (above_mode, below_mode, fault) in [
            (0o755, 0o700, None),
            // As /tmp, and as a BPF file system is mounted: fine above, not for the folder itself.
            (0o1777, 0o700, None),
            (
                0o755,
                0o1777,
                Some("below can be written by others (mode 1777)"),
            ),
            (
                0o777,
                0o700,
                Some("above can be written by others (mode 777)"),
            ),
            (
                0o755,
                0o702,
                Some("below can be written by others (mode 702)"),
            ),
        ] {
            folder(&above, above_mode);
            folder(&below, below_mode);
            let told = trusted.check(&below);
            match fault {
                None => assert_eq!(told, Ok(())),
                Some(fault) => assert!(told.clone().unwrap_err().contains(fault), "{told:?}"),
            }
        }
        // A folder that is not there yet is as safe as what is above it.
        folder(&above, 0o1777);
        fs::remove_dir(&below).unwrap();
        assert_eq!(trusted.check(&below), Ok(()));
        folder(&above, 0o777);
        assert!(trusted.check(&below).is_err());
    }

    #[test]
    fn a_link_is_followed_and_its_own_folder_counts() {
        let root = tempfile::tempdir().unwrap();
        let (open, safe) = (root.path().join("open"), root.path().join("safe"));
        folder(&open, 0o777);
        folder(&safe, 0o700);
        symlink(&open, safe.join("out")).unwrap();
        symlink(&safe, open.join("in")).unwrap();
        let trusted = Trusted::of_this_process();
        assert!(trusted.check(&safe.join("out")).is_err());
        assert!(trusted.check(&open.join("in")).is_err());
    }

    #[test]
    fn what_another_user_has_is_refused() {
        // SAFETY: the call takes nothing and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return; // Only root gives folders away.
        }
        let root = tempfile::tempdir().unwrap();
        let (above, below) = (root.path().join("above"), root.path().join("above/below"));
        folder(&above, 0o1777);
        folder(&below, 0o700);
        chown(&below, Some(65534), None).unwrap();
        let told = Trusted::of_this_process().check(&below).unwrap_err();
        assert!(
            told.contains("below belongs to another user (uid 65534)"),
            "{told}"
        );
        let theirs = Trusted {
            users: vec![0, 65534],
            groups: vec![0],
        };
        assert_eq!(theirs.check(&below), Ok(()));
    }
}
