//! The flow table of a daemon that runs, by its pins.
use std::path::Path;

use anyhow::Result;
use aya::maps::MapData;
use lbd::{
    dataplane::{MmapArray, plain::Plain},
    flows::Flows4,
};
use lbd_common::{
    flow::Bucket4,
    maps::{FLOWS4, LOAD},
};

/// `FLOWS4` and `LOAD` of a node, shared with its program and its daemon.
#[derive(Debug)]
pub struct Tables {
    flows: MmapArray<Bucket4>,
    load: MmapArray<u64>,
}

impl Tables {
    /// Opens what a daemon has pinned in `pin_dir`.
    pub fn open(pin_dir: &Path) -> Result<Self> {
        Ok(Self {
            flows: mapped(&pin_dir.join(FLOWS4))?,
            load: mapped(&pin_dir.join(LOAD))?,
        })
    }

    /// The IPv4 flows.
    #[must_use]
    pub fn v4(&self) -> Flows4<'_> {
        Flows4::new(self.flows.words(), self.load.words())
    }
}

pub(crate) fn mapped<T: Plain>(pin: &Path) -> Result<MmapArray<T>> {
    let map = MapData::from_pin(pin)?;
    let entries = map.info()?.max_entries();
    let fd = map.fd();
    Ok(MmapArray::map(
        std::os::fd::AsFd::as_fd(fd),
        usize::try_from(entries)?,
    )?)
}
