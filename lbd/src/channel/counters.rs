//! What the channel counts.

use crate::counters::counters;

counters! {
    /// Since the daemon started. A sentence each says whether an operator should worry.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    Counters:
    /// Datagrams sent to peers. Expected.
    datagrams_sent,
    /// Datagrams that the kernel did not accept. Worry when it grows: no route to a peer.
    send_failed,
    /// Bytes of the datagrams sent, without UDP and IP headers. Expected.
    bytes_sent,
    /// Changes of flows that were sent, once for each peer. Expected.
    flows_sent,
    /// Flows not sent because a peer's queue was full; the peer sees a gap and asks for the table. Worry when it grows: flows come faster than they can be sent.
    flows_overrun,
    /// Messages about history not sent because a peer's queue was full; the peer asks again. Expected after a node was away for long.
    history_overrun,
    /// Datagrams of peers that were accepted. Expected.
    datagrams_accepted,
    /// Datagrams that are too short, too long or malformed. Worry: something else sends to this port.
    refused_malformed,
    /// Datagrams of another version of the protocol. Expected during an upgrade: flows are not synchronised until it is complete.
    refused_version,
    /// Datagrams signed with a key that this node does not have. Worry: `secret_file` differs.
    refused_unknown_key,
    /// Datagrams with a wrong signature. Worry: forged, or `secret_file` differs.
    refused_forged,
    /// Signed datagrams from a node that is not in the configuration. Worry: the configurations differ.
    refused_stranger,
    /// Signed datagrams that were heard before or are older than the window. Worry when it grows: a host replays them.
    refused_replayed,
    /// Signed datagrams not meant for this run of this daemon. Expected for a moment after a start.
    refused_other_epoch,
    /// Signed datagrams above the rate limit for a peer; their content is requested again later. Worry: that peer is broken or compromised; the log names it.
    refused_flood,
    /// Times that the kernel was told, by another host's ARP or ND, that a peer has a MAC that the peer does not report; the entry is not used and is corrected. Worry: a host on the segment speaks in that peer's name, or a peer is behind proxy ARP; the log names both.
    neighbours_refused,
    /// Datagrams of peers that were lost and could not be retransmitted; the peer's table was requested instead. Worry when it grows: this node or the network is overloaded.
    lost,
    /// Datagrams of peers that were lost and retransmitted. Expected in small numbers; worry when it grows: the network loses datagrams.
    repaired,
    /// Datagrams that a peer had missed and that were retransmitted to it. Expected in small numbers; worry when it grows: the network loses datagrams.
    repeated,
    /// Times that the XDP program lost flow events because its ring buffer was full; every peer was made to resync. Worry: flows come faster than this node can report them.
    events_overrun,
    /// Requests for a full table, one for each peer and attempt. Expected after a start, a peer's start or a loss.
    tables_asked,
    /// Full tables received without a gap. Expected.
    tables_received,
    /// Full tables sent to peers. Expected after a peer's start.
    tables_sent,
    /// Flows of peers put into this node's table. Expected.
    flows_inserted,
    /// Flows of peers that this node's table had already. Expected.
    flows_known,
    /// Flows of peers that replaced this table's flow of the same client. Expected: clients reuse ports.
    flows_replaced,
    /// Flows of peers that differ from a flow that this node itself has heard more recently, which stays. Expected after a failover; worry when it grows: two masters at once.
    flows_in_conflict,
    /// Flows of peers that did not fit in the table. Worry: raise `node.flows`.
    flows_no_room,
    /// Flows of peers for a virtual address or backend that this node does not know. Worry: the configurations differ.
    flows_unknown_target,
    /// Flows that ended at a peer, and so ended here. Expected.
    flows_closed,
    /// Ends of flows that this node does not have or has with another backend. Expected in small numbers.
    flows_close_unknown,
    /// Flows whose backend's own kernel says that the session is open, once for each time it says so. Expected.
    sessions_confirmed,
    /// Flows that ended because their backend's own kernel has ended the session, or does not have it. Expected.
    sessions_ended,
    /// Reports of a backend's kernel on sessions without a flow here: health checks, connections that bypass the VIP, ends of flows that are gone. Expected.
    sessions_unknown,
    /// Reports of a backend's kernel on sessions whose client is now with another backend and stays there. Expected in small numbers: clients reuse ports.
    sessions_elsewhere,
    /// Reports on a session by a node that is not its backend: ignored. Worry: two boxes have the same address, or a peer is compromised.
    sessions_not_its_own,
    /// Sessions that this box's own kernel has begun, holds or has ended, as reported to peers. Expected.
    sessions_told,
}

#[cfg(test)]
mod tests {
    use super::Counters;

    #[test]
    fn every_counter_says_whether_to_worry() {
        for (name, _, sentence) in Counters::default().iter() {
            assert!(
                sentence.contains("Worry") || sentence.contains("Expected"),
                "{name}: {sentence}"
            );
        }
    }
}
