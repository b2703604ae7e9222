//! Compiles eBPF programs: those of `lbd-ebpf`, and those that the benchmark compares it with.
use std::{
    env,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::toolchain::{self, BpfToolchain, Missing};

/// The package of the programs that lbd loads.
pub const DATA_PLANE: &str = "lbd-ebpf";
/// The package of the programs that the benchmark compares them with.
pub const FLOOR: &str = "lbd-floor";

/// The target that eBPF programs are compiled for.
pub const TARGET: &str = "bpfel-unknown-none";

/// Why the eBPF programs could not be built.
#[derive(Debug)]
pub enum BuildError {
    /// A part of the toolchain is not installed.
    Missing(Missing),
    /// The compiler ran and failed; it has printed why.
    Failed(String),
    /// The compiler could not be started.
    Start(io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(missing) => f.write_str(missing.sentence()),
            Self::Failed(stderr) => write!(f, "the eBPF programs did not compile:\n{stderr}"),
            Self::Start(error) => write!(f, "the eBPF compiler could not be started: {error}"),
        }
    }
}

impl std::error::Error for BuildError {}

/// Builds every program of these packages below `target_dir` and returns the folder with the objects.
///
/// `target_dir` must not be the one of a cargo that is running (it holds a lock on it).
pub fn build(
    workspace: &Path,
    target_dir: &Path,
    packages: &[&str],
) -> Result<PathBuf, BuildError> {
    let packages = packages.iter().flat_map(|package| ["--package", *package]);
    let what: Vec<&str> = ["--bins"].into_iter().chain(packages).collect();
    cargo_build(workspace, target_dir, &what)
}

/// Builds one program of the data plane that lbd does not carry, with the feature that it requires, and returns
/// its path: below the target folder of the program that asks for it.
pub fn build_one(program: &str, feature: &str) -> Result<PathBuf, BuildError> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let own = env::current_exe().map_err(BuildError::Start)?;
    let what = [
        "--package",
        DATA_PLANE,
        "--bin",
        program,
        "--features",
        feature,
    ];
    let objects = cargo_build(&workspace, &target_dir_above(&own), &what)?;
    Ok(objects.join(program))
}

fn cargo_build(workspace: &Path, target_dir: &Path, what: &[&str]) -> Result<PathBuf, BuildError> {
    // A library is compiled without the linker, and `core` is most of the work.
    let toolchain = toolchain::find(|coming| {
        let _ = cargo(coming, workspace, target_dir)
            .args(["--lib", "--package", DATA_PLANE])
            .output();
    });
    let toolchain = toolchain.map_err(BuildError::Missing)?;
    let output = cargo(&toolchain, workspace, target_dir)
        .args(what)
        .output()
        .map_err(BuildError::Start)?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(BuildError::Failed(stderr));
    }
    Ok(target_dir.join(TARGET).join("release"))
}

/// A build with that toolchain; of which packages is for the caller to say.
fn cargo(toolchain: &BpfToolchain, workspace: &Path, target_dir: &Path) -> Command {
    let mut command = Command::new(toolchain.bin.join("cargo"));
    // Nothing of the cargo that runs us may leak into the other compiler.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let leaks = text.starts_with("CARGO")
            && text != "CARGO_HOME"
            && !text.starts_with("CARGO_NET")
            && !text.starts_with("CARGO_HTTP")
            && !text.starts_with("CARGO_REGISTR");
        if leaks || text.starts_with("RUSTC") || text == "RUSTFLAGS" || text == "RUSTUP_TOOLCHAIN" {
            command.env_remove(&name);
        }
    }
    command
        .current_dir(workspace)
        .env("PATH", path_with_first(&toolchain.bin))
        // build-std and the eBPF target's intrinsics are unstable; a stable compiler takes them so.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&toolchain.linker))
        .args(["build", "--release"])
        .args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"])
        .arg(target_dir);
    command
}

/// Where a target folder keeps the eBPF build: a folder of its own, with a lock of its own.
///
/// `out_dir` is any path below the target folder, such as a build script's `OUT_DIR`.
#[must_use]
pub fn target_dir_above(out_dir: &Path) -> PathBuf {
    out_dir
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .unwrap_or(out_dir)
        .join("bpf")
}

fn path_with_first(first: &Path) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(first.to_path_buf()).chain(env::split_paths(&path));
    env::join_paths(dirs).unwrap_or(path)
}

fn rustflags(linker: &Path) -> String {
    [
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // 32-bit ALU and 64-bit compare-and-swap (kernel 5.12 and later).
        "-Ctarget-cpu=v3".to_owned(),
        // Headers lie at odd offsets; without this every field is read byte by byte. The kernel
        // allows it on every architecture with efficient unaligned access.
        "-Ctarget-feature=+allows-misaligned-mem-access".to_owned(),
        format!("-Clinker={}", linker.display()),
    ]
    .join("\x1f")
}

/// Copies an object where `include_bytes!` finds it, only when it changed.
pub fn copy_if_changed(from: &Path, to: &Path) -> io::Result<()> {
    let new = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new)
}
