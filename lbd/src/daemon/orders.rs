//! Operators' orders, kept in `node.state_dir` so that a reload or a restart forgets none.
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::policy::Override;

/// The orders in force, by backend name, and the file they are kept in.
#[derive(Debug)]
pub(super) struct Orders {
    file: PathBuf,
    by_backend: BTreeMap<String, Override>,
}

impl Orders {
    /// Reads what an earlier run left. A file that cannot be understood is an error: starting
    /// without it would put sessions on a box that somebody took out.
    pub(super) fn load(state_dir: &Path) -> io::Result<Self> {
        let file = state_dir.join("orders.json");
        let by_backend = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let file = file.display();
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{file} holds the operators' drains and weights and cannot be read ({error}); mend it or remove it"),
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { file, by_backend })
    }

    /// The order for a backend.
    pub(super) fn get(&self, backend: &str) -> Option<Override> {
        self.by_backend.get(backend).copied()
    }

    /// Sets or takes back an order; it counts once it is on disk.
    pub(super) fn set(&mut self, backend: &str, order: Option<Override>) -> io::Result<()> {
        let mut changed = self.by_backend.clone();
        match order {
            Some(order) => changed.insert(backend.to_owned(), order),
            None => changed.remove(backend),
        };
        self.write(&changed)?;
        self.by_backend = changed;
        Ok(())
    }

    /// Writes aside and renames, so that a crash leaves the old file or the new one.
    fn write(&self, orders: &BTreeMap<String, Override>) -> io::Result<()> {
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
    use crate::units::Weight;

    #[test]
    fn orders_survive_a_restart() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut orders = Orders::load(folder.path())?;
        orders.set("mx1", Some(Override::Drain))?;
        orders.set("mx2", Some(Override::Weight(Weight(7))))?;
        orders.set("mx3", Some(Override::Drain))?;
        orders.set("mx3", None)?;

        let again = Orders::load(folder.path())?;
        assert_eq!(again.get("mx1"), Some(Override::Drain));
        assert_eq!(again.get("mx2"), Some(Override::Weight(Weight(7))));
        assert_eq!(again.get("mx3"), None);
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
