//! L2 DSR, packet by packet: who is steered where, and what is left alone.
use std::net::{Ipv4Addr, Ipv6Addr};

use lbd_common::{
    backend::state::{DEAD, UNRESOLVED, UNUSED},
    counters::Reason as C,
    flow::state::{CLOSING, ESTABLISHED, HALF_OPEN},
    sign,
};
use lbd_tests::xdp::{
    packet::{
        ACK, FIN, NODE_MAC, OUR_MAC, PSH, ROUTER_MAC, RST, SYN, Segment, VIP4, VIP6, arp, ethernet,
        neighbour, v4, v6,
    },
    row::{
        Flow, Given, Out, check, closing, doomed, ended, half, hung_up, open, row, uncounted,
        unproven,
    },
    world::{A, B, FAR, INGRESS, LOCAL, LOST, World},
};

const OTHER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
const OTHER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99);

#[test]
fn what_is_not_for_a_vip_leaves_as_it_came() {
    let Some(mut world) = World::load("what_is_not_for_a_vip_leaves_as_it_came") else {
        return;
    };
    let udp = v4(ACK).edit(23, &[17]);
    #[rustfmt::skip]
    let rows = [
        row("another IPv4 address", v4(SYN).to4(OTHER4), [], Out::Pass, [], None),
        row("another IPv6 address", v6(SYN).to6(OTHER6), [], Out::Pass, [], None),
        row("an IPv4 address whose first word an IPv6 VIP has", v4(SYN).to4(Ipv4Addr::new(0x20, 1, 0x0d, 0xb8)), [], Out::Pass, [], None),
        row("another address, behind a tag", v4(SYN).to4(OTHER4).tagged(&[7]), [], Out::Pass, [], None),
        row("another address, malformed", v4(SYN).to4(OTHER4).edit(14, &[0x4f]), [], Out::Pass, [], None),
        row("another address, a fragment", v4(SYN).to4(OTHER4).edit(20, &[0x20]), [], Out::Pass, [], None),
        row("another port of the VIP", v4(SYN).to_port(80), [], Out::Pass, [C::PassOtherService], None),
        row("another port of the VIP, IPv6", v6(SYN).to_port(80), [], Out::Pass, [C::PassOtherService], None),
        row("port 0, which ends the list of ports", v4(SYN).to_port(0), [], Out::Pass, [C::PassOtherService], None),
        row("UDP for the VIP", udp, [], Out::Pass, [C::PassOtherService], None),
        row("a ping for the VIP", v4(ACK).edit(23, &[1]).edit(34, &[8]), [], Out::Pass, [C::PassOtherService], None),
        row("three tags", v4(SYN).tagged(&[1, 2, 3]), [], Out::Pass, [], None),
        row("an unknown ether type", ethernet(ROUTER_MAC, OUR_MAC, 0x88cc, &[1; 40]), [], Out::Pass, [], None),
        row("an Ethernet header and nothing more", v4(SYN).cut(14), [], Out::Pass, [C::PassMalformed], None),
        row("half an IPv4 header", v4(SYN).cut(30), [], Out::Pass, [C::PassMalformed], None),
        row("half an IPv6 header", v6(SYN).cut(50), [], Out::Pass, [C::PassMalformed], None),
        row("half a tag", v4(SYN).tagged(&[7]).cut(16), [], Out::Pass, [C::PassMalformed], None),
    ];
    check(&mut world, rows);
}

