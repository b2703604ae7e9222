//! What the daemon asks of the data plane, as plain data.
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use lbd_common::flow;

use crate::units::Mac;

/// How to load the program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoadOptions {
    /// A folder on a BPF file system, made when it is not there: `node.pin_dir`.
    pub pin_dir: PathBuf,
    /// Names of the interfaces to attach to: `node.interfaces`.
    pub interfaces: Vec<String>,
    /// `node.xdp`.
    pub xdp: XdpChoice,
    /// Buckets of `FLOWS4`, four flows each: a power of two.
    pub flows4_buckets: u32,
    /// Buckets of `FLOWS6`, two flows each: a power of two.
    pub flows6_buckets: u32,
}

impl LoadOptions {
    /// Tables of the default size.
    pub fn new(pin_dir: impl Into<PathBuf>, interfaces: Vec<String>, xdp: XdpChoice) -> Self {
        Self {
            pin_dir: pin_dir.into(),
            interfaces,
            xdp,
            flows4_buckets: flow::BUCKETS4,
            flows6_buckets: flow::BUCKETS6,
        }
    }
}

/// Which mode is wanted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum XdpChoice {
    /// Native where the driver has it, else generic.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the network stack: works everywhere, slower.
    Generic,
}

/// Which mode an interface got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the network stack.
    Generic,
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// A virtual address and the ports served on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VipSpec {
    /// The virtual address.
    pub address: IpAddr,
    /// TCP ports, each once.
    pub ports: Vec<u16>,
}

/// Where a backend's frames go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NextHop {
    /// The backend's MAC, or its gateway's.
    pub mac: Mac,
    /// The MAC of our interface that faces it.
    pub source_mac: Mac,
    /// That interface.
    pub ifindex: u32,
}

/// How a backend's frames are sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// Destination MAC rewritten.
    Dsr,
    /// Addresses translated.
    Nat {
        /// The port on the backend; `None` keeps the VIP's.
        port: Option<u16>,
    },
    /// Encapsulated.
    Ipip {
        /// Our own address towards the backend, of the backend's family.
        source: IpAddr,
        /// The largest inner packet in bytes.
        mtu: u16,
    },
    /// This box.
    Local,
}

/// A backend as the XDP program sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BackendSpec {
    /// Its own address.
    pub address: IpAddr,
    /// How its frames are sent.
    pub delivery: Delivery,
    /// Where they go; `None` until a neighbour has answered (and for [`Delivery::Local`]).
    pub next_hop: Option<NextHop>,
    /// False: dead by the health check, its sessions are reset.
    pub alive: bool,
}

/// A served address and port with its id in the maps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Service {
    /// The virtual address and port.
    pub address: SocketAddr,
    /// The VIP id: the same on every node, see [`super::vips`].
    pub id: u16,
}

/// The rates that the program keeps to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// New connections that one source (IPv4 address, IPv6 /64) may open each second; 0: no limit.
    pub new_per_second: u32,
    /// SYNs each second on each CPU from which on a flood is on; 0: never.
    pub flood_per_second: u32,
    /// Mid-session frames without a flow that become one, each second on each CPU; 0: none.
    pub adopt_per_second: u32,
    /// Seconds after which an open session that is not heard may lose its place; 0: never.
    pub idle_s: u32,
    /// All sessions of a source go to one backend as long as its load is within this many
    /// thousandths of its second one's; `None`: each session by itself.
    pub affinity_skew_permille: Option<u32>,
    /// A denied source's SYN is answered with RST instead of silence.
    pub reset_denied: bool,
}
