//! What the machine is told, and what it wants done.
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::config::{Config, Family};
use crate::units::Priority;
use crate::vrrp::Interval;

/// What was found on the box at the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// No virtual address.
    #[default]
    Nothing,
    /// A virtual address whose data-plane lease has not ended: the daemon was away for less than
    /// any backup waits, so it is master still.
    LeaseHeld,
    /// A virtual address without a lease: another node may be master by now.
    LeaseOver,
}

/// What must be well before a node may be master.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// The XDP program is attached and its maps are filled.
    pub data_plane: bool,
    /// The interface is there and has a carrier.
    pub link: bool,
    /// At least one backend takes sessions. Without any, the priority falls (if so configured).
    pub backends: bool,
}

impl Health {
    /// All is well.
    pub const GOOD: Self = Self {
        data_plane: true,
        link: true,
        backends: true,
    };
    /// Before anything is known: no node claims what it may not be able to serve.
    pub const UNKNOWN: Self = Self {
        data_plane: false,
        link: false,
        backends: false,
    };
}

/// Why a node may not be master.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The XDP program is not attached.
    NoDataPlane,
    /// No carrier, or the interface is gone.
    LinkDown,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoDataPlane => "the XDP program is not attached",
            Self::LinkDown => "the link is down",
        })
    }
}

/// A verified advert.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// The source of its IP header.
    pub from: IpAddr,
    /// 0: the sender stops.
    pub priority: Priority,
    /// The sender's, in centiseconds.
    pub interval: Interval,
    /// The sender is known to serve no longer than its lease: another lbd, by the cluster channel.
    #[serde(default)]
    pub leased: bool,
}

/// What the machine is told. Hand in all that the sockets hold before a [`Self::Timer`],
/// so that a machine that was away hears of its successor first.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// Begin.
    Start {
        /// What was found on the box.
        found: Found,
    },
    /// End; a master says so, and its backups take over at once.
    Stop,
    /// End for a successor on this box, which must find everything as it is. A master makes the
    /// others wait for it by an advert of a long interval, and its data plane serves as long.
    HandOver,
    /// [`super::Machine::deadline_ns`] has passed.
    Timer,
    /// An advert was heard.
    Advert(Heard),
    /// The advert of the last [`Output::SendAdvert`] could not be sent in any family. Of the
    /// outputs that came with it, the caller leaves out `HoldLease`, `BecomeMaster` and `Announce`:
    /// who cannot speak must not draw the clients to itself.
    AdvertFailed,
    /// Another box said by ARP or ND that one of our virtual addresses is its own.
    RivalClaim {
        /// Which.
        address: IpAddr,
    },
    /// What is well and what is not.
    Health(Health),
    /// The answer to [`Output::WantSync`]: flows and weights are here.
    SyncDone,
    /// Another configuration, from now on.
    #[serde(skip)]
    ConfigChanged(Config),
    /// A box answered for this address of its own: the master's, or a witness's.
    Alive {
        /// Which.
        address: IpAddr,
    },
    /// An advert that authentication refused, while no other was believed since the start.
    Unbelieved {
        /// From whom, they say.
        from: IpAddr,
    },
}

/// Why a node became master.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Takeover {
    /// No advert for a master-down interval.
    MasterDown,
    /// The master said that it stops.
    MasterStopped,
    /// The master's box answers no question for its own address, and others do.
    MasterGone,
    /// The master's daemon is silent, and the lease of its data plane has ended.
    LeaseEnded,
    /// The master has a lower priority, or there was none at a start as master.
    Preempted,
    /// It was master before a restart, and its lease had not ended.
    Adopted,
}

/// Why a node is backup.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyBackup {
    /// It has just started.
    Started,
    /// It was told to stop.
    Stopped,
    /// Another master has a higher priority, or the same and a higher address.
    Yielded,
    /// It could send no advert for three intervals (stopped, starved, a firewall), so others may
    /// have taken over.
    LeaseLost,
    /// A virtual address was left from before the start: handed over.
    HandedOver,
    /// A node advertises that it does not believe, and it has believed none yet: its own key may be
    /// the wrong one.
    Contested,
    /// It was cut off or paused while another one served.
    Rejoined,
    /// It may not be master.
    Fault(Fault),
}

/// What the machine wants done, in this order.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// Send an advert in each family.
    SendAdvert {
        /// 0: we stop.
        priority: Priority,
        /// To put into it.
        interval: Interval,
    },
    /// Send an advert of priority 0 in one family: this node has left both, and no other master speaks in it.
    LeaveFamily {
        /// Which.
        family: Family,
        /// To put into it.
        interval: Interval,
    },
    /// The data plane may serve until then.
    HoldLease {
        /// `CLOCK_BOOTTIME`.
        until_ns: u64,
    },
    /// The data plane may no longer serve.
    ReleaseLease,
    /// Set the role, then add the virtual addresses.
    BecomeMaster {
        /// The cause.
        why: Takeover,
    },
    /// Set the role, then remove the virtual addresses.
    BecomeBackup {
        /// The cause.
        why: WhyBackup,
    },
    /// Announce each virtual address, once.
    Announce,
    /// Fetch flows and weights from the master, then say [`Input::SyncDone`].
    WantSync,
    /// Ask the master's box and the witnesses whether they are there; [`Input::Alive`] for each
    /// that answers.
    Probe {
        /// The master's own address.
        master: IpAddr,
    },
    /// Ask witnesses whether they are there, as with [`Self::Probe`].
    AskWitnesses {
        /// All of them, not the next one in turn.
        all: bool,
    },
    /// Ask by ARP and ND who has the virtual addresses; [`Input::RivalClaim`] for each answer. After this
    /// node has yielded, each answer must be announced to the clients too.
    AskAddresses,
    /// Neither a node nor a gateway is heard any more: this box is cut off, and what it concludes
    /// of others is about itself.
    Isolated,
    /// This box was cut off or paused and hears others again: what it concluded of others
    /// meanwhile is void.
    Rejoined,
    /// For the log and the counters.
    Notice(Notice),
}

