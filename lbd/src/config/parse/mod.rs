//! The sections of the file, key by key, with their defaults.
use std::{path::PathBuf, time::Duration};

use super::{
    Config,
    access::{Access, OnDeny},
    check, choice,
    cluster::{
        Affinity, Announce, AtDeadline, Authentication, Cluster, Drain, Idle, Mode,
        NoHealthyBackend, Selection, VrrpChecksum,
    },
    error::ConfigError,
    health::{Check, Health},
    node::{History, MailSystem, Node, Queue, StartAs, Xdp},
    policy::{Connections, Kind, Policy},
    reader::{Reader, Table},
    site::{Backend, Forwarding, Site},
    source::{Complaint, Source as File},
    stats::Source,
    values, yaml,
};
use crate::units::{Priority, Weight};

mod stats;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Reads a whole file: see [`Config::parse`].
pub(super) fn parse(text: &str, origin: &str) -> Result<Config, Vec<ConfigError>> {
    let file = File::new(text, origin);
    if text.len() > yaml::MAX_BYTES {
        let complaint = Complaint::new(
            format!(
                "it has {} bytes, more than the limit of {}",
                text.len(),
                yaml::MAX_BYTES
            ),
            "put long lists into access.allow_file and access.deny_file",
        );
        return Err(vec![file.error_at(None, "", complaint)]);
    }
    let root = yaml::parse(text).map_err(|error| {
        let complaint = Complaint::new(error.problem, "fix the YAML here, then check again");
        vec![file.error_at(error.place, "", complaint)]
    })?;
    let reader = Reader::new(file);
    let mut table = reader.root(&root);
    let node = table
        .required_table("node", "{name: mx1, interfaces: [eth0]}")
        .map(node);
    let mut cluster = table
        .required_table("cluster", "{virtual_router_id: 51, ...}")
        .map(cluster);
    let own = node.as_ref().and_then(|node| node.virtual_router_id);
    if let (Some(own), Some(cluster)) = (own, &mut cluster) {
        cluster.virtual_router_id = own;
    }
    table.finish();
    let warnings = match (&node, &cluster) {
        (Some(node), Some(cluster)) => check::check(node, cluster, &reader),
        _ => Vec::new(),
    };
    let (source, errors) = reader.finish();
    match (node, cluster) {
        (Some(node), Some(cluster)) if errors.is_empty() => Ok(Config {
            keys: None,
            allowed: cluster.access.allow.clone(),
            denied: cluster.access.deny.clone(),
            warnings,
            source,
            node,
            cluster,
        }),
        _ => Err(errors),
    }
}

fn node(mut t: Table<'_>) -> Node {
    let node = Node {
        name: t.required("name", "mx1", values::name).unwrap_or_default(),
        interfaces: t
            .required_list("interfaces", "[eth0]")
            .unique_list("interfaces", values::interface, String::clone)
            .unwrap_or_default(),
        priority: Priority(t.or("priority", 100, priority)),
        virtual_router_id: t.optional("virtual_router_id", None, values::number(1..=255)),
        start_as: t.or("start_as", StartAs::Backup, choice::read),
        stop_wait: t.or(
            "stop_wait",
            10 * SECOND,
            values::time(Duration::ZERO..=600 * SECOND),
        ),
        xdp: t.or("xdp", Xdp::Auto, choice::read),
        flows: t.or("flows", 1_000_000, values::number(1_024..=16_777_216)),
        pin_dir: t.or("pin_dir", "/sys/fs/bpf/lbd".into(), values::path),
        state_dir: t.or("state_dir", "/var/lib/lbd".into(), values::path),
        control: t.or("control", "/run/lbd/lbd.sock".into(), values::socket_path),
        http: t.optional("http", Some(([127, 0, 0, 1], 9425).into()), values::socket),
        http_names: t
            .unique_list("http_names", values::host_name, String::clone)
            .unwrap_or_default(),
        channel: t.optional("channel", None, values::socket),
        notify: stats::program(&mut t, "notify"),
        queue: queue(t.table("queue")),
        history: history(t.table("history")),
    };
    t.finish();
    node
}

fn priority(text: &str) -> Result<u8, Complaint> {
    let read = match text {
        "0" => Err("0 is what a master sends when it stops".to_owned()),
        _ => values::number(1..=255)(text).map_err(|complaint| complaint.problem),
    };
    let hint = "give a whole number from 1 to 254, or 255 on the box that owns the VIP";
    read.map_err(|problem| Complaint::new(problem, hint))
}

