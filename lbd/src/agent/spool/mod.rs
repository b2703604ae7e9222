//! How many messages are queued, by counting directory entries.
//!
//! No program is started, and no file opened but those of Exim's young messages: `postqueue -j` takes
//! seconds at 30,000 messages, this takes milliseconds. The folders belong to the mail system, so the agent needs to be root or have
//! `CAP_DAC_READ_SEARCH`.

mod exim;
mod postfix;
mod sendmail;

use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fmt, io};

/// A mail system whose spool can be counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MailSystem {
    /// Below `/var/spool/postfix`.
    Postfix,
    /// Below `/var/spool/exim4` or `/var/spool/exim`.
    Exim,
    /// `/var/spool/mqueue`.
    Sendmail,
}

impl MailSystem {
    const ALL: [Self; 3] = [Self::Postfix, Self::Exim, Self::Sendmail];

    /// Its name in the config, in `--spool` and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postfix => "postfix",
            Self::Exim => "exim",
            Self::Sendmail => "sendmail",
        }
    }

    /// Where its spool usually is.
    #[must_use]
    pub fn usual_places(self) -> &'static [&'static str] {
        match self {
            Self::Postfix => &["/var/spool/postfix"],
            Self::Exim => &["/var/spool/exim4", "/var/spool/exim"],
            Self::Sendmail => &["/var/spool/mqueue"],
        }
    }

    /// Whether a folder looks like its spool.
    fn fits(self, spool: &Path) -> bool {
        match self {
            Self::Postfix => spool.join("active").is_dir(),
            Self::Exim => spool.join("input").is_dir(),
            Self::Sendmail => spool.is_dir(),
        }
    }

    /// Whether a folder in a usual place may be its spool, when none [fits](Self::fits): Exim makes
    /// `input` with its first message.
    fn may_fit(self, spool: &Path) -> bool {
        self == Self::Exim && spool.is_dir()
    }

    /// Whose spool a folder looks like. A Sendmail queue has nothing to recognize it by.
    #[must_use]
    pub fn of(spool: &Path) -> Option<Self> {
        let mut recognizable = [Self::Postfix, Self::Exim].into_iter();
        recognizable.find(|system| system.fits(spool))
    }

    /// Its spool in the first usual place that there is.
    #[must_use]
    pub fn usual_spool(self) -> Spool {
        let places = || self.usual_places().iter().map(Path::new);
        let path = places()
            .find(|path| self.fits(path))
            .or_else(|| places().find(|path| self.may_fit(path)))
            .or(places().next());
        Spool {
            system: self,
            path: path.unwrap_or(Path::new("/")).to_owned(),
        }
    }
}

/// One spool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spool {
    /// Whose.
    pub system: MailSystem,
    /// Its top folder.
    pub path: PathBuf,
}

impl Spool {
    /// The first that is in its usual place.
    #[must_use]
    pub fn of_this_box() -> Option<Self> {
        let usual = || MailSystem::ALL.into_iter().map(MailSystem::usual_spool);
        usual()
            .find(|spool| spool.system.fits(&spool.path))
            .or_else(|| usual().find(|spool| spool.system.may_fit(&spool.path)))
    }
}

/// Which spools to count.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Choice {
    /// The first that is in its usual place: Postfix, Exim, Sendmail.
    #[default]
    Auto,
    /// There is none: the queue is always 0.
    None,
    /// All of these, summed: a box may run several Postfix instances.
    These(Vec<Spool>),
}

/// Why a text names no spool.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SpoolError {
    /// The part before the colon.
    #[error("{0} is not one of postfix, exim, sendmail")]
    System(String),
    /// A folder without a mail system, of which nothing shows whose it is.
    #[error(
        "{0} has neither active/ (Postfix) nor input/ (Exim): write sendmail:{0} if it is a Sendmail queue"
    )]
    Unrecognized(String),
}

/// `postfix:/var/spool/postfix-in`, `exim` for its usual place, or a folder that shows whose it is.
impl FromStr for Spool {
    type Err = SpoolError;

