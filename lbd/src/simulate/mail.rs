//! Mail as public hosts see it: most sessions end before DATA, sizes have a tail, senders come in runs.
//!
//! What the shapes are taken from:
//! - gaps between sessions: Weibull where they are short and Pareto where they are long; Bertolotti and
//!   Calzarossa, "Models of mail server workloads", Performance Evaluation 46 (2001). That paper's
//!   threshold is an absolute one, about 7 s on servers that see a session every few seconds; here it is
//!   the same part of the gaps at any rate;
//! - spam's gaps: exponential; sizes: log-normal, ham's mean six to eight times spam's; Gomes, Cazita,
//!   Almeida, Almeida and Meira, "Workload models of spam and legitimate e-mails", Performance
//!   Evaluation 64 (2007);
//! - the sizes' tail: Pareto; Shah and Noble, "A large-scale study of e-mail patterns", Software:
//!   Practice and Experience 37 (2007);
//! - 60 to 95 % of the sessions end before DATA: the daily tables that public mail hosts publish say
//!   44 to 98 % rejected, and one of them 31 % deliverable;
//! - a sender's queue run: up to 20 sessions side by side to one destination, Postfix's
//!   `default_destination_concurrency_limit` (postconf(5)); greylisting: the second attempt is let in
//!   (RFC 6647), which comes with the sender's next queue run, 300 s later in Postfix.
//!
//! The numbers within these shapes are this file's own.
use super::rng::Rng;
use super::scenario::Traffic;
use super::traffic::{Message, further_count, further_s, sender};

/// What the mail is made of. Parts are from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mail {
    /// The part of the sessions that end before DATA: no such user, a listed client, no HELO.
    pub rejected: f64,
    /// The part of the accepted sessions that carry ham; the others carry spam.
    pub ham: f64,
    /// The part of ham's sessions that carry more than one message.
    pub several_messages: f64,
    /// The part of ham's sessions that are turned away once and come again.
    pub greylisted: f64,
    /// Time between two big senders' queue runs, in seconds; 0 for none.
    pub queue_run_every_s: f64,
    /// Sessions of a queue run.
    pub queue_run_sessions: u32,
}

impl Mail {
    /// A public host of which so many sessions end before DATA.
    #[must_use]
    pub const fn rejecting(rejected: f64) -> Self {
        Self {
            rejected,
            ham: 0.7,
            several_messages: 0.15,
            greylisted: 0.05,
            queue_run_every_s: 120.0,
            queue_run_sessions: 60,
        }
    }

    /// Messages of an accepted session, on average: a ham session of several has 2 to 6.
    fn messages_per_session(self) -> f64 {
        1.0 + self.ham * self.several_messages * 3.0
    }
}

/// The Weibull body's shape, and its share of the gaps; the Pareto tail's exponent.
const BODY_SHAPE: f64 = 0.7;
const BODY_PART: f64 = 0.97;
const TAIL_EXPONENT: f64 = 1.8;

/// Gaps between ham's sessions, of a mean of 1.
#[derive(Clone, Copy, Debug)]
struct Gaps {
    scale: f64,
    threshold: f64,
}

impl Gaps {
    fn new() -> Self {
        // With a scale of 1 first; the mean is the integral of what is longer than each time.
        let threshold = (-(1.0 - BODY_PART).ln()).powf(1.0 / BODY_SHAPE);
        let steps = 20_000;
        let step = threshold / f64::from(steps);
        let body: f64 = (0..steps)
            .map(|i| (-((f64::from(i) + 0.5) * step).powf(BODY_SHAPE)).exp() * step)
            .sum();
        let tail = (1.0 - BODY_PART) * threshold / (TAIL_EXPONENT - 1.0);
        let scale = 1.0 / (body + tail);
        Self {
            scale,
            threshold: threshold * scale,
        }
    }

    fn draw(self, rng: &mut Rng) -> f64 {
        let gap = rng.weibull(self.scale, BODY_SHAPE);
        if gap < self.threshold {
            gap
        } else {
            rng.pareto(self.threshold, TAIL_EXPONENT)
        }
    }
}

/// Postfix's `message_size_limit`.
const MOST_BYTES: f64 = 10_240_000.0;
/// What a session sends that ends before DATA.
const DIALOGUE_BYTES: u32 = 900;

/// A message's size in bytes: log-normal, one in thirty of it from the tail.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and MOST_BYTES"
)]
fn size(rng: &mut Rng, is_ham: bool) -> u32 {
    let (mean, tail_from) = if is_ham {
        (16_000.0, 120_000.0)
    } else {
        (3_400.0, 8_000.0)
    };
    let bytes = if rng.chance(1.0 / 30.0) {
        rng.pareto(tail_from, 1.3)
    } else {
        rng.log_normal(mean, 1.2)
    };
    bytes.clamp(400.0, MOST_BYTES) as u32
}

