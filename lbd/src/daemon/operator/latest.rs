//! A store in which the latest value of each key wins, on every node of the cluster alike, kept in a file.
//!
//! Nodes tell each other what they hold, in any order and more than once. A value that was released stays
//! as such, so that a node that was away at that time does not bring it back.
use std::{
    collections::BTreeMap,
    fs, io,
    ops::{Bound, Deref},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::replace_file::replace_file;

/// What an operator may say about a key.
pub(super) trait Value: Copy + PartialEq {
    /// What it is about.
    type Key: Clone + Ord;
    /// How all of them are written to the file.
    type File: DeserializeOwned + Serialize + Default;

    /// What was said before is taken back.
    const RELEASED: Self;
    /// What the file holds, for the sentence on one that cannot be read.
    const CONTENT: &str;

    fn to_file(all: &BTreeMap<Self::Key, Versioned<Self>>) -> Self::File;
    /// `Err`: what is wrong.
    fn of_file(file: Self::File) -> Result<BTreeMap<Self::Key, Versioned<Self>>, String>;
}

/// A value, and which of two is the later one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Versioned<V> {
    pub(super) version: u64,
    /// As the file of orders names it.
    #[serde(rename = "order")]
    pub(super) value: V,
}

/// The latest value of each key, and the file they are kept in.
#[derive(Debug)]
pub(super) struct Latest<V: Value> {
    file: PathBuf,
    values: BTreeMap<V::Key, Versioned<V>>,
}

/// For reading only: what changes goes through the file.
impl<V: Value> Deref for Latest<V> {
    type Target = BTreeMap<V::Key, Versioned<V>>;

    fn deref(&self) -> &Self::Target {
        &self.values
    }
}

impl<V: Value> Latest<V> {
    /// Reads what an earlier run left. A file that cannot be understood is an error: without it the node
    /// would do what an operator has forbidden.
    pub(super) fn load(file: PathBuf) -> io::Result<Self> {
        let stored = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| unreadable(&file, V::CONTENT, &error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => V::File::default(),
            Err(error) => return Err(error),
        };
        let values = V::of_file(stored).map_err(|error| unreadable(&file, V::CONTENT, &error))?;
        Ok(Self { file, values })
    }

    /// Sets values, in their sequence; they count once they are on disk. `now_unix_ns` only has to grow
    /// from one node to the next: a clock that is behind an earlier value's is put right by one.
    pub(super) fn set(
        &mut self,
        values: impl IntoIterator<Item = (V::Key, V)>,
        now_unix_ns: u64,
    ) -> io::Result<()> {
        let mut changed = self.values.clone();
        for (key, value) in values {
            let before = changed.get(&key).map_or(0, |known| known.version);
            let version = now_unix_ns.max(before + 1);
            changed.insert(key, Versioned { version, value });
        }
        self.replace(changed)
    }

    /// Takes the later values of a peer that `accept` lets in, which sees how many there are and whether
    /// the key is known. Returns the keys with another value.
    pub(super) fn merge(
        &mut self,
        told: impl IntoIterator<Item = (V::Key, Versioned<V>)>,
        accept: impl Fn(&BTreeMap<V::Key, Versioned<V>>, &V::Key, Versioned<V>) -> bool,
    ) -> io::Result<Vec<V::Key>> {
        let mut changed = self.values.clone();
        let mut keys = Vec::new();
        for (key, later) in told {
            let known = changed.get(&key).copied();
            let is_later = known.is_none_or(|known| known.version < later.version);
            if !is_later || !accept(&changed, &key, later) {
                continue;
            }
            if known.map_or(V::RELEASED, |known| known.value) != later.value {
                keys.push(key.clone());
            }
            changed.insert(key, later);
        }
        self.replace(changed)?;
        Ok(keys)
    }

    /// Forgets what does not pass, and returns it.
    pub(super) fn retain(
        &mut self,
        keep: impl Fn(Versioned<V>) -> bool,
    ) -> io::Result<Vec<(V::Key, Versioned<V>)>> {
        let mut kept = self.values.clone();
        let gone = kept.extract_if(.., |_, known| !keep(*known)).collect();
        self.replace(kept)?;
        Ok(gone)
    }

    /// Those after a key in their order.
    pub(super) fn after(
        &self,
        key: Option<&V::Key>,
    ) -> impl Iterator<Item = (&V::Key, &Versioned<V>)> {
        let after = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.values.range((after, Bound::Unbounded))
    }

    fn replace(&mut self, changed: BTreeMap<V::Key, Versioned<V>>) -> io::Result<()> {
        if changed != self.values {
            replace_file(&self.file, |writer| {
                Ok(serde_json::to_writer_pretty(writer, &V::to_file(&changed))?)
            })?;
            self.values = changed;
        }
        Ok(())
    }
}

/// A file of `node.state_dir` that an operator has to look at.
pub(super) fn unreadable(file: &Path, content: &str, error: &dyn std::fmt::Display) -> io::Error {
    let file = file.display();
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{file} holds {content} and cannot be read ({error}); fix it or remove it"),
    )
}
