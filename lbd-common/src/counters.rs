//! Why packets went where they went.
//!
//! A frame that was steered to a backend counts once in [`crate::backend::BackendStats`] and not
//! here, so that an open session touches one per-CPU line and not two.

/// Declares [`Counters`], [`Reason`] and the names from one list, so that they cannot disagree.
macro_rules! counters {
    ($(#[doc = $doc:literal] $field:ident $reason:ident,)+) => {
        /// The one entry of `COUNTERS`, per CPU. A sentence each says whether an operator should worry.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub struct Counters {
            $(#[doc = $doc] pub $field: u64,)+
        }

        /// A field of [`Counters`], by its index.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Reason {
            $(#[doc = $doc] $reason,)+
        }

        impl Reason {
            /// Every reason, in the order of the fields.
            pub const ALL: &'static [Self] = &[$(Self::$reason),+];
            /// How many there are.
            pub const COUNT: u32 = Self::ALL.len() as u32;

            /// The name of the counter.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => stringify!($field),)+
                }
            }

            /// What the counter means, and whether an operator should worry.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$reason => $doc.trim_ascii(),)+
                }
            }
        }

        impl Counters {
            /// The counter of a reason.
            #[must_use]
            pub const fn get(&self, reason: Reason) -> u64 {
                match reason {
                    $(Reason::$reason => self.$field,)+
                }
            }

            /// Adds another CPU's counters, or another interval's.
            pub fn add(&mut self, other: &Self) {
                $(self.$field = self.$field.wrapping_add(other.$field);)+
            }
        }
    };
}

