//! From what the event loop sees each second to rows.
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use super::{
    begin_of, minute_of,
    row::{Denied, Happened, Refusal, Reigned, Row, Sample},
    wire,
};

/// A minute's rows are told so often while it lasts: what a `kill -9` may cost, in seconds.
const EVERY_S: u64 = 10;
/// A look that comes later than this stands for so many seconds only.
const LONGEST_LOOK_S: u64 = 5;
/// Sources that are counted in a minute, and those of them that are kept.
const SOURCES: usize = 1024;
const TOP_SOURCES: usize = 20;
/// Happenings that are kept of a minute.
const HAPPENINGS: usize = 200;

/// What is true now.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// Seconds since 1970.
    pub unix_s: u64,
    /// Whether this node is the master.
    pub is_master: bool,
    /// Every backend.
    pub backends: Vec<BackendNow>,
    /// Since the program was loaded.
    pub totals: Totals,
}

/// A backend now.
#[derive(Clone, Debug, Default)]
pub struct BackendNow {
    /// Its name.
    pub name: String,
    /// Open sessions.
    pub sessions: u64,
    /// Unique sources among them.
    pub sources: u64,
    /// Its queue.
    pub queued: Option<u64>,
    /// Its effective weight in thousandths.
    pub weight_permille: u32,
    /// Whether it takes new sessions.
    pub accepting: bool,
    /// Why, as a word.
    pub reason: String,
    /// Sessions that were steered to it, since the program was loaded.
    pub opened: u64,
    /// Bytes likewise.
    pub bytes: u64,
}

/// Counters of the program.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// As in [`Reigned`].
    pub denied: u64,
    /// As in [`Reigned`].
    pub rate_limited: u64,
    /// As in [`Reigned`].
    pub turned_away: u64,
    /// As in [`Reigned`].
    pub reset: u64,
}

/// What grew since `before`. A counter that fell began anew with the program.
fn grown(now: u64, before: u64) -> u64 {
    if now < before { now } else { now - before }
}

impl Totals {
    fn since(self, before: Self) -> Self {
        Self {
            denied: grown(self.denied, before.denied),
            rate_limited: grown(self.rate_limited, before.rate_limited),
            turned_away: grown(self.turned_away, before.turned_away),
            reset: grown(self.reset, before.reset),
        }
    }

    fn add(&mut self, more: Self) {
        self.denied += more.denied;
        self.rate_limited += more.rate_limited;
        self.turned_away += more.turned_away;
        self.reset += more.reset;
    }
}

/// The rows of the minute that lasts.
#[derive(Debug)]
pub struct Recorder {
    node: String,
    reign: Option<Reign>,
    /// What the program had counted at the last look.
    counted: Option<Counted>,
    denied: BTreeMap<(IpAddr, Refusal), u64>,
    happened: Vec<Row>,
    happenings: (u32, usize),
}

#[derive(Debug)]
struct Reign {
    since_unix_s: u64,
    looked_unix_s: u64,
    told_unix_s: u64,
    minute: Minute,
}

/// Counters of the program.
#[derive(Debug)]
struct Counted {
    totals: Totals,
    /// Sessions and bytes.
    backends: HashMap<String, (u64, u64)>,
}

impl Counted {
    fn of(now: &Now) -> Self {
        let backends = now
            .backends
            .iter()
            .map(|backend| (backend.name.clone(), (backend.opened, backend.bytes)));
        Self {
            totals: now.totals,
            backends: backends.collect(),
        }
    }
}

#[derive(Debug, Default)]
struct Minute {
    number: u32,
    seconds: u64,
    totals: Totals,
    backends: BTreeMap<String, Sums>,
}

#[derive(Debug, Default)]
struct Sums {
    seconds: u64,
    opened: u64,
    bytes: u64,
    session_s: u64,
    sessions_max: u64,
    sources: u64,
    queued: Option<u64>,
    weight_s: u64,
    off_s: u64,
    reason: String,
}

