//! What `lbd trace` tells of frames that take another way than a client's segment to a backend of its segment:
//! replies of `nat` backends, tunnels, second chances and ICMP.
use std::net::{IpAddr, SocketAddr};

use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{INTERFACE, Lab, Spec, addresses},
    smtp::{
        client::{self, Session},
        held::{Held, survivors},
        server::Server,
    },
    trace::{Trace, is_traced, with},
    until,
    xdp::{
        icmp::icmp4,
        packet::{ACK, v4},
    },
};

const VIP: IpAddr = IpAddr::V4(addresses::VIP4);

#[test]
fn a_nat_backends_replies_are_told() {
    let name = "a_nat_backends_replies_are_told";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    // A director before two mail servers without lbd, whose way to the client leads through the VIP.
    let lab = Lab::new(&Spec::default()).unwrap();
    let client = lab.client().address4();
    let _servers: Vec<Server> = lab.nodes[1..]
        .iter()
        .map(|node| {
            let way = format!("route add {client} via {VIP} dev {INTERFACE}");
            node.ip(&way).unwrap();
            Server::start_behind_nat(node).unwrap()
        })
        .collect();
    let settings = Settings {
        ipv6: false,
        directors: vec![0],
        more: "  forwarding: nat\n".to_owned(),
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&lab, settings).unwrap();
    cluster.start(0).unwrap();
    cluster
        .wait_status(0, "mastership with both servers", |status| {
            let takes = |name| status.backend(name).is_some_and(|b| b.accepting);
            status.is_master() && takes("mx2") && takes("mx3")
        })
        .unwrap();

    let trace = Trace::begin(&lab.nodes, &cluster, 0, &["--for", "1h"]);
    let mut held = Held::open(lab.client(), VIP).unwrap();
    held.deliver().unwrap();
    let source = held.source().unwrap();
    // The greeting and the answers to a message.
    let later = format!(" {VIP}:25 > {source} PSH,ACK: a backend's reply; ");
    trace.wait_told(&[&later], 5);
    let (_, lines) = trace.interrupt();
    // A message went by, of which nothing is told.
    for part in ["still here", "MAIL", "x.test"] {
        assert!(with(&lines, &[part]).is_empty(), "{part}: {lines:?}");
    }
    let by = lab.nodes.iter().find(|node| node.name == held.by());
    let (by, server) = (held.by(), by.unwrap().address4());
    let there = format!(" {source} > {VIP}:25 SYN: no session; allowed; ");
    let translated = format!("takes {by}; MAC ");
    let destination = format!("; destination {server}:25; sent out of {INTERFACE}");
    let opened = with(&lines, &[&there, &translated, &destination]);
    assert_eq!(opened.len(), 1, "{lines:?}");
    let back =
        format!(" {VIP}:25 > {source} SYN,ACK: a backend's reply; half-open session with {by}; ");
    let source_of_reply = "translated back; ";
    let rewritten = format!("; source {VIP}:25; sent out of {INTERFACE}");
    let replies = with(&lines, &[&back, source_of_reply, &rewritten]);
    assert_eq!(replies.len(), 1, "{lines:?}");
    assert!(with(&lines, &[&later, &rewritten]).len() >= 5, "{lines:?}");
}

#[test]
fn a_tunnel_is_told_at_both_ends_with_what_does_not_fit() {
    /// The node behind the router.
    const FAR: usize = 2;
    let name = "a_tunnel_is_told_at_both_ends_with_what_does_not_fit";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut lab = Lab::new(&Spec::default()).unwrap();
    lab.put_behind_router(FAR).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        ipv6: false,
        backends_only: vec![FAR],
        more: "  forwarding: ipip\n".to_owned(),
        ..Settings::default()
    };
    let cluster = Cluster::started(&lab, settings).unwrap();
    let master = cluster.master().unwrap();
    for near in &lab.nodes[..FAR] {
        let drained = cluster.lbd(master, &["drain", &near.name]).unwrap();
        assert!(drained.status.success(), "{drained:?}");
    }
    let [here, there] =
        [master, FAR].map(|node| Trace::begin(&lab.nodes, &cluster, node, &["--for", "1h"]));
    let source = IpAddr::from(lab.client().address4());
    let session = Session {
        bytes: 50_000,
        ..Session::new(source, SocketAddr::new(VIP, 25))
    };
    client::served_by(lab.client(), vec![session]).unwrap();
    // The session's end.
    here.wait_told(&[" FIN,ACK: "], 1);
    there.wait_told(&[" FIN,ACK: "], 1);
    let (_, here) = here.interrupt();
    let (_, there) = there.interrupt();

    let far = &lab.nodes[FAR];
    let (from, to) = (lab.nodes[master].address4(), far.address4());
    let tunnel = format!("; in a tunnel from {from} to {to}; sent out of {INTERFACE}");
    let takes = format!("; takes {}; MAC ", far.name);
    assert_eq!(
        with(&here, &[" SYN: no session; ", &takes, &tunnel]).len(),
        1,
        "{here:?}"
    );
    let too_big = [
        "too big for the tunnel: answered with ICMP; ",
        &format!("sent out of {INTERFACE}"),
    ];
    let answered = with(&here, &too_big);
    assert!(!answered.is_empty(), "{here:?}");
    assert!(
        answered
            .iter()
            .all(|line| !line.contains("in a tunnel from")),
        "{answered:?}"
    );
    let out = [
        "in another box's tunnel; ",
        "taken out of the tunnel",
        "; passed up",
    ];
    assert!(with(&there, &out).len() > 10, "{there:?}");
    for node in [master, FAR] {
        until("the ordinary program is back", || {
            !is_traced(&lab.nodes[node])
        });
    }
}

