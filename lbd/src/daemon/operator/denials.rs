//! Sources that an operator denied by hand, kept in `node.state_dir` so that a restart forgets none, and
//! told to every node so that a failover forgets none.
use std::{collections::BTreeMap, io, path::Path};

use serde::{Deserialize, Serialize};

use super::latest::{Latest, Value, Versioned};
use crate::{
    channel::{DenialRecord, Verdict},
    config::Network,
};

/// How many there may be: a list of this kind is written by people. Longer ones belong into
/// `access.deny_file`.
pub(in crate::daemon) const MOST: usize = 10_000;
/// What the files of denials hold, for the sentence on one that cannot be read.
pub(super) const CONTENT: &str = "the sources denied by hand";
/// How many are told again at a time: some ten datagrams for each peer.
const PART: usize = 400;
/// How long the end of a denial is remembered, so that a node that was away does not bring it back.
const REMEMBERED_S: u64 = 30 * 86_400;

/// The denials by hand. One that was taken back is remembered for a while.
#[derive(Debug)]
pub(in crate::daemon) struct Denials {
    latest: Latest<Option<Denial>>,
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

/// Whether a denial has ended, or was taken back long enough ago to be forgotten. The version is in
/// nanoseconds since 1970, or more.
fn is_over(last: Versioned<Option<Denial>>, now_unix_s: u64) -> bool {
    let end = match last.value {
        Some(denial) => denial.until_unix_s,
        None => Some(last.version / 1_000_000_000 + REMEMBERED_S),
    };
    end.is_some_and(|end| end <= now_unix_s)
}

/// An entry of the file.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::daemon) struct Entry {
    network: String,
    #[serde(default)]
    version: u64,
    since_unix_s: u64,
    until_unix_s: Option<u64>,
    #[serde(default)]
    released: bool,
}

impl Entry {
    fn of(network: Network, last: Versioned<Option<Denial>>) -> Self {
        Self {
            network: network.to_string(),
            version: last.version,
            since_unix_s: last.value.map_or(0, |denial| denial.since_unix_s),
            until_unix_s: last.value.and_then(|denial| denial.until_unix_s),
            released: last.value.is_none(),
        }
    }

    fn last(&self) -> Versioned<Option<Denial>> {
        Versioned {
            version: self.version,
            value: (!self.released).then_some(Denial {
                since_unix_s: self.since_unix_s,
                until_unix_s: self.until_unix_s,
            }),
        }
    }
}

impl Value for Option<Denial> {
    type Key = Network;
    type File = Vec<Entry>;

    const RELEASED: Self = None;
    const CONTENT: &str = CONTENT;

    fn to_file(all: &BTreeMap<Network, Versioned<Self>>) -> Vec<Entry> {
        let entry = |(network, last): (&Network, &Versioned<Self>)| Entry::of(*network, *last);
        all.iter().map(entry).collect()
    }

    fn of_file(file: Vec<Entry>) -> Result<BTreeMap<Network, Versioned<Self>>, String> {
        let one = |entry: Entry| match entry.network.parse() {
            Ok(network) => Ok((network, entry.last())),
            Err(error) => Err(format!("{}: {error}", entry.network)),
        };
        file.into_iter().map(one).collect()
    }
}

impl Denials {
    /// Reads what an earlier run left.
    pub(in crate::daemon) fn load(state_dir: &Path) -> io::Result<Self> {
        Ok(Self {
            latest: Latest::load(state_dir.join("denials.json"))?,
            told: None,
        })
    }

    /// Every denial, in the order of addresses.
    pub(in crate::daemon) fn iter(&self) -> impl Iterator<Item = (Network, Denial)> {
        self.latest
            .iter()
            .filter_map(|(network, last)| Some((*network, last.value?)))
    }

    /// Whether nothing is denied by hand, and nothing was lately.
    pub(in crate::daemon) fn is_empty(&self) -> bool {
        self.latest.is_empty()
    }

    /// Denies a network, anew when it is denied already; it counts once it is on disk. The record is
    /// for the peers.
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
        let known = self.latest.get(&network);
        if known.is_none_or(|known| known.value.is_none()) {
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
        self.latest.set([(network, denial)], now_unix_ns)?;
        Ok(record(network, self.latest[&network]))
    }

    /// Takes the later words of a peer. Returns the networks that are denied otherwise now.
    ///
    /// What is over on this clock does not come back from a slower one. Beyond twice what people may
    /// write, the ends of former ones included, nothing new is taken.
    pub(in crate::daemon) fn merge(
        &mut self,
        told: Vec<DenialRecord>,
        now_unix_s: u64,
    ) -> io::Result<Vec<Network>> {
        let told = told.into_iter().map(|record| {
            let value = match record.verdict {
                Verdict::Released => None,
                Verdict::Denied {
                    since_unix_s,
                    until_unix_s,
                } => Some(Denial {
                    since_unix_s,
                    until_unix_s,
                }),
            };
            let version = record.version;
            (record.network, Versioned { version, value })
        });
        self.latest.merge(told, |all, network, last| {
            all.contains_key(network) || all.len() < 2 * MOST && !is_over(last, now_unix_s)
        })
    }

    /// All of it, for a peer that has just come.
    pub(in crate::daemon) fn records(&self) -> Vec<DenialRecord> {
        let all = self.latest.iter();
        all.map(|(network, last)| record(*network, *last)).collect()
    }

    /// The next few of all in turn, for all peers, one of which may have missed them.
    pub(in crate::daemon) fn next_part(&mut self) -> Vec<DenialRecord> {
        let next = self.latest.after(self.told.as_ref()).take(PART);
        let part: Vec<_> = next
            .map(|(network, last)| record(*network, *last))
            .collect();
        // Fewer than asked for: the end was reached, and the next turn begins anew.
        let is_end = part.len() < PART;
        self.told = part.last().filter(|_| !is_end).map(|record| record.network);
        part
    }

    /// Forgets the denials that are over; returns them.
    pub(in crate::daemon) fn expire(&mut self, now_unix_s: u64) -> io::Result<Vec<Network>> {
        let over = self.latest.retain(|last| !is_over(last, now_unix_s))?;
        let denied = over.into_iter().filter(|(_, last)| last.value.is_some());
        Ok(denied.map(|(network, _)| network).collect())
    }
}

fn record(network: Network, last: Versioned<Option<Denial>>) -> DenialRecord {
    DenialRecord {
        network,
        version: last.version,
        verdict: match last.value {
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

#[cfg(test)]
mod tests {
    use std::fs;

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
