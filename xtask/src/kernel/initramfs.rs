//! The emulated machine's files: an init script, busybox, the tests and the libraries they need.
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// What the init script says last.
pub(super) const ENDED: &str = "all tests ended";
const INIT: &str = include_str!("init.sh");

/// Writes the archive into `folder`.
pub(super) fn build(folder: &Path, tests: &[(&str, PathBuf)]) -> Result<PathBuf> {
    let root = folder.join("root");
    match fs::remove_dir_all(&root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot clear {}", root.display()));
        }
        _ => {}
    }
    for folder in ["bin", "proc", "sys", "dev", "tmp", "tests"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    program(&busybox()?, "bin/busybox", &root)?;
    for (name, path) in tests {
        program(path, &format!("tests/{name}"), &root)?;
    }
    pack(&root, &folder.join("initramfs"))
}

/// The machine's own one, which may be another package's with shared libraries.
fn busybox() -> Result<PathBuf> {
    let places = ["/usr/bin/busybox", "/bin/busybox"].map(PathBuf::from);
    let found = places.into_iter().find(|place| place.is_file());
    found.context("there is no /usr/bin/busybox")
}

/// A program, and the libraries that it needs.
fn program(path: &Path, name: &str, root: &Path) -> Result<()> {
    copy(path, &root.join(name))?;
    for library in libraries(path)? {
        let inside = library.strip_prefix("/").unwrap_or(&library);
        copy(&library, &root.join(inside))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// The shared libraries of a program, the loader among them, as ldd lists their paths.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output();
    let output = output.context("cannot run ldd")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let paths = said.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}

fn pack(root: &Path, to: &Path) -> Result<PathBuf> {
    let file = fs::File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    let status = Command::new("sh")
        .args(["-c", "find . | busybox cpio -o -H newc"])
        .env("PATH", crate::setup::path_with_unpacked())
        .current_dir(root)
        .stdout(file)
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("busybox cpio failed: {status}");
    }
    Ok(to.to_owned())
}