#[test]
fn broken_packets_for_a_vip_are_dropped() {
    let Some(mut world) = World::load("broken_packets_for_a_vip_are_dropped") else {
        return;
    };
    #[rustfmt::skip]
    let rows = [
        row("IP version 5", v4(SYN).edit(14, &[0x55]), [], Out::Drop, [C::DropMalformed], None),
        row("an IPv4 header of 16 bytes", v4(SYN).edit(14, &[0x44]), [], Out::Drop, [C::DropMalformed], None),
        row("an IPv4 header longer than the packet", v4(SYN).edit(14, &[0x4f]), [], Out::Drop, [C::DropMalformed], None),
        row("a total length beyond the frame", v4(SYN).edit(16, &[0, 41]), [], Out::Drop, [C::DropMalformed], None),
        row("a total length below the header", v4(SYN).edit(16, &[0, 19]), [], Out::Drop, [C::DropMalformed], None),
        row("a total length below the header, of an open session", v4(ACK).edit(16, &[0, 19]), [Given::Flow(open(A))], Out::Drop, [C::DropMalformed], open(A)),
        row("a total length within the TCP header, of an open session", v4(ACK).edit(16, &[0, 39]), [Given::Flow(open(A))], Out::Drop, [C::DropMalformed], open(A)),
        row("a TCP header of 16 bytes", v4(SYN).edit(46, &[0x40]), [], Out::Drop, [C::DropMalformed], None),
        row("a TCP header longer than the packet", v4(SYN).edit(46, &[0x60]), [], Out::Drop, [C::DropMalformed], None),
        row("half a TCP header", v4(SYN).edit(16, &[0, 30]).cut(44), [], Out::Drop, [C::DropMalformed], None),
        row("a TCP header in the padding", v4(SYN).edit(16, &[0, 30]), [], Out::Drop, [C::DropMalformed], None),
        row("an IPv6 header with version 4", v6(SYN).edit(14, &[0x40]), [], Out::Drop, [C::DropMalformed], None),
        row("an IPv6 payload beyond the frame", v6(SYN).edit(18, &[0, 21]), [], Out::Drop, [C::DropMalformed], None),
        row("an IPv6 extension beyond the packet", v6(SYN).edit(20, &[0]).edit(54, &[6, 9]), [], Out::Drop, [C::DropMalformed], None),
        row("four IPv6 extensions", v6(SYN).payload(40).edit(20, &[0]).edit(54, &[60, 0]).edit(62, &[60, 0]).edit(70, &[60, 0]), [], Out::Drop, [C::DropMalformed], None),
        row("an IPv6 extension that points at itself", v6(SYN).payload(40).edit(20, &[0]).edit(54, &[0, 0]).edit(62, &[0, 0]).edit(70, &[0, 0]).edit(78, &[0, 0]), [], Out::Drop, [C::DropMalformed], None),
        row("the first fragment", v4(SYN).edit(20, &[0x20, 0]), [], Out::Drop, [C::DropFragment], None),
        row("the last fragment", v4(SYN).edit(20, &[0, 5]), [], Out::Drop, [C::DropFragment], None),
        row("a fragment that overlaps the TCP header", v4(SYN).edit(20, &[0, 1]), [], Out::Drop, [C::DropFragment], None),
        row("a later IPv6 fragment", v6(SYN).edit(20, &[44]).edit(54, &[6, 0, 0, 0x29]), [], Out::Drop, [C::DropFragment], None),
        row("a later IPv6 fragment behind an extension", v6(SYN).payload(8).edit(20, &[60]).edit(54, &[44, 0]).edit(62, &[6, 0, 0, 0x28]), [], Out::Drop, [C::DropFragment], None),
        row("half an IPv6 fragment header", v6(SYN).edit(20, &[44]).edit(18, &[0, 4]).cut(58), [], Out::Drop, [C::DropMalformed], None),
    ];
    check(&mut world, rows);
}

