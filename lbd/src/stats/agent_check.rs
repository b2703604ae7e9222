//! HAProxy's agent-check: one line of words, sent on connect, up to the first CR or LF.
//!
//! The words and what they mean are those of HAProxy's configuration manual, section 5.2
//! `agent-check`: a parameter that a line does not name stays as it was, so a poller keeps a
//! [`Memory`]. Unlike HAProxy, lbd refuses a line with a word it does not know: a typo in an agent
//! should be seen, not obeyed in part. `weight:N` and a plain number set an absolute weight.

use std::fmt::Write;

use super::error::{shorten, text};
use super::own_json::shorten_note;
use super::{AgentState, AgentWeight, Figure, FigureError, MAX_FIGURE, Sample, SampleError};
use crate::units::Weight;

/// The longest line that is read, in bytes.
pub const MAX_LINE_BYTES: usize = 4096;

const FORMAT: &str = "an agent-check line";

/// What one line said; `None` for what it did not name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Line {
    /// `75%`, `75` or `weight:75`.
    pub weight: Option<AgentWeight>,
    /// `maxconn:N`.
    pub session_limit: Option<u64>,
    /// `ready`, `drain` or `maint`.
    pub wanted: Option<Wanted>,
    /// `up`, `down`, `fail` or `stopped`.
    pub works: Option<Works>,
    /// The text behind `#`.
    pub description: Option<String>,
}

/// The administrative state: what the operator wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// Takes sessions.
    Ready,
    /// No new ones.
    Drain,
    /// Out of service.
    Maint,
}

/// The operating state: what works.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Works {
    /// It does.
    Up,
    /// It does not, unexpectedly.
    Down,
    /// It runs but some check of it failed.
    Fail,
    /// It was stopped on purpose.
    Stopped,
}

/// Reads one line. What follows the first CR or LF is ignored.
pub fn parse(answer: &[u8]) -> Result<Line, SampleError> {
    let end = answer.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let text = text(&answer[..end.unwrap_or(answer.len())], MAX_LINE_BYTES)?;
    let (words, description) = match text.split_once('#') {
        Some((words, description)) => (words, Some(description)),
        None => (text, None),
    };
    let mut line = Line {
        description: description.map(|description| shorten_note(description.trim())),
        ..Line::default()
    };
    for word in words
        .split([' ', '\t', ','])
        .filter(|word| !word.is_empty())
    {
        take(&mut line, &word.to_ascii_lowercase())?;
    }
    Ok(line)
}

fn take(line: &mut Line, word: &str) -> Result<(), SampleError> {
    match word {
        "up" => line.works = Some(Works::Up),
        "down" => line.works = Some(Works::Down),
        "fail" | "failed" => line.works = Some(Works::Fail),
        "stopped" => line.works = Some(Works::Stopped),
        "ready" => line.wanted = Some(Wanted::Ready),
        "drain" => line.wanted = Some(Wanted::Drain),
        "maint" => line.wanted = Some(Wanted::Maint),
        _ => {
            if let Some(limit) = word.strip_prefix("maxconn:") {
                line.session_limit = Some(session_limit(limit)?);
            } else if let Some(weight) = word.strip_prefix("weight:") {
                line.weight = Some(weight_of(weight)?);
            } else if word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+')) {
                line.weight = Some(weight_of(word)?);
            } else {
                return Err(SampleError::Malformed {
                    format: FORMAT,
                    line: 1,
                    reason: format!("the word {} is not known", shorten(word)),
                });
            }
        }
    }
    Ok(())
}

fn session_limit(digits: &str) -> Result<u64, SampleError> {
    let figure = Figure::SessionLimit;
    let number: f64 = digits.parse().map_err(|_| SampleError::Figure {
        figure,
        found: shorten(digits),
        wrong: FigureError::NotANumber,
    })?;
    figure.count(number)
}

