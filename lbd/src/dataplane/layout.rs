//! The maps that the object declares, to compare pinned ones with.
use std::collections::BTreeMap;

use aya::maps::{MapError, MapInfo};
use aya_obj::{EbpfSectionKind, Object, ParseError};
use lbd_common::{
    maps::{PREFILTER, RINGS},
    trace::{TRACE_SCRATCH, TRACES},
};

use super::prefilter;

/// What two maps must agree in so that one can stand for the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct MapLayout {
    /// `enum bpf_map_type`.
    pub(super) kind: u32,
    /// Bytes.
    pub(super) key_size: u32,
    /// Bytes; 0 for a ring buffer.
    pub(super) value_size: u32,
    /// Entries; bytes for a ring buffer.
    pub(super) max_entries: u32,
    /// `BPF_F_*`, without the one that the kernel adds.
    pub(super) flags: u32,
}

/// `dev_map_init_map()` of kernel/bpf/devmap.c adds `BPF_F_RDONLY_PROG` by itself.
const ADDED_BY_KERNEL: u32 = 1 << 7;

impl MapLayout {
    /// The layout of a map that exists.
    pub(super) fn of_map(info: &MapInfo) -> Result<Self, MapError> {
        Ok(Self {
            kind: info.map_type()? as u32,
            key_size: info.key_size(),
            value_size: info.value_size(),
            max_entries: info.max_entries(),
            flags: info.map_flags() & !ADDED_BY_KERNEL,
        })
    }

    /// The same with room for so many.
    pub(super) fn with_entries(self, max_entries: u32) -> Self {
        Self {
            max_entries,
            ..self
        }
    }

    /// What is not as in `pinned`, as a clause; `None` when nothing.
    pub(super) fn difference(&self, name: &str, pinned: &Self) -> Option<String> {
        let fields = [
            ("is of type", self.kind, pinned.kind),
            ("has keys of", self.key_size, pinned.key_size),
            ("has values of", self.value_size, pinned.value_size),
            ("has room for", self.max_entries, pinned.max_entries),
            ("has flags", self.flags, pinned.flags),
        ];
        let (what, ours, theirs) = fields
            .into_iter()
            .find(|(_, ours, theirs)| ours != theirs)?;
        Some(format!("{name} {what} {theirs}, this version needs {ours}"))
    }
}

/// What an object declares.
#[derive(Clone, Debug)]
pub(super) struct Layouts {
    /// Its maps by name, without those of its constants, of the program's own variables and
    /// [`NOT_PINNED`], which are not pinned.
    pub(super) maps: BTreeMap<String, MapLayout>,
    /// `BPF_F_*` of the rings inside `RINGS`.
    pub(super) ring_flags: u32,
}

/// Maps that go with their load: those of a trace, and of aya-log in a debug build of the program.
const NOT_PINNED: [&str; 3] = [TRACES, TRACE_SCRATCH, "AYA_LOGS"];

/// What a map of the object is pinned as.
fn pinned_name(in_object: &str) -> &str {
    if in_object == prefilter::SECTION {
        PREFILTER
    } else {
        in_object
    }
}

/// What the object calls the map that is pinned so.
pub(super) fn name_in_object(pinned: &str) -> &str {
    if pinned == PREFILTER {
        prefilter::SECTION
    } else {
        pinned
    }
}

/// The maps of an object, some with another number of entries.
pub(super) fn of_object(object: &[u8], max_entries: &[(&str, u32)]) -> Result<Layouts, ParseError> {
    let object = Object::parse(object)?;
    let ring = object.maps.get(RINGS).and_then(aya_obj::Map::inner);
    let maps = object
        .maps
        .iter()
        .filter(|(name, map)| {
            let kind = map.section_kind();
            let is_named = matches!(kind, EbpfSectionKind::Maps | EbpfSectionKind::BtfMaps);
            is_named && !NOT_PINNED.contains(&name.as_str()) || *name == prefilter::SECTION
        })
        .map(|(name, map)| {
            let name = pinned_name(name);
            let wanted = max_entries.iter().find(|&&(of, _)| of == name);
            let layout = MapLayout {
                kind: map.map_type(),
                key_size: map.key_size(),
                value_size: map.value_size(),
                max_entries: wanted.map_or(map.max_entries(), |(_, entries)| *entries),
                flags: map.map_flags() & !ADDED_BY_KERNEL,
            };
            (name.to_owned(), layout)
        })
        .collect();
    Ok(Layouts {
        maps,
        ring_flags: ring.map_or(0, |ring| ring.map_flags()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRAY: MapLayout = MapLayout {
        kind: 2,
        key_size: 4,
        value_size: 64,
        max_entries: 64,
        flags: 0x400,
    };

    #[test]
    fn equal_layouts_have_no_difference() {
        assert_eq!(ARRAY.difference("VIPS", &ARRAY), None);
    }

    #[test]
    fn every_field_counts_and_is_named() {
        let table = [
            (
                MapLayout { kind: 1, ..ARRAY },
                "VIPS is of type 1, this version needs 2",
            ),
            (
                MapLayout {
                    key_size: 8,
                    ..ARRAY
                },
                "VIPS has keys of 8, this version needs 4",
            ),
            (
                MapLayout {
                    value_size: 72,
                    ..ARRAY
                },
                "VIPS has values of 72, this version needs 64",
            ),
            (
                MapLayout {
                    max_entries: 128,
                    ..ARRAY
                },
                "VIPS has room for 128, this version needs 64",
            ),
            (
                MapLayout { flags: 0, ..ARRAY },
                "VIPS has flags 0, this version needs 1024",
            ),
        ];
        for (pinned, expected) in table {
            assert_eq!(ARRAY.difference("VIPS", &pinned).as_deref(), Some(expected));
        }
    }
}
