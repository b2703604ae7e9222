//! Sessions end where their server ends them, regardless of what their clients say: the load that every node
//! steers by is what the boxes' own kernels have.
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use aya::maps::{Array, Map, MapData};
use lbd::sockets::snapshot;
use lbd_common::maps::{LOAD, MAX_BACKENDS};
use lbd_tests::{
    cluster::{Cluster, PATIENCE, Settings},
    lab::{Host, INTERFACE, Lab, Spec, addresses},
    smtp::held::Held,
};
use socket2::SockRef;

/// A box's server that does with its sessions what a test wants.
struct Server25 {
    sessions: Arc<Mutex<Vec<TcpStream>>>,
}

impl Server25 {
    /// On port 25 of every address. A session through a virtual address is greeted and kept; others, as
    /// of health checks, are let go.
    fn start(host: &Host) -> Self {
        Self::on_port(host, 25)
    }

    /// Likewise on another port, where every session is kept.
    fn on_port(host: &Host, port: u16) -> Self {
        let listener = host
            .inside(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))
            .unwrap()
            .unwrap();
        let sessions: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (kept, name) = (Arc::clone(&sessions), host.name.clone());
        // It ends with the test's process: a listener blocks.
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let _ = write!(stream, "220 {name} ESMTP\r\n");
                let local = stream.local_addr().map(|local| local.ip().to_canonical());
                if port != 25 || local.is_ok_and(is_vip) {
                    kept.lock().unwrap().push(stream);
                } else {
                    thread::spawn(move || answer(stream));
                }
            }
        });
        Self { sessions }
    }

    /// Ends some sessions that are open, in a way.
    fn end(&self, count: usize, how: impl Fn(TcpStream)) {
        let mut sessions = self.sessions.lock().unwrap();
        let from = sessions.len().saturating_sub(count);
        sessions.drain(from..).for_each(how);
    }

    /// Closes what the client has closed.
    fn close_ended(&self) {
        self.sessions.lock().unwrap().retain(|stream| {
            let _ = stream.set_nonblocking(true);
            let mut byte = [0];
            let read = (&mut &*stream).read(&mut byte);
            let _ = stream.set_nonblocking(false);
            matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        });
    }
}

fn answer(stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        let quits = line.starts_with("QUIT");
        let reply = if quits { "221 bye\r\n" } else { "250 ok\r\n" };
        if reader.get_mut().write_all(reply.as_bytes()).is_err() || quits {
            return;
        }
        line.clear();
    }
}

fn is_vip(address: IpAddr) -> bool {
    [IpAddr::from(addresses::VIP4), addresses::VIP6.into()].contains(&address)
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
}

/// Sessions that a box's own kernel has through the virtual addresses.
fn own_sessions(host: &Host) -> u64 {
    let found = host.inside(|| snapshot(&[25].into())).unwrap().unwrap();
    let through_vip = found.sessions.iter().filter(|it| is_vip(it.local.ip()));
    through_vip.count() as u64
}

/// Sockets on port 25 that only wait for their server to close them.
fn closed_by_clients(lab: &Lab) -> u64 {
    let of = |host: &Host| {
        let shown = host.output("ss", &["-Htn", "state", "close-wait", "sport = :25"]);
        shown.unwrap().lines().count() as u64
    };
    lab.nodes.iter().map(of).sum()
}

/// `LOAD` of a node, by backend id, without zeros.
fn load(cluster: &Cluster, node: usize) -> BTreeMap<u32, u64> {
    let map = MapData::from_pin(cluster.pin_dir(node).join(LOAD)).unwrap();
    let map: Array<MapData, u64> = Map::from_map_data(map).unwrap().try_into().unwrap();
    (0..MAX_BACKENDS)
        .map(|id| (id, map.get(&id, 0).unwrap()))
        .filter(|(_, load)| *load != 0)
        .collect()
}

