//! What one look at a busy box costs: 30,000 queued messages and 4,000 connections. The figures are
//! right by assertion; the time is printed, for it is the machine's.
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Instant,
};

use lbd::agent::{AgentConfig, Choice, MailSystem, Spool, measure};
use tokio::net::{TcpListener, TcpSocket};

const ACTIVE: usize = 10_000;
const DEFERRED: usize = 20_000;
const CLIENTS: u16 = 400;
/// Left for the mail server to accept.
const WAITING: usize = 100;
const ROUNDS: usize = 20;

fn spool(path: &Path) {
    for n in 0..ACTIVE + DEFERRED {
        // Postfix hashes `deferred` by the first digit of the queue id.
        let folder = if n < ACTIVE {
            path.join("active")
        } else {
            path.join(format!("deferred/{:X}", n % 16))
        };
        if n % ACTIVE < 16 {
            fs::create_dir_all(&folder).unwrap();
        }
        fs::write(folder.join(format!("{n:X}")), "").unwrap();
    }
}

/// As many sessions as the process's descriptors allow, at most 4,000.
fn sessions() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let open = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = open
        .and_then(|line| line.split_whitespace().nth(3))
        .unwrap();
    let descriptors: usize = soft.parse().unwrap_or(1024);
    (descriptors.saturating_sub(100) / 2).min(4000)
}

/// What this thread has spent on a CPU: on a busy machine the rest is waiting for one.
fn own_cpu_ms() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let ns: f64 = stat.split(' ').next().unwrap().parse().unwrap();
    ns / 1e6
}

#[test]
fn a_look_at_a_busy_box_is_right_and_its_cost_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    spool(folder.path());
    let sessions = sessions();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // Below the ephemeral range: a client's own port must not be the one that is looked at.
        let listener = TcpListener::bind("127.0.0.1:20025").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        for n in 0..sessions {
            let client = u16::try_from(n).unwrap() % CLIENTS;
            let [high, low] = client.to_be_bytes();
            let source = SocketAddr::from((Ipv4Addr::new(127, 1, high, low), 0));
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(source).unwrap();
            held.push(socket.connect(address).await.unwrap());
            if n >= WAITING {
                held.push(listener.accept().await.unwrap().0);
            }
        }
        let config = AgentConfig {
            node: "mx1".into(),
            ports: vec![address.port()],
            spools: Choice::These(vec![Spool {
                system: MailSystem::Postfix,
                path: folder.path().to_owned(),
            }]),
            vips: vec![Ipv4Addr::LOCALHOST.into()],
        };
        let (mut costs_ms, mut cpu_ms) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (started, cpu_before_ms) = (Instant::now(), own_cpu_ms());
            let sample = measure(&config).sample;
            costs_ms.push(started.elapsed().as_secs_f64() * 1000.0);
            cpu_ms.push(own_cpu_ms() - cpu_before_ms);
            assert_eq!(sample.queued, Some(ACTIVE as u64), "{:?}", sample.note);
            assert_eq!(sample.deferred, Some(DEFERRED as u64));
            assert_eq!(sample.sessions, Some(sessions as u64));
            assert_eq!(sample.not_accepted, Some(WAITING.min(sessions) as u64));
            assert_eq!(sample.unique_ips, Some(sessions.min(CLIENTS.into()) as u64));
            assert_eq!(sample.vip_ready, Some(true));
        }
        costs_ms.sort_by(f64::total_cmp);
        cpu_ms.sort_by(f64::total_cmp);
        println!(
            "one look at {} messages and {sessions} sessions: median {:.1} ms, of them {:.1} ms of \
             CPU; worst of {ROUNDS} {:.1} ms",
            ACTIVE + DEFERRED,
            costs_ms[ROUNDS / 2],
            cpu_ms[ROUNDS / 2],
            costs_ms[ROUNDS - 1],
        );
    });
}
