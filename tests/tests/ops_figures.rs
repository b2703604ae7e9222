//! What an operator waits for: the answer time of each command with 100 backends and 100,000 flows, a
//! report of a full day, and the dashboard's weight and first paint.
//!
//! `cargo test --workspace --test ops_figures -- --ignored --nocapture` prints a table.
use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aya::maps::MapData;
use lbd::{
    archive::{self, Archive, Bounds},
    dataplane::{mmap::MmapArray, seen},
    flows::{Flows4, Insert, Key4, NewFlow},
    history::{DAY, Reigned, Row, Sample, minute_of},
};
use lbd_common::{
    flow::{Bucket4, flag, state},
    maps,
};
use lbd_tests::{
    browser::Browser,
    cluster::{Cluster, HTTP_PORT, Settings},
    lab::{Lab, Spec},
    smtp::server::Server,
};

const BACKENDS: u16 = 100;
const FLOWS: u32 = 100_000;
const ROUNDS: usize = 7;

/// Yesterday of every backend, minute by minute, with the day before it.
fn fill_history(state: &Path) -> u64 {
    let bounds = Bounds {
        keep: Duration::from_hours(24 * 31),
        most_bytes: 256 << 20,
    };
    let (mut archive, _) = Archive::open(&state.join(archive::FILE), bounds).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let today = minute_of(now.as_secs()) / DAY * DAY;
    for minute in today - 2 * DAY..today {
        let mut rows = vec![Row::Reigned(Reigned {
            node: "mx1".to_owned(),
            since_unix_s: 1_700_000_000,
            minute,
            seconds: 60,
            ..Reigned::default()
        })];
        rows.extend((0..BACKENDS).map(|index| {
            Row::Sample(Sample {
                node: "mx1".to_owned(),
                since_unix_s: 1_700_000_000,
                minute,
                backend: format!("b{index}"),
                seconds: 60,
                opened: u64::from(200 + minute % 60),
                bytes: 9_000_000,
                sessions: 40,
                sessions_max: 60,
                sources: 30,
                queued: Some(minute % 500),
                weight_permille: 100_000,
                off_s: u8::from(minute % 700 == u32::from(index)),
                reason: "normal".to_owned(),
            })
        }));
        archive.write(&rows).unwrap();
    }
    archive.used_bytes().unwrap()
}

/// Puts flows into the tables of a daemon that runs.
fn fill_flows(pin_dir: &Path, buckets: usize) {
    let pinned = |name: &str| {
        let found = ["maps", ""].map(|folder| pin_dir.join(folder).join(name));
        let path = found.iter().find(|path| path.exists());
        MapData::from_pin(path.expect(name)).unwrap()
    };
    let (table, load) = (pinned(maps::FLOWS4), pinned(maps::LOAD));
    let table: MmapArray<Bucket4> =
        MmapArray::map(std::os::fd::AsFd::as_fd(table.fd()), buckets).unwrap();
    let load: MmapArray<u64> = MmapArray::map(
        std::os::fd::AsFd::as_fd(load.fd()),
        maps::MAX_BACKENDS as usize,
    )
    .unwrap();
    let flows: Flows4<'_> = Flows4::new(table.words(), load.words());
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let now = seen(
        Duration::from_secs_f64(seconds)
            .as_nanos()
            .try_into()
            .unwrap(),
    );
    for number in 0..FLOWS {
        let key = Key4 {
            source: Ipv4Addr::from_bits(0x0a10_0000 + number / 4),
            port: u16::try_from(1024 + number % 4).unwrap(),
            vip_id: 1,
        };
        let flow = NewFlow {
            backend: u16::try_from(number % u32::from(BACKENDS)).unwrap(),
            state: state::ESTABLISHED,
            flags: flag::COUNTED,
        };
        let _: Insert = flows.insert(key, flow, now);
    }
}

