//! What the thread tells, and what it counts.
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::{
    counters::counters,
    election::{self, Leader, Takeover, WhyBackup},
    vrrp::{AuthError, VrrpError},
};

/// Said to the daemon as it happens.
#[derive(Debug)]
pub enum Event {
    /// This node is master: the lease is held; the addresses follow.
    BecameMaster {
        /// The cause.
        why: Takeover,
    },
    /// This node is no master.
    BecameBackup {
        /// The cause.
        why: WhyBackup,
        /// The master, when known.
        leader: Option<Leader>,
    },
    /// Another master than before was heard, or none for long enough.
    LeaderChanged(Option<Leader>),
    /// Fetch flows and weights from `leader`, then say [`super::Command::SyncDone`]; with no one to
    /// ask, say it at once.
    WantSync {
        /// The master, when known.
        leader: Option<Leader>,
    },
    /// This box hears neither a node nor a gateway: what it concludes of others is about itself.
    Isolated,
    /// It was cut off or paused and hears others again: what it concluded of others is void.
    Rejoined,
    /// For the log; the same one at most once in ten seconds.
    Notice(Notice),
}

/// A sentence for the log.
#[derive(Debug)]
pub enum Notice {
    /// Of the election.
    Election(election::Notice),
    /// A packet that is no advert for us.
    BadAdvert {
        /// From whom.
        from: IpAddr,
        /// Why not.
        why: VrrpError,
    },
    /// An advert that is not believed.
    Unauthenticated {
        /// From whom, they say.
        from: IpAddr,
        /// Why not.
        why: AuthError,
    },
    /// An advert's addresses differ from ours.
    OtherAddresses {
        /// From whom.
        from: IpAddr,
    },
    /// An IPv6 advert's addresses are ours but for the link-local one that RFC 9568 wants first.
    OtherLinkLocal {
        /// From whom.
        from: IpAddr,
        /// Whether the peer's list has it.
        theirs_has: bool,
    },
    /// An advert from a sender that is not in `unicast_peers`.
    NotAPeer {
        /// From whom.
        from: IpAddr,
    },
    /// Adverts cannot be sent or heard in a family; tried again each second.
    NoSocket {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// Why.
        error: std::io::Error,
    },
    /// An advert could not be sent.
    NotSent {
        /// Whereto.
        to: IpAddr,
        /// Why.
        error: std::io::Error,
    },
    /// An address could not be added, renewed or removed.
    Vip {
        /// Which.
        address: IpAddr,
        /// Why.
        error: super::VipError,
    },
    /// Announcements cannot be sent, or rivals' not heard.
    NoPacketSocket(std::io::Error),
    /// An announcement, or a question to another box, could not be sent.
    NotAnnounced(std::io::Error),
    /// No real-time priority: under load, timers fire late.
    NoRealTime(std::io::Error),
    /// Memory is not locked: a page that was swapped out delays a timer.
    NotLocked(std::io::Error),
}

/// What [`Notice::kind`] tells apart.
pub(super) type NoticeKind = (std::mem::Discriminant<Notice>, u64);

impl Notice {
    /// Between two of a kind in the log.
    pub(super) const EVERY_NS: u64 = 10_000_000_000;