#[test]
fn a_new_session_goes_to_the_lighter_candidate() {
    let Some(mut world) = World::load("a_new_session_goes_to_the_lighter_candidate") else {
        return;
    };
    let no_weights = Given::Director(|director| director.total_weight_permille = 0);
    let flood = Given::Do(|world| world.flood(|_| ()));
    let twice = Given::Do(|world| world.one_candidate_twice(A, B));
    #[rustfmt::skip]
    let rows = [
        row("a SYN with equal loads: the first candidate", v4(SYN), [], Out::To(A), [], half(A)),
        row("IPv6 likewise", v6(SYN), [], Out::To(A), [], half(A)),
        row("behind a tag", v4(SYN).tagged(&[7]), [], Out::To(A), [], half(A)),
        row("behind two tags", v4(SYN).tagged(&[7, 8]), [], Out::To(A), [], half(A)),
        row("IPv6 behind two tags", v6(SYN).tagged(&[7, 8]), [], Out::To(A), [], half(A)),
        row("with 4 bytes of IPv4 options", v4(SYN).options(4), [], Out::To(A), [], half(A)),
        row("with 40 bytes of IPv4 options", v4(SYN).options(40), [], Out::To(A), [], half(A)),
        row("with Ethernet padding", v4(SYN).padding(6), [], Out::To(A), [], half(A)),
        row("with ECN (RFC 3168)", v4(SYN).edit(47, &[0xc2]), [], Out::To(A), [], half(A)),
        row("behind an IPv6 extension", v6(SYN).payload(8).edit(20, &[60]).edit(54, &[6, 0, 1, 4, 0, 0, 0, 0, 0x9c, 0x40, 0, 25, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2]), [], Out::To(A), [], half(A)),
        row("the second is lighter", v4(SYN), [Given::Load(A, 1)], Out::To(B), [], half(B)),
        row("the second is lighter, IPv6", v6(SYN), [Given::Load(A, 1)], Out::To(B), [], half(B)),
        row("both hashes meet one backend: the next one is the second", v4(SYN), [twice, Given::Load(A, 1)], Out::To(B), [], half(B)),
        row("the same, IPv6", v6(SYN), [twice, Given::Load(A, 1)], Out::To(B), [], half(B)),
        row("the same, and the first is lighter", v4(SYN), [twice, Given::Load(B, 1)], Out::To(A), [], half(A)),
        row("twice the sessions at twice the weight is a tie", v4(SYN), [Given::Load(A, 2), Given::Weight(A, 2000), Given::Load(B, 1)], Out::To(A), [], half(A)),
        row("between idle ones the ring decides, at any weights", v4(SYN), [Given::Weight(B, 2000)], Out::To(A), [], half(A)),
        row("a load that went below 0 counts as none", v4(SYN), [Given::Load(B, u64::MAX)], Out::To(A), [], half(A)),
        row("weight 0 is never chosen", v4(SYN), [Given::Weight(A, 0)], Out::To(B), [], half(B)),
        row("weight 0 as the second", v4(SYN), [Given::Weight(B, 0), Given::Load(A, 9)], Out::To(A), [], half(A)),
        row("all weights 0: a RST, and the sender tries its next MX", v4(SYN), [no_weights], Out::Reset, [C::ResetNoWeight], None),
        row("all weights 0, IPv6", v6(SYN), [no_weights], Out::Reset, [C::ResetNoWeight], None),
        row("all weights 0, behind two tags", v4(SYN).tagged(&[7, 8]), [no_weights], Out::Reset, [C::ResetNoWeight], None),
        row("all weights 0, with options", v4(SYN).options(12), [no_weights], Out::Reset, [C::ResetNoWeight], None),
        row("all weights 0, with data in the SYN", v4(SYN).payload(9), [no_weights], Out::Reset, [C::ResetNoWeight], None),
        row("a dead candidate is passed over", v4(SYN), [Given::Is(A, DEAD)], Out::To(B), [], half(B)),
        row("a candidate without a MAC is passed over", v4(SYN), [Given::Is(A, UNRESOLVED)], Out::To(B), [], half(B)),
        row("no candidate has a MAC yet: TCP sends it again", v4(SYN), [Given::Is(A, UNRESOLVED), Given::Is(B, UNRESOLVED)], Out::Drop, [C::DropUnresolved], None),
        row("no candidate at all", v4(SYN), [Given::Is(A, UNUSED), Given::Is(B, DEAD)], Out::Drop, [C::DropNoBackend], None),
        row("this box is the candidate", v4(SYN), [Given::Candidates(LOCAL, LOCAL)], Out::Local(LOCAL), [], half(LOCAL)),
        row("a backend on another interface", v4(SYN), [Given::Candidates(FAR, FAR)], Out::Far(FAR), [], half(FAR)),
        row("a backend on no known interface", v4(SYN), [Given::Candidates(LOST, LOST)], Out::Drop, [C::DropNoDevice], half(LOST)),
        row("a flood: the first candidate, and no flow", v4(SYN), [flood, Given::Load(A, 9)], Out::To(A), [C::StatelessFlood], None),
        row("both buckets full of open sessions: the ring alone", v4(SYN), [Given::FullOf(ESTABLISHED), Given::Load(A, 99)], Out::To(A), [C::FlowNoRoom], None),
        row("both buckets full of half-open flows: one gives way", v4(SYN), [Given::FullOf(HALF_OPEN)], Out::To(B), [C::FlowDisplaced], half(B)),
        row("both buckets full of ended sessions: one gives way", v6(SYN), [Given::FullOf(CLOSING)], Out::To(B), [C::FlowDisplaced], half(B)),
        row("a sender of the cluster: steered already", v4(SYN).from_mac(NODE_MAC), [Given::Backup], Out::Pass, [C::PassFromNode], None),
        row("a sender of the cluster, IPv6", v6(SYN).from_mac(NODE_MAC), [Given::Backup], Out::Pass, [C::PassFromNode], None),
        row("a backup takes no new session", v4(SYN), [Given::Backup], Out::Drop, [C::DropNotMaster], None),
        row("nor does a master without its lease", v6(SYN), [Given::LeaseOver], Out::Drop, [C::DropNotMaster], None),
    ];
    check(&mut world, rows);
}

