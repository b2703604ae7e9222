//! How many new flows a second the stream to the peers keeps up with, and what each costs.
use std::{
    fs,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use aya::{
    TestRunOptions,
    programs::{TestRun as _, Xdp},
};
use aya_obj::programs::XdpAttachType;
use lbd::{dataplane::vips::preferred_id, flows::Key4};
use lbd_tests::{
    cluster::{Cluster, PATIENCE, Settings},
    lab::{Lab, Spec, addresses},
    smtp::server::Server,
    tables::Tables,
    xdp::packet::{ACK, FIN, SYN, v4},
};

/// Binds the calling thread to a CPU: the program counts a flood on each by itself.
fn stay_on(cpu: usize) {
    // SAFETY: a set of CPUs is plain bits; 0 names the calling thread.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// Sessions of three frames each: a client's SYN, ACK and FIN. Peers are told of the first two; of the
/// end only the backend's own kernel tells, and no backend has a socket of these.
fn frames(network: u32, count: u32) -> Vec<Vec<u8>> {
    let frame = |nth: u32, flags| {
        v4(flags)
            .from4(Ipv4Addr::from(0x0a4e_0000 + (network << 8) + nth / 20_000))
            .from_port(10_000 + u16::try_from(nth % 20_000).unwrap())
            .to4(addresses::VIP4)
            .bytes()
    };
    let session = |nth| [SYN, ACK, FIN | ACK].map(|flags| frame(nth, flags));
    (0..count).flat_map(session).collect()
}

/// Runs sessions through the pinned program of a node on two CPUs, as fast as asked.
fn sessions(program: &Xdp, count: u32, per_second: u32) -> Duration {
    let both = [0, 1].map(|network| frames(network, count / 2));
    run_both(program, &both, per_second)
}

fn run_both(program: &Xdp, both: &[Vec<Vec<u8>>; 2], per_second: u32) -> Duration {
    let begun = Instant::now();
    thread::scope(|scope| {
        for (cpu, frames) in both.iter().enumerate() {
            scope.spawn(move || {
                stay_on(cpu);
                run(program, frames, per_second / 2);
            });
        }
    });
    begun.elapsed()
}

fn run(program: &Xdp, frames: &[Vec<u8>], per_second: u32) {
    let begun = Instant::now();
    for (nth, session) in (1..).zip(frames.chunks(3)) {
        for frame in session {
            run_one(program, frame);
        }
        let due = begun + Duration::from_secs(1) * nth / per_second;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn run_one(program: &Xdp, frame: &[u8]) {
    let mut out = [0; 256];
    program
        .test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        })
        .unwrap();
}

/// CPU time of the threads of that name in a process, in ticks of a hundredth of a second.
fn ticks(pid: u32, thread: &str) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("stat")).ok());
    let of_thread = stats.filter(|stat| stat.contains(&format!("({thread})")));
    let ticks = of_thread.map(|stat| {
        let after = stat.rsplit(')').next().unwrap_or_default();
        let mut fields = after
            .split_whitespace()
            .skip(11)
            .map(|n| n.parse().unwrap_or(0));
        fields.next().unwrap_or(0) + fields.next().unwrap_or(0)
    });
    ticks.sum()
}

