//! A router of the lab: lbd's election or keepalived.
use std::{
    fs::{self, File},
    net::IpAddr,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::lab::{Host, INTERFACE, Lab, Process};

/// How long anything may take before it counts as broken. No figure hangs on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who runs the election.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Router {
    /// lbd's election.
    Lbd,
    /// keepalived with an ordinary configuration for version 3.
    Keepalived,
}

/// What both are told alike.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The VIPs, one family where keepalived takes part without [`Self::priority6`].
    pub vips: Vec<IpAddr>,
    /// 1 to 4095.
    pub centiseconds: u16,
    /// Whether a higher priority takes over.
    pub preempt: bool,
    /// Whether keepalived has the addresses on an interface with the virtual router's MAC.
    pub virtual_mac: bool,
    /// keepalived has an instance of its own for the IPv6 addresses, with this priority.
    pub priority6: Option<u8>,
    /// lbd's `cluster.advertise_link_local`.
    pub advertise_link_local: bool,
}

impl Setup {
    /// One address, a second between adverts.
    #[must_use]
    pub fn new(vips: &[IpAddr], centiseconds: u16) -> Self {
        Self {
            vips: vips.to_vec(),
            centiseconds,
            preempt: true,
            virtual_mac: false,
            priority6: None,
            advertise_link_local: true,
        }
    }
}

/// A router that runs on a host of the lab; dropping it kills it.
#[derive(Debug)]
pub struct Member {
    /// Where it runs.
    pub host: Host,
    process: Process,
    log: PathBuf,
    child_pid_file: PathBuf,
}

impl Member {
    /// Starts a router; `elect_node` is the program of lbd's election.
    pub fn start(
        lab: &Lab,
        host: &Host,
        router: Router,
        setup: &Setup,
        priority: u8,
        elect_node: &Path,
    ) -> Result<Self> {
        let file = |suffix: &str| lab.folder().join(format!("{}.{suffix}", host.name));
        let (config, log) = (file("elect.conf"), file("elect.log"));
        let mut command = match router {
            Router::Lbd => {
                fs::write(&config, lbd_config(setup, priority))?;
                let mut command = host.command(elect_node);
                command.arg(&config);
                command
            }
            Router::Keepalived => {
                fs::write(&config, keepalived_config(setup, priority))?;
                let mut command = host.command("keepalived");
                command.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]);
                command.arg(&config);
                for (option, suffix) in [("--pid", "pid"), ("--vrrp_pid", "vrrp.pid")] {
                    command.arg(option).arg(file(suffix));
                }
                command
            }
        };
        let output = File::options().create(true).append(true).open(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let process = host.spawn(&mut command)?;
        Ok(Self {
            host: host.clone(),
            process,
            log,
            child_pid_file: file("vrrp.pid"),
        })
    }

    /// What it said so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `kill -9` of every process of it.
    pub fn kill(&mut self) {
        // keepalived's child has a process group of its own, and would live on; the file that names
        // it would keep the next one from starting.
        if let Ok(text) = fs::read_to_string(&self.child_pid_file) {
            if let Ok(pid @ 2..) = text.trim().parse::<libc::pid_t>() {
                // SAFETY: kill takes plain numbers; the pid is that of our child's child, which
                // wrote it and has not been waited for as long as its parent lives.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            let _ = fs::remove_file(&self.child_pid_file);
        }
        self.process.kill();
    }

    /// Asks it to end, and waits.
    pub fn stop(&mut self) {
        self.process.stop(PATIENCE);
    }

    /// Sends a signal to the process alone.
    pub fn signal(&mut self, signal: libc::c_int) -> Result<()> {
        Ok(self.process.signal(signal)?)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the host has the address on its interface.
pub fn holds(host: &Host, address: IpAddr) -> Result<bool> {
    let shown = host.ip(&format!(
        "-oneline address show dev {INTERFACE} to {address}"
    ))?;
    Ok(!shown.trim().is_empty())
}

/// Waits until `is` says so, with what is waited for in the error.
pub fn wait_until(what: &str, is: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_until_every(Duration::from_millis(10), what, is)
}

/// Likewise, with so long between two looks.
pub fn wait_until_every(
    look: Duration,
    what: &str,
    mut is: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if is()? {
            return Ok(());
        }
        thread::sleep(look);
    }
    bail!("not within {} s: {what}", PATIENCE.as_secs())
}

fn lbd_config(setup: &Setup, priority: u8) -> String {
    let vips: Vec<String> = setup.vips.iter().map(|vip| format!("\"{vip}\"")).collect();
    format!(
        "node:\n  name: mx1\n  interfaces: [{INTERFACE}]\n  priority: {priority}\ncluster:\n  \
         virtual_router_id: 51\n  virtual_addresses: [{}]\n  advertisement_interval: {}ms\n  \
         preempt: {}\n  advertise_link_local: {}\n  sites:\n    - name: lab\n      backends: [{{name: mx1, address: \"{}\"}}]\n",
        vips.join(", "),
        u32::from(setup.centiseconds) * 10,
        setup.preempt,
        setup.advertise_link_local,
        // It is not asked for here, but it must be of the VIPs' family.
        if setup.vips[0].is_ipv4() {
            "10.77.0.11"
        } else {
            "fd00:77::11"
        },
    )
}

fn keepalived_config(setup: &Setup, priority: u8) -> String {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = setup.vips.iter().partition(|vip| vip.is_ipv4());
    let instances = match setup.priority6 {
        Some(priority6) => vec![("V", priority, v4), ("W", priority6, v6)],
        None => vec![("V", priority, setup.vips.clone())],
    };
    let nopreempt = if setup.preempt { "" } else { "  nopreempt\n" };
    let virtual_mac = if setup.virtual_mac {
        "  use_vmac vrrp.51\n"
    } else {
        ""
    };
    let instances = instances.into_iter().map(|(name, priority, vips)| {
        let vips: Vec<String> = vips.iter().map(|vip| format!("    {vip}")).collect();
        format!(
            "vrrp_instance {name} {{\n  state BACKUP\n  interface {INTERFACE}\n  virtual_router_id \
             51\n  priority {priority}\n  advert_int {}.{:02}\n{nopreempt}{virtual_mac}  \
             virtual_ipaddress {{\n{}\n  }}\n}}\n",
            setup.centiseconds / 100,
            setup.centiseconds % 100,
            vips.join("\n"),
        )
    });
    let instances: Vec<String> = instances.collect();
    format!(
        "global_defs {{\n  router_id lab\n  vrrp_version 3\n}}\n{}",
        instances.concat()
    )
}
