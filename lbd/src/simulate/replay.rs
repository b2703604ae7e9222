//! Yesterday's sessions: one a line, `start,duration,bytes,rejected`.
use thiserror::Error;

use super::mail::Work;
use super::rng::Rng;
use super::traffic::{Message, sender};

/// One session of a log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logged {
    /// When it began, in seconds from any moment.
    pub start_s: f64,
    /// How long it was open, in seconds.
    pub duration_s: f64,
    /// What its client sent, in bytes.
    pub bytes: u32,
    /// It ended before DATA.
    pub rejected: bool,
}

/// The sessions of a log, by time.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay(Vec<Logged>);

/// Why a log of sessions cannot be used; line numbers count from 1.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ReplayError {
    /// A line is none of its form.
    #[error(
        "line {line}: \"{text}\" is not `start,duration,bytes,rejected`, as in `3600.5,2.1,18000,0`"
    )]
    Line {
        /// Its number.
        line: usize,
        /// What it says.
        text: String,
    },
    /// There is nothing to simulate.
    #[error("no session that was not rejected; write lines like `3600.5,2.1,18000,0`")]
    Empty,
}

impl Replay {
    /// Reads the lines, in any order; a first line that begins with a letter is taken for a header, empty
    /// lines and `#` are skipped.
    pub fn parse(csv: &str) -> Result<Self, ReplayError> {
        let mut sessions = Vec::new();
        let mut seen = false;
        for (number, text) in csv.lines().enumerate() {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let header = !seen && text.starts_with(|c: char| c.is_ascii_alphabetic());
            seen = true;
            if header {
                continue;
            }
            sessions.push(parse_line(text).ok_or_else(|| ReplayError::Line {
                line: number + 1,
                text: text.chars().take(60).collect(),
            })?);
        }
        Self::new(sessions)
    }

    /// Of sessions in any order; the first one's start becomes 0.
    pub fn new(mut sessions: Vec<Logged>) -> Result<Self, ReplayError> {
        if sessions.iter().all(|session| session.rejected) {
            return Err(ReplayError::Empty);
        }
        sessions.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
        let first_s = sessions.first().map_or(0.0, |session| session.start_s);
        for session in &mut sessions {
            session.start_s -= first_s;
        }
        Ok(Self(sessions))
    }

    /// The sessions.
    #[must_use]
    pub fn sessions(&self) -> &[Logged] {
        &self.0
    }

    /// The last session's start, in seconds.
    #[must_use]
    pub fn end_s(&self) -> f64 {
        self.0.last().map_or(0.0, |session| session.start_s)
    }

    /// In the form that [`Self::parse`] reads.
    #[must_use]
    pub fn csv(&self) -> String {
        use std::fmt::Write;
        let mut text = String::from("start,duration,bytes,rejected\n");
        for session in &self.0 {
            let _ = writeln!(
                text,
                "{:.3},{:.3},{},{}",
                session.start_s,
                session.duration_s,
                session.bytes,
                u8::from(session.rejected)
            );
        }
        text
    }

    /// The client's part of each session is its whole duration less the filter's work: what the log tells
    /// was measured on a box that was not idle either.
    pub(super) fn messages(&self, rng: &mut Rng) -> Vec<Message> {
        let message = |session: &Logged| {
            let work = Work::of(session.bytes, rng);
            let work_s = if session.rejected { 0.0 } else { work.filter };
            Message {
                at_s: session.start_s,
                source: sender(rng),
                client_s: (session.duration_s - work_s).max(0.05),
                filter_s: work_s,
                delivery_s: if session.rejected { 0.0 } else { work.delivery },
                before_s: 0.0,
                further_s: Vec::new(),
                hash: rng.next_u64(),
                bytes: session.bytes,
                rejected: session.rejected,
                follows: false,
            }
        };
        self.0.iter().map(message).collect()
    }
}

fn parse_line(text: &str) -> Option<Logged> {
    let mut fields = text.split(',').map(str::trim);
    let mut number = |most: f64| {
        let value: f64 = fields.next()?.parse().ok()?;
        (value.is_finite() && (0.0..=most).contains(&value)).then_some(value)
    };
    let (start_s, duration_s) = (number(1e11)?, number(1e6)?);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 4e9"
    )]
    let bytes = number(4e9)? as u32;
    let rejected = match fields.next()? {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    fields.next().is_none().then_some(Logged {
        start_s,
        duration_s,
        bytes,
        rejected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_read_in_any_order_and_written_back() {
        let csv = "start,duration,bytes,rejected\n# noon\n107.5, 2.5,18000,0\n100,0.4,900,1\n";
        let replay = Replay::parse(csv).unwrap();
        let first = Logged {
            start_s: 0.0,
            duration_s: 0.4,
            bytes: 900,
            rejected: true,
        };
        assert_eq!(replay.sessions()[0], first);
        assert!((replay.end_s() - 7.5).abs() < 1e-9);
        assert_eq!(Replay::parse(&replay.csv()).unwrap(), replay);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (csv, expected) in [
            ("0,1,900,0\n1,1,900\n", "line 2: \"1,1,900\" is not"),
            ("0,1,900,2\n", "line 1: \"0,1,900,2\" is not"),
            ("0,1,900,0,7\n", "line 1: \"0,1,900,0,7\" is not"),
            ("0,-1,900,0\n", "line 1: \"0,-1,900,0\" is not"),
            ("NaN,1,900,0\n", "no session"),
            ("0,1,900,1\n", "no session that was not rejected"),
            ("", "no session"),
        ] {
            let error = Replay::parse(csv).expect_err(csv).to_string();
            assert!(error.starts_with(expected), "{csv:?}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_replay_or_a_sentence(csv in "[0-9a-z,.\\-#\n ]{0,80}") {
            if let Ok(replay) = Replay::parse(&csv) {
                proptest::prop_assert!(!replay.sessions().is_empty());
                proptest::prop_assert!(replay.end_s() >= 0.0);
            }
        }
    }
}
