//! What can be wrong with an answer.

use super::{Figure, FigureError, MAX_ANSWER_BYTES};

/// Why an answer is no sample. `Display` is a sentence for the log; [`Self::kind`] a label to count by.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SampleError {
    /// More than [`MAX_ANSWER_BYTES`], or than the format's own limit.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// In bytes.
        limit: usize,
    },
    /// Nothing but white space.
    #[error("the answer is empty")]
    Empty,
    /// Bytes that are no text.
    #[error("the answer is not text: byte {at} is not UTF-8")]
    NotText {
        /// Offset in bytes.
        at: usize,
    },
    /// Text of another format.
    #[error("not {format} in line {line}: {reason}")]
    Malformed {
        /// The format that was expected.
        format: &'static str,
        /// From 1.
        line: usize,
        /// What was wrong there.
        reason: String,
    },
    /// A figure that is configured, or that the format requires, is not in the answer.
    #[error("no {sought} in the answer")]
    Missing {
        /// The pointer, selector or field.
        sought: String,
    },
    /// A figure that is no count.
    #[error("{figure} is {found}: {wrong}")]
    Figure {
        /// Which.
        figure: Figure,
        /// What was there, shortened.
        found: String,
        /// Why it is no count.
        wrong: FigureError,
    },
    /// A weight that is none.
    #[error("weight is {found}: {wrong}")]
    Weight {
        /// What was there, shortened.
        found: String,
        /// Why it is no weight.
        wrong: &'static str,
    },
    /// A state that lbd does not know.
    #[error("state is {found}: not one of up, drain, maint, down")]
    State {
        /// What was there, shortened.
        found: String,
    },
    /// Another box answered.
    #[error(
        "it answers as node {found}, not {expected}: check the backend's address and its agent's --name"
    )]
    WrongNode {
        /// The backend's name in the config.
        expected: String,
        /// What was there, shortened.
        found: String,
    },
}

impl SampleError {
    /// A short label, one for each variant.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::Empty => "empty",
            Self::NotText { .. } => "not_text",
            Self::Malformed { .. } => "malformed",
            Self::Missing { .. } => "missing",
            Self::Figure { wrong, .. } => match wrong {
                FigureError::NotANumber => "not_a_number",
                FigureError::Negative => "negative",
                FigureError::TooLarge => "too_large",
            },
            Self::Weight { .. } => "weight",
            Self::State { .. } => "state",
            Self::WrongNode { .. } => "wrong_node",
        }
    }
}

/// An answer as text, if it is short enough, not empty, and text.
pub(super) fn text(answer: &[u8], limit: usize) -> Result<&str, SampleError> {
    let limit = limit.min(MAX_ANSWER_BYTES);
    if answer.len() > limit {
        return Err(SampleError::TooLong { limit });
    }
    let text = std::str::from_utf8(answer).map_err(|error| SampleError::NotText {
        at: error.valid_up_to(),
    })?;
    if text.trim().is_empty() {
        return Err(SampleError::Empty);
    }
    Ok(text)
}

/// A stranger's text, fit for a log line: escaped and at most 40 characters of it.
pub(super) fn shorten(found: &str) -> String {
    let mut short: String = found
        .chars()
        .take(40)
        .flat_map(char::escape_debug)
        .collect();
    if found.chars().nth(40).is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_cannot_break_a_log_line() {
        assert_eq!(shorten("a\nb\x1b[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(shorten(&"x".repeat(41)), format!("{}...", "x".repeat(40)));
    }

    #[test]
    fn an_answer_is_bounded_before_it_is_read() {
        assert_eq!(text(b" \r\n", 10), Err(SampleError::Empty));
        assert_eq!(text(b"ab\xff", 10), Err(SampleError::NotText { at: 2 }));
        assert_eq!(text(b"abc", 2), Err(SampleError::TooLong { limit: 2 }));
        assert_eq!(text(b"abc", 3), Ok("abc"));
    }
}
