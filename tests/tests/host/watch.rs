//! Interfaces and neighbours are followed as they change.
use std::collections::BTreeMap;
use std::net::IpAddr;

use lbd::host::links::{Link, LinkChange};
use lbd::host::neighbours::{Hop, Reach};
use lbd::host::{HostEvent, Watch};
use lbd::units::Mac;
use lbd_tests::lab::{Cut, Host, INTERFACE, Lab, Spec};
use tokio::time::timeout;

use super::support::{PATIENCE, hasten_resolution};

/// What the events so far amount to.
#[derive(Debug, Default)]
struct Seen {
    link: Option<Link>,
    gone: bool,
    reach: BTreeMap<IpAddr, Reach>,
}

impl Seen {
    /// Takes events in until `holds`, or fails with `what` never came.
    async fn until(&mut self, watch: &mut Watch, what: &str, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            let Ok(event) = timeout(PATIENCE, watch.next()).await else {
                panic!("never came: {what}; {self:?}");
            };
            match event.expect("the watch lives") {
                HostEvent::Link(LinkChange::Now(link)) => self.link = Some(link),
                HostEvent::Link(LinkChange::Gone { name, .. }) => self.gone = name == INTERFACE,
                HostEvent::Neighbour(news) => {
                    self.reach.insert(news.address, news.reach);
                }
            }
        }
    }

    fn hop(&self, address: IpAddr) -> Option<Hop> {
        match self.reach.get(&address) {
            Some(Reach::Resolved(hop)) => Some(*hop),
            _ => None,
        }
    }

    fn is_at(&self, address: IpAddr, mac: Mac, confirmed: bool) -> bool {
        self.hop(address)
            .is_some_and(|hop| hop.mac == mac && hop.is_confirmed == confirmed)
    }
}

/// Two nodes; what the first learns of its neighbours is good for a second or two only.
fn lab() -> Lab {
    let lab = Lab::new(&Spec {
        clients: 1,
        nodes: 2,
        sources: 1,
    })
    .unwrap();
    for node in &lab.nodes {
        hasten_resolution(node);
        for family in ["ipv4", "ipv6"] {
            let neigh = |key: &str| format!("net/{family}/neigh/{INTERFACE}/{key}");
            node.set_sysctls(&[
                (&neigh("base_reachable_time_ms"), "500"),
                (&neigh("delay_first_probe_time"), "1"),
            ])
            .unwrap();
        }
    }
    lab
}

