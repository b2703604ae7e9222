//! Postfix's test programs, smtp-sink and smtp-source, and a whole Postfix.
pub mod server;

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::lab::{Host, Process};

/// How long smtp-sink may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// An smtp-sink on port 25 of a host, which notes every message. It is two processes: smtp-sink
/// listens on one family only.
#[derive(Debug)]
pub struct Sink {
    processes: Vec<Process>,
    /// Where its notes are, when it takes any.
    folder: Option<PathBuf>,
}

impl Sink {
    /// Starts one on every address of `host`; its notes go below `folder`.
    pub fn start(host: &Host, folder: &Path) -> Result<Self> {
        let folder = folder.join(format!("sink-{}", host.name));
        fs::create_dir_all(&folder)?;
        // smtp-sink drops its privileges before it writes there.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
        Self::run(host, Some(folder))
    }

    /// Starts one that takes no notes: for figures of speed.
    pub fn without_notes(host: &Host) -> Result<Self> {
        Self::run(host, None)
    }

    fn run(host: &Host, folder: Option<PathBuf>) -> Result<Self> {
        let mut sink = Self {
            processes: Vec::new(),
            folder,
        };
        for (listen, target) in [
            ("0.0.0.0:25", IpAddr::from(host.address4())),
            ("[::]:25", host.address6().into()),
        ] {
            // On a busy machine one sink would be slower than another, and the balancer would
            // rightly steer around it.
            let mut command = host.command("nice");
            command
                .args(["-n", "-10", "smtp-sink"])
                .args(["-u", "nobody", "-h", &host.name, "-m", "4000"]);
            if let Some(folder) = &sink.folder {
                let notes = folder.join(format!("messages-{}", sink.processes.len()));
                command.arg("-D").arg(notes);
            }
            command.args([listen, "1024"]).stdout(Stdio::null());
            let process = host
                .spawn(&mut command)
                .context("smtp-sink is in the package postfix")?;
            sink.processes.push(process);
            sink.wait_listening(host, SocketAddr::new(target, 25))?;
        }
        Ok(sink)
    }

    fn wait_listening(&mut self, host: &Host, target: SocketAddr) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while host.inside(|| TcpStream::connect(target).is_err())? {
            let ended = self.processes.last_mut().and_then(Process::status);
            ensure!(ended.is_none(), "{}: smtp-sink ended: {ended:?}", host.name);
            ensure!(
                Instant::now() < deadline,
                "{}: smtp-sink does not listen",
                host.name
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Messages by the address they came from.
    pub fn messages(&self) -> Result<HashMap<IpAddr, u64>> {
        let mut messages = HashMap::new();
        let mut text = Vec::new();
        let folder = self.folder.as_ref().context("this sink takes no notes")?;
        for notes in fs::read_dir(folder)? {
            text.append(&mut fs::read(notes?.path())?);
        }
        for line in String::from_utf8_lossy(&text).lines() {
            let Some(address) = line.strip_prefix("X-Client-Addr: ") else {
                continue;
            };
            let address = address.strip_prefix("ipv6:").unwrap_or(address);
            let address: IpAddr = address
                .parse()
                .with_context(|| format!("smtp-sink's notes have {address:?} for an address"))?;
            *messages.entry(address.to_canonical()).or_default() += 1;
        }
        Ok(messages)
    }
}

/// Sends `total` messages of 1,000 bytes from `host` to `target`, `at_once` sessions at a time, one
/// message each.
///
/// An error when a single one fails: smtp-source gives up then.
pub fn smtp_source(host: &Host, target: SocketAddr, total: u32, at_once: u32) -> Result<()> {
    smtp_source_of(host, target, total, at_once, 1000)
}

/// The same with messages of `bytes`.
pub fn smtp_source_of(
    host: &Host,
    target: SocketAddr,
    total: u32,
    at_once: u32,
    bytes: u32,
) -> Result<()> {
    let family = if target.is_ipv4() { "-4" } else { "-6" };
    let (total, at_once, target) = (total.to_string(), at_once.to_string(), target.to_string());
    let bytes = bytes.to_string();
    // It waits for ever for an answer that does not come.
    let arguments = [
        "120",
        "smtp-source",
        family,
        "-s",
        &at_once,
        "-m",
        &total,
        "-l",
        &bytes,
        "-f",
        "a@client.test",
        "-t",
        "b@lab.test",
        &target,
    ];
    host.output("timeout", &arguments).map(drop)
}

/// Long sessions of smtp-source: each sends a message, waits, and sends the next one.
#[derive(Debug)]
pub struct LongSessions {
    process: Process,
    /// Messages that are sent in all.
    pub messages: u32,
}

impl LongSessions {
    /// Opens `sessions` of them from `host` to `target`, for `messages_each` messages of `bytes` and
    /// `wait_s` seconds between two.
    pub fn start(
        host: &Host,
        target: SocketAddr,
        sessions: u32,
        messages_each: u32,
        bytes: u32,
        wait_s: u32,
    ) -> Result<Self> {
        let messages = sessions * messages_each;
        let mut command = host.command("smtp-source");
        let numbers = [
            ("-s", sessions),
            ("-m", messages),
            ("-l", bytes),
            ("-w", wait_s),
        ];
        command.args(["-4", "-d", "-f", "a@client.test", "-t", "b@lab.test"]);
        for (flag, number) in numbers {
            command.arg(flag).arg(number.to_string());
        }
        command.arg(target.to_string()).stdout(Stdio::null());
        Ok(Self {
            process: host.spawn(&mut command)?,
            messages,
        })
    }

    /// Whether all messages are sent, or a session failed: smtp-source gives up then.
    pub fn has_ended(&mut self) -> bool {
        self.process.status().is_some()
    }

    /// Waits for the end. False when a session failed, or hangs.
    pub fn finish(mut self, patience: Duration) -> bool {
        let status = self.process.wait(patience);
        status.is_some_and(|status| status.success())
    }
}
