//! The election alone, without a data plane: what the election's end-to-end tests run next to
//! keepalived. `elect-node CONFIG`; each change is a line on stdout; SIGTERM hands over and ends.
use std::{
    env, fs, io,
    net::IpAddr,
    process::ExitCode,
    sync::mpsc::{Sender, channel},
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use lbd::{
    config::Config,
    daemon::cluster::advert::{
        AdvertThread, Command, Event, Interface, InterfaceVips, LeaseControl, Settings,
    },
    election::{Found, Health},
    host::{VipSocket, gateways, links::Links},
};

/// There is no data plane whose lease could be held.
struct NoLease;

impl LeaseControl for NoLease {
    fn hold(&self, _until_ns: u64) {}
    fn release(&self) {}
}

enum Told {
    Election(Event),
    Terminate,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("elect-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let path = env::args().nth(1).context("elect-node CONFIG")?;
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let config = Config::parse(&text, &path).map_err(|errors| anyhow!("{errors:?}"))?;
    let (tell, told) = channel();
    terminate(tell.clone())?;

    let vips: Vec<IpAddr> = config
        .cluster
        .virtual_addresses
        .iter()
        .map(|vip| vip.address)
        .collect();
    let links = Links::read()?;
    let link = links.named(&config.node.interfaces[0])?;
    let interface =
        Interface::of(link, &vips, &config.cluster.unicast_peers).context("not Ethernet")?;
    let control = InterfaceVips::new(VipSocket::open()?);
    let gateways = gateways(interface.ifindex)?;
    let mut settings = Settings::of(&config, interface, Vec::new());
    settings.witnesses.extend(gateways);
    let thread = AdvertThread::spawn(
        settings,
        Health::GOOD,
        Found::Nothing,
        Box::new(NoLease),
        Box::new(control),
        move |event| {
            // At the end the receiver is gone.
            let _ = tell.send(Told::Election(event));
        },
    )?;
    for told in told {
        match told {
            Told::Terminate => break,
            Told::Election(Event::BecameMaster { why }) => println!("master: {why}"),
            Told::Election(Event::BecameBackup { why, .. }) => println!("backup: {why}"),
            Told::Election(Event::WantSync { .. }) => thread.send(Command::SyncDone),
            Told::Election(Event::LeaderChanged(leader)) => match leader {
                Some(leader) => println!("leader: {}", leader.address),
                None => println!("leader: none"),
            },
            Told::Election(Event::Isolated) => println!("isolated"),
            Told::Election(Event::Rejoined) => println!("rejoined"),
            Told::Election(Event::Notice(notice)) => println!("notice: {notice}"),
        }
    }
    thread.stop();
    Ok(())
}

/// Has SIGTERM end the loop.
fn terminate(tell: Sender<Told>) -> Result<()> {
    // SAFETY: an all-zero set is a valid one to be filled.
    let mut signals: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set outlives the calls; no old mask is asked for. Threads made later inherit it.
    let blocked = unsafe {
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGTERM);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut())
    };
    ensure!(blocked == 0, io::Error::from_raw_os_error(blocked));
    thread::spawn(move || {
        let mut signal = 0;
        // SAFETY: both outlive the call.
        unsafe { libc::sigwait(&raw const signals, &raw mut signal) };
        let _ = tell.send(Told::Terminate);
    });
    Ok(())
}
