//! One host of the lab: a network namespace with an `eth0`.
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, ensure};
use lbd::units::Mac;
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    addresses::{VIP4, VIP6},
    netns,
    process::Process,
};

/// The interface of every host.
pub const INTERFACE: &str = "eth0";
/// What tells programs of a proxy, also in capitals.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "ftp_proxy"];

/// A host. Clones are handles on the same one; the [`super::Lab`] removes it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name in the lab: `mx1`, `client1`, `switch`.
    pub name: String,
    /// Its namespace, as `ip netns` names it.
    pub namespace: String,
    /// The MAC of its [`INTERFACE`].
    pub mac: Mac,
    /// Its own IPv4 addresses; the first is the primary one.
    pub addresses4: Vec<Ipv4Addr>,
    /// Its own IPv6 addresses, without the link-local one.
    pub addresses6: Vec<Ipv6Addr>,
    pub(super) file: Arc<File>,
}

impl Host {
    /// Its first IPv4 address.
    #[must_use]
    pub fn address4(&self) -> Ipv4Addr {
        self.addresses4[0]
    }

    /// Its first IPv6 address.
    #[must_use]
    pub fn address6(&self) -> Ipv6Addr {
        self.addresses6[0]
    }

    /// All its addresses of one family.
    #[must_use]
    pub fn addresses(&self, ipv6: bool) -> Vec<IpAddr> {
        if ipv6 {
            self.addresses6.iter().map(|a| IpAddr::from(*a)).collect()
        } else {
            self.addresses4.iter().map(|a| IpAddr::from(*a)).collect()
        }
    }

    /// What an operator does to a mail server that knows nothing of lbd: it has the virtual addresses,
    /// and does not answer for them.
    pub fn hold_vips(&self) -> Result<()> {
        self.set_sysctls(&[
            ("net.ipv4.conf.all.arp_ignore", "1"),
            ("net.ipv4.conf.all.arp_announce", "2"),
        ])?;
        self.ip_batch(&format!(
            "addr add {VIP4}/32 dev lo\naddr add {VIP6}/128 dev lo nodad\n"
        ))
    }

    /// The mount of its namespace, for `nsenter --net=`.
    #[must_use]
    pub fn namespace_path(&self) -> PathBuf {
        netns::path(&self.namespace)
    }

    fn namespace_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// A command that will run inside this host.
    ///
    /// Only its network is the host's: /sys, and with it the BPF file system, stay visible. It is
    /// in a process group of its own, so that Ctrl-C reaches us alone and we end things in order.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let file = Arc::clone(&self.file);
        command.process_group(0);
        // A proxy of this machine's is not reached from there, and what is, is reached without one.
        for name in PROXIES {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        // SAFETY: between fork and exec only setns is called, which is async-signal-safe; the
        // descriptor is kept open by the closure itself.
        unsafe {
            command.pre_exec(move || netns::enter(BorrowedFd::borrow_raw(file.as_raw_fd())));
        }
        command
    }

    /// Starts a command made by [`Self::command`].
    pub fn spawn(&self, command: &mut Command) -> Result<Process> {
        let child = command
            .spawn()
            .with_context(|| format!("{}: cannot start {command:?}", self.name))?;
        Ok(Process::new(child))
    }

    /// Runs a program to its end and returns its stdout; a status other than 0 is an error.
    pub fn output<S: AsRef<OsStr>>(&self, program: &str, arguments: &[S]) -> Result<String> {
        let output = self
            .command(program)
            .args(arguments)
            .output()
            .with_context(|| format!("{}: cannot start {program}", self.name))?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{}: {program} ended with {}: {}",
            self.name,
            output.status,
            stderr.trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `ip` inside; `arguments` are split at spaces.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        self.output("ip", &arguments)
    }

    /// The number of an interface.
    pub fn interface_index(&self, interface: &str) -> Result<u32> {
        let link = self.ip(&format!("-oneline link show dev {interface}"))?;
        let number = link.split(':').next().unwrap_or_default().trim();
        number
            .parse()
            .with_context(|| format!("{}: `ip` shows no number of {interface}", self.name))
    }

    /// Runs many `ip` commands, one a line, in one process.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        // Not `ip -netns`: that one remounts /sys, which hides the BPF file system.
        let mut child = self
            .command("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run `ip`: is iproute2 installed?")?;
        let mut stdin = child.stdin.take().expect("stdin was piped");
        // A command that fails ends `ip` early: its own message says more than our broken pipe.
        let _ = stdin.write_all(lines.as_bytes());
        drop(stdin);
        let output = child.wait_with_output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{}: `ip -batch` failed: {}",
            self.name,
            stderr.trim()
        );
        Ok(())
    }

    /// Runs `work` on a thread of its own inside this host, and waits for it.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                netns::enter(self.namespace_fd())?;
                Ok(work())
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Sends an IP packet as it is, by the route that this host has to `to`.
    pub fn send_packet(&self, packet: &[u8], to: IpAddr) -> Result<()> {
        let to = SocketAddr::new(to, 0);
        self.inside(|| {
            let raw = Protocol::from(libc::IPPROTO_RAW);
            let socket = Socket::new(Domain::for_address(to), Type::RAW, Some(raw))?;
            socket.send_to(packet, &to.into())
        })??;
        Ok(())
    }

    /// Starts a thread inside this host with an async runtime; its sockets are the host's.
    pub fn runtime<F, T>(
        &self,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> io::Result<thread::JoinHandle<io::Result<T>>>
    where
        F: Future<Output = T>,
        T: Send + 'static,
    {
        let file = Arc::clone(&self.file);
        thread::Builder::new()
            .name(self.name.clone())
            .spawn(move || {
                netns::enter(file.as_fd())?;
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                Ok(runtime.block_on(work()))
            })
    }

    /// Reads a setting below /proc/sys; `key` with dots or slashes.
    pub fn sysctl(&self, key: &str) -> Result<String> {
        let path = sysctl_path(key);
        let value = self.inside(|| std::fs::read_to_string(&path))?;
        let value = value.with_context(|| format!("{}: cannot read {key}", self.name))?;
        Ok(value.trim().to_owned())
    }

    /// Writes settings below /proc/sys.
    pub fn set_sysctls(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.inside(|| {
            for (key, value) in settings {
                std::fs::write(sysctl_path(key), value)
                    .with_context(|| format!("cannot set {key} to {value}"))?;
            }
            anyhow::Ok(())
        })?
        .with_context(|| self.name.clone())
    }
}

fn sysctl_path(key: &str) -> PathBuf {
    // As in sysctl(8): whichever separator comes first is the separator.
    let slashes = key
        .find(['.', '/'])
        .is_some_and(|at| key.as_bytes()[at] == b'/');
    let relative = if slashes {
        key.to_owned()
    } else {
        key.replace('.', "/")
    };
    PathBuf::from("/proc/sys").join(relative)
}
