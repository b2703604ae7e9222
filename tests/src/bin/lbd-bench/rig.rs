//! A loaded data plane on a node of a lab.
use std::path::{Path, PathBuf};

use anyhow::Result;
use lbd::dataplane::{DataPlane, LoadOptions, XdpChoice};
use lbd_tests::lab::{INTERFACE, Lab, Spec};

/// Dropping it removes all of it. So does the lab's own helper when the benchmark is interrupted.
pub(crate) struct Rig {
    pub(crate) plane: DataPlane,
    pins: PathBuf,
    /// Kept: the interface goes with it, and so does what is pinned under its name.
    _lab: Lab,
}

impl Rig {
    /// With tables of the default size.
    pub(crate) fn new() -> Result<Self> {
        let lab = Lab::new(&Spec {
            clients: 0,
            nodes: 1,
            ..Spec::default()
        })?;
        let pins = Path::new("/sys/fs/bpf").join(format!("{}-bench", lab.prefix()));
        let interfaces = vec![INTERFACE.to_owned()];
        let options = LoadOptions::new(pins.clone(), interfaces, XdpChoice::Native);
        let plane = lab.nodes[0].inside(|| DataPlane::load(&options))??;
        Ok(Self {
            plane,
            pins,
            _lab: lab,
        })
    }

    /// Where its maps are pinned.
    pub(crate) fn pins(&self) -> &Path {
        &self.pins
    }
}
