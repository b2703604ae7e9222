//! Several directors at once, behind a router with ECMP: BIRD on each announces the VIP while lbd holds
//! it, with the very files of `deploy/bird`.
use std::{
    fs, thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, PATIENCE, Settings, Status},
    lab::{Cut, Host, Lab, Process, Spec, addresses, near_router},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

/// The first two nodes direct, the others serve.
const DIRECTORS: usize = 2;
const SESSIONS: usize = 60;

fn example(name: &str) -> String {
    let path = format!("{}/../deploy/bird/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap()
}

/// BIRD on a host, with one of the files in deploy and the lab's addresses.
fn bird(lab: &Lab, host: &Host, file: &str, own: &str) -> Process {
    let mut text = example(file).replace("203.0.113.25", &addresses::VIP4.to_string());
    if file == "director.conf" {
        text = text.replace("192.0.2.11", own);
    }
    // The longer ones first.
    for (from, to) in [
        ("192.0.2.11", lab.nodes[0].address4()),
        ("192.0.2.12", lab.nodes[1].address4()),
        ("192.0.2.1", near_router()),
    ] {
        text = text.replace(from, &to.to_string());
    }
    assert!(!text.contains("192.0.2."), "{text}");
    let (conf, socket) = (format!("{}.bird", host.name), format!("{}.ctl", host.name));
    let conf = lab.folder().join(conf);
    fs::write(&conf, text).unwrap();
    let log = fs::File::create(conf.with_extension("log")).unwrap();
    let mut command = host.command("bird");
    command
        .arg("-f")
        .arg("-c")
        .arg(&conf)
        .arg("-s")
        .arg(lab.folder().join(socket));
    command.stdout(log.try_clone().unwrap()).stderr(log);
    host.spawn(&mut command).unwrap()
}

struct World {
    // Before the lab, whose end removes its logs.
    cluster: Cluster,
    _birds: Vec<Process>,
    _servers: Vec<Server>,
    router: Host,
    lab: Lab,
}

impl World {
    fn new() -> Self {
        let mut lab = Lab::new(&Spec {
            nodes: 4,
            ..Spec::default()
        })
        .unwrap();
        let router = lab.put_client_behind_router().unwrap();
        router
            .set_sysctls(&[("net.ipv4.fib_multipath_hash_policy", "1")])
            .unwrap();
        let servers = Server::start_all(&lab.nodes).unwrap();
        let settings = Settings {
            weights: vec![0, 0],
            backends_only: (DIRECTORS..lab.nodes.len()).collect(),
            ipv6: false,
            more: "  announce: {repeat: 0s}\n".to_owned(),
            ..Settings::default()
        };
        let mut cluster = Cluster::new(&lab, settings).unwrap();
        for index in 0..cluster.len() {
            let file = cluster.config(index);
            let text = fs::read_to_string(&file).unwrap();
            let vip = format!("{}/{}", addresses::VIP4, addresses::PREFIX4);
            let own = format!("  virtual_router_id: {}\n  priority", 61 + index);
            let text = text.replace(&vip, &format!("{}/32", addresses::VIP4));
            fs::write(&file, text.replacen("  priority", &own, 1)).unwrap();
            cluster.start(index).unwrap();
        }
        for director in 0..DIRECTORS {
            let takes = |status: &Status| {
                let serving = status.backends.iter().filter(|backend| backend.accepting);
                status.is_master() && serving.count() == 2
            };
            cluster
                .wait_status(director, "each director is a master", takes)
                .unwrap();
        }
        let mut birds = vec![bird(&lab, &router, "router.conf", "")];
        for node in &lab.nodes[..DIRECTORS] {
            birds.push(bird(
                &lab,
                node,
                "director.conf",
                &node.address4().to_string(),
            ));
        }
        Self {
            cluster,
            _birds: birds,
            _servers: servers,
            router,
            lab,
        }
    }

    /// Which directors the router sends to.
    fn ways(&self) -> Vec<usize> {
        let shown = self
            .router
            .ip(&format!("route show {}", addresses::VIP4))
            .unwrap();
        let leads = |director: &usize| {
            let via = format!("via {} ", self.lab.nodes[*director].address4());
            shown.contains(&via)
        };
        (0..DIRECTORS).filter(leads).collect()
    }

    fn birds_say(&self) -> String {
        let hosts = [&self.router, &self.lab.nodes[0], &self.lab.nodes[1]];
        let log = |host: &&Host| {
            let log = self.lab.folder().join(format!("{}.log", host.name));
            format!(
                "{}: {}",
                host.name,
                fs::read_to_string(log).unwrap_or_default()
            )
        };
        hosts.iter().map(log).collect::<Vec<_>>().join("\n")
    }

    fn wait_ways(&self, expected: &[usize]) -> Duration {
        let begun = Instant::now();
        while self.ways() != expected {
            assert!(
                begun.elapsed() < PATIENCE,
                "the router sends to {:?}, not {expected:?}\n{}",
                self.ways(),
                self.birds_say()
            );
            thread::sleep(Duration::from_millis(10));
        }
        begun.elapsed()
    }

    fn open(&self, count: usize) -> Vec<Held> {
        let client = self.lab.client();
        let one = |_| Held::open(client, addresses::VIP4.into()).unwrap();
        (0..count).map(one).collect()
    }

    /// Sessions that each director has steered.
    fn steered(&self) -> Vec<u64> {
        let of = |director: usize| {
            let output = self.cluster.lbd(director, &["status", "--json"]).unwrap();
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let backends = status["backends"].as_array().unwrap().iter();
            backends
                .map(|backend| backend["steered"]["sessions"].as_u64().unwrap())
                .sum()
        };
        (0..DIRECTORS).map(of).collect()
    }
}

#[test]
fn sessions_are_spread_over_two_directors_and_outlive_either() {
    let name = "sessions_are_spread_over_two_directors_and_outlive_either";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    if !lbd_tests::programs::or_skip(name, &["bird"]) {
        return;
    }
    let mut world = World::new();
    world.wait_ways(&[0, 1]);
    let mut sessions = world.open(SESSIONS);
    let steered = world.steered();
    println!("{SESSIONS} sessions were steered by the directors: {steered:?}");
    assert!(steered.iter().all(|count| *count > 0), "{steered:?}");
    assert_eq!(steered.iter().sum::<u64>(), SESSIONS as u64);

    // lbd dies on one: its address goes by itself, and with it the route.
    world.cluster.kill(0);
    let withdrawn = world.wait_ways(&[1]);
    println!("withdrawn after a kill -9 of lbd, adverts every 200 ms: {withdrawn:?}");
    assert_eq!(
        survivors(&mut sessions),
        SESSIONS,
        "through the other director"
    );
    sessions.extend(world.open(10));

    // It comes back, and some of the sessions go through it again.
    world.cluster.start(0).unwrap();
    world.wait_ways(&[0, 1]);
    assert_eq!(
        survivors(&mut sessions),
        SESSIONS + 10,
        "after it came back"
    );

    // The other box is cut off, where its carrier stays: BFD notices.
    world.lab.cut(&world.lab.nodes[1], Cut::Silent).unwrap();
    let withdrawn = world.wait_ways(&[0]);
    println!("withdrawn after a box was cut off, by BFD: {withdrawn:?}");
    assert_eq!(
        survivors(&mut sessions),
        SESSIONS + 10,
        "through the first director"
    );
    assert_eq!(world.open(10).len(), 10);

    // And an orderly stop leaves nothing that leads here, nor does it break a session.
    world.lab.restore(&world.lab.nodes[1]).unwrap();
    world.wait_ways(&[0, 1]);
    world.cluster.stop(0).unwrap();
    world.wait_ways(&[1]);
    assert_eq!(
        survivors(&mut sessions),
        SESSIONS + 10,
        "after an orderly stop"
    );
}