/// A running node with everything in it.
fn full() -> (Lab, Server, Cluster) {
    let lab = Lab::new(&Spec {
        nodes: 1,
        sources: BACKENDS,
        ..Spec::default()
    })
    .unwrap();
    let mail = Server::start(lab.client(), None).unwrap();
    let settings = Settings {
        http: true,
        stats_interval: "10s",
        health: "{interval: 5s, timeout: 10s}".to_owned(),
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&lab, settings).unwrap();
    let mut config = fs::read_to_string(cluster.config(0)).unwrap();
    for (index, address) in lab.client().addresses4.iter().enumerate() {
        let address = IpAddr::from(*address);
        let _ = writeln!(
            config,
            "        - {{name: b{index}, address: {address}, weight: 100, stats: {{source: none}}}}"
        );
    }
    fs::write(cluster.config(0), config).unwrap();
    let state = cluster.config(0).with_file_name("state");
    let bytes = fill_history(&state);
    println!("history of two days of {BACKENDS} backends: {bytes} bytes");
    cluster.start(0).unwrap();
    cluster
        .wait_status(0, "master", lbd_tests::cluster::Status::is_master)
        .unwrap();
    // 100,000 flows in the configuration: two slots each, four in a bucket.
    fill_flows(cluster.pin_dir(0), 50_000_usize.next_power_of_two());
    let held = |status: &lbd_tests::cluster::Status| {
        let sessions: u64 = status.backends.iter().map(|one| one.sessions).sum();
        sessions > u64::from(FLOWS) * 9 / 10
    };
    cluster.wait_status(0, "the flows are there", held).unwrap();
    (lab, mail, cluster)
}

#[test]
#[ignore = "half a minute long, and figures rather than a test"]
fn every_command_answers_and_the_dashboard_is_light() {
    let Some(_turn) = lbd_tests::turn("every_command_answers_and_the_dashboard_is_light") else {
        return;
    };
    let (lab, _mail, cluster) = full();
    let commands: [&[&str]; 13] = [
        &["check"],
        &["status"],
        &["status", "--json"],
        &["explain"],
        &["explain", "b7"],
        &["flows"],
        &["flows", "--by-source", "--limit", "20"],
        &["flows", "--backend", "b7", "--json"],
        &["access", "10.16.0.1"],
        &["weight", "b7", "50"],
        &["undrain", "b7"],
        &["report", "--day", "yesterday"],
        &["report", "--day", "yesterday", "--json"],
    ];
    println!("{BACKENDS} backends, {FLOWS} flows; milliseconds, start of the process included");
    println!("| command | median of {ROUNDS} | most |\n|---|---|---|");
    for arguments in commands {
        let mut took: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                // Orders are done twenty times a second, all that came meanwhile together: a person's
                // does not come within 50 ms of another.
                if matches!(arguments[0], "weight" | "undrain") {
                    thread::sleep(Duration::from_millis(150));
                }
                let begun = Instant::now();
                // Yesterday of UTC, which the history was made of.
                let output = cluster.command(0, arguments).env("TZ", "UTC").output();
                let output = output.unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{arguments:?}: {said}");
                begun.elapsed()
            })
            .collect();
        took.sort_unstable();
        let ms = |took: Duration| took.as_secs_f64() * 1000.0;
        println!(
            "| `lbd {}` | {:.1} | {:.1} |",
            arguments.join(" "),
            ms(took[ROUNDS / 2]),
            ms(took[ROUNDS - 1])
        );
    }
    let page = lab.folder().join("report.html");
    let file = format!("--html={}", page.display());
    let begun = Instant::now();
    let mut command = cluster.command(0, &["report", "--day", "yesterday", &file]);
    assert!(command.env("TZ", "UTC").status().unwrap().success());
    println!(
        "| `lbd report --html` | {:.1} | {} KB |",
        begun.elapsed().as_secs_f64() * 1000.0,
        fs::metadata(&page).unwrap().len() / 1000
    );
    dashboard(&lab, &page);
}

/// The page as a browser has it.
fn dashboard(lab: &Lab, report: &Path) {
    let profile = lab.folder().join("browser");
    let mut page = Browser::start(lab.client(), &profile).unwrap();
    let address = lab.nodes[0].address4();
    page.open(&format!("http://{address}:{HTTP_PORT}/"))
        .unwrap();
    let painted = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0";
    page.wait(&format!("({painted}) > 0")).unwrap();
    let first = page.evaluate(painted).unwrap().as_f64().unwrap();
    let weight = "performance.getEntriesByType('navigation')[0].transferSize";
    let weight = page.evaluate(weight).unwrap().as_u64().unwrap();
    println!(
        "dashboard: {:.1} KB, first paint after {first:.0} ms",
        f64::from(u32::try_from(weight).unwrap()) / 1000.0
    );
    assert!(weight < 300_000, "{weight} bytes");
    // The report on a desk and on a phone: nothing is wider than the screen.
    page.open(&format!("file://{}", report.display())).unwrap();
    for (width, height) in [(1280, 900), (390, 844)] {
        page.resize(width, height).unwrap();
        thread::sleep(Duration::from_millis(200));
        let wide = page
            .evaluate("document.documentElement.scrollWidth")
            .unwrap();
        assert!(
            wide.as_u64().unwrap() <= u64::from(width),
            "{wide} of {width}"
        );
    }
    println!("report page: fits 1280 and 390 pixels of width");
}
