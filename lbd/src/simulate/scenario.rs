//! What a simulated cluster has to live through.
use super::mail::Mail;
use super::replay::Replay;
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
    /// It turns every session away in the dialogue, as with a full disk (452) or a lost database (451);
    /// its sessions last as long as others that end before DATA, and its health check does not see it.
    TurnAway(bool),
    /// Every session waits so many seconds more for it before the client's part is over: a resolver
    /// that does not answer, a greeting that is held back.
    Hold(f64),
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
    /// How senders come back whose session failed.
    pub retry: Retry,
    /// Mail of the kind that public hosts see, in place of the simple one that the fields above tell;
    /// `rate` still counts messages, and `slow_clients` and `several_connections` still hold.
    pub mail: Option<Mail>,
    /// Sessions from a log in place of drawn ones.
    pub replay: Option<Replay>,
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
            retry: Retry::SIMPLE,
            mail: None,
            replay: None,
        }
    }

    /// Mail of the kind that public hosts see, at a rate of messages.
    #[must_use]
    pub fn real(rate: f64, mail: Mail) -> Self {
        Self {
            several_connections: 0.1,
            retry: Retry::POSTFIX,
            mail: Some(mail),
            ..Self::ordinary(rate)
        }
    }
}

/// How a sender comes back whose session failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// After the first failure, in seconds; twice as long after each further one.
    pub first_s: f64,
    /// At most so long, in seconds.
    pub most_s: f64,
    /// It tries a second MX first, which leads to the same boxes.
    pub second_mx: bool,
}

impl Retry {
    /// Every minute.
    pub const SIMPLE: Self = Self {
        first_s: 60.0,
        most_s: 60.0,
        second_mx: false,
    };

    /// Postfix's `minimal_backoff_time` and `maximal_backoff_time` (postconf(5)), and the next MX first
    /// (RFC 5321, section 5.1).
    pub const POSTFIX: Self = Self {
        first_s: 300.0,
        most_s: 4000.0,
        second_mx: true,
    };

    /// The wait after so many failed attempts, from 0, in seconds.
    pub(super) fn wait_s(self, failed: u32) -> f64 {
        /// A refused sender is at the next MX within so long.
        const NEXT_MX_S: f64 = 0.5;
        if self.second_mx && failed.is_multiple_of(2) {
            return NEXT_MX_S;
        }
        let rounds = if self.second_mx { failed / 2 } else { failed };
        (self.first_s * f64::from(rounds.min(20)).exp2()).min(self.most_s)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_try_the_next_mx_at_once_and_then_wait_ever_longer() {
        let in_tenths = |wait_s: f64| (wait_s * 10.0).round().to_string();
        let waits = |retry: Retry| [0, 1, 2, 3, 99].map(|failed| in_tenths(retry.wait_s(failed)));
        assert_eq!(waits(Retry::SIMPLE), ["600"; 5]);
        assert_eq!(waits(Retry::POSTFIX), ["5", "3000", "5", "6000", "40000"]);
    }
}
