//! Swaps the rings of a running daemon, which writes its own again with its next ring.
use std::{fmt, mem::offset_of, path::Path, sync::atomic::Ordering};

use anyhow::Result;
use aya::maps::{Array, ArrayOfMaps, Map, MapData};
use lbd::dataplane::MmapArray;
use lbd_common::{
    director::Director,
    maps::{DIRECTOR, RINGS},
    ring::RING_SLOTS,
};

use crate::tables::mapped;

/// The rings that a daemon has pinned.
pub struct PinnedRings {
    inner: [Array<MapData, u32>; 2],
    director: MmapArray<Director>,
}

impl fmt::Debug for PinnedRings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedRings").finish_non_exhaustive()
    }
}

impl PinnedRings {
    /// Opens them in the daemon's `node.pin_dir`.
    pub fn open(pin_dir: &Path) -> Result<Self> {
        let outer = Map::ArrayOfMaps(MapData::from_pin(pin_dir.join(RINGS))?);
        let outer: ArrayOfMaps<MapData, Array<MapData, u32>> = outer.try_into()?;
        Ok(Self {
            inner: [outer.get(&0, 0)?, outer.get(&1, 0)?],
            director: mapped(&pin_dir.join(DIRECTOR))?,
        })
    }

    /// The backend ids of the live ring.
    pub fn live(&self) -> Result<Vec<u32>> {
        let ring = &self.inner[self.live_index()];
        (0..RING_SLOTS)
            .map(|slot| Ok(ring.get(&slot, 0)?))
            .collect()
    }

    /// Fills the idle ring, slot by slot, then makes it the live one.
    pub fn swap(&mut self, backends: &[u32]) -> Result<()> {
        let idle = 1 - self.live_index();
        for (slot, backend) in (0..).zip(backends) {
            self.inner[idle].set(slot, backend, 0)?;
        }
        let field = self.director.field_u32(0, offset_of!(Director, ring_index));
        field.store(u32::try_from(idle)?, Ordering::Release);
        Ok(())
    }

    fn live_index(&self) -> usize {
        let field = self.director.field_u32(0, offset_of!(Director, ring_index));
        usize::from(field.load(Ordering::Acquire) == 1)
    }
}
