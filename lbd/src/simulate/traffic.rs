//! Messages as senders bring them: drawn from the seed alone, so that every balancer of a
//! comparison sees the very same mail.
use super::rng::Rng;
use super::scenario::Traffic;

/// Distinct senders; few send much, many send little.
const SENDERS: u64 = 20_000;
/// What the client of a simple message sends.
const SIMPLE_BYTES: u32 = 20_000;

/// A message, or a session that ends without one, with everything about it that chance decides.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Seconds from the start.
    pub(super) at_s: f64,
    /// Its sender's address.
    pub(super) source: u32,
    /// The client's part of the session, in seconds.
    pub(super) client_s: f64,
    /// Work of the filter at an ordinary speed, in seconds.
    pub(super) filter_s: f64,
    /// Work of the delivery at an ordinary speed, in seconds.
    pub(super) delivery_s: f64,
    /// What the session takes before this message's part of it begins, on an idle box, in seconds.
    pub(super) before_s: f64,
    /// How long each further connection of its sender stays open, in seconds.
    pub(super) further_s: Vec<f64>,
    /// The flow's hash, as the client's port would make it.
    pub(super) hash: u64,
    /// What its client sends, in bytes.
    pub(super) bytes: u32,
    /// Its session ends before DATA: there is nothing to filter and to deliver.
    pub(super) rejected: bool,
    /// It comes in the session of the message right before it.
    pub(super) follows: bool,
}

impl Message {
    /// The time from its first SYN to its delivery on an ordinary idle box, in seconds.
    pub(super) fn ideal_s(&self) -> f64 {
        self.before_s + self.client_s + self.filter_s + self.delivery_s
    }
}

/// All messages of a run, by time.
pub(super) fn messages(traffic: &Traffic, duration_s: f64, seed: u64) -> Vec<Message> {
    let mut rng = Rng::new(seed, 0);
    let rate_at = |at_s| {
        let trace = traffic.trace.as_ref();
        trace.map_or(traffic.rate, |trace| trace.rate_at(at_s))
    };
    let mut messages = if let Some(replay) = &traffic.replay {
        replay.messages(&mut rng)
    } else if let Some(mail) = &traffic.mail {
        super::mail::messages(traffic, mail, &rate_at, duration_s, &mut rng)
    } else {
        simple(traffic, &rate_at, duration_s, &mut rng)
    };
    if traffic.burst_every_s > 0.0 {
        let mut burst_s = rng.exponential(traffic.burst_every_s);
        while burst_s < duration_s {
            let source = sender(&mut rng);
            for _ in 0..traffic.burst_messages {
                let at_s = burst_s + rng.between(0.0, 2.0);
                messages.push(draw(&mut rng, traffic, at_s, source));
            }
            burst_s += rng.exponential(traffic.burst_every_s);
        }
    }
    // Stable: what follows in a session stays right behind.
    messages.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    messages
}

fn simple(
    traffic: &Traffic,
    rate_at: &dyn Fn(f64) -> f64,
    duration_s: f64,
    rng: &mut Rng,
) -> Vec<Message> {
    let mut messages = Vec::new();
    let peak = traffic
        .trace
        .as_ref()
        .map_or(traffic.rate, super::trace::Trace::peak);
    let mut at_s = rng.exponential(1.0 / peak);
    while at_s < duration_s {
        // Thinning (Lewis and Shedler 1979): the peak's arrivals, each kept by the rate of its time.
        if rng.chance(rate_at(at_s) / peak) {
            let source = sender(rng);
            messages.push(draw(rng, traffic, at_s, source));
        }
        at_s += rng.exponential(1.0 / peak);
    }
    messages
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "below SENDERS"
)]
pub(super) fn sender(rng: &mut Rng) -> u32 {
    // The cube crowds low numbers: a few big providers send most of the mail.
    (rng.unit().powi(3) * SENDERS as f64) as u32
}

fn draw(rng: &mut Rng, traffic: &Traffic, at_s: f64, source: u32) -> Message {
    let client_s = if rng.chance(traffic.slow_clients) {
        rng.log_normal(traffic.slow_client_s, 0.5)
    } else {
        rng.log_normal(traffic.client_s, 0.7)
    };
    let further = further_count(traffic, rng);
    Message {
        at_s,
        source,
        client_s,
        filter_s: rng.log_normal(0.4, 0.8),
        delivery_s: rng.log_normal(0.8, 0.8),
        before_s: 0.0,
        further_s: further_s(further, client_s, rng),
        hash: rng.next_u64(),
        bytes: SIMPLE_BYTES,
        rejected: false,
        follows: false,
    }
}

/// Further connections that a message's sender opens.
pub(super) fn further_count(traffic: &Traffic, rng: &mut Rng) -> u64 {
    if rng.chance(traffic.several_connections) {
        1 + rng.below(3)
    } else {
        0
    }
}

/// How long each of them stays open.
pub(super) fn further_s(count: u64, client_s: f64, rng: &mut Rng) -> Vec<f64> {
    (0..count)
        .map(|_| client_s + rng.exponential(3.0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_mail_and_the_asked_rate() {
        let traffic = Traffic::ordinary(20.0);
        let one = messages(&traffic, 500.0, 7);
        let again = messages(&traffic, 500.0, 7);
        assert_eq!(one.len(), again.len());
        assert!(one.iter().zip(&again).all(|(a, b)| a.hash == b.hash));
        assert!((9_600..10_400).contains(&one.len()), "{}", one.len());
        assert!(one.is_sorted_by(|a, b| a.at_s <= b.at_s));
    }

    #[test]
    fn bursts_come_from_one_address() {
        let traffic = Traffic {
            burst_every_s: 50.0,
            burst_messages: 100,
            ..Traffic::ordinary(0.1)
        };
        let messages = messages(&traffic, 500.0, 7);
        let mut by_source = std::collections::HashMap::new();
        for message in &messages {
            *by_source.entry(message.source).or_insert(0) += 1;
        }
        assert!(by_source.values().any(|count| *count >= 100));
    }
}
