//! What the daemon knows of each backend, and how the cores see it. Pure.
use std::{collections::BTreeMap, net::IpAddr};

use super::turnover::Turnover;
use crate::{
    config::{self, Cluster},
    dataplane::NatBackend,
    host::neighbours::Hop,
    policy::{self, BackendInput, Figures, Health, HealthState, Live, Override, Polled, SiteInput},
    stats::{AgentState, AgentWeight, Sample},
    units::{BackendId, Mac, Weight},
};

/// A backend.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: BackendId,
    pub(super) name: String,
    pub(super) site: String,
    pub(super) address: IpAddr,
    pub(super) weight: Weight,
    pub(super) forwarding: config::Forwarding,
    pub(super) port: Option<u16>,
    /// This box.
    pub(super) local: bool,
    pub(super) hop: Option<Hop>,
    pub(super) health: Health,
    /// Why it is not up.
    pub(super) health_reason: Option<String>,
    /// Its last good answer, and when it came.
    pub(super) answered: Option<(Sample, u64)>,
    /// When its last poll ended, well or not.
    pub(super) heard_ns: u64,
    /// Why its last poll failed.
    pub(super) poll_error: Option<String>,
    pub(super) poll_failures: u64,
    /// How often it stopped to take sessions, by the kind of the reason.
    pub(super) shut_offs: BTreeMap<String, u64>,
    pub(super) order: Option<Override>,
    pub(super) live: Live,
    /// How fast its sessions end.
    pub(super) turnover: Turnover,
}

/// Every backend, in the configuration's order.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    all: Vec<Member>,
    /// The way to each node that is no backend.
    directors: BTreeMap<IpAddr, Option<Hop>>,
}

impl Members {
    /// Takes over a configuration: who stays keeps what is known of it.
    ///
    /// `ids` has the id of every address. Returns the ids of the backends that are gone.
    pub(super) fn configure(
        &mut self,
        node_name: &str,
        cluster: &Cluster,
        ids: &BTreeMap<IpAddr, BackendId>,
    ) -> Vec<BackendId> {
        let mut before = std::mem::take(&mut self.all);
        for (site, backend) in cluster.backends() {
            let known = before.iter().position(|member| {
                member.name == backend.name && member.address == backend.address
            });
            let mut member = match known {
                Some(index) => before.swap_remove(index),
                None => Member::unknown(backend),
            };
            member.id = ids.get(&backend.address).copied().unwrap_or(member.id);
            member.site.clone_from(&site.name);
            member.weight = backend.weight;
            member.forwarding = backend.forwarding;
            member.port = backend.port;
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
        before
            .iter()
            .map(|member| member.id)
            .filter(|id| !still(id))
            .collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.all.iter_mut()
    }

    pub(super) fn by_address(&mut self, address: IpAddr) -> Option<&mut Member> {
        self.all.iter_mut().find(|member| member.address == address)
    }

    pub(super) fn by_id(&mut self, id: BackendId) -> Option<&mut Member> {
        self.all.iter_mut().find(|member| member.id == id)
    }

    pub(super) fn by_name(&mut self, name: &str) -> Option<&mut Member> {
        self.all.iter_mut().find(|member| member.name == name)
    }

    /// Notes the way to a node that is no backend; false if that is none, or nothing new.
    pub(super) fn note_director(&mut self, address: IpAddr, hop: Option<Hop>) -> bool {
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
    pub(super) fn nat_backends(&self) -> impl Iterator<Item = NatBackend> {
        let nat = |member: &&Member| member.forwarding == config::Forwarding::Nat && !member.local;
        self.all.iter().filter(nat).map(|member| NatBackend {
            id: member.id,
            address: member.address,
            port: member.port,
        })
    }

    /// The backend that is this box.
    pub(super) fn local(&self) -> Option<&Member> {
        self.all.iter().find(|member| member.local)
    }

    /// This box's address as a backend.
    pub(super) fn own_address(&self) -> Option<IpAddr> {
        self.local().map(|local| local.address)
    }

    /// Whether every backend's poll has ended, well or not, after `since_ns`.
    pub(super) fn all_heard_since(&self, since_ns: u64) -> bool {
        self.all.iter().all(|member| member.heard_ns > since_ns)
    }

    /// Whether any backend could take a session.
    pub(super) fn any_healthy(&self) -> bool {
        self.all
            .iter()
            .any(|member| member.health.state != HealthState::Down)
    }

    /// The MACs of the cluster's other boxes on this segment.
    pub(super) fn node_macs(&self) -> Vec<Mac> {
        // What a gateway sends may be anybody's.
        let backends = self.all.iter().map(|member| (member.address, member.hop));
        let directors = self.directors.iter().map(|(address, hop)| (*address, *hop));
        let on_link = backends
            .chain(directors)
            .filter_map(|(address, hop)| hop.filter(|hop| hop.next_hop == address));
        let mut macs: Vec<Mac> = on_link.map(|hop| hop.mac).collect();
        macs.sort_unstable();
        macs.dedup();
        macs
    }

    /// The policy's view of the sites.
    pub(super) fn sites(&self, cluster: &Cluster, now_ns: u64) -> Vec<SiteInput> {
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
            port: backend.port,
            local: false,
            hop: None,
            health: Health::default(),
            health_reason: None,
            answered: None,
            heard_ns: 0,
            poll_error: None,
            poll_failures: 0,
            shut_offs: BTreeMap::new(),
            order: None,
            live: Live::default(),
            turnover: Turnover::default(),
        }
    }

    fn policy_input(&self, now_ns: u64) -> BackendInput {
        BackendInput {
            id: self.id,
            name: self.name.clone(),
            weight: self.weight,
            operator: self.order,
            health: self.health,
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
                .filter(|_| self.forwarding != config::Forwarding::Nat),
        }
    }
}

/// The policy's settings, from the configuration.
pub(super) fn policy_settings(cluster: &Cluster) -> policy::Settings {
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
pub(super) fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_says_nothing_gives_the_policys_own_defaults() {
        let yaml = include_str!("../../../deploy/lbd.yaml");
        let config = config::Config::parse(yaml, "lbd.yaml").expect("shipped");
        let settings = policy_settings(&config.cluster);
        assert_eq!(settings, policy::Settings::default());
    }
}
