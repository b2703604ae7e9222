//! A flow table that changes its size: its flows move to the new one before the program that
//! uses that runs.
//!
//! The old table's pin is moved aside, the loader makes a new table in its place, and the flows are
//! copied twice: before the program is replaced, so that it finds every session, and after, for what
//! became of them meanwhile. New sessions are not taken for those milliseconds; their SYN comes again.
use std::{collections::BTreeMap, fs, path::PathBuf, sync::atomic::AtomicU64};

use aya::maps::MapInfo;
use lbd_common::{
    flow::{Bucket4, Bucket6},
    maps::{FLOWS4, FLOWS6, MAX_BACKENDS},
};

use super::{
    bpf,
    error::{DataPlaneError, Result},
    flow_tables::FlowTables,
    layout::MapLayout,
    mmap::MmapArray,
    pins::{self, PinDir, Undo, pin_error},
    plain::Plain,
};
use crate::flows::{FlowKey, Flows, Flows4, Flows6, Insert, NewFlow};

/// The tables of a former size, if any.
#[derive(Debug, Default)]
pub(super) struct Former {
    v4: Option<MmapArray<Bucket4>>,
    v6: Option<MmapArray<Bucket6>>,
    pins: Vec<PathBuf>,
}

/// Where a table's pin is while its flows move.
fn aside(pins: &PinDir, name: &str) -> PathBuf {
    pins.map(&format!("{name}_FORMER"))
}

/// Puts back what a move that broke off has moved aside.
pub(super) fn restore(pins: &PinDir) -> Result<()> {
    for name in [FLOWS4, FLOWS6] {
        let (aside, place) = (aside(pins, name), pins.map(name));
        if aside.exists() {
            pins::remove(&place)?;
            fs::rename(&aside, &place).map_err(|source| pin_error("renaming", &aside, source))?;
        }
    }
    Ok(())
}

/// Moves the pins of tables aside that differ from `layouts` in their size and in nothing else.
pub(super) fn set_aside(
    pins: &PinDir,
    layouts: &BTreeMap<String, MapLayout>,
    undo: &mut Undo,
) -> Result<Former> {
    Ok(Former {
        v4: table(pins, FLOWS4, layouts, undo)?,
        v6: table(pins, FLOWS6, layouts, undo)?,
        pins: vec![aside(pins, FLOWS4), aside(pins, FLOWS6)],
    })
}

fn table<T: Plain>(
    pins: &PinDir,
    name: &str,
    layouts: &BTreeMap<String, MapLayout>,
    undo: &mut Undo,
) -> Result<Option<MmapArray<T>>> {
    let (place, aside) = (pins.map(name), aside(pins, name));
    if !place.exists() {
        return Ok(None);
    }
    let failed = |error: aya::maps::MapError| DataPlaneError::Load(error.to_string());
    let info = MapInfo::from_pin(&place).map_err(failed)?;
    let found = MapLayout::of_map(&info).map_err(failed)?;
    let wanted = layouts[name];
    let is_resized =
        wanted.max_entries != found.max_entries && wanted.with_entries(found.max_entries) == found;
    if !is_resized {
        return Ok(None);
    }
    let map = bpf::open_pin(&place).map_err(|source| pin_error("opening", &place, source))?;
    let table = MmapArray::map(std::os::fd::AsFd::as_fd(&map), found.max_entries as usize)
        .map_err(|source| pin_error("mapping", &place, source))?;
    fs::rename(&place, &aside).map_err(|source| pin_error("renaming", &place, source))?;
    undo.moved(aside, place);
    Ok(Some(table))
}

impl Former {
    /// Whether there is nothing to move.
    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    /// Copies every flow, or what became of it since it was. Returns how many found no room.
    pub(super) fn copy_to(&self, tables: &FlowTables) -> u64 {
        // The flows are in `LOAD` already; what is copied counts in nothing.
        let load: Vec<AtomicU64> = (0..MAX_BACKENDS).map(|_| AtomicU64::new(0)).collect();
        let (words4, words6) = tables.words();
        let mut lost = 0;
        if let Some(former) = &self.v4 {
            lost += copy(
                &Flows4::new(former.words(), &load),
                &Flows4::new(words4, &load),
            );
        }
        if let Some(former) = &self.v6 {
            lost += copy(
                &Flows6::new(former.words(), &load),
                &Flows6::new(words6, &load),
            );
        }
        lost
    }

    /// Removes the old tables' pins; with them the tables go.
    pub(super) fn remove(self) -> Result<()> {
        self.pins.iter().try_for_each(|pin| pins::remove(pin))
    }
}

fn copy<K: FlowKey>(from: &Flows<'_, K>, to: &Flows<'_, K>) -> u64 {
    let mut lost = 0;
    for flow in from.iter() {
        let new = NewFlow {
            backend: flow.word.backend,
            state: flow.word.state,
            flags: flow.word.flags,
        };
        match to.insert(flow.key, new, flow.word.seen) {
            // A frame that comes between knows better, and makes this fail.
            Insert::Exists(known) if known != flow.word && known.state <= flow.word.state => {
                to.replace(flow.key, known, new, flow.word.seen);
            }
            Insert::Inserted | Insert::Exists(_) => {}
            Insert::NoRoom => lost += 1,
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use lbd_common::flow::{flag, state};

    use super::*;
    use crate::flows::Key4;

    fn key(port: u16) -> Key4 {
        Key4 {
            source: Ipv4Addr::new(198, 51, 100, 7),
            port,
            vip_id: 1,
        }
    }

    fn flow(state: u8) -> NewFlow {
        NewFlow {
            backend: 3,
            state,
            flags: flag::COUNTED,
        }
    }

    #[test]
    fn every_flow_moves_and_none_is_counted_twice() {
        let former = FlowTables::anonymous(1024, 1024).unwrap();
        let tables = FlowTables::anonymous(4096, 1024).unwrap();
        for port in 1..=500 {
            let _ = former.v4().insert(key(port), flow(state::ESTABLISHED), 9);
        }
        let moves = Former {
            v4: Some(former.table4()),
            ..Former::default()
        };
        assert_eq!(moves.copy_to(&tables), 0);
        // What ended between the two copies is not left open.
        former.v4().close(key(7), 10);
        let _ = former.v4().insert(key(501), flow(state::HALF_OPEN), 9);
        assert_eq!(moves.copy_to(&tables), 0);
        let all: Vec<_> = former
            .v4()
            .iter()
            .map(|flow| (flow.key, flow.word))
            .collect();
        assert_eq!(all.len(), 501);
        for (key, word) in all {
            let copied = tables.v4().lookup(key).unwrap();
            assert_eq!((copied.state, copied.backend), (word.state, 3), "{key:?}");
        }
        assert!(
            tables.loads().iter().all(|load| *load == 0),
            "counted twice"
        );
    }

    #[test]
    fn a_smaller_table_says_what_found_no_room() {
        let former = FlowTables::anonymous(1024, 64).unwrap();
        let tables = FlowTables::anonymous(64, 64).unwrap();
        for port in 1..=1000 {
            let _ = former.v4().insert(key(port), flow(state::ESTABLISHED), 9);
        }
        let moves = Former {
            v4: Some(former.table4()),
            ..Former::default()
        };
        let lost = moves.copy_to(&tables);
        let copied = u64::try_from(tables.v4().iter().count()).unwrap();
        assert_eq!(lost + copied, 1000);
        assert!(copied > 200);
    }
}
