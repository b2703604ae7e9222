//! Sessions that no director's table knows: the channel is cut from the start, and the master dies.
use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::maps::{Array, Map, MapData};
use lbd_common::{
    backend::{Backend, mode},
    flow::{Bucket4, Bucket6, FlowWord, Slot4, Slot6, buckets, flag, hash4, hash6, state, tag},
    maps,
    vip::Vip,
};
use lbd_tests::{
    cluster::{Cluster, PATIENCE, Settings},
    lab::{Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
    xdp::{
        packet::{ACK, PORT, v4, v6},
        world::words,
    },
};

/// Sessions held open.
const SESSIONS: usize = 90;

/// A lab whose nodes cannot tell each other of sessions, and count what their stacks reset.
fn mute_lab(nodes: u8) -> Lab {
    let lab = Lab::new(&Spec {
        nodes,
        ..Spec::default()
    })
    .unwrap();
    for node in &lab.nodes {
        node.cut_channel().unwrap();
        node.count_resets().unwrap();
    }
    lab
}

fn sessions_outlive_a_director_that_shared_no_flow(nodes: u8, forwarding: &str) {
    let lab = mute_lab(nodes);
    let servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        more: format!("  forwarding: {forwarding}\n"),
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    let first = cluster.master().unwrap();
    let mut sessions = Held::open_many(lab.client(), SESSIONS).unwrap();
    for node in (0..cluster.len()).filter(|node| *node != first) {
        let told = cluster.status(node).unwrap().channel.counters["flows_inserted"];
        assert_eq!(told, 0, "the channel of node {node} is not cut");
    }
    cluster.kill(first);
    let second = cluster.wait_another_master(first).unwrap();
    assert_eq!(survivors(&mut sessions), SESSIONS, "of {SESSIONS} sessions");
    for held in &mut sessions {
        held.deliver().unwrap();
    }
    let messages: u64 = servers.iter().map(Server::messages).sum();
    assert_eq!(messages, SESSIONS as u64, "a message each");
    let resets: Vec<u64> = lab
        .nodes
        .iter()
        .map(|node| node.resets().unwrap())
        .collect();
    assert!(resets.iter().all(|resets| *resets == 0), "{resets:?}");
    let running = (0..cluster.len()).filter(|node| *node != first);
    let handed_on: u64 = running
        .map(|node| cluster.counter(node, "second_chance").unwrap())
        .sum();
    // Of two nodes the director is one of the candidates, always, and knows which.
    assert_eq!(handed_on > 0, nodes > 2, "{handed_on} frames handed on");
    println!(
        "{nodes} nodes, {forwarding}, no flow told, the master killed: {SESSIONS} of {SESSIONS} sessions went on by way \
         of node {second} and delivered a message each; {} flows adopted, {handed_on} frames handed on by \
         the nodes that still run",
        cluster.counter(second, "flow_adopted").unwrap(),
    );
}

#[test]
fn two_nodes_lose_no_session_that_no_table_knows() {
    let Some(_turn) = lbd_tests::turn("two_nodes_lose_no_session_that_no_table_knows") else {
        return;
    };
    sessions_outlive_a_director_that_shared_no_flow(2, "dsr");
}

#[test]
fn four_nodes_lose_no_session_that_no_table_knows() {
    let Some(_turn) = lbd_tests::turn("four_nodes_lose_no_session_that_no_table_knows") else {
        return;
    };
    sessions_outlive_a_director_that_shared_no_flow(4, "dsr");
}

#[test]
fn four_nodes_that_tunnel_lose_no_session_that_no_table_knows() {
    let name = "four_nodes_that_tunnel_lose_no_session_that_no_table_knows";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    sessions_outlive_a_director_that_shared_no_flow(4, "ipip");
}

#[test]
fn a_director_learns_from_who_was_given_a_second_chance() {
    let name = "a_director_learns_from_who_was_given_a_second_chance";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = mute_lab(4);
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let first = cluster.master().unwrap();
    let mut sessions = Held::open_many(lab.client(), 2 * SESSIONS).unwrap();
    // Those at the box whose daemon is about to die have no daemon to speak for them.
    let name = &lab.nodes[first].name;
    sessions.retain(|held| held.by() != name);
    cluster.kill(first);
    let second = cluster.wait_another_master(first).unwrap();
    let running: Vec<usize> = (0..cluster.len()).filter(|node| *node != first).collect();
    // By the receivers: of those who hand on, one has no daemon to ask.
    let mut found = || {
        let count = sessions.len();
        assert_eq!(survivors(&mut sessions), count);
        let all = running
            .iter()
            .map(|node| cluster.counter(*node, "second_chance_found").unwrap());
        all.sum::<u64>()
    };
    let mut before = found();
    let with_a_cut_channel = found() - before;
    assert!(with_a_cut_channel > 0, "nothing to learn");
    for node in &lab.nodes {
        node.restore_channel().unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    let mut rounds = 0;
    before = found();
    loop {
        let now = found();
        if now == before {
            break;
        }
        let frames = now - before;
        assert!(Instant::now() < deadline, "{frames} are handed on still");
        (before, rounds) = (now, rounds + 1);
        thread::sleep(Duration::from_millis(100));
    }
    let replaced = cluster.status(second).unwrap().channel.counters["flows_replaced"];
    println!(
        "a word in each of {} sessions: {with_a_cut_channel} frames came by a second chance; none once the channel \
         was back, after {rounds} more words in each; {replaced} flows corrected",
        sessions.len()
    );
}

/// The pinned maps of one node.
struct Maps<'a> {
    cluster: &'a Cluster,
    node: usize,
}

impl Maps<'_> {
    fn array<V: aya::Pod>(&self, name: &str) -> Result<Array<MapData, V>> {
        let data = MapData::from_pin(self.cluster.pin_dir(self.node).join(name))
            .with_context(|| name.to_owned())?;
        Ok(Array::try_from(Map::Array(data))?)
    }

    /// The id of the one backend that is not this node.
    fn other(&self) -> Result<u16> {
        let backends = self.array::<Backend>(maps::BACKENDS)?;
        let other = (0..64).find(|id| {
            let backend = backends.get(id, 0).expect("an entry");
            backend.state != 0 && backend.mode == mode::DSR
        });
        Ok(u16::try_from(other.context("there is another backend")?)?)
    }

    fn vip_id(&self, vip: IpAddr) -> Result<u16> {
        let address = match vip {
            IpAddr::V4(vip) => [u32::from_ne_bytes(vip.octets()), 0, 0, 0],
            IpAddr::V6(vip) => words(vip.octets()),
        };
        let vips = self.array::<Vip>(maps::VIPS)?;
        let found = (0..maps::VIP_SLOTS).filter_map(|slot| vips.get(&slot, 0).ok());
        let vip = { found }.find(|vip| vip.address == address);
        Ok(vip.context("the address is served")?.ports[0].id)
    }

    /// Has the node believe that the other one has the client's session.
    fn believe(&self, source: SocketAddr, vip: IpAddr) -> Result<()> {
        let (vip_id, port_be) = (self.vip_id(vip)?, source.port().to_be());
        let word = |hash| {
            Ok::<_, anyhow::Error>(FlowWord {
                backend: self.other()?,
                state: state::ESTABLISHED,
                flags: flag::ADOPTED,
                tag: tag(hash),
                seen: 0,
            })
        };
        match source.ip() {
            IpAddr::V4(ip) => {
                let source = u32::from_ne_bytes(ip.octets());
                let hash = hash4(source, port_be, vip_id);
                let mut table = self.array::<Bucket4>(maps::FLOWS4)?;
                let index = buckets(hash, table.len() - 1).0;
                let mut bucket = table.get(&index, 0)?;
                bucket.slots[0] = Slot4 {
                    source,
                    port_be,
                    vip_id,
                    word: word(hash)?,
                };
                table.set(index, bucket, 0)?;
            }
            IpAddr::V6(ip) => {
                let source = words(ip.octets());
                let hash = hash6(source, port_be, vip_id);
                let mut table = self.array::<Bucket6>(maps::FLOWS6)?;
                let index = buckets(hash, table.len() - 1).0;
                let mut bucket = table.get(&index, 0)?;
                bucket.slots[0] = Slot6 {
                    source,
                    port_be,
                    vip_id,
                    word: word(hash)?,
                    ..Slot6::default()
                };
                table.set(index, bucket, 0)?;
            }
        }
        Ok(())
    }
}

