//! The real `lbd` on every node of a lab.
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

mod binary;
mod own_files;
mod settings;
mod status;

pub use binary::lbd_binary;
pub use own_files::{Disk, OwnFiles};
pub use settings::{HTTP_PORT, Settings, Site};
pub use status::{Backend, Channel, Drain, Election, Interface, Peer, Reported, Service, Status};

use crate::{
    lab::{Host, INTERFACE, Lab, Process},
    smtp::spool::Spool,
};

/// How long anything may take to settle before it counts as broken. No figure hangs on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a state that is waited for is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Lines of each daemon's log that a failed test shows.
const SHOWN_LOG_LINES: usize = 40;

/// The daemons of a lab's nodes; dropping it kills them, the lab removes what they made.
#[derive(Debug)]
pub struct Cluster {
    /// What the configuration files say; [`Self::write_configs`] after a change.
    pub settings: Settings,
    members: Vec<Member>,
    binary: PathBuf,
    environment: BTreeMap<&'static str, OsString>,
}

/// One node.
#[derive(Debug)]
struct Member {
    host: Host,
    folder: PathBuf,
    pin_dir: PathBuf,
    daemon: Option<Process>,
}

impl Member {
    fn config(&self) -> PathBuf {
        self.folder.join("lbd.yaml")
    }

    fn secret_file(&self) -> PathBuf {
        self.folder.join("cluster.key")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("lbd.log")
    }
}

impl Cluster {
    /// Writes the configuration files; starts nothing yet.
    pub fn new(lab: &Lab, settings: Settings) -> Result<Self> {
        let member = |host: &Host| {
            let pin = format!("{}-{}", lab.prefix(), host.name);
            Member {
                host: host.clone(),
                folder: lab.folder().join(&host.name),
                pin_dir: Path::new("/sys/fs/bpf").join(pin),
                daemon: None,
            }
        };
        let cluster = Self {
            settings,
            members: lab.nodes.iter().map(member).collect(),
            binary: lbd_binary()?,
            environment: BTreeMap::new(),
        };
        let secret = random_secret()?;
        for (index, member) in cluster.members.iter().enumerate() {
            fs::create_dir_all(member.folder.join("state"))?;
            // Its folders, for the agent to find a queue in.
            Spool::new(&cluster.spool(index))?;
            cluster.write_secret(index, &secret)?;
        }
        cluster.write_configs()?;
        Ok(cluster)
    }

    /// A cluster whose daemons run, agree on a master and take sessions.
    pub fn started(lab: &Lab, settings: Settings) -> Result<Self> {
        let mut cluster = Self::new(lab, settings)?;
        for index in 0..cluster.members.len() {
            cluster.start(index)?;
        }
        cluster.wait_ready()?;
        // Whoever was first may be relieved by a better one a moment later: not amid a test.
        if cluster.settings.preempts() {
            let nodes = 0..cluster.len();
            if let Some(best) = nodes.max_by_key(|index| cluster.settings.priority(*index)) {
                cluster.wait_status(best, "the best is the master", Status::is_master)?;
            }
        }
        Ok(cluster)
    }

    /// Writes every node's configuration file anew, each in one move.
    pub fn write_configs(&self) -> Result<()> {
        let hosts: Vec<Host> = self.members.iter().map(|m| m.host.clone()).collect();
        for (index, member) in self.members.iter().enumerate() {
            let places = settings::Places {
                pin_dir: &member.pin_dir,
                state_dir: &member.folder.join("state"),
                control: &member.folder.join("lbd.sock"),
                spool: &self.spool(index),
                secret_file: &member.secret_file(),
            };
            let text = self.settings.config(&hosts, index, &places);
            let (config, new) = (member.config(), member.folder.join("lbd.yaml.new"));
            fs::write(&new, text)?;
            fs::rename(&new, &config)?;
        }
        Ok(())
    }

    /// Gives node `index` a key of its own: 64 hex digits.
    pub fn write_secret(&self, index: usize, secret: &str) -> Result<()> {
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(self.members[index].secret_file())?;
        Ok(file.write_all(secret.as_bytes())?)
    }

    /// Nodes in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The spool folder whose queue node `index` reports.
    #[must_use]
    pub fn spool(&self, index: usize) -> PathBuf {
        self.members[index].folder.join("spool")
    }

    /// The configuration file of node `index`.
    #[must_use]
    pub fn config(&self, index: usize) -> PathBuf {
        self.members[index].config()
    }

