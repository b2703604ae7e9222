//! No session lost, in figures: real SMTP sessions through deaths, restarts and changes of weights.
//!
//! Each figure has a small form for every run, and the full one by name, with `--ignored`. Several of the
//! small ones may run at a time: each has a lab of its own, and its sessions wait between two messages.
use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{Lab, Spec, addresses},
    postfix::{LongSessions, Sink},
    probe::{Probe, longest_gap},
};

/// What sessions run through.
#[derive(Clone, Copy)]
struct Size {
    sessions: u32,
    messages_each: u32,
    /// Times that something happens to the cluster.
    times: u32,
}

const SMALL: Size = Size {
    sessions: 60,
    messages_each: 12,
    times: 2,
};

/// Skips a test on a machine where it cannot run, with the reason.
fn can_run(test: &str) -> bool {
    lbd_tests::root_or_skip(test)
        && lbd_tests::programs::or_skip(test, &["smtp-source", "smtp-sink"])
}

/// A cluster with sinks behind it, and long sessions through it.
struct Figure {
    // In the order in which they are dropped.
    cluster: Cluster,
    sinks: Vec<Sink>,
    lab: Lab,
    sessions: LongSessions,
    master: usize,
}

impl Figure {
    fn begin(size: Size, settings: Settings) -> Self {
        let lab = Lab::new(&Spec::default()).unwrap();
        let start = |host| Sink::start(host, lab.folder()).unwrap();
        let sinks: Vec<Sink> = lab.nodes.iter().map(start).collect();
        let mut cluster = Cluster::started(&lab, settings).unwrap();
        let master = cluster.wait_ready().unwrap();
        let vip = SocketAddr::new(addresses::VIP4.into(), 25);
        let sessions = LongSessions::start(
            lab.client(),
            vip,
            size.sessions,
            size.messages_each,
            2000,
            2,
        )
        .unwrap();
        let open = |status: &Status| -> u64 {
            let each = status.backends.iter().map(|backend| backend.sessions);
            each.sum()
        };
        cluster
            .wait_status(master, "all sessions are open", |status| {
                open(status) >= u64::from(size.sessions)
            })
            .unwrap();
        Self {
            cluster,
            sinks,
            lab,
            sessions,
            master,
        }
    }

    /// Ends when all messages are sent: none may be lost or doubled, by no session.
    fn end(self, what: &str, size: Size) {
        let (sessions, messages) = (size.sessions, self.sessions.messages);
        let complete = self.sessions.finish(Duration::from_mins(3));
        let sunk = self.sinks.iter().map(|sink| sink.messages().unwrap());
        let arrived: u64 = sunk.map(|by| by.values().sum::<u64>()).sum();
        println!(
            "{what}: {sessions} long sessions, {messages} messages sent, {arrived} arrived; \
             every session {}",
            if complete {
                "ended well"
            } else {
                "DID NOT end well"
            }
        );
        assert!(complete, "a session was lost");
        assert_eq!(arrived, u64::from(messages));
        drop(self.cluster);
        drop(self.lab);
    }
}

fn fast() -> Settings {
    Settings {
        advertisement_interval: "10ms",
        ..Settings::default()
    }
}

fn kill_the_master_again_and_again(size: Size) {
    let mut figure = Figure::begin(size, fast());
    let master = figure.master;
    let mut kills = 0;
    while kills < size.times {
        assert!(
            !figure.sessions.has_ended(),
            "the sessions ended after {kills} deaths"
        );
        figure.cluster.kill(master);
        kills += 1;
        figure.cluster.wait_another_master(master).unwrap();
        figure.cluster.start(master).unwrap();
        figure
            .cluster
            .wait_status(master, "it is back", Status::is_master)
            .unwrap();
    }
    assert!(
        !figure.sessions.has_ended(),
        "the sessions ended before the last return"
    );
    figure.end(&format!("{kills} deaths and returns of the master"), size);
}

#[test]
fn no_session_is_lost_to_deaths_of_the_master() {
    if !can_run("no_session_is_lost_to_deaths_of_the_master") {
        return;
    }
    kill_the_master_again_and_again(SMALL);
}

#[test]
#[ignore = "a minute or two: by name, for the figure"]
fn no_session_of_a_thousand_is_lost_to_ten_deaths_of_the_master() {
    let name = "no_session_of_a_thousand_is_lost_to_ten_deaths_of_the_master";
    if !can_run(name) {
        return;
    }
    let _turn = lbd_tests::turn(name);
    kill_the_master_again_and_again(Size {
        sessions: 1000,
        messages_each: 35,
        times: 10,
    });
}

