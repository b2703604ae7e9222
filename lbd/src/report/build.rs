//! From rows to a report.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    BackendDay, BackendSeries, Day, DeniedSource, Event, Failover, Hour, Reign, Report, Series,
    Span, Total, TwoMasters, shut_off::shut_offs, worst::worst,
};
use crate::history::{
    Denied, Happened, NameId, Refusal, Reigned, RowStore, StoredSample, begin_of, minute_of,
};

/// Of the figures for plots.
const STEP_S: u64 = 600;
/// Two clocks may differ, and a master that yields does so within a second.
const OVERLAP_S: u64 = 5;
/// A span without figures that is worth a word: more than a restart.
const GAP_S: u64 = 15;
const SHOWN_SOURCES: usize = 20;
const SHOWN_EVENTS: usize = 200;

/// What the backends did in one minute together.
#[derive(Debug, Default)]
pub(super) struct MinuteSum {
    pub(super) sessions: u64,
    pub(super) bytes: u64,
    pub(super) most_open: u64,
    pub(super) queued: u64,
    /// Backends that took no new sessions, each once, in order.
    pub(super) off: Vec<NameId>,
    pub(super) turned_away: u64,
    pub(super) reset: u64,
}

impl MinuteSum {
    pub(super) fn lost(&self) -> u64 {
        self.turned_away + self.reset
    }
}

/// The day's rows in the order of time.
fn of_day(mut rows: RowStore, day: &Day) -> RowStore {
    rows.reigned.retain(|row| day.has(begin_of(row.minute)));
    rows.samples.retain(|row| day.has(begin_of(row.minute)));
    rows.denied.retain(|row| day.has(begin_of(row.minute)));
    rows.happened.retain(|row| day.has(row.unix_s));
    // Of two reigns in a minute the later one has the last word, whoever told of them first.
    rows.reigned.sort_by(|a, b| {
        let key = |row: &Reigned| (row.minute, row.since_unix_s);
        key(a).cmp(&key(b)).then_with(|| a.node.cmp(&b.node))
    });
    rows.samples
        .sort_by_key(|row| (row.minute, row.since_unix_s, row.node));
    rows.happened.sort_by(|a, b| {
        let what = a.kind.cmp(&b.kind);
        let what = what.then_with(|| a.subject.cmp(&b.subject));
        let what = what.then_with(|| a.text.cmp(&b.text));
        let when = a.unix_s.cmp(&b.unix_s);
        when.then_with(|| a.node.cmp(&b.node)).then(what)
    });
    rows
}

/// The report of a day from its rows, in any order; `None` when no master has left any.
#[must_use]
pub fn build(rows: RowStore, day: &Day, made_on: &str, now_unix_s: u64) -> Option<Report> {
    let rows = of_day(rows, day);
    if rows.reigned.is_empty() {
        return None;
    }
    let minutes = minutes(&rows);
    let shut_offs = shut_offs(&rows);
    let mut backends = backends(&rows);
    for backend in &mut backends {
        let own = shut_offs.iter().filter(|one| one.backend == backend.name);
        backend.shut_offs = own.count() as u64;
    }
    let masters = masters(&rows, day);
    let (gaps, covered_s) = gaps(&masters, day, now_unix_s);
    let (events, events_left_out) = events(&rows.happened);
    Some(Report {
        day: day.date.to_string(),
        time_zone: day.zone_name(),
        begin_unix_s: day.begin_unix_s,
        end_unix_s: day.end_unix_s,
        made_unix_s: now_unix_s,
        made_on: made_on.to_owned(),
        covered_s,
        gaps,
        total: total(&rows, &minutes),
        hours: hours(&rows, &minutes, day),
        failovers: failovers(&masters, &rows.happened),
        two_masters: two_masters(&masters),
        denied: denied(&rows.denied),
        worst_minutes: worst(&rows, &minutes),
        events,
        events_left_out,
        series: series(&rows, &backends, day),
        shut_offs,
        masters,
        backends,
    })
}

/// A place for each name. Names that no backend has are few: nodes, reasons.
fn for_each_name<T: Clone + Default>(rows: &RowStore) -> Vec<T> {
    vec![T::default(); rows.names.len()]
}

fn place(name: NameId) -> usize {
    usize::try_from(name).unwrap_or(usize::MAX)
}

