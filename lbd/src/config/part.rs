//! The text of `cluster:`, cut out of one file and put into another, byte for byte, comments kept.
//!
//! The places of the two keys are those that the YAML reader itself found, not those of a search in
//! the text. And the merged text is read again: it must say of `node:` what the file said
//! before, and of `cluster:` what the part says alone. So an anchor of one half that the other half
//! refers to, or any text that this file takes apart wrongly, is refused and never written.
use thiserror::Error;

use super::yaml::{self, Located, Value};

const KEY: &str = "cluster";

/// Why a text cannot be taken apart, or two cannot be put together.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum PartError {
    /// The reader's own complaint.
    #[error("it is no YAML: {0}")]
    Syntax(String),
    /// There is no such key, or there are two.
    #[error("it must have `cluster:` once, at the top")]
    NoCluster,
    /// `{node: ..., cluster: ...}`, `? cluster`, or an anchor before the key.
    #[error("`cluster:` must start a line of its own, without braces around it")]
    NotAtLineStart,
    /// `---` or `...` inside, or a carriage return alone.
    #[error("line {line} is not a plain line of a single YAML document: {what}")]
    Line {
        /// From 1.
        line: usize,
        /// What stands there.
        what: &'static str,
    },
    /// An alias of one half whose anchor is in the other.
    #[error(
        "`cluster:` and the rest cannot be read separately; do they share an anchor (&name, *name)? {0}"
    )]
    Tied(String),
    /// What was put together says something else than its halves.
    #[error(
        "`node:` or `cluster:` would mean something else after the change; do they share an anchor (&name, *name)?"
    )]
    Changed,
}

/// A file's text in three: what comes before the cluster part, the part, and what comes after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Cut<'a> {
    before: &'a str,
    part: &'a str,
    after: &'a str,
}

/// The cluster part of a file, with the comments that stand right above its key, ended by a line feed.
/// Comments at the margin below it are not its own: they may be the next key's.
pub fn cluster_part(text: &str) -> Result<String, PartError> {
    let cut = cut(text)?;
    let (new, others) = (alone(cut.part)?, rest(cut)?);
    // Nothing is left out that belongs to it: blank lines at the end of a text can be a part of it.
    if !says(text, &new, &others) {
        return Err(PartError::Changed);
    }
    let mut part = cut.part.to_owned();
    if !part.ends_with('\n') {
        part.push('\n');
    }
    Ok(part)
}

/// The file with another cluster part; all else in it stays byte for byte.
pub fn with_cluster_part(text: &str, part: &str) -> Result<String, PartError> {
    let cut = cut(text)?;
    let (new, others) = (alone(part)?, rest(cut)?);
    let line_feed = if part.ends_with('\n') { "" } else { "\n" };
    // Where the part was the last thing of a file without a line feed at its end, it gets one.
    let merged = format!("{}{part}{line_feed}{}", cut.before, cut.after);
    if says(&merged, &new, &others) {
        Ok(merged)
    } else {
        Err(PartError::Changed)
    }
}

/// Whether a text says of `cluster:` and of all else what they say alone.
fn says(text: &str, part: &Entries, others: &Entries) -> bool {
    let Ok(Value::Map(entries)) = yaml::parse(text).map(|root| root.value) else {
        return false;
    };
    let (cluster, rest): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(key, _)| key.name == KEY);
    same_entries(&cluster, part) && same_entries(&rest, others)
}

type Entries = Vec<(yaml::Key, Located)>;

/// What the part says by itself: the one key.
fn alone(part: &str) -> Result<Entries, PartError> {
    plain_lines(part)?;
    let root = yaml::parse(part).map_err(|error| PartError::Tied(error.problem))?;
    match root.value {
        Value::Map(entries) if entries.len() == 1 && entries[0].0.name == KEY => Ok(entries),
        _ => Err(PartError::NoCluster),
    }
}

/// What the rest says by itself: every other key.
fn rest(cut: Cut<'_>) -> Result<Entries, PartError> {
    let text = format!("{}{}", cut.before, cut.after);
    let root = yaml::parse(&text).map_err(|error| PartError::Tied(error.problem))?;
    match root.value {
        Value::Map(entries) => Ok(entries),
        Value::Null => Ok(Vec::new()),
        _ => Err(PartError::NoCluster),
    }
}

