//! The lab's own SMTP server and client.
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lbd_tests::{
    lab::{Lab, Spec, addresses},
    postfix::{Sink, smtp_source},
    smtp::{
        client::{self, Close, Outcome, Session},
        server::Server,
    },
};

#[test]
fn a_session_names_its_server_and_the_server_its_client() {
    if !lbd_tests::root_or_skip("a_session_names_its_server_and_the_server_its_client") {
        return;
    }
    let lab = Lab::new(&Spec {
        nodes: 1,
        sources: 2,
        ..Spec::default()
    })
    .unwrap();
    let (node, client) = (&lab.nodes[0], lab.client().clone());
    // No balancer here: the node simply has the addresses.
    node.ip_batch(&format!(
        "addr add {}/32 dev eth0\naddr add {}/128 dev eth0 nodad\n",
        addresses::VIP4,
        addresses::VIP6
    ))
    .unwrap();
    let spool = lab.folder().join("spool");
    let server = Server::start(node, Some(&spool)).unwrap();
    server.set_rate(0.0);
    let sources: [IpAddr; 2] = [client.addresses4[1].into(), client.addresses6[1].into()];
    for source in sources {
        for close in [Close::Fin, Close::Rst] {
            let target = SocketAddr::new(addresses::vip_like(source), 25);
            let session = Session {
                messages: 3,
                close,
                ..Session::new(source, target)
            };
            let thread = client.runtime(async move || client::run(&session).await);
            let outcome = thread.unwrap().join().unwrap().unwrap();
            assert!(
                matches!(&outcome, Outcome::Served { by, .. } if by == "mx1"),
                "{outcome}"
            );
        }
        assert_eq!(server.peers().get(&source), Some(&2));
    }
    let files = || std::fs::read_dir(spool.join("active")).unwrap().count();
    let worked = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        files() == 12
    });
    assert!(worked, "{} messages in the spool", files());
    assert_eq!((server.sessions(), server.messages()), (4, 12));
}

#[test]
fn a_sink_knows_who_sent_how_much() {
    if !lbd_tests::root_or_skip("a_sink_knows_who_sent_how_much") {
        return;
    }
    if !lbd_tests::programs::or_skip(
        "a_sink_knows_who_sent_how_much",
        &["smtp-source", "smtp-sink"],
    ) {
        return;
    }
    let lab = Lab::new(&Spec {
        nodes: 1,
        ..Spec::default()
    })
    .unwrap();
    let (node, client) = (&lab.nodes[0], lab.client());
    let sink = Sink::start(node, lab.folder()).unwrap();
    let targets: [IpAddr; 2] = [node.address4().into(), node.address6().into()];
    for (target, total) in targets.into_iter().zip([20, 30]) {
        smtp_source(client, SocketAddr::new(target, 25), total, 5).unwrap();
    }
    let expected = [
        (client.address4().into(), 20),
        (client.address6().into(), 30),
    ];
    assert_eq!(sink.messages().unwrap(), HashMap::from(expected));
    // Nothing listens on this port.
    smtp_source(client, SocketAddr::new(targets[0], 26), 1, 1).unwrap_err();
}
