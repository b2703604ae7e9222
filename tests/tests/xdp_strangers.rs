//! What a stranger's frames can do to sessions that are not his, packet by packet: nothing that counts.
use std::time::Duration;

use anyhow::Result;
use lbd_common::{
    counters::Reason as C,
    flow::state::{CLOSING, ENDED, ESTABLISHED, HALF_OPEN, UNPROVEN},
    sign::flag::{REFUSES, SPEAKS, SUSPECT},
};
use lbd_tests::xdp::{
    packet::{ACK, FIN, PSH, RST, SYN, Segment, v4, v6},
    row::{
        Flow, Given, Out, check, closing, ended, going_on, half, hung_up, open, row, uncounted,
        unproven,
    },
    world::{A, B, LOCAL, VIP_IDS, World, verdict},
};

fn on(flow: Flow) -> Given {
    Given::Flow(flow)
}

/// B's box tells of its sessions.
fn speaks(world: &mut World) -> Result<()> {
    world.sign(B, Some(Duration::ZERO), SPEAKS)
}

fn data4() -> Segment {
    v4(ACK | PSH).payload(30)
}

fn data6() -> Segment {
    v6(ACK | PSH).payload(30)
}

#[test]
fn the_client_ends_nothing_where_the_box_tells_of_its_sessions() {
    let name = "the_client_ends_nothing_where_the_box_tells_of_its_sessions";
    let Some(mut world) = World::load(name) else {
        return;
    };
    let told = Given::Do(speaks);
    let seen = hung_up(open(B));
    let (just_now, none) = (Given::Do(hung_up_since::<0>), Given::Weight(B, 0));
    let before = Given::Do(hung_up_since::<9>);
    #[rustfmt::skip]
    let rows = [
        row("a RST", v4(RST), [told, on(open(B))], Out::To(B), [C::FlowClosed], seen),
        row("a RST, IPv6", v6(RST | ACK), [told, on(open(B))], Out::To(B), [C::FlowClosed], seen),
        row("a FIN", v4(FIN | ACK), [told, on(open(B))], Out::To(B), [C::FlowClosed], seen),
        row("the second is not counted", v4(RST), [told, on(seen)], Out::To(B), [], seen),
        row("a SYN", v4(SYN), [told, on(open(B))], Out::To(B), [], open(B)),
        row("a SYN after a RST", v6(SYN), [told, on(seen)], Out::To(B), [], seen),
        row("a SYN, and the box takes none: it has the session", v4(SYN), [told, on(open(B)), Given::Weight(B, 0)], Out::To(B), [], open(B)),
        row("a SYN just after a RST", v4(SYN), [told, just_now], Out::To(B), [], seen),
        row("likewise, and the box takes none: its word on the end comes first", v4(SYN), [told, just_now, none], Out::Drop, [C::DropSynEarly], seen),
        row("likewise, IPv6", v6(SYN), [told, just_now, none], Out::Drop, [C::DropSynEarly], seen),
        row("the word has not come for seconds: it has the session", v4(SYN), [told, before, none], Out::To(B), [], seen),
        row("data goes on meanwhile", data4(), [told, just_now, none], Out::To(B), [], seen),
        row("a RST on an unproven session", v4(RST), [told, on(unproven(B))], Out::To(B), [C::FlowClosed], hung_up(unproven(B))),
        row("nor does he prove a session", data4(), [told, on(unproven(B))], Out::To(B), [], unproven(B)),
    ];
    check(&mut world, rows);
}

/// B's session was marked so long ago, in units of the flow's clock.
fn hung_up_since<const UNITS: u16>(world: &mut World) -> Result<()> {
    world.set_load(B, 1)?;
    let Flow { state, flags, .. } = hung_up(open(B));
    world.flow_heard(B, state, flags, UNITS)
}

#[test]
fn the_last_reset_says_when_a_session_may_have_ended() {
    let Some(mut world) = World::load("the_last_reset_says_when_a_session_may_have_ended") else {
        return;
    };
    world.reset().unwrap();
    speaks(&mut world).unwrap();
    hung_up_since::<9>(&mut world).unwrap();
    world.weight(B, 0).unwrap();
    for (segment, expected) in [
        (v4(SYN), verdict::TX),
        (v4(RST), verdict::TX),
        (v4(SYN), verdict::DROP),
        (data4(), verdict::TX),
    ] {
        let (action, _) = world.run(&segment.bytes()).unwrap();
        assert_eq!(action, expected, "{segment:?}");
    }
}

/// B's box has no listener for the IPv4 service.
fn lacks(world: &mut World) -> Result<()> {
    world.no_listener(B, SPEAKS, &VIP_IDS[..1])
}

fn refuses(world: &mut World) -> Result<()> {
    world.no_listener(B, SPEAKS | REFUSES, &VIP_IDS[..1])
}

