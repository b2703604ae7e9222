//! What `lbd top` knows, and what a key or an answer does to it. Pure: `now` comes with every call.
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::daemon::{
    observe::{
        recent::{Happening, History},
        status::{BackendStatus, Status},
    },
    operator::order::{OperatorRequest, Order, Then},
};

/// Without a deadline: `lbd drain` takes one.
const DRAIN: Order = Order::Drain {
    timeout_s: None,
    then: Then::Keep,
};
/// Points of a sparkline that are kept.
const TREND: usize = 60;
/// Events that are kept.
const EVENTS: usize = 200;

/// A key that means something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Key {
    Up,
    Down,
    Escape,
    Char(char),
}

/// What may happen.
#[derive(Debug)]
pub(super) enum Input {
    /// The daemon answered.
    Seen(Box<Status>, Vec<Happening>),
    /// It did not.
    Failed(String),
    /// It did what was ordered, or says why not.
    Answered(Result<String, String>),
    Key(Key),
    Resized,
}

/// What to do.
#[derive(Debug)]
pub(super) enum Output {
    Nothing,
    Quit,
    Order(OperatorRequest),
}

/// Everything that is shown.
#[derive(Debug, Default)]
pub(super) struct Top {
    status: Option<Status>,
    failed: Option<String>,
    /// Sessions of each backend, oldest first.
    trends: BTreeMap<String, VecDeque<u64>>,
    /// Sessions that each backend was given, a second.
    rates: BTreeMap<String, f64>,
    counted: Option<(Duration, BTreeMap<String, u64>)>,
    events: VecDeque<Happening>,
    selected: usize,
    asking: Option<OperatorRequest>,
    answer: Option<Result<String, String>>,
}

impl Top {
    /// Begins with what the daemon remembers.
    pub(super) fn new(history: &History) -> Self {
        let trend = |sessions: &Vec<Option<u64>>| -> VecDeque<u64> {
            let known = sessions.iter().flatten().copied();
            let skipped = known.clone().count().saturating_sub(TREND);
            known.skip(skipped).collect()
        };
        let trends = history
            .backends
            .iter()
            .map(|(name, backend)| (name.clone(), trend(&backend.sessions)));
        Self {
            trends: trends.collect(),
            ..Self::default()
        }
    }

    pub(super) fn update(&mut self, now: Duration, input: Input) -> Output {
        match input {
            Input::Seen(status, events) => {
                self.failed = None;
                self.saw(now, *status);
                self.events.extend(events);
                let old = self.events.len().saturating_sub(EVENTS);
                self.events.drain(..old);
            }
            Input::Failed(error) => self.failed = Some(error),
            Input::Answered(answer) => self.answer = Some(answer),
            Input::Key(key) => return self.key(key),
            Input::Resized => {}
        }
        Output::Nothing
    }

    fn saw(&mut self, now: Duration, status: Status) {
        let steered = |backend: &BackendStatus| (backend.name.clone(), backend.steered.sessions);
        let counts: BTreeMap<String, u64> = status.backends.iter().map(steered).collect();
        if let Some((then, before)) = &self.counted {
            let passed_s = now.saturating_sub(*then).as_secs_f64();
            let rate = |(name, count): (&String, &u64)| {
                // A data plane that was loaded anew counts from 0.
                let more = count.checked_sub(*before.get(name)?)?;
                let more = u32::try_from(more).unwrap_or(u32::MAX);
                (passed_s > 0.0).then(|| (name.clone(), f64::from(more) / passed_s))
            };
            self.rates = counts.iter().filter_map(rate).collect();
        }
        self.counted = Some((now, counts));
        self.trends
            .retain(|name, _| status.backends.iter().any(|known| known.name == *name));
        for backend in &status.backends {
            let trend = self.trends.entry(backend.name.clone()).or_default();
            trend.push_back(backend.sessions);
            if trend.len() > TREND {
                trend.pop_front();
            }
        }
        self.selected = self.selected.min(status.backends.len().saturating_sub(1));
        self.status = Some(status);
    }

    fn key(&mut self, key: Key) -> Output {
        // While a question stands, every key is its answer; only `y` is yes.
        if let Some(request) = self.asking.take() {
            return match key {
                Key::Char('y') => Output::Order(request),
                _ => Output::Nothing,
            };
        }
        self.answer = None;
        let backends = self
            .status
            .as_ref()
            .map_or(0, |status| status.backends.len());
        match key {
            Key::Char('q') | Key::Escape => return Output::Quit,
            Key::Up | Key::Char('k') => self.selected = self.selected.saturating_sub(1),
            Key::Down | Key::Char('j') => {
                self.selected = (self.selected + 1).min(backends.saturating_sub(1));
            }
            Key::Char('d') => self.ask(DRAIN),
            Key::Char('u') => self.ask(Order::Release),
            Key::Char(_) => {}
        }
        Output::Nothing
    }

    fn ask(&mut self, order: Order) {
        self.asking = self.chosen().map(|backend| OperatorRequest {
            backend: backend.name.clone(),
            order,
        });
    }

    fn chosen(&self) -> Option<&BackendStatus> {
        self.status.as_ref()?.backends.get(self.selected)
    }

    pub(super) fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// Why the last look gave nothing; what is shown is older.
    pub(super) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    pub(super) fn selected(&self) -> usize {
        self.selected
    }

    pub(super) fn trend(&self, backend: &str) -> impl Iterator<Item = u64> {
        self.trends.get(backend).into_iter().flatten().copied()
    }

    pub(super) fn rate(&self, backend: &str) -> Option<f64> {
        self.rates.get(backend).copied()
    }

    /// Newest first.
    pub(super) fn events(&self) -> impl Iterator<Item = &Happening> {
        self.events.iter().rev()
    }

    /// The question that waits for its answer.
    pub(super) fn question(&self) -> Option<String> {
        let request = self.asking.as_ref()?;
        let name = &request.backend;
        Some(match request.order {
            Order::Drain { .. } => {
                format!("Drain {name}: no new sessions for it? y / any other key")
            }
            _ => format!("Give {name} back to the policy? y / any other key"),
        })
    }

    /// What became of the last order.
    pub(super) fn answer(&self) -> Option<&Result<String, String>> {
        self.answer.as_ref()
    }
}
