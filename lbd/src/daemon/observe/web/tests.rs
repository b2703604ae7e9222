//! What strangers may send, over real sockets.
use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use tokio::{net::TcpListener, sync::mpsc};

use super::*;
use crate::daemon::{
    observe::{recent::History, status},
    operator::request::Request,
};

fn node() -> Node {
    let text = include_str!("../../../../../deploy/lbd.yaml");
    crate::config::Config::parse(text, "lbd.yaml").unwrap().node
}

/// A server whose event loop answers with a small status; it lives as long as the test's process.
fn served() -> SocketAddr {
    let (sender, mut events) = mpsc::channel::<Event>(16);
    thread::spawn(move || {
        while let Some(event) = events.blocking_recv() {
            match event {
                Event::Request(Request::Status(reply)) => {
                    let mut status = status::tests::small();
                    status.backends[0].reason = "</script><b>".to_owned();
                    drop(reply.send(Box::new(status)));
                }
                Event::Request(Request::Events(_, reply)) => drop(reply.send(Vec::new())),
                Event::Request(Request::History(reply)) => drop(reply.send(History::default())),
                other => panic!("{other:?}"),
            }
        }
    });
    let (address, bound) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            address.send(listener.local_addr().unwrap()).unwrap();
            let is_known = |from| from == IpAddr::from([127, 0, 0, 99]);
            serve(
                listener,
                router(sender, &node(), || "{}".into_response()),
                is_known,
            )
            .await;
        });
    });
    bound.recv().unwrap()
}

/// Sends bytes, and reads until the server closes or is silent for a while.
fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn ask(address: SocketAddr, method: &str, path: &str, more: &str) -> String {
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}\r\n");
    exchange(address, request.as_bytes())
}

#[test]
fn metrics_and_status_are_answered_and_nothing_else() {
    let address = served();
    for (method, path, more, status, holds) in [
        ("GET", "/metrics", "", "200", "text/plain; version=0.0.4"),
        (
            "GET",
            "/metrics",
            "accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n",
            "200",
            "# EOF",
        ),
        ("HEAD", "/metrics", "", "200", "content-length"),
        ("GET", "/api/status", "", "200", "\"node\":\"mx1\""),
        ("GET", "/etc/passwd", "", "404", "ask for /, /metrics"),
        ("GET", "/../../etc/passwd", "", "404", "ask for /, /metrics"),
        ("POST", "/api/status", "", "405", "read-only"),
        ("DELETE", "/metrics", "", "405", "read-only"),
        ("BREW", "/metrics", "", "405", "read-only"),
        (
            "GET",
            "/api/status",
            "origin: http://evil.example\r\n",
            "403",
            "other sites",
        ),
    ] {
        let answer = ask(address, method, path, more);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(holds),
            "{method} {path} {more}: {answer}"
        );
        assert!(
            answer.contains("x-content-type-options: nosniff"),
            "{answer}"
        );
        assert!(!answer.contains("access-control-allow-origin"), "{answer}");
    }
}

#[test]
fn malformed_and_huge_requests_are_refused_and_the_next_one_is_served() {
    let address = served();
    let huge = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
        "a".repeat(1 << 20)
    );
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20));
    for (bytes, status) in [
        (
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
            "400",
        ),
        (b"GET\r\n\r\n", "400"),
        (b"GET /metrics HTTP/1.1\r\nconnection: close\r\n\r\n", "400"),
        (huge.as_bytes(), "431"),
        (long.as_bytes(), "414"),
    ] {
        let answer = exchange(address, bytes);
        // A head that is far too large may be answered by closing alone.
        let refused = answer.starts_with(&format!("HTTP/1.1 {status} "))
            || bytes.len() > HEAD_LIMIT && (answer.is_empty() || answer.starts_with("HTTP/1.1 4"));
        assert!(refused, "{status}: {answer}");
    }
    // A body that is announced and never sent does not keep the answer.
    let answer = ask(
        address,
        "GET",
        "/metrics",
        "content-length: 999999999999\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

const HEAD_LIMIT: usize = 1 << 20;

#[test]
fn strangers_who_hold_their_places_keep_no_other_out() {
    let address = served();
    let hold = |from: [u8; 4]| {
        let mut stream = connect_from(address, from);
        // It may have lost its place to the next one already.
        let _ = stream.write_all(b"GET /metrics HTT");
        stream
    };
    // The first to come is the first that is let go for being slow.
    let first = hold([127, 0, 0, 3]);
    let slow: Vec<TcpStream> = (0..200).map(|_| hold([127, 0, 0, 2])).collect();
    for from in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 99]] {
        let mut stream = connect_from(address, from);
        write!(stream, "GET /api/status HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 421", "{from:?}");
    }
    first.set_nonblocking(true).unwrap();
    let told = (&first).read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(
        told,
        Err(std::io::ErrorKind::WouldBlock),
        "answered only after the slow left"
    );
    drop(slow);
}

fn connect_from(address: SocketAddr, from: [u8; 4]) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    socket.into()
}

#[test]
fn the_page_is_one_piece_small_and_asks_only_what_is_there() {
    let address = served();
    let answer = ask(address, "GET", "/", "");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("text/html"));
    assert!(answer.contains("content-security-policy: default-src 'none'"));
    assert!(answer.len() < 300_000, "{} bytes", answer.len());
    for outside in [
        "src=\"http",
        "href=\"http",
        "@import",
        "url(",
        "//cdn",
        "innerHTML",
    ] {
        assert!(!PAGE.contains(outside), "{outside}");
    }
    assert!(
        answer.contains("\"reason\":\"\\u003c/script>\\u003cb>\""),
        "{answer}"
    );
    let asked: Vec<&str> = PAGE
        .split('"')
        .filter(|text| text.starts_with("/api/"))
        .collect();
    assert_eq!(asked, ["/api/live", "/api/history"]);
    for path in ["/api/history", "/api/events"] {
        assert!(
            ask(address, "GET", path, "").starts_with("HTTP/1.1 200 "),
            "{path}"
        );
    }
}

/// Opens a live page; the stream is past its head and one event.
fn watch(address: SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
        .write_all(b"GET /api/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut seen = Vec::new();
    let mut part = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains("\n\n") {
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&part[..read]);
        if !seen.starts_with(b"HTTP/1.1 200") {
            break;
        }
    }
    (stream, String::from_utf8_lossy(&seen).into_owned())
}

#[test]
fn the_state_comes_live_to_as_many_pages_as_may_be() {
    let address = served();
    let pages: Vec<(TcpStream, String)> = (0..PAGES).map(|_| watch(address)).collect();
    for (_, seen) in &pages {
        assert!(seen.contains("text/event-stream"), "{seen}");
        assert!(seen.contains("event: state\ndata: {\"unix_s\":"), "{seen}");
        assert!(seen.contains("\"role\":\"master\""), "{seen}");
    }
    let (_, refused) = watch(address);
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    let scraped = ask(address, "GET", "/metrics", "");
    assert!(scraped.starts_with("HTTP/1.1 200 "), "{scraped}");
    // A page that is closed leaves its place.
    drop(pages);
    let begun = std::time::Instant::now();
    while !watch(address).1.starts_with("HTTP/1.1 200 ") {
        assert!(begun.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(100));
    }
}