fn cut(text: &str) -> Result<Cut<'_>, PartError> {
    let root = yaml::parse(text).map_err(|error| PartError::Syntax(error.problem))?;
    let Value::Map(entries) = root.value else {
        return Err(PartError::NoCluster);
    };
    let ours: Vec<usize> = (0..entries.len())
        .filter(|index| entries[*index].0.name == KEY)
        .collect();
    let [index] = ours[..] else {
        return Err(PartError::NoCluster);
    };
    let line_of = |index: usize| {
        let place = entries[index].0.place;
        let line = usize::try_from(place.line).unwrap_or(usize::MAX);
        (place.column == 1).then_some(line)
    };
    let key = line_of(index).ok_or(PartError::NotAtLineStart)?;
    let starts = line_starts(text);
    let offset = |line: usize| starts.get(line - 1).copied().unwrap_or(text.len());
    // Both keys on one line: braces around them, or something that is not understood here.
    let next = match entries.get(index + 1) {
        Some(_) => line_of(index + 1).filter(|next| *next > key),
        None => Some(starts.len() + 1),
    };
    let next = next.ok_or(PartError::NotAtLineStart)?;
    let from = offset(first_comment_above(text, &starts, key));
    let to = offset(line_after(text, &starts, key, next));
    let begins = text[offset(key)..].trim_start_matches(['"', '\'']);
    if !begins.starts_with(KEY) {
        return Err(PartError::NotAtLineStart);
    }
    let (before, after) = (&text[..from], &text[to..]);
    plain_lines(&text[from..to]).map_err(|error| match error {
        PartError::Line { line, what } => PartError::Line {
            line: line + before.lines().count(),
            what,
        },
        other => other,
    })?;
    Ok(Cut {
        before,
        part: &text[from..to],
        after,
    })
}

/// Where each line begins, counted in bytes.
fn line_starts(text: &str) -> Vec<usize> {
    let ends = text.match_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(0)
        .chain(ends)
        .filter(|start| *start < text.len() || text.is_empty())
        .collect()
}

/// The first of the comment lines that stand right above a key, at the margin: they speak of it.
fn first_comment_above(text: &str, starts: &[usize], key: usize) -> usize {
    let is_comment = |line: &usize| text[starts[line - 1]..].starts_with('#');
    let above = (1..key).rev().take_while(is_comment).last();
    above.unwrap_or(key)
}

/// The line after the last one that says something of a key. What stands between it and the next key
/// is neither's: blank lines, and comments at the margin.
fn line_after(text: &str, starts: &[usize], key: usize, next: usize) -> usize {
    let says_something = |line: &usize| {
        let line = text[starts[line - 1]..].lines().next().unwrap_or_default();
        !line.trim().is_empty() && !line.starts_with('#')
    };
    let last = (key..next).rev().find(says_something);
    last.unwrap_or(key) + 1
}

/// Lines that end as this file counts them, and no end of a document.
fn plain_lines(text: &str) -> Result<(), PartError> {
    for (line, content) in (1..).zip(text.split('\n')) {
        let content = content.strip_suffix('\r').unwrap_or(content);
        let marker = |marker: &str| {
            content
                .strip_prefix(marker)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        };
        let what = if content.contains('\r') {
            "a carriage return alone"
        } else if marker("---") || marker("...") {
            "a document's end or beginning"
        } else {
            continue;
        };
        return Err(PartError::Line { line, what });
    }
    Ok(())
}

fn same_entries(a: &Entries, b: &Entries) -> bool {
    let same_entry = |((a_key, a), (b_key, b)): (&(yaml::Key, Located), &(yaml::Key, Located))| {
        a_key.name == b_key.name && same(a, b)
    };
    a.len() == b.len() && a.iter().zip(b).all(same_entry)
}

