//! lbd's own format: one JSON object that names its node and its time.
//!
//! ```json
//! {"node":"mx1","time_unix_ms":1732250000123,"age_ms":120,"mta":"postfix",
//!  "queued":12,"deferred":340,"sessions":41,"unique_ips":31,"not_accepted":0,
//!  "state":"up","weight_percent":75,"vip_ready":true,"note":"..."}
//! ```
//! `node` and `time_unix_ms` are required, all else may be absent or null. Unknown members are
//! ignored, so that a newer agent can talk to an older lbd.
//!
//! `age_ms` says how long ago the figures were taken, by the answering box alone. `time_unix_ms` is for
//! people: the difference of two boxes' wall clocks is no age, and a box whose clock is slow is no box
//! whose figures are old. An agent that says no age measures when it is asked.

use serde_json::{Map, Value, json};

use super::error::{shorten, text};
use super::{
    AgentState, AgentWeight, Figure, FigureError, MAX_ANSWER_BYTES, Report, Sample, SampleError,
};
use crate::plain::is_plain;
use crate::units::Weight;

/// Reads the answer of the agent on `node`.
pub fn parse(answer: &[u8], node: &str) -> Result<Sample, SampleError> {
    let object = object(answer)?;
    let found = match object.get("node") {
        Some(Value::String(name)) => name,
        Some(other) => return Err(wrong_node(node, &other.to_string())),
        None => return Err(missing("node")),
    };
    if found != node {
        return Err(wrong_node(node, found));
    }
    object
        .get("time_unix_ms")
        .and_then(Value::as_u64)
        .ok_or_else(|| missing("time_unix_ms (milliseconds since 1970)"))?;
    let mut sample = members(&object)?;
    if let Some(age) = object.get("age_ms").filter(|age| !age.is_null()) {
        sample.age_ms = age
            .as_u64()
            .ok_or_else(|| missing("age_ms as a number of milliseconds"))?;
    }
    Ok(sample)
}

/// Writes a report, in the form that [`parse`] reads.
#[must_use]
pub fn emit(report: &Report) -> Value {
    let sample = &report.sample;
    let mut object = Map::new();
    object.insert("node".into(), json!(report.node));
    object.insert("time_unix_ms".into(), json!(report.time_unix_ms));
    object.insert("age_ms".into(), json!(sample.age_ms));
    object.insert("mta".into(), json!(report.mta));
    for figure in Figure::ALL {
        object.insert(figure.name().into(), json!(sample.get(figure)));
    }
    object.insert("state".into(), json!(sample.state.word()));
    match sample.weight {
        Some(AgentWeight::Permille(permille)) => {
            object.insert("weight_percent".into(), json!(f64::from(permille) / 10.0));
        }
        Some(AgentWeight::Absolute(weight)) => {
            object.insert("weight".into(), json!(weight));
        }
        None => {}
    }
    object.insert("vip_ready".into(), json!(sample.vip_ready));
    object.insert("note".into(), json!(sample.note));
    Value::Object(object)
}

/// The JSON object in an answer.
pub(super) fn object(answer: &[u8]) -> Result<Map<String, Value>, SampleError> {
    match json(answer)? {
        Value::Object(object) => Ok(object),
        other => Err(SampleError::Malformed {
            format: "a JSON object",
            line: 1,
            reason: format!("it is {}", shorten(&other.to_string())),
        }),
    }
}

/// The JSON value in an answer.
pub(super) fn json(answer: &[u8]) -> Result<Value, SampleError> {
    let text = text(answer, MAX_ANSWER_BYTES)?;
    serde_json::from_str(text).map_err(|error| SampleError::Malformed {
        format: "JSON",
        line: error.line(),
        reason: error.to_string(),
    })
}

/// A JSON value as a count.
pub(super) fn count(figure: Figure, value: &Value) -> Result<u64, SampleError> {
    match value.as_f64() {
        Some(number) => figure.count(number),
        None => Err(SampleError::Figure {
            figure,
            found: shorten(&value.to_string()),
            wrong: FigureError::NotANumber,
        }),
    }
}