#[test]
fn a_queue_weighs_as_open_sessions_do() {
    let Some(mut world) = World::load("a_queue_weighs_as_open_sessions_do") else {
        return;
    };
    #[rustfmt::skip]
    let rows = [
        row("the second has no queue", v4(SYN), [Given::Queued(A, 1)], Out::To(B), [], half(B)),
        row("the same, IPv6", v6(SYN), [Given::Queued(A, 1)], Out::To(B), [], half(B)),
        row("a queue outweighs sessions", v4(SYN), [Given::Queued(A, 3), Given::Load(B, 2)], Out::To(B), [], half(B)),
        row("more sessions outweigh a queue", v4(SYN), [Given::Queued(A, 3), Given::Load(B, 4)], Out::To(A), [], half(A)),
        row("both are summed", v4(SYN), [Given::Queued(A, 3), Given::Load(A, 2), Given::Load(B, 4)], Out::To(B), [], half(B)),
        row("and divided by the weight", v4(SYN), [Given::Queued(A, 6), Given::Weight(A, 2000), Given::Queued(B, 3)], Out::To(A), [], half(A)),
        row("a load that went below 0 leaves the queue", v4(SYN), [Given::Load(A, u64::MAX), Given::Queued(A, 1)], Out::To(B), [], half(B)),
        row("the longest queue there can be", v4(SYN), [Given::Queued(A, u32::MAX), Given::Queued(B, u32::MAX)], Out::To(A), [], half(A)),
        row("an open session stays where it is", v4(ACK), [Given::Flow(open(A)), Given::Queued(A, 999)], Out::To(A), [], open(A)),
    ];
    check(&mut world, rows);
}