/// What a message costs in seconds, from its size: a fixed part, and one that grows with it.
pub(super) struct Work {
    /// The client's part, without its dialogue, in seconds.
    pub(super) sending: f64,
    /// The filter's, at an ordinary speed, in seconds.
    pub(super) filter: f64,
    /// The delivery's, at an ordinary speed, in seconds.
    pub(super) delivery: f64,
}

impl Work {
    /// An ordinary box does ten average messages a second, as with the simple mail.
    pub(super) fn of(bytes: u32, rng: &mut Rng) -> Self {
        /// Of the mail that [`size`] draws, with the square root's help about.
        const AVERAGE_BYTES: f64 = 20_000.0;
        // Scanners stop at some size and disks like long writes: the root of the size, not the size.
        let relative = (f64::from(bytes) / AVERAGE_BYTES).sqrt();
        let bytes_per_s = rng.log_normal(400_000.0, 1.0).max(5_000.0);
        Self {
            sending: f64::from(bytes) / bytes_per_s,
            filter: rng.log_normal(0.2, 0.6) + 0.25 * relative.min(10.0),
            delivery: rng.log_normal(0.5, 0.6) + 0.35 * relative.min(10.0),
        }
    }
}

/// All sessions of a run's mail, not yet in order.
pub(super) fn messages(
    traffic: &Traffic,
    mail: &Mail,
    rate_at: &dyn Fn(f64) -> f64,
    duration_s: f64,
    rng: &mut Rng,
) -> Vec<Message> {
    let mut all = Vec::new();
    // One stream of sessions each for ham, for spam that is taken, and for what ends before DATA.
    let per_message = 1.0 / mail.messages_per_session();
    let rejected = mail.rejected.clamp(0.0, 0.99);
    let runs = if mail.queue_run_every_s > 0.0 {
        f64::from(mail.queue_run_sessions) / mail.queue_run_every_s
    } else {
        0.0
    };
    let gaps = Gaps::new();
    let streams = [
        (Kind::Ham, mail.ham),
        (Kind::Spam, 1.0 - mail.ham),
        (Kind::Rejected, rejected / (1.0 - rejected)),
    ];
    for (kind, part) in streams {
        let mut at_s = 0.0;
        loop {
            // What comes in runs does not come here.
            let sessions = (rate_at(at_s) * per_message - runs).max(rate_at(at_s) * 0.2);
            let mean_s = 1.0 / (sessions * part).max(1e-6);
            at_s += mean_s
                * match kind {
                    Kind::Ham => gaps.draw(rng),
                    Kind::Spam | Kind::Rejected => rng.exponential(1.0),
                };
            if at_s >= duration_s {
                break;
            }
            let source = sender(rng);
            session(traffic, mail, kind, (at_s, source), rng, &mut all);
        }
    }
    if mail.queue_run_every_s > 0.0 {
        let mut run_s = rng.exponential(mail.queue_run_every_s);
        while run_s < duration_s {
            queue_run(traffic, mail, run_s, rng, &mut all);
            run_s += rng.exponential(mail.queue_run_every_s);
        }
    }
    all.retain(|message| message.at_s < duration_s * 1.5);
    all
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Ham,
    Spam,
    Rejected,
}

/// A big sender works off its queue: 20 sessions side by side, the next as one ends.
fn queue_run(traffic: &Traffic, mail: &Mail, run_s: f64, rng: &mut Rng, all: &mut Vec<Message>) {
    const SIDE_BY_SIDE: u32 = 20;
    let source = sender(rng);
    for i in 0..mail.queue_run_sessions {
        let turn = f64::from(i / SIDE_BY_SIDE);
        let at_s = run_s + turn * (traffic.client_s + 1.0) + rng.unit();
        session(traffic, mail, Kind::Ham, (at_s, source), rng, all);
    }
}

fn session(
    traffic: &Traffic,
    mail: &Mail,
    kind: Kind,
    (at_s, source): (f64, u32),
    rng: &mut Rng,
    all: &mut Vec<Message>,
) {
    /// A sender's next queue run, at the least and at the most.
    const AGAIN_S: (f64, f64) = (300.0, 450.0);
    if kind == Kind::Rejected {
        all.push(rejected(traffic, at_s, source, rng));
        return;
    }
    let mut at_s = at_s;
    if kind == Kind::Ham && rng.chance(mail.greylisted) {
        all.push(rejected(traffic, at_s, source, rng));
        at_s += rng.between(AGAIN_S.0, AGAIN_S.1);
    }
    let messages = if kind == Kind::Ham && rng.chance(mail.several_messages) {
        2 + rng.below(5)
    } else {
        1
    };
    let dialogue_s = dialogue_s(traffic, rng);
    let further_s = further_s(further_count(traffic, rng), dialogue_s, rng);
    let mut before_s = 0.0;
    for i in 0..messages {
        let bytes = size(rng, kind == Kind::Ham);
        let work = Work::of(bytes, rng);
        // A further message needs no greeting and no EHLO.
        let own_s = if i == 0 { dialogue_s } else { 0.2 };
        let message = Message {
            at_s,
            source,
            client_s: own_s + work.sending,
            filter_s: work.filter,
            delivery_s: work.delivery,
            before_s,
            further_s: if i == 0 {
                further_s.clone()
            } else {
                Vec::new()
            },
            hash: rng.next_u64(),
            bytes,
            rejected: false,
            follows: i > 0,
        };
        before_s += message.client_s + message.filter_s;
        all.push(message);
    }
}