/// Everything but the node and the time.
pub(super) fn members(object: &Map<String, Value>) -> Result<Sample, SampleError> {
    let mut sample = Sample::default();
    let given = |name| object.get(name).filter(|value| !value.is_null());
    for figure in Figure::ALL {
        if let Some(value) = given(figure.name()) {
            sample.set(figure, count(figure, value)?);
        }
    }
    if let Some(value) = given("state") {
        sample.state = state(value)?;
    }
    sample.weight = match (given("weight_percent"), given("weight")) {
        (Some(percent), _) => Some(percent_weight(percent)?),
        (None, Some(weight)) => Some(absolute_weight(weight)?),
        (None, None) => None,
    };
    sample.vip_ready = given("vip_ready").and_then(Value::as_bool);
    sample.note = given("note").and_then(Value::as_str).map(shorten_note);
    Ok(sample)
}

fn state(value: &Value) -> Result<AgentState, SampleError> {
    let word = value.as_str().unwrap_or_default();
    [
        AgentState::Up,
        AgentState::Drain,
        AgentState::Maint,
        AgentState::Down,
    ]
    .into_iter()
    .find(|state| state.word() == Some(word))
    .ok_or_else(|| SampleError::State {
        found: shorten(&value.to_string()),
    })
}

fn percent_weight(value: &Value) -> Result<AgentWeight, SampleError> {
    let permille = value.as_f64().map(|percent| (percent * 10.0).round());
    match permille {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and MAX_PERMILLE"
        )]
        Some(permille) if (0.0..=f64::from(AgentWeight::MAX_PERMILLE)).contains(&permille) => {
            Ok(AgentWeight::Permille(permille as u32))
        }
        _ => Err(SampleError::Weight {
            found: shorten(&value.to_string()),
            wrong: "a percentage is 0 to 1000",
        }),
    }
}

fn absolute_weight(value: &Value) -> Result<AgentWeight, SampleError> {
    value
        .as_u64()
        .and_then(|weight| u16::try_from(weight).ok())
        .map(Weight)
        .filter(|weight| *weight <= Weight::MAX)
        .map(AgentWeight::Absolute)
        .ok_or_else(|| SampleError::Weight {
            found: shorten(&value.to_string()),
            wrong: "a weight is 0 to 10000",
        })
}

/// A note, fit for a log line: escaped, and at most 200 characters of it.
pub(super) fn shorten_note(note: &str) -> String {
    note.chars()
        .take(200)
        .flat_map(|c| {
            if is_plain(c) {
                vec![c]
            } else {
                c.escape_default().collect::<Vec<_>>()
            }
        })
        .collect()
}

fn missing(sought: &str) -> SampleError {
    SampleError::Missing {
        sought: sought.to_owned(),
    }
}