fn stream(count: u32, per_second: u32) {
    let Stream {
        ref cluster,
        ref program,
        master,
        backup,
        ..
    } = Stream::begin(Settings::default());
    let of = |cluster: &Cluster, node: usize| cluster.status(node).unwrap().channel.counters;
    let (before, known) = (of(cluster, master), of(cluster, backup));
    let (sender, receiver) = (cluster.pid(master).unwrap(), cluster.pid(backup).unwrap());
    let cpu = || (ticks(sender, "lbd-channel"), ticks(receiver, "lbd-channel"));
    let cpu_before = cpu();
    let took = sessions(program, count, per_second);
    let told = u64::from(count);
    let status = cluster
        .wait_status(
            backup,
            "every flow came, and once more when its client answered",
            |status| {
                let now = &status.channel.counters;
                now["flows_inserted"] - known["flows_inserted"] >= told
                    && now["flows_known"] - known["flows_known"] >= told
            },
        )
        .unwrap();
    let (cpu, after) = (cpu(), of(cluster, master));
    let per_flow_us =
        |ticks: u64| f64::from(u32::try_from(ticks).unwrap()) * 1e4 / f64::from(count);
    let bytes = after["bytes_sent"] - before["bytes_sent"];
    println!(
        "{count} sessions in {took:.2?}, {:.0} new flows a second, each told to two peers: \
         {:.1} us of the sender's channel thread and {:.1} us of a receiver's a session, \
         {:.1} bytes a session and peer; lost {}, tables asked for {}",
        f64::from(count) / took.as_secs_f64(),
        per_flow_us(cpu.0 - cpu_before.0),
        per_flow_us(cpu.1 - cpu_before.1),
        f64::from(u32::try_from(bytes).unwrap()) / f64::from(count) / 2.0,
        status.channel.counters["lost"] - known["lost"],
        status.channel.counters["tables_asked"] - known["tables_asked"],
    );
    assert_eq!(status.channel.counters["refused_flood"], 0);
    let counters = cluster.status(master).unwrap().counters;
    assert_eq!(counters["event_lost"], 0);
    assert_eq!(counters["flow_no_room"], 0);
}

#[test]
fn the_stream_carries_every_flow() {
    let Some(_turn) = lbd_tests::turn("the_stream_carries_every_flow") else {
        return;
    };
    stream(5_000, 2_000);
}

#[test]
#[ignore = "a figure: by name, with a release build in LBD_BIN"]
fn the_stream_carries_every_flow_as_fast_as_they_come() {
    let name = "the_stream_carries_every_flow_as_fast_as_they_come";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    stream(60_000, 25_000);
}

/// The flow of a session of [`frames`].
fn key(network: u32, nth: u32) -> Key4 {
    Key4 {
        source: (0x0a4e_0000 + (network << 8) + nth / 20_000).into(),
        port: 10_000 + u16::try_from(nth % 20_000).unwrap(),
        vip_id: preferred_id((addresses::VIP4, 25).into()),
    }
}

/// A cluster of which one node is about to be told of many sessions.
struct Stream {
    // In the order in which they are dropped.
    cluster: Cluster,
    program: Xdp,
    _servers: Vec<Server>,
    _lab: Lab,
    master: usize,
    backup: usize,
}

impl Stream {
    fn begin(settings: Settings) -> Self {
        let lab = Lab::new(&Spec::default()).unwrap();
        let start = |node| Server::start(node, None).unwrap();
        let servers: Vec<Server> = lab.nodes.iter().map(start).collect();
        let mut cluster = Cluster::started(&lab, settings).unwrap();
        let master = cluster.wait_ready().unwrap();
        let pin = cluster.pin_dir(master).join("program");
        let program = Xdp::from_pin(pin, XdpAttachType::Interface).unwrap();
        Self {
            cluster,
            program,
            _servers: servers,
            _lab: lab,
            master,
            backup: (master + 1) % 3,
        }
    }
}

