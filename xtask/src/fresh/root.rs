//! The folder with the minimal Debian.
use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::gate;
use crate::{process, setup};

/// What it has beyond Debian's minimum: a C compiler that can link, and certificates.
const PACKAGES: &str = "--include=ca-certificates,gcc,libc6-dev";
/// Where Debian and its tools keep the certificates that are trusted.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// rustup's own name of each program of a toolchain.
const PROXIES: [&str; 7] = [
    "cargo",
    "cargo-clippy",
    "cargo-fmt",
    "clippy-driver",
    "rustc",
    "rustdoc",
    "rustfmt",
];

/// Makes all of it.
pub(super) fn make(root: &Path, suite: &str) -> Result<()> {
    let parent = root.parent().context("a root has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let mirror = setup::mirror();
    let at = root.to_string_lossy();
    let sources = [
        format!("deb {mirror} {suite} main"),
        format!("deb {mirror} {suite}-updates main"),
        format!("deb {mirror}-security {suite}-security main"),
    ];
    let options = apt_options();
    let mut arguments = vec!["--variant=minbase", "--quiet", PACKAGES];
    arguments.extend(options.iter().map(String::as_str));
    arguments.extend([suite, &at]);
    arguments.extend(sources.iter().map(String::as_str));
    process::quietly("mmdebstrap", &arguments, &[]).context("cannot make a minimal Debian")?;
    network(root)?;
    rust(root)?;
    sources_of_lbd(root)
}

/// What this machine is told of the way to the world, and the gate.
fn network(root: &Path) -> Result<()> {
    // One request at a time: the gate closes after each.
    let mut text =
        String::from("Acquire::http::Pipeline-Depth \"0\";\nAPT::Sandbox::User \"root\";\n");
    for line in acquire() {
        if !line.contains("::Proxy") {
            text.push_str(&line);
            text.push('\n');
        }
    }
    fs::write(root.join("etc/apt/apt.conf.d/00this-machine"), text)?;
    fs::write(
        root.join("etc/hosts"),
        "127.0.0.1 localhost\n::1 localhost\n",
    )?;
    if Path::new(CERTIFICATES).exists() {
        fs::copy(CERTIFICATES, root.join(&CERTIFICATES[1..]))?;
    }
    Ok(())
}

/// A copy of the toolchain in use, as rustup's, without what a new user lacks.
fn rust(root: &Path) -> Result<()> {
    let mut rustc = Command::new("rustc");
    let output = rustc
        .args(["--print", "sysroot"])
        .output()
        .context("cannot run rustc")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let name = sysroot
        .file_name()
        .context("rustc has a sysroot")?
        .to_string_lossy();
    let bin = xtask::toolchain::cargo_bin().context("neither CARGO_HOME nor HOME is set")?;
    let rustup = bin.join("rustup");
    if !rustup.is_file() {
        bail!(
            "{} is missing: a toolchain of rustup's is what is copied",
            rustup.display()
        );
    }
    let toolchains = root.join("root/.rustup/toolchains");
    let own_bin = root.join("root/.cargo/bin");
    fs::create_dir_all(&toolchains)?;
    fs::create_dir_all(&own_bin)?;
    let copy = toolchains.join(&*name);
    let (from, to) = (sysroot.to_string_lossy(), copy.to_string_lossy());
    let script = "set -e; mkdir \"$2\"; cd \"$1\"; \
                  tar --exclude=./share/doc --exclude=./lib/rustlib/src \
                  --exclude=./lib/rustlib/manifest-rust-src -c . | tar -x -C \"$2\"";
    process::quietly("sh", &["-c", script, "copy", &from, &to], &[])
        .context("cannot copy the Rust toolchain")?;
    let rustlib = copy.join("lib/rustlib");
    let components = fs::read_to_string(rustlib.join("components")).unwrap_or_default();
    let components: Vec<&str> = components
        .lines()
        .filter(|line| *line != "rust-src")
        .collect();
    fs::write(rustlib.join("components"), components.join("\n") + "\n")?;
    // rustup's own list: what stands there it does not fetch.
    let list = rustlib.join("multirust-config.toml");
    let config = fs::read_to_string(&list).context("the toolchain is not one of rustup's")?;
    fs::write(&list, without_source(&config))?;
    fs::write(
        root.join("root/.rustup/settings.toml"),
        format!("default_toolchain = \"{name}\"\nprofile = \"minimal\"\nversion = \"12\"\n"),
    )?;
    fs::copy(&rustup, own_bin.join("rustup"))?;
    for proxy in PROXIES {
        symlink("rustup", own_bin.join(proxy))?;
    }
    if let Some(home) = bin.parent()
        && home.join("config.toml").is_file()
    {
        fs::copy(
            home.join("config.toml"),
            root.join("root/.cargo/config.toml"),
        )?;
    }
    Ok(())
}

/// rustup's list of components without rust-src.
fn without_source(config: &str) -> String {
    let parts: Vec<&str> = config
        .split("[[components]]")
        .filter(|part| !part.contains("pkg = \"rust-src\""))
        .collect();
    parts.join("[[components]]")
}

/// The tracked files as they are now.
fn sources_of_lbd(root: &Path) -> Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let to = root.join("root/lbd");
    fs::create_dir_all(&to)?;
    let script = "set -e; cd \"$1\"; git ls-files -z | tar --null -T - -c | tar -x -C \"$2\"";
    let (from, to) = (workspace.to_string_lossy(), to.to_string_lossy());
    process::quietly("sh", &["-c", script, "copy", &from, &to], &[])
        .context("cannot copy the tracked files")
}

