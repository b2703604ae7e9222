//! Spans in which a backend took no new sessions.
//!
//! The samples say in which minutes that was, whoever was master; what happened says to the second
//! when it began and ended, and why.
use std::collections::BTreeMap;

use super::ShutOff;
use crate::history::{Happened, Sample, begin_of, minute_of};

/// Spans from samples in the order of minutes, and what happened in the order of time.
pub(super) fn shut_offs(samples: &[&Sample], happened: &[&Happened]) -> Vec<ShutOff> {
    let mut by_backend: BTreeMap<&str, BTreeMap<u32, (u64, &str)>> = BTreeMap::new();
    let mut last_minute = 0;
    for sample in samples {
        last_minute = last_minute.max(sample.minute);
        if sample.off_s > 0 {
            let minutes = by_backend.entry(&sample.backend).or_default();
            let (off_s, reason) = minutes.entry(sample.minute).or_default();
            *off_s += u64::from(sample.off_s);
            *reason = &sample.reason;
        }
    }
    let mut spans = Vec::new();
    for (backend, minutes) in by_backend {
        let mut minutes = minutes.into_iter().peekable();
        while let Some((first, (mut off_s, kind))) = minutes.next() {
            let mut last = first;
            while let Some((minute, (more, _))) = minutes.next_if(|(minute, _)| *minute <= last + 1)
            {
                last = minute;
                off_s += more;
            }
            let lasts = last == last_minute;
            spans.push(span(backend, (first, last), off_s, kind, lasts, happened));
        }
    }
    spans.sort_by(|a, b| (a.from_unix_s, &a.backend).cmp(&(b.from_unix_s, &b.backend)));
    spans
}

fn span(
    backend: &str,
    (first, last): (u32, u32),
    off_s: u64,
    kind: &str,
    was_last: bool,
    happened: &[&Happened],
) -> ShutOff {
    let (begin, end) = (begin_of(first), begin_of(last) + 60);
    let of = |wanted: &'static str| {
        let on = move |one: &&&Happened| {
            one.kind == wanted && one.subject == backend && (begin..end).contains(&one.unix_s)
        };
        happened.iter().filter(on)
    };
    // The master's word counts; a node that was a backup then says less.
    let begins = of("shut-off").find(|one| one.as_master);
    let begins = begins.or_else(|| of("shut-off").next());
    let returns = of("return").rfind(|one| one.as_master);
    let from = begins.filter(|one| minute_of(one.unix_s) == first);
    let to = returns.filter(|one| minute_of(one.unix_s) == last);
    let reason = begins.map_or(kind, |one| {
        one.text
            .split_once("takes no new sessions: ")
            .map_or(one.text.as_str(), |(_, reason)| reason)
    });
    let from_unix_s = from.map_or(begin, |one| one.unix_s);
    ShutOff {
        backend: backend.to_owned(),
        from_unix_s,
        to_unix_s: to.map_or(end, |one| one.unix_s).max(from_unix_s),
        off_s,
        lasts: was_last && to.is_none(),
        reason_kind: kind.to_owned(),
        reason: reason.to_owned(),
    }
}
