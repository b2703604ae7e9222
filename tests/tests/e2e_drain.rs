//! A drained box: what is waited for, and where the next session from an old source port goes.
use std::{
    io::{BufRead as _, BufReader},
    net::{IpAddr, SocketAddr, TcpStream},
    process::{Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, PATIENCE, Settings},
    lab::{Host, Lab, Spec, addresses},
    smtp::{held::Held, server::Server},
    stranger::Stranger,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

const DRAINED: &str = "mx2";

/// What `lbd flows` says of the drained box, of one state.
fn flows(cluster: &Cluster, state: &str) -> String {
    let arguments = ["flows", "--backend", DRAINED, "--state", state];
    let Output { status, stdout, .. } = cluster.lbd(0, &arguments).unwrap();
    assert!(status.success());
    String::from_utf8_lossy(&stdout).into_owned()
}

#[test]
fn a_drain_waits_for_the_sessions_that_its_box_has_and_for_no_claim() {
    let name = "a_drain_waits_for_the_sessions_that_its_box_has_and_for_no_claim";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    for node in &lab.nodes {
        Stranger::route_back(node, lab.client()).unwrap();
    }
    let cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let stranger = Stranger::new(lab.client(), &lab.nodes[0]).unwrap();
    let vip = addresses::VIP4.into();
    let mut held = Held::open_to(lab.client(), vip, 12).unwrap();
    let there = held.iter().filter(|held| held.by() == DRAINED).count();
    assert!(there > 0, "none of 12 sessions is with {DRAINED}");
    let sent = stranger.pairs(400, Duration::from_secs(2));
    let mut command = cluster.command(0, &["drain", DRAINED, "--wait"]);
    let mut waiting = command.stdout(Stdio::piped()).spawn().unwrap();
    // What may be on its way counts for two seconds: what is said then is what is waited for.
    thread::sleep(Duration::from_secs(4));
    assert!(waiting.try_wait().unwrap().is_none(), "{there} are open");
    let claims = flows(&cluster, "unproven");
    assert!(
        claims.contains("198.1"),
        "{sent} pairs, and no claim: {claims}"
    );
    held.retain(|held| held.by() != DRAINED);
    let since = Instant::now();
    let ended = loop {
        if let Some(status) = waiting.try_wait().unwrap() {
            break status;
        }
        assert!(since.elapsed() < PATIENCE, "it waits for claims");
        thread::sleep(Duration::from_millis(20));
    };
    assert!(ended.success(), "{ended}");
    let claims = flows(&cluster, "unproven");
    assert!(claims.contains("198.1"), "they outlive the wait: {claims}");
    let said: Vec<String> = BufReader::new(waiting.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .collect();
    println!(
        "{sent} pairs; {said:?}, {:?} after the last ended",
        since.elapsed()
    );
    let waited_for = format!("{DRAINED}: {there} session");
    assert!(
        said.iter().any(|line| line.starts_with(&waited_for)),
        "{said:?}"
    );
}

/// A session from a port of the client's, and who greets.
fn from_port(client: &Host, port: u16) -> (TcpStream, String) {
    let connect = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::new(client.address4().into(), port).into())?;
        let vip = SocketAddr::new(IpAddr::from(addresses::VIP4), 25);
        socket.connect_timeout(&vip.into(), PATIENCE)?;
        std::io::Result::Ok(TcpStream::from(socket))
    };
    let stream = client.inside(connect).unwrap().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut greeting = String::new();
    BufReader::new(&stream).read_line(&mut greeting).unwrap();
    let by = greeting.split_whitespace().nth(1).unwrap_or_default();
    (stream, by.to_owned())
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
}

#[test]
fn a_session_from_an_old_source_port_does_not_go_to_a_box_drained_since() {
    let name = "a_session_from_an_old_source_port_does_not_go_to_a_box_drained_since";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let client = lab.client();
    let mut there = Vec::new();
    let mut others = Vec::new();
    for port in 41_000..41_060 {
        let (stream, by) = from_port(client, port);
        if by == DRAINED && there.len() < 8 {
            there.push((port, stream));
        } else {
            others.push(stream);
        }
    }
    assert_eq!(there.len(), 8, "of 60 sessions");
    let drained = cluster.lbd(0, &["drain", DRAINED]).unwrap();
    assert!(drained.status.success(), "{drained:?}");
    let vanished = there.split_off(4);
    let mut ports: Vec<u16> = Vec::new();
    for (port, stream) in there {
        reset(stream);
        ports.push(port);
    }
    // The resets of these never arrive: for the box they are open, and its TCP asks the client.
    client
        .output(
            "nft",
            &["add table inet mute; add chain inet mute out { type filter hook output priority 0; }; \
               add rule inet mute out tcp flags & rst == rst drop"],
        )
        .unwrap();
    for (port, stream) in vanished {
        reset(stream);
        ports.push(port);
    }
    client.output("nft", &["delete table inet mute"]).unwrap();
    let next: Vec<_> = ports.iter().map(|port| from_port(client, *port)).collect();
    let by: Vec<&str> = next.iter().map(|(_, by)| by.as_str()).collect();
    println!("from the 8 old ports: {by:?}");
    // Also of those for which the client answers the box's challenge with a RST and repeats its SYN before the
    // box's word on the end has come.
    assert!(!by.contains(&DRAINED), "{by:?}");
    drop(others);
}