fn weight_of(word: &str) -> Result<AgentWeight, SampleError> {
    let wrong = |wrong| SampleError::Weight {
        found: shorten(word),
        wrong,
    };
    if let Some(percent) = word.strip_suffix('%') {
        percent
            .parse::<u32>()
            .ok()
            .and_then(|percent| percent.checked_mul(10))
            .filter(|permille| *permille <= AgentWeight::MAX_PERMILLE)
            .map(AgentWeight::Permille)
            .ok_or_else(|| wrong("a percentage is a whole number, 0 to 1000"))
    } else {
        word.parse::<u16>()
            .ok()
            .map(Weight)
            .filter(|weight| *weight <= Weight::MAX)
            .map(AgentWeight::Absolute)
            .ok_or_else(|| wrong("a weight is 0 to 10000"))
    }
}

/// What an agent has said so far: a line changes only what it names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Memory(Line);

impl Memory {
    /// Takes a line in and gives the state of things after it.
    pub fn apply(&mut self, line: Line) -> Sample {
        let known = &mut self.0;
        known.weight = line.weight.or(known.weight);
        known.session_limit = line.session_limit.or(known.session_limit);
        known.wanted = line.wanted.or(known.wanted);
        known.works = line.works.or(known.works);
        known.description = line.description;
        let state = match (known.works, known.wanted) {
            (_, Some(Wanted::Maint)) => AgentState::Maint,
            (Some(Works::Down | Works::Fail | Works::Stopped), _) => AgentState::Down,
            (_, Some(Wanted::Drain)) => AgentState::Drain,
            (Some(Works::Up), _) | (None, Some(Wanted::Ready)) => AgentState::Up,
            (None, None) => AgentState::Unsaid,
        };
        Sample {
            session_limit: known.session_limit,
            state,
            weight: known.weight,
            note: known.description.clone(),
            ..Sample::default()
        }
    }
}