/// Whether two trees say the same, wherever they stand.
fn same(a: &Located, b: &Located) -> bool {
    match (&a.value, &b.value) {
        (Value::Null, Value::Null) => true,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Map(a), Value::Map(b)) => same_entries(a, b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: &str = "# mx1's own file\nnode:\n  name: mx1\n  # xdp: native\n\n# Everywhere the same.\n\
                        # Edit on the master.\ncluster:\n  a: 1  # why\n\n  b: |\n    cluster: x\n";
    const THEIRS: &str = "# mx2\n\ncluster: {a: 2}\n# its box\nnode: {name: mx2}\n# the end\n";

    #[test]
    fn the_part_goes_with_its_comments_and_the_rest_stays_byte_for_byte() {
        let part = cluster_part(OURS).unwrap();
        assert!(part.starts_with("# Everywhere") && part.ends_with("cluster: x\n"));
        assert_eq!(
            with_cluster_part(THEIRS, &part).unwrap(),
            format!("# mx2\n\n{part}# its box\nnode: {{name: mx2}}\n# the end\n")
        );
        assert_eq!(cluster_part(THEIRS).unwrap(), "cluster: {a: 2}\n");
        assert_eq!(with_cluster_part(OURS, &part).unwrap(), OURS);
    }

    #[test]
    fn a_text_whose_blank_lines_count_is_refused_where_they_would_be_lost() {
        let kept = "node: 1\ncluster: |+\n  a\n\n\n";
        assert_eq!(cluster_part(kept), Err(PartError::Changed));
        assert!(cluster_part("node: 1\ncluster: |+\n  a\n").is_ok());
        assert!(cluster_part("node: 1\ncluster: |\n  a\n\n").is_ok());
    }

    #[test]
    fn a_file_without_a_last_line_feed_gets_one() {
        let bare = "node: 1\ncluster: 2";
        assert_eq!(cluster_part(bare).unwrap(), "cluster: 2\n");
        let merged = with_cluster_part(bare, "cluster: [3]").unwrap();
        assert_eq!(merged, "node: 1\ncluster: [3]\n");
    }

    #[test]
    fn what_cannot_be_taken_apart_is_refused() {
        for (text, expected) in [
            ("{node: 1, cluster: 2}", "a line of its own"),
            ("node: 1", "once"),
            ("cluster: 1\ncluster: 2\n", "once"),
            ("node: &x 1\ncluster: *x\n", "anchor"),
            ("cluster: &x 1\nnode: *x\n", "anchor"),
            ("node: 1\n? cluster\n: 2\n", "a line of its own"),
            ("node: 1\n&a cluster: 2\n", "a line of its own"),
            ("node: 1\ncluster:\n\tb: 1\n", "no YAML"),
            ("node: [\n", "no YAML"),
            ("node: 1\ncluster: 2\n...\n", "a document's end"),
            ("- cluster: 1\n", "once"),
            ("", "once"),
        ] {
            let refused = cluster_part(text).unwrap_err().to_string();
            assert!(refused.contains(expected), "{text:?}: {refused}");
        }
        // A comment that says `cluster:`, and one in a quoted text, are none.
        for text in [
            "# cluster: 0\nnode: 'x\n\n  cluster: 7'\n\"cluster\": 1\n",
            "---\nnode: {\n  a: 1\n}\ncluster: 1\n",
        ] {
            assert!(cluster_part(text).unwrap().ends_with(": 1\n"), "{text:?}");
        }
    }

    #[test]
    fn an_anchor_that_would_be_another_one_is_refused() {
        let own = "node:\n  a: &x 1\nother: *x\ncluster: 1\n";
        assert!(with_cluster_part(own, "cluster: 2\n").is_ok());
        let between = "node: &x 1\ncluster: 2\nother: *x\n";
        let part = "cluster: &x 3\n";
        assert_eq!(
            with_cluster_part(between, part),
            Err(PartError::Changed),
            "the alias would be the part's"
        );
        let two = with_cluster_part(own, "cluster: 2\nnode: 3\n");
        assert_eq!(two, Err(PartError::NoCluster));
    }

    fn scalar() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z]{1,8}",
            "'[a-z: #]{0,9}'",
            "\\[[a-z]{1,3}, [0-9]{1,3}\\]",
            Just("|\n    cluster: 1\n    # no comment".to_owned()),
            Just("\n    - {x: 1}\n    # a comment\n    - y".to_owned()),
            Just("{\n  k: v\n}".to_owned()),
        ]
    }

    fn part(key: &'static str) -> impl Strategy<Value = String> {
        let lines = proptest::collection::vec(("[a-z]{1,6}", scalar(), any::<bool>()), 1..6);
        lines.prop_map(move |lines| {
            let mut text = format!("{key}:\n");
            for (index, (name, value, has_comment)) in lines.into_iter().enumerate() {
                let value = if value.starts_with("{\n") {
                    "{k: v}".to_owned()
                } else {
                    value
                };
                let comment = if has_comment { "  # said\n" } else { "" };
                text.extend([comment, "  ", &name, &index.to_string(), ": ", &value, "\n"]);
            }
            text
        })
    }

    proptest! {
        /// For any two files, the merged one has the one's node and the other's cluster part,
        /// and a second merge changes nothing.
        #[test]
        fn merging_keeps_both_halves(
            node_a in part("node"), cluster_a in part("cluster"),
            node_b in part("node"), cluster_b in part("cluster"),
            first in any::<(bool, bool)>(), gaps in proptest::collection::vec("(\n|# note\n){0,3}", 6),
        ) {
            let file = |node: &str, cluster: &str, cluster_first, gaps: &[String]| {
                let (one, other) = if cluster_first { (cluster, node) } else { (node, cluster) };
                format!("{}{one}{}{other}{}", gaps[0], gaps[1], gaps[2])
            };
            let a = file(&node_a, &cluster_a, first.0, &gaps[..3]);
            let b = file(&node_b, &cluster_b, first.1, &gaps[3..]);
            let part = cluster_part(&a).unwrap();
            prop_assert!(part.ends_with(&cluster_a));
            let merged = with_cluster_part(&b, &part).unwrap();
            prop_assert!(merged.contains(&node_b) && merged.contains(&part));
            prop_assert_eq!(cluster_part(&merged).unwrap(), part.clone());
            prop_assert_eq!(with_cluster_part(&merged, &part).unwrap(), merged);
        }

        #[test]
        fn any_text_is_taken_apart_or_refused(text in "[a-z:#&*{}\\[\\]\\-.'\"| \n\r\t]{0,80}") {
            if let Ok(part) = cluster_part(&text) {
                let again = with_cluster_part(&text, &part).unwrap();
                let ended = format!("{text}\n");
                prop_assert!(again == text || again == ended);
            }
        }
    }
}
