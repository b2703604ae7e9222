//! The exposition against the rules of OpenMetrics 1.0.0, read by a parser of its own.
use std::collections::{BTreeMap, BTreeSet};

use super::{Format, Group, exposition};
use crate::daemon::observe::status::{Status, tests::small};

/// A family as the parser found it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    unit: Option<String>,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads OpenMetrics text, and panics at anything the specification forbids.
fn parsed(text: &str) -> BTreeMap<String, Family> {
    let body = text.strip_suffix("# EOF\n").expect("# EOF ends the text");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut last = String::new();
    for line in body.lines() {
        assert!(!line.is_empty() && line.trim() == line, "{line:?}");
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let (word, name, rest) = (
                words.next().unwrap(),
                words.next().unwrap(),
                words.next().unwrap(),
            );
            if word == "TYPE" {
                assert!(!families.contains_key(name), "{name} comes twice");
                name.clone_into(&mut last);
            }
            assert_eq!(name, last, "families are not mixed: {line}");
            let family = families.entry(name.to_owned()).or_default();
            match word {
                "TYPE" => rest.clone_into(&mut family.kind),
                "HELP" => rest.clone_into(&mut family.help),
                "UNIT" => family.unit = Some(rest.to_owned()),
                other => panic!("{other}"),
            }
            assert!(family.samples.is_empty(), "metadata comes first: {line}");
            continue;
        }
        let family = families.get_mut(&last).expect("a family before samples");
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = match series.split_once('{') {
            None => (series, BTreeMap::new()),
            Some((name, rest)) => (name, labels(rest.strip_suffix('}').expect("}"))),
        };
        let suffix = name.strip_prefix(last.as_str()).expect("of this family");
        match family.kind.as_str() {
            "counter" => assert_eq!(suffix, "_total", "{line}"),
            "gauge" => assert_eq!(suffix, "", "{line}"),
            "info" => assert!(suffix == "_info" && value == "1", "{line}"),
            other => panic!("{other}"),
        }
        assert!(
            !family
                .samples
                .iter()
                .any(|(known, with, _)| known == name && *with == labels),
            "twice: {line}"
        );
        family
            .samples
            .push((name.to_owned(), labels, value.parse().expect("a number")));
    }
    families
}

/// `a="b",c="d\"e"`.
fn labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").expect("=\"");
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => match characters.next().expect("an escaped character").1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "{text}");
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    labels
}

fn awkward() -> Status {
    let mut status = small();
    status.backends[0].name = "m\"x\\1\n".to_owned();
    status.backends[0].operator = Some("weight 7".to_owned());
    status.backends[0]
        .shut_offs
        .insert("shut_off_above_average".to_owned(), 3);
    status
}

#[test]
fn the_text_is_open_metrics_with_help_and_units() {
    let families = parsed(&exposition(&awkward(), Format::OpenMetrics));
    for (name, family) in &families {
        assert!(name.starts_with("lbd_"), "{name}");
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
            "{name}"
        );
        assert!(family.help.ends_with('.'), "{name}: {}", family.help);
        assert!(!family.samples.is_empty(), "{name} has no sample");
        for unit in ["seconds", "bytes"] {
            let has = name.ends_with(&format!("_{unit}"));
            assert_eq!(family.unit.as_deref() == Some(unit), has, "{name}");
        }
        for short in ["_ms", "_ns", "_s", "_permille", "_percent"] {
            assert!(!name.ends_with(short), "{name} is in no base unit");
        }
    }
    let sessions = &families["lbd_backend_sessions"].samples;
    assert_eq!(sessions[0].1["backend"], "m\"x\\1\n");
    assert!((sessions[0].2 - 12.0).abs() < f64::EPSILON, "{sessions:?}");
    let shut_offs = &families["lbd_backend_shut_offs"].samples;
    assert_eq!(shut_offs[0].1["reason"], "shut_off_above_average");
}

#[test]
fn a_figure_that_is_not_known_has_no_sample() {
    let mut status = small();
    status.backends[0].reported = None;
    let families = parsed(&exposition(&status, Format::OpenMetrics));
    assert!(!families.contains_key("lbd_backend_reported_queued_messages"));
}

#[test]
fn both_formats_have_the_same_samples() {
    let samples = |format| -> BTreeSet<String> {
        exposition(&awkward(), format)
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(samples(Format::OpenMetrics), samples(Format::Prometheus));
    let old = exposition(&awkward(), Format::Prometheus);
    assert!(old.contains("# TYPE lbd_backend_steered_bytes_total counter\n"));
    assert!(!old.contains("# UNIT"));
}

#[test]
fn a_scraper_gets_the_format_it_asks_for() {
    let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    for (accept, expected) in [
        (prometheus, Format::OpenMetrics),
        ("*/*", Format::Prometheus),
        ("", Format::Prometheus),
    ] {
        assert_eq!(Format::accepted(accept), expected, "{accept}");
    }
}

/// Every word of a text that is a name of a metric.
fn names_in(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("lbd_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn alerts_and_dashboard_name_only_metrics_that_exist() {
    let mut status = awkward();
    for (group, values) in [
        (Group::DataPlane, &mut status.counters),
        (Group::Election, &mut status.election_counters),
        (Group::Channel, &mut status.channel.counters),
        (Group::History, &mut status.history.counters),
    ] {
        *values = group
            .terms()
            .into_iter()
            .map(|(name, _)| (name.to_owned(), 0))
            .collect();
    }
    let there = names_in(&exposition(&status, Format::Prometheus));
    for (file, text) in [
        (
            "lbd.rules.yml",
            include_str!("../../../../../deploy/prometheus/lbd.rules.yml"),
        ),
        (
            "lbd.test.yml",
            include_str!("../../../../../deploy/prometheus/lbd.test.yml"),
        ),
        (
            "lbd.json",
            include_str!("../../../../../deploy/grafana/lbd.json"),
        ),
    ] {
        let named = names_in(text);
        assert!(named.len() > 2, "{file} names no metric");
        for name in named {
            // A pattern of several.
            let known = there.contains(&name)
                || name.ends_with('_') && there.iter().any(|known| known.starts_with(&name));
            assert!(known, "{file} names {name}");
        }
    }
}