fn watching<F>(node: &Host, work: impl FnOnce() -> F + Send + 'static)
where
    F: Future<Output = ()>,
{
    let thread = node.runtime(work).unwrap();
    if let Err(panic) = thread.join().map(Result::unwrap) {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn each_kind_of_way_is_found() {
    if !lbd_tests::root_or_skip("each_kind_of_way_is_found") {
        return;
    }
    let lab = lab();
    let (node, peer) = (lab.nodes[0].clone(), lab.nodes[1].clone());
    // A gateway of the other family as well: RFC 5549 routes are what some data centres have.
    node.ip_batch(&format!(
        "route add 198.51.100.0/24 via {}\n\
         route add 203.0.113.0/24 via inet6 {} dev {INTERFACE}\n\
         route add blackhole 192.0.2.0/24\n\
         route add 2001:db8::/64 via {}\n",
        peer.address4(),
        peer.address6(),
        peer.address6()
    ))
    .unwrap();
    let over_the_peer: Vec<IpAddr> = vec![
        peer.address4().into(),
        peer.address6().into(),
        "198.51.100.7".parse().unwrap(),
        "203.0.113.7".parse().unwrap(),
        "2001:db8::7".parse().unwrap(),
    ];
    let local: Vec<IpAddr> = vec![node.address4().into(), node.address6().into()];
    let nowhere: Vec<IpAddr> = vec![
        "192.0.2.7".parse().unwrap(),
        "2001:db8:1::7".parse().unwrap(),
    ];
    let silent: IpAddr = "10.77.99.99".parse().unwrap();
    let (own_mac, own4) = (node.mac, IpAddr::from(node.address4()));
    let (peer_mac, client) = (lab.nodes[1].mac, lab.client().clone());
    watching(&node, move || async move {
        let mut addresses = [over_the_peer.clone(), local.clone(), nowhere.clone()].concat();
        addresses.push(silent);
        let mut watch = Watch::start(vec![INTERFACE.into()], addresses).unwrap();
        let mut seen = Seen::default();
        let settled = |seen: &Seen| {
            over_the_peer.iter().all(|a| seen.is_at(*a, peer_mac, true))
                && local
                    .iter()
                    .all(|a| seen.reach.get(a) == Some(&Reach::Local))
                && nowhere
                    .iter()
                    .all(|a| seen.reach.get(a) == Some(&Reach::Unreachable))
                && matches!(seen.reach.get(&silent), Some(Reach::Resolving { .. }))
                && seen.link.as_ref().is_some_and(Link::is_usable)
        };
        seen.until(&mut watch, "every way", settled).await;
        let hop = seen.hop(over_the_peer[2]).unwrap();
        let link = seen.link.as_ref().unwrap();
        assert_eq!(hop.source_mac, own_mac);
        assert_eq!(hop.source, Some(own4));
        assert_eq!((hop.ifindex, link.mac), (link.ifindex, Some(own_mac)));
        // Others from now on: the new one is told, after anything that was told before.
        let new: IpAddr = client.address4().into();
        watch.follow(vec![INTERFACE.into()], vec![new]);
        let found = |seen: &Seen| seen.is_at(new, client.mac, true);
        seen.until(&mut watch, "the new address", found).await;
    });
}

#[test]
fn a_changed_mac_and_a_dead_neighbour_are_noticed_though_nothing_is_sent() {
    if !lbd_tests::root_or_skip(
        "a_changed_mac_and_a_dead_neighbour_are_noticed_though_nothing_is_sent",
    ) {
        return;
    }
    let lab = lab();
    let (node, peer) = (lab.nodes[0].clone(), lab.nodes[1].clone());
    let addresses: [IpAddr; 2] = [peer.address4().into(), peer.address6().into()];
    let (old, new) = (peer.mac, Mac([2, 0x4c, 0x42, 9, 9, 9]));
    let (switch_peer, lab) = (peer.clone(), lab);
    watching(&node, move || async move {
        let mut watch = Watch::start(vec![INTERFACE.into()], addresses.to_vec()).unwrap();
        let mut seen = Seen::default();
        let all = |mac, confirmed| {
            move |seen: &Seen| addresses.iter().all(|a| seen.is_at(*a, mac, confirmed))
        };
        seen.until(&mut watch, "both families", all(old, true))
            .await;
        peer.ip(&format!("link set {INTERFACE} address {new}"))
            .unwrap();
        seen.until(&mut watch, "the new MAC", all(new, true)).await;
        lab.cut(&switch_peer, Cut::Silent).unwrap();
        seen.until(&mut watch, "no host answers", all(new, false))
            .await;
        lab.restore(&switch_peer).unwrap();
        seen.until(&mut watch, "it answers again", all(new, true))
            .await;
    });
}

#[test]
fn what_happens_to_an_interface_is_told() {
    if !lbd_tests::root_or_skip("what_happens_to_an_interface_is_told") {
        return;
    }
    let lab = lab();
    let (node, peer) = (lab.nodes[0].clone(), lab.nodes[1].clone());
    let mac = Mac([2, 0x4c, 0x42, 9, 9, 8]);
    let address: IpAddr = "10.77.0.200".parse().unwrap();
    let way: IpAddr = peer.address4().into();
    watching(&node.clone(), move || async move {
        let mut watch = Watch::start(vec![INTERFACE.into()], vec![way]).unwrap();
        let mut seen = Seen::default();
        let link =
            |check: fn(&Link) -> bool| move |seen: &Seen| seen.link.as_ref().is_some_and(check);
        seen.until(&mut watch, "the interface", link(Link::is_usable))
            .await;
        lab.cut(&node, Cut::Carrier).unwrap();
        seen.until(&mut watch, "no carrier", link(|l| l.up && !l.carrier))
            .await;
        lab.restore(&node).unwrap();
        seen.until(&mut watch, "carrier again", link(Link::is_usable))
            .await;
        node.ip(&format!("addr add {address}/32 dev {INTERFACE}"))
            .unwrap();
        let there = |seen: &Seen| seen.link.as_ref().is_some_and(|l| l.has(address));
        seen.until(&mut watch, "the address", there).await;
        node.ip(&format!("addr del {address}/32 dev {INTERFACE}"))
            .unwrap();
        seen.until(&mut watch, "no address", |seen| !there(seen))
            .await;
        node.ip(&format!("link set {INTERFACE} address {mac}"))
            .unwrap();
        let ours = |seen: &Seen| seen.hop(way).is_some_and(|hop| hop.source_mac == mac);
        seen.until(&mut watch, "our new MAC as the source", ours)
            .await;
        node.ip(&format!("link set {INTERFACE} down")).unwrap();
        let cut_off = |seen: &Seen| {
            link(|l| !l.up)(seen) && seen.reach.get(&way) == Some(&Reach::Unreachable)
        };
        seen.until(&mut watch, "set down", cut_off).await;
        node.ip(&format!("link set {INTERFACE} up")).unwrap();
        seen.until(&mut watch, "up again", |seen| seen.hop(way).is_some())
            .await;
        node.ip(&format!("link del {INTERFACE}")).unwrap();
        seen.until(&mut watch, "gone", |seen| seen.gone).await;
    });
}
