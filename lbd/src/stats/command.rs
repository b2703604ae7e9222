//! A command's output, in the form that is easiest to print.
//!
//! - starts with `{`: the members of lbd's own JSON ([`super::own_json`]), without `node` and time;
//! - has a `=` in its first line: lines `queued=12`;
//! - else: HAProxy's agent-check line, so that an existing agent script serves as it is.

use super::error::{shorten, text};
use super::{Figure, FigureError, MAX_ANSWER_BYTES, Sample, SampleError, agent_check, own_json};

/// Reads a command's standard output. `memory` is what its earlier agent-check lines said.
pub fn parse(output: &[u8], memory: &mut agent_check::Memory) -> Result<Sample, SampleError> {
    let text = text(output, MAX_ANSWER_BYTES)?.trim_start();
    if text.starts_with('{') {
        return own_json::members(&own_json::object(text.as_bytes())?);
    }
    let first = text.lines().next().unwrap_or_default();
    if first.contains('=') {
        return pairs(text);
    }
    Ok(memory.apply(agent_check::parse(first.as_bytes())?))
}

fn pairs(text: &str) -> Result<Sample, SampleError> {
    let mut sample = Sample::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let malformed = |reason| SampleError::Malformed {
            format: "a list of figure=number",
            line: number,
            reason,
        };
        let Some((name, value)) = line.split_once('=') else {
            return Err(malformed(format!("no = in {}", shorten(line))));
        };
        let Some(figure) = Figure::from_name(name.trim()) else {
            let names = Figure::ALL.map(Figure::name).join(", ");
            return Err(malformed(format!(
                "{} is not one of {names}",
                shorten(name)
            )));
        };
        let number = value.trim().parse().map_err(|_| SampleError::Figure {
            figure,
            found: shorten(value),
            wrong: FigureError::NotANumber,
        })?;
        sample.set(figure, figure.count(number)?);
    }
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{AgentState, AgentWeight};
    use super::*;

    fn once(output: &str) -> Result<Sample, SampleError> {
        parse(output.as_bytes(), &mut agent_check::Memory::default())
    }

    #[test]
    fn each_form_is_recognized() {
        let queued = Sample {
            queued: Some(12),
            deferred: Some(3),
            ..Sample::default()
        };
        assert_eq!(once("queued=12\n\n deferred = 3\n"), Ok(queued.clone()));
        assert_eq!(once("\n{\"queued\": 12, \"deferred\": 3}"), Ok(queued));
        let line = Sample {
            state: AgentState::Up,
            weight: Some(AgentWeight::Permille(750)),
            ..Sample::default()
        };
        assert_eq!(once("up 75%\n"), Ok(line));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("", "empty"),
            ("queued=", "not_a_number"),
            ("queued=-1", "negative"),
            ("queued=NaN", "not_a_number"),
            ("queued=1\nrubbish", "malformed"),
            ("que=1", "malformed"),
            ("{", "malformed"),
            ("Usage: check_mail", "malformed"),
        ];
        for (output, kind) in table {
            assert_eq!(
                once(output).map_err(|error| error.kind()),
                Err(kind),
                "{output}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_output_panics(output: Vec<u8>) {
            let _ = parse(&output, &mut agent_check::Memory::default());
        }

        #[test]
        fn no_pairs_panic(output in "((queued|sessions|x)?=?[-0-9.eN]{0,9}\n?){0,6}") {
            let _ = once(&output);
        }
    }
}
