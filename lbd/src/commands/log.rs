//! The log: lines for people, JSON for programs, or the journal with fields of its own.
use std::{
    fs::File,
    io::{self, Write},
    os::{fd::AsFd as _, linux::fs::MetadataExt as _},
};

use anyhow::Context as _;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{MakeWriter, format},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::plain;

/// How `lbd run` logs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// The journal where the standard error is one, else text.
    #[default]
    Auto,
    /// Lines for people, on the standard error.
    Text,
    /// An object a line, on the standard error: `timestamp`, `level`, `message`, and for what happened to the
    /// node or a backend `event` and `backend` or `interface`.
    Json,
    /// The same as fields of the journal: `journalctl EVENT=health BACKEND=mx2`.
    Journald,
}

/// Starts the log. `LBD_LOG` chooses what is logged, `info` by default.
pub(super) fn start(format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("LBD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::registry().with(filter);
    let is_journal = is_journal();
    match format {
        LogFormat::Json => log.with(json(|| Plain(io::stderr()))).init(),
        LogFormat::Journald => log
            .with(journal().context("--log-format journald: no journal listens on this box")?)
            .init(),
        LogFormat::Auto if is_journal && let Ok(journal) = journal() => log.with(journal).init(),
        // The journal adds the time.
        LogFormat::Auto | LogFormat::Text if is_journal => {
            log.with(text(|| Plain(io::stderr())).without_time()).init();
        }
        LogFormat::Auto | LogFormat::Text => log.with(text(|| Plain(io::stderr()))).init(),
    }
    Ok(())
}

/// Whether systemd has connected the standard error to the journal: `JOURNAL_STREAM` names its device and
/// inode (systemd.exec(5)), and a child whose output goes elsewhere inherits the variable.
fn is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let metadata = stderr.and_then(|stderr| stderr.metadata());
    metadata.is_ok_and(|it| stream == *format!("{}:{}", it.st_dev(), it.st_ino()))
}

fn journal() -> io::Result<tracing_journald::Layer> {
    let identifier = "lbd".to_owned();
    // Without a prefix: BACKEND, not F_BACKEND.
    tracing_journald::layer().map(|layer| {
        layer
            .with_field_prefix(None)
            .with_syslog_identifier(identifier)
    })
}

/// Lines of a message each: what its fields say is in its words.
fn text<S, W>(
    writer: W,
) -> tracing_subscriber::fmt::Layer<
    S,
    impl for<'a> format::FormatFields<'a> + 'static,
    format::Format,
    W,
>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    let message = format::debug_fn(|writer, field, value| {
        if field.name() == "message" {
            write!(writer, "{value:?}")?;
        }
        Ok(())
    });
    tracing_subscriber::fmt::layer()
        .fmt_fields(message)
        .with_target(false)
        .with_writer(writer)
}

fn json<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_writer(writer)
}

/// Writes lines in which no text from outside changes what is shown around it.
struct Plain<W>(W);

impl<W: Write> Write for Plain<W> {
    /// An event comes as a whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = plain::lines(String::from_utf8_lossy(event).into_owned());
        self.0.write_all(text.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{info, subscriber::with_default};

    use super::*;

    /// What is written, for all who have a clone.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn read(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn say() {
        let none: Option<&str> = None;
        info!(
            event = "health",
            backend = Some("mx2"),
            interface = none,
            "mx2 is down: \"no\u{202e}\""
        );
    }

    #[test]
    fn a_json_line_has_the_fields_and_nothing_that_turns_it_round() {
        let paper = Paper::default();
        let to = paper.clone();
        let log = tracing_subscriber::registry().with(json(move || Plain(to.clone())));
        with_default(log, say);
        let line: serde_json::Value = serde_json::from_str(&paper.read()).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "mx2 is down: \"no\"");
        assert_eq!(line["event"], "health");
        assert_eq!(line["backend"], "mx2");
        assert!(line.get("interface").is_none());
        assert!(line["timestamp"].is_string());
        assert_eq!(paper.read().matches('\n').count(), 1);
    }

    #[test]
    fn a_text_line_is_its_message() {
        let paper = Paper::default();
        let to = paper.clone();
        let layer = text(move || Plain(to.clone()))
            .without_time()
            .with_ansi(false);
        with_default(tracing_subscriber::registry().with(layer), say);
        assert_eq!(paper.read(), " INFO mx2 is down: \"no\"\n");
    }

    #[test]
    fn a_log_line_is_not_turned_round() {
        let mut log = Vec::new();
        let event = "WARN mx1 says \u{202e}down\u{2028}\u{9b}2J\n";
        Plain(&mut log).write_all(event.as_bytes()).unwrap();
        assert_eq!(log, b"WARN mx1 says down2J\n");
    }
}