fn wrong_node(expected: &str, found: &str) -> SampleError {
    SampleError::WrongNode {
        expected: expected.to_owned(),
        found: shorten(found),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_732_250_000_000;

    fn read(answer: &str) -> Result<Sample, SampleError> {
        parse(answer.as_bytes(), "mx1")
    }

    fn read_members(rest: &str) -> Result<Sample, SampleError> {
        read(&format!(r#"{{"node":"mx1","time_unix_ms":{NOW},{rest}}}"#))
    }

    #[test]
    fn a_full_answer_is_read() {
        let sample = read(include_str!("../../testdata/stats/own.json")).unwrap();
        let expected = Sample {
            queued: Some(12),
            deferred: Some(340),
            sessions: Some(41),
            unique_ips: Some(31),
            not_accepted: Some(0),
            session_limit: None,
            state: AgentState::Up,
            weight: Some(AgentWeight::Permille(755)),
            vip_ready: Some(true),
            note: None,
            age_ms: 400,
        };
        assert_eq!(sample, expected);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("", "empty"),
            ("\u{0}\u{1}garbage", "malformed"),
            ("<html>", "malformed"),
            ("[1]", "malformed"),
            ("NaN", "malformed"),
            (r#"{"time_unix_ms":1}"#, "missing"),
            (r#"{"node":"mx1"}"#, "missing"),
            (r#"{"node":"mx1","time_unix_ms":-5}"#, "missing"),
            (r#"{"node":"mx2","time_unix_ms":1}"#, "wrong_node"),
            (r#"{"node":7,"time_unix_ms":1}"#, "wrong_node"),
            (r#"{"node":"mx1","time_unix_ms":1,"age_ms":-5}"#, "missing"),
            (r#"{"node":"mx1","time_unix_ms":1,"age_ms":"5"}"#, "missing"),
        ];
        for (answer, kind) in table {
            assert_eq!(
                read(answer).map_err(|error| error.kind()),
                Err(kind),
                "{answer}"
            );
        }
        let table = [
            (r#""queued":-1"#, "negative"),
            (r#""queued":1e300"#, "too_large"),
            (r#""queued":18446744073709551615"#, "too_large"),
            (r#""queued":1e999"#, "malformed"),
            (r#""queued":NaN"#, "malformed"),
            (r#""queued":"NaN""#, "not_a_number"),
            (r#""sessions":{}"#, "not_a_number"),
            (r#""state":"UP!""#, "state"),
            (r#""state":1"#, "state"),
            (r#""weight_percent":-1"#, "weight"),
            (r#""weight_percent":1001"#, "weight"),
            (r#""weight":10001"#, "weight"),
            (r#""weight":1.5"#, "weight"),
        ];
        for (rest, kind) in table {
            assert_eq!(
                read_members(rest).map_err(|error| error.kind()),
                Err(kind),
                "{rest}"
            );
        }
    }

    #[test]
    fn no_wall_clock_makes_figures_old_or_refused() {
        for time in [0, NOW - 3_600_000, NOW, NOW + 3_600_000, u64::MAX] {
            let said =
                |rest: &str| read(&format!(r#"{{"node":"mx1","time_unix_ms":{time}{rest}}}"#));
            assert_eq!(said("").unwrap().age_ms, 0, "{time}");
            assert_eq!(said(r#","age_ms":null"#).unwrap().age_ms, 0, "{time}");
            assert_eq!(said(r#","age_ms":450"#).unwrap().age_ms, 450, "{time}");
        }
    }

    #[test]
    fn an_absent_figure_is_not_zero() {
        let sample = read_members(r#""queued":null,"later":[1]"#).unwrap();
        assert_eq!(sample, Sample::default());
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = "[".repeat(100_000);
        assert_eq!(read(&deep).unwrap_err().kind(), "malformed");
    }

    fn samples() -> impl Strategy<Value = Sample> {
        let count = || proptest::option::of(0..=super::super::MAX_FIGURE);
        let weight = prop_oneof![
            (0..=AgentWeight::MAX_PERMILLE).prop_map(AgentWeight::Permille),
            (0..=Weight::MAX.0).prop_map(|weight| AgentWeight::Absolute(Weight(weight))),
        ];
        let state = prop_oneof![
            Just(AgentState::Unsaid),
            Just(AgentState::Up),
            Just(AgentState::Drain),
            Just(AgentState::Maint),
            Just(AgentState::Down),
        ];
        (
            [count(), count(), count(), count(), count(), count()],
            state,
            proptest::option::of(weight),
            proptest::option::of(any::<bool>()),
            0..100_000_u64,
        )
            .prop_map(|(counts, state, weight, vip_ready, age_ms)| {
                let mut sample = Sample {
                    state,
                    weight,
                    vip_ready,
                    age_ms,
                    ..Sample::default()
                };
                for (figure, count) in Figure::ALL.into_iter().zip(counts) {
                    if let Some(count) = count {
                        sample.set(figure, count);
                    }
                }
                sample
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(sample in samples()) {
            let report = Report {
                node: "mx1".into(),
                time_unix_ms: NOW,
                mta: Some("postfix"),
                sample: sample.clone(),
            };
            prop_assert_eq!(read(&emit(&report).to_string()), Ok(sample));
        }

        #[test]
        fn no_answer_panics(answer: Vec<u8>) {
            let _ = parse(&answer, "mx1");
        }

        #[test]
        fn no_member_panics(name in "[a-z_]{0,14}", value in "[-+0-9eE.\"a-z{}]{0,24}") {
            let _ = read_members(&format!("\"{name}\":{value}"));
        }
    }
}
