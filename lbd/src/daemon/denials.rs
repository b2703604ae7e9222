//! Sources that an operator denied by hand, kept in `node.state_dir`.
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::config::Network;

/// How many there may be: a list of this kind is written by people. Longer ones belong into
/// `access.deny_file`.
pub(super) const MOST: usize = 10_000;

/// The denials by hand, and the file they are kept in.
#[derive(Debug)]
pub(super) struct Denials {
    file: PathBuf,
    by_network: BTreeMap<Network, Denial>,
}

/// Since when, and until when. Seconds since 1970: a reboot must not lengthen them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Denial {
    pub(super) since_unix_s: u64,
    /// `None`: until it is taken back.
    pub(super) until_unix_s: Option<u64>,
}

impl Denial {
    fn is_over(self, now_unix_s: u64) -> bool {
        self.until_unix_s.is_some_and(|until| until <= now_unix_s)
    }
}

/// An entry of the file.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    network: String,
    #[serde(flatten)]
    denial: Denial,
}

impl Denials {
    /// Reads what an earlier run left. A file that cannot be understood is an error: starting without
    /// it would admit whom somebody denied.
    pub(super) fn load(state_dir: &Path) -> io::Result<Self> {
        let file = state_dir.join("denials.json");
        let kept: Vec<Kept> = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| broken(&file, &error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let by_network = kept
            .into_iter()
            .map(|kept| match kept.network.parse() {
                Ok(network) => Ok((network, kept.denial)),
                Err(error) => Err(broken(&file, &error)),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { file, by_network })
    }

    /// Every denial, in the order of addresses.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Network, Denial)> {
        self.by_network
            .iter()
            .map(|(network, denial)| (*network, *denial))
    }

    pub(super) fn len(&self) -> usize {
        self.by_network.len()
    }

    /// Denies a network, anew when it is denied already; it counts once it is on disk.
    pub(super) fn deny(&mut self, network: Network, denial: Denial) -> io::Result<()> {
        let mut changed = self.by_network.clone();
        changed.insert(network, denial);
        if changed.len() > MOST {
            return Err(io::Error::other(format!(
                "{MOST} sources are denied by hand already; put longer lists into access.deny_file"
            )));
        }
        self.keep(changed)
    }

    /// Takes a denial back. False when there is none of exactly this network.
    pub(super) fn release(&mut self, network: Network) -> io::Result<bool> {
        let mut changed = self.by_network.clone();
        let known = changed.remove(&network).is_some();
        if known {
            self.keep(changed)?;
        }
        Ok(known)
    }

    /// Forgets the denials that are over; returns them.
    pub(super) fn expire(&mut self, now_unix_s: u64) -> io::Result<Vec<Network>> {
        let over: Vec<Network> = self
            .iter()
            .filter(|(_, denial)| denial.is_over(now_unix_s))
            .map(|(network, _)| network)
            .collect();
        if !over.is_empty() {
            let mut changed = self.by_network.clone();
            changed.retain(|_, denial| !denial.is_over(now_unix_s));
            self.keep(changed)?;
        }
        Ok(over)
    }

    /// Writes aside and renames, so that a crash leaves the old file or the new one.
    fn keep(&mut self, changed: BTreeMap<Network, Denial>) -> io::Result<()> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        let kept: Vec<Kept> = changed
            .iter()
            .map(|(network, denial)| Kept {
                network: network.to_string(),
                denial: *denial,
            })
            .collect();
        let aside = self.file.with_extension("json.new");
        let file = fs::File::create(&aside)?;
        let mut writer = io::BufWriter::new(&file);
        serde_json::to_writer_pretty(&mut writer, &kept)?;
        io::Write::flush(&mut writer)?;
        drop(writer);
        file.sync_all()?;
        fs::rename(&aside, &self.file)?;
        self.by_network = changed;
        Ok(())
    }
}

fn broken(file: &Path, error: &dyn std::fmt::Display) -> io::Error {
    let file = file.display();
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "{file} holds the sources denied by hand and cannot be read ({error}); mend it or remove it"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    const FOREVER: Denial = Denial {
        since_unix_s: 100,
        until_unix_s: None,
    };

    #[test]
    fn denials_survive_a_restart_and_end_at_their_time() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut denials = Denials::load(folder.path())?;
        let (a, b) = (network("198.51.100.0/24"), network("2001:db8::/32"));
        let an_hour = Denial {
            until_unix_s: Some(3700),
            ..FOREVER
        };
        denials.deny(a, an_hour)?;
        denials.deny(b, FOREVER)?;

        let mut again = Denials::load(folder.path())?;
        assert_eq!(
            again.iter().collect::<Vec<_>>(),
            [(a, an_hour), (b, FOREVER)]
        );
        assert_eq!(again.expire(3699)?, []);
        assert_eq!(again.expire(3700)?, [a]);
        assert!(again.release(b)? && !again.release(b)?);
        assert_eq!(Denials::load(folder.path())?.len(), 0);
        Ok(())
    }

    #[test]
    fn what_cannot_be_kept_does_not_count() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let state = folder.path().join("state");
        let mut denials = Denials::load(&state)?;
        // A file where the folder should be.
        fs::write(&state, "")?;
        assert!(denials.deny(network("192.0.2.1"), FOREVER).is_err());
        assert_eq!(denials.len(), 0);
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
