//! Hosts from network namespaces, on one bridge.
//!
//! ```text
//!   client1     mx1      mx2      mx3        each a namespace with an eth0
//!      |         |        |        |
//!      +---------+- br0 --+--------+         in the namespace of the switch
//! ```
//! Frames arrive at the nodes as from a NIC: with full checksums, and the bridge's ports run a
//! pass-all XDP program, so that native `XDP_TX` works on veth. Addresses are those of
//! [`addresses`]; MACs are fixed.
//!
//! A lab goes away with its [`Lab`], after a panic too; when the process dies otherwise, a small
//! shell that waits for that removes it; and a new lab first removes those of dead processes.
use std::{
    fmt::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lbd::units::Mac;

pub mod addresses;
mod container;
mod host;
mod janitor;
mod netns;
mod nft;
mod offload;
mod pass;
mod process;
mod router;
mod snapshot;

pub use host::{Host, INTERFACE};
pub use offload::Offload;
pub use pass::swap as swap_program;
pub use process::Process;
pub use router::{FAR_INTERFACE, FAR_SEGMENTS, near_router};
pub use snapshot::Snapshot;

/// A port that comes up has its carrier within milliseconds.
const CARRIER: Duration = Duration::from_secs(10);

/// What a lab is made of.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Hosts that send mail.
    pub clients: u8,
    /// Boxes of the cluster.
    pub nodes: u8,
    /// Source addresses of each client host and family, at most [`addresses::MAX_SOURCES`].
    pub sources: u16,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            clients: 1,
            nodes: 3,
            sources: 1,
        }
    }
}

/// How a link is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cut {
    /// The cable is pulled: the host sees its carrier go.
    Carrier,
    /// Somewhere beyond the next switch: the host's carrier stays.
    Silent,
    /// The switch's port neither forwards nor learns, as when STP blocks it: the carrier stays.
    Port,
    /// The host hears everything, and nothing of what it sends arrives.
    Outgoing,
    /// What the host sends arrives, and it hears nothing.
    Incoming,
}

/// A lab; dropping it removes all of it.
#[derive(Debug)]
pub struct Lab {
    /// The hosts that send mail.
    pub clients: Vec<Host>,
    /// The boxes of the cluster, `mx1` and on.
    pub nodes: Vec<Host>,
    /// The host with the bridge.
    pub switch: Host,
    /// The router to the far segment, if there is one.
    router: Option<Host>,
    prefix: String,
    folder: PathBuf,
    /// None for a lab that outlives its process.
    janitor: Option<janitor::Janitor>,
    /// Whether the lab outlives its handle.
    stays: bool,
}

/// The state of a bridge's port, as `bridge link` takes it.
const PORT_DISABLED: &str = "0";
const PORT_FORWARDING: &str = "3";

/// The prefix of a lab that outlives the process which built it (`lbd-lab up`).
pub const KEPT_PREFIX: &str = "lbd-lab";

static LABS: AtomicU32 = AtomicU32::new(0);

impl Lab {
    /// Builds a lab that goes away with this handle or with this process.
    pub fn new(spec: &Spec) -> Result<Self> {
        janitor::clean_stale();
        let nth = LABS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("lbd-{}-{nth}", std::process::id());
        let folder = std::env::temp_dir().join(&prefix);
        let janitor = janitor::Janitor::start(&prefix, &folder)?;
        Self::build(spec, prefix, folder, Some(janitor))
    }

    /// Builds the one lab that stays after its handle and this process; see [`remove_kept`].
    pub fn keep(spec: &Spec) -> Result<Self> {
        let kept = netns::names()
            .iter()
            .any(|name| name.starts_with(&format!("{KEPT_PREFIX}-")));
        ensure!(!kept, "there is a lab already; `down` removes it");
        let folder = std::env::temp_dir().join(KEPT_PREFIX);
        let mut lab = Self::build(spec, KEPT_PREFIX.to_owned(), folder, None)?;
        lab.stays = true;
        Ok(lab)
    }