/// Writes the line of a sample, with its LF.
///
/// Every line names the administrative and the operating state, because only the agent can take
/// back what an earlier line of it said. The weight is the one that the sample asks for; without
/// one it follows the queue: `queue_half` queued messages halve it, and it never falls below 1%,
/// which HAProxy would take for a drain.
#[must_use]
pub fn emit(sample: &Sample, queue_half: u64) -> String {
    let mut line = String::from(match sample.state {
        AgentState::Maint => "maint",
        AgentState::Drain => "drain up",
        AgentState::Unsaid | AgentState::Up => "ready up",
        AgentState::Down => "ready down",
    });
    let down = sample.state == AgentState::Down;
    if !down && sample.state != AgentState::Maint {
        let weight = match sample.weight {
            Some(AgentWeight::Permille(permille)) => format!(" {}%", permille / 10),
            Some(AgentWeight::Absolute(weight)) => format!(" {}", weight.0),
            None => {
                let half = queue_half.clamp(1, MAX_FIGURE);
                let queued = sample.queued.unwrap_or(0).min(MAX_FIGURE);
                let percent = 100 * half / (half + queued);
                format!(" {}%", percent.max(1))
            }
        };
        line.push_str(&weight);
        if let Some(limit) = sample.session_limit {
            let _ = write!(line, " maxconn:{limit}");
        }
    }
    if let (true, Some(note)) = (down, &sample.note) {
        let note: String = shorten_note(note).replace('#', " ");
        // HAProxy 2.6 takes "down#text" for one word that it does not know.
        let _ = write!(line, " #{note}");
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn once(line: &str) -> Result<Sample, SampleError> {
        parse(line.as_bytes()).map(|line| Memory::default().apply(line))
    }

    #[test]
    fn every_word_of_the_manual_is_understood() {
        let percent = |percent: u32| Some(AgentWeight::Permille(percent * 10));
        let table = [
            ("75%\n", AgentState::Unsaid, percent(75), None, None),
            ("0%", AgentState::Unsaid, percent(0), None, None),
            (
                "weight:50",
                AgentState::Unsaid,
                Some(AgentWeight::Absolute(Weight(50))),
                None,
                None,
            ),
            (
                "128",
                AgentState::Unsaid,
                Some(AgentWeight::Absolute(Weight(128))),
                None,
                None,
            ),
            ("maxconn:30\r\n", AgentState::Unsaid, None, Some(30), None),
            ("ready", AgentState::Up, None, None, None),
            ("up", AgentState::Up, None, None, None),
            ("drain", AgentState::Drain, None, None, None),
            ("maint", AgentState::Maint, None, None, None),
            (
                "down#no disk left",
                AgentState::Down,
                None,
                None,
                Some("no disk left"),
            ),
            (
                "fail # 3 of 4 checks, so",
                AgentState::Down,
                None,
                None,
                Some("3 of 4 checks, so"),
            ),
            ("stopped", AgentState::Down, None, None, None),
            (
                "UP,ready\t50% ,maxconn:9",
                AgentState::Up,
                percent(50),
                Some(9),
                None,
            ),
            ("up drain", AgentState::Drain, None, None, None),
            ("down drain", AgentState::Down, None, None, None),
            ("down maint", AgentState::Maint, None, None, None),
            ("up\ndown", AgentState::Up, None, None, None),
        ];
        for (line, state, weight, limit, note) in table {
            let sample = once(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            assert_eq!(sample.state, state, "{line:?}");
            assert_eq!(sample.weight, weight, "{line:?}");
            assert_eq!(sample.session_limit, limit, "{line:?}");
            assert_eq!(sample.note.as_deref(), note, "{line:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("", "empty"),
            ("\r\n75%", "empty"),
            ("sideways", "malformed"),
            ("HTTP/1.0 400 Bad request", "malformed"),
            ("-5%", "weight"),
            ("1001%", "weight"),
            ("99999999999%", "weight"),
            ("weight:NaN", "weight"),
            ("weight:10001", "weight"),
            ("maxconn:-1", "negative"),
            ("maxconn:lots", "not_a_number"),
            ("maxconn:1e30", "too_large"),
        ];
        for (line, kind) in table {
            assert_eq!(
                once(line).map_err(|error| error.kind()),
                Err(kind),
                "{line:?}"
            );
        }
        let endless = vec![b'u'; MAX_LINE_BYTES + 1];
        assert_eq!(parse(&endless).unwrap_err().kind(), "too_long");
    }

    #[test]
    fn a_line_changes_only_what_it_names() {
        let mut memory = Memory::default();
        let mut state_after = |line: &str| {
            let sample = memory.apply(parse(line.as_bytes()).unwrap());
            (sample.state, sample.weight)
        };
        let three_quarters = Some(AgentWeight::Permille(750));
        assert_eq!(
            state_after("75% drain up"),
            (AgentState::Drain, three_quarters)
        );
        assert_eq!(
            state_after("maxconn:5"),
            (AgentState::Drain, three_quarters)
        );
        assert_eq!(state_after("down"), (AgentState::Down, three_quarters));
        assert_eq!(state_after("up"), (AgentState::Drain, three_quarters));
        assert_eq!(state_after("ready"), (AgentState::Up, three_quarters));
    }

    #[test]
    fn a_longer_queue_asks_for_less_but_never_for_a_drain() {
        let line = |queued| {
            emit(
                &Sample {
                    queued: Some(queued),
                    ..Sample::default()
                },
                1000,
            )
        };
        assert_eq!(line(0), "ready up 100%\n");
        assert_eq!(line(1000), "ready up 50%\n");
        assert_eq!(line(u64::MAX), "ready up 1%\n");
    }

    #[test]
    fn a_note_cannot_add_words_or_lines() {
        let sample = Sample {
            state: AgentState::Down,
            note: Some("a#b\nup".into()),
            ..Sample::default()
        };
        assert_eq!(emit(&sample, 1), "ready down #a b\\nup\n");
    }

    proptest! {
        #[test]
        fn no_line_panics(line: Vec<u8>) {
            let _ = parse(&line);
        }

        #[test]
        fn no_words_panic(line in "(up|down#|weight:|maxconn:|[-0-9]{1,20}%?|[ ,\t#%]){0,12}") {
            let _ = parse(line.as_bytes());
        }

        #[test]
        fn what_is_written_is_understood(queued: u64, half: u64, permille in 0..10_000_u32) {
            for state in [AgentState::Up, AgentState::Drain, AgentState::Maint, AgentState::Down] {
                for weight in [None, Some(AgentWeight::Permille(permille))] {
                    let sample = Sample { queued: Some(queued), state, weight, ..Sample::default() };
                    let line = emit(&sample, half);
                    prop_assert_eq!(once(&line).map(|read| read.state), Ok(state), "{}", line);
                }
            }
        }
    }
}
