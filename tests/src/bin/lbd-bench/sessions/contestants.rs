//! The contestants, all there at once: each has a director, a virtual address and an address of the
//! client of its own, so that taking turns changes nothing.
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use aya::programs::xdp::XdpLink;
use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{Host, INTERFACE, Lab, Process, Spec},
    postfix::{Sink, smtp_source},
};

use crate::{packet::walk::Floor, rivals::Service};

pub(super) const DIRECT: &str = "no balancer";
pub(super) const LBD: &str = "lbd dsr";
pub(super) const LBD_NAT: &str = "lbd nat";
pub(super) const FLOOR: &str = "XDP floor";
pub(super) const NFT_DNAT: &str = "nftables dnat";
pub(super) const HAPROXY: &str = "HAProxy";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Direct,
    DirectLikeNic,
    Lbd,
    LbdNat,
    Floor,
    NftDsr,
    NftDnat,
    Haproxy,
}

const CONTESTANTS: [(Kind, &str); 8] = [
    (Kind::Direct, DIRECT),
    (Kind::DirectLikeNic, "direct, frames as of a NIC"),
    (Kind::Floor, FLOOR),
    (Kind::Lbd, LBD),
    (Kind::LbdNat, LBD_NAT),
    (Kind::NftDsr, "nftables dsr"),
    (Kind::NftDnat, NFT_DNAT),
    (Kind::Haproxy, HAPROXY),
];

/// Hosts with a mail server. One more is reached without a balancer, on a port like a NIC.
const BACKENDS: usize = 3;

/// All of them; dropping it ends them.
pub(super) struct Rivals {
    /// Where each is reached.
    targets: Vec<SocketAddr>,
    // In the order in which they end.
    _haproxy: Option<Process>,
    _floor: Option<(Floor, XdpLink)>,
    _cluster: Cluster,
    _sinks: Vec<Sink>,
    lab: Lab,
}

impl Rivals {
    pub(super) fn new() -> Result<Self> {
        let directors = CONTESTANTS.iter().filter(|(kind, _)| kind.has_director());
        let nodes = BACKENDS + 1 + directors.count();
        let lab = Lab::new(&Spec {
            clients: 1,
            nodes: u8::try_from(nodes)?,
            sources: u16::try_from(CONTESTANTS.len())?,
        })?;
        let (backends, rest) = lab.nodes.split_at(BACKENDS);
        let (like_nic, directors) = rest.split_first().context("no node is left")?;
        for backend in backends {
            lab.make_plain(backend)?;
        }
        let sinks: Result<Vec<Sink>> = backends
            .iter()
            .chain([like_nic])
            .map(Sink::without_notes)
            .collect();
        let sinks = sinks?;
        let mut cluster = Cluster::new(&lab, Settings::default())?;
        let mut targets = Vec::new();
        let (mut haproxy, mut floor) = (None, None);
        let mut next_director = 0;
        for (nth, (kind, name)) in (0..).zip(CONTESTANTS) {
            let service = Service {
                vip: Ipv4Addr::new(10, 77, 0, 100 + nth),
                backends,
            };
            let direct = match kind {
                Kind::Direct => Some(backends[0].address4()),
                Kind::DirectLikeNic => Some(like_nic.address4()),
                _ => None,
            };
            if let Some(address) = direct {
                targets.push(SocketAddr::new(address.into(), 25));
                continue;
            }
            targets.push(service.target());
            let client = lab.client().addresses4[usize::from(nth)];
            let vip = service.vip;
            lab.client()
                .ip(&format!("route add {vip}/32 dev {INTERFACE} src {client}"))?;
            let (index, director) = (BACKENDS + 1 + next_director, &directors[next_director]);
            next_director += 1;
            if !kind.is_xdp() {
                lab.make_plain(director)?;
                service.hold(director)?;
            }
            match kind {
                Kind::Direct | Kind::DirectLikeNic => {}
                Kind::Floor => {
                    service.hold(director)?;
                    service.on_loopbacks()?;
                    floor = Some(attach_floor(&service, director)?);
                }
                Kind::Lbd => {
                    service.on_loopbacks()?;
                    service.lbd(&mut cluster, index, "dsr", 10 + nth)?;
                }
                Kind::LbdNat => {
                    service.lbd(&mut cluster, index, "nat", 10 + nth)?;
                    service.answer_through(client, vip)?;
                }
                Kind::NftDsr => {
                    service.on_loopbacks()?;
                    service.nftables_dsr(director)?;
                }
                Kind::NftDnat => {
                    service.nftables_dnat(director)?;
                    service.answer_through(client, director.address4())?;
                }
                Kind::Haproxy => haproxy = Some(service.haproxy(director, lab.folder())?),
            }
            smtp_source(lab.client(), service.target(), 20, 2)
                .with_context(|| format!("the first sessions through {name}"))?;
        }
        Ok(Self {
            targets,
            _haproxy: haproxy,
            _floor: floor,
            _cluster: cluster,
            _sinks: sinks,
            lab,
        })
    }

    pub(super) fn names() -> Vec<&'static str> {
        CONTESTANTS.iter().map(|(_, name)| *name).collect()
    }

    /// What the names of its namespaces start with.
    pub(super) fn prefix(&self) -> &str {
        self.lab.prefix()
    }

    pub(super) fn client(&self) -> &Host {
        self.lab.client()
    }

    /// Where a contestant is reached.
    pub(super) fn target(&self, line: usize) -> SocketAddr {
        self.targets[line]
    }

    /// Every host with TCP connections.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.lab.nodes.iter().chain(&self.lab.clients)
    }
}

impl Kind {
    fn has_director(self) -> bool {
        !matches!(self, Self::Direct | Self::DirectLikeNic)
    }

    fn is_xdp(self) -> bool {
        matches!(self, Self::Floor | Self::Lbd | Self::LbdNat)
    }
}

/// One lookup in the kernel's LRU hash, and the MACs.
fn attach_floor(service: &Service<'_>, director: &Host) -> Result<(Floor, XdpLink)> {
    let macs: Vec<[u8; 6]> = service.backends.iter().map(|host| host.mac.0).collect();
    let mut floor = Floor::load_for(service.vip, &macs)?;
    let index = director.interface_index(INTERFACE)?;
    let link = director.inside(|| floor.attach("lru", index))??;
    Ok((floor, link))
}
