//! The VIP on a backend: on `lo`, so that the box takes what the director sends it, and silent, so
//! that only the master answers for it.
//!
//! **IPv4.** Linux answers ARP for any of its addresses on any interface. `arp_ignore` 1 makes an
//! interface answer only for its own, so a VIP on `lo` is never answered for, and a VIP that is also
//! a lease on eth0 is answered for on eth0 while the lease lasts. `arp_announce` 2 keeps the VIP out
//! of the sender field of the box's own ARP requests, which neighbours learn from: a backend that
//! answers a client from the VIP would otherwise draw the VIP to itself. The kernel takes the larger
//! of `all` and the interface's own value (Documentation/networking/ip-sysctl.rst). `all` is raised
//! because the VIP is local to the whole box, so no interface may answer for it, and each interface
//! of lbd's besides, so that a stray write to `all` does not make two masters. An `arp_ignore` of 2
//! (answer only askers of one's own subnet) is stricter and serves as well; above that the kernel
//! answers no host for the lease (3, 8), or all hosts for everything (4 to 7 are reserved and mean 0),
//! and so it is refused.
//!
//! **IPv6** needs no sysctl: a neighbour solicitation is answered only for an address of the
//! interface it came in on (`ndisc_recv_ns`, net/ipv6/ndisc.c), and a solicitation is sent from an
//! address of the outgoing interface (`ndisc_solicit`).
//!
//! `rp_filter` is left alone: frames for the VIP come in on the interface that the replies to their
//! sender leave by, which is what even its strict mode asks for.
use std::net::IpAddr;

use super::{Change, Host, HostError, links, sysctl};

/// Answer only for addresses of the interface that was asked.
const ARP_IGNORE: u32 = 1;
/// The highest value with which a lease is still answered for, and a VIP on `lo` is not.
const ARP_IGNORE_MAX: u32 = 2;
/// Ask with the best address of one's own for that neighbour.
const ARP_ANNOUNCE: u32 = 2;

impl Host {
    /// Keeps the box from answering or announcing what is only on `lo`: for itself (`all`) and for
    /// each of lbd's interfaces, where the value is lower. Call this *before* [`Host::hold_vip`].
    ///
    /// Returns the sysctls that were too low. An interface that is not there (yet) is passed over.
    ///
    /// Fails with [`HostError::ArpIgnore`], and changes nothing, where `arp_ignore` is above 2.
    pub fn suppress_arp(&mut self, interfaces: &[String]) -> Result<Vec<String>, HostError> {
        let interfaces = self.those_there(interfaces)?;
        let scopes = || std::iter::once("all").chain(interfaces.iter().copied());
        for scope in scopes() {
            let key = format!("net/ipv4/conf/{scope}/arp_ignore");
            let value = sysctl::read(&key)?;
            if value > ARP_IGNORE_MAX {
                return Err(HostError::ArpIgnore { key, value });
            }
        }
        let mut raised = Vec::new();
        for scope in scopes() {
            for (name, at_least) in [("arp_ignore", ARP_IGNORE), ("arp_announce", ARP_ANNOUNCE)] {
                let key = format!("net/ipv4/conf/{scope}/{name}");
                if self.raise_sysctl(&key, at_least)? {
                    raised.push(key);
                }
            }
        }
        Ok(raised)
    }

    /// Puts a VIP on `lo`, as a /32 or /128 of scope host, for as long as lbd runs.
    pub fn hold_vip(&mut self, vip: IpAddr) -> Result<(), HostError> {
        self.make(&on_loopback(vip))
    }

    /// Those of these VIPs that are not on `lo`.
    pub fn missing_vips(&mut self, vips: &[IpAddr]) -> Result<Vec<IpAddr>, HostError> {
        let links = links::read(&mut self.netlink)?;
        let loopback = links.named("lo")?;
        let missing = vips.iter().filter(|vip| !loopback.has(**vip));
        Ok(missing.copied().collect())
    }

    /// Takes a VIP off `lo` that the configuration no longer has.
    pub fn drop_vip(&mut self, vip: IpAddr) -> Result<(), HostError> {
        self.release(&on_loopback(vip)).map(drop)
    }
}

fn on_loopback(vip: IpAddr) -> Change {
    Change::Address {
        address: vip,
        interface: "lo".to_owned(),
    }
}
