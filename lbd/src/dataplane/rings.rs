//! `RINGS`: one is live, the other is filled aside.
use std::os::fd::AsFd as _;

use aya::maps::{ArrayOfMaps, MapData, MapError};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;
use lbd_common::{
    maps::RINGS,
    ring::{NO_BACKEND, RING_SLOTS},
};

use super::{
    bpf,
    director::DirectorFields,
    error::{DataPlaneError, Result},
};

/// How many there are: `Director::ring_index` names one.
const COUNT: u32 = 2;

/// Both rings.
#[derive(Debug)]
pub(super) struct Rings {
    outer: ArrayOfMaps<MapData>,
    /// `None` is a former daemon's, which this one may not open: that takes `CAP_SYS_ADMIN`
    /// (`bpf_map_get_fd_by_id()` of kernel/bpf/syscall.c). It serves until another is put in its place.
    inner: [Option<MapData>; COUNT as usize],
    inner_flags: u32,
    /// 0, 1, 2, ...: the keys of a batch.
    slots: Vec<u32>,
}

impl Rings {
    /// Opens the rings in `outer`; those that are not there yet are made, without a backend.
    pub(super) fn open(mut outer: ArrayOfMaps<MapData>, inner_flags: u32) -> Result<Self> {
        let slots: Vec<u32> = (0..RING_SLOTS).collect();
        let none = vec![NO_BACKEND; slots.len()];
        let mut open = |index| -> Result<Option<MapData>> {
            match outer.get(&index, 0) {
                Ok(ring) => Ok(Some(ring)),
                Err(MapError::KeyNotFound) => {
                    put(&mut outer, index, inner_flags, &slots, &none).map(Some)
                }
                Err(MapError::SyscallError(refused))
                    if refused.io_error.kind() == std::io::ErrorKind::PermissionDenied =>
                {
                    Ok(None)
                }
                Err(error) => Err(failed("reading", error)),
            }
        };
        let inner = [open(0)?, open(1)?];
        Ok(Self {
            outer,
            inner,
            inner_flags,
            slots,
        })
    }

    /// Fills the idle ring with backend ids (`NO_BACKEND` for none), then makes it the live one.
    ///
    /// A program that has read the old index just before the last swap may still read from the ring
    /// that is filled now: it finds an entry of one ring or the other, each a backend in its time.
    pub(super) fn swap(&mut self, ring: &[u32], director: &DirectorFields) -> Result<()> {
        let idle = (director.ring_index() + 1) % COUNT;
        self.fill(idle, ring)?;
        director.set_ring_index(idle);
        Ok(())
    }

    /// Writes all slots of one ring in one system call.
    fn fill(&mut self, index: u32, ring: &[u32]) -> Result<()> {
        if ring.len() != RING_SLOTS as usize {
            return Err(DataPlaneError::Ring {
                expected: RING_SLOTS,
                given: ring.len(),
            });
        }
        let index = index % COUNT;
        let known = &mut self.inner[index as usize];
        if let Some(known) = known {
            return write(known, &self.slots, ring);
        }
        let new = put(&mut self.outer, index, self.inner_flags, &self.slots, ring)?;
        *known = Some(new);
        Ok(())
    }
}

/// Makes a ring, fills it, and puts it in the place of what is there.
fn put(
    outer: &mut ArrayOfMaps<MapData>,
    index: u32,
    flags: u32,
    slots: &[u32],
    backends: &[u32],
) -> Result<MapData> {
    let object = aya_obj::Map::new_from_params(BPF_MAP_TYPE_ARRAY as u32, 4, 4, RING_SLOTS, flags);
    let ring = MapData::create(object, "ring", None).map_err(|error| failed("making", error))?;
    write(&ring, slots, backends)?;
    outer
        .set(index, &ring, 0)
        .map_err(|error| failed("filling", error))?;
    Ok(ring)
}

fn write(ring: &MapData, slots: &[u32], backends: &[u32]) -> Result<()> {
    bpf::update_batch(ring.fd().as_fd(), slots, backends).map_err(|error| DataPlaneError::Map {
        action: "writing",
        map: RINGS,
        error,
    })
}

fn failed(action: &'static str, error: MapError) -> DataPlaneError {
    DataPlaneError::Map {
        action,
        map: RINGS,
        error: std::io::Error::other(error),
    }
}
