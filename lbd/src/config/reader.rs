//! Reads typed values out of the located tree and collects every mistake on the way.
//!
//! A value that is wrong is reported once and replaced by its default, so that what comes after it
//! is still read. The keys that a [`Table`] was asked for are the keys it knows: any other is an
//! error with the nearest known one.
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::Hash,
};

use super::{
    error::{ConfigError, Place},
    source::{Complaint, Source},
    suggest,
    yaml::{Key, Located, Value},
};

/// Mistakes that are reported; what comes after them is only counted.
pub(super) const MAX_ERRORS: usize = 100;

/// What is shared while a file is read.
#[derive(Debug)]
pub(super) struct Reader {
    source: RefCell<Source>,
    errors: RefCell<Vec<ConfigError>>,
    unreported: Cell<usize>,
    /// Keys that stand under a misspelt name: what is read of them is not what was meant.
    misspelt: RefCell<Vec<String>>,
}

impl Reader {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source: RefCell::new(source),
            errors: RefCell::default(),
            unreported: Cell::new(0),
            misspelt: RefCell::default(),
        }
    }

    /// The whole file as a table; an error when it is none.
    pub(super) fn root<'a>(&'a self, root: &'a Located) -> Table<'a> {
        self.table_of(String::new(), root)
    }

    /// Reports a mistake at a key.
    pub(super) fn complain(&self, path: &str, complaint: Complaint) {
        let error = self.warning(path, complaint);
        self.push(error);
    }

    /// What [`Self::complain`] would report, without reporting it.
    pub(super) fn warning(&self, path: &str, complaint: Complaint) -> ConfigError {
        self.source.borrow().error(path, complaint)
    }

    /// Reports a mistake at a key unless there is one already at it, above it or below it: a
    /// value that could not be read must not be judged a second time.
    pub(super) fn complain_once(&self, path: &str, complaint: Complaint) {
        if !self.is_doubtful(path) {
            self.complain(path, complaint);
        }
    }

    /// Whether a mistake was found at the key, above it or below it.
    pub(super) fn is_doubtful(&self, path: &str) -> bool {
        let related = |other: &str| is_below(other, path) || is_below(path, other);
        self.errors
            .borrow()
            .iter()
            .any(|error| related(&error.path))
            || self.misspelt.borrow().iter().any(|key| related(key))
    }

    /// Whether the file has the key.
    pub(super) fn is_given(&self, path: &str) -> bool {
        self.source.borrow().places.contains_key(path)
    }

    pub(super) fn finish(self) -> (Source, Vec<ConfigError>) {
        let mut errors = self.errors.into_inner();
        // Stable: two mistakes at one place stay in the order they were found.
        errors.sort_by_key(|error| error.place);
        let source = self.source.into_inner();
        let unreported = self.unreported.get();
        if unreported > 0 {
            let complaint = Complaint::new(
                format!("and {unreported} more errors"),
                "fix those above, then check again",
            );
            errors.push(source.error_at(None, "", complaint));
        }
        (source, errors)
    }

    fn complain_at(&self, place: Place, path: &str, complaint: Complaint) {
        let error = self.source.borrow().error_at(Some(place), path, complaint);
        self.push(error);
    }

    fn is_full(&self) -> bool {
        self.errors.borrow().len() >= MAX_ERRORS
    }

    fn push(&self, error: ConfigError) {
        let mut errors = self.errors.borrow_mut();
        if errors.len() < MAX_ERRORS {
            errors.push(error);
        } else {
            self.unreported.set(self.unreported.get() + 1);
        }
    }

    fn note(&self, path: &str, place: Place) {
        self.source
            .borrow_mut()
            .places
            .insert(path.to_owned(), place);
    }

    fn table_of<'a>(&'a self, path: String, node: &'a Located) -> Table<'a> {
        self.note(&path, node.place);
        let mut entries: Vec<(&Key, &Located)> = Vec::new();
        let mut first_lines: HashMap<&str, u32> = HashMap::new();
        match &node.value {
            Value::Map(map) => {
                for (key, value) in map {
                    if let Some(line) = first_lines.get(key.name.as_str()) {
                        self.complain_at(
                            key.place,
                            &join(&path, &suggest::shortened(&key.name)),
                            Complaint::new(
                                "the key is given twice",
                                format!("keep one; the first is on line {line}"),
                            ),
                        );
                    } else {
                        first_lines.insert(&key.name, key.place.line);
                        entries.push((key, value));
                    }
                }
            }
            other => self.complain_at(
                node.place,
                &path,
                Complaint::new(
                    format!("{} where keys are expected", kind(other)),
                    match path.as_str() {
                        "" => "start with `node:` and `cluster:`, their keys below them",
                        _ => "write `key: value` lines below it",
                    },
                ),
            ),
        }
        Table {
            reader: self,
            path,
            present: matches!(node.value, Value::Map(_)),
            entries,
            asked: Vec::new(),
            missing: Vec::new(),
        }
    }
}

