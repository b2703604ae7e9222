//! What the channel counts.

use crate::counters::counters;

counters! {
    /// Since the daemon started. A sentence each says whether an operator should worry.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    Counters:
    /// Datagrams sent to peers. Expected.
    datagrams_sent,
    /// Datagrams that the kernel did not take. Worry when it grows: no route to a peer.
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
    /// Datagrams too short, too long, or of a form that does not exist. Worry: something else sends to this port.
    refused_malformed,
    /// Datagrams of another version of the protocol. Expected during an upgrade: flows are not synchronised until it is complete.
    refused_version,
    /// Datagrams signed with a key that this node does not have. Worry: `secret_file` differs.
    refused_unknown_key,
    /// Datagrams with a wrong signature. Worry: forged, or `secret_file` differs.
    refused_forged,
    /// Signed datagrams of a node that the configuration does not have. Worry: the configurations differ.
    refused_stranger,
    /// Signed datagrams that were heard before, or are older than the window. Worry when it grows: somebody replays them.
    refused_replayed,
    /// Signed datagrams not meant for this start of this daemon. Expected for a moment after a start.
    refused_other_epoch,
    /// Signed datagrams of a peer beyond what a peer may send; what they said is asked for again later. Worry: that peer is broken, or in wrong hands; the log names it.
    refused_flood,
    /// Times that the kernel was told, by somebody else's ARP or ND, that a peer has a MAC which that peer does not tell; not used, and put right. Worry: a host on the segment speaks in that peer's name, or a peer is behind proxy ARP; the log names both.
    neighbours_refused,
    /// Datagrams of peers that never came and could not be told again; the peer's table was asked for. Worry when it grows: more comes than this node or the network takes.
    lost,
    /// Datagrams of peers that were lost, and what they said was told again. Expected in small numbers; worry when it grows: the network loses datagrams.
    repaired,
    /// Datagrams that a peer had missed and that were told it again. Expected in small numbers; worry when it grows: the network loses datagrams.
    repeated,
    /// Times that the program had events of flows for which its buffer had no room; every peer was made to ask for the table. Worry: flows come faster than this node can tell them.
    events_overrun,
    /// Times that the full table was asked for, one for each peer and try. Expected after a start, a peer's start or a loss.
    tables_asked,
    /// Full tables that came without a gap. Expected.
    tables_received,
    /// Full tables sent to peers. Expected after a peer's start.
    tables_sent,
    /// Flows of peers put into this node's table. Expected.
    flows_inserted,
    /// Flows of peers that this node's table had already. Expected.
    flows_known,
    /// Flows of peers that took the place of what the table had of the same client. Expected: clients use a port again.
    flows_replaced,
    /// Flows of peers that differ from one that this node has heard later itself, which stays. Expected after a failover; worry when it grows: two masters at once.
    flows_in_conflict,
    /// Flows of peers for which the table had no room. Worry: raise `node.flows`.
    flows_no_room,
    /// Flows of peers for a virtual address or backend that this node does not know. Worry: the configurations differ.
    flows_unknown_target,
    /// Flows that ended at a peer, and so ended here. Expected.
    flows_closed,
    /// Ends of flows that this node does not have, or has with another backend. Expected in small numbers.
    flows_close_unknown,
    /// Flows whose backend's own kernel says that the session is open, once for each time it says so. Expected.
    sessions_confirmed,
    /// Flows that ended because their backend's own kernel has ended the session, or does not have it. Expected.
    sessions_ended,
    /// Words of a backend's kernel on sessions that no flow here is of: health checks, connections past the VIP, ends of flows that are gone. Expected.
    sessions_unknown,
    /// Words of a backend's kernel on sessions whose client is with another backend by now, which stay there. Expected in small numbers: clients use a port again.
    sessions_elsewhere,
    /// Words on a session by a node that is not its backend: ignored. Worry: two boxes have one address, or a peer is in wrong hands.
    sessions_not_its_own,
    /// Sessions that this box's own kernel has begun, is looked at to have, or has ended, as told to peers. Expected.
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
