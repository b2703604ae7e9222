//! What a simulated cluster has to live through.
use super::trace::Trace;

/// A mail box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeSpec {
    /// Its configured weight.
    pub weight: u16,
    /// Sessions that its MTA holds at once; more wait to be accepted.
    pub max_sessions: usize,
    /// Processes that filter a message while its session is open.
    pub filters: usize,
    /// Processes that deliver queued messages.
    pub deliverers: usize,
    /// How fast it filters, against an ordinary box.
    pub filter_speed: f64,
    /// How fast it delivers, against an ordinary box.
    pub delivery_speed: f64,
}

impl NodeSpec {
    /// An ordinary box: about 10 messages a second.
    pub const ORDINARY: Self = Self {
        weight: 100,
        max_sessions: 400,
        filters: 4,
        deliverers: 8,
        filter_speed: 1.0,
        delivery_speed: 1.0,
    };
}

/// What happens to a box at some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Its filter's speed, against an ordinary box.
    FilterSpeed(f64),
    /// Its delivery's speed, against an ordinary box.
    DeliverySpeed(f64),
    /// It fails every session within a tenth of a second, and its health check does not see it.
    FailFast(bool),
    /// It stops; its sessions break, its queue waits on its disk.
    Stop,
    /// It starts, at half speed for a minute.
    Start,
}

/// A change, when and to whom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// Seconds from the start.
    pub at_s: f64,
    /// The box, by its place.
    pub node: usize,
    /// What happens.
    pub change: Change,
}

/// What senders do.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// Messages a second, on average.
    pub rate: f64,
    /// Rates over time instead of `rate`.
    pub trace: Option<Trace>,
    /// Mean of the time that a client takes for its part of a session, in seconds.
    pub client_s: f64,
    /// The part of the senders that is very slow, 0 to 1.
    pub slow_clients: f64,
    /// Mean of the time that a very slow client takes, in seconds.
    pub slow_client_s: f64,
    /// The part of the messages whose sender opens up to three further connections, 0 to 1.
    pub several_connections: f64,
    /// Mean time between two bursts, in seconds; 0 for none.
    pub burst_every_s: f64,
    /// Messages of a burst, from one address within 2 s.
    pub burst_messages: u32,
}

impl Traffic {
    /// Ordinary mail at a rate.
    #[must_use]
    pub fn ordinary(rate: f64) -> Self {
        Self {
            rate,
            trace: None,
            client_s: 1.5,
            slow_clients: 0.02,
            slow_client_s: 30.0,
            several_connections: 0.3,
            burst_every_s: 0.0,
            burst_messages: 0,
        }
    }
}

/// A cluster, its traffic and its fate.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// As the table shows it.
    pub name: String,
    /// In a sentence.
    pub about: String,
    /// New messages come for so long, in seconds; then the rest is worked off.
    pub duration_s: f64,
    /// The boxes.
    pub nodes: Vec<NodeSpec>,
    /// The senders.
    pub traffic: Traffic,
    /// By time.
    pub events: Vec<Event>,
}
