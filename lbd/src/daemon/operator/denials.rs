//! Sources that an operator denied by hand, kept in `node.state_dir` so that a restart forgets none, and
//! told to every node so that a failover forgets none.
use std::{
    collections::BTreeMap,
    fs, io,
    ops::Bound,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    channel::{DenialRecord, Verdict},
    config::Network,
};

/// How many there may be: a list of this kind is written by people. Longer ones belong into
/// `access.deny_file`.
pub(in crate::daemon) const MOST: usize = 10_000;
/// How many are told again at a time: some ten datagrams for each peer.
const PART: usize = 400;
/// How long the end of a denial is remembered, so that a node that was away does not bring it back.
const REMEMBERED_S: u64 = 30 * 86_400;

/// The denials by hand, and the file they are kept in. One that was taken back stays for a while, so
/// that a node that was away when it was does not bring it back.
#[derive(Debug)]
pub(in crate::daemon) struct Denials {
    file: PathBuf,
    by_network: BTreeMap<Network, Stamped>,
    /// The last that [`Self::next_part`] told.
    told: Option<Network>,
}

/// Since when, and until when. Seconds since 1970: a reboot must not lengthen them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(in crate::daemon) struct Denial {
    pub(in crate::daemon) since_unix_s: u64,
    /// `None`: until it is taken back.
    pub(in crate::daemon) until_unix_s: Option<u64>,
}

/// A word on a network, and which of two is the later one: nanoseconds since 1970, or more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamped {
    version: u64,
    /// `None`: it was taken back.
    denial: Option<Denial>,
}

impl Stamped {
    fn is_over(self, now_unix_s: u64) -> bool {
        let end = match self.denial {
            Some(denial) => denial.until_unix_s,
            None => Some(self.version / 1_000_000_000 + REMEMBERED_S),
        };
        end.is_some_and(|end| end <= now_unix_s)
    }
}

/// An entry of the file.
#[derive(Debug, Deserialize, Serialize)]
struct Entry {
    network: String,
    #[serde(default)]
    version: u64,
    since_unix_s: u64,
    until_unix_s: Option<u64>,
    #[serde(default)]
    released: bool,
}

impl Entry {
    fn of(network: Network, kept: Stamped) -> Self {
        Self {
            network: network.to_string(),
            version: kept.version,
            since_unix_s: kept.denial.map_or(0, |denial| denial.since_unix_s),
            until_unix_s: kept.denial.and_then(|denial| denial.until_unix_s),
            released: kept.denial.is_none(),
        }
    }

    fn kept(&self) -> Stamped {
        Stamped {
            version: self.version,
            denial: (!self.released).then_some(Denial {
                since_unix_s: self.since_unix_s,
                until_unix_s: self.until_unix_s,
            }),
        }
    }
}