fn minutes(rows: &RowStore) -> BTreeMap<u32, MinuteSum> {
    let mut minutes: BTreeMap<u32, MinuteSum> = BTreeMap::new();
    for row in &rows.reigned {
        let sum = minutes.entry(row.minute).or_default();
        sum.turned_away += row.turned_away;
        sum.reset += row.reset;
    }
    // Of two reigns in a minute sessions add up; what is open or queued is the same twice.
    let mut states: Vec<(u64, u64)> = for_each_name(rows);
    for samples in rows.samples.chunk_by(|a, b| a.minute == b.minute) {
        let sum = minutes.entry(samples[0].minute).or_default();
        for sample in samples {
            sum.sessions += sample.opened;
            sum.bytes += sample.bytes;
            if sample.off_s > 0 {
                sum.off.push(sample.backend);
            }
            if let Some(state) = states.get_mut(place(sample.backend)) {
                state.0 = state.0.max(u64::from(sample.sessions_max));
                state.1 = state.1.max(u64::from(sample.queued.unwrap_or(0)));
            }
        }
        sum.off.sort_unstable();
        sum.off.dedup();
        for (open, queued) in states.iter_mut().map(std::mem::take) {
            sum.most_open += open;
            sum.queued += queued;
        }
    }
    minutes
}

fn total(rows: &RowStore, minutes: &BTreeMap<u32, MinuteSum>) -> Total {
    let mut total = Total::default();
    for (minute, sum) in minutes {
        total.sessions += sum.sessions;
        total.bytes += sum.bytes;
        total.longest_queue = total.longest_queue.max(sum.queued);
        total.turned_away += sum.turned_away;
        total.reset += sum.reset;
        if sum.most_open > total.most_open {
            (total.most_open, total.most_open_unix_s) = (sum.most_open, begin_of(*minute));
        }
    }
    total.denied = rows.reigned.iter().map(|row| row.denied).sum();
    total.rate_limited = rows.reigned.iter().map(|row| row.rate_limited).sum();
    total
}

#[derive(Clone, Default)]
struct Sums {
    day: BackendDay,
    seconds: u64,
    session_s: u64,
    weight_s: u64,
}

fn backends(rows: &RowStore) -> Vec<BackendDay> {
    let mut by_name: Vec<Option<Sums>> = for_each_name(rows);
    for sample in &rows.samples {
        let Some(sums) = by_name.get_mut(place(sample.backend)) else {
            continue;
        };
        let sums = sums.get_or_insert_default();
        let seconds = u64::from(sample.seconds);
        sums.seconds += seconds;
        sums.session_s += u64::from(sample.sessions) * seconds;
        sums.weight_s += u64::from(sample.weight_permille) * seconds;
        let day = &mut sums.day;
        day.sessions += sample.opened;
        day.bytes += sample.bytes;
        day.most_open = day.most_open.max(u64::from(sample.sessions_max));
        day.most_sources = day.most_sources.max(u64::from(sample.sources));
        day.longest_queue = day.longest_queue.max(sample.queued.map(u64::from));
        day.off_s += u64::from(sample.off_s);
    }
    let known = || by_name.iter().flatten();
    let all: u64 = known().map(|sums| sums.day.sessions).sum();
    let weights: u64 = known().map(|sums| sums.weight_s).sum();
    let mut backends: Vec<BackendDay> = (rows.names.iter().zip(by_name))
        .filter_map(|(name, sums)| Some((name, sums?)))
        .map(|(name, sums)| BackendDay {
            name: name.clone(),
            sessions_percent: percent(sums.day.sessions, all),
            weight_percent: percent(sums.weight_s, weights),
            mean_open: ratio(sums.session_s, sums.seconds),
            ..sums.day
        })
        .collect();
    backends.sort_by(|a, b| (b.sessions, &a.name).cmp(&(a.sessions, &b.name)));
    backends
}

/// To a tenth.
fn ratio(part: u64, whole: u64) -> f64 {
    let tenths = u128::from(part) * 10 / u128::from(whole.max(1));
    f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0
}

fn percent(part: u64, whole: u64) -> f64 {
    ratio(part.saturating_mul(100), whole)
}

