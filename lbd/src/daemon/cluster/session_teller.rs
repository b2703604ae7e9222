//! Tells the directors of this box's sessions where no `lbd run` does: `lbd agent`, on boxes that are backends
//! only. It is the cluster channel's thread with a table of its own, which no program shares.
use std::{
    io,
    net::SocketAddr,
    sync::mpsc::{self, RecvTimeoutError},
    thread::JoinHandle,
    time::Duration,
};

use super::channel::{ChannelHandle, IdMap};
use crate::{
    config::Config,
    daemon::{clock, steering::members},
    dataplane::{BackendIds, FlowTables, Service, seen, vips},
    flows::{Sweeper, Timeouts},
};

/// Flows of each family that are kept in mind: by them a session that the box redirects to another port is
/// known to be a service's.
const FLOWS: u32 = 1 << 16;
/// How often flows that are over are forgotten.
const SWEEP: Duration = Duration::from_secs(1);

/// It tells while it lives.
#[derive(Debug)]
pub struct SessionTeller {
    channel: ChannelHandle,
    /// Dropped, it ends the sweep.
    ends: Option<mpsc::Sender<()>>,
    sweep: Option<JoinHandle<()>>,
}

impl SessionTeller {
    /// Begins. The configuration must have been loaded with its keys.
    pub fn start(config: &Config) -> io::Result<Self> {
        let node = &config.node;
        let buckets = |buckets: u32| usize::try_from(buckets).map_err(io::Error::other);
        let tables = FlowTables::anonymous(
            buckets(node.buckets4().min(FLOWS / 2))?,
            buckets(node.buckets6().min(FLOWS))?,
        )?;
        // There is no event loop that anything would be news for.
        let mut channel = ChannelHandle::start(None, tables.clone(), |_| true)?;
        channel.follow(config, ids(config));
        let (ends, ended) = mpsc::channel();
        let sweep = std::thread::Builder::new()
            .name("lbd-sweep".into())
            .spawn(move || sweep(&tables, &ended))?;
        Ok(Self {
            channel,
            ends: Some(ends),
            sweep: Some(sweep),
        })
    }

    /// Why nothing is told.
    #[must_use]
    pub fn off(&self) -> Option<&str> {
        self.channel.off()
    }
}

impl Drop for SessionTeller {
    fn drop(&mut self) {
        self.channel.leave();
        self.ends = None;
        if let Some(sweep) = self.sweep.take() {
            let _ = sweep.join();
        }
    }
}

fn sweep(tables: &FlowTables, ended: &mpsc::Receiver<()>) {
    let (mut sweeper, timeouts) = (Sweeper::default(), Timeouts::default());
    while ended.recv_timeout(SWEEP) == Err(RecvTimeoutError::Timeout) {
        tables.sweep(&mut sweeper, seen(clock::monotonic_ns()), timeouts);
    }
}

/// Ids for the table here; the channel speaks of addresses.
fn ids(config: &Config) -> IdMap {
    let cluster = &config.cluster;
    let addresses = cluster.virtual_addresses.iter().map(|vip| vip.address);
    let services = addresses.flat_map(|vip| {
        let ports = cluster.ports.iter();
        ports.map(move |port| SocketAddr::from((vip, *port)))
    });
    let services: Vec<SocketAddr> = services.collect();
    let ids = vips::assign_ids(&[], &services, |_, _| false);
    let services = services.into_iter().zip(ids);
    let services: Vec<Service> = services
        .map(|(address, id)| Service { address, id })
        .collect();
    let mut backends = BackendIds::default();
    for endpoint in members::endpoints(&config.node.name, cluster) {
        // More than there are ids are refused by the configuration.
        let _ = backends.allocate(endpoint, |_| false);
    }
    IdMap::new(&services, &backends)
}