impl Denials {
    /// Reads what an earlier run left. A file that cannot be understood is an error: starting without
    /// it would admit whom somebody denied.
    pub(in crate::daemon) fn load(state_dir: &Path) -> io::Result<Self> {
        let file = state_dir.join("denials.json");
        let entries: Vec<Entry> = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| broken(&file, &error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let by_network = entries
            .into_iter()
            .map(|entry| match entry.network.parse() {
                Ok(network) => Ok((network, entry.kept())),
                Err(error) => Err(broken(&file, &error)),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            file,
            by_network,
            told: None,
        })
    }

    /// Every denial, in the order of addresses.
    pub(in crate::daemon) fn iter(&self) -> impl Iterator<Item = (Network, Denial)> {
        self.by_network
            .iter()
            .filter_map(|(network, kept)| Some((*network, kept.denial?)))
    }

    /// Whether nothing is denied by hand, and nothing was lately.
    pub(in crate::daemon) fn is_empty(&self) -> bool {
        self.by_network.is_empty()
    }

    /// Denies a network, anew when it is denied already; it counts once it is on disk. The record is
    /// for the peers. `now_unix_ns` only has to grow from one node to the next: a clock that is behind
    /// an earlier word's is put right by one.
    pub(in crate::daemon) fn deny(
        &mut self,
        network: Network,
        denial: Denial,
        now_unix_ns: u64,
    ) -> io::Result<DenialRecord> {
        if self.iter().filter(|(known, _)| *known != network).count() >= MOST {
            return Err(io::Error::other(format!(
                "{MOST} sources are denied by hand already; put longer lists into access.deny_file"
            )));
        }
        self.say(network, Some(denial), now_unix_ns)
    }

    /// Takes a denial back; the record is for the peers. `None` when there is none of exactly this
    /// network.
    pub(in crate::daemon) fn release(
        &mut self,
        network: Network,
        now_unix_ns: u64,
    ) -> io::Result<Option<DenialRecord>> {
        let known = self.by_network.get(&network);
        if known.is_none_or(|kept| kept.denial.is_none()) {
            return Ok(None);
        }
        self.say(network, None, now_unix_ns).map(Some)
    }

    fn say(
        &mut self,
        network: Network,
        denial: Option<Denial>,
        now_unix_ns: u64,
    ) -> io::Result<DenialRecord> {
        let before = self.by_network.get(&network).map_or(0, |kept| kept.version);
        let kept = Stamped {
            version: now_unix_ns.max(before + 1),
            denial,
        };
        let mut changed = self.by_network.clone();
        changed.insert(network, kept);
        self.keep(changed)?;
        Ok(record(network, kept))
    }

    /// Takes the later words of a peer. Returns the networks that are denied otherwise now.
    pub(in crate::daemon) fn merge(
        &mut self,
        told: Vec<DenialRecord>,
        now_unix_s: u64,
    ) -> io::Result<Vec<Network>> {
        let mut changed = self.by_network.clone();
        let mut networks = Vec::new();
        for record in told {
            let DenialRecord {
                network, version, ..
            } = record;
            let kept = Stamped {
                version,
                denial: match record.verdict {
                    Verdict::Released => None,
                    Verdict::Denied {
                        since_unix_s,
                        until_unix_s,
                    } => Some(Denial {
                        since_unix_s,
                        until_unix_s,
                    }),
                },
            };
            let known = changed.get(&network).copied();
            let is_later = known.is_none_or(|known| known.version < version);
            // What is over on this clock does not come back from a slower one. Beyond twice what
            // people may write, the ends of former ones included, no more is taken.
            let has_room = known.is_some() || changed.len() < 2 * MOST;
            if !is_later || !has_room || (known.is_none() && kept.is_over(now_unix_s)) {
                continue;
            }
            if known.and_then(|known| known.denial) != kept.denial {
                networks.push(network);
            }
            changed.insert(network, kept);
        }
        if changed != self.by_network {
            self.keep(changed)?;
        }
        Ok(networks)
    }

    /// All of it, for a peer that has just come.
    pub(in crate::daemon) fn records(&self) -> Vec<DenialRecord> {
        let all = self.by_network.iter();
        all.map(|(network, kept)| record(*network, *kept)).collect()
    }

    /// The next few of all in turn, for all peers, one of which may have missed them.
    pub(in crate::daemon) fn next_part(&mut self) -> Vec<DenialRecord> {
        let after = self.told.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.by_network.range((after, Bound::Unbounded)).take(PART);
        let part: Vec<_> = next
            .map(|(network, kept)| record(*network, *kept))
            .collect();
        // Fewer than asked for: the end was reached, and the next turn begins anew.
        let is_end = part.len() < PART;
        self.told = part.last().filter(|_| !is_end).map(|record| record.network);
        part
    }

    /// Forgets the denials that are over; returns them.
    pub(in crate::daemon) fn expire(&mut self, now_unix_s: u64) -> io::Result<Vec<Network>> {
        let mut changed = self.by_network.clone();
        let mut over = Vec::new();
        changed.retain(|network, kept| {
            let is_over = kept.is_over(now_unix_s);
            if is_over && kept.denial.is_some() {
                over.push(*network);
            }
            !is_over
        });
        if changed.len() < self.by_network.len() {
            self.keep(changed)?;
        }
        Ok(over)
    }

    /// Writes aside and renames, so that a crash leaves the old file or the new one.
    fn keep(&mut self, changed: BTreeMap<Network, Stamped>) -> io::Result<()> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        let entries: Vec<Entry> = changed
            .iter()
            .map(|(network, kept)| Entry::of(*network, *kept))
            .collect();
        let aside = self.file.with_extension("json.new");
        let file = fs::File::create(&aside)?;
        let mut writer = io::BufWriter::new(&file);
        serde_json::to_writer_pretty(&mut writer, &entries)?;
        io::Write::flush(&mut writer)?;
        drop(writer);
        file.sync_all()?;
        fs::rename(&aside, &self.file)?;
        self.by_network = changed;
        Ok(())
    }
}

fn record(network: Network, kept: Stamped) -> DenialRecord {
    DenialRecord {
        network,
        version: kept.version,
        verdict: match kept.denial {
            None => Verdict::Released,
            Some(denial) => Verdict::Denied {
                since_unix_s: denial.since_unix_s,
                until_unix_s: denial.until_unix_s,
            },
        },
    }
}

/// A sentence for what could not be written.
pub(super) fn not_kept(error: &io::Error) -> String {
    format!("nothing was changed, as it could not be kept in node.state_dir: {error}")
}