fn hours(rows: &RowStore, minutes: &BTreeMap<u32, MinuteSum>, day: &Day) -> Vec<Hour> {
    let count = (day.end_unix_s - day.begin_unix_s).div_ceil(3600);
    // Of each hour every name's sessions and weight.
    let none: Vec<(u64, u64)> = for_each_name(rows);
    let mut shares = vec![none; usize::try_from(count).unwrap_or(0)];
    for sample in &rows.samples {
        let hour = usize::try_from((begin_of(sample.minute) - day.begin_unix_s) / 3600);
        let share = hour.ok().and_then(|hour| shares.get_mut(hour));
        if let Some((sessions, weight)) =
            share.and_then(|share| share.get_mut(place(sample.backend)))
        {
            *sessions += sample.opened;
            *weight += u64::from(sample.weight_permille) * u64::from(sample.seconds);
        }
    }
    let hour = |(begin_unix_s, shares): (u64, Vec<(u64, u64)>)| {
        let mut hour = Hour {
            begin_unix_s,
            ..Hour::default()
        };
        let within = minute_of(begin_unix_s)..minute_of(begin_unix_s + 3600);
        for sum in minutes.range(within).map(|(_, sum)| sum) {
            hour.sessions += sum.sessions;
            hour.bytes += sum.bytes;
            hour.most_open = hour.most_open.max(sum.most_open);
            hour.longest_queue = hour.longest_queue.max(sum.queued);
        }
        let weights: u64 = shares.iter().map(|(_, weight)| weight).sum();
        // Sessions over the weight's share of all sessions.
        let beyond = |sessions: u64, weight: u64| {
            let share = u128::from(hour.sessions) * u128::from(weight) / u128::from(weights.max(1));
            let tenths = u128::from(sessions) * 1000 / share.max(1);
            f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0
        };
        let busiest = (rows.names.iter().zip(shares))
            .filter(|(_, (sessions, weight))| *sessions > 0 && *weight > 0)
            .map(|(name, (sessions, weight))| (beyond(sessions, weight), name))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        hour.busiest = busiest.map(|(_, name)| name.clone());
        hour.busiest_percent = busiest.map(|(percent, _)| percent);
        hour
    };
    let begins = (0..count).map(|index| day.begin_unix_s + index * 3600);
    begins.zip(shares).map(hour).collect()
}

fn masters(rows: &RowStore, day: &Day) -> Vec<Reign> {
    let mut reigns: BTreeMap<(u64, &str), Reign> = BTreeMap::new();
    for row in &rows.reigned {
        let begin = begin_of(row.minute);
        let from = row.since_unix_s.max(begin);
        let to = from + u64::from(row.seconds);
        let reign = reigns
            .entry((row.since_unix_s, &row.node))
            .or_insert_with(|| Reign {
                node: row.node.clone(),
                from_unix_s: from.max(day.begin_unix_s),
                to_unix_s: to,
                sessions: 0,
                bytes: 0,
            });
        reign.to_unix_s = reign.to_unix_s.max(to.min(begin + 60));
    }
    let whose = |sample: &StoredSample| (sample.since_unix_s, sample.node);
    for samples in rows.samples.chunk_by(|a, b| whose(a) == whose(b)) {
        let (since, node) = whose(&samples[0]);
        if let Some(reign) = reigns.get_mut(&(since, rows.name(node))) {
            reign.sessions += samples.iter().map(|sample| sample.opened).sum::<u64>();
            reign.bytes += samples.iter().map(|sample| sample.bytes).sum::<u64>();
        }
    }
    let mut reigns: Vec<Reign> = reigns.into_values().collect();
    reigns.sort_by_key(|reign| (reign.from_unix_s, reign.to_unix_s));
    reigns
}

/// When there was no master in the day so far, and for how long there was one.
fn gaps(masters: &[Reign], day: &Day, now_unix_s: u64) -> (Vec<Span>, u64) {
    let end = day.end_unix_s.min(now_unix_s);
    let (mut at, mut covered_s, mut gaps) = (day.begin_unix_s, 0, Vec::new());
    let mut gap = |from: u64, to: u64| {
        if to > from + GAP_S {
            gaps.push(Span {
                from_unix_s: from,
                to_unix_s: to,
            });
        }
    };
    for reign in masters {
        gap(at, reign.from_unix_s);
        covered_s += reign.to_unix_s.saturating_sub(reign.from_unix_s.max(at));
        at = at.max(reign.to_unix_s);
    }
    gap(at, end);
    (gaps, covered_s)
}

fn two_masters(masters: &[Reign]) -> Vec<TwoMasters> {
    let mut found = Vec::new();
    for (index, one) in masters.iter().enumerate() {
        for other in &masters[index + 1..] {
            let from = one.from_unix_s.max(other.from_unix_s);
            let to = one.to_unix_s.min(other.to_unix_s);
            if one.node != other.node && to > from + OVERLAP_S {
                found.push(TwoMasters {
                    node: one.node.clone(),
                    other: other.node.clone(),
                    from_unix_s: from,
                    to_unix_s: to,
                });
            }
        }
    }
    found
}

