//! What a thousand backends cost the daemon.
use std::{
    fmt::Write,
    fs, thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{Lab, Spec},
    smtp::server::Server,
};
use tokio::{io::AsyncWriteExt, net::TcpListener};

const BACKENDS: u16 = 1000;
/// As it is by default.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long the daemon is watched.
const WATCHED: Duration = Duration::from_secs(30);

/// All of the backends are addresses of one host, with one mail server and one agent for all.
#[test]
#[ignore = "a minute long, and a figure rather than a test"]
fn a_thousand_backends_are_polled_and_checked() {
    let Some(_turn) = lbd_tests::turn("a_thousand_backends_are_polled_and_checked") else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 1,
        sources: BACKENDS,
        ..Spec::default()
    })
    .unwrap();
    let farm = lab.client();
    let _mail = Server::start(farm, None).unwrap();
    farm.runtime(async || {
        let agent = TcpListener::bind(("0.0.0.0", lbd::config::AGENT_CHECK_PORT))
            .await
            .unwrap();
        loop {
            let (mut connection, _) = agent.accept().await.unwrap();
            tokio::spawn(async move { connection.write_all(b"up 75%\n").await });
        }
    })
    .unwrap();
    let settings = Settings {
        stats_interval: "10s",
        health: "{interval: 5s, timeout: 10s}".to_owned(),
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&lab, settings).unwrap();
    let mut config = fs::read_to_string(cluster.config(0)).unwrap();
    for (index, address) in farm.addresses4.iter().enumerate() {
        let stats = "stats: {source: agent-check}";
        let _ = writeln!(
            config,
            "        - {{name: b{index}, address: {address}, weight: 100, {stats}}}"
        );
    }
    fs::write(cluster.config(0), config).unwrap();
    cluster.start(0).unwrap();
    let deadline = Instant::now() + INTERVAL * 6;
    let asked = loop {
        let status = cluster.status(0);
        let answers = |status: &lbd_tests::cluster::Status| {
            let asks = |b: &&lbd_tests::cluster::Backend| b.weight_permille == 75_000;
            status.backends.iter().filter(asks).count()
        };
        let count = status.as_ref().map_or(0, answers);
        if count == usize::from(BACKENDS) || Instant::now() > deadline {
            break count;
        }
        thread::sleep(INTERVAL / 20);
    };
    assert_eq!(asked, usize::from(BACKENDS), "{}", cluster.log(0));
    let pid = cluster.pid(0).unwrap();
    let (began, before) = (Instant::now(), cpu(pid));
    thread::sleep(WATCHED);
    let spent = cpu(pid).saturating_sub(before);
    let percent = spent.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    println!(
        "{BACKENDS} backends, polled every 10 s and checked by SMTP every 5 s: lbd takes {percent:.1} % of a core"
    );
}

/// CPU time that a process has taken (proc(5), /proc/PID/schedstat of all its threads).
fn cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let spent = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}
