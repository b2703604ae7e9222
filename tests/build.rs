//! Compiles the XDP programs and puts the objects where `lbd_tests::xdp::object` includes them.
use std::{env, path::PathBuf};

use xtask::ebpf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let workspace = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    for input in ["lbd-ebpf", "lbd-common", "tests/floor", "Cargo.toml"] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(input).display()
        );
    }
    // The build script of lbd reports what is wrong with the toolchain or the code.
    let target_dir = ebpf::target_dir_above(&out_dir);
    let packages = [ebpf::DATA_PLANE, ebpf::FLOOR];
    let objects = ebpf::build(&workspace, &target_dir, &packages)?;
    for object in ["lbd-xdp", "lbd-floor"] {
        ebpf::copy_if_changed(&objects.join(object), &out_dir.join(object))?;
    }
    Ok(())
}