fn failovers(masters: &[Reign], happened: &[Happened]) -> Vec<Failover> {
    let why = |reign: &Reign| {
        let said = |one: &&Happened| {
            one.kind == "role"
                && one.node == reign.node
                && one.text.starts_with("master: ")
                && one.unix_s.abs_diff(reign.from_unix_s) <= 5
        };
        let said = happened.iter().find(said);
        let text = said.map(|one| one.text.trim_start_matches("master: "));
        text.unwrap_or_default().to_owned()
    };
    let pairs = masters.iter().zip(masters.iter().skip(1));
    let failover = |(before, after): (&Reign, &Reign)| Failover {
        unix_s: after.from_unix_s,
        from: before.node.clone(),
        to: after.node.clone(),
        without_s_at_most: after.from_unix_s.saturating_sub(before.to_unix_s),
        why: why(after),
    };
    pairs.map(failover).collect()
}

fn denied(rows: &[Denied]) -> Vec<DeniedSource> {
    let mut by_source: BTreeMap<(IpAddr, Refusal), (u64, BTreeSet<u32>)> = BTreeMap::new();
    for row in rows {
        let (frames, minutes) = by_source.entry((row.source, row.refusal)).or_default();
        *frames += row.frames;
        minutes.insert(row.minute);
    }
    let source = |((source, refusal), (frames, minutes)): (_, (u64, BTreeSet<u32>))| DeniedSource {
        source,
        why: match refusal {
            Refusal::Listed => "listed",
            Refusal::Rate => "rate",
        }
        .to_owned(),
        frames,
        minutes: minutes.len() as u64,
        first_unix_s: minutes.first().map_or(0, |minute| begin_of(*minute)),
        last_unix_s: minutes.last().map_or(0, |minute| begin_of(*minute)),
    };
    let mut sources: Vec<DeniedSource> = by_source.into_iter().map(source).collect();
    sources.sort_by(|a, b| (b.frames, a.source).cmp(&(a.frames, b.source)));
    sources.truncate(SHOWN_SOURCES);
    sources
}

/// What is not told elsewhere in the report.
fn events(happened: &[Happened]) -> (Vec<Event>, u64) {
    let told = |one: &&Happened| !matches!(one.kind.as_str(), "shut-off" | "return");
    let all: Vec<&Happened> = happened.iter().filter(told).collect();
    let left_out = all.len().saturating_sub(SHOWN_EVENTS) as u64;
    let event = |one: &Happened| Event {
        unix_s: one.unix_s,
        node: one.node.clone(),
        kind: one.kind.clone(),
        text: one.text.clone(),
    };
    (
        all.into_iter().take(SHOWN_EVENTS).map(event).collect(),
        left_out,
    )
}

fn series(rows: &RowStore, backends: &[BackendDay], day: &Day) -> Series {
    let steps = (day.end_unix_s - day.begin_unix_s).div_ceil(STEP_S);
    let length = usize::try_from(steps).unwrap_or(0);
    let empty = |backend: &BackendDay| BackendSeries {
        name: backend.name.clone(),
        sessions: vec![None; length],
        open: vec![None; length],
        queued: vec![None; length],
        off_s: vec![None; length],
    };
    let mut all: Vec<BackendSeries> = backends.iter().map(empty).collect();
    // From a name to its backend's place in the report.
    let mut places: Vec<Option<usize>> = for_each_name(rows);
    for (index, backend) in backends.iter().enumerate() {
        if let Ok(name) = rows.names.binary_search(&backend.name) {
            places[name] = Some(index);
        }
    }
    for sample in &rows.samples {
        let step = (begin_of(sample.minute) - day.begin_unix_s) / STEP_S;
        let index = places.get(place(sample.backend)).copied().flatten();
        let (Some(index), Ok(step)) = (index, usize::try_from(step)) else {
            continue;
        };
        let series = &mut all[index];
        *series.sessions[step].get_or_insert(0) += sample.opened;
        *series.off_s[step].get_or_insert(0) += u64::from(sample.off_s);
        let open = series.open[step].get_or_insert(0);
        *open = (*open).max(u64::from(sample.sessions_max));
        series.queued[step] = series.queued[step].max(sample.queued.map(u64::from));
    }
    Series {
        step_s: STEP_S,
        times_unix_s: (0..steps)
            .map(|step| day.begin_unix_s + step * STEP_S)
            .collect(),
        backends: all,
    }
}
