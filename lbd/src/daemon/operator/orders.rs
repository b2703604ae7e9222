//! Operators' orders, kept in `node.state_dir` so that a reload or a restart forgets none, and told
//! to every node so that a failover forgets none.
use std::{collections::BTreeMap, io, path::Path};

use super::latest::{Latest, Value, Versioned};
use crate::{
    channel::{OrderRecord, Word},
    policy::Override,
    units::Weight,
};

/// The last order for each backend by its name.
#[derive(Debug)]
pub(in crate::daemon) struct Orders(Latest<Word>);

impl Value for Word {
    type Key = String;
    type File = BTreeMap<String, Versioned<Self>>;

    const RELEASED: Self = Self::Released;
    const CONTENT: &str = "the operators' drains and weights";

    fn to_file(all: &BTreeMap<String, Versioned<Self>>) -> Self::File {
        all.clone()
    }

    fn of_file(file: Self::File) -> Result<BTreeMap<String, Versioned<Self>>, String> {
        Ok(file)
    }
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
    /// Reads what an earlier run left.
    pub(in crate::daemon) fn load(state_dir: &Path) -> io::Result<Self> {
        Latest::load(state_dir.join("orders.json")).map(Self)
    }

    /// What the policy should do with a backend.
    pub(in crate::daemon) fn get(&self, backend: &str) -> Option<Override> {
        match self.0.get(backend)?.value {
            Word::Released => None,
            Word::Drain { .. } => Some(Override::Drain),
            Word::Weight(weight) => Some(Override::Weight(Weight(weight))),
        }
    }

    /// The drain of a backend, if it has one.
    pub(in crate::daemon) fn drain(&self, backend: &str) -> Option<Drain> {
        match self.0.get(backend)?.value {
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

    /// Takes orders, in their sequence; they count once they are on disk.
    pub(in crate::daemon) fn set(
        &mut self,
        orders: &[(&str, Word)],
        now_unix_ns: u64,
    ) -> io::Result<()> {
        let orders = orders
            .iter()
            .map(|(name, word)| ((*name).to_owned(), *word));
        self.0.set(orders, now_unix_ns)
    }

    /// Takes the later orders of a peer. Returns the backends whose order is another one now.
    pub(in crate::daemon) fn merge(&mut self, told: Vec<OrderRecord>) -> io::Result<Vec<String>> {
        let told = told.into_iter().map(|record| {
            let (version, value) = (record.version, record.word);
            (record.backend, Versioned { version, value })
        });
        self.0.merge(told, |_, _, _| true)
    }

    /// All of them, for peers.
    pub(in crate::daemon) fn records(&self) -> Vec<OrderRecord> {
        let record = |(backend, last): (&String, &Versioned<Word>)| OrderRecord {
            backend: backend.clone(),
            version: last.version,
            word: last.value,
        };
        self.0.iter().map(record).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