counters! {
    /// Frames not for a VIP that are too short or broken to parse, passed untouched. Expected in small numbers.
    pass_malformed PassMalformed,
    /// Frames that are addressed to another box's MAC, flooded here by a switch or seen by a promiscuous port, left untouched. Expected in small numbers; steady growth means that the switch does not learn where a box is.
    pass_other_mac PassOtherMac,
    /// Frames for a VIP that are not TCP on a served port (ping, other services). Expected.
    pass_other_service PassOtherService,
    /// Frames for a VIP that another node of the cluster steered to this box. Expected.
    pass_from_node PassFromNode,
    /// ARP requests and neighbour solicitations for a VIP, answered by this box as the master. Expected.
    pass_neighbour PassNeighbour,
    /// ARP requests and neighbour solicitations for a VIP that this box must not answer. Expected on a backup.
    drop_neighbour DropNeighbour,
    /// New sessions that reached a box which is not the master or lost its lease. Expected for a moment after a failover; steady growth means that a switch or a router still sends the VIP here.
    drop_not_master DropNotMaster,
    /// Frames for a VIP with impossible lengths or headers. Worry when it grows: a broken sender or an attack.
    drop_malformed DropMalformed,
    /// Parts of cut-up packets for a VIP whose first part was not seen, or of no proven session. Expected in small numbers; growth means an attack.
    drop_fragment DropFragment,
    /// Frames whose backend's MAC is not known yet; TCP sends them again. Worry when it keeps growing: the backend does not answer ARP or ND.
    drop_unresolved DropUnresolved,
    /// Frames for which the ring has no backend. Worry: no backend is configured or alive.
    drop_no_backend DropNoBackend,
    /// Frames of denied sources. Expected when there is a deny list.
    drop_denied DropDenied,
    /// Frames without a session from an address that no client has: loopback, `this network`, multicast, broadcast or the VIP itself. Worry when it grows: a host forges source addresses, and a router lets them in.
    drop_odd_source DropOddSource,
    /// SYNs from a port whose session ends just now at a backend that takes no new ones: dropped, as the client sends them again after the backend's word on the end. Expected after a drain, in small numbers.
    drop_syn_early DropSynEarly,
    /// New connections above the rate a source may open. Expected when a rate is set; a customer among them means that it is too low.
    drop_rate_limited DropRateLimited,
    /// Frames for a backend on an interface that lbd does not run on. Worry: add the interface to `node.interfaces`.
    drop_no_device DropNoDevice,
    /// Frames that could not be changed for their backend (no room before them). Worry: the driver leaves no headroom.
    drop_rewrite_failed DropRewriteFailed,
    /// Encapsulated frames that did not come from a node of the cluster. Worry: a host tries to guess the tunnel.
    drop_tunnel_stranger DropTunnelStranger,
    /// Frames too big for a tunnel that were not answered: more than 1,000 a second on a CPU, or ICMP errors themselves. Worry when it grows: a sender ignores the answers.
    drop_too_big DropTooBig,
    /// Frames that would be reset but are resets themselves. Expected.
    drop_no_reset_for_reset DropNoResetForReset,
    /// New sessions reset because all weights are 0. Worry: no backend takes sessions; senders try their next MX.
    reset_no_weight ResetNoWeight,
    /// New sessions reset because every backend that could take them has as many as it may; senders try their next MX. Worry when it grows: the cluster is too small.
    reset_full ResetFull,
    /// Open sessions reset because their backend died. Expected after a backend's death.
    reset_dead ResetDead,
    /// Open sessions reset because their source has since been denied. Expected after a new denial.
    reset_doomed ResetDoomed,
    /// New sessions of denied sources, reset as `on_deny: reset` says. Expected then.
    reset_denied ResetDenied,
    /// Sessions whose client answered. Expected: every session.
    flow_opened FlowOpened,
    /// Sessions that the client, or a NAT backend, ended by FIN or RST. Expected: nearly every session.
    flow_closed FlowClosed,
    /// Flows displaced by a new one: ended, half-open, unproven, closing or expired ones. Expected in a flood only; otherwise the table is too small.
    flow_displaced FlowDisplaced,
    /// New flows that did not fit in the table and were steered by the ring alone. Worry: raise the table's size.
    flow_no_room FlowNoRoom,
    /// Flows created from a mid-session frame, after a failover. Expected then.
    flow_adopted FlowAdopted,
    /// Mid-session frames without a flow, steered by the ring. Expected after a failover and in floods.
    stateless_mid_flow StatelessMidFlow,
    /// New sessions steered by the ring alone while a SYN flood lasts. Expected in a flood.
    stateless_flood StatelessFlood,
    /// Frames handed on to the other ring candidate because this box does not have the session. Expected after a failover; steady growth long after one means that the directors do not share their sessions: check the cluster channel.
    second_chance SecondChance,
    /// Frames that another box handed on to this one, which has the session. Expected after a failover.
    second_chance_found SecondChanceFound,
    /// Frames steered or handed on to this box for sessions that neither it nor another box has; passed up, so that the sender is reset. Expected after a box's death and for late frames.
    pass_no_session PassNoSession,
    /// ICMP errors steered to the backend of the session they are about. Expected.
    icmp_steered IcmpSteered,
    /// ICMP errors for a VIP about no known session, passed to this box. Expected in small numbers.
    pass_icmp_unknown PassIcmpUnknown,
    /// Frames too big for a tunnel, answered with ICMP. Expected once per session and path.
    icmp_too_big IcmpTooBig,
    /// Later parts of cut-up packets that followed the first to its backend. Expected from senders behind a small link that do not discover its MTU.
    fragment_followed FragmentFollowed,
    /// Frames taken out of a tunnel. Expected on a backend with `forwarding: ipip`.
    decapsulated Decapsulated,
    /// Replies of NAT backends translated back. Expected with `forwarding: nat`.
    nat_reply NatReply,
    /// Replies of NAT backends whose next hop's MAC the kernel does not know yet; it is being resolved, and TCP sends them again. Expected now and then.
    drop_nat_no_neighbour DropNatNoNeighbour,
    /// Replies of NAT backends without a route. Worry: the box lacks a route to the client, or `net.ipv4.conf.*.forwarding` of the backends' interface is off.
    drop_nat_unrouted DropNatUnrouted,
    /// New sessions whose client already uses the same port for another service that is translated to the same port of a NAT backend, which could not tell the two apart. Expected in small numbers: the client tries again from another port.
    drop_nat_twin DropNatTwin,
    /// Frames for NAT backends whose flow did not fit in the flow table, without which no reply can be translated back. Worry: raise the table's size; expected for a moment after a failover and in floods.
    drop_nat_no_flow DropNatNoFlow,
    /// Repeated SYNs whose backend has given no sign of life since the first one. Expected in small numbers; growth means that a backend's box is dead or cut off: `lbd status` names it.
    syn_unanswered SynUnanswered,
    /// Sessions moved to the other candidate because the first one gave no sign of life. Expected when a box dies.
    syn_moved SynMoved,
    /// Flow events that found the ring buffer full. Worry: peers know less than they should; the daemon is too slow or dead.
    event_lost EventLost,
}

const _: () = assert!(size_of::<Counters>() == Reason::COUNT as usize * 8);

#[cfg(test)]
mod tests {
    use super::{Counters, Reason};

    #[test]
    fn a_reason_is_the_index_of_its_field() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        let mut counters = Counters {
            event_lost: 3,
            ..Counters::default()
        };
        assert_eq!(counters.get(Reason::EventLost), 3);
        counters.add(&counters.clone());
        assert_eq!(counters.event_lost, 6);
    }

    #[test]
    fn every_counter_says_whether_to_worry() {
        for reason in Reason::ALL {
            let text = reason.sentence();
            assert!(
                text.contains("Worry") || text.contains("xpected") || text.contains("means"),
                "{}: {text}",
                reason.name()
            );
        }
    }
}
