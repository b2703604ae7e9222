//! The text of an exposition: families with their help, samples with their labels.
use std::fmt::Write as _;

/// How the text is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::daemon) enum Format {
    /// OpenMetrics 1.0.0: a counter's family has its name without `_total`, units have a line, `# EOF`.
    OpenMetrics,
    /// Prometheus' older text format, 0.0.4, which `promtool check metrics` and `curl` read.
    Prometheus,
}

impl Format {
    /// What a scraper that sends this `Accept` header reads.
    pub(in crate::daemon) fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The HTTP content type.
    pub(in crate::daemon) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What a family's samples are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Grows, until the daemon starts again.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1: the labels are what is said.
    Info,
}

/// A sample's value. Counts stay whole: above 2^53 a float would lose the last ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(whole: u64) -> Self {
        Self::Whole(whole)
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Whole(is.into())
    }
}

impl From<f64> for Value {
    fn from(real: f64) -> Self {
        Self::Real(real)
    }
}

/// Names of labels with their values.
pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

/// A text that grows by families.
#[derive(Debug)]
pub(super) struct Page {
    format: Format,
    text: String,
}

impl Page {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            text: String::new(),
        }
    }

    /// A family with its samples; without a sample it is left out. `name` has the unit, and neither
    /// `_total` nor `_info`.
    pub(super) fn family<'a, V: Into<Value>>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, V)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let suffix = match kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Info => "_info",
        };
        // Writing to a String cannot fail, here and below.
        let _ = self.describe(kind, name, suffix, help);
        for (labels, value) in samples {
            let _ = self.sample(name, suffix, &labels, value.into());
        }
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, kind: Kind, name: &str, help: &str, value: impl Into<Value>) {
        self.family(kind, name, help, [(Labels::new(), value)]);
    }

    /// The whole text.
    pub(super) fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn describe(&mut self, kind: Kind, name: &str, suffix: &str, help: &str) -> std::fmt::Result {
        let (family, word) = match (self.format, kind) {
            (Format::OpenMetrics, Kind::Counter) => (name.to_owned(), "counter"),
            (Format::OpenMetrics, Kind::Info) => (name.to_owned(), "info"),
            (Format::Prometheus, Kind::Counter) => (format!("{name}{suffix}"), "counter"),
            (Format::Prometheus, Kind::Info) => (format!("{name}{suffix}"), "gauge"),
            (_, Kind::Gauge) => (name.to_owned(), "gauge"),
        };
        writeln!(self.text, "# TYPE {family} {word}")?;
        if self.format == Format::OpenMetrics
            && let Some(unit) = unit(name)
        {
            writeln!(self.text, "# UNIT {family} {unit}")?;
        }
        let help = escaped(help, self.format == Format::OpenMetrics);
        writeln!(self.text, "# HELP {family} {help}")
    }

    fn sample(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &Labels<'_>,
        value: Value,
    ) -> std::fmt::Result {
        write!(self.text, "{name}{suffix}")?;
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            write!(self.text, "{before}{label}=\"{}\"", escaped(text, true))?;
        }
        let close = if labels.is_empty() { " " } else { "} " };
        match value {
            Value::Whole(whole) => writeln!(self.text, "{close}{whole}"),
            Value::Real(real) => writeln!(self.text, "{close}{real}"),
        }
    }
}

/// The unit that a name ends with.
fn unit(name: &str) -> Option<&'static str> {
    ["seconds", "bytes"].into_iter().find(|unit| {
        name.strip_suffix(unit)
            .is_some_and(|rest| rest.ends_with('_'))
    })
}

/// Help of the older format keeps its quotes as they are.
fn escaped(text: &str, quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quotes => escaped.push_str("\\\""),
            other => escaped.push(other),
        }
    }
    escaped
}