fn queue(mut t: Table<'_>) -> Queue {
    let queue = Queue {
        system: t.or("system", MailSystem::Auto, choice::read),
        spool: t.optional("spool", None, values::path),
    };
    t.finish();
    queue
}

fn history(mut t: Table<'_>) -> History {
    let history = History {
        keep: t.or("keep", 31 * DAY, values::time(DAY..=366 * DAY)),
        megabytes: t.or("megabytes", 256, values::number(8..=65_536)),
    };
    t.finish();
    history
}

fn cluster(mut t: Table<'_>) -> Cluster {
    let forwarding = t.or("forwarding", Forwarding::Dsr, choice::read);
    let stats = stats::stats(t.table("stats"));
    let secret_file = t.optional("secret_file", None, values::path);
    let unsaid = if secret_file.is_some() {
        Authentication::Enforce
    } else {
        Authentication::Off
    };
    let cluster = Cluster {
        virtual_router_id: t
            .required("virtual_router_id", "51", values::number(1..=255))
            .unwrap_or(0),
        virtual_addresses: t
            .required_list("virtual_addresses", "[192.0.2.25/24]")
            .unique_list("virtual_addresses", values::virtual_address, |vip| {
                vip.address
            })
            .unwrap_or_default(),
        ports: t
            .unique_list("ports", values::port, |port| *port)
            .unwrap_or_else(|| vec![25]),
        mode: t.or("mode", Mode::ActiveActive, choice::read),
        forwarding,
        advertisement_interval: t.or("advertisement_interval", SECOND, advertisement_interval),
        preempt: t.or("preempt", true, values::boolean),
        preempt_delay: t.or(
            "preempt_delay",
            Duration::ZERO,
            values::time(Duration::ZERO..=HOUR),
        ),
        sync_timeout: t.or(
            "sync_timeout",
            10 * SECOND,
            values::time(Duration::ZERO..=HOUR),
        ),
        unicast_peers: t
            .unique_list("unicast_peers", values::host_address, |peer| *peer)
            .unwrap_or_default(),
        directors: t
            .unique_list("directors", values::host_address, |director| *director)
            .unwrap_or_default(),
        vrrp_checksum: t.or("vrrp_checksum", VrrpChecksum::Rfc5798, choice::read),
        advertise_link_local: t.or("advertise_link_local", true, values::boolean),
        authentication: t.or("authentication", unsaid, choice::read),
        announce: announce(t.table("announce")),
        no_healthy_backend: t.or(
            "no_healthy_backend",
            NoHealthyBackend::LowerPriority,
            choice::read,
        ),
        secret_file,
        health: health(t.table("health")),
        policy: policy(t.table("policy")),
        access: access(t.table("access")),
        selection: selection(t.table("selection")),
        idle: idle(t.table("idle")),
        drain: drain(t.table("drain")),
        sites: t
            .required_list(
                "sites",
                "[{name: here, backends: [{name: mx1, address: 192.0.2.11}]}]",
            )
            .tables("sites")
            .unwrap_or_default()
            .into_iter()
            .map(|table| site(table, forwarding, &stats.source))
            .collect(),
        stats,
    };
    t.finish();
    cluster
}

/// 12 bits of centiseconds (RFC 9568, 5.2.7), and none of them 0.
fn advertisement_interval(text: &str) -> Result<Duration, Complaint> {
    let value = values::time(10 * MS..=40_950 * MS)(text)?;
    if value.as_millis().is_multiple_of(10) {
        return Ok(value);
    }
    Err(Complaint::new(
        format!("{text} is not a whole number of centiseconds"),
        "VRRPv3 counts in steps of 10ms: give a multiple of 10ms",
    ))
}

fn announce(mut t: Table<'_>) -> Announce {
    let announce = Announce {
        count: t.or("count", 5, values::number(1..=100)),
        gap: t.or("gap", 100 * MS, values::time(Duration::ZERO..=10 * SECOND)),
        repeat: t.or("repeat", SECOND, values::time(Duration::ZERO..=DAY)),
    };
    t.finish();
    announce
}

