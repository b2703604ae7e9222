//! What is wrong with a configuration, where, and what to do.
use std::fmt;

use crate::plain::is_plain;

/// One mistake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// The file's name, as it was given.
    pub origin: String,
    /// Where it is; `None` when it concerns the file as a whole.
    pub place: Option<Place>,
    /// The key: `cluster.sites[0].backends[1].weight`; empty for the file as a whole.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub hint: String,
    /// The line of the file, without its end.
    pub snippet: Option<String>,
}

/// A place in the file, counted from 1, in characters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
}

impl ConfigError {
    /// The same without the file's line: for who may not read the file.
    #[must_use]
    pub fn without_line(&self) -> Self {
        Self {
            snippet: None,
            ..self.clone()
        }
    }
}

/// Characters of a line that are shown around a mistake.
const SNIPPET_CHARS: usize = 100;

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(place) = self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        f.write_str(": ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)?;
        if let (Some(place), Some(snippet)) = (self.place, &self.snippet) {
            let (shown, column) = cut(snippet, place.column);
            let number = place.line.to_string();
            let margin = number.len();
            write!(f, "\n{number} | {shown}")?;
            write!(f, "\n{:margin$} | {:column$}^", "", "")?;
        }
        write!(f, "\n  {}", self.hint)
    }
}

impl std::error::Error for ConfigError {}

/// The part of a line around a column, printable, and how many characters stand before the column.
fn cut(line: &str, column: u32) -> (String, usize) {
    let before = usize::try_from(column)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    let skipped = (before + SNIPPET_CHARS / 4).saturating_sub(SNIPPET_CHARS);
    // One character for one: the caret below must stay under its place.
    let printable = |c: char| if is_plain(c) { c } else { ' ' };
    let shown = line.chars().skip(skipped).take(SNIPPET_CHARS);
    (shown.map(printable).collect(), before - skipped)
}