    fn build(
        spec: &Spec,
        prefix: String,
        folder: PathBuf,
        janitor: Option<janitor::Janitor>,
    ) -> Result<Self> {
        ensure!(
            spec.sources <= addresses::MAX_SOURCES && spec.clients <= 4 && spec.nodes <= 64,
            "a lab has at most 4 clients, 64 nodes and {} sources",
            addresses::MAX_SOURCES
        );
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let switch = bare_host(&prefix, "switch", Mac::default())?;
        let mut lab = Self {
            clients: Vec::new(),
            nodes: Vec::new(),
            switch,
            router: None,
            prefix,
            folder,
            janitor,
            stays: false,
        };
        // From here on an error drops `lab`, which removes what is there.
        lab.switch.ip_batch(
            "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
             link set br0 up\n",
        )?;
        for index in 0..spec.nodes {
            let mut host = bare_host(
                &lab.prefix,
                &format!("mx{}", index + 1),
                addresses::mac(1, index),
            )?;
            host.addresses4.push(addresses::node4(index));
            host.addresses6.push(addresses::node6(index));
            lab.connect(&host)?;
            host.set_sysctls(&[("net.core.somaxconn", "4096")])?;
            lab.nodes.push(host);
        }
        for index in 0..spec.clients {
            let mut host = bare_host(
                &lab.prefix,
                &format!("client{}", index + 1),
                addresses::mac(2, index),
            )?;
            host.addresses4 = (0..spec.sources)
                .map(|nth| addresses::client4(index, nth))
                .collect();
            host.addresses6 = (0..spec.sources)
                .map(|nth| addresses::client6(index, nth))
                .collect();
            lab.connect(&host)?;
            // Room for thousands of sessions, one after the other, from one address.
            host.set_sysctls(&[
                ("net.ipv4.ip_local_port_range", "2048 65000"),
                ("net.ipv4.tcp_tw_reuse", "1"),
            ])?;
            lab.clients.push(host);
        }
        lab.make_ports_like_nics()?;
        Ok(lab)
    }

    /// The lab's folder for logs, sockets and configs; removed with the lab.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the names of its namespaces and pins start with: `lbd-<pid>-<n>`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The first client.
    #[must_use]
    pub fn client(&self) -> &Host {
        &self.clients[0]
    }

    /// Has the nodes reach all addresses of a client by its first one, as through a router. The kernel
    /// keeps at most 1,024 neighbours of a family for all namespaces together (`gc_thresh3`), and drops
    /// frames when there are more.
    pub fn gather_sources(&self) -> Result<()> {
        let mut lines = String::new();
        for (client, first) in (0..).zip(&self.clients) {
            let (block4, block6) = addresses::client_blocks(client);
            let (via4, via6) = (first.address4(), first.address6());
            let _ = writeln!(lines, "route add {block4} via {via4} dev {INTERFACE}");
            let _ = writeln!(lines, "route add {block6} via {via6} dev {INTERFACE}");
        }
        self.nodes.iter().try_for_each(|node| node.ip_batch(&lines))
    }

    /// Makes the client the gateway of every node.
    pub fn route_by_client(&self) -> Result<()> {
        let way = format!("route add default via {}", self.client().address4());
        self.nodes
            .iter()
            .try_for_each(|node| node.ip(&way).map(drop))
    }

    /// Cuts a host off.
    pub fn cut(&self, host: &Host, how: Cut) -> Result<()> {
        let port = port(host);
        match how {
            Cut::Carrier => self.switch.ip(&format!("link set {port} down"))?,
            Cut::Silent => self.switch.ip(&format!("link set {port} nomaster"))?,
            Cut::Port => self.set_port_state(&port, PORT_DISABLED)?,
            Cut::Outgoing => self.switch.drop_frames(&port, "ingress")?,
            Cut::Incoming => self.switch.drop_frames(&port, "egress")?,
        };
        Ok(())
    }

    /// Undoes any [`Cut`].
    pub fn restore(&self, host: &Host) -> Result<()> {
        let port = port(host);
        self.switch.ip(&format!("link set {port} master br0 up"))?;
        // A bridge refuses while the port's carrier is still coming (br_set_port_state).
        let deadline = Instant::now() + CARRIER;
        while let Err(error) = self.set_port_state(&port, PORT_FORWARDING) {
            ensure!(Instant::now() < deadline, "{port} stays down: {error:#}");
            thread::sleep(Duration::from_millis(10));
        }
        self.switch.drop_no_frames(&port)
    }

    fn set_port_state(&self, port: &str, state: &str) -> Result<String> {
        let arguments = ["link", "set", "dev", port, "state", state];
        self.switch.output("bridge", &arguments)
    }