    /// Where node `index` pins its maps.
    #[must_use]
    pub fn pin_dir(&self, index: usize) -> &Path {
        &self.members[index].pin_dir
    }

    /// What the daemon of node `index` has logged so far.
    #[must_use]
    pub fn log(&self, index: usize) -> String {
        fs::read_to_string(self.members[index].log()).unwrap_or_default()
    }

    /// Starts the daemon of node `index`.
    pub fn start(&mut self, index: usize) -> Result<()> {
        let member = &mut self.members[index];
        let log = File::options()
            .create(true)
            .append(true)
            .open(member.log())?;
        let mut command = member.host.command(&self.binary);
        command
            .envs(self.environment.clone())
            .args(["run", "--config"])
            .arg(member.config())
            .stdout(log.try_clone()?)
            .stderr(log);
        member.daemon = Some(member.host.spawn(&mut command)?);
        Ok(())
    }

    /// A command with the `lbd` program and the configuration of node `index`, inside it.
    #[must_use]
    pub fn command(&self, index: usize, arguments: &[&str]) -> Command {
        let member = &self.members[index];
        let mut command = member.host.command(&self.binary);
        command.args(arguments).arg("--config").arg(member.config());
        command
    }

    /// Daemons that are started from now on have this variable in their environment.
    pub fn set_variable(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.insert(name, value.into());
    }

    /// Daemons that are started from now on, and commands, are this program: an upgrade.
    pub fn replace_binary(&mut self, binary: PathBuf) {
        self.binary = binary;
    }

    /// Runs `lbd` with `arguments` on node `index` to its end.
    pub fn lbd(&self, index: usize, arguments: &[&str]) -> Result<Output> {
        let output = self.command(index, arguments).output();
        output.with_context(|| format!("cannot run {}", self.binary.display()))
    }

