//! What the daemon knows of each backend, and how the cores see it. Pure.
use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU16};

use super::{
    beyond_figure::{BeyondFigure, Figure},
    session_lifetimes::{OpenByWord, SessionLifetimes},
    suspicion::Suspicion,
};
use crate::{
    config::{self, Cluster, Forwarding},
    dataplane::NatBackend,
    host::neighbours::Hop,
    policy::{self, BackendInput, Figures, Health, HealthState, Live, Override, Polled, SiteInput},
    stats::{AgentState, AgentWeight, Sample},
    units::{BackendId, Endpoint, Mac, Sockets, Weight},
};

/// A backend.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Member {
    pub(in crate::daemon) id: BackendId,
    pub(in crate::daemon) name: String,
    pub(in crate::daemon) site: String,
    pub(in crate::daemon) address: IpAddr,
    pub(in crate::daemon) weight: Weight,
    pub(in crate::daemon) forwarding: Forwarding,
    /// What `id` is the id of.
    pub(in crate::daemon) endpoint: Endpoint,
    /// This box.
    pub(in crate::daemon) local: bool,
    pub(in crate::daemon) hop: Option<Hop>,
    /// What the checks have found.
    pub(in crate::daemon) checked: Checked,
    /// What of it counts: see [`Member::settle_health`].
    pub(in crate::daemon) health: Health,
    /// Why it is not up.
    pub(in crate::daemon) health_reason: Option<String>,
    /// Signs that it may be dead.
    pub(in crate::daemon) suspicion: Suspicion,
    /// SYNs that came again for it without a sign of its life, as the program counts them.
    pub(in crate::daemon) unanswered: u64,
    /// It is asked for figures; false with `stats: {source: none}`.
    pub(in crate::daemon) is_polled: bool,
    /// Its last good answer, and when it came.
    pub(in crate::daemon) answered: Option<(Sample, u64)>,
    /// When its last poll ended, well or not.
    pub(in crate::daemon) heard_ns: u64,
    /// Why its last poll failed.
    pub(in crate::daemon) poll_error: Option<String>,
    pub(in crate::daemon) poll_failures: u64,
    /// How often it stopped to take sessions, by the kind of the reason.
    pub(in crate::daemon) shut_offs: BTreeMap<String, u64>,
    pub(in crate::daemon) order: Option<Override>,
    pub(in crate::daemon) live: Live,
    /// How fast its sessions end.
    pub(in crate::daemon) lifetimes: SessionLifetimes,
    /// How many it has by its box's word, as of the last sweep, if its box tells.
    pub(in crate::daemon) by_word: Option<OpenByWord>,
    /// Flows beyond the sessions that it reports.
    pub(in crate::daemon) beyond_figure: BeyondFigure,
}

/// What the checks have found of a backend.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Checked {
    pub(in crate::daemon) state: HealthState,
    pub(in crate::daemon) reason: Option<String>,
    /// Since when the checks fail, if they do.
    pub(in crate::daemon) failing_since_ns: u64,
}

/// Every backend, in the configuration's order.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Members {
    all: Vec<Member>,
    /// The way to each node that is no backend.
    directors: BTreeMap<IpAddr, Option<Hop>>,
}

impl Members {
    /// Takes over a configuration: who stays keeps what is known of it.
    ///
    /// `ids` has the id of each of [`endpoints`]. Returns the ids of those that are gone.
    pub(in crate::daemon) fn configure(
        &mut self,
        node_name: &str,
        cluster: &Cluster,
        ids: &BTreeMap<Endpoint, BackendId>,
    ) -> Vec<BackendId> {
        let mut before = std::mem::take(&mut self.all);
        let ids_before: Vec<BackendId> = before.iter().map(|member| member.id).collect();
        for (site, backend) in cluster.backends() {
            let known = before.iter().position(|member| {
                member.name == backend.name && member.address == backend.address
            });
            let mut member = match known {
                Some(index) => before.swap_remove(index),
                None => Member::unknown(backend),
            };
            let endpoint = endpoint(node_name, cluster, backend);
            let id = ids.get(&endpoint).copied().unwrap_or(member.id);
            if member.id != id {
                // What was counted before is another id's.
                member.lifetimes = SessionLifetimes::default();
                member.by_word = None;
            }
            (member.id, member.endpoint) = (id, endpoint);
            member.site.clone_from(&site.name);
            member.weight = backend.weight;
            member.forwarding = backend.forwarding;
            member.is_polled = backend.stats != config::Source::None;
            member.local = backend.name == node_name;
            self.all.push(member);
        }
        let directors = std::mem::take(&mut self.directors);
        self.directors = cluster
            .directors
            .iter()
            .map(|address| (*address, directors.get(address).copied().flatten()))
            .collect();
        let still = |id: &BackendId| self.all.iter().any(|member| member.id == *id);
        ids_before.into_iter().filter(|id| !still(id)).collect()
    }

