//! Denials by feeds: sets of networks, each with a name, of which a feed replaces its own alone.
//!
//! They are kept in `node.state_dir`, and on this node only: a feed of 100,000 networks is brought to each
//! node by what brings it to one.
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{denials::not_kept, latest::unreadable};
use crate::{config::Network, replace_file::replace_file};

/// How many sets there may be: one for each program that feeds.
const MOST_SETS: usize = 64;
/// How many networks all of them may have: what fits into the kernel's lists is less.
const MOST: usize = 1_000_000;
/// What their files hold, for the sentence on one that cannot be read.
const CONTENT: &str = "the sources that a feed denies";
/// What the names of their files end with.
const EXTENSION: &str = "list";

/// What a feed does to its set.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedChange {
    /// These networks, and no others.
    Replace,
    /// These as well.
    Add,
    /// These no longer.
    Remove,
}

/// A set of denied networks.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SetStatus {
    /// As its feed gives it.
    pub name: String,
    /// How many networks it denies.
    pub networks: usize,
}

/// Until when each network of a set is denied, in seconds since 1970; `None`: until it is taken back.
pub(in crate::daemon) type Set = BTreeMap<Network, Option<u64>>;

/// All sets.
#[derive(Debug)]
pub(in crate::daemon) struct Feeds {
    folder: PathBuf,
    sets: BTreeMap<String, Set>,
}

/// What a change came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::daemon) struct Changed {
    /// Networks in the set now.
    pub(in crate::daemon) now: usize,
    pub(in crate::daemon) new: usize,
    pub(in crate::daemon) gone: usize,
}

impl Feeds {
    /// Reads what an earlier run left. A file that cannot be understood is an error, as with the denials by
    /// hand.
    pub(in crate::daemon) fn load(state_dir: &Path) -> io::Result<Self> {
        let folder = state_dir.join("feeds");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let sets = BTreeMap::new();
                return Ok(Self { folder, sets });
            }
            Err(error) => return Err(error),
        };
        let mut sets = BTreeMap::new();
        for entry in entries {
            let file = entry?.path();
            let name = file.file_stem().and_then(|name| name.to_str());
            let is_set = file.extension().is_some_and(|end| end == EXTENSION);
            if let Some(name) = name.filter(|_| is_set) {
                let set = parse(&fs::read_to_string(&file)?)
                    .ok_or_else(|| unreadable(&file, CONTENT, &"a line is no network"))?;
                sets.insert(name.to_owned(), set);
            }
        }
        Ok(Self { folder, sets })
    }

    /// Every network that a set denies.
    pub(in crate::daemon) fn networks(&self) -> impl Iterator<Item = Network> {
        self.sets.values().flat_map(|set| set.keys().copied())
    }

    /// The sets that deny anything.
    pub(in crate::daemon) fn status(&self) -> Vec<SetStatus> {
        let sets = self.sets.iter();
        sets.map(|(name, set)| SetStatus {
            name: name.clone(),
            networks: set.len(),
        })
        .collect()
    }

    /// Changes a set; it counts once it is on disk. With it comes what the set was, for
    /// [`Self::put_back`]. `Err` is a sentence.
    pub(in crate::daemon) fn change(
        &mut self,
        name: &str,
        change: FeedChange,
        networks: &[Network],
        until_unix_s: Option<u64>,
    ) -> Result<(Changed, Set), String> {
        check_name(name)?;
        let before = self.sets.get(name).cloned().unwrap_or_default();
        let mut set = match change {
            FeedChange::Replace => Set::new(),
            FeedChange::Add | FeedChange::Remove => before.clone(),
        };
        for network in networks {
            match change {
                FeedChange::Replace | FeedChange::Add => drop(set.insert(*network, until_unix_s)),
                FeedChange::Remove => drop(set.remove(network)),
            }
        }
        let others = self.sets.iter().filter(|(other, _)| *other != name);
        let (count, total) = others.fold((1, set.len()), |(count, total), (_, set)| {
            (count + 1, total + set.len())
        });
        if count > MOST_SETS {
            return Err(format!(
                "there are {MOST_SETS} sets already, which `lbd access` lists: empty one that is no longer fed"
            ));
        }
        if total > MOST {
            return Err(format!(
                "all sets would have {total} networks, more than {MOST}"
            ));
        }
        let changed = Changed {
            now: set.len(),
            new: set.keys().filter(|key| !before.contains_key(key)).count(),
            gone: before.keys().filter(|key| !set.contains_key(key)).count(),
        };
        self.keep(name, set).map_err(|error| not_kept(&error))?;
        Ok((changed, before))
    }

    /// Makes a set what it was.
    pub(in crate::daemon) fn put_back(&mut self, name: &str, before: Set) -> io::Result<()> {
        self.keep(name, before)
    }

    /// Takes the networks out whose time is over, and says how many.
    pub(in crate::daemon) fn expire(&mut self, now_unix_s: u64) -> io::Result<usize> {
        let is_over = |until: &Option<u64>| until.is_some_and(|until| until <= now_unix_s);
        let due: Vec<String> = self
            .sets
            .iter()
            .filter(|(_, set)| set.values().any(is_over))
            .map(|(name, _)| name.clone())
            .collect();
        let mut over = 0;
        for name in due {
            let mut set = self.sets.get(&name).cloned().unwrap_or_default();
            let before = set.len();
            set.retain(|_, until| !is_over(until));
            over += before - set.len();
            self.keep(&name, set)?;
        }
        Ok(over)
    }

    /// Replaces the set's file. An empty set has none.
    fn keep(&mut self, name: &str, set: Set) -> io::Result<()> {
        let file = self.folder.join(name).with_extension(EXTENSION);
        if set.is_empty() {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.sets.remove(name);
            return Ok(());
        }
        replace_file(&file, |writer| {
            set.iter().try_for_each(|(network, until)| match until {
                Some(until) => writeln!(writer, "{network} {until}"),
                None => writeln!(writer, "{network}"),
            })
        })?;
        self.sets.insert(name.to_owned(), set);
        Ok(())
    }
}

