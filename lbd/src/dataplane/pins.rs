//! The folder on bpffs that keeps maps, program and links alive without the daemon.
use std::{
    ffi::CString,
    fs::{self, DirBuilder, File, TryLockError},
    io,
    mem::MaybeUninit,
    os::{
        fd::AsFd as _,
        unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    },
    path::{Path, PathBuf},
};

use super::{
    bpf,
    error::{DataPlaneError, Result},
};
use crate::trust::Trusted;

/// `BPF_FS_MAGIC` of include/uapi/linux/magic.h.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

/// The pinned program's name.
pub(super) const PROGRAM: &str = "program";

/// The start of a pinned link's name.
const LINK: &str = "link_";

/// `node.pin_dir`, held by this process alone.
#[derive(Debug)]
pub(super) struct PinDir {
    path: PathBuf,
    /// Locked; the lock ends with the descriptor.
    _lock: File,
}

impl PinDir {
    /// Makes the folder if need be and locks it. What was made is noted in `undo`.
    pub(super) fn open(path: &Path, undo: &mut Undo) -> Result<Self> {
        check_bpffs(path)?;
        let safe = || {
            let trusted = Trusted::of_this_process();
            trusted.check(path).map_err(|why| DataPlaneError::Unsafe {
                pin_dir: path.to_owned(),
                why,
            })
        };
        safe()?;
        let missing: Vec<&Path> = path.ancestors().take_while(|part| !part.exists()).collect();
        for folder in missing.into_iter().rev() {
            DirBuilder::new()
                .mode(0o700)
                .create(folder)
                .map_err(|source| create_error(path, folder, source))?;
            undo.folder(folder);
        }
        let locked = Self::lock(path)?;
        // Checked again under the lock.
        safe()?;
        Ok(locked)
    }

