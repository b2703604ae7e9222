//! Prometheus' text exposition, and the selectors that pick figures from it.
//!
//! Known exporters, and what to write for `queued` (and for `sessions`, where they give it):
//!
//! | exporter | figures |
//! |---|---|
//! | Hsn723/`postfix_exporter` | `queued: 'postfix_showq_queue_depth{queue="active"} + postfix_showq_queue_depth{queue="incoming"}'`, `deferred: 'postfix_showq_queue_depth{queue="deferred"}'` |
//! | gvengel/`exim_exporter` | `queued: exim_queue` |
//! | `KumoMTA` | `sessions: 'connection_count{service="esmtp_listener"}'`, `queued: ready_count` |
//! | `lbd agent` | `queued: lbd_agent_queued_messages` |
//!
//! The format is <https://prometheus.io/docs/instrumenting/exposition_formats/>; OpenMetrics 1.0 is
//! close enough to be read by the same lines.

mod emit;
mod line;
mod selector;

pub use emit::{CONTENT_TYPE, emit};
pub use selector::{Selector, SelectorError};

use super::error::{shorten, text};
use super::{Figure, Figures, MAX_ANSWER_BYTES, Sample, SampleError};

/// Reads the figures that `selectors` name: each is the sum of the series it selects, and at least
/// one series must be there.
pub fn parse(answer: &[u8], selectors: &Figures<Selector>) -> Result<Sample, SampleError> {
    let text = text(answer, MAX_ANSWER_BYTES)?;
    let mut sums: Vec<Option<f64>> = vec![None; selectors.iter().count()];
    let mut hints: Vec<Option<&str>> = vec![None; sums.len()];
    for (number, text) in (1..).zip(text.lines()) {
        let series = line::parse(text).map_err(|reason| SampleError::Malformed {
            format: "Prometheus text",
            line: number,
            reason: reason.to_owned(),
        })?;
        let Some(series) = series else { continue };
        for (n, (_, selector)) in selectors.iter().enumerate() {
            if selector.selects(&series) {
                sums[n] = Some(sums[n].unwrap_or(0.0) + series.value);
            } else if selector.resembles(series.name) {
                hints[n] = Some(series.name);
            }
        }
    }
    let mut sample = Sample::default();
    for (n, (figure, selector)) in selectors.iter().enumerate() {
        let sum = sums[n].ok_or_else(|| missing(figure, selector, hints[n]))?;
        sample.set(figure, figure.count(sum)?);
    }
    Ok(sample)
}

fn missing(figure: Figure, selector: &Selector, hint: Option<&str>) -> SampleError {
    let hint = hint.map_or_else(String::new, |name| format!("; there is {}", shorten(name)));
    SampleError::Missing {
        sought: format!("{figure} (series {selector}{hint})"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn queued(selector: &str) -> Figures<Selector> {
        Figures::new([(Figure::Queued, selector.parse().unwrap())])
    }

    fn read(answer: &str, selector: &str) -> Result<u64, &'static str> {
        parse(answer.as_bytes(), &queued(selector))
            .map(|sample| sample.queued.unwrap())
            .map_err(|error| error.kind())
    }

    #[test]
    fn real_expositions_are_read() {
        let postfix = include_str!("../../../testdata/stats/postfix_exporter.prom");
        let kumo = include_str!("../../../testdata/stats/kumomta.prom");
        let table = [
            (postfix, "postfix_showq_queue_depth", Ok(365)),
            (
                postfix,
                r#"postfix_showq_queue_depth{queue="active"}"#,
                Ok(20),
            ),
            (
                postfix,
                r#"postfix_showq_queue_depth{queue="active"} + postfix_showq_queue_depth{queue="incoming"}"#,
                Ok(25),
            ),
            (
                postfix,
                r#"postfix_showq_queue_depth{queue!="deferred"}"#,
                Ok(25),
            ),
            (
                postfix,
                r#"postfix_showq_queue_depth{queue="corrupt"}"#,
                Err("missing"),
            ),
            (postfix, "showq_queue_depth", Err("missing")),
            (
                kumo,
                r#"connection_count{service="esmtp_listener"}"#,
                Ok(41),
            ),
            (kumo, "connection_count", Ok(59)),
        ];
        for (answer, selector, expected) in table {
            assert_eq!(read(answer, selector), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("", "empty"),
            ("# only a comment\n", "missing"),
            ("queue NaN\n", "not_a_number"),
            ("queue -1\n", "negative"),
            ("queue +Inf\n", "too_large"),
            ("queue 1e12\n", "too_large"),
            ("queue\n", "malformed"),
            ("queue one\n", "malformed"),
            ("queue{a=\"b} 1\n", "malformed"),
            ("<html>\n", "malformed"),
        ];
        for (answer, kind) in table {
            assert_eq!(read(answer, "queue"), Err(kind), "{answer}");
        }
    }

    #[test]
    fn a_name_without_its_prefix_is_hinted_at() {
        let error = parse(
            b"postfix_showq_queue_depth 3\n",
            &queued("showq_queue_depth"),
        );
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("there is postfix_showq_queue_depth"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn no_answer_panics(answer: Vec<u8>) {
            let _ = parse(&answer, &queued("queue"));
        }

        #[test]
        fn no_exposition_panics(answer in "(queue|[{}=\",#\\\\ \n]|a|[-+0-9.eNI]{0,5}){0,40}") {
            let _ = parse(answer.as_bytes(), &queued("queue"));
        }
    }
}
