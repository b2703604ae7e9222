//! The VIP on a real kernel: a lease that ends by itself, silent on a backend's loopback, and no
//! source of the box's own connections.
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use lbd::host::vip::Added;
use lbd::host::{Host, VipSocket, facts};
use lbd_tests::lab::{self, INTERFACE, Lab, Spec, addresses};

use super::support::{PATIENCE, eventually, hasten_resolution, send_a_datagram, vips, who_answers};

/// A lifetime that no test outlives.
const LONG_S: u32 = 600;

fn lab() -> Lab {
    let lab = Lab::new(&Spec {
        clients: 2,
        nodes: 2,
        sources: 1,
    })
    .unwrap();
    for host in lab.clients.iter().chain(&lab.nodes) {
        hasten_resolution(host);
    }
    lab
}

fn ifindex(host: &lab::Host) -> u32 {
    host.inside(|| {
        lbd::host::links::Links::read()
            .unwrap()
            .named(INTERFACE)
            .unwrap()
            .ifindex
    })
    .unwrap()
}

fn has(host: &lab::Host, interface: &str, vip: IpAddr) -> bool {
    let addresses = host.ip(&format!("addr show dev {interface}")).unwrap();
    addresses.contains(&format!(" {vip}/"))
}

/// A host of lbd's with both VIPs on `lo` and kept silent, as on every backend.
fn backend(lab: &Lab, node: usize) -> Host {
    let journal = lab.folder().join(format!("{node}.journal"));
    lab.nodes[node]
        .inside(|| {
            let (mut host, _) = Host::open(&journal).unwrap();
            host.suppress_arp(&[INTERFACE.to_owned()]).unwrap();
            for vip in vips() {
                host.hold_vip(vip).unwrap();
            }
            host
        })
        .unwrap()
}

#[test]
fn a_lease_ends_by_itself_and_a_renewed_one_does_not() {
    if !lbd_tests::root_or_skip("a_lease_ends_by_itself_and_a_renewed_one_does_not") {
        return;
    }
    let lab = lab();
    let node = &lab.nodes[0];
    let interface = ifindex(node);
    let renewed = vips();
    let abandoned: [IpAddr; 2] = [
        "10.77.0.101".parse().unwrap(),
        "fd00:77::101".parse().unwrap(),
    ];
    node.inside(|| {
        let mut socket = VipSocket::open().unwrap();
        for vip in renewed.iter().chain(&abandoned) {
            assert_eq!(socket.add(*vip, interface, 2).unwrap(), Added::New);
        }
        socket.renew(renewed[0], interface, LONG_S).unwrap();
        assert_eq!(
            socket.add(renewed[1], interface, LONG_S).unwrap(),
            Added::Renewed
        );
        let held = socket
            .held(&[renewed[0], renewed[1], abandoned[0]])
            .unwrap();
        assert!(
            held.iter()
                .all(|held| held.is_lease() && held.ifindex == interface),
            "{held:?}"
        );
    })
    .unwrap();
    eventually("leases that are not renewed end", || {
        abandoned.iter().all(|vip| !has(node, INTERFACE, *vip))
    });
    for vip in renewed {
        assert!(has(node, INTERFACE, vip), "{vip} was renewed");
    }
    node.inside(|| {
        let mut socket = VipSocket::open().unwrap();
        for vip in renewed {
            assert!(socket.remove(vip, interface).unwrap(), "{vip} was there");
            assert!(!socket.remove(vip, interface).unwrap(), "{vip} is gone");
        }
        assert_eq!(socket.held(&renewed).unwrap(), []);
        // A lease that ended before its renewal came is simply there again.
        socket.renew(renewed[0], interface, LONG_S).unwrap();
        assert_eq!(socket.held(&renewed).unwrap().len(), 1);
        assert!(
            !socket.remove(renewed[0], 9999).unwrap(),
            "no such interface: nothing is there"
        );
        let refused = socket
            .add(renewed[0], 9999, LONG_S)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("add 10.77.0.100 to interface 9999"),
            "{refused}"
        );
    })
    .unwrap();
}