    fn from_str(text: &str) -> Result<Self, SpoolError> {
        let system = |name: &str| {
            MailSystem::ALL
                .into_iter()
                .find(|system| system.name() == name)
        };
        if text.starts_with('/') {
            let path = PathBuf::from(text);
            return match MailSystem::of(&path) {
                Some(system) => Ok(Self { system, path }),
                None => Err(SpoolError::Unrecognized(text.to_owned())),
            };
        }
        let (name, path) = match text.split_once(':') {
            Some((name, path)) => (name, Some(path)),
            None => (text, None),
        };
        let system = system(name).ok_or_else(|| SpoolError::System(name.to_owned()))?;
        Ok(match path {
            Some(path) => Self {
                system,
                path: PathBuf::from(path),
            },
            None => system.usual_spool(),
        })
    }
}

/// Messages in a spool.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Counts {
    queued: u64,
    /// `None` where the names of the entries do not tell.
    deferred: Option<u64>,
}

/// What counting all spools gave.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Queues {
    /// `None` when no spool was found or one could not be read.
    pub(super) queued: Option<u64>,
    pub(super) deferred: Option<u64>,
    /// Whose spools; the first one's.
    pub(super) mta: Option<&'static str>,
    /// What was not found or not read.
    pub(super) notes: Vec<String>,
}

/// Counts. `now_unix_s` is seconds since 1970.
pub(super) fn count(choice: &Choice, now_unix_s: u64) -> Queues {
    let found;
    let spools = match choice {
        Choice::None => {
            return Queues {
                queued: Some(0),
                deferred: Some(0),
                ..Queues::default()
            };
        }
        Choice::These(spools) => spools.as_slice(),
        Choice::Auto => {
            found = Spool::of_this_box();
            found.as_slice()
        }
    };
    let mut queues = Queues {
        mta: spools.first().map(|spool| spool.system.name()),
        ..Queues::default()
    };
    if spools.is_empty() {
        queues
            .notes
            .push("no Postfix, Exim or Sendmail spool in the usual place".to_owned());
        return queues;
    }
    let mut sum = Counts::default();
    for spool in spools {
        match count_one(spool, now_unix_s) {
            Ok(counts) => {
                sum.queued += counts.queued;
                if let Some(deferred) = counts.deferred {
                    sum.deferred = Some(sum.deferred.unwrap_or(0) + deferred);
                }
            }
            Err(error) => queues.notes.push(error.to_string()),
        }
    }
    // Half a queue would look like a fast box.
    if queues.notes.is_empty() {
        queues.queued = Some(sum.queued);
        queues.deferred = sum.deferred;
    }
    queues
}

fn count_one(spool: &Spool, now_unix_s: u64) -> Result<Counts, ReadError> {
    match spool.system {
        MailSystem::Postfix => postfix::count(&spool.path),
        MailSystem::Exim => exim::count(&spool.path, now_unix_s),
        MailSystem::Sendmail => sendmail::count(&spool.path),
    }
}

/// A folder that could not be read.
#[derive(Debug)]
struct ReadError {
    path: PathBuf,
    error: io::Error,
}

impl ReadError {
    fn new(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        Self { path, error }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, error } = self;
        write!(f, "cannot read {}: {error}", path.display())?;
        if error.kind() == io::ErrorKind::PermissionDenied {
            f.write_str(" (the agent needs root or CAP_DAC_READ_SEARCH)")?;
        }
        Ok(())
    }
}

/// Calls `each` for every file below `folder`, down to `depth` levels of folders. Links to folders are
/// followed, as the mail system does: a hashed queue may lie on several disks.
///
/// A folder below that vanishes meanwhile, as hashed queues may, counts as empty. What else cannot be
/// read is an error.
fn walk(folder: &Path, depth: u32, each: &mut impl FnMut(&DirEntry)) -> Result<(), ReadError> {
    let failed = |error| ReadError::new(folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // From the directory entry itself on every file system in use: no stat.
        let kind = entry
            .file_type()
            .map_err(|error| ReadError::new(&entry.path(), error))?;
        let is_link = kind.is_symlink();
        let is_folder = if is_link {
            is_folder_behind(&entry.path())?
        } else {
            kind.is_dir()
        };
        if kind.is_file() {
            each(&entry);
        } else if is_folder && depth > 0 {
            match walk(&entry.path(), depth - 1, each) {
                Err(gone) if gone.error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
    }
    Ok(())
}

/// Whether a link leads to a folder. One that leads nowhere is said: what belongs there is not counted.
fn is_folder_behind(link: &Path) -> Result<bool, ReadError> {
    let target = fs::metadata(link).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::other("it is a link to nowhere"),
        _ => error,
    });
    target
        .map(|target| target.is_dir())
        .map_err(|error| ReadError::new(link, error))
}

#[cfg(test)]
mod tests;
