//! Spans in which a backend took no new sessions.
//!
//! The samples say in which minutes that was, whoever was master; what happened says to the second
//! when it began and ended, and why.
use std::collections::BTreeMap;

use super::ShutOff;
use crate::history::{Happened, NameId, RowStore, begin_of, minute_of};

/// A minute, for how many seconds of it no new session was taken, and the last reason.
type OffMinute = (u32, u64, NameId);

/// Spans from rows in the order of time.
pub(super) fn shut_offs(rows: &RowStore) -> Vec<ShutOff> {
    let mut by_backend: BTreeMap<NameId, Vec<OffMinute>> = BTreeMap::new();
    for sample in rows.samples.iter().filter(|sample| sample.off_s > 0) {
        let minutes = by_backend.entry(sample.backend).or_default();
        let off_s = u64::from(sample.off_s);
        match minutes.last_mut() {
            Some((minute, sum, reason)) if *minute == sample.minute => {
                *sum += off_s;
                *reason = sample.reason;
            }
            _ => minutes.push((sample.minute, off_s, sample.reason)),
        }
    }
    let last_minute = rows.samples.last().map_or(0, |sample| sample.minute);
    let mut spans = Vec::new();
    for (backend, minutes) in by_backend {
        let mut minutes = minutes.into_iter().peekable();
        while let Some((first, mut off_s, kind)) = minutes.next() {
            let mut last = first;
            while let Some((minute, more, _)) = minutes.next_if(|(minute, ..)| *minute <= last + 1)
            {
                last = minute;
                off_s += more;
            }
            let lasts = last == last_minute;
            let (backend, kind) = (rows.name(backend), rows.name(kind));
            let happened = &rows.happened;
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
    happened: &[Happened],
) -> ShutOff {
    let (begin, end) = (begin_of(first), begin_of(last) + 60);
    let of = |wanted: &'static str| {
        let on = move |one: &&Happened| {
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