#[test]
fn a_second_chance_is_told_by_both_boxes() {
    const SESSIONS: usize = 90;
    let name = "a_second_chance_is_told_by_both_boxes";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    // Boxes that cannot tell each other of sessions, and a master that dies.
    let lab = Lab::new(&Spec {
        nodes: 4,
        ..Spec::default()
    })
    .unwrap();
    for node in &lab.nodes {
        node.cut_channel().unwrap();
    }
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        ipv6: false,
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    let first = cluster.master().unwrap();
    let mut sessions = Held::open_to(lab.client(), VIP, SESSIONS).unwrap();
    cluster.kill(first);
    let second = cluster.wait_another_master(first).unwrap();
    let boxes: Vec<usize> = (0..cluster.len()).filter(|node| *node != first).collect();
    let traces: Vec<Trace> = boxes
        .iter()
        .map(|node| Trace::begin(&lab.nodes, &cluster, *node, &["--for", "1h"]))
        .collect();
    assert_eq!(survivors(&mut sessions), SESSIONS);

    let handed = "no socket of it here: handed on to the other candidate; to ";
    let from_a_box = "from another box of the cluster; ";
    until("a box tells that it handed a frame on", || {
        let mut told = traces.iter().flat_map(Trace::so_far);
        told.any(|line| line.contains(handed))
    });
    let mut followed = 0;
    for (node, trace) in boxes.iter().zip(&traces) {
        for line in with(&trace.so_far(), &[from_a_box, handed]) {
            assert_ne!(*node, second, "the master steers: {line}");
            // To whom: that box tells of the same frame what it did with it.
            let (_, to) = line.split_once(handed).unwrap();
            let to = to.split(';').next().unwrap();
            let ends = line.split(' ').nth(1).unwrap();
            // The one whose daemon was killed has no trace.
            let there = boxes.iter().position(|node| lab.nodes[*node].name == to);
            let Some(there) = there else {
                continue;
            };
            let marked = "from another box of the cluster, marked; ";
            let found = "handed on to this box, which has the session";
            traces[there].wait_told(&[ends, marked, found], 1);
            followed += 1;
        }
    }
    println!("{followed} frames told where they were handed on, and where they came to");
    assert!(followed > 0);
}

#[test]
fn icmp_for_the_virtual_address_is_told() {
    let name = "icmp_for_the_virtual_address_is_told";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        ipv6: false,
        ..Settings::default()
    };
    let cluster = Cluster::started(&lab, settings).unwrap();
    let master = cluster.master().unwrap();
    let client = lab.client();
    let mut held = Held::open_to(client, VIP, 12).unwrap();
    let own = &lab.nodes[master].name;
    let elsewhere = held.iter_mut().find(|held| held.by() != own).unwrap();
    let (by, source) = (elsewhere.by().to_owned(), elsewhere.source().unwrap());
    cluster
        .wait_status(
            master,
            "the box has told of its sessions",
            |status: &Status| status.sessions() >= 12,
        )
        .unwrap();

    let trace = Trace::begin(&lab.nodes, &cluster, master, &["--for", "1h"]);
    let quoted = v4(ACK)
        .from4(addresses::VIP4)
        .from_port(25)
        .to4(client.address4())
        .to_port(source.port());
    let icmp = |kind, code| {
        icmp4(kind, code)
            .from(client.address4(), client.address6())
            .to(addresses::VIP4, addresses::VIP6)
    };
    let too_big = icmp(3, 4).rest(1400).about(&quoted, 28);
    client.send_packet(&too_big.packet(), VIP).unwrap();
    client
        .send_packet(&icmp(8, 0).body([0; 32]).packet(), VIP)
        .unwrap();
    elsewhere.check().unwrap();
    trace.wait_told(&[&format!(" {source} > {VIP}:25 PSH,ACK: ")], 1);
    let (_, lines) = trace.interrupt();
    let error = format!(" {source} > {VIP}:25: an ICMP error about the session; ");
    let steered = [
        error.as_str(),
        &format!(" session with {by}; goes where the session is; "),
    ];
    assert_eq!(with(&lines, &steered).len(), 1, "{lines:?}");
    let ping = ["no whole TCP segment, IP protocol 1; ", "; passed up"];
    assert_eq!(with(&lines, &ping).len(), 1, "{lines:?}");
}
