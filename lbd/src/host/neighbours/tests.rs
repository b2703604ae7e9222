use super::*;
use crate::host::links::Link;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 2]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 3]);
const ETH0: u32 = 2;
const TUNNEL: u32 = 3;

fn links() -> Links {
    let link = |ifindex, mac| Link {
        ifindex,
        mac,
        mtu: 1500,
        ..Link::default()
    };
    Links::of([link(ETH0, Some(OURS)), link(TUNNEL, None)])
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn via(next_hop: &str, ifindex: u32) -> Route {
    Route::Via {
        next_hop: address(next_hop),
        ifindex,
        source: Some(address("192.0.2.11")),
        mtu: None,
    }
}

fn resolved(mac: Mac, is_confirmed: bool) -> Reach {
    Reach::Resolved(Hop {
        ifindex: ETH0,
        mac,
        source_mac: OURS,
        next_hop: address("192.0.2.12"),
        source: Some(address("192.0.2.11")),
        mtu: 1500,
        is_confirmed,
    })
}

/// Follows one address over one hop and gives what is told after each entry that is heard.
fn reaches(entries: &[Entry]) -> Vec<Vec<Reach>> {
    let hop = address("192.0.2.12");
    let mut neighbours = Neighbours::default();
    neighbours.follow(&[hop]);
    neighbours.set_route(hop, via("192.0.2.12", ETH0));
    neighbours.news(&links());
    let mut told = Vec::new();
    for entry in entries {
        neighbours.hear(ETH0, hop, *entry);
        told.push(neighbours.news(&links()).iter().map(|n| n.reach).collect());
    }
    told
}

#[test]
fn news_comes_once_for_each_difference() {
    assert_eq!(
        reaches(&[
            Entry::Asking,
            Entry::Valid(THEIRS),
            Entry::Stale(THEIRS),
            Entry::Valid(THEIRS),
            Entry::Valid(OTHER),
        ]),
        [
            vec![],
            vec![resolved(THEIRS, true)],
            vec![],
            vec![],
            vec![resolved(OTHER, true)],
        ]
    );
}

#[test]
fn a_mac_without_an_answer_stays_and_is_marked() {
    for gone in [Entry::Absent, Entry::Asking] {
        assert_eq!(
            reaches(&[Entry::Valid(THEIRS), gone, Entry::Valid(THEIRS)]),
            [
                vec![resolved(THEIRS, true)],
                vec![resolved(THEIRS, false)],
                vec![resolved(THEIRS, true)],
            ],
            "{gone:?}"
        );
    }
}

#[test]
fn the_kernel_is_asked_only_where_nothing_else_makes_it() {
    let hop = address("192.0.2.12");
    let mut neighbours = Neighbours::default();
    neighbours.follow(&[hop, address("192.0.2.11"), address("203.0.113.9")]);
    neighbours.set_route(hop, via("192.0.2.12", ETH0));
    neighbours.set_route(address("192.0.2.11"), Route::Local);
    assert_eq!(
        neighbours.hops_to_confirm(),
        [(ETH0, hop)],
        "never heard of"
    );
    for (entry, asks) in [
        (Entry::Asking, false),
        (Entry::Valid(THEIRS), false),
        (Entry::Stale(THEIRS), true),
        (Entry::Absent, true),
    ] {
        neighbours.hear(ETH0, hop, entry);
        assert_eq!(!neighbours.hops_to_confirm().is_empty(), asks, "{entry:?}");
    }
}

#[test]
fn addresses_behind_one_gateway_share_its_mac() {
    let far = [address("198.51.100.1"), address("198.51.100.2")];
    let mut neighbours = Neighbours::default();
    neighbours.follow(&far);
    for address in far {
        neighbours.set_route(address, via("192.0.2.1", ETH0));
    }
    neighbours.hear(ETH0, address("192.0.2.1"), Entry::Valid(THEIRS));
    let news = neighbours.news(&links());
    assert_eq!(
        news.iter().map(|n| n.address).collect::<Vec<_>>(),
        far.to_vec()
    );
    assert!(news.iter().all(|n| matches!(
        n.reach,
        Reach::Resolved(hop) if hop.mac == THEIRS && hop.next_hop == address("192.0.2.1")
    )));
}

#[test]
fn a_neighbour_of_the_same_address_on_another_interface_is_another() {
    let hop = address("192.0.2.12");
    let mut neighbours = Neighbours::default();
    neighbours.follow(&[hop]);
    neighbours.set_route(hop, via("192.0.2.12", ETH0));
    neighbours.hear(TUNNEL, hop, Entry::Valid(THEIRS));
    let news = neighbours.news(&links());
    assert_eq!(news[0].reach, Reach::Resolving { ifindex: ETH0 });
}

#[test]
fn what_has_no_mac_is_unreachable_and_what_is_ours_is_local() {
    for (route, reach) in [
        (Route::Unreachable, Reach::Unreachable),
        (via("192.0.2.12", TUNNEL), Reach::Unreachable),
        (via("192.0.2.12", 99), Reach::Unreachable),
        (Route::Local, Reach::Local),
    ] {
        let mut neighbours = Neighbours::default();
        neighbours.follow(&[address("192.0.2.12")]);
        neighbours.set_route(address("192.0.2.12"), route);
        assert_eq!(neighbours.news(&links())[0].reach, reach, "{route:?}");
    }
}

#[test]
fn a_fresh_reading_keeps_the_mac_it_does_not_mention() {
    let hop = address("192.0.2.12");
    let mut neighbours = Neighbours::default();
    neighbours.follow(&[hop]);
    neighbours.set_route(hop, via("192.0.2.12", ETH0));
    neighbours.hear(ETH0, hop, Entry::Valid(THEIRS));
    neighbours.news(&links());
    neighbours.begin_reading();
    let news = neighbours.news(&links());
    assert_eq!(news[0].reach, resolved(THEIRS, false));
}

#[test]
fn following_fewer_forgets_and_following_again_begins_anew() {
    let hop = address("192.0.2.12");
    let mut neighbours = Neighbours::default();
    neighbours.follow(&[hop]);
    neighbours.set_route(hop, via("192.0.2.12", ETH0));
    neighbours.hear(ETH0, hop, Entry::Valid(THEIRS));
    neighbours.follow(&[]);
    assert!(neighbours.news(&links()).is_empty());
    neighbours.follow(&[hop]);
    let reaches: Vec<_> = neighbours.news(&links()).iter().map(|n| n.reach).collect();
    assert_eq!(reaches, [Reach::Unreachable]);
}

#[test]
fn the_mtu_is_the_links_or_a_smaller_one_of_the_route() {
    let hop = address("192.0.2.12");
    let mut neighbours = Neighbours::default();
    neighbours.follow(&[hop]);
    let mut mtu = |route_mtu, link_mtu| {
        let links = Links::of([Link {
            ifindex: ETH0,
            mac: Some(OURS),
            mtu: link_mtu,
            ..Link::default()
        }]);
        neighbours.set_route(
            hop,
            Route::Via {
                next_hop: hop,
                ifindex: ETH0,
                source: None,
                mtu: route_mtu,
            },
        );
        neighbours.hear(ETH0, hop, Entry::Valid(THEIRS));
        let reaches: Vec<Reach> = neighbours.news(&links).iter().map(|n| n.reach).collect();
        match reaches[..] {
            [Reach::Resolved(hop)] => Some(hop.mtu),
            _ => None,
        }
    };
    assert_eq!(mtu(None, 1500), Some(1500));
    assert_eq!(mtu(None, 9000), Some(9000), "a link's change is news");
    assert_eq!(mtu(Some(1400), 9000), Some(1400));
    assert_eq!(mtu(Some(9000), 1500), Some(1500));
}

/// What is told after each entry, of a neighbour that has told by the signed channel that it is [`THEIRS`].
#[test]
fn an_entry_that_a_node_has_not_told_of_itself_is_refused_and_corrected() {
    let hop = address("192.0.2.12");
    let mut neighbours = Neighbours::default();
    neighbours.follow(&[hop]);
    neighbours.set_route(hop, via("192.0.2.12", ETH0));
    let second = Mac([2, 0, 0, 0, 0, 4]);
    let vouched = Vouched {
        home: THEIRS,
        macs: vec![THEIRS, second],
    };
    neighbours.vouch([(hop, vouched)].into());
    let right = (ETH0, hop, THEIRS);
    // The entry; the MAC that is used then; the one that is refused; and whether the kernel is corrected.
    let steps = [
        (Entry::Valid(THEIRS), THEIRS, None, false),
        (Entry::Stale(OTHER), THEIRS, Some(OTHER), true),
        (Entry::Valid(OTHER), THEIRS, Some(OTHER), true),
        // The kernel asks whoever claimed it, in vain: that is no sign against the node.
        (Entry::Absent, THEIRS, Some(OTHER), false),
        (Entry::Valid(second), second, None, false),
        // An operator's entry is the operator's word.
        (Entry::Fixed(OTHER), OTHER, None, false),
        (Entry::Valid(THEIRS), THEIRS, None, false),
    ];
    for (entry, mac, refused, is_corrected) in steps {
        neighbours.hear(ETH0, hop, entry);
        neighbours.news(&links());
        let told = neighbours.followed[&hop].told;
        assert_eq!(told, Some((resolved(mac, true), refused)), "{entry:?}");
        let expected: &[_] = if is_corrected { &[right] } else { &[] };
        assert_eq!(neighbours.corrections(), expected, "{entry:?}");
    }
}

#[test]
fn a_gateway_on_the_way_to_a_node_is_not_the_node() {
    let (node, gateway) = (address("198.51.100.12"), address("192.0.2.1"));
    let mut neighbours = Neighbours::default();
    neighbours.follow(&[node]);
    neighbours.set_route(node, via("192.0.2.1", ETH0));
    let vouched = Vouched {
        home: THEIRS,
        macs: vec![THEIRS],
    };
    neighbours.vouch([(node, vouched)].into());
    neighbours.hear(ETH0, gateway, Entry::Valid(OTHER));
    let news = neighbours.news(&links());
    assert!(matches!(news[0].reach, Reach::Resolved(hop) if hop.mac == OTHER));
    assert_eq!(
        (news[0].refused, neighbours.corrections()),
        (None, Vec::new())
    );
}
