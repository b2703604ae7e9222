//! Health checks of real mail servers: smtp-sink made to fail, and Postfix behind postscreen, whose
//! log must show nothing but an ordinary visit.
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use lbd::{
    daemon::steering::health::{Change, Checkers, Event, Probe, Target},
    policy::HealthState::{self, Down, Full, NotServing, Up},
    smtp::{Envelope, Settings},
};
use lbd_tests::postfix::server::Postfix;
use tokio::sync::mpsc;

/// For a server to start, or an event to come; a failure, not a measurement.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server that ends with its handle.
struct Server(Child);

impl Server {
    fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}: is postfix installed?")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(
            started.elapsed() < PATIENCE,
            "no {what} within {PATIENCE:?}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

fn smtp_sink(options: &str) -> (Server, SocketAddr) {
    let address = free_port();
    let mut sink = Command::new("smtp-sink");
    sink.args(["-u", "nobody", "-m", "100"]);
    sink.args(options.split_whitespace());
    let server = Server::start(sink.arg(address.to_string()).arg("64"));
    wait_until("listening smtp-sink", || {
        TcpStream::connect(address).is_ok()
    });
    (server, address)
}

fn target(address: SocketAddr, recipient: Option<&str>) -> Target {
    Target {
        backend: "mx1".into(),
        address,
        is_local: false,
        probe: Probe::Smtp(Settings {
            helo: "lb.lbd.test".into(),
            probe: recipient.map(|to| Envelope {
                from: String::new(),
                to: to.into(),
            }),
            ..Settings::default()
        }),
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(20),
        rise: 2,
        fall: 2,
    }
}

/// A server on this box is never silent.
fn changed(event: Event) -> Change {
    match event {
        Event::Changed(change) => change,
        other => panic!("{other:?}"),
    }
}

/// Checks until the first thing that is told, then stops.
fn first_event(target: Target) -> Change {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (events, mut told) = mpsc::channel::<Event>(10);
        let mut checkers = Checkers::new(events);
        checkers.replace([target]);
        tokio::time::timeout(PATIENCE, told.recv())
            .await
            .expect("an event")
            .map(changed)
            .unwrap()
    })
}

#[test]
fn smtp_sink_is_judged_by_what_it_says() {
    if !lbd_tests::root_or_skip("smtp_sink_is_judged_by_what_it_says") {
        return;
    }
    if !lbd_tests::programs::or_skip("smtp_sink_is_judged_by_what_it_says", &["smtp-sink"]) {
        return;
    }
    let someone = Some("someone@lbd.test");
    let table: &[(&str, Option<&str>, HealthState, &str)] = &[
        ("", None, Up, ""),
        ("", someone, Up, ""),
        ("-e", None, Up, ""),
        // It refuses EHLO with 500, so it is asked by HELO.
        ("-f ehlo", None, Up, ""),
        ("-w 1 -W connect:2", None, Up, ""),
        ("-r connect", None, Full, "the banner with 450"),
        ("-Q connect", None, Full, "the banner with 421"),
        ("-Q ehlo", None, Full, "EHLO with 421"),
        ("-r rcpt", someone, Full, "RCPT TO with 450"),
        ("-f connect", None, NotServing, "the banner with 500"),
        ("-f ehlo,helo", None, NotServing, "EHLO with 500"),
        ("-f rcpt", someone, NotServing, "RCPT TO with 500"),
        (
            "-q connect",
            None,
            NotServing,
            "closed the connection at the banner",
        ),
        ("-q ehlo", None, NotServing, "closed the connection at EHLO"),
    ];
    for (options, recipient, state, reason) in table {
        let (_server, address) = smtp_sink(options);
        let event = first_event(target(address, *recipient));
        assert_eq!(
            event.state, *state,
            "smtp-sink {options}: {:?}",
            event.reason
        );
        let text = event.reason.unwrap_or_default();
        assert!(text.contains(reason), "smtp-sink {options}: {text}");
    }
}

#[test]
fn a_sink_that_dies_is_down_and_one_that_returns_is_up() {
    if !lbd_tests::root_or_skip("a_sink_that_dies_is_down_and_one_that_returns_is_up") {
        return;
    }
    if !lbd_tests::programs::or_skip(
        "a_sink_that_dies_is_down_and_one_that_returns_is_up",
        &["smtp-sink"],
    ) {
        return;
    }
    let (server, address) = smtp_sink("");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (events, mut told) = mpsc::channel::<Event>(10);
    let mut checkers = Checkers::new(events);
    runtime.block_on(async { checkers.replace([target(address, None)]) });
    let mut next = || {
        let next = async { tokio::time::timeout(PATIENCE, told.recv()).await };
        let event = runtime.block_on(next).expect("an event").unwrap();
        changed(event).state
    };
    assert_eq!(next(), Up);
    drop(server);
    assert_eq!(next(), Down);
    let mut sink = Command::new("smtp-sink");
    sink.args(["-u", "nobody", &address.to_string(), "64"]);
    let _server = Server::start(&mut sink);
    assert_eq!(next(), NotServing, "it answers again, once");
    assert_eq!(next(), Up);
}

const MAIN_CF: &str = "myhostname = mx.lbd.test
mydestination =
local_recipient_maps =
inet_protocols = ipv4
inet_interfaces = 127.0.0.1
smtpd_relay_restrictions = reject
postscreen_greet_wait = 6s
postscreen_greet_action = enforce
postscreen_greet_banner = mx.lbd.test waits
postscreen_cache_map =
postscreen_access_list =
";

const MASTER_CF: &str = "ADDRESS inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
dnsblog unix - - n - 0 dnsblog
tlsproxy unix - - n - 0 tlsproxy
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";

#[test]
fn postscreen_waits_and_postfix_logs_an_ordinary_visit() {
    if !lbd_tests::root_or_skip("postscreen_waits_and_postfix_logs_an_ordinary_visit") {
        return;
    }
    if !lbd_tests::programs::or_skip(
        "postscreen_waits_and_postfix_logs_an_ordinary_visit",
        &["postfix"],
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let address = free_port();
    let master = MASTER_CF.replace("ADDRESS", &address.to_string());
    let postfix = Postfix::start(folder.path(), MAIN_CF, &master).unwrap();

    let event = first_event(target(address, None));
    assert_eq!(event.state, Up, "{:?}\n{}", event.reason, postfix.log());

    wait_until("disconnect", || postfix.log().contains("disconnect from"));
    let log = postfix.log();
    assert!(log.contains("PASS NEW"), "it came past postscreen:\n{log}");
    assert!(log.contains("ehlo=1 quit=1 commands=2"), "{log}");
    for complaint in [
        "PREGREET",
        "HANGUP",
        "lost connection",
        "improper command",
        "warning",
    ] {
        assert!(!log.contains(complaint), "{complaint}:\n{log}");
    }
}