#[test]
fn a_backend_at_its_limit_takes_no_new_session() {
    let Some(mut world) = World::load("a_backend_at_its_limit_takes_no_new_session") else {
        return;
    };
    let flood = Given::Do(|world| world.flood(|_| ()));
    let suspect = Given::Do(|world| world.sign(B, None, sign::flag::SUSPECT));
    let twice = Given::Do(|world| world.one_candidate_twice(A, B));
    #[rustfmt::skip]
    let rows = [
        row("the last session that it takes", v4(SYN), [Given::Load(A, 9), Given::Limit(A, 10), Given::Load(B, 99)], Out::To(A), [], half(A)),
        row("and none after it", v4(SYN), [Given::Load(A, 10), Given::Limit(A, 10), Given::Load(B, 99)], Out::To(B), [], half(B)),
        row("the same, IPv6", v6(SYN), [Given::Load(A, 10), Given::Limit(A, 10), Given::Load(B, 99)], Out::To(B), [], half(B)),
        row("both hashes meet it: the next one on the ring", v4(SYN), [twice, Given::Load(A, 10), Given::Limit(A, 10), Given::Load(B, 99)], Out::To(B), [], half(B)),
        row("a suspect takes it where the other is full", v4(SYN), [suspect, Given::Load(A, 10), Given::Limit(A, 10)], Out::To(B), [], half(B)),
        row("a load that went below 0 is below any limit", v4(SYN), [Given::Load(A, u64::MAX), Given::Limit(A, 1)], Out::To(A), [], half(A)),
        row("all are full: a RST, and the sender tries its next MX", v4(SYN), [Given::Load(A, 10), Given::Limit(A, 10), Given::Load(B, 7), Given::Limit(B, 7)], Out::Reset, [C::ResetFull], None),
        row("the same, IPv6", v6(SYN), [Given::Load(A, 10), Given::Limit(A, 10), Given::Load(B, 7), Given::Limit(B, 7)], Out::Reset, [C::ResetFull], None),
        row("full, and the other's MAC is not known", v4(SYN), [Given::Load(A, 10), Given::Limit(A, 10), Given::Is(B, UNRESOLVED)], Out::Reset, [C::ResetFull], None),
        row("above a limit that was lowered", v4(SYN), [Given::Load(A, 50), Given::Limit(A, 10), Given::Load(B, 99)], Out::To(B), [], half(B)),
        row("in a flood nothing is counted, so that a choice repeats", v4(SYN), [flood, Given::Load(A, 10), Given::Limit(A, 10)], Out::To(A), [C::StatelessFlood], None),
        row("an open session goes on", v4(ACK), [Given::Flow(open(A)), Given::Load(A, 10), Given::Limit(A, 10)], Out::To(A), [], open(A)),
        row("a SYN that comes again takes no second place", v4(SYN), [Given::Flow(half(A)), Given::Load(A, 10), Given::Limit(A, 10)], Out::To(A), [], half(A)),
        row("without room in the table nothing stays counted", v4(SYN), [Given::FullOf(ESTABLISHED), Given::Load(A, 99), Given::Limit(B, 1)], Out::To(A), [C::FlowNoRoom], None),
    ];
    check(&mut world, rows);
    assert_eq!(
        world.load_of(B).unwrap(),
        0,
        "what found no place is not counted"
    );
}