#[test]
fn a_configured_address_is_no_lease_and_stays() {
    if !lbd_tests::root_or_skip("a_configured_address_is_no_lease_and_stays") {
        return;
    }
    let lab = lab();
    let node = &lab.nodes[0];
    let interface = ifindex(node);
    let journal = lab.folder().join("journal");
    for (vip, prefix_bits, added) in [
        (vips()[0], 16, Added::New),
        (vips()[1], 64, Added::Permanent),
        ("10.77.0.102".parse().unwrap(), 32, Added::Permanent),
        ("fd00:77::102".parse().unwrap(), 128, Added::Permanent),
    ] {
        node.ip(&format!("addr add {vip}/{prefix_bits} dev {INTERFACE}"))
            .unwrap();
        node.inside(|| {
            let mut socket = VipSocket::open().unwrap();
            let held = socket.held(&[vip]).unwrap();
            assert!(held.iter().all(|held| !held.is_lease()), "{held:?}");
            assert!(!socket.remove(vip, interface).unwrap(), "{vip}");
            assert_eq!(socket.add(vip, interface, 2).unwrap(), added, "{vip}");
            socket.renew(vip, interface, 2).unwrap();
            let is_ours = added != Added::Permanent;
            assert_eq!(socket.remove(vip, interface).unwrap(), is_ours, "{vip}");
            let (mut host, _) = Host::open(&journal).unwrap();
            host.make(&lbd::host::vip::change(vip, INTERFACE)).unwrap();
            assert!(host.undo_all().is_complete());
            assert_eq!(socket.held(&[vip]).unwrap(), held, "{vip}");
        })
        .unwrap();
    }
}

#[test]
fn the_boxs_own_connections_never_leave_from_the_vip() {
    if !lbd_tests::root_or_skip("the_boxs_own_connections_never_leave_from_the_vip") {
        return;
    }
    let lab = lab();
    let node = &lab.nodes[0];
    let _host = backend(&lab, 0);
    let interface = ifindex(node);
    let client = lab.client();
    // The worst order: the VIP is there before the box's own addresses, and a default route exists
    // that names no source.
    let (own4, own6) = (node.address4(), node.address6());
    node.ip(&format!("addr del {own4}/16 dev {INTERFACE}"))
        .unwrap();
    node.ip(&format!("addr del {own6}/64 dev {INTERFACE}"))
        .unwrap();
    node.inside(|| {
        let mut socket = VipSocket::open().unwrap();
        for vip in vips() {
            socket.add(vip, interface, LONG_S).unwrap();
        }
    })
    .unwrap();
    node.ip_batch(&format!(
        "addr add {own4}/16 dev {INTERFACE}\n\
         addr add {own6}/64 dev {INTERFACE} nodad\n\
         route add default dev {INTERFACE}\n\
         route add ::/0 dev {INTERFACE}\n"
    ))
    .unwrap();
    let targets: [(IpAddr, IpAddr); 4] = [
        (client.address4().into(), own4.into()),
        (client.address6().into(), own6.into()),
        ("198.51.100.1".parse().unwrap(), own4.into()),
        ("2001:db8::1".parse().unwrap(), own6.into()),
    ];
    node.inside(|| {
        for (target, own) in targets {
            let any: IpAddr = if own.is_ipv4() {
                [0; 4].into()
            } else {
                [0; 16].into()
            };
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.connect((target, 25)).unwrap();
            assert_eq!(socket.local_addr().unwrap().ip(), own, "towards {target}");
        }
        for vip in vips() {
            let target = if vip.is_ipv4() {
                targets[0].0
            } else {
                targets[1].0
            };
            let socket = UdpSocket::bind((vip, 0)).unwrap();
            socket.connect((target, 25)).unwrap();
            assert_eq!(
                socket.local_addr().unwrap().ip(),
                vip,
                "asked for on purpose"
            );
        }
    })
    .unwrap();
}