pub(super) fn broken(file: &Path, error: &dyn std::fmt::Display) -> io::Error {
    let file = file.display();
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "{file} holds the sources denied by hand and cannot be read ({error}); fix it or remove it"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    const SECOND: u64 = 1_000_000_000;
    const FOREVER: Denial = Denial {
        since_unix_s: 100,
        until_unix_s: None,
    };

    fn an_hour() -> Denial {
        Denial {
            until_unix_s: Some(3700),
            ..FOREVER
        }
    }

    #[test]
    fn denials_survive_a_restart_and_end_at_their_time() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut denials = Denials::load(folder.path())?;
        let (a, b) = (network("198.51.100.0/24"), network("2001:db8::/32"));
        denials.deny(a, an_hour(), 100 * SECOND)?;
        denials.deny(b, FOREVER, 100 * SECOND)?;

        let mut again = Denials::load(folder.path())?;
        assert_eq!(
            again.iter().collect::<Vec<_>>(),
            [(a, an_hour()), (b, FOREVER)]
        );
        assert_eq!(again.records(), denials.records());
        assert_eq!(again.expire(3699)?, []);
        assert_eq!(again.expire(3700)?, [a]);
        assert!(again.release(b, 200 * SECOND)?.is_some());
        assert!(again.release(b, 200 * SECOND)?.is_none());
        let mut last = Denials::load(folder.path())?;
        assert_eq!(last.iter().count(), 0);
        // Its end is remembered, and not for ever.
        assert!(!last.is_empty());
        assert_eq!(last.expire(200 + REMEMBERED_S)?, []);
        assert!(last.is_empty());
        Ok(())
    }

    #[test]
    fn nodes_that_tell_each_other_agree_on_the_last_word_in_any_sequence() -> io::Result<()> {
        let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
        let mut nodes = [
            Denials::load(folders[0].path())?,
            Denials::load(folders[1].path())?,
        ];
        let (a, b) = (network("198.51.100.0/24"), network("192.0.2.1"));
        let stale = vec![nodes[0].deny(a, FOREVER, 100 * SECOND)?];
        nodes[0].deny(b, an_hour(), 100 * SECOND)?;
        let all = nodes[0].records();
        assert_eq!(nodes[1].merge(all.clone(), 200)?, [b, a]);
        assert_eq!(nodes[1].merge(all.clone(), 200)?, []);
        // The other node's clock is behind.
        let released = nodes[1].release(a, 50 * SECOND)?.unwrap();
        assert_eq!(nodes[1].merge(stale, 200)?, [], "it does not come back");
        assert_eq!(nodes[0].merge(vec![released], 200)?, [a]);
        assert_eq!(nodes[0].records(), nodes[1].records());
        // What is over here does not come back from a node whose clock is behind.
        nodes[1].expire(3700)?;
        assert_eq!(nodes[1].merge(all, 3700)?, []);
        Ok(())
    }

    #[test]
    fn everything_is_told_in_turn() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut denials = Denials::load(folder.path())?;
        assert_eq!(denials.next_part(), []);
        let told = (0..1000_u32).map(|number| DenialRecord {
            network: Network::of(std::net::Ipv4Addr::from(number << 8).into(), 24),
            version: 1,
            verdict: Verdict::Denied {
                since_unix_s: 0,
                until_unix_s: None,
            },
        });
        denials.merge(told.collect(), 0)?;
        let turn: Vec<_> = (0..3).flat_map(|_| denials.next_part()).collect();
        assert_eq!(turn, denials.records());
        assert_eq!(denials.next_part()[0], turn[0], "and from the beginning");
        Ok(())
    }

    #[test]
    fn a_file_of_before_they_were_told_to_peers_is_read() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let text = r#"[{"network": "192.0.2.1/32", "since_unix_s": 7, "until_unix_s": null}]"#;
        fs::write(folder.path().join("denials.json"), text)?;
        let mut denials = Denials::load(folder.path())?;
        assert_eq!(denials.iter().count(), 1);
        assert!(denials.release(network("192.0.2.1"), SECOND)?.is_some());
        Ok(())
    }

    #[test]
    fn what_cannot_be_kept_does_not_count() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let state = folder.path().join("state");
        let mut denials = Denials::load(&state)?;
        // A file where the folder should be.
        fs::write(&state, "")?;
        assert!(denials.deny(network("192.0.2.1"), FOREVER, 1).is_err());
        assert!(denials.is_empty());
        Ok(())
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_refused_by_name() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        for text in [
            "{",
            r#"[{"network": "nonsense", "since_unix_s": 0, "until_unix_s": null}]"#,
        ] {
            fs::write(folder.path().join("denials.json"), text)?;
            let error = Denials::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains("denials.json"), "{error}");
        }
        Ok(())
    }
}