#[test]
fn a_known_session_keeps_its_backend() {
    let Some(mut world) = World::load("a_known_session_keeps_its_backend") else {
        return;
    };
    let no_weights = Given::Director(|director| director.total_weight_permille = 0);
    let on = |flow: Flow| Given::Flow(flow);
    #[rustfmt::skip]
    let rows = [
        row("an ACK of an open session", v4(ACK), [on(open(B))], Out::To(B), [], open(B)),
        row("an ACK of an open session, IPv6", v6(ACK), [on(open(B))], Out::To(B), [], open(B)),
        row("data", v4(ACK | PSH).payload(500), [on(open(B))], Out::To(B), [], open(B)),
        row("data, IPv6 behind two tags", v6(ACK | PSH).tagged(&[7, 8]).payload(500), [on(open(B))], Out::To(B), [], open(B)),
        row("the client's first ACK is a claim", v4(ACK), [on(half(B))], Out::To(B), [C::FlowOpened], unproven(B)),
        row("the client's first ACK is a claim, IPv6", v6(ACK), [on(half(B))], Out::To(B), [C::FlowOpened], unproven(B)),
        row("a SYN again, before the ACK", v4(SYN), [on(half(B))], Out::To(B), [], half(B)),
        row("a SYN on an open session", v4(SYN), [on(open(B))], Out::To(B), [], open(B)),
        row("FIN marks", v4(FIN | ACK), [on(open(B))], Out::To(B), [C::FlowClosed], closing(B)),
        row("RST marks", v4(RST), [on(open(B))], Out::To(B), [C::FlowClosed], closing(B)),
        row("RST marks, IPv6", v6(RST | ACK), [on(open(B))], Out::To(B), [C::FlowClosed], closing(B)),
        row("RST before the first ACK", v4(RST), [on(half(B))], Out::To(B), [], hung_up(uncounted(half(B)))),
        row("frames after the FIN still follow", v4(ACK), [on(closing(B))], Out::To(B), [], closing(B)),
        row("a second FIN is not counted", v4(FIN | ACK), [on(closing(B))], Out::To(B), [], closing(B)),
        row("data takes the mark away", v4(ACK | PSH).payload(9), [on(closing(B))], Out::To(B), [], open(B)),
        row("a SYN after the end selects anew", v4(SYN), [on(ended(B))], Out::To(A), [], half(A)),
        row("frames after the end still follow", v4(FIN | ACK), [on(ended(B))], Out::To(B), [], ended(B)),
        row("a weight of 0 moves no session", v4(ACK), [on(open(B)), Given::Weight(B, 0)], Out::To(B), [], open(B)),
        row("all weights 0 move no session", v4(ACK), [on(open(B)), no_weights], Out::To(B), [], open(B)),
        row("another ring moves no session", v4(ACK), [on(open(B)), Given::Candidates(A, A)], Out::To(B), [], open(B)),
        row("a backup steers it", v4(ACK), [on(open(B)), Given::Backup], Out::To(B), [], open(B)),
        row("without a lease too", v6(ACK), [on(open(B)), Given::LeaseOver], Out::To(B), [], open(B)),
        row("a node's frame is not steered by the flow", v4(ACK).from_mac(NODE_MAC), [on(open(B)), Given::Backup], Out::Pass, [C::PassFromNode], open(B)),
        row("a session of this box", v4(ACK), [on(open(LOCAL))], Out::Local(LOCAL), [], open(LOCAL)),
        row("a session on another interface", v4(ACK), [on(open(FAR))], Out::Far(FAR), [], open(FAR)),
        row("its backend has no MAC any more: dropped, TCP sends it again", v4(ACK), [on(open(B)), Given::Is(B, UNRESOLVED)], Out::Drop, [C::DropUnresolved], open(B)),
        row("its backend died: a RST", v4(ACK), [on(open(B)), Given::Is(B, DEAD)], Out::Reset, [C::ResetDead], None),
        row("its backend died, IPv6, with data", v6(ACK | PSH).payload(70), [on(open(B)), Given::Is(B, DEAD)], Out::Reset, [C::ResetDead], None),
        row("its backend died, the client resets: silence", v4(RST), [on(open(B)), Given::Is(B, DEAD)], Out::Drop, [C::DropNoResetForReset], None),
        row("its backend died, a SYN selects anew", v4(SYN), [on(open(B)), Given::Is(B, DEAD)], Out::To(A), [], half(A)),
        row("a condemned session: a RST", v4(ACK), [on(doomed(B))], Out::Reset, [C::ResetDoomed], doomed(B)),
        row("a condemned session, IPv6, FIN without ACK", v6(FIN), [on(doomed(B))], Out::Reset, [C::ResetDoomed], doomed(B)),
        row("a SYN after the condemned session selects anew", v4(SYN), [on(doomed(B))], Out::To(A), [], half(A)),
        row("no flow: the ring's first candidate", v4(ACK), [], Out::To(A), [C::StatelessMidFlow], None),
        row("no flow, also with weight 0", v6(ACK), [Given::Weight(A, 0)], Out::To(A), [C::StatelessMidFlow], None),
        row("no flow, and the first candidate died", v4(ACK), [Given::Is(A, DEAD)], Out::To(B), [C::StatelessMidFlow], None),
        row("no flow, and no MAC yet", v4(ACK), [Given::Is(A, UNRESOLVED)], Out::Drop, [C::DropUnresolved], None),
        row("no flow and no backend", v4(ACK), [Given::Is(A, DEAD), Given::Is(B, UNUSED)], Out::Drop, [C::DropNoBackend], None),
        row("no flow on a backup: never passed up, where it would be reset", v4(ACK), [Given::Backup], Out::Drop, [C::DropNotMaster], None),
        row("a flow of another client", v4(ACK), [Given::FullOf(ESTABLISHED)], Out::To(A), [C::StatelessMidFlow], None),
    ];
    check(&mut world, rows);
}

