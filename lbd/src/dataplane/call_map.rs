//! A pinned map, by system calls.
use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use super::{
    bpf,
    error::{DataPlaneError, Result},
    pins::PinDir,
    plain::Plain,
};

/// A map that is read and written by system calls.
#[derive(Debug)]
pub(super) struct CallMap {
    name: &'static str,
    map: OwnedFd,
}

impl CallMap {
    pub(super) fn open(pins: &PinDir, name: &'static str) -> Result<Self> {
        let map = open(pins, name)?;
        Ok(Self { name, map })
    }

    /// The entry of `key`; of an array, the one at that index.
    pub(super) fn get<T: Plain>(&self, key: impl Plain) -> Result<T> {
        bpf::lookup(self.map.as_fd(), key, 1)
            .map(|copies: Vec<T>| copies[0])
            .map_err(|source| map_error("reading", self.name, source))
    }

    /// The entry at `index` of each of `cpus`.
    pub(super) fn copies<T: Plain>(&self, index: u32, cpus: usize) -> Result<Vec<T>> {
        bpf::lookup(self.map.as_fd(), index, cpus)
            .map_err(|source| map_error("reading", self.name, source))
    }

    /// The keys that have an entry, of a map with no other writer.
    pub(super) fn keys<K: Plain>(&self) -> Result<Vec<K>> {
        bpf::keys(self.map.as_fd()).map_err(|source| map_error("reading", self.name, source))
    }

    /// Writes many entries in one system call.
    pub(super) fn set_all<K: Plain, V: Plain>(&self, keys: &[K], values: &[V]) -> Result<()> {
        bpf::update_batch(self.map.as_fd(), keys, values)
            .map_err(|source| map_error("writing", self.name, source))
    }

    /// Takes many entries out, of which some may be gone already.
    pub(super) fn remove_all<K: Plain>(&self, keys: &[K]) -> Result<()> {
        match bpf::delete_batch(self.map.as_fd(), keys) {
            // The call has stopped at the one that was gone.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                keys.iter().try_for_each(|key| self.remove(*key))
            }
            Err(error) => Err(map_error("writing", self.name, error)),
            Ok(()) => Ok(()),
        }
    }

    /// Takes an entry out of a map that is not an array; it may be gone already.
    pub(super) fn remove<K: Plain>(&self, key: K) -> Result<()> {
        match bpf::delete(self.map.as_fd(), &key) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => {
                Err(map_error("writing", self.name, error))
            }
            _ => Ok(()),
        }
    }

    /// Writes the entry of `key`; of an array, the one at that index.
    pub(super) fn set<T: Plain>(&self, key: impl Plain, value: &T) -> Result<()> {
        bpf::update(self.map.as_fd(), key, value)
            .map_err(|source| map_error("writing", self.name, source))
    }
}

pub(super) fn open(pins: &PinDir, name: &'static str) -> Result<OwnedFd> {
    bpf::open_pin(&pins.map(name)).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => DataPlaneError::NoMap { map: name },
        _ => map_error("opening", name, source),
    })
}

pub(super) fn map_error(
    action: &'static str,
    map: &'static str,
    error: io::Error,
) -> DataPlaneError {
    DataPlaneError::Map { action, map, error }
}
