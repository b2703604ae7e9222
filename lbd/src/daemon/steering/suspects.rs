//! Signs against backends, and verdicts that may be this box's own fault.
use tracing::{info, warn};

use super::{
    Steering, health,
    members::{self, Checked, Member},
    reach,
    suspicion::heard_monotonic_ns,
};
use crate::{
    daemon::{
        clock,
        cluster::{channel, election_view::ElectionView},
        context::Context,
        observe::recent::{Kind, Severity},
        operator::notify::Notice,
    },
    policy::{HealthState, Sign, Suspect},
    units::BackendId,
};

/// How often the frames that come in are looked at, as signs that this box is connected.
const FRAMES_EVERY_NS: u64 = 500_000_000;

impl Steering {
    /// Takes in what the channel and the program have heard, when it is time.
    pub(in crate::daemon) fn look_for_signs(&mut self, context: &mut Context<'_>, now_ns: u64) {
        let peers = context.cluster.channel.heard();
        if let Some(last) = peers.iter().map(|peer| peer.at_ns).max()
            && last > 0
        {
            self.backend_tasks.outside().note(last);
        }
        self.look_at_frames(context, now_ns);
        let signs = context.plane.signs();
        let (boottime_ns, monotonic_ns) = (clock::boottime_ns(), clock::monotonic_ns());
        let (mut changed, mut asked) = (Vec::new(), Vec::new());
        for channel::Heard {
            address,
            at_ns,
            is_leaving,
        } in peers
        {
            let Some(member) = self.members.by_address(address) else {
                continue;
            };
            if member.local {
                continue;
            }
            if member.suspicion.is_news(at_ns) {
                let heard_ns = heard_monotonic_ns(at_ns, boottime_ns, monotonic_ns);
                signs.heard(member.id, heard_ns);
            }
            if member.suspicion.channel(at_ns, is_leaving, now_ns) {
                changed.push(member.id);
            }
        }
        // Who has left for good is dead, and lives again when it is back.
        let settles = |member: &Member| {
            let has_left = member.suspicion.has_left(now_ns);
            let is_down = member.health.state == HealthState::Down;
            let was_down = member.checked.state == HealthState::Down;
            has_left != is_down && !was_down
        };
        let unsettled = self.members.iter().filter(|member| settles(member));
        let unsettled: Vec<String> = unsettled.map(|member| member.name.clone()).collect();
        for name in unsettled {
            self.settle_health(&name, context, now_ns);
        }
        // Clients whose SYN comes again may be lying: a reason to look, and no sign.
        for member in self.members.iter_mut().filter(|member| !member.local) {
            let unanswered = signs.get(member.id).unanswered;
            if std::mem::replace(&mut member.unanswered, unanswered) < unanswered {
                asked.push(member.name.clone());
            }
        }
        self.suspects_changed(&changed, context, now_ns);
        for name in asked {
            self.backend_tasks.ask(&name);
        }
    }

    /// Who sends us frames to steer shows that we are connected.
    fn look_at_frames(&mut self, context: &mut Context<'_>, now_ns: u64) {
        if now_ns < self.doubts.looked_ns + FRAMES_EVERY_NS {
            return;
        }
        self.doubts.looked_ns = now_ns;
        let stats = context.plane.backend_stats().unwrap_or_default();
        let steered = stats.iter().map(|(_, stats)| stats.packets).sum();
        if std::mem::replace(&mut self.doubts.steered, steered) < steered {
            self.backend_tasks.outside().note(now_ns);
        }
    }

    /// The checks tell of a stack that does not answer, or does again.
    pub(in crate::daemon) fn pulse(&mut self, event: health::Event, context: &mut Context<'_>) {
        let now_ns = clock::boottime_ns();
        match event {
            health::Event::Changed(change) => self.health(change, context),
            health::Event::Silent(name) => self.sign_of(&name, Sign::Unanswered, context, now_ns),
            health::Event::Answered(name) => {
                let member = self.members.by_name(&name);
                let signs = context.plane.signs();
                let clear = |member: &mut Member| {
                    signs.heard(member.id, clock::monotonic_ns());
                    let is_cleared = member.suspicion.answered();
                    is_cleared.then_some(member.id)
                };
                let cleared: Vec<BackendId> = member.and_then(clear).into_iter().collect();
                self.suspects_changed(&cleared, context, now_ns);
            }
        }
    }

    /// There is a sign against a backend.
    pub(in crate::daemon) fn sign_of(
        &mut self,
        name: &str,
        sign: Sign,
        context: &mut Context<'_>,
        now_ns: u64,
    ) {
        let member = self.members.by_name(name).filter(|member| !member.local);
        let is_first = |member: &mut Member| {
            let is_first = member.suspicion.sign(sign, now_ns);
            is_first.then_some(member.id)
        };
        let changed: Vec<BackendId> = member.and_then(is_first).into_iter().collect();
        self.suspects_changed(&changed, context, now_ns);
    }