/// What the programs there are told: the gate, and what this machine says of registries and certificates.
pub(super) fn environment() -> Vec<(String, String)> {
    let passed = |name: &str| {
        [
            "CARGO_HTTP_",
            "CARGO_NET_",
            "CARGO_REGISTRIES_",
            "CARGO_SOURCE_",
        ]
        .iter()
        .any(|start| name.starts_with(start))
            || ["RUSTUP_DIST_SERVER", "RUSTUP_UPDATE_ROOT", "TERM"].contains(&name)
    };
    let mut all: Vec<(String, String)> = env::vars().filter(|(name, _)| passed(name)).collect();
    let path = "/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    all.extend(
        [
            ("HOME", "/root"),
            ("PATH", path),
            ("SSL_CERT_FILE", CERTIFICATES),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let address = format!("http://{}", gate::ADDRESS);
    all.extend(["http_proxy", "https_proxy"].map(|name| (name.to_owned(), address.clone())));
    all
}

/// apt's own settings for downloads on this machine.
fn acquire() -> Vec<String> {
    let output = Command::new("apt-config")
        .args(["dump", "Acquire"])
        .output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let wanted = |line: &&str| {
        ["::Proxy", "::CaInfo", "::Verify-", "::ForceIP"]
            .iter()
            .any(|part| line.contains(part))
    };
    said.unwrap_or_default()
        .lines()
        .filter(wanted)
        .map(str::to_owned)
        .collect()
}

fn apt_options() -> Vec<String> {
    let line = |line: String| format!("--aptopt={}", line.trim_end_matches(';'));
    acquire().into_iter().map(line).collect()
}

/// Removes a root.
pub(super) fn remove(root: &Path) {
    let at = root.to_string_lossy();
    if let Err(error) = process::always("rm", &["-rf", "--one-file-system", &at]) {
        eprintln!("fresh: {} is left: {error:#}", root.display());
    }
}

/// Removes what processes that are gone have left: folders, and namespaces of the same names.
pub(super) fn remove_stale(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name
            .strip_prefix("lbd-fresh-")
            .and_then(|rest| rest.split('-').next());
        let lives = maker.is_some_and(|pid| Path::new("/proc").join(pid).exists());
        if maker.is_some() && !lives {
            let _ = process::always("ip", &["netns", "del", &name]);
            remove(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_user_s_toolchain_has_no_source() {
        let part = |name: &str| {
            format!("[[components]]\npkg = \"{name}\"\ntarget = \"*\"\nis_extension = true\n\n")
        };
        let head = "config_version = \"1\"\n\n";
        let (source, cargo, rustc) = (part("rust-src"), part("cargo"), part("rustc"));
        let without = format!("{head}{cargo}{rustc}");
        for config in [
            format!("{head}{source}{cargo}{rustc}"),
            format!("{head}{cargo}{rustc}{source}"),
            without.clone(),
        ] {
            assert_eq!(without_source(&config), without);
        }
    }
}