#[test]
fn only_the_leased_master_answers_for_the_vip() {
    let Some(mut world) = World::load("only_the_leased_master_answers_for_the_vip") else {
        return;
    };
    let other_host = Ipv4Addr::new(192, 0, 2, 1);
    #[rustfmt::skip]
    let rows = [
        row("who has the VIP?", arp(1, other_host, VIP4), [], Out::Pass, [C::PassNeighbour], None),
        row("who has the VIP? on a backup", arp(1, other_host, VIP4), [Given::Backup], Out::Drop, [C::DropNeighbour], None),
        row("who has the VIP? after the lease", arp(1, other_host, VIP4), [Given::LeaseOver], Out::Drop, [C::DropNeighbour], None),
        row("does any host have the VIP? (RFC 5227 probe)", arp(1, Ipv4Addr::UNSPECIFIED, VIP4), [Given::Backup], Out::Drop, [C::DropNeighbour], None),
        row("a rival announces the VIP: the daemon is to hear it", arp(1, VIP4, VIP4), [Given::Backup], Out::Pass, [], None),
        row("a rival answers for the VIP", arp(2, VIP4, other_host), [Given::Backup], Out::Pass, [], None),
        row("who has another address?", arp(1, other_host, OTHER4), [Given::Backup], Out::Pass, [], None),
        row("half an ARP message", arp(1, other_host, VIP4)[..30].to_vec(), [Given::Backup], Out::Pass, [], None),
        row("solicitation of the VIP", neighbour(135, VIP6), [], Out::Pass, [C::PassNeighbour], None),
        row("solicitation of the VIP on a backup", neighbour(135, VIP6), [Given::Backup], Out::Drop, [C::DropNeighbour], None),
        row("solicitation of the VIP after the lease", neighbour(135, VIP6), [Given::LeaseOver], Out::Drop, [C::DropNeighbour], None),
        row("a rival advertises the VIP", neighbour(136, VIP6), [Given::Backup], Out::Pass, [], None),
        row("solicitation of another address", neighbour(135, OTHER6), [Given::Backup], Out::Pass, [], None),
    ];
    check(&mut world, rows);
}

fn data(syn: &Segment) -> Vec<u8> {
    syn.clone().flags(ACK | PSH).payload(20).bytes()
}

#[test]
fn events_tell_of_sessions_once() {
    let Some(mut world) = World::load("events_tell_of_sessions_once") else {
        return;
    };
    for syn in [v4(SYN), v6(SYN)] {
        world.reset().unwrap();
        let ack = |flags| syn.clone().flags(flags).bytes();
        for (packet, events, load) in [
            (syn.bytes(), 1, 1),
            (syn.bytes(), 0, 1),
            (ack(ACK), 1, 1),
            (ack(ACK), 0, 1),
            (ack(ACK | PSH), 0, 1),
            (data(&syn), 0, 1),
            (data(&syn), 0, 1),
            (data(&syn), 1, 1),
            (data(&syn), 0, 1),
            (ack(FIN | ACK), 1, 0),
            (ack(FIN | ACK), 0, 0),
            (ack(RST), 0, 0),
        ] {
            world.run(&packet).unwrap();
            assert_eq!(world.events().unwrap().len(), events);
            assert_eq!(world.load_of(A).unwrap(), load);
        }
    }
}

const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xd2];
const VLAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xd3];
const BROADCAST: [u8; 6] = [0xff; 6];
const MULTICAST: [u8; 6] = [1, 0, 0x5e, 0, 0, 18];

/// A question for the VIP's MAC that is addressed to one box.
fn to_one(mut question: Vec<u8>, mac: [u8; 6]) -> Vec<u8> {
    question[..6].copy_from_slice(&mac);
    question
}