    pub(in crate::daemon) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.all.iter()
    }

    pub(in crate::daemon) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.all.iter_mut()
    }

    pub(in crate::daemon) fn by_address(&mut self, address: IpAddr) -> Option<&mut Member> {
        self.all.iter_mut().find(|member| member.address == address)
    }

    pub(in crate::daemon) fn by_id(&mut self, id: BackendId) -> Option<&mut Member> {
        self.all.iter_mut().find(|member| member.id == id)
    }

    pub(in crate::daemon) fn by_name(&mut self, name: &str) -> Option<&mut Member> {
        self.all.iter_mut().find(|member| member.name == name)
    }

    /// The sentence on a name that no backend has.
    pub(in crate::daemon) fn must_know(&self, name: &str) -> Result<(), String> {
        let names = || self.iter().map(|member| member.name.as_str());
        if names().any(|known| known == name) {
            return Ok(());
        }
        let known: Vec<&str> = names().collect();
        Err(format!(
            "there is no backend {name}; the backends are {}",
            known.join(", ")
        ))
    }

    /// Notes the way to a node that is no backend; false if that is none, or nothing new.
    pub(in crate::daemon) fn note_director(&mut self, address: IpAddr, hop: Option<Hop>) -> bool {
        match self.directors.get_mut(&address) {
            // A MAC that does not answer for now stays.
            Some(known) if hop.is_some() && *known != hop => {
                *known = hop;
                true
            }
            _ => false,
        }
    }

    /// Those whose replies pass this box.
    pub(in crate::daemon) fn nat_backends(&self) -> impl Iterator<Item = NatBackend> {
        let members = self.all.iter();
        members.filter_map(|member| nat_backend(member.id, member.endpoint))
    }

    /// The backend that is this box.
    pub(in crate::daemon) fn local(&self) -> Option<&Member> {
        self.all.iter().find(|member| member.local)
    }

    /// This box's address as a backend.
    pub(in crate::daemon) fn own_address(&self) -> Option<IpAddr> {
        self.local().map(|local| local.address)
    }

    /// Whether any backend is asked for figures.
    pub(in crate::daemon) fn any_polled(&self) -> bool {
        self.all.iter().any(|member| member.is_polled)
    }

    /// Whether the poll of every backend that is asked has ended, well or not, after `since_ns`.
    pub(in crate::daemon) fn all_heard_since(&self, since_ns: u64) -> bool {
        let mut polled = self.all.iter().filter(|member| member.is_polled);
        polled.all(|member| member.heard_ns > since_ns)
    }

    /// Whether any backend could take a session.
    pub(in crate::daemon) fn any_healthy(&self) -> bool {
        self.iter()
            .any(|member| member.health.state != HealthState::Down)
    }

    /// Whether a check of this node succeeds. What is not checked is no success.
    pub(in crate::daemon) fn a_check_succeeds(&self) -> bool {
        let mut states = self.iter().map(|member| member.checked.state);
        states.any(|state| matches!(state, HealthState::Up | HealthState::Full))
    }

    /// Whether every check of this node has failed.
    pub(in crate::daemon) fn every_check_fails(&self) -> bool {
        let fails = |state| matches!(state, HealthState::NotServing | HealthState::Down);
        self.iter().all(|member| fails(member.checked.state))
    }

    /// The MACs that the kernel's neighbour table has for the cluster's other boxes on this segment; of
    /// backends, if that is wanted, only for those that answer the health check.
    pub(in crate::daemon) fn neighbours(&self, answering: bool) -> Vec<(IpAddr, Mac)> {
        let answers = |member: &&Member| {
            !answering
                || !matches!(
                    member.health.state,
                    HealthState::Unknown | HealthState::Down
                )
        };
        // What a gateway sends may come from any host.
        let backends = self.all.iter().filter(answers);
        let backends = backends.map(|member| (member.address, member.hop));
        let directors = self.directors.iter().map(|(address, hop)| (*address, *hop));
        let on_link = backends.chain(directors).filter_map(|(address, hop)| {
            Some((address, hop.filter(|hop| hop.next_hop == address)?))
        });
        on_link.map(|(address, hop)| (address, hop.mac)).collect()
    }

    /// The policy's view of the sites.
    pub(in crate::daemon) fn sites(&self, cluster: &Cluster, now_ns: u64) -> Vec<SiteInput> {
        let sites = cluster.sites.iter().map(|site| SiteInput {
            name: site.name.clone(),
            spill: site.spill.clone(),
            backends: self
                .all
                .iter()
                .filter(|member| member.site == site.name)
                .map(|member| member.policy_input(now_ns))
                .collect(),
        });
        sites.collect()
    }
}