    /// Steers by the suspicions as they are now, and asks new suspects for a sign of life.
    fn suspects_changed(&mut self, changed: &[BackendId], context: &mut Context<'_>, now_ns: u64) {
        if changed.is_empty() {
            return;
        }
        let mut asked = Vec::new();
        for id in changed {
            let Some(member) = self.members.by_id(*id) else {
                continue;
            };
            let (name, address) = (&member.name, member.address);
            context
                .plane
                .signs()
                .set_suspect(*id, member.suspicion.suspect().is_some());
            if let Some(Suspect { sign, .. }) = member.suspicion.suspect() {
                info!("{name} ({address}) is suspect and is asked for a sign of life: {sign}");
                if sign != Sign::Leaving {
                    asked.push(name.clone());
                }
            } else {
                info!("{name} ({address}) answers: it is no longer suspect");
            }
        }
        // First the maps: each new session counts.
        self.obey(context, now_ns);
        for name in asked {
            self.backend_tasks.ask(&name);
        }
    }

    /// This node has become the master, or was cut off until now. What it found out of the others it may
    /// have found out of itself: a death has to be seen anew before it resets a session. And the box whose
    /// adverts have stopped is suspect, unless a word of its own came after them.
    pub(in crate::daemon) fn doubt_verdicts(
        &mut self,
        is_master_gone: bool,
        context: &mut Context<'_>,
        now_ns: u64,
    ) {
        self.backend_tasks.doubt();
        let mut doubtful = Vec::new();
        for member in self.members.iter_mut() {
            if !member.local && member.checked.state == HealthState::Down {
                member.checked.state = HealthState::NotServing;
                doubtful.push(member.name.clone());
            }
        }
        for name in &doubtful {
            self.settle_health(name, context, now_ns);
            self.sign_of(name, Sign::Doubtful, context, now_ns);
        }
        let former = context.cluster.election.former().filter(|_| is_master_gone);
        let addresses = former.map(|leader| [Some(leader.address), leader.other_address]);
        let addresses = addresses.into_iter().flatten().flatten();
        let gone =
            addresses.filter_map(|address| Some(self.members.by_address(address)?.name.clone()));
        let gone: Vec<String> = gone.collect();
        for name in gone {
            self.sign_of(&name, Sign::MasterGone, context, now_ns);
        }
    }

    /// What the checks found of a backend, as far as its own word does not speak against it.
    pub(in crate::daemon) fn settle_health(
        &mut self,
        name: &str,
        context: &mut Context<'_>,
        now_ns: u64,
    ) {
        let stale_ns = members::policy_settings(&context.config.cluster).stale_ns();
        let Some(member) = self.members.by_name(name) else {
            return;
        };
        let Some(said) = member.settle_health(stale_ns, now_ns) else {
            return;
        };
        let changed = member.clone();
        context.observed.notifier.tell(Notice {
            backend: Some(changed.name.clone()),
            health: Some(changed.health.state.name()),
            ..context.notice("health", changed.health_reason.clone().unwrap_or_default())
        });
        context
            .observed
            .happened(Severity::Info, Kind::Health, Some(&changed.name), said);
        self.write_backend(&changed, context.plane);
        self.weigher.hurry();
        self.tell_election(&mut context.cluster.election);
        self.warn_of_check(context, now_ns);
    }

    /// Says loudly when the checks are taken to be at fault themselves.
    fn warn_of_check(&mut self, context: &mut Context<'_>, now_ns: u64) {
        let is_at_fault = self.policy_input(context, now_ns).checks_are_at_fault();
        if std::mem::replace(&mut self.doubts.check_at_fault, is_at_fault) == is_at_fault {
            return;
        }
        if is_at_fault {
            let why = self
                .members
                .iter()
                .find_map(|member| member.health_reason.clone());
            let said = format!(
                "the health check fails for every backend at once, so the check itself is most likely \
                 wrong: it is ignored, and backends that answer take sessions; check cluster.health \
                 ({})",
                why.unwrap_or_default()
            );
            context
                .observed
                .happened(Severity::Warn, Kind::Health, None, said);
        } else {
            info!("the health check counts again");
        }
    }

    /// Takes in what a check found.
    fn health(&mut self, change: health::Change, context: &mut Context<'_>) {
        let Some(member) = self.members.by_name(&change.backend) else {
            return;
        };
        member.checked = Checked {
            state: change.state,
            reason: change.reason,
            failing_since_ns: change.failing_since_ns,
        };
        self.settle_health(&change.backend, context, clock::boottime_ns());
    }

    /// Whether this node can serve as master, as far as the backends tell.
    pub(in crate::daemon) fn can_serve(&self) -> bool {
        self.members.any_healthy() && !self.doubts.reach.is_worse()
    }

    fn tell_election(&self, election: &mut ElectionView) {
        if let Some(said) = election.tell_backends(self.can_serve()) {
            warn!("{said}");
        }
    }

    /// Compares what this node reaches with what its peers say that they reach.
    pub(in crate::daemon) fn compare_reach(&mut self, context: &mut Context<'_>, now_ns: u64) {
        let channel = &mut context.cluster.channel;
        channel.tell_checks_succeed(self.members.a_check_succeeds());
        let better = channel.a_peer_whose_checks_succeed(now_ns);
        let was_worse = self.doubts.reach.is_worse();
        self.doubts.reach.look(
            self.members.every_check_fails(),
            better.is_some(),
            reach::patience_ns(&context.config.cluster.health),
            now_ns,
        );
        if self.doubts.reach.is_worse() != was_worse {
            if let Some(peer) = better.filter(|_| !was_worse) {
                warn!(
                    "every health check from here fails, and {peer} reaches a backend: look at this \
                     box's way to the backends (its routes, its packet filter)"
                );
            }
            self.tell_election(&mut context.cluster.election);
        }
    }
}
