//! A day's report through a failover: the new master has the old one's part, and who was away gets it.
use std::{
    fs,
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{Host, Lab, Spec, addresses},
    smtp::{
        client::{self, Session, served_by},
        server::Server,
    },
};
use serde_json::Value;

/// A minute's rows are told every ten seconds, and digests compared every thirty.
const PATIENCE: Duration = Duration::from_mins(3);

/// A time zone in which it is noon, so that no test is at midnight.
fn noon() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let hour = i64::try_from(now.as_secs() / 3600 % 24).unwrap();
    // POSIX counts to the west.
    format!("LOC{}", hour - 12)
}

fn report(cluster: &Cluster, node: usize) -> Result<Value, String> {
    let mut command = cluster.command(node, &["report", "--json"]);
    let output = command.env("TZ", noon()).output().unwrap();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn sessions(report: &Value) -> u64 {
    report["total"]["sessions"].as_u64().unwrap()
}

/// Waits until a node's report counts so many sessions.
fn wait_sessions(cluster: &Cluster, node: usize, expected: u64) -> Value {
    let begun = Instant::now();
    loop {
        let report = report(cluster, node);
        if let Ok(report) = &report
            && sessions(report) == expected
        {
            return report.clone();
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "not {expected} sessions: {:?}\n{}",
            report.map(|report| (report["total"].clone(), report["masters"].clone())),
            cluster.log(node)
        );
        thread::sleep(Duration::from_millis(500));
    }
}

fn serve(client: &Host, count: usize) {
    let vip = SocketAddr::new(addresses::VIP4.into(), 25);
    let sources = client.addresses4.iter().cycle().take(count);
    let sessions = sources.map(|source| Session::new(IpAddr::from(*source), vip));
    served_by(client, sessions.collect()).unwrap();
}

/// Tries a session that is to fail.
fn be_denied(client: &Host, source: IpAddr) {
    let session = Session {
        patience: Duration::from_millis(1500),
        ..Session::new(source, SocketAddr::new(addresses::VIP4.into(), 25))
    };
    let work = async move || client::run(&session).await;
    let outcome = client.runtime(work).unwrap().join().unwrap().unwrap();
    assert!(
        !matches!(outcome, client::Outcome::Served { .. }),
        "{outcome}"
    );
}

fn done(cluster: &Cluster, node: usize, arguments: &[&str]) {
    let output = cluster.lbd(node, arguments).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn a_new_master_reports_the_old_ones_part_too_and_who_was_away_gets_all() {
    let name = "a_new_master_reports_the_old_ones_part_too_and_who_was_away_gets_all";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 2,
        sources: 4,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let (old, new) = (0, 1);
    let (old_name, new_name) = (&lab.nodes[old].name, &lab.nodes[new].name);
    let client = lab.client();

    // The old master's part: sessions, a backend out of service, a denied source.
    serve(client, 40);
    done(&cluster, old, &["drain", new_name]);
    let denied = IpAddr::from(client.addresses4[1]);
    done(&cluster, old, &["deny", &denied.to_string()]);
    be_denied(client, denied);
    thread::sleep(Duration::from_secs(3));
    done(&cluster, old, &["undeny", &denied.to_string()]);
    done(&cluster, old, &["undrain", new_name]);
    wait_sessions(&cluster, old, 40);
    // What the last ten seconds had.
    thread::sleep(Duration::from_secs(11));

    cluster.kill(old);
    cluster
        .wait_status(new, "master", Status::is_master)
        .unwrap();
    thread::sleep(Duration::from_secs(2));
    serve(client, 25);
    let told = wait_sessions(&cluster, new, 65);
    let masters: Vec<(&str, u64)> = told["masters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let node = one["node"].as_str().unwrap();
            (node, one["sessions"].as_u64().unwrap())
        })
        .collect();
    // A higher priority may have come a moment later: what counts is who was last, and how much.
    assert_eq!(masters.last().unwrap(), &(new_name.as_str(), 25));
    let of_old = masters.iter().filter(|(node, _)| node == old_name);
    assert_eq!(of_old.map(|(_, count)| count).sum::<u64>(), 40);
    let failover = told["failovers"].as_array().unwrap().last().unwrap();
    assert_eq!(failover["from"], old_name.as_str(), "{failover}");
    assert_eq!(failover["to"], new_name.as_str(), "{failover}");
    assert_eq!(told["two_masters"], Value::Array(Vec::new()));
    let shut_offs = told["shut_offs"].as_array().unwrap();
    let drained = |one: &&Value| one["backend"] == new_name.as_str() && one["lasts"] == false;
    let drained = shut_offs.iter().find(drained).unwrap();
    let why = drained["reason"].as_str().unwrap();
    assert!(why.contains("drained by the operator"), "{drained}");
    assert_eq!(drained["reason_kind"], "drained");
    let sources = told["denied"].as_array().unwrap();
    let source = sources
        .iter()
        .find(|one| one["source"] == denied.to_string());
    let frames = source.unwrap()["frames"].as_u64().unwrap();
    assert!(frames > 0 && frames == told["total"]["denied"].as_u64().unwrap());
    println!("the new master's report has {masters:?} and {frames} denied frames");

    // Another 10 sessions while the old one is away; it has lost its own part too.
    serve(client, 10);
    wait_sessions(&cluster, new, 75);
    let state = cluster.config(old).with_file_name("state");
    for file in ["history.db", "history.db-wal", "history.db-shm"] {
        let _ = fs::remove_file(state.join(file));
    }
    let begun = Instant::now();
    cluster.start(old).unwrap();
    let again = wait_sessions(&cluster, old, 75);
    println!(
        "a node that was away, and had lost its file, had the whole day after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let both = |report: &Value| {
        let masters = report["masters"].as_array().unwrap().iter();
        let name = |one: &Value| one["node"].as_str().unwrap().to_owned();
        let names: std::collections::BTreeSet<String> = masters.map(name).collect();
        names.len()
    };
    assert_eq!(both(&again), 2);

    // With all daemons down it answers all the same, as text and page.
    cluster.kill(old);
    cluster.kill(new);
    assert!(sessions(&report(&cluster, new).unwrap()) >= 75);
    let words = [old_name.as_str(), "Failovers", &denied.to_string(), "<svg"];
    renders(&lab, &cluster, new, &words);
}

/// Text and page of a node whose daemon is down; the page has these words.
fn renders(lab: &Lab, cluster: &Cluster, new: usize, words: &[&str]) {
    let page = lab.folder().join("report.html");
    let file = format!("--html={}", page.display());
    let mut command = cluster.command(new, &["report", &file]);
    assert!(command.env("TZ", noon()).status().unwrap().success());
    let html = fs::read_to_string(&page).unwrap();
    for word in words {
        assert!(html.contains(word), "{word}");
    }
    let mut command = cluster.command(new, &["report"]);
    let text = command.env("TZ", noon()).output().unwrap();
    print!("{}", String::from_utf8_lossy(&text.stdout));
    let mut command = cluster.command(new, &["report", "--day", "2001-01-01"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("there is no report for 2001-01-01"), "{said}");
    if let Some(keep) = std::env::var_os("LBD_KEEP_REPORT") {
        fs::copy(&page, keep).unwrap();
    }
}
