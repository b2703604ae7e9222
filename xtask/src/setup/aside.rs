//! Programs of packages that cannot or should not be installed alongside others: downloaded and
//! unpacked next to the target folder, where a script of their name starts them with their own libraries.
use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use xtask::programs::Program;

use super::{apt, say};
use crate::process;

/// Where a program lies in its package when that is not `usr/bin` or `usr/sbin`, and the arguments
/// with which it finds its own files. `ROOT` is the folder with all that was unpacked.
const PLACES: &[(&str, &str, &str)] = &[
    (
        "qemu-system-x86_64",
        "usr/bin/qemu-system-x86_64",
        "-L ROOT/usr/share/qemu -L ROOT/usr/share/seabios -L ROOT/usr/lib/ipxe/qemu",
    ),
    ("chromium", "usr/lib/chromium/chromium", ""),
];
/// Programs that do not work from another place: they have files, users and units all over a box.
const BOUND: [&str; 5] = [
    "busybox",
    "postfix",
    "systemctl",
    "systemd-analyze",
    "dbus-daemon",
];

/// Next to the target folder's builds.
fn folder() -> Option<PathBuf> {
    let own = env::current_exe().ok()?;
    Some(xtask::ebpf::target_dir_above(&own).with_file_name("aside"))
}

/// The folder with the scripts that start what was unpacked.
pub(super) fn programs() -> Option<PathBuf> {
    Some(folder()?.join("bin"))
}

/// PATH, with what was unpacked behind everything else.
pub(crate) fn path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(programs());
    env::join_paths(folders).unwrap_or(path)
}

/// Downloads a program's package with all that this machine lacks of what it depends on, and unpacks it.
pub(super) fn unpack(program: &Program) -> Result<()> {
    let Some(package) = program.package() else {
        bail!("there is no Debian package of it");
    };
    if BOUND.contains(&program.name) {
        bail!("{package} has to be installed");
    }
    let aside = folder().context("this program is in no target folder")?;
    let root = aside.join(package);
    if !root.is_dir() {
        say(&format!("unpacking {package} in {}", root.display()));
        let packages = apt::lacking(package)?;
        fs::create_dir_all(&aside)?;
        let half = aside.join(format!("{package}.half"));
        let script = "set -e; rm -rf \"$1\"; mkdir -p \"$1\"; cd \"$1\"; half=$1; shift; \
                      apt-get -q download \"$@\"; \
                      for deb in *.deb; do dpkg-deb -x \"$deb\" .; rm \"$deb\"; done";
        let at = half.to_string_lossy();
        let mut arguments = vec!["-c", script, "unpack", &at];
        arguments.extend(packages.iter().map(String::as_str));
        process::quietly("sh", &arguments, &[])?;
        fs::rename(&half, &root)?;
    }
    let script = starter(program.name, &root)?;
    let bin = aside.join("bin");
    fs::create_dir_all(&bin)?;
    let file = bin.join(program.name);
    fs::write(&file, script)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The script that starts it.
fn starter(name: &str, root: &Path) -> Result<String> {
    let place = PLACES.iter().find(|(program, ..)| *program == name);
    let (file, arguments) = place.map_or((None, ""), |(_, file, arguments)| {
        (Some(root.join(file)), *arguments)
    });
    let usual = ["usr/bin", "usr/sbin", "sbin", "bin"].map(|folder| root.join(folder).join(name));
    let file = file
        .into_iter()
        .chain(usual)
        .find(|file| file.is_file())
        .with_context(|| format!("its package has no program {name}"))?;
    let at = root.to_string_lossy();
    let mut libraries = Vec::new();
    library_folders(root, &mut libraries);
    let libraries: Vec<String> = libraries
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Ok(format!(
        "#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' {} \"$@\"\n",
        libraries.join(":"),
        file.display(),
        arguments.replace("ROOT", &at)
    ))
}

/// Every folder with a shared library directly in it.
fn library_folders(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut has_one = false;
    for entry in entries {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder {
            library_folders(&entry.path(), found);
        } else {
            has_one |= entry.file_name().to_string_lossy().contains(".so");
        }
    }
    if has_one {
        found.push(folder.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_starts_with_the_libraries_of_its_own_packages() {
        let folder = env::temp_dir().join(format!("lbd-aside-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        for (file, text) in [
            ("usr/lib/x86_64-linux-gnu/libone.so.1", ""),
            ("usr/lib/postfix/libtwo.so", ""),
            ("usr/share/doc/text", ""),
            (
                "usr/sbin/smtp-sink",
                "#!/bin/sh\necho \"$LD_LIBRARY_PATH\" \"$@\"\n",
            ),
        ] {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let script = starter("smtp-sink", &folder).unwrap();
        assert!(starter("smtp-source", &folder).is_err());
        let said = std::process::Command::new("sh")
            .args(["-c", &script, "smtp-sink", "a b", "c"])
            .output()
            .unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let (libraries, arguments) = said.split_once(' ').unwrap();
        let at = folder.display();
        let mut libraries: Vec<&str> = libraries.split(':').collect();
        libraries.sort_unstable();
        assert_eq!(
            libraries,
            [
                format!("{at}/usr/lib/postfix"),
                format!("{at}/usr/lib/x86_64-linux-gnu")
            ]
        );
        assert_eq!(arguments, "a b c\n");
        fs::remove_dir_all(&folder).unwrap();
    }
}
