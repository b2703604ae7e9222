//! `node:`, what is true of this box only.
use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Serialize;

use super::{choice::choice, duration};
use crate::units::Priority;

choice! {
    /// What a node does with the VIP when its daemon starts.
    pub enum StartAs {
        /// Waits, and takes over only after it heard an advertisement of lower priority.
        Backup = "backup",
        /// Advertises at once, which makes every node of lower priority yield.
        Master = "master",
        /// Never has it: a backend on another segment, which advertisements do not reach and which
        /// is sent to by `ipip`. It stands for no election.
        Backend = "backend",
    }
}

choice! {
    /// How the XDP program is attached.
    pub enum Xdp {
        /// Native where the driver has it, else generic.
        Auto = "auto",
        /// In the driver; an error where it cannot.
        Native = "native",
        /// In the network stack, after the frame was copied: works everywhere, slower.
        Generic = "generic",
    }
}

choice! {
    /// The mail system whose queue this box has.
    pub enum MailSystem {
        /// The first that is found in its usual place: Postfix, Exim, Sendmail.
        Auto = "auto",
        /// Postfix: `active`, `incoming`, `maildrop` and `deferred` below the spool.
        Postfix = "postfix",
        /// Exim: `input` below the spool.
        Exim = "exim",
        /// Sendmail: the queue folder itself.
        Sendmail = "sendmail",
        /// No queue on this box: 0 is reported.
        None = "none",
    }
}

/// This box.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// The backend of this name is this box. A name that no backend has makes a pure director.
    pub name: String,
    /// The interfaces that frames for the VIP arrive on; the first carries the VIP and the
    /// advertisements. At least one.
    pub interfaces: Vec<String>,
    /// 1 to 254; 255 owns the VIP. Default 100.
    pub priority: Priority,
    /// This box's own VRID, in place of [`super::Cluster::virtual_router_id`]: where several boxes are
    /// directors at once, behind a router that spreads sessions over them (ECMP), each is master of
    /// a virtual router of its own. Default `null`.
    pub virtual_router_id: Option<u8>,
    /// Default `backup`.
    pub start_as: StartAs,
    /// How long a stop of the daemon waits for the sessions that this box serves to end, up to 10 min; its
    /// peers send it no new ones meanwhile. Default 10 s.
    #[serde(serialize_with = "duration::serialize")]
    pub stop_wait: Duration,
    /// Default `auto`.
    pub xdp: Xdp,
    /// IPv4 sessions, and as many IPv6 ones, that the flow table is sized for. Default 1,000,000.
    pub flows: u32,
    /// Where the maps are pinned, on a BPF file system. Default `/sys/fs/bpf/lbd`.
    pub pin_dir: PathBuf,
    /// Where drains, weights and history are kept. Default `/var/lib/lbd`.
    pub state_dir: PathBuf,
    /// The control socket. Default `/run/lbd/lbd.sock`.
    pub control: PathBuf,
    /// Metrics, API and dashboard, read-only. Default `127.0.0.1:9425`; `null` turns it off.
    pub http: Option<SocketAddr>,
    /// More names that `node.http` is called by, besides `name` and the host name: exact, with their
    /// domain, without a port. Default none.
    pub http_names: Vec<String>,
    /// Where peers find this box: the cluster channel and its stats. Default `null`, off.
    /// Without [`super::Cluster::secret_file`] it answers stats only.
    pub channel: Option<SocketAddr>,
    /// A program and its arguments, run without privileges when this node's role or a backend's health
    /// changes; it has 30 s. Default none.
    pub notify: Vec<String>,
    /// The queue that the agent counts.
    pub queue: Queue,
    /// What `lbd report` is made of.
    pub history: History,
}

impl Node {
    /// Buckets of `FLOWS4`: the power of two that leaves two slots a flow, four slots a bucket.
    #[must_use]
    pub fn buckets4(&self) -> u32 {
        (self.flows / 2).next_power_of_two()
    }

    /// Buckets of `FLOWS6`: the power of two that leaves two slots a flow, two slots a bucket.
    #[must_use]
    pub fn buckets6(&self) -> u32 {
        self.flows.next_power_of_two()
    }
}

/// `node.queue`: where the agent finds what is queued.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Queue {
    /// Default `auto`.
    pub system: MailSystem,
    /// The spool folder. Default `null`: the mail system's usual one.
    pub spool: Option<PathBuf>,
}

/// `node.history`: how much of the past is kept in `state_dir`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct History {
    /// For how long. Default `31d`.
    #[serde(serialize_with = "super::duration::serialize")]
    pub keep: Duration,
    /// In how many megabytes at most. Default 256.
    pub megabytes: u32,
}
