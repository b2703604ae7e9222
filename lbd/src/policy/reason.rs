//! Why a backend has the weight it has, with the numbers behind it.
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Count, Sign};
use crate::units::Weight;

/// A number of connections, and what was counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, JsonSchema, Serialize)]
pub struct Connections {
    /// How many.
    pub number: u64,
    /// Of what.
    pub count: Count,
}

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = match (self.count, self.number) {
            (Count::UniqueIps, 1) => "unique source",
            (Count::UniqueIps, _) => "unique sources",
            (Count::Sessions, 1) => "session",
            (Count::Sessions, _) => "sessions",
        };
        write!(f, "{} {noun}", self.number)
    }
}

/// The one thing that set a backend's weight. `Display` says it as a person would.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reason {
    /// Nothing lowers the configured weight.
    Normal {
        /// Connections.
        connections: Connections,
        /// The site's average.
        average: f64,
    },
    /// This node is a backup, and the master decided otherwise than it would.
    AsMasterSays,
    /// The daemon has just started and has no figures yet: it goes on with the weights it found.
    AsBeforeRestart,
    /// The configured weight is 0.
    ConfiguredZero,
    /// The operator drains it.
    Drained {
        /// Sessions still open.
        sessions: u64,
    },
    /// The operator set the weight.
    OperatorWeight {
        /// To this.
        weight: Weight,
    },
    /// No connection to it comes about.
    Down {
        /// For so long.
        for_ns: u64,
        /// What the health check found.
        why: Option<String>,
    },
    /// It answers, and its health check fails.
    NotServing {
        /// For so long.
        for_ns: u64,
        /// What the health check found.
        why: Option<String>,
    },
    /// Its health check fails, and so does that of all (or of `health.panic_threshold`): the check itself
    /// is most likely wrong.
    CheckAtFault {
        /// Backends whose check fails.
        failing: u32,
        /// Backends that answer.
        of: u32,
        /// What its check found.
        why: Option<String>,
    },
    /// It may be dead.
    Suspect {
        /// For so long.
        for_ns: u64,
        /// By this sign.
        sign: Sign,
    },
    /// The health check gets 421 or 4xx.
    Full {
        /// For so long.
        for_ns: u64,
    },
    /// As many sessions as its agent allows it.
    AtLimit {
        /// Its sessions.
        sessions: u64,
        /// What its agent allows.
        limit: u64,
    },
    /// Full, but fewer than the guarded part of the site would stay active without it.
    FullButNeeded {
        /// Servers active, this one included.
        active: u32,
        /// Servers of the site.
        servers: u32,
    },
    /// Its own agent asks for no new sessions.
    AgentDrain,
    /// Its own agent says it is out of service.
    AgentDown,
    /// Its own agent says that a virtual address or its listener is missing there.
    NotReady,
    /// Its own agent asks for less.
    AgentWeight {
        /// Percent of the configured weight.
        percent: u32,
    },
    /// Too many connections above the site's average.
    ShutOffAboveAverage {
        /// Its connections.
        connections: Connections,
        /// The site's average.
        average: f64,
        /// The allowance above it.
        above: f64,
        /// Servers that stay active.
        active: u32,
        /// Servers of the site.
        servers: u32,
    },
    /// More connections than the high threshold.
    ShutOffHighThreshold {
        /// Its connections.
        connections: Connections,
        /// The threshold.
        threshold: f64,
        /// Servers that stay active.
        active: u32,
        /// Servers of the site.
        servers: u32,
    },
    /// Shut off earlier, and not yet far enough below the limit.
    StillShutOff {
        /// Its connections.
        connections: Connections,
        /// It returns below so many.
        returns_below: f64,
        /// Servers that stay active.
        active: u32,
        /// Servers of the site.
        servers: u32,
    },
    /// Over a limit, but fewer than the guarded part of the site would stay active without it.
    KeptByGuard {
        /// Its connections.
        connections: Connections,
        /// The limit it is over.
        limit: f64,
        /// Servers active, this one included.
        active: u32,
        /// Servers of the site.
        servers: u32,
    },
    /// More load than the site's mean.
    Loaded {
        /// Percent of the weight that is left.
        percent: u32,
        /// Its connections.
        connections: Connections,
        /// Its queued messages.
        queued: Option<u64>,
        /// Its load per unit of weight.
        load: f64,
        /// The site's mean of that.
        mean: f64,
    },
    /// Its sessions end far sooner than the others': it fails them.
    FastFailing {
        /// Percent of the weight that is left.
        percent: u32,
        /// Mean lifetime of its sessions.
        lifetime_ns: u64,
        /// The median of the other backends.
        others_ns: u64,
    },
    /// Its sessions bring next to no messages, while the others' do.
    TakesNoMail {
        /// Percent of the weight that is left.
        percent: u32,
        /// Sessions that ended of late.
        sessions: u64,
        /// Messages that it took in them.
        taken: u64,
        /// Messages that the others would have taken in as many.
        expected: u64,
    },
    /// It returned a short while ago.
    SlowStart {
        /// Percent of the weight that is reached.
        percent: u32,
        /// Time since the return.
        since_ns: u64,
        /// Time until the full weight.
        of_ns: u64,
    },
    /// Its figures are too old to judge by.
    Stale {
        /// Their age.
        age_ns: u64,
        /// Percent of the weight; moves towards 100.
        percent: u32,
    },
    /// Another site's stand-in, and that site has room.
    StandIn {
        /// The site it stands in for.
        site: String,
    },
    /// Takes over from a full site.
    TakesOver {
        /// That site.
        site: String,
    },
    /// Active-passive: the master's own box takes everything.
    Master,
    /// Active-passive: the master's own box can take nothing, this one does instead.
    InsteadOfMaster,
    /// Active-passive: another box takes everything.
    Standby,
}

