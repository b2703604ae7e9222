//! The configuration that runs, and what became of an edit.
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::{
    config::{self, Config, ConfigError},
    daemon::{
        clock,
        cluster::{channel, push},
        observe::{
            recent::{Kind, Severity},
            record::Observed,
        },
    },
    host,
    push::Version,
};

/// The configuration that runs.
#[derive(Debug)]
pub(in crate::daemon) struct Running {
    pub(in crate::daemon) config: Config,
    /// The file that it was read from.
    pub(in crate::daemon) path: PathBuf,
    pub(in crate::daemon) loaded_unix_s: u64,
    /// Why the file as it is now does not run.
    pub(in crate::daemon) refused: Option<String>,
    /// What this node was given last.
    pub(in crate::daemon) version: Option<Version>,
}

impl Running {
    pub(in crate::daemon) fn new(path: &Path, config: Config) -> Self {
        Self {
            config,
            path: path.to_owned(),
            loaded_unix_s: clock::unix_s(),
            refused: None,
            version: None,
        }
    }

    /// Reads the file, which was edited. Returns what it says, if that is new and can be taken over; else
    /// it says why not.
    pub(in crate::daemon) fn read_edited(&mut self, observed: &mut Observed) -> Option<Config> {
        match read(&self.path, &self.config) {
            Ok(new) => {
                self.refused = None;
                (new != self.config).then_some(new)
            }
            Err(Refused { whole, refused }) => {
                if self.refused.as_ref() != Some(&refused) {
                    warn!(
                        "the edited configuration was refused; the previous one stays in use:\n{whole}"
                    );
                    let said = format!("an edit was refused: {refused}");
                    observed.note(Kind::Config, None, said);
                }
                self.refused = Some(refused);
                None
            }
        }
    }

    /// The edited configuration is in use.
    pub(in crate::daemon) fn is_taken_over(&mut self, observed: &mut Observed) {
        self.loaded_unix_s = clock::unix_s();
        let said = "the edited configuration is in use";
        observed.happened(Severity::Info, Kind::Config, None, said);
    }

    /// Who this node is to a peer that pushes.
    pub(in crate::daemon) fn identity(&self) -> Option<push::Identity> {
        let own = self.config.node.channel?;
        Some(push::Identity {
            name: channel::own_name(&self.config, own),
            keys: self.config.keys()?.clone(),
        })
    }

    /// What a push needs to know of this node. `master`: its name; `is_master`: whether it is this node.
    pub(in crate::daemon) fn push_context(
        &self,
        is_master: bool,
        master: Option<String>,
    ) -> push::PushContext {
        push::PushContext {
            running: self.config.clone(),
            path: self.path.clone(),
            refused: self.refused.clone(),
            not_master: (!is_master).then(|| {
                let master = master.map_or("no master is known".to_owned(), |name| {
                    format!("{name} is: push there")
                });
                format!("this node is not the master; {master}")
            }),
        }
    }
}

/// Why an edited file is not taken over, for a person.
struct Refused {
    /// With the lines that are wrong: for the log, which only those who administer the box may read.
    whole: String,
    /// Without them: for the status, which strangers may ask for.
    refused: String,
}

/// Reads the edited file.
fn read(path: &std::path::Path, running: &Config) -> Result<Config, Refused> {
    let mut new = Config::load(path).map_err(|mistakes| {
        let without: Vec<ConfigError> = mistakes.iter().map(ConfigError::without_line).collect();
        Refused {
            whole: sentences(&mistakes),
            refused: sentences(&without),
        }
    })?;
    // Without an answer the names stay as they are written.
    if let Ok(facts) = host::facts(&new) {
        config::name_interfaces(&mut new, &facts);
    }
    new.fits_after(running).map_err(|refused| Refused {
        whole: refused.clone(),
        refused,
    })?;
    Ok(new)
}

fn sentences(mistakes: &[ConfigError]) -> String {
    mistakes
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
