//! What a push changes on a node, for people.
use std::{collections::HashMap, fmt::Write as _, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use similar::{ChangeTag, TextDiff};

use crate::{config, plain::is_plain};

/// Lines of a cluster part's difference that are shown.
const SHOWN_LINES: usize = 400;
/// Lines of a list that are shown, of those that come and of those that go each.
const SHOWN_ENTRIES: usize = 10;
/// Columns of a line that are shown.
const SHOWN_COLUMNS: usize = 300;
/// After so long the difference of two texts is the coarser one that is known by then. It bounds work,
/// and decides nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// What changes of one text.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Difference {
    /// `cluster`, or the path of a list.
    pub what: String,
    /// Lines that come.
    pub added: usize,
    /// Lines that go.
    pub removed: usize,
    /// A unified diff of the cluster part; of a list the first lines that come and go. Without headers.
    pub diff: String,
}

impl Difference {
    /// Of the cluster part; `None` when nothing changes.
    #[must_use]
    pub fn of_cluster(old: &str, new: &str) -> Option<Self> {
        if old == new {
            return None;
        }
        let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(old, new);
        let count = |tag| {
            diff.iter_all_changes()
                .filter(|change| change.tag() == tag)
                .count()
        };
        let (added, removed) = (count(ChangeTag::Insert), count(ChangeTag::Delete));
        let whole = diff.unified_diff().to_string();
        let mut shown = String::new();
        for line in whole.lines().take(SHOWN_LINES) {
            let _ = writeln!(shown, "{}", cut(line));
        }
        let beyond = whole.lines().count().saturating_sub(SHOWN_LINES);
        if beyond > 0 {
            let _ = writeln!(shown, "... {beyond} more lines of the difference");
        }
        Some(Self {
            what: "cluster".to_owned(),
            added,
            removed,
            diff: shown,
        })
    }

    /// Of a list, in which the order of lines says nothing. `old`: `None` where there is no file yet.
    /// `None` when not a byte changes.
    ///
    /// What is no list is not shown: a path may name any file of the node.
    #[must_use]
    pub fn of_list(path: &str, old: Option<&str>, new: &str) -> Option<Self> {
        if old == Some(new) {
            return None;
        }
        // How often the old text has each line that the new one does not have yet.
        let mut left: HashMap<&str, usize> = HashMap::new();
        for line in old.unwrap_or_default().lines() {
            *left.entry(line).or_default() += 1;
        }
        let (mut come, mut go) = (Shown::new('+'), Shown::new('-'));
        for line in new.lines() {
            match left.get_mut(line) {
                Some(count) if *count > 0 => *count -= 1,
                _ => come.add(line),
            }
        }
        // What is left of a line is its last occurrences: which of equal lines go is all one.
        for line in old.unwrap_or_default().lines() {
            if let Some(count) = left.get_mut(line).filter(|count| **count > 0) {
                *count -= 1;
                go.add(line);
            }
        }
        let (added, removed) = (come.count, go.count);
        let is_shown = |text: &str| config::is_list(text.as_bytes());
        let diff = if is_shown(new) && old.is_none_or(is_shown) {
            go.finish() + &come.finish()
        } else {
            "what is not a list of networks is not shown\n".to_owned()
        };
        Some(Self {
            what: path.to_owned(),
            added,
            removed,
            diff,
        })
    }
}

/// The first of the lines that come or go, and how many more there are.
struct Shown {
    mark: char,
    count: usize,
    text: String,
}

impl Shown {
    fn new(mark: char) -> Self {
        Self {
            mark,
            count: 0,
            text: String::new(),
        }
    }

    fn add(&mut self, line: &str) {
        self.count += 1;
        if self.count <= SHOWN_ENTRIES {
            // Writing to a String cannot fail.
            let _ = writeln!(self.text, "{}{}", self.mark, cut(line));
        }
    }

    fn finish(mut self) -> String {
        if self.count > SHOWN_ENTRIES {
            let beyond = self.count - SHOWN_ENTRIES;
            let _ = writeln!(self.text, "{}... {beyond} more lines", self.mark);
        }
        self.text
    }
}

/// A line as a terminal may be shown it.
fn cut(line: &str) -> String {
    let printable = |c: char| {
        if is_plain(c) || c == '\t' {
            c
        } else {
            '\u{fffd}'
        }
    };
    line.chars().take(SHOWN_COLUMNS).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_that_is_no_list_is_not_shown() {
        let shadow = "root:$6$salt$hash:1:\n";
        for (old, new) in [(shadow, "192.0.2.1\n"), ("192.0.2.1\n", shadow)] {
            let difference = Difference::of_list("/etc/shadow", Some(old), new).unwrap();
            assert!(!difference.diff.contains("hash"), "{difference:?}");
        }
    }

    #[test]
    fn a_cluster_part_is_shown_as_a_unified_diff() {
        let old = "cluster:\n  a: 1\n  b: 2\n  c: 3\n";
        let new = "cluster:\n  a: 1\n  b: 5 # more\n  c: 3\n";
        assert_eq!(Difference::of_cluster(old, old), None);
        let difference = Difference::of_cluster(old, new).unwrap();
        assert_eq!((difference.added, difference.removed), (1, 1));
        assert_eq!(
            difference.diff,
            "@@ -1,4 +1,4 @@\n cluster:\n   a: 1\n-  b: 2\n+  b: 5 # more\n   c: 3\n"
        );
    }

    #[test]
    fn a_long_list_is_summed_up() {
        let entries = (0..100_000).map(|n| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255));
        let old = entries.collect::<Vec<_>>().join("\n") + "\n";
        let new = format!("203.0.113.7\n{}", old.replace("10.0.0.9\n", ""));
        let difference = Difference::of_list("/deny", Some(&old), &new).unwrap();
        assert_eq!((difference.added, difference.removed), (1, 1));
        assert_eq!(difference.diff, "-10.0.0.9\n+203.0.113.7\n");
        let new = Difference::of_list("/deny", None, &old).unwrap();
        assert_eq!((new.added, new.removed), (100_000, 0));
        assert_eq!(new.diff.lines().count(), 11);
        assert!(
            new.diff.ends_with("+... 99990 more lines\n"),
            "{}",
            new.diff
        );
        // Another order is a change of the file, and of no line.
        let swapped = Difference::of_list("/deny", Some("::a\n::b\n"), "::b\n::a\n").unwrap();
        assert_eq!(
            (swapped.added, swapped.removed, swapped.diff.as_str()),
            (0, 0, "")
        );
    }

    #[test]
    fn what_would_steer_a_terminal_is_not_shown() {
        let difference = Difference::of_list("/deny", None, "# \x1b[2J\u{202e}\n").unwrap();
        let steers = |c| matches!(c, '\x1b' | '\u{202e}');
        assert!(!difference.diff.contains(steers), "{:?}", difference.diff);
    }

    proptest! {
        #[test]
        fn counts_add_up(old in "([ab]{1,2}\n){0,20}", new in "([ab]{1,2}\n){0,20}") {
            let lines = |text: &str| text.lines().count();
            for difference in [
                Difference::of_list("x", Some(&old), &new),
                Difference::of_cluster(&old, &new),
            ] {
                prop_assert_eq!(difference.is_none(), old == new);
                if let Some(it) = difference {
                    prop_assert_eq!(lines(&old) + it.added, lines(&new) + it.removed);
                }
            }
        }
    }
}