impl Recorder {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            reign: None,
            counted: None,
            denied: BTreeMap::new(),
            happened: Vec::new(),
            happenings: (0, 0),
        }
    }

    /// Notes what happened; it is among the next rows. Beyond 200 in a minute it is not.
    pub fn happened(
        &mut self,
        unix_s: u64,
        kind: &str,
        subject: Option<&str>,
        text: &str,
        as_master: bool,
    ) {
        let minute = minute_of(unix_s);
        if self.happenings.0 != minute {
            self.happenings = (minute, 0);
        }
        self.happenings.1 += 1;
        if self.happenings.1 > HAPPENINGS {
            return;
        }
        self.happened.push(Row::Happened(Happened {
            node: self.node.clone(),
            unix_s,
            kind: kind.to_owned(),
            subject: subject.unwrap_or_default().to_owned(),
            text: wire::cut(text, wire::TEXT).to_owned(),
            as_master,
        }));
    }

    /// The program told of a frame that it denied. It does not tell of each.
    pub fn denied(&mut self, source: IpAddr, refusal: Refusal) {
        let key = (source, refusal);
        if self.denied.len() < SOURCES || self.denied.contains_key(&key) {
            *self.denied.entry(key).or_default() += 1;
        }
    }

    /// Looks at everything, about once a second. Returns the rows to keep now: those of a
    /// minute that is over, and every ten seconds those of the one that lasts.
    pub fn look(&mut self, now: &Now) -> Vec<Row> {
        // Also a backup looks, so that a reign counts from its first session on.
        let before = self.counted.replace(Counted::of(now));
        let before = before.unwrap_or_else(|| Counted::of(now));
        let mut rows = std::mem::take(&mut self.happened);
        if !now.is_master {
            rows.extend(self.end());
            return rows;
        }
        // A clock that was set back would say of other seconds that they are these.
        if self
            .reign
            .as_ref()
            .is_some_and(|reign| now.unix_s < reign.looked_unix_s)
        {
            rows.extend(self.end());
        }
        let reign = self
            .reign
            .get_or_insert_with(|| Reign::beginning(now.unix_s));
        reign.take_in(now, &before);
        let is_over = minute_of(now.unix_s) != reign.minute.number;
        if is_over || now.unix_s >= reign.told_unix_s + EVERY_S {
            reign.told_unix_s = now.unix_s;
            rows.extend(reign.rows(&self.node));
            rows.extend(denied_rows(&self.node, reign, &self.denied));
        }
        if is_over {
            reign.minute = Minute::beginning(now.unix_s);
            self.denied.clear();
        }
        rows
    }

    /// Ends the reign, if there is one: its last rows.
    pub fn end(&mut self) -> Vec<Row> {
        let mut rows = std::mem::take(&mut self.happened);
        if let Some(reign) = self.reign.take() {
            rows.extend(reign.rows(&self.node));
            rows.extend(denied_rows(&self.node, &reign, &self.denied));
        }
        self.denied.clear();
        rows
    }
}

impl Reign {
    fn beginning(unix_s: u64) -> Self {
        Self {
            since_unix_s: unix_s,
            looked_unix_s: unix_s,
            told_unix_s: unix_s,
            minute: Minute::beginning(unix_s),
        }
    }

    /// Takes in what was since the last look: into the minute that lasts, or, at its end, lasted.
    fn take_in(&mut self, now: &Now, before: &Counted) {
        let ends = begin_of(self.minute.number) + 60;
        let from = self.looked_unix_s.max(begin_of(self.minute.number));
        let seconds = now.unix_s.min(ends).saturating_sub(from);
        let seconds = seconds.min(LONGEST_LOOK_S);
        self.looked_unix_s = now.unix_s;
        let minute = &mut self.minute;
        minute.seconds = (minute.seconds + seconds).min(60);
        minute.totals.add(now.totals.since(before.totals));
        for backend in &now.backends {
            // A backend that came in between: what was counted is from before it had this name.
            let own = (backend.opened, backend.bytes);
            let (opened, bytes) = before.backends.get(&backend.name).copied().unwrap_or(own);
            let sums = minute.backends.entry(backend.name.clone()).or_default();
            sums.seconds = (sums.seconds + seconds).min(60);
            sums.opened += grown(backend.opened, opened);
            sums.bytes += grown(backend.bytes, bytes);
            sums.session_s += backend.sessions * seconds;
            sums.sessions_max = sums.sessions_max.max(backend.sessions);
            sums.sources = sums.sources.max(backend.sources);
            sums.queued = sums.queued.max(backend.queued);
            sums.weight_s += u64::from(backend.weight_permille) * seconds;
            sums.off_s += if backend.accepting { 0 } else { seconds };
            // Why it was out tells more than that it is back.
            if !backend.accepting || sums.off_s == 0 {
                sums.reason.clone_from(&backend.reason);
            }
        }
    }

