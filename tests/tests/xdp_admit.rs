//! Who may begin a session, how fast, and what becomes of sessions without a flow.
use lbd_common::{
    counters::Reason as C,
    director::flag::{AFFINITY, LISTS, RESET_DENIED},
    event::kind,
    flow::{flag::ADOPTED, state::ESTABLISHED},
};
use lbd_tests::xdp::{
    packet::{ACK, CLIENT4, CLIENT6, FIN, PSH, RST, SYN, VIP4, VIP6, v4, v6},
    row::{Flow, Given, Out, check, half, open, row, unproven},
    world::{A, B, List, World},
};

const LISTED: Given = Given::Director(|director| director.flags = LISTS);
const DENY: Given = Given::Do(|world| {
    world.list(List::Deny, CLIENT4.into(), 24)?;
    world.list(List::Deny, CLIENT6.into(), 48)
});
const ALLOW: Given = Given::Do(|world| {
    world.list(List::Allow, CLIENT4.into(), 32)?;
    world.list(List::Allow, CLIENT6.into(), 128)
});

#[test]
fn lists_are_for_frames_without_a_flow() {
    let Some(mut world) = World::load("lists_are_for_frames_without_a_flow") else {
        return;
    };
    let reset = Given::Director(|director| director.flags = LISTS | RESET_DENIED);
    let known = Given::Flow(open(B));
    #[rustfmt::skip]
    let rows = [
        row("a denied source", v4(SYN), [LISTED, DENY], Out::Drop, [C::DropDenied], None),
        row("a denied source, IPv6", v6(SYN), [LISTED, DENY], Out::Drop, [C::DropDenied], None),
        row("a denied source in mid-session", v4(ACK), [LISTED, DENY], Out::Drop, [C::DropDenied], None),
        row("allowed within what is denied", v4(SYN), [LISTED, DENY, ALLOW], Out::To(A), [], half(A)),
        row("allowed within what is denied, IPv6", v6(SYN), [LISTED, DENY, ALLOW], Out::To(A), [], half(A)),
        row("on_deny: reset", v4(SYN), [reset, DENY], Out::Reset, [C::ResetDenied], None),
        row("on_deny: reset, IPv6", v6(SYN), [reset, DENY], Out::Reset, [C::ResetDenied], None),
        row("not listed", v4(SYN), [LISTED], Out::To(A), [], half(A)),
        row("lists that the director says are empty are not looked at", v4(SYN), [DENY], Out::To(A), [], half(A)),
        row("an open session is not looked up", v4(ACK), [LISTED, DENY, known], Out::To(B), [], open(B)),
        row("an open session is not looked up, IPv6", v6(ACK), [LISTED, DENY, known], Out::To(B), [], open(B)),
    ];
    check(&mut world, rows);
}

#[test]
fn who_is_denied_is_told_and_a_flood_of_them_is_not_one_of_events() {
    let Some(mut world) =
        World::load("who_is_denied_is_told_and_a_flood_of_them_is_not_one_of_events")
    else {
        return;
    };
    let Given::Do(deny) = DENY else {
        panic!("a deed")
    };
    for (segment, family) in [(v4(SYN), 4), (v6(SYN), 6)] {
        world.reset().unwrap();
        world.director(|director| director.flags = LISTS).unwrap();
        deny(&mut world).unwrap();
        world.run(&segment.bytes()).unwrap();
        let events = world.events().unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].kind, events[0].family), (kind::DENIED, family));
        for _ in 0..5000 {
            world.run(&segment.bytes()).unwrap();
        }
        let events = world.events().unwrap();
        // 64 a second on a CPU, and 5,000 runs take some of them.
        assert!(events.len() < 1000, "{} events", events.len());
    }
}

#[test]
fn sessions_without_a_flow_are_adopted_within_a_rate() {
    let Some(mut world) = World::load("sessions_without_a_flow_are_adopted_within_a_rate") else {
        return;
    };
    let adopt = Given::Director(|director| director.adopt_per_second = 1);
    let adopted = Flow {
        flags: ADOPTED,
        ..unproven(A)
    };
    #[rustfmt::skip]
    let rows = [
        row("an ACK", v4(ACK), [adopt], Out::To(A), [C::FlowAdopted], adopted),
        row("data, IPv6", v6(ACK | PSH).payload(9), [adopt], Out::To(A), [C::FlowAdopted], adopted),
        row("a FIN is not worth a flow", v4(FIN | ACK), [adopt], Out::To(A), [C::StatelessMidFlow], None),
        row("nor is a RST", v4(RST), [adopt], Out::To(A), [C::StatelessMidFlow], None),
        row("nor an answer to a SYN that was never sent", v4(SYN | ACK), [adopt], Out::To(A), [C::StatelessMidFlow], None),
        row("no room", v4(ACK), [adopt, Given::FullOf(ESTABLISHED)], Out::To(A), [C::StatelessMidFlow], None),
    ];
    check(&mut world, rows);

    world.reset().unwrap();
    world.all_slots_alternate(A, B).unwrap();
    world
        .director(|director| director.adopt_per_second = 10)
        .unwrap();
    for port in 0..100 {
        world.run(&v4(ACK).from_port(1000 + port).bytes()).unwrap();
    }
    let adopted = world.counter(C::FlowAdopted).unwrap();
    // The hundred may fall into two seconds.
    assert!((10..=20).contains(&adopted), "{adopted}");
}