impl Member {
    fn unknown(backend: &config::Backend) -> Self {
        Self {
            id: BackendId(u16::MAX),
            name: backend.name.clone(),
            site: String::new(),
            address: backend.address,
            weight: backend.weight,
            forwarding: backend.forwarding,
            endpoint: Endpoint::of_virtual(backend.address),
            local: false,
            hop: None,
            checked: Checked::default(),
            health: Health::default(),
            health_reason: None,
            suspicion: Suspicion::default(),
            unanswered: 0,
            is_polled: false,
            answered: None,
            heard_ns: 0,
            poll_error: None,
            poll_failures: 0,
            shut_offs: BTreeMap::new(),
            order: None,
            live: Live::default(),
            lifetimes: SessionLifetimes::default(),
            by_word: None,
            beyond_figure: BeyondFigure::default(),
        }
    }

    /// Makes what the checks found the health that counts. Returns the sentence that tells of a change.
    ///
    /// No connection from here is not the box's death: the check may name another port, or a packet
    /// filter knows the directors. While the box itself says, by figures measured after the checks began
    /// to fail, that it has sessions or a listener, it lives, and its sessions are not cut. Until the first
    /// such figures, or a poll that fails, a box whose agent answered before is not taken for dead.
    pub(in crate::daemon) fn settle_health(
        &mut self,
        stale_ns: u64,
        now_ns: u64,
    ) -> Option<String> {
        let Checked {
            mut state,
            mut reason,
            failing_since_ns,
        } = self.checked.clone();
        if state == HealthState::Down
            && let Some((sample, at_ns)) = &self.answered
        {
            let measured_ns = at_ns.saturating_sub(sample.age_ms.saturating_mul(1_000_000));
            let sessions = sample.sessions.unwrap_or(0);
            let is_news = measured_ns > failing_since_ns;
            let is_fresh = now_ns.saturating_sub(measured_ns) < stale_ns;
            let lives = sessions > 0 || sample.vip_ready == Some(true);
            let word = match (is_news, lives) {
                _ if !is_fresh => None,
                (true, true) => Some(format!(
                    "its own agent has {sessions} sessions, so it lives"
                )),
                (true, false) => None,
                // A box that is dead does not answer the next poll, which comes before these are old.
                (false, _) => self
                    .poll_error
                    .is_none()
                    .then(|| "its own agent has not been asked since".to_owned()),
            };
            if let Some(word) = word {
                state = HealthState::NotServing;
                reason = Some(format!("{}; {word}", reason.unwrap_or_default()));
            }
        }
        if let Some(router) = self.router() {
            state = HealthState::Down;
            reason = Some(format!(
                "it is behind the router {router}, and dsr reaches only boxes on the same segment: use \
                 `forwarding: ipip` for it"
            ));
        }
        if self.forwarding != Forwarding::Nat && self.suspicion.has_left(now_ns) {
            state = HealthState::Down;
            reason = Some("its lbd was stopped, and its virtual addresses with it".to_owned());
        }
        self.health_reason = reason;
        if self.health.state == state {
            return None;
        }
        self.health.state = state;
        self.health.since_ns = now_ns;
        let why = self.health_reason.as_ref();
        Some(format!(
            "{} is {}{}",
            self.name,
            state.name().replace('_', " "),
            why.map(|why| format!(": {why}")).unwrap_or_default()
        ))
    }

    /// The router before a backend that only its own segment reaches (`dsr`).
    pub(in crate::daemon) fn router(&self) -> Option<IpAddr> {
        let is_near = self.local || self.forwarding != Forwarding::Dsr;
        let hop = self.hop.filter(|_| !is_near)?;
        (hop.next_hop != self.address).then_some(hop.next_hop)
    }

