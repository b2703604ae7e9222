//! What differs between two configurations, and what a running daemon can take over.
use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use super::Config;

/// Keys that are read at the start only: a running daemon refuses a file that changes one.
const AT_START: [&str; 11] = [
    "node.name",
    "node.interfaces",
    "node.priority",
    "node.xdp",
    "node.flows",
    "node.pin_dir",
    "node.state_dir",
    "node.control",
    "node.http",
    "node.http_names",
    "node.channel",
];

/// The difference between two configurations, key by key in the order of their names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes(Vec<Change>);

/// A key whose value differs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// `cluster.sites[dallas].backends[mx2].weight`: sites and backends stand under their names.
    pub path: String,
    /// `None` when the key was not there.
    pub old: Option<String>,
    /// `None` when the key is gone.
    pub new: Option<String>,
}

impl Changes {
    /// What `new` changes of `old`.
    pub(super) fn between(old: &Config, new: &Config) -> Self {
        let (old, new) = (flat(old), flat(new));
        let paths = old
            .keys()
            .chain(new.keys().filter(|path| !old.contains_key(*path)));
        let change = |path: &String| {
            let (old, new) = (old.get(path), new.get(path));
            (old != new).then(|| Change {
                path: path.clone(),
                old: old.cloned(),
                new: new.cloned(),
            })
        };
        let mut changes: Vec<Change> = paths.filter_map(change).collect();
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        Self(changes)
    }

    /// Every change.
    #[must_use]
    pub fn all(&self) -> &[Change] {
        &self.0
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key or one below it differs: `cluster.access`.
    #[must_use]
    pub fn touches(&self, path: &str) -> bool {
        self.0.iter().any(|change| change.is_at(path))
    }

    /// The changes that a running daemon cannot take over.
    pub fn needing_restart(&self) -> impl Iterator<Item = &Change> {
        let at_start = |change: &&Change| AT_START.iter().any(|path| change.is_at(path));
        self.0.iter().filter(at_start)
    }
}

impl Change {
    fn is_at(&self, path: &str) -> bool {
        let rest = self.path.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "{}: {old} -> {new}", self.path),
            (None, Some(new)) => write!(f, "{}: added, {new}", self.path),
            (Some(old), None) => write!(f, "{}: removed, was {old}", self.path),
            (None, None) => f.write_str(&self.path),
        }
    }
}

/// Every single value by its path.
fn flat(config: &Config) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    // All of `Config` is plain data with text keys, which JSON always takes.
    if let Ok(json) = serde_json::to_value(config) {
        flatten(String::new(), &json, &mut values);
    }
    values
}

fn flatten(path: String, value: &Value, values: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let dot = if path.is_empty() { "" } else { "." };
                flatten(format!("{path}{dot}{key}"), value, values);
            }
        }
        Value::Array(items) if items.iter().all(Value::is_object) && !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                let name = item.get("name").and_then(Value::as_str);
                let name = name.map_or_else(|| i.to_string(), str::to_owned);
                flatten(format!("{path}[{name}]"), item, values);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            values.insert(path, format!("[{}]", items.join(", ")));
        }
        single => {
            values.insert(path, plain(single));
        }
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "node: {name: mx1, interfaces: [eth0]}\ncluster:\n  virtual_router_id: 51\n  \
                        virtual_addresses: [192.0.2.25/24]\n  sites:\n    - name: here\n      \
                        backends: [{name: mx1, address: 192.0.2.11}, {name: mx2, address: 192.0.2.12}]\n";

    fn changes(replace: &[(&str, &str)]) -> Changes {
        let new = replace
            .iter()
            .fold(TEXT.to_owned(), |text, (from, to)| text.replace(from, to));
        let parse = |text: &str| Config::parse(text, "lbd.yaml").unwrap();
        parse(TEXT).changes(&parse(&new))
    }

    fn shown(changes: &Changes) -> Vec<String> {
        changes.all().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn another_spelling_is_no_change() {
        for (from, to) in [
            ("[eth0]", "['eth0']"),
            ("_id: 51", "_id: 51\n  advertisement_interval: 1000ms"),
            ("_id: 51", "_id: 51 # the default follows\n  ports: [25]"),
        ] {
            assert!(changes(&[(from, to)]).is_empty(), "{to}");
        }
    }

    #[test]
    fn a_backend_is_compared_with_itself_wherever_it_stands() {
        let moved =
            "[{name: mx2, address: 192.0.2.12, weight: 50}, {name: mx1, address: 192.0.2.11}]";
        let changes = changes(&[(
            "[{name: mx1, address: 192.0.2.11}, {name: mx2, address: 192.0.2.12}]",
            moved,
        )]);
        assert_eq!(
            shown(&changes),
            ["cluster.sites[here].backends[mx2].weight: 100 -> 50"]
        );
        assert!(changes.touches("cluster.sites") && !changes.touches("cluster.site"));
        assert_eq!(changes.needing_restart().count(), 0);
    }

    #[test]
    fn a_backend_that_comes_or_goes_is_told_key_by_key() {
        let changes = changes(&[(", {name: mx2, address: 192.0.2.12}", "")]);
        let gone = "cluster.sites[here].backends[mx2].address: removed, was 192.0.2.12";
        assert!(
            shown(&changes).iter().any(|change| change == gone),
            "{changes:?}"
        );
    }

    #[test]
    fn what_is_read_at_the_start_needs_a_restart() {
        let changes = changes(&[("[eth0]", "[eth0, eth1]"), ("_id: 51", "_id: 52")]);
        let restart: Vec<&str> = changes.needing_restart().map(|c| c.path.as_str()).collect();
        assert_eq!(restart, ["node.interfaces"]);
        assert_eq!(shown(&changes)[0], "cluster.virtual_router_id: 51 -> 52");
    }
}