#[test]
fn what_is_addressed_to_another_mac_leaves_as_it_came() {
    let Some(mut world) = World::load("what_is_addressed_to_another_mac_leaves_as_it_came") else {
        return;
    };
    let other_host = Ipv4Addr::new(192, 0, 2, 1);
    let other = [C::PassOtherMac];
    let vlan = Given::Do(|world| world.own_macs(&[(INGRESS, OUR_MAC), (INGRESS, VLAN_MAC)]));
    let elsewhere = Given::Do(|world| world.own_macs(&[(INGRESS + 1, OUR_MAC)]));
    let crowded = Given::Do(|world| {
        world.own_macs(&[
            (INGRESS + 64, OTHER_MAC),
            (INGRESS, OUR_MAC),
            (INGRESS + 1, OTHER_MAC),
        ])
    });
    #[rustfmt::skip]
    let rows = [
        row("a SYN", v4(SYN).to_mac(OTHER_MAC), [], Out::Pass, other, None),
        row("a SYN, IPv6", v6(SYN).to_mac(OTHER_MAC), [], Out::Pass, other, None),
        row("a SYN, tagged", v4(SYN).tagged(&[7]).to_mac(OTHER_MAC), [], Out::Pass, other, None),
        row("of an open session", v4(ACK).to_mac(OTHER_MAC), [Given::Flow(open(A))], Out::Pass, other, open(A)),
        row("of an open session, IPv6", v6(ACK).to_mac(OTHER_MAC), [Given::Flow(open(A))], Out::Pass, other, open(A)),
        row("of a session that ends", v4(FIN | ACK).to_mac(OTHER_MAC), [Given::Flow(open(A))], Out::Pass, other, open(A)),
        row("from a box of the cluster", v4(ACK).from_mac(NODE_MAC).to_mac(OTHER_MAC), [Given::Flow(open(A))], Out::Pass, other, open(A)),
        row("malformed", v4(SYN).to_mac(OTHER_MAC).edit(14, &[0x44]), [], Out::Pass, other, None),
        row("a question for the VIP's MAC, to another box", to_one(arp(1, other_host, VIP4), OTHER_MAC), [Given::Backup], Out::Pass, other, None),
        row("a question for the VIP's MAC, to this box", to_one(arp(1, other_host, VIP4), OUR_MAC), [Given::Backup], Out::Drop, [C::DropNeighbour], None),
        row("a solicitation of the VIP, to another box", to_one(neighbour(135, VIP6), OTHER_MAC), [Given::Backup], Out::Pass, other, None),
        row("a solicitation of the VIP, to this box", to_one(neighbour(135, VIP6), OUR_MAC), [Given::Backup], Out::Drop, [C::DropNeighbour], None),
        row("TCP to everybody", v4(SYN).to_mac(BROADCAST), [], Out::Pass, [], None),
        row("TCP to everybody, IPv6", v6(SYN).to_mac(BROADCAST), [], Out::Pass, [], None),
        row("of an open session, to everybody", v4(ACK).to_mac(BROADCAST), [Given::Flow(open(A))], Out::Pass, [], open(A)),
        row("of an open session, to a group", v6(ACK).to_mac(MULTICAST), [Given::Flow(open(A))], Out::Pass, [], open(A)),
        row("to a VLAN's MAC", v4(SYN).to_mac(VLAN_MAC), [vlan], Out::To(A), [], half(A)),
        row("to a VLAN's MAC, of an open session", v6(ACK).to_mac(VLAN_MAC), [vlan, Given::Flow(open(A))], Out::To(A), [], open(A)),
        row("to the interface's own next to it", v4(ACK).tagged(&[7]), [vlan, Given::Flow(open(A))], Out::To(A), [], open(A)),
        row("to neither", v4(SYN).to_mac(OTHER_MAC), [vlan], Out::Pass, other, None),
        row("an interface that has no MAC takes all", v4(SYN).to_mac(OTHER_MAC), [elsewhere], Out::To(A), [], half(A)),
        row("another interface has the slot", v4(ACK), [crowded, Given::Flow(open(A))], Out::To(A), [], open(A)),
        row("another interface's MAC", v4(ACK).to_mac(OTHER_MAC), [crowded, Given::Flow(open(A))], Out::Pass, other, open(A)),
    ];
    check(&mut world, rows);
}