#[test]
fn a_box_without_a_listener_neither_speaks_for_a_service_nor_gets_its_sessions() {
    let name = "a_box_without_a_listener_neither_speaks_for_a_service_nor_gets_its_sessions";
    let Some(mut world) = World::load(name) else {
        return;
    };
    let (lacks, refuses) = (Given::Do(lacks), Given::Do(refuses));
    let (lighter, alone) = (Given::Load(A, 9), Given::Weight(A, 0));
    #[rustfmt::skip]
    let rows = [
        row("nothing speaks against it", v4(SYN), [Given::Do(speaks), lighter], Out::To(B), [], half(B)),
        row("it refuses these", v4(SYN), [refuses, lighter], Out::To(A), [], half(A)),
        row("the other service is none of these", v6(SYN), [refuses, lighter], Out::To(B), [], half(B)),
        row("no other backend takes it: the sender is refused at once", v4(SYN), [refuses, alone], Out::To(B), [], half(B)),
        row("a container may take it", v4(SYN), [lacks, lighter], Out::To(B), [], half(B)),
        row("what goes on there is a session", data4(), [lacks, on(going_on(B, 2))], Out::To(B), [], open(B)),
        row("of the other service its box tells", data6(), [lacks, on(going_on(B, 2))], Out::To(B), [], going_on(B, 2)),
        row("a RST marks, since no box tells of the end", v4(RST), [lacks, on(open(B))], Out::To(B), [C::FlowClosed], closing(B)),
        row("its open session goes on", data4(), [refuses, on(open(B))], Out::To(B), [], open(B)),
        row("a SYN on what it never had begins anew", v4(SYN), [refuses, lighter, on(unproven(B))], Out::To(A), [], half(A)),
    ];
    check(&mut world, rows);
}

#[test]
fn a_backend_that_tells_nothing_is_believed_to_have_what_goes_on() {
    let name = "a_backend_that_tells_nothing_is_believed_to_have_what_goes_on";
    let Some(mut world) = World::load(name) else {
        return;
    };
    let two = Given::Weight(B, 0);
    #[rustfmt::skip]
    let rows = [
        row("a SYN and an ACK are a claim", v4(ACK), [on(half(B))], Out::To(B), [C::FlowOpened], unproven(B)),
        row("a bare ACK adds nothing", v4(ACK), [on(unproven(B))], Out::To(B), [], unproven(B)),
        row("payload does", data4(), [on(unproven(B))], Out::To(B), [], going_on(B, 1)),
        row("more payload", data6(), [on(going_on(B, 1))], Out::To(B), [], going_on(B, 2)),
        row("three frames are the session", data4(), [on(going_on(B, 2))], Out::To(B), [], open(B)),
        row("what counts no longer counts again when it is proven", data4(), [on(uncounted(unproven(B)))], Out::To(B), [], uncounted(going_on(B, 1))),
        row("also when it counted no longer", data6(), [on(uncounted(going_on(B, 2)))], Out::To(B), [], open(B)),
        row("a RST only marks", v4(RST), [on(open(B))], Out::To(B), [C::FlowClosed], closing(B)),
        row("an ACK behind the FIN leaves the mark", v4(ACK), [on(closing(B))], Out::To(B), [], closing(B)),
        row("data takes it away", data4(), [on(closing(B))], Out::To(B), [], open(B)),
        row("data takes it away, IPv6", data6(), [on(closing(B))], Out::To(B), [], open(B)),
        row("a SYN behind the RST stays with the box", v4(SYN), [on(closing(B))], Out::To(B), [], closing(B)),
        row("a SYN on an open session stays with the box", v4(SYN), [on(open(B))], Out::To(B), [], open(B)),
        row("a SYN on one of a drained box begins anew", v4(SYN), [on(open(B)), two], Out::To(A), [], half(A)),
        row("likewise, IPv6, after a FIN", v6(SYN), [on(closing(B)), two], Out::To(A), [], half(A)),
        row("where it cannot begin, it is left with the box", v4(SYN), [on(open(B)), two, Given::Backup], Out::To(B), [], open(B)),
        row("a SYN after the box's end begins anew", v6(SYN), [on(ended(B))], Out::To(A), [], half(A)),
    ];
    check(&mut world, rows);
}

#[test]
fn claims_yield_to_new_sessions_and_confirmed_ones_do_not() {
    let name = "claims_yield_to_new_sessions_and_confirmed_ones_do_not";
    let Some(mut world) = World::load(name) else {
        return;
    };
    #[rustfmt::skip]
    let rows = [
        row("unproven ones yield", v4(SYN), [Given::FullOf(UNPROVEN)], Out::To(B), [C::FlowDisplaced], half(B)),
        row("unproven ones yield, IPv6", v6(SYN), [Given::FullOf(UNPROVEN)], Out::To(B), [C::FlowDisplaced], half(B)),
        row("half-open ones", v4(SYN), [Given::FullOf(HALF_OPEN)], Out::To(B), [C::FlowDisplaced], half(B)),
        row("ended ones", v6(SYN), [Given::FullOf(ENDED)], Out::To(B), [C::FlowDisplaced], half(B)),
        row("marked ones, at last", v4(SYN), [Given::FullOf(CLOSING)], Out::To(B), [C::FlowDisplaced], half(B)),
        row("confirmed ones never", v4(SYN), [Given::FullOf(ESTABLISHED), Given::Load(A, 99)], Out::To(A), [C::FlowNoRoom], None),
    ];
    check(&mut world, rows);
}