    /// Takes a host's interface away and gives it another one of the same name and addresses.
    pub fn replug(&self, host: &Host) -> Result<()> {
        self.switch.ip(&format!("link del {}", port(host)))?;
        self.connect(host)?;
        self.make_like_nics(&[port(host)])
    }

    /// Attaches a native XDP program that passes everything to a host's interface, as some other
    /// software's.
    pub fn attach_foreign_xdp(&self, host: &Host) -> Result<()> {
        pass::attach(host, &[INTERFACE.to_owned()])
    }

    /// Has a pinned XDP link run a program that passes everything. What is attached looks as before: as
    /// after a driver has lost the program.
    pub fn disable_xdp_of(&self, link: &Path) -> Result<()> {
        pass::replace(link)
    }

    /// Makes a node's port an ordinary end of a veth pair again, as that of a client is: no XDP
    /// program, and large segments and unfinished checksums go through as they are.
    pub fn make_plain(&self, host: &Host) -> Result<()> {
        let port = port(host);
        self.switch.ip(&format!("link set dev {port} xdpdrv off"))?;
        let all = [
            Offload::TxChecksum,
            Offload::TcpSegmentation,
            Offload::GenericSegmentation,
        ];
        self.switch.set_offloads(&port, &all.map(|one| (one, true)))
    }

    /// Connects a host to the bridge and gives it its addresses.
    fn connect(&self, host: &Host) -> Result<()> {
        // No duplicate address detection: its second of silence would be one of every test.
        host.set_sysctls(&[
            ("net.ipv6.conf.all.disable_ipv6", "0"),
            ("net.ipv6.conf.default.disable_ipv6", "0"),
            ("net.ipv6.conf.default.accept_dad", "0"),
            ("net.ipv6.conf.default.accept_ra", "0"),
            ("net.ipv4.conf.all.rp_filter", "0"),
            ("net.ipv4.conf.default.rp_filter", "0"),
        ])?;
        let (port, mac) = (port(host), host.mac);
        let namespace = &host.namespace;
        self.switch.ip_batch(&format!(
            "link add {port} type veth peer name {INTERFACE} address {mac} netns {namespace}\n\
             link set {port} master br0 up\n"
        ))?;
        let mut lines = format!("link set {INTERFACE} up\n");
        for address in &host.addresses4 {
            let prefix = addresses::PREFIX4;
            let _ = writeln!(lines, "addr add {address}/{prefix} dev {INTERFACE}");
        }
        for address in &host.addresses6 {
            let prefix = addresses::PREFIX6;
            let _ = writeln!(lines, "addr add {address}/{prefix} dev {INTERFACE} nodad");
        }
        host.ip_batch(&lines)
    }

    /// XDP forgets that a checksum is still to be filled in (`CHECKSUM_PARTIAL`), so what goes to
    /// a node has to have it; and `XDP_TX` needs an XDP program on the other end (see [`pass`]).
    fn make_ports_like_nics(&self) -> Result<()> {
        let ports: Vec<String> = self.nodes.iter().map(port).collect();
        self.make_like_nics(&ports)
    }

    fn make_like_nics(&self, ports: &[String]) -> Result<()> {
        for port in ports {
            self.switch
                .set_offloads(port, &[(Offload::TxChecksum, false)])?;
        }
        if ports.is_empty() {
            return Ok(());
        }
        pass::attach(&self.switch, ports)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.stays {
            janitor::clean(&self.prefix, Some(&self.folder));
        }
        self.janitor = None;
    }
}

/// Removes the lab that [`Lab::keep`] built.
pub fn remove_kept() {
    let folder = std::env::temp_dir().join(KEPT_PREFIX);
    janitor::clean(KEPT_PREFIX, Some(&folder));
}

/// The namespace of a host of the kept lab.
#[must_use]
pub fn kept_namespace(host: &str) -> PathBuf {
    netns::path(&format!("{KEPT_PREFIX}-{host}"))
}

/// The bridge's port that faces a host.
fn port(host: &Host) -> String {
    format!("p-{}", host.name)
}

fn bare_host(prefix: &str, name: &str, mac: Mac) -> Result<Host> {
    let namespace = format!("{prefix}-{name}");
    let file = netns::add(&namespace)?;
    let host = Host {
        name: name.to_owned(),
        namespace,
        mac,
        addresses4: Vec::new(),
        addresses6: Vec::new(),
        file: Arc::new(file),
    };
    host.ip("link set lo up")?;
    Ok(host)
}
