//! This node's own configuration: what is in its files, and whether it could be another one.
use std::{
    collections::BTreeMap,
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    PushContext,
    layout::{Layout, Target},
    store::Store,
};
use crate::{
    config::{self, Config, ConfigError, MAX_LIST_BYTES, MAX_TEXT_BYTES},
    daemon::clock,
    host,
    push::{Content, Difference, List, Piece, Record, Standing, Version},
};

/// What of this node's files is handed on.
#[derive(Debug)]
pub(super) struct Own {
    /// The cluster part.
    part: String,
    /// Each list by its path.
    lists: BTreeMap<PathBuf, Vec<u8>>,
}

impl Own {
    /// Reads it. The error is a sentence.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text =
            read(path, MAX_TEXT_BYTES)?.ok_or_else(|| format!("{} is gone", path.display()))?;
        let text = String::from_utf8(text).map_err(|_| format!("{} is no text", path.display()))?;
        let named = |why: &dyn Display| format!("{}: {why}", path.display());
        let part = config::cluster_part(&text).map_err(|error| named(&error))?;
        let config = Config::parse(&text, &path.display().to_string())
            .map_err(|mistakes| sentences(&mistakes))?;
        let mut lists = BTreeMap::new();
        for list in config.list_files() {
            let bytes = read(list, MAX_LIST_BYTES)?.ok_or_else(|| {
                format!(
                    "{}, which {} names, does not exist",
                    list.display(),
                    path.display()
                )
            })?;
            // A path may name any file of this box: only a list is handed to others.
            if !config::is_list(&bytes) {
                return Err(format!(
                    "{}, which {} names, is not a list of networks; `lbd check` says where",
                    list.display(),
                    path.display()
                ));
            }
            lists.insert(list.to_owned(), bytes);
        }
        Ok(Self { part, lists })
    }

    /// By digests.
    pub(super) fn content(&self) -> Content {
        let lists = self.lists.iter().map(|(path, bytes)| List {
            path: path.clone(),
            piece: Piece::of(bytes),
        });
        Content {
            cluster: Piece::of(self.part.as_bytes()),
            lists: lists.collect(),
        }
    }

    /// Keeps all of it.
    pub(super) fn keep(&self, store: &Store) -> Result<Content, String> {
        store.put(self.part.as_bytes())?;
        for bytes in self.lists.values() {
            store.put(bytes)?;
        }
        Ok(self.content())
    }
}

/// What this node has, for others.
pub(super) fn standing(context: &PushContext, version: Option<Version>) -> Standing {
    let own = Own::read(&context.path);
    Standing {
        version,
        digest: own.as_ref().ok().map(|own| own.content().digest()),
        trouble: context.refused.clone().or_else(|| own.err()),
    }
}

/// Keeps what this node has as version 0, so that there is something to go back to.
pub(super) fn keep_first(store: &mut Store, path: &Path, node: &str) -> Result<(), String> {
    let content = Own::read(path)?.keep(store)?;
    let record = Record {
        version: Version {
            number: 0,
            digest: content.digest(),
            by: "lbd".to_owned(),
            on: node.to_owned(),
            at_unix_s: clock::unix_s(),
            back_to: None,
        },
        content,
    };
    let layout = Layout::new(store, &record, &[])?;
    layout.commit(store).map(drop)
}

/// A version that is laid out, and the configuration that this node has with it.
#[derive(Debug)]
pub(super) struct Laid {
    pub(super) layout: Layout,
    pub(super) config: Config,
}

/// A version, checked against this node and laid out, and what it changes; or a sentence, and what it
/// would change as far as that is known.
pub(super) fn lay(
    store: &Store,
    record: &Record,
    context: &PushContext,
) -> (Result<Laid, String>, Vec<Difference>) {
    let mut differences = Vec::new();
    let laid = try_lay(store, record, context, &mut differences);
    (laid, differences)
}

fn try_lay(
    store: &Store,
    record: &Record,
    context: &PushContext,
    differences: &mut Vec<Difference>,
) -> Result<Laid, String> {
    let path = &context.path;
    let named = |why: &dyn Display| format!("{}: {why}", path.display());
    let text = read(path, MAX_TEXT_BYTES)?.ok_or_else(|| named(&"it is gone"))?;
    let text = String::from_utf8(text).map_err(|_| named(&"it is no text"))?;
    let part = String::from_utf8(store.read(&record.content.cluster)?)
        .map_err(|_| "the offered cluster part is not text".to_owned())?;
    if let Ok(own) = config::cluster_part(&text) {
        differences.extend(Difference::of_cluster(&own, &part));
    }
    let merged = config::with_cluster_part(&text, &part).map_err(|error| named(&error))?;

    let mut lists = BTreeMap::new();
    let mut targets = Vec::new();
    for list in &record.content.lists {
        let bytes = store.read(&list.piece)?;
        let now = read(&list.path, MAX_LIST_BYTES)?;
        if now.as_ref() != Some(&bytes) {
            let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (old, new) = (now.as_deref().map(lossy), lossy(&bytes));
            let shown = list.path.display().to_string();
            differences.extend(Difference::of_list(&shown, old.as_deref(), &new));
            let is_ours = context.running.list_files().contains(&list.path.as_path());
            if now.is_some_and(|now| !is_ours && !config::is_list(&now)) {
                return Err(format!(
                    "{shown} exists and is not a list of networks, so it is not overwritten; move it away"
                ));
            }
            targets.push(Target {
                path: list.path.clone(),
                bytes: bytes.clone(),
            });
        }
        lists.insert(list.path.clone(), bytes);
    }
    let offered = |path: &Path| lists.get(path).cloned();
    let mut config = Config::load_offered(&merged, &path.display().to_string(), &offered)
        .map_err(|mistakes| sentences(&mistakes))?;
    let mut named_lists: Vec<&Path> = config.list_files();
    named_lists.sort_unstable();
    if !named_lists
        .iter()
        .copied()
        .eq(lists.keys().map(PathBuf::as_path))
    {
        return Err("the offered lists are not those that its cluster part names".to_owned());
    }
    let mut facts =
        host::facts(&config).map_err(|error| format!("cannot inspect this box: {error}"))?;
    config::name_interfaces(&mut config, &facts);
    // What is not there yet is waited for by the daemon.
    let waited_for = context.running.node.interfaces.iter().cloned();
    facts.interfaces.extend(waited_for);
    let mistakes = config::check_host(&config, &facts);
    if !mistakes.is_empty() {
        return Err(sentences(&mistakes));
    }
    config.fits_after(&context.running)?;
    if merged != text {
        // The lists first: a reload in between finds every list that the file names.
        targets.push(Target {
            path: path.clone(),
            bytes: merged.into_bytes(),
        });
    }
    let layout = Layout::new(store, record, &targets)?;
    Ok(Laid { layout, config })
}

fn sentences(mistakes: &[ConfigError]) -> String {
    let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    mistakes.join("\n")
}

/// A regular file's bytes; `None` when there is none.
fn read(path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, String> {
    let failed = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    match fs::metadata(path) {
        // A pipe or a device would be waited for.
        Ok(metadata) if !metadata.is_file() => {
            Err(format!("{} is not a regular file", path.display()))
        }
        Ok(metadata) if metadata.len() > max_bytes => Err(format!(
            "{} is larger than {max_bytes} bytes",
            path.display()
        )),
        Ok(_) => fs::read(path).map(Some).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}
