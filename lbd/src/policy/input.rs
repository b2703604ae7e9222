//! Everything a step of the policy looks at.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{BackendId, Weight};

/// One step's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Any monotonic clock, in nanoseconds; every `since_ns` is of the same clock.
    pub now_ns: u64,
    /// The rule and its numbers.
    pub settings: Settings,
    /// Who may take sessions at all.
    pub mode: Mode,
    /// The sites, in the config's order.
    pub sites: Vec<SiteInput>,
}

impl Input {
    /// Backends of all sites.
    #[must_use]
    pub fn backend_count(&self) -> usize {
        self.sites.iter().map(|site| site.backends.len()).sum()
    }
}

/// The cluster's `mode`, with who is master.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// Every box takes a share.
    #[default]
    ActiveActive,
    /// The master's own box takes everything.
    ActivePassive {
        /// The master's backend; `None` when there is no master or it is not a backend.
        master: Option<BackendId>,
    },
}

/// Which rule judges.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The rule of the `ExchangeDefender` balancer, exactly.
    Seed,
    /// Weights that follow queues and unique sources.
    #[default]
    QueueAware,
}

/// What counts as a node's connections.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Count {
    /// Open conversations with unique addresses: one message may hold four connections open.
    #[default]
    UniqueIps,
    /// Every open session.
    Sessions,
}

/// The policy's numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which rule judges.
    pub kind: Kind,
    /// What counts as a node's connections.
    pub count: Count,
    /// A node this many connections above its site's average is shut off.
    pub above_average: f64,
    /// A node above this many connections is shut off.
    pub high_threshold: f64,
    /// The part of a site's servers that stays active regardless of the figures, 0 to 1.
    pub min_active: f64,
    /// `stats.interval`: the unit in which the age of polled figures is judged.
    pub poll_interval_ns: u64,
    /// The part of the backends that answer, 0 to 1, whose checks have to fail together before the
    /// check itself is taken to be at fault; `None`: never.
    pub panic_threshold: Option<f64>,
    /// The numbers of `queue-aware` that the config does not name.
    pub tuning: Tuning,
}

impl Settings {
    /// From this age on figures are too old to judge by.
    #[must_use]
    pub fn stale_ns(&self) -> u64 {
        self.poll_interval_ns * self.tuning.stale_polls
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kind: Kind::QueueAware,
            count: Count::UniqueIps,
            above_average: 50.0,
            high_threshold: 200.0,
            min_active: 0.5,
            poll_interval_ns: 10_000_000_000,
            panic_threshold: Some(1.0),
            tuning: Tuning::default(),
        }
    }
}

/// The numbers of `queue-aware` that were found with the simulator's tuning scenarios.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// The excess load, in conversations and queued messages, that halves a weight.
    pub scale: f64,
    /// The lowest part of its weight that load alone leaves to a backend.
    pub floor: f64,
    /// The part of the way towards a lower target that one step goes, 0 to 1; towards a higher
    /// one a step goes half of that.
    pub smoothing: f64,
    /// How long a backend that returned takes to reach its weight.
    pub slow_start_ns: u64,
    /// A shut-off ends below this part of the limit that began it, 0 to 1.
    pub hysteresis: f64,
    /// A backend whose sessions live shorter than this part of the others' median fails fast, 0
    /// to 1; its cure is believed at twice that.
    pub fast_fail_lifetime: f64,
    /// Longer sessions than this are never fast failures.
    pub fast_fail_max_ns: u64,
    /// Fast failing: sessions in which clients send more, on average, carry messages, and do not fail.
    pub fast_fail_max_bytes: u64,
    /// Sessions to be seen before a backend is called fast-failing.
    pub fast_fail_sessions: f64,
    /// The part of its weight that a fast-failing backend keeps, so that its cure is noticed.
    pub fast_fail_floor: f64,
    /// Polls without an answer after which figures decay towards the configured weight.
    pub stale_polls: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            scale: 20.0,
            floor: 0.1,
            smoothing: 0.5,
            slow_start_ns: 60_000_000_000,
            hysteresis: 0.6,
            fast_fail_lifetime: 0.3,
            fast_fail_max_ns: 2_000_000_000,
            // A dialogue that ends before DATA takes some 900.
            fast_fail_max_bytes: 1_500,
            fast_fail_sessions: 20.0,
            fast_fail_floor: 0.02,
            stale_polls: 3,
        }
    }
}

/// A site: backends that are compared with each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteInput {
    /// The site's name in the config.
    pub name: String,
    /// The sites that take over while this one is full.
    pub spill: Vec<String>,
    /// Its backends, in the config's order.
    pub backends: Vec<BackendInput>,
}