/// A table of the file: `key: value` lines.
#[derive(Debug)]
pub(super) struct Table<'a> {
    reader: &'a Reader,
    path: String,
    /// Whether the file has a table here. If not, that was reported, and its missing keys need no report.
    present: bool,
    entries: Vec<(&'a Key, &'a Located)>,
    asked: Vec<&'static str>,
    missing: Vec<(&'static str, &'static str)>,
}

impl<'a> Table<'a> {
    /// The path of a key of this table.
    pub(super) fn path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Whether the key is given at all, be it without a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(k, _)| k.name == key)
    }

    /// Whether the key is given with a value.
    pub(super) fn has_value(&self, key: &str) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|(k, node)| k.name == key && !matches!(node.value, Value::Null))
    }

    /// Reports a mistake at a key of this table.
    pub(super) fn complain(&self, key: &str, complaint: Complaint) {
        self.reader.complain(&self.path(key), complaint);
    }

    /// A value, or `default` when it is not given or wrong.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> T {
        let Some(node) = self.find(key) else {
            return default;
        };
        self.scalar(&self.path(key), node, read).unwrap_or(default)
    }

    /// A value that may be `null`; `default` when the key is not given.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        default: Option<T>,
        read: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<T> {
        let Some(node) = self.find(key) else {
            return default;
        };
        if matches!(node.value, Value::Null) {
            self.reader.note(&self.path(key), node.place);
            return None;
        }
        self.scalar(&self.path(key), node, read)
    }

    /// A value that must be given; `None` after a mistake, which was reported.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &'static str,
        read: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<T> {
        let Some(node) = self.find(key) else {
            self.missing(key, example);
            return None;
        };
        self.scalar(&self.path(key), node, read)
    }

    /// Reports a list that is not given; to be read next.
    pub(super) fn required_list(&mut self, key: &'static str, example: &'static str) -> &mut Self {
        if !self.has(key) {
            self.missing(key, example);
        }
        self
    }

    /// A list of values, or `None` when the key is not given; values that are wrong are left out.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, Complaint>,
    ) -> Option<Vec<T>> {
        let path = self.path(key);
        let items = self.items(key)?.into_iter().enumerate();
        let read = |(i, node)| self.scalar(&format!("{path}[{i}]"), node, &read);
        Some(items.filter_map(read).collect())
    }

    /// The same for values of which each may be given once. `identity` is what must differ.
    pub(super) fn unique_list<T, K: Eq + Hash>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, Complaint>,
        identity: impl Fn(&T) -> K,
    ) -> Option<Vec<T>> {
        let path = self.path(key);
        let mut values = Vec::new();
        let mut first_lines: HashMap<K, u32> = HashMap::new();
        for (i, node) in self.items(key)?.into_iter().enumerate() {
            let path = format!("{path}[{i}]");
            let Some(value) = self.scalar(&path, node, &read) else {
                continue;
            };
            let id = identity(&value);
            if let Some(line) = first_lines.get(&id) {
                let complaint = Complaint::new(
                    "it is given twice",
                    format!("remove it; the first is on line {line}"),
                );
                self.reader.complain_at(node.place, &path, complaint);
            } else {
                first_lines.insert(id, node.place.line);
                values.push(value);
            }
        }
        Some(values)
    }

    /// A table below this one; an empty one when the key is not given.
    pub(super) fn table(&mut self, key: &'static str) -> Table<'a> {
        let path = self.path(key);
        match self.find(key) {
            Some(node) => self.reader.table_of(path, node),
            None => Table {
                reader: self.reader,
                path,
                present: true,
                entries: Vec::new(),
                asked: Vec::new(),
                missing: Vec::new(),
            },
        }
    }

    /// A table that must be given.
    pub(super) fn required_table(
        &mut self,
        key: &'static str,
        example: &'static str,
    ) -> Option<Table<'a>> {
        if !self.has(key) {
            self.missing(key, example);
            return None;
        }
        Some(self.table(key))
    }

    /// A list of tables, or `None` when the key is not given.
    pub(super) fn tables(&mut self, key: &'static str) -> Option<Vec<Table<'a>>> {
        let path = self.path(key);
        let items = self.items(key)?.into_iter().enumerate();
        let table = |(i, node)| self.reader.table_of(format!("{path}[{i}]"), node);
        Some(items.map(table).collect())
    }

    /// Notes that a key must be given; [`Self::finish`] reports it.
    pub(super) fn missing(&mut self, key: &'static str, example: &'static str) {
        self.missing.push((key, example));
    }

    /// Reports nothing of this table but that a key must be given.
    pub(super) fn missing_alone(mut self, key: &'static str, example: &'static str) {
        self.entries.clear();
        self.missing = vec![(key, example)];
        self.finish();
    }

    /// Reports unknown keys and missing ones. A missing key that is
    /// there under a misspelt name is one mistake.
    pub(super) fn finish(mut self) {
        for (key, _) in &self.entries {
            if self.asked.contains(&key.name.as_str()) {
                continue;
            }
            // Beyond what is reported the slow search would be wasted.
            let nearest = (!self.reader.is_full())
                .then(|| suggest::nearest(&key.name, &self.asked))
                .flatten();
            let hint = match nearest {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            if let Some(meant) = nearest {
                self.missing.retain(|(missing, _)| *missing != meant);
                let meant = self.path(meant);
                self.reader.misspelt.borrow_mut().push(meant);
            }
            let path = self.path(&suggest::shortened(&key.name));
            let complaint = Complaint::new("unknown key", hint);
            self.reader.complain_at(key.place, &path, complaint);
        }
        if !self.present {
            return;
        }
        for (key, example) in &self.missing {
            let hint = format!("add it, for example `{key}: {example}`");
            self.complain(key, Complaint::new("it is required", hint));
        }
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Located> {
        self.asked.push(key);
        let (_, node) = self.entries.iter().find(|(k, _)| k.name == key)?;
        Some(node)
    }

    fn items(&mut self, key: &'static str) -> Option<Vec<&'a Located>> {
        let node = self.find(key)?;
        let path = self.path(key);
        self.reader.note(&path, node.place);
        match &node.value {
            Value::List(items) => Some(items.iter().collect()),
            other => {
                self.reader.complain_at(
                    node.place,
                    &path,
                    Complaint::new(
                        format!("{} where a list is expected", kind(other)),
                        "write `[first, second]`, or one `- value` a line",
                    ),
                );
                Some(Vec::new())
            }
        }
    }

    fn scalar<T>(
        &self,
        path: &str,
        node: &Located,
        read: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<T> {
        self.reader.note(path, node.place);
        let result = match &node.value {
            Value::Text(text) => read(text),
            Value::Null => Err(Complaint::new(
                "it has no value",
                "give one, or remove the line for the default",
            )),
            other => Err(Complaint::new(
                format!("{} where a single value is expected", kind(other)),
                "write one value after the colon",
            )),
        };
        result
            .map_err(|complaint| self.reader.complain_at(node.place, path, complaint))
            .ok()
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Text(_) => "a single value",
        Value::List(_) => "a list",
        Value::Map(_) => "a table",
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Whether `path` is `above` or a key below it.
fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || above.is_empty() || rest.starts_with(['.', '[']))
}