#[test]
fn only_the_box_with_the_lease_answers() {
    if !lbd_tests::root_or_skip("only_the_box_with_the_lease_answers") {
        return;
    }
    let lab = lab();
    let (master, asker) = (&lab.nodes[0], lab.client());
    // Without suppression an address on `lo` is answered for: that is what the sysctls are for.
    let vip4 = addresses::VIP4.into();
    master.ip(&format!("addr add {vip4}/32 dev lo")).unwrap();
    assert_eq!(who_answers(asker, vip4), Some(master.mac.to_string()));
    master.ip(&format!("addr del {vip4}/32 dev lo")).unwrap();

    let _hosts = [backend(&lab, 0), backend(&lab, 1)];
    let interface = ifindex(master);
    let answers = || vips().map(|vip| who_answers(asker, vip));
    assert_eq!(answers(), [None, None], "two backends, no master");
    let of_the_master = Some(master.mac.to_string());
    for _ in 0..2 {
        master
            .inside(|| {
                let mut socket = VipSocket::open().unwrap();
                for vip in vips() {
                    socket.add(vip, interface, 2).unwrap();
                }
            })
            .unwrap();
        // The lease is short, so that its end is seen as well; a slow machine may miss its middle.
        let seen = answers();
        assert!(
            seen.iter()
                .all(|seen| seen.is_none() || *seen == of_the_master),
            "{seen:?}"
        );
        eventually("the leases end", || {
            vips().iter().all(|vip| !has(master, INTERFACE, *vip))
        });
        assert_eq!(answers(), [None, None], "after the lease");
    }
    master
        .inside(|| {
            let mut socket = VipSocket::open().unwrap();
            for vip in vips() {
                socket.add(vip, interface, LONG_S).unwrap();
            }
        })
        .unwrap();
    // 2 is stricter than lbd asks for and serves as well.
    for arp_ignore in ["1", "2"] {
        let key = "net.ipv4.conf.all.arp_ignore";
        master.set_sysctls(&[(key, arp_ignore)]).unwrap();
        let expected = [of_the_master.clone(), of_the_master.clone()];
        assert_eq!(answers(), expected, "arp_ignore {arp_ignore}");
    }
}

#[test]
fn a_backend_does_not_draw_the_vip_to_itself() {
    if !lbd_tests::root_or_skip("a_backend_does_not_draw_the_vip_to_itself") {
        return;
    }
    let lab = lab();
    let (node, client) = (&lab.nodes[0], lab.client());
    let targets: [IpAddr; 2] = [client.address4().into(), client.address6().into()];
    let learnt = |vip: IpAddr| {
        let entry = client
            .ip(&format!("neigh show {vip} dev {INTERFACE}"))
            .unwrap();
        entry.contains(&node.mac.to_string())
    };
    let asked = |vip: IpAddr, target: IpAddr| {
        let _ = node.ip(&format!("neigh del {target} dev {INTERFACE}"));
        let _ = client.ip(&format!("neigh del {vip} dev {INTERFACE}"));
        send_a_datagram(node, Some(vip), target);
        eventually("the backend has found the client", || {
            let entry = node
                .ip(&format!("neigh show {target} dev {INTERFACE}"))
                .unwrap();
            entry.contains("lladdr")
        });
        learnt(vip)
    };
    let vip4 = addresses::VIP4.into();
    node.ip(&format!("addr add {vip4}/32 dev lo")).unwrap();
    assert!(
        asked(vip4, targets[0]),
        "without arp_announce the client learns a wrong MAC"
    );
    node.ip(&format!("addr del {vip4}/32 dev lo")).unwrap();

    let _host = backend(&lab, 0);
    for (vip, target) in vips().into_iter().zip(targets) {
        assert!(!asked(vip, target), "{vip}");
    }
}

