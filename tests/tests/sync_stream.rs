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
use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{Lab, Spec, addresses},
    smtp::server::Server,
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

/// Sessions of three frames each: a client's SYN, ACK and FIN.
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
    let (begun, mut out) = (Instant::now(), [0; 256]);
    for (nth, session) in (1..).zip(frames.chunks(3)) {
        for frame in session {
            program
                .test_run(TestRunOptions {
                    data_in: Some(frame),
                    data_out: Some(&mut out),
                    ..TestRunOptions::default()
                })
                .unwrap();
        }
        let due = begun + Duration::from_secs(1) * nth / per_second;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
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
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let master = cluster.wait_ready().unwrap();
    let backup = (master + 1) % 3;
    let pin = cluster.pin_dir(master).join("program");
    let program = Xdp::from_pin(pin, XdpAttachType::Interface).unwrap();
    let of = |cluster: &Cluster, node: usize| cluster.status(node).unwrap().channel.counters;
    let (before, known) = (of(&cluster, master), of(&cluster, backup));
    let (sender, receiver) = (cluster.pid(master).unwrap(), cluster.pid(backup).unwrap());
    let cpu = || (ticks(sender, "lbd-channel"), ticks(receiver, "lbd-channel"));
    let cpu_before = cpu();
    let took = sessions(&program, count, per_second);
    let told = u64::from(count);
    let status = cluster
        .wait_status(backup, "every flow came and went", |status| {
            let now = &status.channel.counters;
            now["flows_inserted"] - known["flows_inserted"] >= told
                && now["flows_closed"] - known["flows_closed"] >= told
        })
        .unwrap();
    let (cpu, after) = (cpu(), of(&cluster, master));
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