/// More than the program's buffer takes while its reader is held up: what is lost is counted, and
/// repaired by the table.
fn beyond(count: u32) {
    let mut the = Stream::begin(Settings {
        // The lease is to outlast the pause.
        advertisement_interval: "4s",
        flows: 400_000,
        ..Settings::default()
    });
    let (master, backup) = (the.master, the.backup);
    // Sessions that stay open.
    let both = [0, 1].map(|network| {
        let mut frames = frames(network, count / 2);
        let mut nth = 0;
        frames.retain(|_| {
            nth += 1;
            nth % 3 != 0
        });
        frames
    });
    the.cluster.signal(master, libc::SIGSTOP).unwrap();
    // Below what the program takes for a flood, in which it makes no flows.
    let took = run_both(&the.program, &both, 24_000);
    let begun = Instant::now();
    the.cluster.signal(master, libc::SIGCONT).unwrap();
    let [own, there] = [master, backup].map(|node| {
        let tables = Tables::open(the.cluster.pin_dir(node));
        tables.unwrap()
    });
    let keys: Vec<Key4> = (0..2)
        .flat_map(|network| (0..count / 2).map(move |nth| key(network, nth)))
        .filter(|key| own.v4().lookup(*key).is_some())
        .collect();
    let known = || {
        let known = keys.iter().filter(|key| there.v4().lookup(**key).is_some());
        known.count()
    };
    while known() < keys.len() {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} of {} flows known; the master: {:?}; the backup: {:?}",
            known(),
            keys.len(),
            the.cluster.status(master),
            the.cluster.status(backup)
        );
        thread::sleep(Duration::from_millis(50));
    }
    let repaired = begun.elapsed();
    let status = the.cluster.status(master).unwrap();
    let heard = the.cluster.status(backup).unwrap().channel.counters;
    let lost = status.counters["event_lost"];
    assert_eq!(heard["refused_flood"], 0, "late is no flood");
    let overruns = status.channel.counters["events_overrun"];
    println!(
        "{count} new sessions in {took:.2?} while no daemon reads, {} flows made of them: {lost} events \
         lost and counted; the backup knows all flows {repaired:.2?} after the daemon goes on, from {} \
         tables",
        keys.len(),
        heard["tables_received"]
    );
    assert!(lost > 0, "nothing was lost");
    assert!(overruns > 0, "no overrun was counted");
}

#[test]
fn what_is_beyond_the_stream_is_counted_and_repaired_by_the_table() {
    let name = "what_is_beyond_the_stream_is_counted_and_repaired_by_the_table";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    beyond(140_000);
}

/// How long it takes from a client's SYN at the master until a backup has the flow.
fn delays(samples: u32, background_per_second: u32) {
    let the = Stream::begin(Settings::default());
    let there = Tables::open(the.cluster.pin_dir(the.backup)).unwrap();
    let stopped = std::sync::atomic::AtomicBool::new(false);
    let mut delays: Vec<Duration> = thread::scope(|scope| {
        let _over = lbd_tests::Over(&stopped);
        let background = background_per_second;
        if background > 0 {
            let (program, stopped) = (&the.program, &stopped);
            scope.spawn(move || {
                for network in 2.. {
                    if stopped.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                    run(program, &frames(network, background / 2), background);
                }
            });
        }
        let frames = frames(0, samples);
        let delays = (0..samples).map(|nth| {
            // At no fixed distance from any timer.
            thread::sleep(Duration::from_micros(1000 + u64::from(nth * 7919 % 3000)));
            run_one(&the.program, &frames[3 * nth as usize]);
            let opened = Instant::now();
            while there.v4().lookup(key(0, nth)).is_none() {
                assert!(opened.elapsed() < PATIENCE, "flow {nth} does not come");
                thread::yield_now();
            }
            opened.elapsed()
        });
        delays.collect()
    });
    delays.sort_unstable();
    let at = |permille: usize| delays[(delays.len() - 1) * permille / 1000];
    println!(
        "a flow is in a backup's table after {:.0?} (median), {:.0?} (99 %), {:.0?} at most, of \
         {samples}, with {background_per_second} new flows a second",
        at(500),
        at(990),
        at(1000)
    );
}

#[test]
fn a_backup_knows_a_flow_soon() {
    let Some(_turn) = lbd_tests::turn("a_backup_knows_a_flow_soon") else {
        return;
    };
    delays(200, 0);
}

#[test]
#[ignore = "a figure: by name, with a release build in LBD_BIN"]
fn the_time_until_a_backup_knows_a_flow() {
    let Some(_turn) = lbd_tests::turn("the_time_until_a_backup_knows_a_flow") else {
        return;
    };
    for background in [0, 2_000, 10_000] {
        delays(2_000, background);
    }
}