    /// Locks the folder, which exists.
    pub(super) fn lock(path: &Path) -> Result<Self> {
        check_bpffs(path)?;
        let lock = File::open(path).map_err(|source| pin_error("opening", path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(DataPlaneError::InUse {
                pin_dir: path.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(pin_error("locking", path, source)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the map of that name is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where the program is pinned.
    pub(super) fn program(&self) -> PathBuf {
        self.path.join(PROGRAM)
    }

    /// Where the interface's link is pinned.
    pub(super) fn link(&self, interface: &str) -> PathBuf {
        self.path.join(link_name(interface))
    }

    /// The pinned links: all, whether their interfaces exist or not.
    pub(super) fn links(&self) -> Result<Vec<PathBuf>> {
        Ok(self
            .entries()?
            .into_iter()
            .filter(|path| {
                let name = path.file_name().map(std::ffi::OsStr::as_bytes);
                name.is_some_and(|name| name.starts_with(LINK.as_bytes()))
            })
            .collect())
    }

    /// Everything pinned here.
    pub(super) fn entries(&self) -> Result<Vec<PathBuf>> {
        let read = |source| pin_error("reading", &self.path, source);
        fs::read_dir(&self.path)
            .map_err(read)?
            .map(|entry| entry.map(|entry| entry.path()).map_err(read))
            .collect()
    }
}

/// bpffs keeps dots for itself, and VLAN interfaces have one.
fn link_name(interface: &str) -> String {
    format!(
        "{LINK}{}",
        interface.replace('%', "%25").replace('.', "%2e")
    )
}

/// Detaches and unpins a link that may be gone already.
///
/// The kernel ends a link whose last pin goes some time later, on a worker's thread; until then the
/// interface takes no program in another mode. So it is detached first.
pub(super) fn remove_link(path: &Path) -> Result<()> {
    match bpf::open_pin(path) {
        Ok(link) => {
            bpf::detach_link(link.as_fd())
                .map_err(|source| pin_error("detaching", path, source))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(pin_error("opening", path, error)),
    }
    remove(path)
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(pin_error("removing", path, source))
        }
        _ => Ok(()),
    }
}

pub(super) fn pin_error(action: &'static str, path: &Path, error: io::Error) -> DataPlaneError {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return DataPlaneError::NoPrivileges;
    }
    DataPlaneError::Pin {
        action,
        path: path.to_owned(),
        error,
    }
}

fn create_error(pin_dir: &Path, folder: &Path, source: io::Error) -> DataPlaneError {
    let name = folder.file_name().unwrap_or_default();
    // bpf_lookup() of kernel/bpf/inode.c answers EPERM to a name with a dot, root's too.
    if source.raw_os_error() == Some(libc::EPERM) && name.as_bytes().contains(&b'.') {
        return DataPlaneError::DotInPinDir {
            pin_dir: pin_dir.to_owned(),
        };
    }
    pin_error("creating", folder, source)
}

/// Refuses a folder that is not, or would not be, on bpffs.
fn check_bpffs(pin_dir: &Path) -> Result<()> {
    let existing = pin_dir
        .ancestors()
        .find(|part| part.exists())
        .unwrap_or(Path::new("/"));
    match file_system_magic(existing) {
        Ok(BPF_FS_MAGIC) => Ok(()),
        Ok(_) => Err(DataPlaneError::NotBpffs {
            pin_dir: pin_dir.to_owned(),
        }),
        Err(source) => Err(pin_error("looking at", existing, source)),
    }
}

fn file_system_magic(path: &Path) -> io::Result<u32> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut answer = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `path` ends with a zero, and `answer` is a statfs for the call to fill.
    if unsafe { libc::statfs(path.as_ptr(), answer.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has filled it.
    let answer = unsafe { answer.assume_init() };
    // The type of `f_type` differs by architecture; a magic is 32 bits on all.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the low 32 bits are the magic"
    )]
    let magic = answer.f_type as u32;
    Ok(magic)
}

/// What a load has made so far: removed when dropped, kept by [`Self::commit`].
#[derive(Debug, Default)]
pub(super) struct Undo {
    files: Vec<PathBuf>,
    links: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// From where they are to where they were.
    moved: Vec<(PathBuf, PathBuf)>,
}

impl Undo {
    /// Notes a pin that is about to be made.
    pub(super) fn file(&mut self, path: PathBuf) {
        self.files.push(path);
    }

    /// Notes a link's pin that is about to be made.
    pub(super) fn link(&mut self, path: PathBuf) {
        self.links.push(path);
    }

    /// Notes that a pin was moved to `to`.
    pub(super) fn moved(&mut self, to: PathBuf, from: PathBuf) {
        self.moved.push((to, from));
    }

    fn folder(&mut self, path: &Path) {
        self.folders.push(path.to_owned());
    }

    /// Keeps everything.
    pub(super) fn commit(mut self) {
        self.files.clear();
        self.links.clear();
        self.folders.clear();
        self.moved.clear();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the error that led here is reported.
        for link in self.links.drain(..).rev() {
            let _ = remove_link(&link);
        }
        for file in self.files.drain(..).rev() {
            let _ = fs::remove_file(file);
        }
        for (to, from) in self.moved.drain(..).rev() {
            let _ = fs::rename(to, from);
        }
        for folder in self.folders.drain(..).rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_on_another_file_system_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = PinDir::open(&folder.path().join("lbd"), &mut Undo::default()).unwrap_err();
        assert!(matches!(&error, DataPlaneError::NotBpffs { .. }), "{error}");
        assert!(error.to_string().contains("mount -t bpf"), "{error}");
        assert!(!folder.path().join("lbd").exists());
    }

    #[test]
    fn link_names_have_no_dot_and_do_not_collide() {
        let names = ["eth0", "eth0.10", "eth0%2e10", "eth0%10"].map(link_name);
        for (i, name) in names.iter().enumerate() {
            assert!(!name.contains('.'), "{name}");
            assert!(!names[..i].contains(name), "{name} twice");
        }
    }

    #[test]
    fn what_is_not_committed_is_undone() {
        let root = tempfile::tempdir().unwrap();
        let (folder, file) = (root.path().join("made"), root.path().join("made/pin"));
        let mut undo = Undo::default();
        fs::create_dir(&folder).unwrap();
        undo.folder(&folder);
        fs::write(&file, "").unwrap();
        undo.file(file.clone());
        drop(undo);
        assert!(!folder.exists());
    }
}
