//! `lbd trace` on a cluster: the worked cases of OPERATIONS.md, and what a trace must not change.
use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    os::unix::{fs::MetadataExt as _, process::ExitStatusExt as _},
    path::PathBuf,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use aya::programs::loaded_programs;
use lbd_tests::{
    cluster::{Cluster, HTTP_PORT, Settings, Status},
    lab::{INTERFACE, Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
    trace::{Trace, is_traced},
    until,
};
use serde_json::Value;

const VIP: IpAddr = IpAddr::V4(addresses::VIP4);

struct World {
    lab: Lab,
    _servers: Vec<Server>,
    cluster: Cluster,
    master: usize,
}

impl World {
    fn of_ipv4() -> Self {
        Self::new(Settings {
            ipv6: false,
            ..Settings::default()
        })
    }

    fn new(settings: Settings) -> Self {
        let lab = Lab::new(&Spec::default()).unwrap();
        let servers = Server::start_all(&lab.nodes).unwrap();
        let mut cluster = Cluster::started(&lab, settings).unwrap();
        let master = cluster.wait_ready().unwrap();
        Self {
            lab,
            _servers: servers,
            cluster,
            master,
        }
    }

    fn lbd(&self, arguments: &[&str]) -> String {
        let output = self.cluster.lbd(self.master, arguments).unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The program on the master's interface is the traced one.
    fn is_traced(&self) -> bool {
        is_traced(&self.lab.nodes[self.master])
    }

    fn trace(&self, arguments: &[&str]) -> Trace {
        Trace::begin(&self.lab.nodes, &self.cluster, self.master, arguments)
    }
}

fn connects(lab: &Lab, vip: IpAddr) -> bool {
    let address = SocketAddr::new(vip, 25);
    let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(2));
    lab.client().inside(connect).unwrap().is_ok()
}

#[test]
fn a_denied_and_a_drained_case_are_told_and_the_ordinary_program_comes_back() {
    let name = "a_denied_and_a_drained_case_are_told_and_the_ordinary_program_comes_back";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let world = World::of_ipv4();
    let client = world.lab.client().address4().to_string();
    let mut held = Held::open_to(world.lab.client(), VIP, 12).unwrap();

    // Drained: the open session stays, a new one goes elsewhere.
    let drained = held.iter().position(|held| held.by() == "mx2").unwrap();
    let port = held[drained].source().unwrap().port().to_string();
    world.lbd(&["drain", "mx2"]);
    let trace = world.trace(&[&client, "--port", &port, "--count", "1", "--for", "20s"]);
    held[drained].check().unwrap();
    let lines = trace.lines();
    assert!(
        lines[0].contains(&format!("{client}:{port} > {VIP}:25 "))
            && lines[0].contains("established session with mx2, which takes no new ones; "),
        "{lines:?}"
    );
    assert_eq!(lines[1], "1 frames; as many as were asked for");
    until("the ordinary program is back", || !world.is_traced());

    let trace = world.trace(&[&client, "--count", "1", "--for", "20s"]);
    let new = Held::open(world.lab.client(), VIP).unwrap();
    let lines = trace.lines();
    let takes = format!("takes {}; ", new.by());
    assert!(
        lines[0].contains(" SYN: no session; allowed; candidate") && lines[0].contains(&takes),
        "{lines:?}"
    );
    assert_ne!(new.by(), "mx2");
    world.lbd(&["undrain", "mx2"]);

    // Denied, as JSON.
    drop(held);
    world.lbd(&["deny", &client]);
    let trace = world.trace(&["--vip", &VIP.to_string(), "--for", "3s", "--json"]);
    assert!(!connects(&world.lab, VIP));
    let lines = trace.lines();
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let denied = lines
        .iter()
        .map(|line| &line["frame"])
        .find(|frame| frame["flags"] == serde_json::json!(["SYN"]))
        .unwrap();
    assert_eq!(denied["action"], "dropped", "{denied}");
    assert_eq!(denied["counted"], serde_json::json!(["drop_denied"]));
    assert_eq!(denied["stages"][1], format!("denied by {client}/32"));
    let end = &lines.last().unwrap()["end"];
    assert_eq!(end["why"], "the time is up", "{end}");
    assert_eq!(end["left_out"], 0, "{end}");
}

#[test]
fn a_trace_ends_with_its_reader_and_one_runs_at_a_time() {
    let name = "a_trace_ends_with_its_reader_and_one_runs_at_a_time";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let world = World::of_ipv4();
    let trace = world.trace(&["--for", "1h"]);
    let second = world.cluster.lbd(world.master, &["trace"]).unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        !second.status.success() && said.contains("one at a time"),
        "{said}"
    );
    // The reader is killed; no frame comes that could tell the daemon.
    drop(trace);
    until("it ended with its reader", || !world.is_traced());

    // ^C, as a person ends it.
    let trace = world.trace(&["--for", "1h"]);
    let mut held = Held::open(world.lab.client(), VIP).unwrap();
    trace.wait_told(&[" SYN: "], 1);
    let (status, _) = trace.interrupt();
    assert_eq!(status.signal(), Some(libc::SIGINT), "{status}");
    until("^C ended it", || !world.is_traced());
    held.check().unwrap();

    // `lbd trace | head -1`.
    let mut command = world
        .cluster
        .command(world.master, &["trace", "--for", "1h"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the traced program runs", || world.is_traced());
    let mut held = Held::open(world.lab.client(), VIP).unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(first.contains(" SYN: "), "{first}");
    until("it ends when its output is closed", || {
        held.check().unwrap();
        child.try_wait().unwrap().is_some()
    });
    let mut errors = String::new();
    let stderr = child.stderr.as_mut().unwrap();
    stderr.read_to_string(&mut errors).unwrap();
    assert!(
        child.wait().unwrap().success() && !errors.contains("roken"),
        "{errors}"
    );
    until("it ended with its reader", || !world.is_traced());

    // No trace without an end.
    for (arguments, part) in [
        (["--for", "2h"], "an hour"),
        (["--for", "0s"], "a second or more"),
    ] {
        let refused = world
            .cluster
            .command(world.master, &["trace", arguments[0], arguments[1]])
            .output()
            .unwrap();
        assert!(!refused.status.success(), "{part}: {refused:?}");
    }
}

#[test]
fn only_who_may_use_the_control_socket_may_trace() {
    let name = "only_who_may_use_the_control_socket_may_trace";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let world = World::new(Settings {
        ipv6: false,
        http: true,
        ..Settings::default()
    });
    let node = &world.lab.nodes[world.master];
    let text = fs::read_to_string(world.cluster.config(world.master)).unwrap();
    let control = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("control: "));
    let socket = fs::metadata(control.unwrap()).unwrap();
    // Its owner alone: connect(2) asks for the right to write.
    assert_eq!((socket.uid(), socket.mode() & 0o777), (0, 0o600));

    // What listens to others takes no such order.
    let address = SocketAddr::new(node.address4().into(), HTTP_PORT);
    for path in ["/trace", "/api/trace"] {
        let body = r#"{"for_s": 30}"#;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        let answer = node.inside(|| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 40"), "{path}: {answer}");
        assert!(!world.is_traced(), "{path}");
    }
}

#[test]
fn a_daemon_that_is_killed_leaves_a_silent_program_and_its_sessions() {
    let name = "a_daemon_that_is_killed_leaves_a_silent_program_and_its_sessions";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut world = World::of_ipv4();
    let mut held = Held::open_to(world.lab.client(), VIP, 12).unwrap();
    let mut trace = world.trace(&["--for", "1h"]);
    world.cluster.kill(world.master);
    assert!(
        !trace.child().wait().unwrap().success(),
        "it says that it was cut short"
    );
    assert!(
        world.is_traced(),
        "the links keep the program that they have"
    );
    assert_eq!(survivors(&mut held), 12, "without a daemon");
    world.cluster.start(world.master).unwrap();
    until("the next daemon brings the ordinary program back", || {
        !world.is_traced()
    });
    world
        .cluster
        .wait_status(world.master, "running again", |status: &Status| {
            !status.backends.is_empty()
        })
        .unwrap();
    assert_eq!(survivors(&mut held), 12, "with the next daemon");

    // One that stops in good order brings it back itself.
    let again = world.cluster.wait_ready().unwrap();
    world.master = again;
    let trace = world.trace(&["--for", "1h"]);
    world.cluster.hand_over(world.master).unwrap();
    until("handed over without the trace", || !world.is_traced());
    drop(trace);
}

#[test]
fn a_trace_goes_on_when_the_program_is_attached_anew() {
    let name = "a_trace_goes_on_when_the_program_is_attached_anew";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let world = World::of_ipv4();
    let mut held = Held::open_to(world.lab.client(), VIP, 12).unwrap();
    let trace = world.trace(&["--for", "1h"]);
    let pins = world.cluster.pin_dir(world.master);
    let link = pins.join(format!("link_{INTERFACE}"));
    world.lab.disable_xdp_of(&link).unwrap();
    assert!(!world.is_traced());
    // Found by the frames that came meanwhile and that it saw none of.
    let patience = Instant::now() + Duration::from_mins(1);
    let log = || world.cluster.log(world.master);
    while !log().contains("the XDP program is attached again") {
        assert!(Instant::now() < patience, "it was not attached anew");
        thread::sleep(Duration::from_millis(100));
    }
    until("the traced program is back", || world.is_traced());
    assert_eq!(survivors(&mut held), 12);
    // Without a program that runs the box is no master, and another one gets what begins.
    world
        .cluster
        .wait_status(world.master, "master again", Status::is_master)
        .unwrap();
    let new = Held::open(world.lab.client(), VIP).unwrap();
    let port = new.source().unwrap().port();
    trace.wait_told(&[&format!(":{port} > {VIP}:25 SYN: ")], 1);
    let _ = trace.interrupt();
    until("the ordinary program is back", || !world.is_traced());
    assert_eq!(survivors(&mut held), 12);
}

#[test]
fn a_backend_without_a_mac_is_named() {
    let name = "a_backend_without_a_mac_is_named";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    // A director before one backend that has not been switched on yet.
    let lab = Lab::new(&Spec::default()).unwrap();
    let mut cluster = Cluster::new(
        &lab,
        Settings {
            ipv6: false,
            ..Settings::default()
        },
    )
    .unwrap();
    let written = fs::read_to_string(cluster.config(0)).unwrap();
    let (head, _) = written.split_once("  sites:\n").unwrap();
    let mut text = String::new();
    for line in head.lines() {
        let line = match line.trim_start().split(':').next() {
            Some("name") => "  name: lb1",
            Some("stats") => "  stats: {interval: 1s, source: none}",
            _ => line,
        };
        text.push_str(line);
        text.push('\n');
    }
    let absent = lab.nodes[2].address4();
    lab.nodes[2]
        .ip(&format!("link set {INTERFACE} down"))
        .unwrap();
    text.push_str("  sites:\n    - name: inside\n      backends:\n");
    let _ = writeln!(text, "        - {{name: late, address: \"{absent}\"}}");
    fs::write(cluster.config(0), text).unwrap();
    cluster.start(0).unwrap();
    cluster.wait_status(0, "master", Status::is_master).unwrap();
    let world = World {
        lab,
        _servers: Vec::new(),
        cluster,
        master: 0,
    };
    let trace = world.trace(&["--count", "1", "--for", "20s"]);
    assert!(!connects(&world.lab, VIP));
    let lines = trace.lines();
    assert!(
        lines[0].contains(
            "late, whose MAC is not known yet; the backend's MAC is not known yet; dropped"
        ),
        "{lines:?}"
    );
}

/// By name, since it lasts: `cargo test -p lbd-tests --test trace -- --ignored --nocapture`.
#[test]
#[ignore = "takes a minute: 1,000 swaps under traffic"]
fn no_session_is_lost_in_1000_swaps() {
    const SWAPS: usize = 1000;
    let name = "no_session_is_lost_in_1000_swaps";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    // Both families: the senders use both.
    let world = World::new(Settings::default());
    let client = world.lab.client();
    let mut held = Held::open_to(client, VIP, 40).unwrap();
    // The very programs that the daemon has: the pinned one, and the one of a trace that goes on.
    let _trace = world.trace(&["--for", "1h"]);
    let pins = world.cluster.pin_dir(world.master);
    let link: PathBuf = pins.join(format!("link_{INTERFACE}"));
    let pin = pins.join("program");
    let plain = aya::programs::ProgramInfo::from_pin(&pin)
        .unwrap()
        .fd()
        .unwrap();
    let traced = loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.name_as_str() == Some("lbd_traced"))
        .unwrap()
        .fd()
        .unwrap();
    let traffic = lbd_tests::smtp::traffic::Traffic::start(client, 40).unwrap();
    let begun = Instant::now();
    for turn in 0..SWAPS {
        let program = if turn % 2 == 0 { &plain } else { &traced };
        lbd_tests::lab::swap_program(&link, program).unwrap();
        if turn % 25 == 24 {
            assert_eq!(survivors(&mut held), 40, "after {turn} swaps");
        }
    }
    let took = begun.elapsed();
    assert!(world.is_traced(), "the last swap was to the traced program");
    traffic.begin_no_more();
    until("the traffic is over", || traffic.is_over());
    let tally = traffic.tally();
    let failures: Vec<&str> = tally.failures().map(|(_, how)| how).collect();
    println!(
        "{SWAPS} swaps in {took:?}: 40 held sessions, {} others begun, {} completed, {} failed",
        tally.started, tally.completed, tally.failed
    );
    assert!(tally.failed == 0 && tally.completed > 0, "{failures:?}");
    assert_eq!(survivors(&mut held), 40);
}