/// Restarts the master; the last time with the program in `LBD_NEXT_BIN`, if there is one.
fn restart_the_master_again_and_again(size: Size) {
    let mut figure = Figure::begin(size, fast());
    let (master, client) = (figure.master, figure.lab.client().clone());
    let vip = SocketAddr::new(addresses::VIP4.into(), 25);
    let sources = vec![IpAddr::from(client.address4())];
    let probe = Probe::start(&client, sources, vip, Duration::from_millis(5)).unwrap();
    let begun = Instant::now();
    let next = std::env::var_os("LBD_NEXT_BIN");
    for nth in 1..=size.times {
        assert!(
            !figure.sessions.has_ended(),
            "the sessions ended before restart {nth}"
        );
        figure.cluster.hand_over(master).unwrap();
        if let Some(next) = next.as_ref().filter(|_| nth == size.times) {
            figure.cluster.replace_binary(next.into());
        }
        figure.cluster.start(master).unwrap();
        figure
            .cluster
            .wait_status(master, "it is the master still", Status::is_master)
            .unwrap();
    }
    let gap = longest_gap(&probe.finish(), begun, Instant::now()).unwrap();
    let upgraded = if next.is_some() {
        ", the last one an upgrade"
    } else {
        ""
    };
    let times = size.times;
    figure.end(
        &format!("{times} restarts of the master{upgraded}, longest gap between two new sessions of a probe every 5 ms {gap:?}"),
        size,
    );
}

#[test]
fn no_session_is_lost_to_restarts() {
    if !can_run("no_session_is_lost_to_restarts") {
        return;
    }
    restart_the_master_again_and_again(SMALL);
}

#[test]
#[ignore = "a minute: by name, for the figure"]
fn no_session_of_a_thousand_is_lost_to_twenty_restarts() {
    let name = "no_session_of_a_thousand_is_lost_to_twenty_restarts";
    if !can_run(name) {
        return;
    }
    let _turn = lbd_tests::turn(name);
    restart_the_master_again_and_again(Size {
        sessions: 1000,
        messages_each: 25,
        times: 20,
    });
}

/// Runs a command that must not fail; how long it took.
fn ordered(mut command: std::process::Command) -> Duration {
    let begun = Instant::now();
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    begun.elapsed()
}

/// Gives every backend another weight every 100 ms, or as often as a busy machine can.
fn change_weights_again_and_again(size: Size) {
    let mut figure = Figure::begin(size, fast());
    let names: Vec<String> = figure.lab.nodes.iter().map(|n| n.name.clone()).collect();
    let (mut times, begun): (Vec<Duration>, _) = (Vec::new(), Instant::now());
    let every = Duration::from_millis(100);
    for nth in 0.. {
        let next = Instant::now() + every;
        if begun.elapsed() >= every * size.times {
            break;
        }
        assert!(
            !figure.sessions.has_ended(),
            "the sessions ended after {} changes",
            times.len()
        );
        let weights = names.iter().enumerate().map(|(index, name)| {
            let weight = if (nth + index).is_multiple_of(3) {
                "1"
            } else {
                "100"
            };
            figure
                .cluster
                .command(figure.master, &["weight", name, weight])
        });
        let commands: Vec<_> = weights.collect();
        let took = thread::scope(|scope| {
            let run = |command| scope.spawn(move || ordered(command));
            let threads: Vec<_> = commands.into_iter().map(run).collect();
            let took = threads.into_iter().map(|thread| thread.join().unwrap());
            took.collect::<Vec<Duration>>()
        });
        times.extend(took);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let all = begun.elapsed();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    figure.end(
        &format!(
            "{} changes of weights in {all:.1?}, all backends at once; a command takes {:.1?} \
             (median), {:.1?} at most",
            times.len(),
            at(50),
            at(100)
        ),
        size,
    );
}

#[test]
fn no_session_is_lost_to_changes_of_weights() {
    if !can_run("no_session_is_lost_to_changes_of_weights") {
        return;
    }
    change_weights_again_and_again(Size { times: 30, ..SMALL });
}

#[test]
#[ignore = "a minute: by name, for the figure"]
fn no_session_of_a_thousand_is_lost_to_weights_that_change_for_thirty_seconds() {
    let name = "no_session_of_a_thousand_is_lost_to_weights_that_change_for_thirty_seconds";
    if !can_run(name) {
        return;
    }
    let _turn = lbd_tests::turn(name);
    change_weights_again_and_again(Size {
        sessions: 1000,
        messages_each: 25,
        times: 300,
    });
}
