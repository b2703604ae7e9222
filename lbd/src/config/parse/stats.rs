//! `stats`: the keys of a source stand in the same table.
use super::{HOUR, MS, SECOND};
use crate::config::{
    choice,
    reader::Table,
    source::Complaint,
    stats::{Fields, Source, Stats},
    values,
};

/// `cluster.stats`.
pub(super) fn stats(mut t: Table<'_>) -> Stats {
    let interval = t.or("interval", 10 * SECOND, values::time(100 * MS..=HOUR));
    let timeout = t.or(
        "timeout",
        interval.min(2 * SECOND),
        values::time(10 * MS..=HOUR),
    );
    let source = source(&mut t, Level::Cluster);
    t.finish();
    Stats {
        interval,
        timeout,
        source,
    }
}

/// Where a source is configured.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Level {
    /// For all backends: one address would ask one box for the figures of all.
    Cluster,
    /// For one.
    Backend,
}

/// The keys of a source, which stand in the same table.
fn source(t: &mut Table<'_>, level: Level) -> Source {
    let kind = t.or("source", SourceKind::Lbd, choice::read);
    let address = |t: &mut Table<'_>| match level {
        Level::Cluster => None,
        Level::Backend => t.optional("address", None, values::socket),
    };
    match kind {
        SourceKind::Lbd => Source::Lbd {
            address: address(t),
        },
        SourceKind::AgentCheck => Source::AgentCheck {
            address: address(t),
        },
        SourceKind::HttpJson => Source::HttpJson {
            url: t
                .required("url", "http://{address}:8080/stats", values::url)
                .unwrap_or_default(),
            ca_file: t.optional("ca_file", None, values::path),
            fields: fields(t, json_pointer, "/queue/active"),
        },
        SourceKind::Prometheus => Source::Prometheus {
            url: t
                .required("url", "http://{address}:9154/metrics", values::url)
                .unwrap_or_default(),
            ca_file: t.optional("ca_file", None, values::path),
            fields: fields(t, values::text, "postfix_showq_queue_depth"),
        },
        SourceKind::Command => Source::Command {
            command: command(t),
        },
        SourceKind::None => Source::None,
    }
}

choice::choice! {
    /// The names of [`Source`]'s variants.
    enum SourceKind {
        /// [`Source::Lbd`].
        Lbd = "lbd",
        /// [`Source::HttpJson`].
        HttpJson = "http-json",
        /// [`Source::Prometheus`].
        Prometheus = "prometheus",
        /// [`Source::AgentCheck`].
        AgentCheck = "agent-check",
        /// [`Source::Command`].
        Command = "command",
        /// [`Source::None`].
        None = "none",
    }
}

fn fields(
    t: &mut Table<'_>,
    read: impl Fn(&str) -> Result<String, Complaint> + Copy,
    example: &str,
) -> Fields {
    let fields = Fields {
        queued: t.optional("queued", None, read),
        deferred: t.optional("deferred", None, read),
        sessions: t.optional("sessions", None, read),
        unique_ips: t.optional("unique_ips", None, read),
        not_accepted: t.optional("not_accepted", None, read),
    };
    let names = [
        "queued",
        "deferred",
        "sessions",
        "unique_ips",
        "not_accepted",
    ];
    if !names.iter().any(|name| t.has_value(name)) {
        t.complain(
            "source",
            Complaint::new(
                "it asks for no figure",
                format!(
                    "add at least one of {}, for example `queued: {example}`",
                    names.join(", ")
                ),
            ),
        );
    }
    fields
}

fn json_pointer(text: &str) -> Result<String, Complaint> {
    if text.starts_with('/') {
        return values::text(text);
    }
    Err(Complaint::new(
        format!("{text:?} is no JSON pointer"),
        "start it with `/`: /queue/active",
    ))
}

fn command(t: &mut Table<'_>) -> Vec<String> {
    let Some(command) = t.list("command", values::text) else {
        t.missing("command", "[/usr/local/bin/queue-figures, \"{address}\"]");
        return Vec::new();
    };
    check_program(t, "command", &command);
    command
}

/// A program and its arguments, or none.
pub(super) fn program(t: &mut Table<'_>, key: &'static str) -> Vec<String> {
    let words = t.list(key, values::text).unwrap_or_default();
    if !words.is_empty() {
        check_program(t, key, &words);
    }
    words
}

fn check_program(t: &mut Table<'_>, key: &'static str, words: &[String]) {
    if !words
        .first()
        .is_some_and(|program| program.starts_with('/'))
    {
        t.complain(
            key,
            Complaint::new(
                "it does not start with the absolute path of a program",
                "write [/path/to/program, argument]; no shell reads it",
            ),
        );
    }
}

/// A backend's `stats`.
pub(super) fn own_source(mut t: Table<'_>) -> Source {
    if !t.has("source") {
        // Which other keys are valid depends on it.
        t.missing_alone("source", "prometheus");
        return Source::None;
    }
    let source = source(&mut t, Level::Backend);
    t.finish();
    source
}