fn health(mut t: Table<'_>) -> Health {
    let health = Health {
        check: t.or("check", Check::Smtp, choice::read),
        interval: t.or("interval", 5 * SECOND, values::time(100 * MS..=HOUR)),
        timeout: t.or("timeout", 10 * SECOND, values::time(100 * MS..=HOUR)),
        rise: t.or("rise", 2, values::number(1..=100)),
        fall: t.or("fall", 3, values::number(1..=100)),
        panic_threshold: t.optional("panic_threshold", Some(1.0), values::fraction(0.01..=1.0)),
        port: t.optional("port", None, values::port),
        helo: t.optional("helo", None, values::protocol_word),
        tls: t.optional("tls", None, choice::read),
        starttls: t.or("starttls", false, values::boolean),
        recipient: t.optional("recipient", None, values::protocol_word),
    };
    t.finish();
    health
}

fn policy(mut t: Table<'_>) -> Policy {
    let policy = Policy {
        kind: t.or("kind", Kind::QueueAware, choice::read),
        connections: t.or("connections", Connections::UniqueIps, choice::read),
        above_average: t.or("above_average", 50, values::number(0..=1_000_000)),
        high_threshold: t.or("high_threshold", 200, values::number(0..=1_000_000)),
        min_active: t.or("min_active", 0.5, values::fraction(0.0..=1.0)),
        scale: t.or("scale", 20.0, values::fraction(0.01..=1_000_000.0)),
        smoothing: t.or("smoothing", 0.5, values::fraction(0.01..=1.0)),
        return_below: t.or("return_below", 0.6, values::fraction(0.0..=1.0)),
        slow_start: t.or(
            "slow_start",
            60 * SECOND,
            values::time(Duration::ZERO..=HOUR),
        ),
    };
    t.finish();
    policy
}

fn access(mut t: Table<'_>) -> Access {
    let access = Access {
        allow: t.list("allow", values::network).unwrap_or_default(),
        deny: t.list("deny", values::network).unwrap_or_default(),
        allow_file: t.optional("allow_file", None::<PathBuf>, values::path),
        deny_file: t.optional("deny_file", None::<PathBuf>, values::path),
        on_deny: t.or("on_deny", OnDeny::Drop, choice::read),
        new_per_second: t.optional("new_per_second", None, values::number(1..=1_000_000)),
    };
    t.finish();
    access
}

fn selection(mut t: Table<'_>) -> Selection {
    let selection = Selection {
        affinity: t.or("affinity", Affinity::Off, choice::read),
        max_skew: t.or("max_skew", 1.5, values::fraction(1.0..=100.0)),
    };
    t.finish();
    selection
}

fn idle(mut t: Table<'_>) -> Idle {
    // The flow table counts in units of 1.07 s, and wraps after 19.5 h.
    let range = 2 * SECOND..=18 * HOUR;
    let idle = Idle {
        half_open: t.or("half_open", 10 * SECOND, values::time(range.clone())),
        established: t.or("established", 900 * SECOND, values::time(range.clone())),
        closing: t.or("closing", 30 * SECOND, values::time(range)),
    };
    t.finish();
    idle
}

fn drain(mut t: Table<'_>) -> Drain {
    let drain = Drain {
        deadline: t.optional("deadline", None, values::time(SECOND..=30 * DAY)),
        at_deadline: t.or("at_deadline", AtDeadline::Keep, choice::read),
    };
    t.finish();
    drain
}

fn site(mut t: Table<'_>, forwarding: Forwarding, stats: &Source) -> Site {
    let site = Site {
        name: t.required("name", "here", values::name).unwrap_or_default(),
        spill: t
            .unique_list("spill", values::name, String::clone)
            .unwrap_or_default(),
        backends: t
            .required_list("backends", "[{name: mx1, address: 192.0.2.11}]")
            .tables("backends")
            .unwrap_or_default()
            .into_iter()
            .map(|table| backend(table, forwarding, stats))
            .collect(),
    };
    t.finish();
    site
}

fn backend(mut t: Table<'_>, forwarding: Forwarding, stats: &Source) -> Backend {
    let backend = Backend {
        name: t.required("name", "mx1", values::name).unwrap_or_default(),
        address: t
            .required("address", "192.0.2.11", values::host_address)
            .unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()),
        port: t.optional("port", None, values::port),
        weight: Weight(t.or("weight", 100, values::number(0..=Weight::MAX.0))),
        forwarding: t.or("forwarding", forwarding, choice::read),
        stats: if t.has("stats") {
            stats::own_source(t.table("stats"))
        } else {
            stats.clone()
        },
    };
    t.finish();
    backend
}
