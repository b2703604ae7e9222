//! A report as OpenMetrics text, which Prometheus' older text parser reads too.

use std::fmt::Write;

use super::super::{AgentState, Report};

/// The HTTP content type of [`emit`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes a report. A figure that is not known is left out.
#[must_use]
pub fn emit(report: &Report) -> String {
    let sample = &report.sample;
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: Option<u64>| {
        if let Some(value) = value {
            let _ = writeln!(
                text,
                "# TYPE {name} gauge\n# HELP {name} {help}\n{name} {value}"
            );
        }
    };
    gauge(
        "lbd_agent_queued_messages",
        "Messages that wait for this box to work on them.",
        sample.queued,
    );
    gauge(
        "lbd_agent_deferred_messages",
        "Messages that wait for another box or for a person.",
        sample.deferred,
    );
    gauge(
        "lbd_agent_sessions",
        "Open SMTP conversations, also those not yet accepted.",
        sample.sessions,
    );
    gauge(
        "lbd_agent_unique_ips",
        "Different client addresses among the sessions.",
        sample.unique_ips,
    );
    gauge(
        "lbd_agent_not_accepted_sessions",
        "Sessions that the MTA has not accepted yet.",
        sample.not_accepted,
    );
    gauge(
        "lbd_agent_takes_sessions",
        "1 while this box wants new sessions.",
        Some(sample.state.takes_sessions().into()),
    );
    gauge(
        "lbd_agent_vip_ready",
        "1 while each VIP is on an interface and has a listener.",
        sample.vip_ready.map(u64::from),
    );
    let state = match sample.state {
        AgentState::Unsaid => "unsaid",
        state => state.word().unwrap_or_default(),
    };
    let _ = writeln!(
        text,
        "# TYPE lbd_agent info\n# HELP lbd_agent The node, its mail server and its state.\n\
         lbd_agent_info{{node=\"{}\",mta=\"{}\",state=\"{state}\"}} 1\n# EOF",
        escape(&report.node),
        report.mta.unwrap_or("none"),
    );
    text
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::super::{Figure, Figures, Sample};
    use super::*;

    #[test]
    fn what_is_written_is_read_back_by_selectors() {
        let report = Report {
            node: "m\"x\\1".into(),
            time_unix_ms: 0,
            mta: Some("postfix"),
            sample: Sample {
                queued: Some(12),
                unique_ips: Some(3),
                ..Sample::default()
            },
        };
        let text = emit(&report);
        let selectors = Figures::new([
            (Figure::Queued, "lbd_agent_queued_messages".parse().unwrap()),
            (Figure::UniqueIps, "lbd_agent_unique_ips".parse().unwrap()),
            (
                Figure::Sessions,
                r#"lbd_agent_info{node="m\"x\\1",mta="postfix"}"#.parse().unwrap(),
            ),
        ]);
        let sample = super::super::parse(text.as_bytes(), &selectors).unwrap();
        assert_eq!(sample.queued, Some(12));
        assert_eq!(sample.unique_ips, Some(3));
        assert_eq!(sample.sessions, Some(1));
        assert!(!text.contains("lbd_agent_deferred"), "unknown is not 0");
        assert!(text.ends_with("# EOF\n"));
    }
}
