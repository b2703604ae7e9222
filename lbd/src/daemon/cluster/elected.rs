//! Records what the election's thread tells, and tells operators of it.
use tracing::warn;

use super::{Cluster, advert};
use crate::{
    config::Config,
    daemon::{
        observe::{
            recent::{Kind, Severity},
            record::Observed,
        },
        operator::notify::Notice,
    },
    election::{Leader, Takeover},
};

/// What an event of the election means to the steering.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::daemon) enum RoleChange {
    None,
    /// This node is the master now; whether the former one did not hand over.
    Master {
        is_former_gone: bool,
    },
    Backup,
    /// This node was cut off until now.
    Rejoined,
}

impl Cluster {
    /// Records what the election's thread told, and tells operators. `master`: the master's name until now.
    pub(in crate::daemon) fn elected(
        &mut self,
        event: advert::Event,
        config: &Config,
        master: Option<String>,
        observed: &mut Observed,
        now_ns: u64,
    ) -> RoleChange {
        match event {
            advert::Event::BecameMaster { why } => {
                observed.happened(Severity::Info, Kind::Role, None, format!("master: {why}"));
                self.election.become_master(why.to_string(), now_ns);
                self.tell_role(config, why.to_string(), master, observed);
                return RoleChange::Master {
                    is_former_gone: matches!(why, Takeover::MasterDown | Takeover::MasterGone),
                };
            }
            advert::Event::BecameBackup { why, leader } => {
                observed.happened(Severity::Info, Kind::Role, None, format!("backup: {why}"));
                self.election.become_backup(leader, why.to_string(), now_ns);
                self.tell_role(config, why.to_string(), master, observed);
                return RoleChange::Backup;
            }
            advert::Event::LeaderChanged(leader) => {
                let is_new = |leader: &Leader| !self.election.is_leader(leader.address);
                if let Some(leader) = leader.filter(is_new) {
                    let said = format!(
                        "the master is {} with priority {}",
                        leader.address, leader.priority.0
                    );
                    observed.happened(Severity::Info, Kind::Role, None, said);
                }
                self.election.led_by(leader);
            }
            advert::Event::WantSync { leader } => self.sync(config, leader),
            advert::Event::Isolated => {
                let said = "this box is cut off: it hears no other node and no gateway";
                observed.note(Kind::Role, None, said);
                self.election.isolate(true, now_ns);
            }
            advert::Event::Rejoined => {
                let said = "this box was cut off or paused and hears others again";
                observed.note(Kind::Role, None, said);
                self.election.isolate(false, now_ns);
                // The other half had a master of its own, which may have moved what the hook moves.
                self.tell_role(config, said.to_owned(), None, observed);
                return RoleChange::Rejoined;
            }
            advert::Event::Notice(notice) => warn!("{notice}"),
        }
        RoleChange::None
    }

    /// Tells the histories and the program of `node.notify` of this node's role.
    pub(in crate::daemon) fn tell_role(
        &self,
        config: &Config,
        reason: String,
        former_master: Option<String>,
        observed: &mut Observed,
    ) {
        let is_master = self.election.is_master();
        observed.is_master = is_master;
        observed.notifier.tell(Notice {
            former_master,
            ..Notice::new(config, is_master, "role", reason)
        });
    }
}