#[test]
fn affinity_keeps_a_source_together_within_the_skew() {
    let Some(mut world) = World::load("affinity_keeps_a_source_together_within_the_skew") else {
        return;
    };
    let one_of_two = |world: &mut World, skew: u32| {
        world.reset().unwrap();
        world.all_slots_alternate(A, B).unwrap();
        world
            .director(|director| {
                director.flags = AFFINITY;
                director.affinity_skew_permille = skew;
            })
            .unwrap();
        for port in 0..40 {
            world.run(&v4(SYN).from_port(1000 + port).bytes()).unwrap();
        }
        let (a, b) = (world.load_of(A).unwrap(), world.load_of(B).unwrap());
        (a.max(b), a.min(b))
    };
    let (most, least) = one_of_two(&mut world, 1000);
    assert_eq!(most + least, 40);
    // Both candidates may be one backend; otherwise the first may have twice the second's.
    assert!(least == 0 || most >= 2 * least - 2, "{most} and {least}");
    let (most, least) = one_of_two(&mut world, 0);
    assert!(least == 0 || most - least <= 1, "{most} and {least}");
}

#[test]
fn a_source_opens_so_many_sessions_a_second() {
    let Some(mut world) = World::load("a_source_opens_so_many_sessions_a_second") else {
        return;
    };
    for syn in [v4(SYN), v6(SYN)] {
        world.reset().unwrap();
        world
            .director(|director| {
                director.new_per_second = 5;
                director.flags = LISTS;
            })
            .unwrap();
        for port in 0..50 {
            world
                .run(&syn.clone().from_port(1000 + port).bytes())
                .unwrap();
        }
        let refused = world.counter(C::DropRateLimited).unwrap();
        // The fifty may fall into two seconds.
        assert!((40..=45).contains(&refused), "{refused}");
        let other = syn
            .clone()
            .from4([203, 0, 113, 1].into())
            .from6("2001:db8:2::1".parse().unwrap());
        world.run(&other.bytes()).unwrap();
        assert_eq!(world.counter(C::DropRateLimited).unwrap(), refused);
        world.list(List::Allow, CLIENT4.into(), 32).unwrap();
        world.list(List::Allow, CLIENT6.into(), 128).unwrap();
        world.run(&syn.bytes()).unwrap();
        assert_eq!(
            world.counter(C::DropRateLimited).unwrap(),
            refused,
            "an allowed source knows no rate"
        );
    }
}

#[test]
fn a_flood_leaves_no_flows() {
    let Some(mut world) = World::load("a_flood_leaves_no_flows") else {
        return;
    };
    world.all_slots_alternate(A, B).unwrap();
    world
        .director(|director| director.flood_per_second = 10)
        .unwrap();
    for port in 0..100 {
        let (verdict, _) = world.run(&v4(SYN).from_port(1000 + port).bytes()).unwrap();
        assert_eq!(verdict, lbd_tests::xdp::world::verdict::TX);
    }
    let stateless = world.counter(C::StatelessFlood).unwrap();
    assert!((80..=90).contains(&stateless), "{stateless}");

    // The same choice again and again, at any load.
    world.reset().unwrap();
    world.flood(|_| ()).unwrap();
    let mut in_flood = 0;
    for load in 0..10 {
        world.set_load(A, load * 200).unwrap();
        let of_a = world.stats(A).unwrap().packets;
        let stateless = world.counter(C::StatelessFlood).unwrap();
        world.run(&v4(SYN).bytes()).unwrap();
        // An emulated machine may stand still until the second is over, and the flood with it.
        if world.counter(C::StatelessFlood).unwrap() > stateless {
            in_flood += 1;
            assert_eq!(world.stats(A).unwrap().packets, of_a + 1, "{load}");
        }
    }
    assert!(in_flood > 0, "no frame met the flood");
}

#[test]
fn a_source_that_no_client_has_begins_nothing() {
    let Some(mut world) = World::load("a_source_that_no_client_has_begins_nothing") else {
        return;
    };
    let odd = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.9.9.9",
        "224.0.0.18",
        "239.1.2.3",
        "240.0.0.1",
        "255.255.255.255",
    ];
    let mut rows = Vec::new();
    for source in odd
        .map(|text| text.parse().unwrap())
        .into_iter()
        .chain([VIP4])
    {
        #[rustfmt::skip]
        rows.extend([
            row("an odd source", v4(SYN).from4(source), [], Out::Drop, [C::DropOddSource], None),
            row("an odd source in mid-session", v4(ACK).from4(source), [], Out::Drop, [C::DropOddSource], None),
            row("an odd source, tagged", v4(SYN).tagged(&[7]).from4(source), [], Out::Drop, [C::DropOddSource], None),
        ]);
    }
    let odd = [
        "::",
        "::1",
        "::192.0.2.1",
        "::ffff:198.51.100.7",
        "ff02::1",
        "ff0e::5",
    ];
    for source in odd
        .map(|text| text.parse().unwrap())
        .into_iter()
        .chain([VIP6])
    {
        #[rustfmt::skip]
        rows.extend([
            row("an odd source, IPv6", v6(SYN).from6(source), [], Out::Drop, [C::DropOddSource], None),
            row("an odd source in mid-session, IPv6", v6(ACK).from6(source), [], Out::Drop, [C::DropOddSource], None),
        ]);
    }
    let near = [
        "1.0.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "223.255.255.255",
        "10.0.0.1",
    ];
    for source in near.map(|text| text.parse().unwrap()) {
        rows.push(row(
            "an ordinary source",
            v4(RST).from4(source),
            [],
            Out::Drop,
            [C::DropNoBackend],
            None,
        ));
    }
    rows.push(row(
        "a backup denies no source",
        v4(SYN).from4(VIP4),
        [Given::Backup],
        Out::Drop,
        [C::DropNotMaster],
        None,
    ));
    check(&mut world, rows);
}