    /// The minute as far as it is known.
    fn rows(&self, node: &str) -> Vec<Row> {
        let Minute {
            number,
            seconds,
            totals,
            ref backends,
        } = self.minute;
        if seconds == 0 {
            return Vec::new();
        }
        let reigned = Row::Reigned(Reigned {
            node: node.to_owned(),
            since_unix_s: self.since_unix_s,
            minute: number,
            seconds: small(seconds),
            denied: totals.denied,
            rate_limited: totals.rate_limited,
            turned_away: totals.turned_away,
            reset: totals.reset,
        });
        let sample = |(name, sums): (&String, &Sums)| {
            let mean = |sum: u64| number_of(sum.checked_div(sums.seconds).unwrap_or(0));
            Row::Sample(Sample {
                node: node.to_owned(),
                since_unix_s: self.since_unix_s,
                minute: number,
                backend: name.clone(),
                seconds: small(sums.seconds),
                opened: sums.opened,
                bytes: sums.bytes,
                sessions: mean(sums.session_s),
                sessions_max: number_of(sums.sessions_max),
                sources: number_of(sums.sources),
                queued: sums.queued.map(number_of),
                weight_permille: mean(sums.weight_s),
                off_s: small(sums.off_s),
                reason: sums.reason.clone(),
            })
        };
        let known = backends.iter().filter(|(_, sums)| sums.seconds > 0);
        std::iter::once(reigned).chain(known.map(sample)).collect()
    }
}

impl Minute {
    fn beginning(unix_s: u64) -> Self {
        Self {
            number: minute_of(unix_s),
            ..Self::default()
        }
    }
}

/// Those with most frames. The program tells of some frames and counts all of them, so each that was
/// told of stands for as many as there were for one.
fn denied_rows(node: &str, reign: &Reign, told: &BTreeMap<(IpAddr, Refusal), u64>) -> Vec<Row> {
    let told_of = |wanted: Refusal| -> u64 {
        let of = told.iter().filter(|((_, refusal), _)| *refusal == wanted);
        of.map(|(_, count)| count).sum()
    };
    let totals = reign.minute.totals;
    let listed = (told_of(Refusal::Listed), totals.denied);
    let rate = (told_of(Refusal::Rate), totals.rate_limited);
    let estimate = |((source, refusal), count): (&(IpAddr, Refusal), &u64)| {
        let (all_told, all) = match refusal {
            Refusal::Listed => listed,
            Refusal::Rate => rate,
        };
        let frames = u128::from(*count) * u128::from(all) / u128::from(all_told.max(1));
        (
            u64::try_from(frames).unwrap_or(u64::MAX).max(*count),
            *source,
            *refusal,
        )
    };
    let mut top: Vec<_> = told.iter().map(estimate).collect();
    top.sort_unstable_by(|a, b| b.cmp(a));
    top.truncate(TOP_SOURCES);
    let row = |(frames, source, refusal)| {
        Row::Denied(Denied {
            node: node.to_owned(),
            minute: reign.minute.number,
            source,
            refusal,
            frames,
        })
    };
    top.into_iter().map(row).collect()
}

fn small(seconds: u64) -> u8 {
    u8::try_from(seconds.min(60)).unwrap_or(60)
}

