//! A loaded data plane on a node of a lab, with a BPF file system of its own.
use std::process::Command;

use anyhow::{Result, ensure};
use lbd::dataplane::{DataPlane, LoadOptions, XdpChoice};
use lbd_tests::lab::{INTERFACE, Lab, Spec};
use tempfile::TempDir;

/// Dropping it removes all of it.
pub(crate) struct Rig {
    pub(crate) plane: DataPlane,
    folder: TempDir,
    /// Kept, because the interface goes with it.
    lab: Lab,
}

impl Rig {
    /// With tables of the default size.
    pub(crate) fn new() -> Result<Self> {
        let lab = Lab::new(&Spec {
            clients: 0,
            nodes: 1,
            ..Spec::default()
        })?;
        let folder = TempDir::new()?;
        let mounted = Command::new("mount")
            .args(["-t", "bpf", "bpf"])
            .arg(folder.path())
            .status()?;
        ensure!(mounted.success(), "mount -t bpf: {mounted}");
        let interfaces = vec![INTERFACE.to_owned()];
        let options = LoadOptions::new(folder.path().join("lbd"), interfaces, XdpChoice::Native);
        let plane = lab.nodes[0].inside(|| DataPlane::load(&options))??;
        Ok(Self { plane, folder, lab })
    }

    /// Where its maps are pinned.
    pub(crate) fn pins(&self) -> std::path::PathBuf {
        self.folder.path().join("lbd")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // What is pinned goes with the mount: links are detached, maps freed.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
        let _ = self.lab.folder();
    }
}