/// All that is known of a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendInput {
    /// Index in every map.
    pub id: BackendId,
    /// The name in the config.
    pub name: String,
    /// The configured weight.
    pub weight: Weight,
    /// The operator's word, which outranks the policy.
    pub operator: Option<Override>,
    /// By the SMTP dialogue.
    pub health: Health,
    /// Why it is not up.
    pub health_reason: Option<String>,
    /// It may be dead: there are signs, and no verdict yet.
    pub suspect: Option<Suspect>,
    /// The last good answer of its stats source; `None` before the first, and without a source.
    pub polled: Option<Polled>,
    /// What our own flow table says.
    pub live: Live,
}

impl BackendInput {
    /// A healthy backend of which nothing else is known.
    #[must_use]
    pub fn new(id: BackendId, name: impl Into<String>, weight: Weight) -> Self {
        Self {
            id,
            name: name.into(),
            weight,
            operator: None,
            health: Health::default(),
            health_reason: None,
            suspect: None,
            polled: None,
            live: Live::default(),
        }
    }
}

/// What an operator said of a backend; kept in `state_dir` until it is taken back.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// `lbd drain`: no new sessions.
    Drain,
    /// `lbd weight NODE N`: this weight, regardless of the figures.
    Weight(Weight),
}

/// What the health check last decided.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// Not decided yet, or not checked: taken for up, as nothing speaks against it.
    #[default]
    Unknown,
    /// The dialogue works.
    Up,
    /// It answers 421 or 4xx: alive, with no room.
    Full,
    /// It answers, and its check fails: alive, and of no use to new sessions.
    NotServing,
    /// No connection comes about.
    Down,
}

impl HealthState {
    /// As its JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Full => "full",
            Self::NotServing => "not_serving",
            Self::Down => "down",
        }
    }
}

/// Since when a backend is a suspect, and by which sign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Suspect {
    /// When it became one, on the clock of [`Input::now_ns`].
    pub since_ns: u64,
    /// The sign.
    pub sign: Sign,
}

/// What makes a box a suspect.
#[derive(Clone, Copy, Debug, Eq, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// Its lbd was heard on the cluster channel, and is not any more.
    ChannelSilent,
    /// It was the master, and its adverts stopped.
    MasterGone,
    /// Its stack does not answer a connection within a second.
    Unanswered,
    /// No host answers for its address on the link.
    NoNeighbour,
    /// It was found dead at a time when this node may have been the one that was cut off.
    Doubtful,
    /// Its lbd says that it stops.
    Leaving,
}

impl std::fmt::Display for Sign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ChannelSilent => "its lbd is not heard on the cluster channel",
            Self::MasterGone => "it was the master, and its adverts stopped",
            Self::Unanswered => "its stack does not answer a connection",
            Self::NoNeighbour => "its link-layer address is not confirmed",
            Self::Doubtful => {
                "it was dead before this node took over, which is being checked again"
            }
            Self::Leaving => "its lbd said that it is stopping",
        })
    }
}

/// The state and since when.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Health {
    /// The state.
    pub state: HealthState,
    /// When it began, on the clock of [`Input::now_ns`].
    pub since_ns: u64,
}

/// A stats source's last good answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Polled {
    /// How long ago it was measured.
    pub age_ns: u64,
    /// What it said.
    pub figures: Figures,
}

/// What a source may say; no source says everything.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Messages that wait for delivery now (active and incoming).
    pub queued: Option<u64>,
    /// Messages that wait for their next attempt: the far end's fault, so no load here.
    pub deferred: Option<u64>,
    /// Open SMTP sessions.
    pub sessions: Option<u64>,
    /// Distinct client addresses among them.
    pub unique_ips: Option<u64>,
    /// Connections that the MTA has not accepted yet.
    pub not_accepted: Option<u64>,
    /// What the agent wants.
    pub state: Option<AgentState>,
    /// The part of its configured weight that the agent asks for, in percent.
    pub weight_percent: Option<u32>,
    /// Sessions that it takes at most.
    pub session_limit: Option<u64>,
    /// Whether it would answer for the virtual addresses; `None` where that is not asked of it.
    pub vip_ready: Option<bool>,
}

/// What an agent may ask for itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Nothing special.
    Ready,
    /// No new sessions.
    Drain,
    /// Out of service.
    Down,
}

/// What our own flow table says of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Live {
    /// Open sessions that are proven: see `lbd_common::flow::state`. What strangers can make with a frame
    /// or two is no reason to shut a backend off.
    pub sessions: u64,
    /// Distinct client addresses among them; `None` before the first sweep.
    pub unique_sources: Option<u64>,
    /// Sessions that ended since the last step.
    pub completed: u64,
    /// Their mean lifetime; 0 when none ended.
    pub mean_lifetime_ns: u64,
    /// What their clients sent, frames with all headers, as a mean; 0 when none ended.
    pub mean_bytes: u64,
    /// Messages that it took since the last step; `None` where it does not count them, as no source of
    /// figures does yet.
    pub taken: Option<u64>,
}