fn number_of(figure: u64) -> u32 {
    u32::try_from(figure).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now(unix_s: u64, opened: u64) -> Now {
        Now {
            unix_s,
            is_master: true,
            backends: vec![BackendNow {
                name: "mx1".to_owned(),
                sessions: 10,
                sources: 4,
                queued: Some(unix_s % 60),
                weight_permille: 50_000,
                accepting: unix_s % 60 < 30,
                reason: "normal".to_owned(),
                opened,
                bytes: opened * 1000,
            }],
            totals: Totals {
                denied: opened * 2,
                ..Totals::default()
            },
        }
    }

    fn samples(rows: &[Row]) -> Vec<&Sample> {
        let mut samples = Vec::new();
        for row in rows {
            if let Row::Sample(sample) = row {
                samples.push(sample);
            }
        }
        samples
    }

    #[test]
    fn a_minute_is_told_as_it_grows_and_whole_at_its_end() {
        let mut recorder = Recorder::new("mx1");
        let mut told = Vec::new();
        for second in 0..=61 {
            told.push(recorder.look(&now(6000 + second, 7 + second)));
        }
        let times: Vec<usize> = (0..told.len()).filter(|at| !told[*at].is_empty()).collect();
        assert_eq!(times, [10, 20, 30, 40, 50, 60]);
        let first = samples(&told[10])[0];
        assert_eq!((first.minute, first.seconds, first.opened), (100, 10, 10));
        let whole = samples(&told[60])[0];
        let expected = Sample {
            node: "mx1".to_owned(),
            since_unix_s: 6000,
            minute: 100,
            backend: "mx1".to_owned(),
            seconds: 60,
            opened: 60,
            bytes: 60_000,
            sessions: 10,
            sessions_max: 10,
            sources: 4,
            queued: Some(59),
            weight_permille: 50_000,
            off_s: 30,
            reason: "normal".to_owned(),
        };
        assert_eq!(*whole, expected);
        let Row::Reigned(reigned) = &told[60][0] else {
            panic!("the reign first")
        };
        assert_eq!((reigned.seconds, reigned.denied), (60, 120));
    }

    #[test]
    fn a_reign_that_ends_leaves_what_it_has_and_a_backup_nothing() {
        let mut recorder = Recorder::new("mx1");
        for second in 0..5 {
            recorder.look(&now(6010 + second, second));
        }
        let mut backup = now(6015, 100);
        backup.is_master = false;
        let rows = recorder.look(&backup);
        assert_eq!(samples(&rows)[0].seconds, 4);
        assert!(recorder.look(&backup).is_empty() && recorder.end().is_empty());
        // Another reign does not count what was steered before it.
        recorder.look(&Now {
            is_master: false,
            ..now(6019, 498)
        });
        recorder.look(&now(6020, 500));
        recorder.look(&now(6021, 501));
        let rows = recorder.end();
        let again = samples(&rows)[0];
        assert_eq!((again.since_unix_s, again.opened), (6020, 3));
    }

    #[test]
    fn a_program_that_was_loaded_anew_and_a_clock_set_back_make_no_giants() {
        let mut recorder = Recorder::new("mx1");
        recorder.look(&now(6000, 1000));
        recorder.look(&now(6001, 5));
        let rows = recorder.look(&now(5000, 6));
        assert_eq!(samples(&rows)[0].opened, 5);
        recorder.look(&now(5001, 7));
        let rows = recorder.end();
        assert_eq!(
            (samples(&rows)[0].minute, samples(&rows)[0].opened),
            (83, 2)
        );
    }

    #[test]
    fn denied_sources_are_bounded_and_stand_for_all_frames() {
        let mut recorder = Recorder::new("mx1");
        recorder.look(&now(6000, 0));
        for number in 0..5000_u32 {
            recorder.denied(IpAddr::from(number.to_be_bytes()), Refusal::Listed);
        }
        for _ in 0..1024 {
            recorder.denied(IpAddr::from([0, 0, 0, 9]), Refusal::Listed);
        }
        let rows: Vec<_> = recorder
            .look(&now(6010, 2048))
            .into_iter()
            .filter_map(|row| match row {
                Row::Denied(denied) => Some(denied),
                _ => None,
            })
            .collect();
        assert_eq!(rows.len(), TOP_SOURCES);
        // Of 2,048 that were told 1,025 are its own; 4,096 frames were denied.
        assert_eq!(rows[0].source, IpAddr::from([0, 0, 0, 9]));
        assert_eq!(rows[0].frames, 2050);
    }

    #[test]
    fn happenings_are_bounded_and_cut() {
        let mut recorder = Recorder::new("mx1");
        for _ in 0..1000 {
            recorder.happened(6000, "role", None, &"é".repeat(1000), false);
        }
        recorder.happened(6060, "role", None, "next", false);
        let rows = recorder.end();
        assert_eq!(rows.len(), HAPPENINGS + 1);
        let Row::Happened(first) = &rows[0] else {
            panic!("{:?}", rows[0])
        };
        assert_eq!(first.text.len(), wire::TEXT);
    }

    proptest! {
        /// However the looks come, every session is in one minute, and no minute has 61 seconds.
        #[test]
        fn nothing_is_lost_between_looks(
            steps in proptest::collection::vec((0_u64..90, 0_u64..50), 1..200)
        ) {
            let mut recorder = Recorder::new("mx1");
            let (mut at, mut opened) = (6030, 0);
            recorder.look(&now(at, opened));
            let mut last: BTreeMap<u32, Sample> = BTreeMap::new();
            let mut keep = |rows: &[Row]| for sample in samples(rows) {
                let before = last.insert(sample.minute, sample.clone());
                assert!(before.is_none_or(|before| before.seconds <= sample.seconds));
            };
            for (seconds, sessions) in steps {
                (at, opened) = (at + seconds, opened + sessions);
                keep(&recorder.look(&now(at, opened)));
            }
            keep(&recorder.end());
            prop_assert!(last.values().all(|sample| (1..=60).contains(&sample.seconds)));
            let kept: u64 = last.values().map(|sample| sample.opened).sum();
            prop_assert!(kept <= opened);
        }
    }
}
