//! FRR's vrrpd on a host of the lab, for one IPv4 address. Its virtual router speaks from a macvlan
//! interface with the virtual router's MAC, which never changes: it announces the address when it
//! becomes master, and not when another master gives way to it.
use std::{
    fs::{self, File, Permissions},
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use super::node::wait_until;
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

    /// Whether its virtual router is master: the kernel's word for the interface that it keeps down
    /// otherwise.
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

impl Drop for Frr {
    fn drop(&mut self) {
        for process in &mut self.processes {
            process.kill();
        }
    }
}
