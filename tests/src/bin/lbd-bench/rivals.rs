//! Balancers of a lab: lbd and what is used today, each on a host of its own before the same mail
//! servers.
use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lbd_tests::{
    cluster::Cluster,
    lab::{Host, INTERFACE, Process, addresses::PREFIX4},
};

/// How long anything may take to listen. No figure hangs on it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Without it two directors would share sessions each in its own way.
const SEED: &str = "seed 0x1bd";

/// What nftables hashes: a session, or its client alone.
pub(crate) const SESSION: &str = "ip saddr . tcp sport";
pub(crate) const ADDRESS: &str = "ip saddr";

/// Where sessions are sent, and who shares them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service<'a> {
    pub(crate) vip: Ipv4Addr,
    pub(crate) backends: &'a [Host],
}

impl Service<'_> {
    pub(crate) fn target(&self) -> SocketAddr {
        SocketAddr::new(self.vip.into(), 25)
    }

    /// Has the backends take what is sent to the VIP, without answering for it: direct server return.
    pub(crate) fn on_loopbacks(&self) -> Result<()> {
        for backend in self.backends {
            backend.set_sysctls(&[
                ("net.ipv4.conf.all.arp_ignore", "1"),
                ("net.ipv4.conf.all.arp_announce", "2"),
            ])?;
            backend.ip(&format!("addr add {}/32 dev lo", self.vip))?;
        }
        Ok(())
    }

    /// Has the backends send what they answer `client` through `director`.
    pub(crate) fn answer_through(&self, client: Ipv4Addr, director: Ipv4Addr) -> Result<()> {
        for backend in self.backends {
            backend.ip(&format!(
                "route add {client}/32 via {director} dev {INTERFACE}"
            ))?;
        }
        Ok(())
    }

    /// `0 : first, 1 : second`, as a map of nftables.
    fn map(&self, value: impl Fn(&Host) -> String) -> String {
        let entries = self.backends.iter().enumerate();
        let entries: Vec<String> = entries
            .map(|(nth, backend)| format!("{nth} : {}", value(backend)))
            .collect();
        format!("{{ {} }}", entries.join(", "))
    }

    /// Rules of nftables' netdev family that write the MAC of a backend and send the frame back.
    pub(crate) fn nftables_dsr(&self, director: &Host) -> Result<()> {
        let count = self.backends.len();
        let (vip, mac) = (self.vip, director.mac);
        let macs = self.map(|backend| backend.mac.to_string());
        director.output(
            "nft",
            &[format!(
                "table netdev lb {{ chain in {{ \
                 type filter hook ingress device \"{INTERFACE}\" priority 0; policy accept; \
                 ether daddr {mac} ip daddr {vip} tcp dport 25 ether saddr set {mac} \
                 ether daddr set jhash ip saddr . tcp sport mod {count} {SEED} map {macs} \
                 fwd to \"{INTERFACE}\"; }}; }}"
            )],
        )?;
        Ok(())
    }

    /// Likewise on a box that is a backend too, by a hash of [`SESSION`] or [`ADDRESS`]: what its peers
    /// steered, and its own share, goes up its own stack.
    pub(crate) fn nftables_dsr_to_itself_too(&self, director: &Host, hashed: &str) -> Result<()> {
        let count = self.backends.len();
        let (vip, mac) = (self.vip, director.mac);
        let macs = self.map(|backend| backend.mac.to_string());
        let hash = format!("jhash {hashed} mod {count} {SEED}");
        let own = self.backends.iter().position(|it| it.mac == mac);
        let own = own.map_or_else(String::new, |own| format!("{hash} {own} accept; "));
        let peers = self.backends.iter().filter(|it| it.mac != mac);
        let peers: Vec<String> = peers.map(|it| it.mac.to_string()).collect();
        let for_vip = format!("ether daddr {mac} ip daddr {vip} tcp dport 25");
        director.output(
            "nft",
            &[format!(
                "table netdev lb {{ chain in {{ \
                 type filter hook ingress device \"{INTERFACE}\" priority 0; policy accept; \
                 ether saddr {{ {} }} accept; {for_vip} {own}\
                 {for_vip} ether saddr set {mac} ether daddr set {hash} map {macs} \
                 fwd to \"{INTERFACE}\"; }}; }}",
                peers.join(", ")
            )],
        )?;
        Ok(())
    }

    /// Destination NAT by a map.
    pub(crate) fn nftables_dnat(&self, director: &Host) -> Result<()> {
        director.set_sysctls(&[
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv4.conf.all.send_redirects", "0"),
            (&format!("net.ipv4.conf.{INTERFACE}.send_redirects"), "0"),
        ])?;
        let count = self.backends.len();
        let vip = self.vip;
        let addresses = self.map(|backend| backend.address4().to_string());
        director.output(
            "nft",
            &[format!(
                "table ip lb {{ chain in {{ type nat hook prerouting priority dstnat; policy accept; \
                 ip daddr {vip} tcp dport 25 \
                 dnat to jhash ip saddr . tcp sport mod {count} {SEED} map {addresses}; }}; }}"
            )],
        )?;
        Ok(())
    }

    /// HAProxy in TCP mode, by the fewest connections, on two threads.
    pub(crate) fn haproxy(&self, director: &Host, folder: &Path) -> Result<Process> {
        let mut text = format!(
            "global\n  nbthread 2\n  maxconn 8000\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
             timeout client 60s\n  timeout server 60s\nlisten smtp\n  bind {}:25\n  \
             balance leastconn\n",
            self.vip
        );
        for backend in self.backends {
            let _ = writeln!(text, "  server {} {}:25", backend.name, backend.address4());
        }
        let config = folder.join(format!("{}.haproxy.cfg", director.name));
        fs::write(&config, text)?;
        director.set_sysctls(&[
            ("net.ipv4.ip_local_port_range", "2048 65000"),
            ("net.ipv4.tcp_tw_reuse", "1"),
        ])?;
        let mut command = director.command("haproxy");
        command
            .args(["-db", "-f"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = director.spawn(&mut command)?;
        let deadline = Instant::now() + PATIENCE;
        let target = self.target();
        while director.inside(|| TcpStream::connect(target).is_err())? {
            ensure!(Instant::now() < deadline, "HAProxy does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// Gives a host the VIP, so that it answers ARP for it.
    pub(crate) fn hold(&self, director: &Host) -> Result<()> {
        director.ip(&format!("addr add {}/32 dev {INTERFACE}", self.vip))?;
        Ok(())
    }

    /// Starts lbd as a pure director on node `index` of the lab, and waits until it takes sessions to
    /// every backend. Everything that has a default is left to it.
    pub(crate) fn lbd(
        &self,
        cluster: &mut Cluster,
        index: usize,
        forwarding: &str,
        virtual_router_id: u8,
    ) -> Result<()> {
        let config = cluster.config(index);
        let folder = config.parent().unwrap_or(Path::new("/"));
        let mut text = format!(
            "node:\n  name: lb{virtual_router_id}\n  interfaces: [{INTERFACE}]\n  priority: 200\n  \
             start_as: master\n  xdp: native\n  pin_dir: {}\n  state_dir: {}\n  control: {}\n  \
             http: null\ncluster:\n  virtual_router_id: {virtual_router_id}\n  \
             virtual_addresses: [{}/{PREFIX4}]\n  forwarding: {forwarding}\n  \
             stats: {{interval: 10s, source: none}}\n  health: {{rise: 1}}\n  \
             sites:\n    - name: lab\n      backends:\n",
            cluster.pin_dir(index).display(),
            folder.join("state").display(),
            folder.join("lbd.sock").display(),
            self.vip,
        );
        for backend in self.backends {
            let (name, address) = (&backend.name, backend.address4());
            let _ = writeln!(text, "        - {{name: {name}, address: {address}}}");
        }
        fs::write(&config, text)?;
        cluster.start(index)?;
        cluster.wait_status(index, "mastership with every backend", |status| {
            status.is_master() && status.backends.iter().all(|backend| backend.accepting)
        })?;
        Ok(())
    }
}