/// The table here has 256 places; a flood of claims comes ten times over, and the real client's flow,
/// the youngest, must be there all the time.
#[test]
fn a_flood_of_claims_takes_the_oldest_claim() {
    let Some(mut world) = World::load("a_flood_of_claims_takes_the_oldest_claim") else {
        return;
    };
    world.reset().unwrap();
    world.fill(A, UNPROVEN, 0, 0).unwrap();
    world.run(&v4(SYN).bytes()).unwrap();
    world.run(&v4(ACK).bytes()).unwrap();
    // Seven more real ones fit into the two buckets at most; all of them push out older claims first.
    let flows = world.client_flows(4).unwrap();
    assert_eq!(flows.len(), 1, "the client's own");
    assert_eq!(flows[0].state, UNPROVEN);
}

const SECOND: Duration = Duration::from_secs(1);

/// B's flow is half-open for so many milliseconds; its box gave a sign so many milliseconds ago.
fn waits<const AGE: u64, const SIGN: u64, const FLAGS: u32>(world: &mut World) -> Result<()> {
    world.half_open(B, Duration::from_millis(AGE))?;
    let sign = (SIGN != 0).then(|| Duration::from_millis(SIGN));
    world.sign(B, sign, FLAGS)
}

#[test]
fn a_syn_that_comes_again_leaves_a_box_that_gives_no_sign_of_life() {
    let name = "a_syn_that_comes_again_leaves_a_box_that_gives_no_sign_of_life";
    let Some(mut world) = World::load(name) else {
        return;
    };
    let moved = [C::SynUnanswered, C::SynMoved];
    let no_other = Given::Weight(A, 0);
    #[rustfmt::skip]
    let rows = [
        row("too early to be the client's timer", v4(SYN), [Given::Do(waits::<300, 0, SPEAKS>)], Out::To(B), [], half(B)),
        row("a second later, and not a word since", v4(SYN), [Given::Do(waits::<1020, 0, SPEAKS>)], Out::To(A), moved, half(A)),
        row("likewise, IPv6, its last word was before", v6(SYN), [Given::Do(waits::<1020, 1500, SPEAKS>)], Out::To(A), moved, half(A)),
        row("the box lives", v4(SYN), [Given::Do(waits::<1020, 500, SPEAKS>)], Out::To(B), [], half(B)),
        row("a box that is not heard each second has until the second timer", v4(SYN), [Given::Do(waits::<1020, 0, 0>)], Out::To(B), [], half(B)),
        row("which is now", v4(SYN), [Given::Do(waits::<3020, 0, 0>)], Out::To(A), moved, half(A)),
        row("a suspect one has until the first, no matter what it said before", v4(SYN), [Given::Do(waits::<1020, 500, SUSPECT>)], Out::To(A), moved, half(A)),
        row("no other backend takes it: it begins there again", v4(SYN), [Given::Do(waits::<1020, 0, SPEAKS>), no_other], Out::To(B), [C::SynUnanswered], half(B)),
        row("a node that is not the master moves nothing", v4(SYN), [Given::Do(waits::<1020, 0, SPEAKS>), Given::Backup], Out::To(B), [], half(B)),
        row("an ACK moves nothing", v4(ACK), [Given::Do(waits::<1020, 0, SPEAKS>)], Out::To(B), [C::FlowOpened], unproven(B)),
    ];
    check(&mut world, rows);
    assert_eq!(world.unanswered(B).unwrap(), 0, "the last row's");
    waits::<1020, 0, SPEAKS>(&mut world).unwrap();
    world.run(&v4(SYN).bytes()).unwrap();
    assert_eq!(world.unanswered(B).unwrap(), 1, "a sign against it");
    // This box itself lives.
    world.reset().unwrap();
    world.half_open(LOCAL, 9 * SECOND).unwrap();
    world.run(&v4(SYN).bytes()).unwrap();
    assert_eq!(world.client_flows(4).unwrap()[0].backend, LOCAL);
}

#[test]
fn a_suspect_backend_gets_no_new_session_while_another_can_take_it() {
    let name = "a_suspect_backend_gets_no_new_session_while_another_can_take_it";
    let Some(mut world) = World::load(name) else {
        return;
    };
    let a = Given::Do(|world| world.sign(A, None, SUSPECT));
    let b = Given::Do(|world| world.sign(B, None, SUSPECT));
    #[rustfmt::skip]
    let rows = [
        row("the first", v4(SYN), [a, Given::Load(B, 9)], Out::To(B), [], half(B)),
        row("the first, IPv6", v6(SYN), [a, Given::Load(B, 9)], Out::To(B), [], half(B)),
        row("the second", v4(SYN), [b, Given::Load(A, 9)], Out::To(A), [], half(A)),
        row("its open sessions stay", v4(ACK), [b, on(open(B))], Out::To(B), [], open(B)),
        row("all of them: this box is cut off, or the check is wrong", v4(SYN), [a, b], Out::To(A), [], half(A)),
    ];
    check(&mut world, rows);
}
