//! Messages as senders bring them: drawn from the seed alone, so that every balancer of a
//! comparison sees the very same mail.
use super::rng::Rng;
use super::scenario::Traffic;

/// Distinct senders; few send much, many send little.
const SENDERS: u64 = 20_000;

/// A message, with everything about it that chance decides.
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
    /// How long each further connection of its sender stays open, in seconds.
    pub(super) further_s: Vec<f64>,
    /// The flow's hash, as the client's port would make it.
    pub(super) hash: u64,
}

impl Message {
    /// The time from its first SYN to its delivery on an ordinary idle box, in seconds.
    pub(super) fn ideal_s(&self) -> f64 {
        self.client_s + self.filter_s + self.delivery_s
    }
}

/// All messages of a run, by time.
pub(super) fn messages(traffic: &Traffic, duration_s: f64, seed: u64) -> Vec<Message> {
    let mut rng = Rng::new(seed, 0);
    let mut messages = Vec::new();
    let peak = traffic
        .trace
        .as_ref()
        .map_or(traffic.rate, super::trace::Trace::peak);
    let mut at_s = rng.exponential(1.0 / peak);
    while at_s < duration_s {
        // Thinning (Lewis and Shedler 1979): the peak's arrivals, each kept by the rate of its time.
        let rate = traffic
            .trace
            .as_ref()
            .map_or(peak, |trace| trace.rate_at(at_s));
        if rng.chance(rate / peak) {
            let source = sender(&mut rng);
            messages.push(draw(&mut rng, traffic, at_s, source));
        }
        at_s += rng.exponential(1.0 / peak);
    }
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
    messages.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    messages
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "below SENDERS"
)]
fn sender(rng: &mut Rng) -> u32 {
    // The cube crowds low numbers: a few big providers send most of the mail.
    (rng.unit().powi(3) * SENDERS as f64) as u32
}

fn draw(rng: &mut Rng, traffic: &Traffic, at_s: f64, source: u32) -> Message {
    let client_s = if rng.chance(traffic.slow_clients) {
        rng.log_normal(traffic.slow_client_s, 0.5)
    } else {
        rng.log_normal(traffic.client_s, 0.7)
    };
    let further = if rng.chance(traffic.several_connections) {
        1 + rng.below(3)
    } else {
        0
    };
    Message {
        at_s,
        source,
        client_s,
        filter_s: rng.log_normal(0.4, 0.8),
        delivery_s: rng.log_normal(0.8, 0.8),
        further_s: (0..further)
            .map(|_| client_s + rng.exponential(3.0))
            .collect(),
        hash: rng.next_u64(),
    }
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
