//! Weights that are not this node's own decision: the master's, and those that a former daemon left.
//! Pure.
use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    channel::BackendWeight,
    policy::{Output, Reason},
    units::{BackendId, WeightPermille},
};

/// The master repeats its weights every second; a backup that hears none for so long decides itself.
pub(in crate::daemon) const TOLD_NS: u64 = 5_000_000_000;

/// Whether a peer that tells weights as the master may be the master whose adverts are heard.
///
/// Adverts come from the address of their interface, which need not be the one that a node has on the
/// channel. What comes by the channel is signed, says who sends it, and only a master tells weights: so
/// it counts, unless the adverts are known to be another peer's.
pub(in crate::daemon) fn may_lead(
    teller: IpAddr,
    peers: &[IpAddr],
    is_leader: impl Fn(IpAddr) -> bool,
) -> bool {
    is_leader(teller) || !peers.iter().any(|peer| is_leader(*peer))
}

/// Whose weights they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::daemon) enum Whose {
    /// The master's, which counts while this node is a backup.
    Master,
    /// Those in the maps at the start, which count until there are figures.
    Former,
}

/// Weights to follow until some time.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct FollowedWeights {
    pub(in crate::daemon) whose: Whose,
    pub(in crate::daemon) until_ns: u64,
    weights: BTreeMap<IpAddr, BackendWeight>,
}

impl FollowedWeights {
    pub(in crate::daemon) fn new(whose: Whose, until_ns: u64, weights: Vec<BackendWeight>) -> Self {
        let by_address = weights.into_iter().map(|told| (told.backend, told));
        Self {
            whose,
            until_ns,
            weights: by_address.collect(),
        }
    }

    pub(in crate::daemon) fn counts(&self, is_master: bool, now_ns: u64) -> bool {
        now_ns < self.until_ns && (self.whose == Whose::Former || !is_master)
    }

    /// What a backend weighs in the ring; `None` for one that was not told of.
    pub(in crate::daemon) fn in_ring(&self, backend: IpAddr) -> Option<WeightPermille> {
        Some(self.weights.get(&backend)?.in_ring)
    }

    /// Puts these weights in the place of the own ones. A backend that was not told of keeps its own.
    pub(in crate::daemon) fn lead(
        &self,
        own: &mut Output,
        address: impl Fn(BackendId) -> Option<IpAddr>,
    ) {
        for site in &mut own.sites {
            for decision in &mut site.backends {
                let told = address(decision.id).and_then(|address| self.weights.get(&address));
                let Some(told) = told.filter(|told| told.weight != decision.weight) else {
                    continue;
                };
                // What was found may be older than an order, and than a death.
                let is_settled = matches!(
                    decision.reason,
                    Reason::Drained { .. }
                        | Reason::OperatorWeight { .. }
                        | Reason::Down { .. }
                        | Reason::NotServing { .. }
                        | Reason::Suspect { .. }
                );
                if self.whose == Whose::Former && is_settled {
                    continue;
                }
                decision.weight = told.weight;
                decision.accepting = told.weight.0 > 0;
                decision.reason = match self.whose {
                    Whose::Master => Reason::AsMasterSays,
                    Whose::Former => Reason::AsBeforeRestart,
                };
            }
            let active = site.backends.iter().filter(|decision| decision.accepting);
            site.active = u32::try_from(active.count()).unwrap_or(u32::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        policy::{BackendInput, Input, Mode, Policy, Settings, SiteInput},
        units::Weight,
    };

    fn address(id: BackendId) -> Option<IpAddr> {
        u8::try_from(id.0).ok().map(|id| [192, 0, 2, id].into())
    }

    fn own() -> Output {
        let backend = |id| BackendInput::new(BackendId(id), format!("mx{id}"), Weight(100));
        Policy::new().step(&Input {
            now_ns: 0,
            settings: Settings::default(),
            mode: Mode::ActiveActive,
            sites: vec![SiteInput {
                name: "site".to_owned(),
                spill: Vec::new(),
                backends: (1..=3).map(backend).collect(),
            }],
        })
    }

    #[test]
    fn told_weights_replace_the_own_and_say_whose_they_are() {
        let told = |last: u8, weight| BackendWeight {
            backend: [192, 0, 2, last].into(),
            weight: WeightPermille(weight),
            in_ring: WeightPermille(weight + 1),
        };
        let followed = FollowedWeights::new(Whose::Master, 9, vec![told(1, 0), told(2, 100_000)]);
        let mut output = own();
        followed.lead(&mut output, address);
        let decisions: Vec<_> = output.decisions().collect();
        let weights: Vec<u32> = decisions.iter().map(|one| one.weight.0).collect();
        assert_eq!(weights, [0, 100_000, 100_000]);
        assert!(!decisions[0].accepting);
        assert_eq!(decisions[0].reason, Reason::AsMasterSays);
        assert_ne!(
            decisions[1].reason,
            Reason::AsMasterSays,
            "its own says the same"
        );
        assert_eq!(output.sites[0].active, 2);
        assert_eq!(
            followed.in_ring([192, 0, 2, 1].into()),
            Some(WeightPermille(1))
        );
        assert_eq!(followed.in_ring([192, 0, 2, 3].into()), None);
    }

    #[test]
    fn a_master_is_known_by_its_channel_also_where_its_adverts_come_from_elsewhere() {
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let peers = [address(2), address(3)];
        // Who is heard as the master, and who tells weights.
        for (leader, teller, counts) in [
            (address(2), address(2), true),
            (address(2), address(3), false),
            (IpAddr::from([192, 0, 2, 2]), address(2), true),
        ] {
            let is_leader = |other| other == leader;
            let found = may_lead(teller, &peers, is_leader);
            assert_eq!(found, counts, "{leader} {teller}");
        }
    }

    #[test]
    fn a_master_follows_only_its_own_past_and_that_not_for_ever() {
        for (whose, is_master, now_ns, counts) in [
            (Whose::Master, false, 8, true),
            (Whose::Master, false, 9, false),
            (Whose::Master, true, 8, false),
            (Whose::Former, true, 8, true),
            (Whose::Former, false, 9, false),
        ] {
            let followed = FollowedWeights::new(whose, 9, Vec::new());
            assert_eq!(
                followed.counts(is_master, now_ns),
                counts,
                "{whose:?} {is_master}"
            );
        }
    }
}
