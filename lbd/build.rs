//! Compiles the BPF programs and puts the objects where `lbd::dataplane` includes it.
use std::{env, path::PathBuf};

use xtask::ebpf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let workspace = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    for input in ["lbd-ebpf", "lbd-common", "Cargo.toml"] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(input).display()
        );
    }
    let target_dir = ebpf::target_dir_above(&out_dir);
    let objects = match ebpf::build(&workspace, &target_dir, &[ebpf::DATA_PLANE]) {
        Ok(objects) => objects,
        Err(error) => {
            println!(
                "cargo::error={}",
                error.to_string().replace('\n', "\ncargo::error=")
            );
            return Ok(());
        }
    };
    for object in ["lbd-xdp", "lbd-sock"] {
        ebpf::copy_if_changed(&objects.join(object), &out_dir.join(object))?;
    }
    Ok(())
}