    /// Its own figure of its sessions, unless that is too old.
    pub(in crate::daemon) fn session_figure(&self, stale_ns: u64, now_ns: u64) -> Option<Figure> {
        let (sample, at_ns) = self.answered.as_ref()?;
        let age_ns = now_ns.saturating_sub(*at_ns);
        (age_ns <= stale_ns).then_some(Figure {
            at_ns: *at_ns,
            sessions: sample.sessions?,
        })
    }

    fn policy_input(&self, now_ns: u64) -> BackendInput {
        BackendInput {
            id: self.id,
            name: self.name.clone(),
            weight: self.weight,
            operator: self.order,
            health: self.health,
            health_reason: self.health_reason.clone(),
            suspect: self.suspicion.suspect(),
            polled: self.answered.as_ref().map(|(sample, at_ns)| Polled {
                age_ns: now_ns
                    .saturating_sub(*at_ns)
                    .saturating_add(sample.age_ms.saturating_mul(1_000_000)),
                figures: self.figures(sample),
            }),
            live: self.live,
        }
    }

    /// A sample as the policy takes it.
    fn figures(&self, sample: &Sample) -> Figures {
        let asked = sample.weight.map(|weight| match weight {
            AgentWeight::Permille(permille) => permille / 10,
            AgentWeight::Absolute(weight) => {
                u32::from(weight.0) * 100 / u32::from(self.weight.0.max(1))
            }
        });
        Figures {
            queued: sample.queued,
            deferred: sample.deferred,
            sessions: sample.sessions,
            unique_ips: sample.unique_ips,
            not_accepted: sample.not_accepted,
            state: match sample.state {
                AgentState::Unsaid => None,
                AgentState::Up => Some(policy::AgentState::Ready),
                AgentState::Drain | AgentState::Maint => Some(policy::AgentState::Drain),
                AgentState::Down => Some(policy::AgentState::Down),
            },
            weight_percent: asked,
            session_limit: sample.session_limit,
            // Behind NAT a backend has no virtual address to be ready with.
            vip_ready: sample
                .vip_ready
                .filter(|_| self.forwarding != Forwarding::Nat),
        }
    }
}

/// Where this node steers the sessions of each backend.
pub(in crate::daemon) fn endpoints(node_name: &str, cluster: &Cluster) -> Vec<Endpoint> {
    let backends = cluster.backends();
    backends
        .map(|(_, backend)| endpoint(node_name, cluster, backend))
        .collect()
}

/// This box serves from its own stack; its forwarding is for others.
fn endpoint(node_name: &str, cluster: &Cluster, backend: &config::Backend) -> Endpoint {
    let is_local = backend.name == node_name;
    let sockets = match backend.forwarding {
        Forwarding::Nat if !is_local => Sockets::Own {
            // A port that is the only service's is the same endpoint with or without it.
            port: backend
                .port
                .filter(|port| cluster.ports != [*port])
                .and_then(NonZeroU16::new),
        },
        _ => Sockets::Virtual,
    };
    Endpoint {
        address: backend.address,
        sockets,
    }
}

/// An endpoint whose replies pass this box; `None` of another one.
pub(in crate::daemon) fn nat_backend(id: BackendId, endpoint: Endpoint) -> Option<NatBackend> {
    let Sockets::Own { port } = endpoint.sockets else {
        return None;
    };
    Some(NatBackend {
        id,
        address: endpoint.address,
        port: port.map(NonZeroU16::get),
    })
}

/// The policy's settings, from the configuration.
pub(in crate::daemon) fn policy_settings(cluster: &Cluster) -> policy::Settings {
    let policy = &cluster.policy;
    policy::Settings {
        kind: match policy.kind {
            config::PolicyKind::Seed => policy::Kind::Seed,
            config::PolicyKind::QueueAware => policy::Kind::QueueAware,
        },
        count: match policy.connections {
            config::Connections::UniqueIps => policy::Count::UniqueIps,
            config::Connections::Sessions => policy::Count::Sessions,
        },
        above_average: f64::from(policy.above_average),
        high_threshold: f64::from(policy.high_threshold),
        min_active: policy.min_active,
        poll_interval_ns: nanoseconds(cluster.stats.interval),
        panic_threshold: cluster.health.panic_threshold,
        tuning: policy::Tuning {
            scale: policy.scale,
            smoothing: policy.smoothing,
            hysteresis: policy.return_below,
            slow_start_ns: nanoseconds(policy.slow_start),
            ..policy::Tuning::default()
        },
    }
}

/// A configured duration in nanoseconds; 584 years are enough.
pub(in crate::daemon) fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
