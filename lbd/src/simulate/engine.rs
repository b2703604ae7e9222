//! The event loop: one balancer through one scenario.
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::balancer::{Balancer, Strategy};
use super::measure::{Outcome, Recorder, Timed};
use super::node::{Fails, MessageId, Node, SessionId};
use super::rng::Rng;
use super::scenario::{Change, Scenario};
use super::traffic::{self, Message};
use crate::policy::{
    BackendInput, Figures, Health, HealthState, Input, Live, Mode, Polled, Said, Settings,
    SiteInput,
};
use crate::units::{BackendId, Weight};

/// What clients send in a session that fails before DATA.
const FAILED_BYTES: u64 = 900;
/// A session that a box fails in the dialogue ends at RCPT, after this part of it.
const DIALOGUE_PART: f64 = 2.0 / 3.0;
/// How often a box that runs lbd tells its queue.
const TELL_NS: u64 = 1_000_000_000;
/// A broken session ends so soon, in seconds.
const FAIL_S: f64 = 0.1;
/// A dead box is found by the third failed check, 5 s apart; a live one by the second.
const FOUND_DOWN_S: f64 = 15.0;
const FOUND_UP_S: f64 = 10.0;
/// A box that starts is cold for so long.
const COLD_S: f64 = 60.0;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    Change(usize),
    Health {
        node: usize,
        up: bool,
    },
    Deliver {
        node: usize,
        message: MessageId,
        epoch: u32,
    },
    Filtered {
        session: SessionId,
    },
    ClientDone {
        session: SessionId,
    },
    Close {
        session: SessionId,
    },
    Poll {
        node: usize,
    },
    Tell {
        node: usize,
    },
    Step,
    Attempt {
        message: MessageId,
        attempt: u32,
    },
}

/// A connection on a box.
#[derive(Clone, Copy, Debug)]
struct Session {
    node: usize,
    source: u32,
    opened_ns: u64,
    /// What its client has sent, in bytes.
    bytes: u64,
    /// The message it carries; `None` for a further connection.
    message: Option<(MessageId, u32)>,
    /// A further connection stays open for so long once accepted.
    further_s: f64,
    open: bool,
}

struct Engine<'a> {
    scenario: &'a Scenario,
    settings: &'a Settings,
    messages: Vec<Message>,
    balancer: Balancer,
    nodes: Vec<Node>,
    health: Vec<Health>,
    polled: Vec<Option<(u64, Figures)>>,
    sessions: Vec<Session>,
    /// By time, then in the order of their making.
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    made: u64,
    now_ns: u64,
    jitter: Rng,
    recorder: Recorder,
}

/// Runs one balancer through one scenario. The same arguments give the same outcome.
#[must_use]
pub fn run_one(scenario: &Scenario, strategy: Strategy, seed: u64, settings: &Settings) -> Outcome {
    let mut engine = Engine::new(scenario, strategy, seed, settings);
    engine.run();
    let timed = |message: &Message| Timed {
        at_s: message.at_s,
        ideal_s: message.ideal_s(),
        counts: !message.rejected,
    };
    let messages: Vec<Timed> = engine.messages.iter().map(timed).collect();
    engine
        .recorder
        .finish(&scenario.name, strategy, seed, &messages)
}

fn ns(seconds: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a simulated time: not negative, far below 2^63"
    )]
    let ns = (seconds.max(0.0) * 1e9) as u64;
    ns
}

impl<'a> Engine<'a> {
    fn new(scenario: &'a Scenario, strategy: Strategy, seed: u64, settings: &'a Settings) -> Self {
        let messages = traffic::messages(&scenario.traffic, scenario.duration_s, seed);
        let weights = scenario.nodes.iter().map(|spec| Weight(spec.weight).full());
        let mut engine = Self {
            scenario,
            settings,
            balancer: Balancer::new(strategy, weights.collect()),
            nodes: scenario.nodes.iter().map(|spec| Node::new(*spec)).collect(),
            health: vec![Health::default(); scenario.nodes.len()],
            polled: vec![None; scenario.nodes.len()],
            sessions: Vec::new(),
            events: BinaryHeap::new(),
            made: 0,
            now_ns: 0,
            jitter: Rng::new(seed, 1),
            recorder: Recorder::new(messages.len(), scenario.nodes.len()),
            messages,
        };
        for (i, event) in scenario.events.iter().enumerate() {
            engine.at(ns(event.at_s), Event::Change(i));
        }
        for message in 0..engine.messages.len() {
            if engine.messages[message].follows {
                continue;
            }
            let at_ns = ns(engine.messages[message].at_s);
            engine.at(
                at_ns,
                Event::Attempt {
                    message,
                    attempt: 0,
                },
            );
        }
        engine.schedule_polls();
        for node in 0..engine.nodes.len() {
            let at_ns = engine.jitter.below(TELL_NS);
            engine.at(at_ns, Event::Tell { node });
        }
        engine.at(settings.poll_interval_ns, Event::Step);
        engine
    }