fn dialogue_s(traffic: &Traffic, rng: &mut Rng) -> f64 {
    if rng.chance(traffic.slow_clients) {
        rng.log_normal(traffic.slow_client_s, 0.5)
    } else {
        rng.log_normal(traffic.client_s, 0.7)
    }
}

fn rejected(traffic: &Traffic, at_s: f64, source: u32, rng: &mut Rng) -> Message {
    Message {
        at_s,
        source,
        // It ends at RCPT: two thirds of the dialogue.
        client_s: dialogue_s(traffic, rng) * 2.0 / 3.0,
        filter_s: 0.0,
        delivery_s: 0.0,
        before_s: 0.0,
        further_s: Vec::new(),
        hash: rng.next_u64(),
        bytes: DIALOGUE_BYTES,
        rejected: true,
        follows: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::traffic;

    fn drawn(rejected: f64) -> Vec<Message> {
        let real = Traffic::real(20.0, Mail::rejecting(rejected));
        traffic::messages(&real, 1000.0, 4)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
    fn part(of: usize, all: usize) -> f64 {
        of as f64 / all as f64
    }

    #[test]
    fn the_asked_part_of_the_sessions_ends_before_data() {
        for asked in [0.6, 0.8, 0.95] {
            let all = drawn(asked);
            let sessions = all.iter().filter(|message| !message.follows).count();
            let rejected = all.iter().filter(|message| message.rejected).count();
            let got = part(rejected, sessions);
            assert!((got - asked).abs() < 0.05, "{asked}: {got}");
            // What is accepted comes at the asked rate.
            let rate = part(all.len() - rejected, 1000);
            assert!((17.0..23.0).contains(&rate), "{asked}: {rate}");
        }
    }

    #[test]
    fn ham_is_six_to_eight_times_as_large_and_sizes_have_a_tail() {
        let mut rng = Rng::new(9, 0);
        let mut mean = |is_ham| {
            let sum: f64 = (0..100_000)
                .map(|_| f64::from(size(&mut rng, is_ham)))
                .sum();
            sum / 1e5
        };
        let ratio = mean(true) / mean(false);
        assert!((6.0..8.0).contains(&ratio), "{ratio}");
        let largest = (0..100_000).map(|_| size(&mut rng, true)).max();
        assert!(largest > Some(5_000_000), "{largest:?}");
    }

    #[test]
    fn gaps_have_the_asked_mean_and_are_burstier_than_exponential_ones() {
        let (mut rng, gaps) = (Rng::new(2, 0), Gaps::new());
        let drawn: Vec<f64> = (0..100_000).map(|_| gaps.draw(&mut rng)).collect();
        let mean = drawn.iter().sum::<f64>() / 1e5;
        assert!((0.9..1.1).contains(&mean), "{mean}");
        let variance = drawn.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(variance > 1.5 * mean * mean, "{variance}");
    }

    #[test]
    fn an_ordinary_box_does_about_ten_messages_a_second() {
        let all = drawn(0.6);
        let accepted: Vec<_> = all.iter().filter(|message| !message.rejected).collect();
        let mean = |of: fn(&Message) -> f64| {
            let sum: f64 = accepted.iter().map(|message| of(message)).sum();
            sum / part(accepted.len(), 1)
        };
        // 4 filters and 8 deliverers.
        let filtered = 4.0 / mean(|message| message.filter_s);
        let delivered = 8.0 / mean(|message| message.delivery_s);
        assert!((9.0..12.0).contains(&filtered), "{filtered}");
        assert!((9.0..12.0).contains(&delivered), "{delivered}");
    }

    #[test]
    fn a_session_carries_its_further_messages_right_behind() {
        let all = drawn(0.6);
        let follow: Vec<_> = all.windows(2).filter(|two| two[1].follows).collect();
        assert!(follow.len() > 300, "{}", follow.len());
        for two in follow {
            assert!((two[0].at_s - two[1].at_s).abs() < 1e-9 && two[0].source == two[1].source);
            assert!(two[1].before_s > two[0].before_s);
        }
    }
}