/// Waits until `LOAD` of every node is what the boxes have, and says how long that took.
fn wait_true(lab: &Lab, cluster: &Cluster, what: &str) -> Vec<u64> {
    let since = Instant::now();
    loop {
        let mut own: Vec<u64> = lab.nodes.iter().map(own_sessions).collect();
        let mut loads: Vec<Vec<u64>> = (0..cluster.len())
            .map(|node| load(cluster, node).into_values().collect())
            .collect();
        let shown = format!("{what}: the boxes have {own:?}, LOAD is {loads:?}");
        let found = own.clone();
        own.retain(|count| *count != 0);
        own.sort_unstable();
        for load in &mut loads {
            load.sort_unstable();
        }
        if loads.iter().all(|load| *load == own) {
            println!("{shown} after {:?}", since.elapsed());
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "{shown} after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn settings() -> Settings {
    Settings {
        health: "{interval: 5s, timeout: 5s, rise: 1, fall: 3}".to_owned(),
        ..Settings::default()
    }
}

fn open(client: &Host, count: usize) -> Vec<TcpStream> {
    let vips: [IpAddr; 2] = [addresses::VIP4.into(), addresses::VIP6.into()];
    let open = |index: usize| {
        let vip = SocketAddr::new(vips[index % 2], 25);
        let connected = client.inside(|| TcpStream::connect_timeout(&vip, PATIENCE));
        let mut stream = connected.unwrap().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // All of it: a socket that is closed with data unread sends RST instead of FIN.
        let (mut greeting, mut byte) = (Vec::new(), [0]);
        while byte != *b"\n" {
            stream.read_exact(&mut byte).unwrap();
            greeting.extend(byte);
        }
        assert!(greeting.starts_with(b"220"));
        stream
    };
    (0..count).map(open).collect()
}

#[test]
fn load_is_what_the_boxes_have_however_sessions_end() {
    let name = "load_is_what_the_boxes_have_however_sessions_end";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        clients: 2,
        ..Spec::default()
    })
    .unwrap();
    let servers: Vec<Server25> = lab.nodes.iter().map(Server25::start).collect();
    let cluster = Cluster::started(&lab, settings()).unwrap();
    let [client, other] = &lab.clients[..] else {
        panic!("there are two clients");
    };
    let each = 200;

    let by_fin = open(client, each);
    let by_reset = open(client, each);
    let mut rest = open(client, 2 * each);
    let lost = open(other, each / 2);
    let script = format!(
        "for i in $(seq {each}); do exec {{fd}}<>/dev/tcp/{}/25; done; echo open; sleep 600",
        addresses::VIP4
    );
    let mut command = client.command("bash");
    command
        .args(["-c", &script])
        .stdout(std::process::Stdio::piped());
    let mut killed = client.spawn(&mut command).unwrap();
    let mut said = String::new();
    let stdout = killed.take_stdout().unwrap();
    BufReader::new(stdout).read_line(&mut said).unwrap();
    assert_eq!(said, "open\n");
    let total = wait_true(&lab, &cluster, "1,000 are open and some");
    assert_eq!(total.iter().sum::<u64>(), 4 * 200 + 200 + 100);

    drop(by_fin);
    let deadline = Instant::now() + PATIENCE;
    while closed_by_clients(&lab) != each as u64 {
        assert!(Instant::now() < deadline, "their clients' FINs come");
        thread::sleep(Duration::from_millis(50));
    }
    servers.iter().for_each(Server25::close_ended);
    let now = wait_true(
        &lab,
        &cluster,
        "200 were closed by their clients, then by their servers",
    );
    assert_eq!(now.iter().sum::<u64>(), 900);

    by_reset.into_iter().for_each(reset);
    let now = wait_true(&lab, &cluster, "200 were reset by their clients");
    assert_eq!(now.iter().sum::<u64>(), 700);
    servers.iter().for_each(Server25::close_ended);

    killed.kill();
    servers.iter().for_each(Server25::close_ended);
    let now = wait_true(&lab, &cluster, "the client of 200 was killed");
    assert_eq!(now.iter().sum::<u64>(), 500);

    // These clients never say a word of it.
    for server in &servers {
        for stream in server.sessions.lock().unwrap().iter() {
            let timeout = Duration::from_secs(2);
            SockRef::from(stream)
                .set_tcp_user_timeout(Some(timeout))
                .unwrap();
        }
    }
    other.ip(&format!("link set {INTERFACE} down")).unwrap();
    for server in &servers {
        for mut stream in server.sessions.lock().unwrap().iter() {
            let _ = stream.write_all(b"250 are you there\r\n");
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while lab.nodes.iter().map(own_sessions).sum::<u64>() != 400 {
        assert!(Instant::now() < deadline, "the kernels give them up");
        thread::sleep(Duration::from_millis(50));
    }
    let now = wait_true(&lab, &cluster, "100 timed out");
    assert_eq!(now.iter().sum::<u64>(), 400);
    servers.iter().for_each(Server25::close_ended);

    // The servers' own ends, of sessions whose clients go on as if nothing were.
    let some = servers.iter().map(|server| {
        let count = server.sessions.lock().unwrap().len();
        server.end(count / 2, reset);
        count / 2
    });
    let ended: usize = some.sum();
    let now = wait_true(&lab, &cluster, "servers reset half of the rest");
    assert_eq!(now.iter().sum::<u64>(), 400 - ended as u64);
    for server in &servers {
        server.end(400, drop);
    }
    wait_true(&lab, &cluster, "servers closed the rest");
    drop(rest.drain(..));
    drop(lost);
}

#[test]
fn a_box_whose_server_reset_sessions_takes_its_share_of_those_that_follow() {
    let name = "a_box_whose_server_reset_sessions_takes_its_share_of_those_that_follow";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let servers: Vec<Server25> = lab.nodes.iter().map(Server25::start).collect();
    let cluster = Cluster::started(&lab, settings()).unwrap();
    let client = lab.client();
    let silent = open(client, 9);
    // A server's own end, which the director does not see, and a client that says nothing more.
    servers[0].end(9, reset);
    wait_true(&lab, &cluster, "one box has reset its sessions");
    let mut shares = BTreeMap::new();
    for _ in 0..60 {
        let held = Held::open(client, addresses::VIP4.into()).unwrap();
        *shares.entry(held.by().to_owned()).or_insert(0) += 1;
        drop(held);
        for server in &servers {
            thread::sleep(Duration::from_millis(2));
            server.close_ended();
        }
    }
    println!("{shares:?}");
    let share = shares.get(&lab.nodes[0].name).copied().unwrap_or(0);
    assert!(share >= 10, "{shares:?}");
    drop(silent);
}

#[test]
fn what_ended_while_a_daemon_was_away_has_ended_for_everybody() {
    let name = "what_ended_while_a_daemon_was_away_has_ended_for_everybody";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let servers: Vec<Server25> = lab.nodes.iter().map(Server25::start).collect();
    let mut cluster = Cluster::started(&lab, settings()).unwrap();
    let master = cluster.wait_ready().unwrap();
    let sessions = open(lab.client(), 60);
    wait_true(&lab, &cluster, "60 are open");
    // A box's daemon is replaced: its kernel tells no daemon meanwhile, and the next one knows by what is open.
    let (away, other) = ((master + 1) % 3, (master + 2) % 3);
    cluster.hand_over(away).unwrap();
    servers[away].end(5, reset);
    cluster.start(away).unwrap();
    wait_true(&lab, &cluster, "5 ended while a backup's daemon was away");
    // A director's is: what its peers' kernels end meanwhile it hears when it asks them.
    cluster.hand_over(other).unwrap();
    servers[away].end(3, reset);
    servers[master].end(3, reset);
    servers[other].end(3, reset);
    cluster.start(other).unwrap();
    let left = wait_true(&lab, &cluster, "9 ended while another one was");
    assert_eq!(left.iter().sum::<u64>(), 60 - 5 - 9);
    drop(sessions);
}

#[test]
fn a_session_that_its_box_redirects_to_another_port_is_known_to_be_open_and_to_end() {
    let name = "a_session_that_its_box_redirects_to_another_port_is_known_to_be_open_and_to_end";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers: Vec<Server25> = lab.nodes.iter().map(Server25::start).collect();
    // Every second box has its service in another place, as behind an nftables redirect.
    let other = &lab.nodes[1];
    let redirected = Server25::on_port(other, 2525);
    let rules = format!(
        "add table ip lbdtest; \
         add chain ip lbdtest in {{ type nat hook prerouting priority -100; }}; \
         add rule ip lbdtest in ip daddr {} tcp dport 25 redirect to :2525",
        addresses::VIP4
    );
    other.output("nft", &[rules.as_str()]).unwrap();
    let cluster = Cluster::started(&lab, settings()).unwrap();
    let sessions = open(lab.client(), 60);
    // Longer than a flow counts that no box has confirmed.
    thread::sleep(Duration::from_secs(5));
    let there = redirected.sessions.lock().unwrap().len() as u64;
    println!("{there} of 60 are redirected");
    assert!(there >= 5);
    let known = |expected: u64| {
        for node in 0..cluster.len() {
            let sum = |cluster: &Cluster| load(cluster, node).into_values().sum::<u64>();
            let deadline = Instant::now() + PATIENCE;
            while sum(&cluster) != expected {
                assert!(
                    Instant::now() < deadline,
                    "{}, not {expected}",
                    sum(&cluster)
                );
                thread::sleep(Duration::from_millis(20));
            }
        }
    };
    known(60);
    redirected.end(3, reset);
    known(57);
    drop(sessions);
}

/// Waits until `LOAD` of a node sums up to so much, and returns how long that took.
fn wait_load(cluster: &Cluster, node: usize, expected: u64) -> Duration {
    let since = Instant::now();
    loop {
        let sum: u64 = load(cluster, node).into_values().sum();
        if sum == expected {
            return since.elapsed();
        }
        assert!(since.elapsed() < PATIENCE, "LOAD is {sum}, not {expected}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_agent_tells_of_its_boxs_sessions_as_a_daemon_does() {
    let name = "an_agent_tells_of_its_boxs_sessions_as_a_daemon_does";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 2,
        ..Spec::default()
    })
    .unwrap();
    let mail = &lab.nodes[1];
    mail.hold_vips().unwrap();
    let server = Server25::start(mail);
    // One director, which is no backend, and a box that is nothing else.
    let settings = Settings {
        directors: vec![0],
        ..settings()
    };
    let mut cluster = Cluster::new(&lab, settings).unwrap();
    cluster.start(0).unwrap();
    let listen = format!("{}:9426", mail.address4());
    let start = || {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(lab.folder().join("agent.log"));
        let log = log.unwrap();
        let mut agent = cluster.command(1, &["agent", "--listen", &listen]);
        agent.stdout(log.try_clone().unwrap()).stderr(log);
        mail.spawn(&mut agent).unwrap()
    };
    let mut agent = start();
    let tells = |expected| {
        let what = "whether the agent tells";
        cluster.wait_status(0, what, |status| {
            let peers = &status.channel.peers;
            status.is_master()
                && status.backends.iter().all(|backend| backend.accepting)
                && peers.iter().any(|peer| peer.tells_sessions == expected)
        })
    };
    tells(true).unwrap();
    let sessions = open(lab.client(), 40);
    wait_load(&cluster, 0, 40);
    // Longer than a flow counts that no box has confirmed.
    thread::sleep(Duration::from_secs(4));
    wait_load(&cluster, 0, 40);
    server.end(15, reset);
    let by_agent = wait_load(&cluster, 0, 25);
    println!("15 that the server reset are gone from LOAD after {by_agent:?}");
    // The agent's next life knows what is open, and what has ended without it.
    agent.kill();
    server.end(5, reset);
    agent = start();
    wait_load(&cluster, 0, 20);
    // Nor is a frame marked for a box whose program would not take the mark off.
    let marked = mail.output(
        "nft",
        &[
            "add table inet seen; add chain inet seen in { type filter hook input priority 0; }; \
           add counter inet seen marked; \
           add rule inet seen in tcp dport 25 @th,100,4 != 0 counter name marked",
        ],
    );
    marked.unwrap();
    let more = open(lab.client(), 10);
    wait_load(&cluster, 0, 30);
    let counted = mail
        .output("nft", &["list counter inet seen marked"])
        .unwrap();
    assert!(counted.contains("packets 0"), "{counted}");
    drop((sessions, more));
    agent.kill();
}
