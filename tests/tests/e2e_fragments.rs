//! A client that does not discover the path's MTU, behind a link smaller than its own: the router before the
//! boxes cuts each of its long segments up.
use std::net::{IpAddr, SocketAddr};

use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{INTERFACE, Lab, Spec, addresses},
    smtp::{
        client::{self, Session},
        server::Server,
    },
};

/// Long enough for a hundred segments.
const MESSAGE: usize = 150_000;

fn every_message_arrives(forwarding: &str) {
    let mut lab = Lab::new(&Spec::default()).unwrap();
    let router = lab.put_client_behind_router().unwrap();
    let client = lab.client();
    // No "don't fragment" (ip-sysctl.rst of the kernel).
    client
        .set_sysctls(&[("net.ipv4.ip_no_pmtu_disc", "1")])
        .unwrap();
    router
        .ip(&format!("link set {INTERFACE} mtu 1300"))
        .unwrap();
    let servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        ipv6: false,
        more: format!("  forwarding: {forwarding}\n"),
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    let master = cluster.wait_ready().unwrap();
    let source = IpAddr::from(client.address4());
    let vip = SocketAddr::new(addresses::VIP4.into(), 25);
    let session = |_| Session {
        bytes: MESSAGE,
        ..Session::new(source, vip)
    };
    let by_server = client::served_by(client, (0..40).map(session).collect()).unwrap();
    assert_eq!(by_server.len(), servers.len(), "{by_server:?}");
    let count = |name| cluster.counter(master, name).unwrap();
    let (followed, dropped) = (count("fragment_followed"), count("drop_fragment"));
    println!(
        "{forwarding}: 40 messages of {MESSAGE} bytes by {by_server:?}; {followed} later parts followed, \
         {dropped} were dropped"
    );
    // A part for each segment of 1460 bytes.
    assert!(followed > 40 * 100 / 2, "{followed}");
    // Those of sessions whose box had not yet told of them.
    assert!(dropped * 20 < followed, "{dropped} of {followed}");
}

#[test]
fn a_client_whose_segments_are_cut_up_loses_no_mail() {
    let Some(_turn) = lbd_tests::turn("a_client_whose_segments_are_cut_up_loses_no_mail") else {
        return;
    };
    every_message_arrives("dsr");
}

#[test]
fn parts_go_through_tunnels() {
    let Some(_turn) = lbd_tests::turn("parts_go_through_tunnels") else {
        return;
    };
    every_message_arrives("ipip");
}
