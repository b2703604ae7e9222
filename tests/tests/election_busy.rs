//! Real daemons on a busy box: no false takeover.
use std::{process::Stdio, thread, time::Duration};

use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{Host, Lab, Process, Spec},
    smtp::server::Server,
};

/// Spinning processes of ordinary priority, ended with this handle.
struct Load(Vec<Process>);

impl Load {
    fn start(host: &Host, count: usize) -> Self {
        let spin = |_| {
            let mut command = host.command("sh");
            command.args(["-c", "while :; do :; done"]);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            host.spawn(&mut command).unwrap()
        };
        Self((0..count).map(spin).collect())
    }
}

/// For `LBD_BUSY_SECONDS`, or 5.
#[test]
fn real_daemons_keep_their_roles_beside_64_spinning_processes() {
    let name = "real_daemons_keep_their_roles_beside_64_spinning_processes";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 2,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        advertisement_interval: "100ms",
        ..Settings::default()
    };
    let cluster = Cluster::started(&lab, settings).unwrap();
    let counted = |when: &str| {
        [0, 1].map(|index| {
            let counters = cluster.status(index).unwrap().election_counters;
            let figures = ["takeovers", "leases_lost", "late_timers", "yields"];
            let figures = figures.map(|name| (name, counters[name]));
            println!("{when}, node {index}: {figures:?}");
            counters
        })
    };
    // What the start cost, while everything else starts too.
    counted("at the start");
    thread::sleep(Duration::from_secs(2));
    let before = counted("2 s later");
    let seconds = std::env::var("LBD_BUSY_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok());
    let load = Load::start(&lab.nodes[0], 64);
    thread::sleep(Duration::from_secs(seconds.unwrap_or(5)));
    let spun = load.0.len();
    drop(load);
    let after = counted(&format!("next to {spun} spinning processes"));
    let more = |index: usize, counter: &str| after[index][counter] - before[index][counter];
    // A master that got no processor for three intervals has lost its lease and is rightly replaced.
    assert!(more(1, "takeovers") <= more(0, "leases_lost"));
}
