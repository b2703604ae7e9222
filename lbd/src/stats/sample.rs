//! What one poll of one backend yields.

use std::time::Duration;

use serde::Serialize;

use super::Figure;
use crate::units::{Weight, WeightPermille};

/// What a backend said of itself. A figure it did not give is `None`, never 0.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Sample {
    /// Messages that wait for this box to work on them (Postfix: incoming, active, maildrop).
    pub queued: Option<u64>,
    /// Messages that wait for another box or for a person (Postfix: deferred, hold).
    pub deferred: Option<u64>,
    /// Open SMTP conversations, also those not yet accepted.
    pub sessions: Option<u64>,
    /// Different client addresses among `sessions`.
    pub unique_ips: Option<u64>,
    /// Sessions that the kernel completed and the MTA has not accepted yet.
    pub not_accepted: Option<u64>,
    /// The most sessions it wants (HAProxy's `maxconn:N`).
    pub session_limit: Option<u64>,
    /// Whether it wants sessions at all.
    pub state: AgentState,
    /// The weight it asks for.
    pub weight: Option<AgentWeight>,
    /// Whether it could serve the VIPs: each is on one of its interfaces and has a listener.
    pub vip_ready: Option<bool>,
    /// Why, in the backend's own words: the text behind `down#`, or what its agent could not read.
    pub note: Option<String>,
    /// How old the figures were when they arrived, in milliseconds, by the clock of who took them; 0 where
    /// the format has no age.
    pub age_ms: u64,
}

impl Sample {
    /// Sets one of the figures.
    pub fn set(&mut self, figure: Figure, value: u64) {
        let place = match figure {
            Figure::Queued => &mut self.queued,
            Figure::Deferred => &mut self.deferred,
            Figure::Sessions => &mut self.sessions,
            Figure::UniqueIps => &mut self.unique_ips,
            Figure::NotAccepted => &mut self.not_accepted,
            Figure::SessionLimit => &mut self.session_limit,
        };
        *place = Some(value);
    }

    /// One of the figures.
    #[must_use]
    pub fn get(&self, figure: Figure) -> Option<u64> {
        match figure {
            Figure::Queued => self.queued,
            Figure::Deferred => self.deferred,
            Figure::Sessions => self.sessions,
            Figure::UniqueIps => self.unique_ips,
            Figure::NotAccepted => self.not_accepted,
            Figure::SessionLimit => self.session_limit,
        }
    }
}

/// What a backend wants done with new sessions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentState {
    /// It did not say: the health check alone decides.
    #[default]
    Unsaid,
    /// It takes sessions.
    Up,
    /// No new sessions; open ones go on.
    Drain,
    /// Taken out by a person; no new sessions.
    Maint,
    /// It does not work: `down`, `fail` or `stopped`.
    Down,
}

impl AgentState {
    /// Whether new sessions may be sent there, as far as the backend is asked.
    #[must_use]
    pub fn takes_sessions(self) -> bool {
        matches!(self, Self::Unsaid | Self::Up)
    }

    /// The word of lbd's own format, if there is one to say.
    #[must_use]
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Unsaid => None,
            Self::Up => Some("up"),
            Self::Drain => Some("drain"),
            Self::Maint => Some("maint"),
            Self::Down => Some("down"),
        }
    }
}

/// A weight that a backend asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentWeight {
    /// Thousandths of its configured weight.
    Permille(u32),
    /// In place of its configured weight.
    Absolute(Weight),
}

impl AgentWeight {
    /// The largest share of the configured weight that a backend may ask for: ten times.
    pub const MAX_PERMILLE: u32 = 10_000;

    /// The weight to use for a backend that is configured with `configured`, at most
    /// [`Weight::MAX`].
    #[must_use]
    pub fn applied_to(self, configured: Weight) -> WeightPermille {
        let wanted = match self {
            Self::Permille(permille) => WeightPermille(
                u32::from(configured.0).saturating_mul(permille.min(Self::MAX_PERMILLE)),
            ),
            Self::Absolute(weight) => weight.full(),
        };
        wanted.min(Weight::MAX.full())
    }
}

/// A sample with who took it and when: what an agent hands out.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    /// The backend's name in the cluster's config.
    pub node: String,
    /// When the figures were taken, in milliseconds since 1970 (UTC). For people: see `sample.age_ms`.
    pub time_unix_ms: u64,
    /// What was counted, as in `postfix`; `None` when no spool was found.
    pub mta: Option<&'static str>,
    /// The figures.
    pub sample: Sample,
}

impl Report {
    /// The same, handed out `age` after it was taken.
    #[must_use]
    pub fn aged(&self, age: Duration) -> Self {
        let mut report = self.clone();
        report.sample.age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_stay_within_what_a_config_may_say() {
        let table = [
            (AgentWeight::Permille(750), 100, 75_000),
            (AgentWeight::Permille(0), 100, 0),
            (AgentWeight::Permille(2_000), 100, 200_000),
            (AgentWeight::Permille(u32::MAX), 10_000, 10_000_000),
            (AgentWeight::Absolute(Weight(7)), 100, 7_000),
            (AgentWeight::Absolute(Weight(u16::MAX)), 100, 10_000_000),
        ];
        for (asked, configured, expected) in table {
            let got = asked.applied_to(Weight(configured));
            assert_eq!(got, WeightPermille(expected), "{asked:?} of {configured}");
        }
    }

    #[test]
    fn every_figure_is_read_back_from_where_it_was_set() {
        let mut sample = Sample::default();
        for (n, figure) in (1..).zip(Figure::ALL) {
            assert_eq!(sample.get(figure), None);
            sample.set(figure, n);
        }
        for (n, figure) in (1..).zip(Figure::ALL) {
            assert_eq!(sample.get(figure), Some(n), "{figure}");
        }
    }
}
