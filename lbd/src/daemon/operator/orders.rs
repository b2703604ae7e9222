//! Operators' orders, kept in `node.state_dir` so that a reload or a restart forgets none, and told
//! to every node so that a failover forgets none.
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    channel::{OrderRecord, Word},
    policy::Override,
    units::Weight,
};

/// The last order for each backend by its name, and the file they are kept in. One that was taken
/// back stays, so that a node that was away when it was does not bring it back.
#[derive(Debug)]
pub(in crate::daemon) struct Orders {
    file: PathBuf,
    by_backend: BTreeMap<String, Stamped>,
}

/// An order, and which of two is the later one.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
struct Stamped {
    version: u64,
    order: Word,
}

/// What is left of a drain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::daemon) struct Drain {
    /// When the open sessions have had long enough, in seconds since 1970.
    pub(in crate::daemon) until_unix_s: Option<u64>,
    /// Whether what is open then is reset.
    pub(in crate::daemon) then_reset: bool,
}

impl Orders {
    /// Reads what an earlier run left. A file that cannot be understood is an error: starting
    /// without it would put sessions on a box that somebody took out.
    pub(in crate::daemon) fn load(state_dir: &Path) -> io::Result<Self> {
        let file = state_dir.join("orders.json");
        let by_backend = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let file = file.display();
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{file} holds the operators' drains and weights and cannot be read ({error}); fix it or remove it"),
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { file, by_backend })
    }

    /// What the policy should do with a backend.
    pub(in crate::daemon) fn get(&self, backend: &str) -> Option<Override> {
        match self.by_backend.get(backend)?.order {
            Word::Released => None,
            Word::Drain { .. } => Some(Override::Drain),
            Word::Weight(weight) => Some(Override::Weight(Weight(weight))),
        }
    }

    /// The drain of a backend, if it has one.
    pub(in crate::daemon) fn drain(&self, backend: &str) -> Option<Drain> {
        match self.by_backend.get(backend)?.order {
            Word::Drain {
                until_unix_s,
                then_reset,
            } => Some(Drain {
                until_unix_s,
                then_reset,
            }),
            Word::Released | Word::Weight(_) => None,
        }
    }

    /// Takes orders, in their sequence; they count once they are on disk. `now_unix_ns` only has to
    /// grow from one node to the next: a clock that is behind an earlier order's is put right by one.
    pub(in crate::daemon) fn set(
        &mut self,
        orders: &[(&str, Word)],
        now_unix_ns: u64,
    ) -> io::Result<()> {
        let mut changed = self.by_backend.clone();
        for (backend, order) in orders {
            let before = changed.get(*backend).map_or(0, |kept| kept.version);
            let (version, order) = (now_unix_ns.max(before + 1), *order);
            changed.insert((*backend).to_owned(), Stamped { version, order });
        }
        self.replace(changed)
    }

    /// Takes the later orders of a peer. Returns the backends whose order is another one now.
    pub(in crate::daemon) fn merge(&mut self, told: Vec<OrderRecord>) -> io::Result<Vec<String>> {
        let mut changed = self.by_backend.clone();
        let mut names = Vec::new();
        for record in told {
            let known = changed.get(&record.backend);
            if known.is_some_and(|known| known.version >= record.version) {
                continue;
            }
            if known.is_none_or(|known| known.order != record.word) {
                names.push(record.backend.clone());
            }
            let kept = Stamped {
                version: record.version,
                order: record.word,
            };
            changed.insert(record.backend, kept);
        }
        if changed != self.by_backend {
            self.replace(changed)?;
        }
        Ok(names)
    }

    /// All of them, for peers.
    pub(in crate::daemon) fn records(&self) -> Vec<OrderRecord> {
        let record = |(backend, kept): (&String, &Stamped)| OrderRecord {
            backend: backend.clone(),
            version: kept.version,
            word: kept.order,
        };
        self.by_backend.iter().map(record).collect()
    }

    fn replace(&mut self, changed: BTreeMap<String, Stamped>) -> io::Result<()> {
        self.write(&changed)?;
        self.by_backend = changed;
        Ok(())
    }

    /// Writes aside and renames, so that a crash leaves the old file or the new one.
    fn write(&self, orders: &BTreeMap<String, Stamped>) -> io::Result<()> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        let aside = self.file.with_extension("json.new");
        let file = fs::File::create(&aside)?;
        serde_json::to_writer_pretty(&file, orders)?;
        file.sync_all()?;
        fs::rename(&aside, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Word = Word::Drain {
        until_unix_s: Some(1_800_000_000),
        then_reset: true,
    };

    #[test]
    fn orders_survive_a_restart() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut orders = Orders::load(folder.path())?;
        orders.set(&[("mx1", DRAIN), ("mx2", Word::Weight(7))], 10)?;
        orders.set(&[("mx3", DRAIN), ("mx3", Word::Released)], 10)?;

        let again = Orders::load(folder.path())?;
        assert_eq!(again.get("mx1"), Some(Override::Drain));
        let drain = Drain {
            until_unix_s: Some(1_800_000_000),
            then_reset: true,
        };
        assert_eq!(again.drain("mx1"), Some(drain));
        assert_eq!(again.get("mx2"), Some(Override::Weight(Weight(7))));
        assert_eq!((again.drain("mx2"), again.get("mx3")), (None, None));
        assert_eq!(again.records(), orders.records());
        Ok(())
    }

    #[test]
    fn nodes_that_tell_each_other_agree_on_the_last_order_in_any_sequence() -> io::Result<()> {
        let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
        let mut nodes = [
            Orders::load(folders[0].path())?,
            Orders::load(folders[1].path())?,
        ];
        nodes[0].set(&[("mx1", DRAIN)], 100)?;
        let stale = nodes[0].records();
        assert_eq!(nodes[1].merge(stale.clone())?, ["mx1"]);
        // The other node's clock is behind.
        nodes[1].set(&[("mx1", Word::Released)], 50)?;
        assert_eq!(nodes[1].merge(stale)?, Vec::<String>::new());
        let later = nodes[1].records();
        assert_eq!(nodes[0].merge(later)?, ["mx1"]);
        assert_eq!(nodes[0].get("mx1"), None);
        assert_eq!(nodes[0].records(), nodes[1].records());
        Ok(())
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_refused_by_name() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("orders.json"), "{")?;
        let error = Orders::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("orders.json"), "{error}");
        Ok(())
    }
}
