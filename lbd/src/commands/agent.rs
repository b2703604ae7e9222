//! `lbd agent`: this box's figures for balancers elsewhere, and its sessions for the directors of its cluster.
//! Read-only.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::log::{self, LogFormat};
use crate::agent::{
    self, Agent, AgentConfig, Choice, DEFAULT_QUEUE_HALF, Spool, router, serve_agent_check,
};
use crate::config::{Config, DEFAULT_PATH};
use crate::daemon::cluster::SessionTeller;
use crate::host;
use crate::stats::own_json;

/// Count this box's queue and sessions and serve the figures.
///
/// With `node.channel` and `cluster.secret_file` in the configuration it also tells the directors, at once, of
/// sessions that begin and end here, as `lbd run` does.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where to serve /stats, /stats/agent-check and /metrics
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9426")]
    listen: SocketAddr,
    /// Where to answer HAProxy's agent-check over TCP [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    agent_check: Option<SocketAddr>,
    /// Queued messages at which the agent-check line asks for half the weight
    #[arg(long, value_name = "N", default_value_t = DEFAULT_QUEUE_HALF)]
    queue_half: u64,
    /// This box's name as a backend [default: node.name, else the host's name]
    #[arg(long, value_name = "NODE")]
    name: Option<String>,
    /// What to count: postfix, exim, sendmail, SYSTEM:FOLDER, a folder, or none;
    /// several are summed [default: node.queue, else what is found]
    #[arg(long, value_name = "SPOOL")]
    spool: Vec<String>,
    /// The ports that take mail [default: cluster.ports, else 25]
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    ports: Vec<u16>,
    /// A VIP that this box must be able to serve [default: the cluster's, but for NAT]
    #[arg(long, value_name = "ADDR")]
    vip: Vec<IpAddr>,
    /// Print the figures once and exit
    #[arg(long)]
    once: bool,
}

/// Serves until SIGTERM or SIGINT. `config` may be missing in its usual place: a mail box without
/// lbd needs none.
pub fn run(config: &Path, args: &Args) -> anyhow::Result<()> {
    let settings = settings(config, args)?;
    if args.once {
        println!("{:#}", own_json::emit(&agent::measure(&settings)));
        return Ok(());
    }
    log::start(LogFormat::Auto)?;
    let _teller = teller(config, &settings.node);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime.block_on(serve(settings, args))
}

/// Tells the directors of this box's sessions, where the configuration says how; what is wrong is no reason to
/// serve no figures.
fn teller(path: &Path, node: &str) -> Option<SessionTeller> {
    let text = fs::read_to_string(path).ok()?;
    let parsed = Config::parse(&text, &path.display().to_string()).ok()?;
    if parsed.node.channel.is_none() || parsed.cluster.secret_file.is_none() {
        info!(
            "the directors are not told of this box's sessions: {} names no node.channel or no cluster.secret_file",
            path.display()
        );
        return None;
    }
    let mut config = match Config::load(path) {
        Ok(config) => config,
        Err(mistakes) => {
            let why = super::config_file::InvalidConfig(mistakes);
            warn!("the directors are not told of this box's sessions: {why}");
            return None;
        }
    };
    node.clone_into(&mut config.node.name);
    if config.own_backend().is_none() {
        warn!(
            "the directors are not told of this box's sessions: {node} is no backend of the cluster; give --name"
        );
        return None;
    }
    match SessionTeller::start(&config) {
        Ok(teller) if teller.off().is_none() => Some(teller),
        // It has said why.
        Ok(_) => None,
        Err(error) => {
            warn!("the directors are not told of this box's sessions: {error}");
            None
        }
    }
}