/// A network a line, and after a blank until when.
fn parse(text: &str) -> Option<Set> {
    text.lines()
        .map(|line| {
            let (network, until) = match line.split_once(' ') {
                Some((network, until)) => (network, Some(until.parse().ok()?)),
                None => (line, None),
            };
            Some((network.parse().ok()?, until))
        })
        .collect()
}

/// The name becomes a file's.
fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=64).contains(&name.len()) && name.chars().all(is_plain) {
        return Ok(());
    }
    Err("a set's name is 1 to 64 letters, digits, - and _".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn denied(feeds: &Feeds) -> Vec<String> {
        feeds
            .networks()
            .map(|network| network.to_string())
            .collect()
    }

    #[test]
    fn a_feed_replaces_its_own_entries_only_and_a_restart_forgets_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut feeds = Feeds::load(folder.path()).unwrap();
        let (drop, ban) = (FeedChange::Replace, FeedChange::Add);
        let list = networks(&["198.51.100.0/24", "203.0.113.0/24"]);
        feeds.change("drop", drop, &list, None).unwrap();
        let one = networks(&["192.0.2.7"]);
        feeds.change("crowdsec", ban, &one, Some(1000)).unwrap();
        let list = networks(&["203.0.113.0/24", "2001:db8::/32"]);
        let (changed, before) = feeds.change("drop", drop, &list, None).unwrap();
        assert_eq!(before.len(), 2);
        let expected = Changed {
            now: 2,
            new: 1,
            gone: 1,
        };
        assert_eq!(changed, expected);

        let mut feeds = Feeds::load(folder.path()).unwrap();
        assert_eq!(
            denied(&feeds),
            ["192.0.2.7/32", "203.0.113.0/24", "2001:db8::/32"]
        );
        assert_eq!(feeds.expire(999).unwrap(), 0);
        assert_eq!(feeds.expire(1000).unwrap(), 1);
        feeds
            .change("drop", FeedChange::Remove, &list[..1], None)
            .unwrap();
        assert_eq!(denied(&feeds), ["2001:db8::/32"]);
        feeds.change("drop", drop, &[], None).unwrap();
        let feeds = Feeds::load(folder.path()).unwrap();
        assert!(feeds.status().is_empty() && denied(&feeds).is_empty());
    }

    #[test]
    fn a_name_is_no_path_and_there_are_not_endlessly_many() {
        let folder = tempfile::tempdir().unwrap();
        let mut feeds = Feeds::load(folder.path()).unwrap();
        let one = networks(&["192.0.2.7"]);
        for name in ["", "../x", "a/b", "a b", "a.list", &"x".repeat(65)] {
            let refused = feeds.change(name, FeedChange::Add, &one, None);
            assert!(refused.is_err(), "{name}");
        }
        for number in 0..MOST_SETS {
            let name = format!("set-{number}");
            feeds.change(&name, FeedChange::Add, &one, None).unwrap();
        }
        assert!(feeds.change("more", FeedChange::Add, &one, None).is_err());
        feeds
            .change("set-7", FeedChange::Replace, &[], None)
            .unwrap();
        feeds.change("more", FeedChange::Add, &one, None).unwrap();
    }

    #[test]
    fn a_file_that_is_no_set_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("feeds")).unwrap();
        fs::write(folder.path().join("feeds/x.list"), "nonsense\n").unwrap();
        let error = Feeds::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("x.list"), "{error}");
    }
}