#[test]
fn sessions_outlive_the_lease() {
    if !lbd_tests::root_or_skip("sessions_outlive_the_lease") {
        return;
    }
    let lab = lab();
    let (master, client) = (&lab.nodes[0], lab.client());
    // The strictest reverse path filter: DSR asks for nothing softer.
    master
        .set_sysctls(&[
            ("net.ipv4.conf.all.rp_filter", "1"),
            ("net.ipv4.conf.eth0.rp_filter", "1"),
        ])
        .unwrap();
    let _host = backend(&lab, 0);
    let interface = ifindex(master);
    let listen = || TcpListener::bind((Ipv6Addr::UNSPECIFIED, 25)).unwrap();
    let listener = master.inside(listen).unwrap();
    for vip in vips() {
        // A director sends frames for the VIP to this box, lease or not.
        client
            .ip(&format!(
                "neigh replace {vip} lladdr {} dev {INTERFACE} nud permanent",
                master.mac
            ))
            .unwrap();
        let connect = || {
            let stream = TcpStream::connect_timeout(&SocketAddr::new(vip, 25), PATIENCE).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        };
        let pair = || {
            let ours = client.inside(connect).unwrap();
            let (theirs, _) = listener.accept().unwrap();
            theirs.set_read_timeout(Some(PATIENCE)).unwrap();
            (ours, theirs)
        };
        let speak = |(ours, theirs): &mut (TcpStream, TcpStream)| {
            let mut byte = [0];
            ours.write_all(b"a").unwrap();
            theirs.read_exact(&mut byte).unwrap();
            theirs.write_all(b"b").unwrap();
            ours.read_exact(&mut byte).unwrap();
            assert_eq!(byte, *b"b");
        };
        let mut before = pair();
        speak(&mut before);
        let lease = |valid_s| {
            let add = || {
                VipSocket::open()
                    .unwrap()
                    .add(vip, interface, valid_s)
                    .unwrap()
            };
            master.inside(add).unwrap()
        };
        lease(LONG_S);
        let mut during = pair();
        speak(&mut before);
        speak(&mut during);
        // Ended by the kernel, as after kill -9.
        lease(2);
        eventually("the lease ends", || !has(master, INTERFACE, vip));
        assert!(has(master, "lo", vip));
        speak(&mut before);
        speak(&mut during);
        let mut after = pair();
        speak(&mut after);
        // And removed by hand, as by a master that yields.
        lease(LONG_S);
        let remove = || VipSocket::open().unwrap().remove(vip, interface).unwrap();
        assert!(master.inside(remove).unwrap());
        for session in [&mut before, &mut during, &mut after] {
            speak(session);
        }
        let route = master.ip(&format!("route get {vip}")).unwrap();
        assert!(
            route.contains("local") && route.contains("dev lo"),
            "{route}"
        );
    }
}

#[test]
fn the_facts_are_those_of_the_namespace() {
    if !lbd_tests::root_or_skip("the_facts_are_those_of_the_namespace") {
        return;
    }
    let lab = lab();
    let node = &lab.nodes[0];
    // On the link, behind no router.
    let config = format!(
        "node: {{name: mx1, interfaces: [eth0]}}\ncluster: {{virtual_router_id: 51, virtual_addresses: \
         [192.0.2.25/24], sites: [{{name: here, backends: [{{name: mx1, address: {}}}]}}]}}\n",
        node.address4()
    );
    let config = lbd::config::Config::parse(&config, "lbd.yaml").unwrap();
    let facts = node.inside(|| facts(&config)).unwrap().unwrap();
    assert_eq!(facts.routers, []);
    assert_eq!(facts.interfaces, ["lo", INTERFACE]);
    assert!(facts.addresses.contains(&node.address4().into()));
    assert!(facts.addresses.contains(&node.address6().into()));
}