impl Reason {
    /// The variant as a word, as its JSON has it: `shut_off_above_average`.
    #[must_use]
    pub fn kind(&self) -> String {
        // Plain data with text keys always becomes JSON, and every variant has its tag.
        let json = serde_json::to_value(self).unwrap_or_default();
        json["kind"].as_str().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Reason {
    #[expect(clippy::too_many_lines, reason = "one sentence a variant")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal {
                connections,
                average,
            } => write!(f, "full weight: {connections}, site average {average:.0}"),
            Self::AsMasterSays => write!(f, "as the master decided"),
            Self::AsBeforeRestart => write!(f, "as before the restart, until there are figures"),
            Self::ConfiguredZero => write!(f, "no new sessions: configured weight 0"),
            Self::Drained { sessions: 0 } => write!(f, "drained by the operator: no session left"),
            Self::Drained { sessions } => {
                write!(f, "drained by the operator: {sessions} sessions left")
            }
            Self::OperatorWeight { weight } => {
                write!(f, "weight {} set by the operator", weight.0)
            }
            Self::Down { for_ns, why } => {
                write!(f, "down for {}{}", Seconds(*for_ns), Because(why))
            }
            Self::NotServing { for_ns, why } => {
                write!(f, "not serving for {}{}", Seconds(*for_ns), Because(why))
            }
            Self::CheckAtFault { failing, of, why } => write!(
                f,
                "takes sessions though its check fails: so do the checks of {failing} of {of}, so the \
                 check itself is most likely wrong{}",
                Because(why)
            ),
            Self::Suspect { for_ns, sign } => {
                write!(f, "suspect for {}: {sign}", Seconds(*for_ns))
            }
            Self::Full { for_ns } => {
                write!(f, "full: answers 421 or 4xx for {}", Seconds(*for_ns))
            }
            Self::AtLimit { sessions, limit } => {
                write!(f, "full: {sessions} sessions, its agent allows {limit}")
            }
            Self::FullButNeeded { active, servers } => write!(
                f,
                "full, but needed: only {active} of {servers} servers are active with it"
            ),
            Self::AgentDrain => write!(f, "no new sessions: its agent asks to be drained"),
            Self::AgentDown => write!(f, "no new sessions: its agent says it is out of service"),
            Self::NotReady => write!(
                f,
                "no new sessions: its agent misses a virtual address, or its listener"
            ),
            Self::AgentWeight { percent } => {
                write!(f, "{percent} % of its weight, as its agent asks")
            }
            Self::ShutOffAboveAverage {
                connections,
                average,
                above,
                active,
                servers,
            } => write!(
                f,
                "shut off: {connections}, site average {average:.0} + {above:.0}; \
                 {active} of {servers} servers stay active"
            ),
            Self::ShutOffHighThreshold {
                connections,
                threshold,
                active,
                servers,
            } => write!(
                f,
                "shut off: {connections}, high threshold {threshold:.0}; \
                 {active} of {servers} servers stay active"
            ),
            Self::StillShutOff {
                connections,
                returns_below,
                active,
                servers,
            } => write!(
                f,
                "still shut off: {connections}, returns below {returns_below:.0}; \
                 {active} of {servers} servers stay active"
            ),
            Self::KeptByGuard {
                connections,
                limit,
                active,
                servers,
            } => write!(
                f,
                "kept with {connections}, over {limit:.0}: \
                 only {active} of {servers} servers are active with it"
            ),
            Self::Loaded {
                percent,
                connections,
                queued,
                load,
                mean,
            } => {
                write!(f, "{percent} % of its weight: {connections}")?;
                if let Some(queued) = queued {
                    write!(f, " and {queued} queued")?;
                }
                write!(f, ", load {load:.0} against the site's {mean:.0}")
            }
            Self::FastFailing {
                percent,
                lifetime_ns,
                others_ns,
            } => write!(
                f,
                "{percent} % of its weight: its sessions last {}, the others' {}, so it seems to \
                 fail them",
                Seconds(*lifetime_ns),
                Seconds(*others_ns)
            ),
            Self::TakesNoMail {
                percent,
                sessions,
                taken,
                expected,
            } => write!(
                f,
                "{percent} % of its weight: it took {taken} messages in {sessions} sessions, the \
                 others would have taken {expected}, so it seems to turn mail away"
            ),
            Self::SlowStart {
                percent,
                since_ns,
                of_ns,
            } => write!(
                f,
                "{percent} % of its weight: returned {} ago, full weight after {}",
                Seconds(*since_ns),
                Seconds(*of_ns)
            ),
            Self::Stale {
                age_ns,
                percent: 100,
            } => write!(f, "full weight: its figures are {} old", Seconds(*age_ns)),
            Self::Stale { age_ns, percent } => write!(
                f,
                "{percent} % of its weight, moving to 100 %: its figures are {} old",
                Seconds(*age_ns)
            ),
            Self::StandIn { site } => write!(f, "stands in for site {site}, which has room"),
            Self::TakesOver { site } => {
                write!(f, "takes over from site {site}, which is full")
            }
            Self::Master => write!(f, "active-passive: the master takes everything"),
            Self::InsteadOfMaster => write!(
                f,
                "active-passive: takes everything, because the master's own box can take nothing"
            ),
            Self::Standby => write!(f, "active-passive: stands by"),
        }
    }
}

/// What was found, after a colon.
struct Because<'a>(&'a Option<String>);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

/// A duration as a person says it: `0.4 s`, `12 s`, `7 min`, `3 h`.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0 / 100_000_000;
        match tenths {
            0..100 => write!(f, "{}.{} s", tenths / 10, tenths % 10),
            100..1200 => write!(f, "{} s", tenths / 10),
            1200..72_000 => write!(f, "{} min", tenths / 600),
            _ => write!(f, "{} h", tenths / 36_000),
        }
    }
}