/// What came of the frames that this node was handed by the other one.
fn handed(cluster: &Cluster, node: usize) -> [u64; 4] {
    let names = [
        "pass_from_node",
        "second_chance",
        "second_chance_found",
        "pass_no_session",
    ];
    let counters = cluster.status(node).unwrap().counters;
    names.map(|name| counters[name])
}

#[test]
fn nodes_that_believe_each_other_to_have_a_session_steer_no_frame_in_a_circle() {
    let name = "nodes_that_believe_each_other_to_have_a_session_steer_no_frame_in_a_circle";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = mute_lab(2);
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let (director, other) = (cluster.master().unwrap(), 1 - cluster.master().unwrap());
    // So that both know that sessions have sockets there.
    let _sessions = Held::open_many(lab.client(), 40).unwrap();
    let client = lab.client();
    let ports = 50_001..50_021_u16;
    let frames = 2 * u64::try_from(ports.len()).unwrap();
    let before = [director, other].map(|node| handed(&cluster, node));
    for port in ports {
        for vip in [IpAddr::from(addresses::VIP4), addresses::VIP6.into()] {
            let source: IpAddr = match vip {
                IpAddr::V4(_) => client.address4().into(),
                IpAddr::V6(_) => client.address6().into(),
            };
            for node in [director, other] {
                let maps = Maps {
                    cluster: &cluster,
                    node,
                };
                maps.believe(SocketAddr::new(source, port), vip).unwrap();
            }
            let segment = match vip {
                IpAddr::V4(vip) => v4(ACK).from4(client.address4()).to4(vip),
                IpAddr::V6(vip) => v6(ACK).from6(client.address6()).to6(vip),
            };
            let packet = segment.from_port(port).to_port(PORT).packet();
            client.send_packet(&packet, vip).unwrap();
        }
    }
    let since = |node: usize| {
        let nth = usize::from(node == other);
        let now = handed(&cluster, node);
        [0, 1, 2, 3].map(|which| now[which] - before[nth][which])
    };
    let resets = || [director, other].map(|node| lab.nodes[node].resets().unwrap());
    let deadline = Instant::now() + PATIENCE;
    while resets().iter().sum::<u64>() < frames {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            [since(director), since(other)]
        );
        thread::sleep(Duration::from_millis(50));
    }
    // A frame in a circle would not rest.
    thread::sleep(Duration::from_millis(500));
    let handed_on = since(other)[1];
    assert!(handed_on > 0, "{:?}", since(other));
    // Who was handed a frame hands it on, unless it is both of the frame's candidates itself, and
    // there with the one who had steered it the frame is at its end.
    assert_eq!(since(other), [0, handed_on, 0, frames - handed_on]);
    assert_eq!(since(director), [0, 0, 0, handed_on]);
    assert_eq!(resets(), [handed_on, frames - handed_on], "no box has them");
    println!(
        "{frames} frames of sessions that two nodes take for each other's: {handed_on} handed on once, \
         {frames} reset, none in a circle"
    );
}
