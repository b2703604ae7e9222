//! Which series make up a figure.

use std::fmt;
use std::str::FromStr;

use super::line::{Series, is_label_name, is_metric_name, quoted};

/// One or more terms joined by `+`, each a metric's name with label conditions (`=` and `!=`). All
/// series that any term selects are summed, each once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selector {
    terms: Vec<Term>,
    text: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Term {
    name: String,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Condition {
    label: String,
    equal: bool,
    value: String,
}

/// Why a text is no selector.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SelectorError {
    /// A term does not start with a metric's name.
    #[error("the selector has no metric name at {0:?}: write name{{label=\"value\"}}")]
    Name(String),
    /// Something is wrong between the braces.
    #[error("the selector is wrong at {at:?}: {wrong}")]
    Condition {
        /// The rest of the selector from there on.
        at: String,
        /// What is wrong.
        wrong: &'static str,
    },
    /// `=~` or `!~`.
    #[error(
        "regular expressions are not supported: join the series by +, as in a{{q=\"x\"}} + a{{q=\"y\"}}"
    )]
    Regex,
}

impl Selector {
    /// Whether the series is one of those summed.
    pub(super) fn selects(&self, series: &Series<'_>) -> bool {
        self.terms.iter().any(|term| term.selects(series))
    }

    /// Whether a series that was not selected may have been meant: the same metric with other
    /// labels, or with a prefix such as `postfix_`, which is easily forgotten.
    pub(super) fn resembles(&self, name: &str) -> bool {
        self.terms.iter().any(|term| {
            name.strip_suffix(term.name.as_str())
                .is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('_'))
        })
    }
}

impl Term {
    fn selects(&self, series: &Series<'_>) -> bool {
        self.name == series.name
            && self.conditions.iter().all(|condition| {
                // As in Prometheus, an absent label equals the empty text.
                let value = series
                    .labels
                    .iter()
                    .find(|(label, _)| *label == condition.label)
                    .map_or("", |(_, value)| value);
                (value == condition.value) == condition.equal
            })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        let mut rest = text;
        loop {
            let (term, after) = term(rest.trim_start())?;
            terms.push(term);
            let after = after.trim_start();
            if after.is_empty() {
                let text = text.trim().to_owned();
                return Ok(Self { terms, text });
            }
            rest = after
                .strip_prefix('+')
                .ok_or_else(|| wrong(after, "only + may follow a term"))?;
        }
    }
}

fn term(text: &str) -> Result<(Term, &str), SelectorError> {
    let end = text
        .find(|c: char| c == '{' || c == '+' || c.is_whitespace())
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if !is_metric_name(name) {
        return Err(SelectorError::Name(text.to_owned()));
    }
    let (conditions, rest) = match rest.trim_start().strip_prefix('{') {
        Some(rest) => conditions(rest)?,
        None => (Vec::new(), rest),
    };
    let name = name.to_owned();
    Ok((Term { name, conditions }, rest))
}

fn conditions(mut rest: &str) -> Result<(Vec<Condition>, &str), SelectorError> {
    let mut conditions = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((conditions, rest));
        }
        let operator = rest
            .find(['=', '!'])
            .ok_or_else(|| wrong(rest, "a condition is label=\"value\" or label!=\"value\""))?;
        let (label, after) = rest.split_at(operator);
        let label = label.trim();
        if !is_label_name(label) {
            return Err(wrong(rest, "no label name"));
        }
        let (equal, after) = if after.starts_with("=~") || after.starts_with("!~") {
            return Err(SelectorError::Regex);
        } else if let Some(after) = after.strip_prefix("!=") {
            (false, after)
        } else if let Some(after) = after.strip_prefix('=') {
            (true, after)
        } else {
            return Err(wrong(after, "a condition has = or !="));
        };
        let after = after.trim_start();
        let (value, after) = quoted(after).map_err(|reason| wrong(after, reason))?;
        conditions.push(Condition {
            label: label.to_owned(),
            equal,
            value,
        });
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err(wrong(rest, "neither , nor } after a condition")),
        }
    }
}

fn wrong(at: &str, wrong: &'static str) -> SelectorError {
    SelectorError::Condition {
        at: at.to_owned(),
        wrong,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::line;
    use super::*;

    fn selects(selector: &str, series: &str) -> bool {
        let series = line::parse(series).unwrap().unwrap();
        selector.parse::<Selector>().unwrap().selects(&series)
    }

    #[test]
    fn conditions_are_all_required() {
        let series = r#"depth{queue="active",age="1"} 5"#;
        let table = [
            ("depth", true),
            ("depth{}", true),
            (r#"depth{queue="active"}"#, true),
            (r#"depth{ queue = "active" , age="1", }"#, true),
            (r#"depth{queue="active",age="2"}"#, false),
            (r#"depth{queue!="active"}"#, false),
            (r#"depth{host=""}"#, true),
            (r#"depth{host!="a"}"#, true),
            ("dept", false),
            ("other + depth", true),
            (r#"depth{age="2"}+depth{age="1"}"#, true),
        ];
        for (selector, expected) in table {
            assert_eq!(selects(selector, series), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("", "metric name"),
            ("9lives", "metric name"),
            ("a +", "metric name"),
            ("sum(a)", "metric name"),
            ("a b", "only + may follow"),
            ("a{b}", "label=\"value\""),
            ("a{b=c}", "without quotes"),
            ("a{b=\"c", "not closed"),
            ("a{b=\"c\" d=\"e\"}", "neither , nor }"),
            ("a{b=~\"c|d\"}", "regular expressions"),
        ];
        for (selector, expected) in table {
            let error = selector.parse::<Selector>().unwrap_err().to_string();
            assert!(error.contains(expected), "{selector}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(a|[{}=!~+\", \\\\]){0,30}") {
            let _ = text.parse::<Selector>();
        }
    }
}