    fn at(&mut self, at_ns: u64, event: Event) {
        self.made += 1;
        self.events.push(Reverse((at_ns, self.made, event)));
    }

    fn after(&mut self, seconds: f64, event: Event) {
        self.at(self.now_ns + ns(seconds), event);
    }

    fn run(&mut self) {
        // What is still queued at the end counts as delivered then.
        let end_ns = ns(self.scenario.duration_s * 3.0 + 600.0);
        while let Some(Reverse((at_ns, _, event))) = self.events.pop() {
            if at_ns > end_ns || self.recorder.all_delivered() {
                break;
            }
            self.now_ns = at_ns;
            self.handle(event);
        }
        self.recorder.end_s = seconds(self.now_ns);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Attempt { message, attempt } => self.attempt(message, attempt),
            Event::ClientDone { session } => self.client_done(session),
            Event::Filtered { session } => self.filtered(session),
            Event::Close { session } => self.close(session),
            Event::Deliver {
                node,
                message,
                epoch,
            } => self.delivered(node, message, epoch),
            Event::Poll { node } => self.poll(node),
            Event::Tell { node } => self.tell(node),
            Event::Step => self.step(),
            Event::Change(i) => self.change(i),
            Event::Health { node, up } => self.found(node, up),
        }
    }

    fn attempt(&mut self, message: MessageId, attempt: u32) {
        let (source, hash) = (self.messages[message].source, self.messages[message].hash);
        let hash = lbd_common::hash::mix(hash ^ u64::from(attempt));
        self.connect(source, hash, Some((message, attempt)), 0.0);
        for i in 0..self.messages[message].further_s.len() {
            let further_s = self.messages[message].further_s[i];
            let port = (i as u64 + 1) << 32;
            self.connect(source, lbd_common::hash::mix(hash ^ port), None, further_s);
        }
    }

    fn connect(
        &mut self,
        source: u32,
        hash: u64,
        message: Option<(MessageId, u32)>,
        further_s: f64,
    ) {
        if self.balancer.wants_fresh() {
            let queues: Vec<u64> = self.nodes.iter().map(|node| node.queued() as u64).collect();
            self.balancer.fresh(&queues);
        }
        let chosen = self.balancer.choose(hash);
        let Some(node) = chosen.filter(|node| !self.nodes[*node].stopped) else {
            self.retry(message);
            return;
        };
        self.sessions.push(Session {
            node,
            source,
            opened_ns: self.now_ns,
            bytes: 0,
            message,
            further_s,
            open: true,
        });
        if let Some(session) = self.nodes[node].connect(self.sessions.len() - 1, source) {
            self.accepted(session);
        }
    }

    fn retry(&mut self, message: Option<(MessageId, u32)>) {
        if let Some((message, attempt)) = message {
            if self.messages[message].rejected {
                // Who would have been turned away anyhow does not come again.
                self.recorder.delivered(message, seconds(self.now_ns));
                return;
            }
            self.recorder.retried(message);
            self.after(
                self.scenario.traffic.retry.wait_s(attempt),
                Event::Attempt {
                    message,
                    attempt: attempt + 1,
                },
            );
        }
    }

    fn accepted(&mut self, session: SessionId) {
        let Session {
            node,
            message,
            further_s,
            ..
        } = self.sessions[session];
        let Node { fails, hold_s, .. } = self.nodes[node];
        match message {
            _ if fails == Fails::Fast => self.after(FAIL_S, Event::Close { session }),
            Some((message, _)) => {
                let client_s = self.messages[message].client_s + hold_s;
                match fails {
                    Fails::InDialogue if !self.messages[message].rejected => {
                        self.after(client_s * DIALOGUE_PART, Event::Close { session });
                    }
                    _ => self.after(client_s, Event::ClientDone { session }),
                }
            }
            None => self.after(further_s + hold_s, Event::Close { session }),
        }
    }

    fn lost(&self, session: SessionId) -> bool {
        !self.sessions[session].open
    }

    fn client_done(&mut self, session: SessionId) {
        if self.lost(session) {
            return;
        }
        let Session { node, message, .. } = self.sessions[session];
        if let Some((message, _)) = message {
            self.sessions[session].bytes += u64::from(self.messages[message].bytes);
            if self.messages[message].rejected {
                self.end_session(session);
                self.recorder.delivered(message, seconds(self.now_ns));
                return;
            }
        }
        if let Some(session) = self.nodes[node].filter(session) {
            self.begin_filter(session);
        }
    }

    fn begin_filter(&mut self, session: SessionId) {
        let Session { node, message, .. } = self.sessions[session];
        let Some((message, _)) = message else { return };
        let node = &self.nodes[node];
        let speed = node.speed(node.filter_speed, self.now_ns);
        let filter_s = self.messages[message].filter_s / speed;
        self.after(filter_s, Event::Filtered { session });
    }

    fn filtered(&mut self, session: SessionId) {
        if self.lost(session) {
            return;
        }
        let Session { node, message, .. } = self.sessions[session];
        if let Some(next) = self.nodes[node].filtered() {
            self.begin_filter(next);
        }
        self.go_on(session);
        if let Some((message, _)) = message
            && let Some(message) = self.nodes[node].deliver(message)
        {
            self.begin_delivery(node, message);
        }
    }

    /// The session's next message begins, or the session ends.
    fn go_on(&mut self, session: SessionId) {
        let next = self.sessions[session].message.map(|(last, _)| last + 1);
        let next = next.filter(|next| self.messages.get(*next).is_some_and(|it| it.follows));
        let Some(next) = next else {
            self.end_session(session);
            return;
        };
        let attempt = self.sessions[session]
            .message
            .map_or(0, |(_, attempt)| attempt);
        self.sessions[session].message = Some((next, attempt));
        let client_s = self.messages[next].client_s;
        self.after(client_s, Event::ClientDone { session });
    }

    fn begin_delivery(&mut self, node: usize, message: MessageId) {
        let at = &self.nodes[node];
        let speed = at.speed(at.delivery_speed, self.now_ns);
        let epoch = at.epoch;
        let delivery_s = self.messages[message].delivery_s / speed;
        self.after(
            delivery_s,
            Event::Deliver {
                node,
                message,
                epoch,
            },
        );
    }

    fn delivered(&mut self, node: usize, message: MessageId, epoch: u32) {
        if self.nodes[node].epoch != epoch {
            return;
        }
        self.recorder.delivered(message, seconds(self.now_ns));
        if let Some(next) = self.nodes[node].delivered(message) {
            self.begin_delivery(node, next);
        }
    }

    /// A further connection is done, or a broken box ends a session.
    fn close(&mut self, session: SessionId) {
        if self.lost(session) {
            return;
        }
        let message = self.sessions[session].message;
        self.end_session(session);
        self.retry(message);
    }

    fn end_session(&mut self, session: SessionId) {
        let Session {
            node,
            source,
            opened_ns,
            bytes,
            ..
        } = self.sessions[session];
        self.sessions[session].open = false;
        self.balancer.loads[node] = self.balancer.loads[node].saturating_sub(1);
        let lifetime_ns = self.now_ns - opened_ns;
        if let Some(next) =
            self.nodes[node].disconnect(source, lifetime_ns, bytes.max(FAILED_BYTES))
        {
            self.accepted(next);
        }
    }

    fn change(&mut self, i: usize) {
        let event = self.scenario.events[i];
        let node = event.node;
        match event.change {
            Change::FilterSpeed(speed) => self.nodes[node].filter_speed = speed,
            Change::DeliverySpeed(speed) => self.nodes[node].delivery_speed = speed,
            Change::FailFast(true) => self.nodes[node].fails = Fails::Fast,
            Change::TurnAway(true) => self.nodes[node].fails = Fails::InDialogue,
            Change::FailFast(false) | Change::TurnAway(false) => {
                self.nodes[node].fails = Fails::Not;
            }
            Change::Hold(hold_s) => self.nodes[node].hold_s = hold_s,
            Change::Stop => {
                self.nodes[node].stop();
                for session in 0..self.sessions.len() {
                    if self.sessions[session].node == node && self.sessions[session].open {
                        self.sessions[session].open = false;
                        self.retry(self.sessions[session].message);
                    }
                }
                self.after(FOUND_DOWN_S, Event::Health { node, up: false });
            }
            Change::Start => {
                let begun = self.nodes[node].start(self.now_ns + ns(COLD_S));
                for message in begun {
                    self.begin_delivery(node, message);
                }
                self.after(FOUND_UP_S, Event::Health { node, up: true });
            }
        }
    }

    fn found(&mut self, node: usize, up: bool) {
        if up == self.nodes[node].stopped {
            return;
        }
        let state = if up {
            HealthState::Up
        } else {
            HealthState::Down
        };
        self.health[node] = Health {
            state,
            since_ns: self.now_ns,
        };
        if !up {
            self.balancer.down(node);
        }
    }

    /// Every box is asked once an interval, each at its own moment: the figures are up to an
    /// interval old when they are judged.
    fn schedule_polls(&mut self) {
        for node in 0..self.nodes.len() {
            let wait_s = self
                .jitter
                .between(0.0, seconds(self.settings.poll_interval_ns));
            self.after(wait_s, Event::Poll { node });
        }
    }

    fn poll(&mut self, node: usize) {
        let at = &self.nodes[node];
        if at.stopped {
            return;
        }
        let figures = Figures {
            queued: Some(at.queued() as u64),
            sessions: Some(at.sessions() as u64),
            unique_ips: Some(at.unique_sources() as u64),
            not_accepted: Some(at.not_accepted() as u64),
            ..Figures::default()
        };
        self.polled[node] = Some((self.now_ns, figures));
        if self.balancer.counts_polled() {
            let said = self.said(node);
            self.balancer.take_report(node, said);
        }
    }

    /// A box that runs lbd tells the directors its queue.
    fn tell(&mut self, node: usize) {
        if !self.nodes[node].stopped && self.balancer.counts_told() {
            let said = self.said(node);
            self.balancer.take_report(node, said);
        }
        self.at(self.now_ns + TELL_NS, Event::Tell { node });
    }

    fn said(&self, node: usize) -> Said {
        let at = &self.nodes[node];
        Said {
            at_ns: self.now_ns,
            queued: at.queued() as u64,
            delivered: Some(at.delivered_total),
        }
    }

    fn step(&mut self) {
        let input = self.input();
        let output = self.balancer.step(input, self.settings);
        let healthy: Vec<bool> = self
            .health
            .iter()
            .map(|health| health.state != HealthState::Down)
            .collect();
        self.recorder
            .step(seconds(self.now_ns), &self.nodes, output.as_ref(), &healthy);
        self.schedule_polls();
        self.at(self.now_ns + self.settings.poll_interval_ns, Event::Step);
    }

    fn input(&mut self) -> Input {
        let now_ns = self.now_ns;
        let mut backends = Vec::with_capacity(self.nodes.len());
        for (i, node) in self.nodes.iter_mut().enumerate() {
            let id = BackendId(u16::try_from(i).unwrap_or(u16::MAX));
            let weight = Weight(node.spec.weight);
            let mut backend = BackendInput::new(id, format!("mx{}", i + 1), weight);
            backend.health = self.health[i];
            backend.polled = self.polled[i].map(|(at_ns, figures)| Polled {
                age_ns: now_ns - at_ns,
                figures,
            });
            backend.live = Live {
                sessions: self.balancer.loads[i],
                unique_sources: Some(node.unique_sources() as u64),
                completed: node.completed,
                mean_lifetime_ns: node.lifetimes_ns.checked_div(node.completed).unwrap_or(0),
                mean_bytes: node.bytes.checked_div(node.completed).unwrap_or(0),
                taken: self.balancer.counts_messages().then_some(node.taken),
            };
            (node.completed, node.lifetimes_ns, node.bytes, node.taken) = (0, 0, 0, 0);
            backends.push(backend);
        }
        Input {
            now_ns,
            settings: self.settings.clone(),
            mode: Mode::ActiveActive,
            sites: vec![SiteInput {
                name: "simulated".to_owned(),
                spill: Vec::new(),
                backends,
            }],
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a simulated time, far below 2^53 ns"
)]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
