//! Strangers who hold what connections they can get, while a cluster goes on with its work.
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use lbd_tests::{
    cluster::{Cluster, HTTP_PORT, Settings},
    lab::{Host, Lab, Spec},
    smtp::{server::Server, spool::Spool},
};

const CHANNEL_PORT: u16 = 9426;
/// The node that is held.
const HELD: usize = 1;

/// Holds so many connections, each with the start of a request; one that is closed is opened again.
fn hold(to: SocketAddr, count: usize, over: &AtomicBool) {
    let open = || -> Option<TcpStream> {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_millis(200)).ok()?;
        stream.write_all(b"GET /st").ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    };
    let is_open = |stream: &TcpStream| {
        let told = (&*stream).read(&mut [0]).map_err(|error| error.kind());
        told == Err(std::io::ErrorKind::WouldBlock)
    };
    let mut held: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
    while !over.load(Ordering::Relaxed) {
        for place in &mut held {
            if !place.as_ref().is_some_and(is_open) {
                *place = open();
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn get(from: &Host, to: Ipv4Addr, port: u16, path: &str) -> String {
    from.inside(|| {
        let mut stream = TcpStream::connect((to, port)).unwrap();
        // As long as a patient scraper.
        let patience = Some(Duration::from_secs(10));
        stream.set_read_timeout(patience).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {to}:{port}\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    })
    .unwrap()
}

/// How often node 0 has asked the held node in vain.
fn failures(cluster: &Cluster, name: &str) -> u64 {
    let output = cluster.lbd(0, &["status", "--json"]).unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let backends = status["backends"].as_array().unwrap();
    let held = backends.iter().find(|backend| backend["name"] == name);
    held.unwrap()["poll_failures"].as_u64().unwrap()
}

#[test]
fn strangers_who_hold_every_connection_they_get_stop_no_poll_push_or_scrape() {
    let name = "strangers_who_hold_every_connection_they_get_stop_no_poll_push_or_scrape";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        http: true,
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    let master = cluster.wait_ready().unwrap();
    assert_eq!(master, 0);
    let held = &lab.nodes[HELD];
    let at = held.address4();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for (port, count) in [(CHANNEL_PORT, 200), (HTTP_PORT, 130)] {
            let (client, over) = (lab.client(), &over);
            scope.spawn(move || client.inside(|| hold((at, port).into(), count, over)));
        }
        let _over = lbd_tests::Over(&over);
        thread::sleep(Duration::from_secs(1));
        let failed_before = failures(&cluster, &held.name);
        for (port, path) in [(CHANNEL_PORT, "/stats"), (HTTP_PORT, "/metrics")] {
            for round in 0..5 {
                let answer = get(&lab.nodes[0], at, port, path);
                assert!(
                    answer.starts_with("HTTP/1.1 200 "),
                    "{path} {round}: {answer:?}"
                );
            }
        }
        let mut spool = Spool::new(&cluster.spool(HELD)).unwrap();
        for _ in 0..7 {
            spool.accept(b"Subject: x\r\n\r\n").unwrap();
        }
        let fresh = |status: &lbd_tests::cluster::Status| {
            let backend = status.backend(&held.name);
            backend.and_then(|it| it.reported.as_ref()?.queued) == Some(7)
        };
        cluster
            .wait_status(0, "the held node's queue is known", fresh)
            .unwrap();
        let pushed = cluster.lbd(0, &["push", "--yes"]).unwrap();
        let said = String::from_utf8_lossy(&pushed.stdout).into_owned()
            + &String::from_utf8_lossy(&pushed.stderr);
        assert!(pushed.status.success(), "{said}");
        let failed = failures(&cluster, &held.name) - failed_before;
        assert!(failed <= 1, "{failed} polls of the held node failed");
        println!("{failed} polls failed while 330 connections were held");
    });
}