    /// Two notices of a kind are one to the log for [`Self::EVERY_NS`].
    pub(super) fn kind(&self) -> NoticeKind {
        let detail = match self {
            Self::Election(notice) => {
                // An election's notices differ in what an operator does about them.
                match notice {
                    election::Notice::Rival { .. } => 1,
                    election::Notice::OwnAddress { .. } => 2,
                    election::Notice::ForeignClaim { .. } => 3,
                    election::Notice::LateTimer { .. } => 4,
                    election::Notice::SyncTimedOut => 5,
                    election::Notice::StrangerStopped { .. } => 6,
                    election::Notice::Fault(_) => 7,
                    election::Notice::Cured => 8,
                    election::Notice::Contested { .. } => 9,
                    election::Notice::Deaf => 10,
                    election::Notice::Isolated => 11,
                    election::Notice::Rejoined => 12,
                    election::Notice::Answered { .. } => 13,
                    election::Notice::SilentFamily { .. } => 14,
                }
            }
            _ => 0,
        };
        (std::mem::discriminant(self), detail)
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Election(notice) => notice.fmt(f),
            Self::BadAdvert { from, why } => write!(f, "advert from {from} dropped: {why}"),
            Self::Unauthenticated { from, why } => {
                write!(f, "advert from {from} rejected: {why}")
            }
            Self::OtherAddresses { from } => write!(
                f,
                "{from} advertises a different list of virtual addresses: make the lists agree (keepalived drops adverts whose list differs from its own)"
            ),
            Self::OtherLinkLocal { from, theirs_has } => write!(
                f,
                "{from} advertises the IPv6 virtual addresses {} a link-local address, and this node {} one: \
                 keepalived 2.2 drops adverts with another number of addresses, so that there are two masters \
                 (2.3 complains and follows them); set cluster.advertise_link_local: {theirs_has}",
                if *theirs_has { "with" } else { "without" },
                if *theirs_has { "without" } else { "with" },
            ),
            Self::NotAPeer { from } => {
                write!(
                    f,
                    "advert from {from} dropped: not one of cluster.unicast_peers"
                )
            }
            Self::NoSocket { family, error } => {
                write!(f, "no {family} adverts for now, retrying: {error}")
            }
            Self::NotSent { to, error } => write!(
                f,
                "advert to {to} not sent: {error} (does a firewall drop protocol 112?)"
            ),
            Self::Vip { address, error } => write!(f, "virtual address {address}: {error}"),
            Self::NoPacketSocket(error) => write!(
                f,
                "no gratuitous ARP and neighbour advertisements: {error} (CAP_NET_RAW is needed)"
            ),
            Self::NotAnnounced(error) => write!(f, "gratuitous ARP or ND not sent: {error}"),
            Self::NoRealTime(error) => write!(
                f,
                "adverts run without real-time priority: {error} (CAP_SYS_NICE is needed); under \
                 load prefer intervals of 100 ms and more"
            ),
            Self::NotLocked(error) => write!(
                f,
                "memory is not locked: {error} (LimitMEMLOCK=infinity is needed, or CAP_IPC_LOCK)"
            ),
        }
    }
}

counters! {
    /// What came and went on the wire. Each says whether it is expected.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
    WireCounters:
    /// Good adverts whose checksum has the pseudo-header. Expected.
    checksum_with_pseudo_header,
    /// Good IPv4 adverts without it (RFC 9568). Expected from some peers.
    checksum_message_only,
    /// Packets with a TTL or hop limit below 255: a router, or forged. Not expected.
    wrong_ttl,
    /// Too short, too long, or no address. Not expected.
    wrong_length,
    /// Not VRRP version 3: reconfigure the peer.
    wrong_version,
    /// Not an advertisement. Not expected.
    wrong_type,
    /// For another virtual router. Expected where several share the segment.
    other_router,
    /// Damaged or miscomputed. Not expected.
    wrong_checksum,
    /// With an interval of 0. Not expected.
    zero_interval,
    /// From a sender that is not in the list of unicast peers. Not expected.
    not_a_peer,
    /// Valid adverts whose addresses differ from ours: make the configurations agree.
    other_addresses,
    /// Without the trailer that is required. Expected until the roll-out is complete.
    auth_missing,
    /// With an unknown key or type. Expected only during a roll-over.
    auth_unknown,
    /// Forged, or the keys differ. Not expected.
    auth_forged,
    /// Replayed, or the clocks differ. Not expected.
    auth_replayed,
}

impl WireCounters {
    pub(super) fn count_bad(&mut self, why: VrrpError) {
        *match why {
            VrrpError::Ttl { .. } => &mut self.wrong_ttl,
            VrrpError::Short { .. }
            | VrrpError::NoAddress
            | VrrpError::Length { .. }
            | VrrpError::Family => &mut self.wrong_length,
            VrrpError::Version { .. } => &mut self.wrong_version,
            VrrpError::Type { .. } => &mut self.wrong_type,
            VrrpError::VirtualRouterId { .. } => &mut self.other_router,
            VrrpError::Checksum { .. } => &mut self.wrong_checksum,
            VrrpError::ZeroInterval => &mut self.zero_interval,
        } += 1;
    }

    pub(super) fn count_unbelieved(&mut self, why: AuthError) {
        *match why {
            AuthError::Missing => &mut self.auth_missing,
            AuthError::Type { .. } | AuthError::UnknownKey { .. } => &mut self.auth_unknown,
            AuthError::Forged => &mut self.auth_forged,
            AuthError::Stale { .. } | AuthError::Replay => &mut self.auth_replayed,
        } += 1;
    }
}
