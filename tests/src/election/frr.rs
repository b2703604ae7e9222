//! FRR's vrrpd on a host of the lab, for one IPv4 address. Its virtual router speaks from a macvlan
//! interface with the virtual router's MAC, which never changes: it announces the address when it
//! becomes master, and not when another master gives way to it.
use std::{
    fs::{self, File, Permissions},
    mem::MaybeUninit,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use super::{node::wait_until, packets::Packets};
use crate::{
    lab::{Host, INTERFACE, Lab, Process},
    programs,
};

/// What has to be installed for it, in a folder that is on no PATH.
pub const PROGRAMS: [&str; 2] = ["zebra", "vrrpd"];
/// The interface of the virtual router.
const VIRTUAL: &str = "vrrp4";
/// RFC 9568, section 7.3: the virtual router's MAC, here of router 51.
const VIRTUAL_MAC: &str = "00:00:5e:00:01:33";
/// The same as its adverts have it, in the source of the Ethernet header.
const VIRTUAL_MAC_BYTES: [u8; 6] = [0x00, 0x00, 0x5e, 0x00, 0x01, 0x33];
/// RFC 9568, section 5.1.1.4: the protocol of adverts.
const VRRP: u8 = 112;

/// FRR, running; dropping it kills it.
#[derive(Debug)]
pub struct Frr {
    processes: Vec<Process>,
    folder: PathBuf,
}

impl Frr {
    /// Starts it with one address, so many milliseconds between adverts.
    pub fn start(
        lab: &Lab,
        host: &Host,
        vip: Ipv4Addr,
        priority: u8,
        advert_ms: u32,
    ) -> Result<Self> {
        let folder = lab.folder().join(format!("{}-frr", host.name));
        fs::create_dir_all(&folder)?;
        // It gives root up for a user of its own before it makes its socket and its files.
        fs::set_permissions(&folder, Permissions::from_mode(0o777))?;
        let config = folder.join("vrrpd.conf");
        fs::write(
            &config,
            format!(
                "log file {}\ninterface {INTERFACE}\n vrrp 51 version 3\n vrrp 51 priority {priority}\n \
                 vrrp 51 advertisement-interval {advert_ms}\n vrrp 51 ip {vip}\n",
                folder.join("vrrpd.log").display(),
            ),
        )?;
        // The address is on the virtual router's interface, which alone may answer for it.
        host.set_sysctls(&[
            ("net.ipv4.conf.all.arp_ignore", "1"),
            ("net.ipv4.conf.all.arp_announce", "2"),
        ])?;
        host.ip_batch(&format!(
            "link add {VIRTUAL} link {INTERFACE} address {VIRTUAL_MAC} type macvlan mode bridge\n\
             addr add {vip}/32 dev {VIRTUAL}\n\
             link set {VIRTUAL} up\n"
        ))?;
        let mut frr = Self {
            processes: Vec::new(),
            folder,
        };
        let zserv = frr.folder.join("zserv.api");
        let zebra = programs::find("zebra").context("no zebra")?;
        frr.spawn(host, "zebra", host.command(zebra), Path::new("/dev/null"))?;
        wait_until("zebra listens", || Ok(zserv.exists()))?;
        let vrrpd = programs::find("vrrpd").context("no vrrpd")?;
        frr.spawn(host, "vrrpd", host.command(vrrpd), &config)?;
        Ok(frr)
    }

    fn spawn(
        &mut self,
        host: &Host,
        name: &str,
        mut command: Command,
        config: &Path,
    ) -> Result<()> {
        let file = |name: String| self.folder.join(name);
        let output = File::options()
            .create(true)
            .append(true)
            .open(file(format!("{name}.out")))?;
        command
            .args(["-P", "0", "--vty_socket"])
            .arg(&self.folder)
            .arg("-z")
            .arg(file("zserv.api".to_owned()))
            .arg("-i")
            .arg(file(format!("{name}.pid")))
            .arg("-f")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        self.processes.push(host.spawn(&mut command)?);
        Ok(())
    }

    /// Waits until an advert of it arrives at another host: then it serves. Nothing else says so at
    /// the start. Its interface is up, and so looks like a master's, before vrrpd takes it down to
    /// be a backup at first; and when vrrpd then says that it is master, the kernel may drop what
    /// goes out for up to a second (`net/core/link_watch.c` gives an interface whose carrier came
    /// back its queue once a second).
    pub fn wait_for_advert(&self, at: &Host) -> Result<()> {
        let packets = Packets::open(at)?;
        wait_until("an advert of FRR", || {
            let mut buffer = [MaybeUninit::uninit(); 2048];
            while let Some(frame) = packets.next(&mut buffer)? {
                if is_advert(frame) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .map_err(|error| error.context(self.log()))
    }

    /// Whether its virtual router is master: the kernel's word for the interface that it keeps down
    /// as a backup. True as well before its first state: see [`Self::wait_for_advert`].
    pub fn is_master(host: &Host) -> Result<bool> {
        let shown = host.ip(&format!("-oneline link show dev {VIRTUAL}"))?;
        Ok(shown.contains("LOWER_UP") && !shown.contains("protodown on"))
    }

    /// What it said so far.
    #[must_use]
    pub fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        ["zebra.out", "vrrpd.out", "vrrpd.log"].map(read).concat()
    }
}

/// Whether an Ethernet frame is an advert of its virtual router.
fn is_advert(frame: &[u8]) -> bool {
    frame.get(6..12) == Some(&VIRTUAL_MAC_BYTES)
        && frame.get(12..14) == Some(&[0x08, 0x00])
        && frame.get(23) == Some(&VRRP)
}

impl Drop for Frr {
    fn drop(&mut self) {
        for process in &mut self.processes {
            process.kill();
        }
    }
}