fn settings(config: &Path, args: &Args) -> anyhow::Result<AgentConfig> {
    let mut settings = match fs::read_to_string(config) {
        Ok(text) => match Config::parse(&text, &config.display().to_string()) {
            Ok(config) => AgentConfig::from(&config),
            Err(mistakes) => return Err(super::config_file::InvalidConfig(mistakes).into()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound && config == Path::new(DEFAULT_PATH) => {
            AgentConfig {
                node: host::short_name().context("cannot read the host name")?,
                ports: vec![25],
                spools: Choice::Auto,
                vips: Vec::new(),
            }
        }
        Err(error) => bail!("cannot read {}: {error}", config.display()),
    };
    if let Some(name) = &args.name {
        settings.node.clone_from(name);
    }
    if !args.ports.is_empty() {
        settings.ports.clone_from(&args.ports);
    }
    if !args.vip.is_empty() {
        settings.vips.clone_from(&args.vip);
    }
    if let Some(spools) = spools(&args.spool)? {
        settings.spools = spools;
    }
    Ok(settings)
}

fn spools(named: &[String]) -> anyhow::Result<Option<Choice>> {
    match named {
        [] => Ok(None),
        [none] if none == "none" => Ok(Some(Choice::None)),
        _ => {
            let spools = named.iter().map(|text| text.parse::<Spool>());
            let spools = spools.collect::<Result<_, _>>().context("--spool")?;
            Ok(Some(Choice::These(spools)))
        }
    }
}

async fn serve(settings: AgentConfig, args: &Args) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let node = settings.node.clone();
    let agent = Agent::new(settings);

    let http = bind(args.listen, "--listen").await?;
    println!("lbd agent: {node} at http://{}/stats", http.local_addr()?);
    if let Some(address) = args.agent_check {
        let line = bind(address, "--agent-check").await?;
        println!("lbd agent: agent-check at {}", line.local_addr()?);
        tokio::spawn(serve_agent_check(line, agent.clone(), args.queue_half));
    }
    tokio::select! {
        result = agent::serve(http, router(agent)) => result.context("the listener failed"),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

async fn bind(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another {option}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::agent::MailSystem;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(line: &str) -> Args {
        Line::parse_from(line.split(' ')).args
    }

    const CONFIG: &str = "node: {name: mx1, interfaces: [eth0]}
cluster:
  virtual_router_id: 51
  virtual_addresses: [192.0.2.25/24]
  ports: [587]
  sites: [{name: here, backends: [{name: mx1, address: 192.0.2.11}]}]
";

    #[test]
    fn the_command_line_outranks_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lbd.yaml");
        fs::write(&file, CONFIG).unwrap();

        let by_file = settings(&file, &parsed("lbd")).unwrap();
        assert_eq!(
            (by_file.node.as_str(), &by_file.ports[..]),
            ("mx1", &[587][..])
        );
        assert_eq!(by_file.vips.len(), 1);

        let args = parsed("lbd --name mx9 --ports 25,2525 --spool none --vip 192.0.2.1 --vip ::1");
        let by_line = settings(&file, &args).unwrap();
        assert_eq!(
            (by_line.node.as_str(), &by_line.ports[..]),
            ("mx9", &[25, 2525][..])
        );
        assert_eq!(by_line.spools, Choice::None);
        assert_eq!(by_line.vips.len(), 2);

        let args = parsed("lbd --spool postfix:/a --spool exim:/b");
        let Choice::These(spools) = settings(&file, &args).unwrap().spools else {
            panic!("two spools were named");
        };
        let systems: Vec<_> = spools.iter().map(|spool| spool.system).collect();
        assert_eq!(systems, [MailSystem::Postfix, MailSystem::Exim]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.yaml");
        let error = settings(&missing, &parsed("lbd")).unwrap_err();
        assert!(format!("{error:#}").contains("missing.yaml"));

        let broken = folder.path().join("lbd.yaml");
        fs::write(&broken, "node: {nme: mx1}\n").unwrap();
        let error = settings(&broken, &parsed("lbd")).unwrap_err();
        assert!(format!("{error:#}").contains("nme"), "{error:#}");

        fs::write(&broken, CONFIG).unwrap();
        let error = settings(&broken, &parsed("lbd --spool qmail")).unwrap_err();
        assert!(format!("{error:#}").contains("qmail"), "{error:#}");
    }
}