    /// `kill -9` of the daemon of node `index`.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut daemon) = self.members[index].daemon.take() {
            daemon.kill();
        }
    }

    /// SIGTERM to the daemon of node `index`, and waits for its end.
    pub fn stop(&mut self, index: usize) -> Result<ExitStatus> {
        let member = &mut self.members[index];
        let name = &member.host.name;
        let daemon = member.daemon.take();
        let mut daemon = daemon.with_context(|| format!("lbd does not run on {name}"))?;
        daemon
            .stop(PATIENCE)
            .with_context(|| format!("lbd on {name} ignored SIGTERM"))
    }

    /// `lbd handover` on node `index`: its daemon ends, and what it does stays.
    pub fn hand_over(&mut self, index: usize) -> Result<()> {
        let output = self.lbd(index, &["handover"])?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "lbd handover: {}", stderr.trim());
        let member = &mut self.members[index];
        let ended = member.daemon.take().and_then(|mut d| d.wait(PATIENCE));
        let name = &member.host.name;
        let status = ended.with_context(|| format!("lbd on {name} has not ended"))?;
        ensure!(status.success(), "lbd on {name} ended with {status}");
        Ok(())
    }

    /// Whether the daemon of node `index` runs.
    pub fn is_running(&mut self, index: usize) -> bool {
        let daemon = self.members[index].daemon.as_mut();
        daemon.is_some_and(|daemon| daemon.status().is_none())
    }

    /// The process id of the daemon of node `index`.
    #[must_use]
    pub fn pid(&self, index: usize) -> Option<u32> {
        Some(self.members[index].daemon.as_ref()?.id())
    }

    /// Sends a signal to the daemon of node `index`.
    pub fn signal(&mut self, index: usize, signal: libc::c_int) -> Result<()> {
        let daemon = self.members[index].daemon.as_mut();
        Ok(daemon.context("lbd does not run there")?.signal(signal)?)
    }

    /// What `lbd status --json` says on node `index`.
    pub fn status(&self, index: usize) -> Result<Status> {
        let output = self.lbd(index, &["status", "--json"])?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "lbd status on {}: {}",
            self.members[index].host.name,
            stderr.trim()
        );
        serde_json::from_slice(&output.stdout).context("lbd status --json has another form")
    }

    /// What every node says, all asked at once; an error where no daemon answers.
    #[must_use]
    pub fn statuses(&self) -> Vec<Result<Status>> {
        thread::scope(|scope| {
            let ask = |index| scope.spawn(move || self.status(index));
            let threads: Vec<_> = (0..self.len()).map(ask).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect()
        })
    }

    /// The node that says it is the master, when exactly one does.
    #[must_use]
    pub fn master(&self) -> Option<usize> {
        only_master(&self.statuses())
    }

    /// The nodes that have `address` on their interface, and so answer for it.
    pub fn holders(&self, address: IpAddr) -> Result<Vec<usize>> {
        let mut holders = Vec::new();
        for (index, member) in self.members.iter().enumerate() {
            let shown = member.host.ip(&format!("-o addr show dev {INTERFACE}"))?;
            let wanted = format!(" {address}/");
            if shown.lines().any(|line| line.contains(&wanted)) {
                holders.push(index);
            }
        }
        Ok(holders)
    }

    /// Waits until a node other than `former` is the master, and returns it.
    pub fn wait_another_master(&self, former: usize) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.master() {
                Some(master) if master != former => return Ok(master),
                _ => ensure!(Instant::now() < deadline, "no other master in {PATIENCE:?}"),
            }
            thread::sleep(POLL);
        }
    }

    /// What the data plane of node `index` has counted.
    pub fn counter(&self, index: usize, name: &str) -> Result<u64> {
        let counters = self.status(index)?.counters;
        let count = counters.get(name).copied();
        count.with_context(|| format!("no counter `{name}`"))
    }

    /// Replaces `from` by `to` in the file of every node, which takes it over live.
    pub fn edit(&self, from: &str, to: &str) -> Result<()> {
        for index in 0..self.len() {
            let file = self.config(index);
            let text = fs::read_to_string(&file)?;
            ensure!(text.contains(from), "{from:?} is not in:\n{text}");
            fs::write(file, text.replace(from, to))?;
        }
        Ok(())
    }

    /// Waits until every daemon that was started answers, and one node is the master and takes sessions to
    /// every backend; returns that one. The master alone would not do: it knows a node that was killed and
    /// started again as well as before, while that one still loads its program.
    pub fn wait_ready(&mut self) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for index in 0..self.len() {
                let daemon = self.members[index].daemon.as_mut();
                if let Some(status) = daemon.and_then(Process::status) {
                    let name = &self.members[index].host.name;
                    bail!("lbd on {name} ended with {status}:\n{}", self.log(index));
                }
            }
            let statuses = self.statuses();
            let all_answer = self
                .members
                .iter()
                .zip(&statuses)
                .all(|(member, status)| member.daemon.is_none() || status.is_ok());
            if all_answer
                && let Some(master) = only_master(&statuses)
                && let Ok(status) = &statuses[master]
                && status.backends.iter().all(|backend| backend.accepting)
            {
                return Ok(master);
            }
            ensure!(
                Instant::now() < deadline,
                "no master with all backends, or not every node answers, within {PATIENCE:?}"
            );
            thread::sleep(POLL);
        }
    }

    /// Waits until `condition` holds for what node `index` says, and returns that.
    pub fn wait_status(
        &self,
        index: usize,
        what: &str,
        condition: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status(index);
            if let Ok(status) = &status
                && condition(status)
            {
                return Ok(status.clone());
            }
            if Instant::now() >= deadline {
                let name = &self.members[index].host.name;
                bail!("{name}: not within {PATIENCE:?}: {what}; status: {status:?}");
            }
            thread::sleep(POLL);
        }
    }
}

/// A key for `cluster.secret_file`.
pub fn random_secret() -> Result<String> {
    let mut secret = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut secret)?;
    let (high, low) = secret.split_at(16);
    let half = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |all, byte| all << 8 | u128::from(*byte))
    };
    Ok(format!("{:032x}{:032x}", half(high), half(low)))
}

/// The one of them that says it is the master; `None` when none does, or several do.
fn only_master(statuses: &[Result<Status>]) -> Option<usize> {
    let is_master = |index: &usize| statuses[*index].as_ref().is_ok_and(Status::is_master);
    let mut masters = (0..statuses.len()).filter(is_master);
    let first = masters.next()?;
    masters.next().is_none().then_some(first)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        // A failed test is understood from what the daemons said.
        for (index, member) in self.members.iter().enumerate() {
            let log = self.log(index);
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(SHOWN_LOG_LINES);
            eprintln!("--- log of lbd on {}:", member.host.name);
            eprintln!("{}", lines[from..].join("\n"));
        }
    }
}
