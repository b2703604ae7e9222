//! One line of the text exposition.

/// A series and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series<'a> {
    /// The metric's name.
    pub(super) name: &'a str,
    /// Names and unescaped values.
    pub(super) labels: Vec<(&'a str, String)>,
    /// May be NaN or infinite.
    pub(super) value: f64,
}

/// Whether a metric may be named so.
pub(super) fn is_metric_name(name: &str) -> bool {
    is_name(name, true)
}

/// Whether a label may be named so.
pub(super) fn is_label_name(name: &str) -> bool {
    is_name(name, false)
}

fn is_name(name: &str, colon: bool) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':'))
}

/// Reads a line; `None` for an empty one and a comment.
pub(super) fn parse(line: &str) -> Result<Option<Series<'_>>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line
        .find(['{', ' ', '\t'])
        .ok_or("a name without a value")?;
    let (name, rest) = line.split_at(end);
    if !is_metric_name(name) {
        return Err("no metric name");
    }
    let rest = rest.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    // What follows the value is a timestamp or an exemplar: neither matters here.
    let value = rest.split_ascii_whitespace().next().unwrap_or_default();
    let value = value.parse().map_err(|_| "the value is not a number")?;
    Ok(Some(Series {
        name,
        labels,
        value,
    }))
}

type Labels<'a> = Vec<(&'a str, String)>;

/// Reads `name="value",...}` and gives what follows the brace.
pub(super) fn labels(mut rest: &str) -> Result<(Labels<'_>, &str), &'static str> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, after) = rest.split_once('=').ok_or("a label without =")?;
        let name = name.trim();
        if !is_label_name(name) {
            return Err("no label name");
        }
        let (value, after) = quoted(after.trim_start())?;
        labels.push((name, value));
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err("neither , nor } after a label"),
        }
    }
}

/// Reads `"text"` with its escapes `\\`, `\"` and `\n`, and gives what follows.
pub(super) fn quoted(text: &str) -> Result<(String, &str), &'static str> {
    let mut chars = text
        .strip_prefix('"')
        .ok_or("a value without quotes")?
        .chars();
    let mut value = String::new();
    loop {
        match chars.next() {
            Some('"') => return Ok((value, chars.as_str())),
            Some('\\') => match chars.next() {
                Some('n') => value.push('\n'),
                Some(c @ ('\\' | '"')) => value.push(c),
                _ => return Err("an escape that is not \\\\, \\\" or \\n"),
            },
            Some(c) => value.push(c),
            None => return Err("a quote that is not closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, labels and value.
    type Expected = (&'static str, &'static [(&'static str, &'static str)], f64);

    #[test]
    fn a_series_is_taken_apart() {
        let table: [(&str, Expected); 6] = [
            ("up 1", ("up", &[], 1.0)),
            ("a:b{} 2 1732250000123", ("a:b", &[], 2.0)),
            (
                "q{a=\"1\",b=\"x y\"} 3.5",
                ("q", &[("a", "1"), ("b", "x y")], 3.5),
            ),
            ("q{ a = \"1\" , } 4", ("q", &[("a", "1")], 4.0)),
            (
                "q {a=\"}\\\"\\\\\\n\"} 5 # {trace_id=\"1\"} 2",
                ("q", &[("a", "}\"\\\n")], 5.0),
            ),
            ("q +Inf", ("q", &[], f64::INFINITY)),
        ];
        for (line, (name, labels, value)) in table {
            let series = parse(line).unwrap().unwrap();
            let labels: Vec<_> = labels
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect();
            assert_eq!(
                series,
                Series {
                    name,
                    labels,
                    value
                },
                "{line}"
            );
        }
    }

    #[test]
    fn comments_and_empty_lines_are_no_series() {
        for line in ["", "  ", "# HELP q depth", "#", "# EOF"] {
            assert_eq!(parse(line), Ok(None), "{line}");
        }
    }
}
