//! A node to load the program on, and what is put into its maps.
use std::{io, net::Ipv4Addr, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, Map, MapData};
use lbd::{
    dataplane::{
        BackendSpec, DataPlane, DataPlaneError, Delivery, LoadOptions, NextHop, VipSpec, XdpChoice,
    },
    flows::{Key4, NewFlow},
    units::{BackendId, Endpoint, Mac},
};
use lbd_common::{
    flow::{flag, state},
    maps::PREFILTER,
    prefilter::Prefilter,
};
use lbd_tests::lab::{Host, INTERFACE, Lab, Spec};
use tempfile::TempDir;

/// A BPF file system of a test's own.
pub(crate) struct BpfFs {
    pub(crate) folder: TempDir,
}

impl BpfFs {
    pub(crate) fn mount() -> Result<Self> {
        let folder = TempDir::new()?;
        let mounted = Command::new("mount")
            .args(["-t", "bpf", "bpf"])
            .arg(folder.path())
            .status()?;
        ensure!(mounted.success(), "mount -t bpf: {mounted}");
        Ok(Self { folder })
    }

    pub(crate) fn pin_dir(&self) -> PathBuf {
        self.folder.path().join("lbd")
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        // What is pinned goes with the mount: links are detached, maps freed.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
    }
}

/// A node with an interface, a place for pins, and the tables kept small.
pub(crate) struct Rig {
    pub(crate) lab: Lab,
    pub(crate) bpffs: BpfFs,
}

impl Rig {
    pub(crate) fn new() -> Result<Self> {
        let lab = Lab::new(&Spec {
            clients: 0,
            nodes: 1,
            ..Spec::default()
        })?;
        Ok(Self {
            lab,
            bpffs: BpfFs::mount()?,
        })
    }

    pub(crate) fn node(&self) -> &Host {
        &self.lab.nodes[0]
    }

    pub(crate) fn options(&self, interfaces: &[&str], xdp: XdpChoice) -> LoadOptions {
        LoadOptions {
            flows4_buckets: 1024,
            flows6_buckets: 1024,
            ..LoadOptions::new(
                self.bpffs.pin_dir(),
                interfaces.iter().map(ToString::to_string).collect(),
                xdp,
            )
        }
    }

    pub(crate) fn load_with(
        &self,
        options: &LoadOptions,
    ) -> io::Result<Result<DataPlane, DataPlaneError>> {
        self.node().inside(|| DataPlane::load(options))
    }

    pub(crate) fn load(&self) -> Result<DataPlane> {
        let options = self.options(&[INTERFACE], XdpChoice::Native);
        Ok(self.load_with(&options)??)
    }

    pub(crate) fn refused(&self, options: &LoadOptions) -> Result<DataPlaneError> {
        self.load_with(options)?
            .err()
            .context("the load was not refused")
    }

    /// What `ip` says about XDP on the interface: empty when there is none.
    pub(crate) fn xdp_of(&self, interface: &str) -> Result<String> {
        let link = self.node().ip(&format!("-details link show {interface}"))?;
        let lines: Vec<&str> = link.lines().filter(|line| line.contains("xdp")).collect();
        Ok(lines.join("\n"))
    }

    pub(crate) fn program_id(&self) -> Result<String> {
        let words = self.xdp_of(INTERFACE)?;
        let mut words = words.split_whitespace().skip_while(|word| *word != "id");
        words
            .nth(1)
            .map(str::to_owned)
            .context("no program id in `ip link`")
    }
}

/// `PREFILTER`, as a running program reads it.
pub(crate) fn prefilter(rig: &Rig) -> Result<Prefilter> {
    let data = MapData::from_pin(rig.bpffs.pin_dir().join(PREFILTER))?;
    let map: Array<MapData, Prefilter> = Map::from_map_data(data)?.try_into()?;
    Ok(map.get(&0, 0)?)
}

pub(crate) fn vips() -> Vec<VipSpec> {
    vec![
        VipSpec {
            address: [192, 0, 2, 25].into(),
            ports: vec![25, 587],
        },
        VipSpec {
            address: "2001:db8::25".parse().expect("an address"),
            ports: vec![25],
        },
    ]
}

pub(crate) fn backend(address: [u8; 4]) -> BackendSpec {
    BackendSpec {
        address: address.into(),
        delivery: Delivery::Dsr,
        next_hop: Some(NextHop {
            mac: Mac([2, 0, 0, 0, 0, 9]),
            source_mac: Mac([2, 0, 0, 0, 0, 1]),
            ifindex: 2,
        }),
        alive: true,
    }
}

pub(crate) const KEY: Key4 = Key4 {
    source: Ipv4Addr::new(198, 51, 100, 7),
    port: 40_000,
    vip_id: 1,
};

pub(crate) const OPEN: NewFlow = NewFlow {
    backend: 0,
    state: state::ESTABLISHED,
    flags: flag::COUNTED,
};

pub(crate) fn backend_id(plane: &mut DataPlane, address: [u8; 4]) -> Result<BackendId> {
    let endpoint = Endpoint::of_virtual(address.into());
    Ok(plane.allocate_backend_ids(&[endpoint])?[&endpoint])
}