/// What an operator may want to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// Two masters heard each other. Expected once when a partition heals.
    Rival {
        /// The other.
        from: IpAddr,
        /// The other's.
        priority: Priority,
        /// Whether we stay.
        won: bool,
    },
    /// An advert came from our own address: two boxes have the same one.
    OwnAddress {
        /// The address.
        from: IpAddr,
    },
    /// A box that is not master claims a virtual address.
    ForeignClaim {
        /// Which.
        address: IpAddr,
    },
    /// The thread was not run in time, so it looked for a rival before it took over.
    LateTimer {
        /// By how much.
        late_ns: u64,
    },
    /// Preempting without the flows: they did not come in time.
    SyncTimedOut,
    /// A node that is not the master says that it stops. Harmless.
    StrangerStopped {
        /// Who.
        from: IpAddr,
    },
    /// Neither the master nor any witness answers.
    Deaf,
    /// A node advertises that we do not believe, and we have believed none since the start.
    Contested {
        /// Who, they say.
        from: IpAddr,
    },
    /// May not be master.
    Fault(Fault),
    /// May be master again.
    Cured,
    /// Another box answers for a virtual address, and no master was heard yet.
    Answered {
        /// Which.
        address: IpAddr,
    },
    /// This box hears neither a node nor a gateway.
    Isolated,
    /// This box was away and hears others again.
    Rejoined,
    /// The master speaks, and nothing is heard in one of the families in which this cluster has addresses.
    SilentFamily {
        /// The master.
        from: IpAddr,
        /// The family without a master.
        silent: Family,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rival {
                from,
                priority,
                won,
            } => {
                let end = if *won {
                    "it must yield"
                } else {
                    "yielding to it"
                };
                write!(
                    f,
                    "{from} is master too, with priority {}: {end}",
                    priority.0
                )
            }
            Self::OwnAddress { from } => write!(
                f,
                "an advert came from {from}, our own address: another box has it too"
            ),
            Self::ForeignClaim { address } => write!(
                f,
                "another box claims {address} by ARP or ND: announcing it again"
            ),
            Self::LateTimer { late_ns } => write!(
                f,
                "the election's thread ran {} ms late: looking for a master before taking over",
                late_ns / 1_000_000
            ),
            Self::SyncTimedOut => {
                f.write_str("flows and weights did not arrive in time: taking over without them")
            }
            Self::StrangerStopped { from } => {
                write!(f, "{from} announces that it stops, but is not the master")
            }
            Self::Deaf => f.write_str(
                "neither the master nor the gateway nor another node answers: waiting longer before \
                 taking over, since this box may be the one that hears nothing",
            ),
            Self::Contested { from } => write!(
                f,
                "{from} advertises, but no key here verifies it, and no advert was verified since the start: not becoming a second master (is cluster.secret_file the same on both?)"
            ),
            Self::Fault(fault) => write!(f, "may not be master: {fault}"),
            Self::Cured => f.write_str("may be master again"),
            Self::Answered { address } => write!(
                f,
                "another box answers for {address}: waiting for its adverts before taking over"
            ),
            Self::Isolated => f.write_str(
                "no other node and no gateway answers any longer: this box is cut off (check its cable and its switch port)",
            ),
            Self::Rejoined => f.write_str(
                "this box was cut off or paused and hears others again: what it concluded about them meanwhile is discarded",
            ),
            Self::SilentFamily { from, silent } => write!(
                f,
                "{from} is master and sends no {silent} adverts, nor does another box: nothing serves the \
                 {silent} virtual addresses; configure them there too (in keepalived: a second \
                 vrrp_instance, in one vrrp_sync_group with the first)"
            ),
        }
    }
}

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MasterDown => "no advert was heard for the master-down interval",
            Self::MasterStopped => "the master stopped",
            Self::MasterGone => "the master's box no longer answers",
            Self::LeaseEnded => "the master's daemon is silent and its lease has ended",
            Self::Preempted => "no better master is there",
            Self::Adopted => "it was master before the restart",
        })
    }
}

impl fmt::Display for WhyBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("waiting for adverts"),
            Self::Stopped => f.write_str("stopped"),
            Self::Yielded => f.write_str("yielded to a better master"),
            Self::LeaseLost => f.write_str("no advert could be sent for three intervals"),
            Self::HandedOver => {
                f.write_str("a virtual address from before the start was handed over")
            }
            Self::Rejoined => f.write_str(
                "this box was cut off or paused, and another one serves: fetching its sessions first",
            ),
            Self::Contested => f.write_str(
                "adverts arrive that no key here verifies: is cluster.secret_file the same on both?",
            ),
            Self::Fault(fault) => write!(f, "may not be master: {fault}"),
        }
    }
}
