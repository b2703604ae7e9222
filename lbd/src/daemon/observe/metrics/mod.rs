//! `/metrics`: a status as an exposition. Pure.
//!
//! Names follow the OpenMetrics conventions: base units, `_total` on counters, the state of a backend
//! as labels of an `_info`. `deploy/prometheus/` and `deploy/grafana/` are written against them.
mod page;
#[cfg(test)]
mod tests;

pub(in crate::daemon) use self::page::Format;
use self::page::{Kind, Labels, Page, Value};
use super::{
    counter_help::Group,
    status::{BackendStatus, ConfigComparison, ReportedStatus, ServiceStatus, Status},
};

/// The states of a backend's health, each a sample of its own.
const HEALTH: [&str; 5] = ["up", "full", "not_serving", "down", "unknown"];

/// Everything in a status that is a figure.
pub(in crate::daemon) fn exposition(status: &Status, format: Format) -> String {
    let mut page = Page::new(format);
    node(&mut page, status);
    backends(&mut page, &status.backends);
    services(&mut page, &status.services);
    flow_tables(&mut page, status);
    peers(&mut page, status);
    history(&mut page, status);
    counters(&mut page, status);
    page.end()
}

fn node(page: &mut Page, status: &Status) {
    page.family(
        Kind::Info,
        "lbd_build",
        "The running daemon.",
        [(
            vec![("node", &*status.node), ("version", &*status.version)],
            1_u64,
        )],
    );
    page.single(
        Kind::Gauge,
        "lbd_uptime_seconds",
        "Time since the daemon started.",
        status.uptime_s,
    );
    page.single(
        Kind::Gauge,
        "lbd_master",
        "1 while this node is the master. Over all nodes the sum is 1; 2 is a partition.",
        status.role == "master",
    );
    let election = &status.election;
    page.single(
        Kind::Gauge,
        "lbd_role_age_seconds",
        "Time since this node last became master or backup.",
        election.since_s,
    );
    page.single(
        Kind::Gauge,
        "lbd_priority",
        "The configured VRRP priority.",
        u64::from(election.priority),
    );
    page.family(
        Kind::Gauge,
        "lbd_virtual_address_held",
        "1 while this node holds the virtual address.",
        status
            .virtual_addresses
            .iter()
            .map(|vip| (vip.address.to_string(), vip.held))
            .collect::<Vec<_>>()
            .iter()
            .map(|(address, held)| (vec![("address", address.as_str())], *held)),
    );
    page.family(
        Kind::Gauge,
        "lbd_interface_up",
        "1 while an interface that XDP runs on has a carrier.",
        status.interfaces.iter().map(|interface| {
            let labels: Labels<'_> = vec![
                ("interface", &interface.name),
                ("xdp_mode", &interface.xdp_mode),
            ];
            (labels, interface.up)
        }),
    );
    page.single(
        Kind::Gauge,
        "lbd_config_refused",
        "1 while the configuration file is not the one that runs, because it was refused.",
        status.config.refused.is_some(),
    );
    page.family(
        Kind::Gauge,
        "lbd_config_version",
        "The version of the cluster's configuration that this node was given last; 0 before any push.",
        status
            .config
            .version
            .iter()
            .map(|version| (Vec::new(), version.number)),
    );
    page.single(
        Kind::Gauge,
        "lbd_config_loaded_timestamp_seconds",
        "When the running configuration was read, in Unix time.",
        status.config.loaded_unix_s,
    );
}

fn services(page: &mut Page, services: &[ServiceStatus]) {
    let names: Vec<(String, String)> = services
        .iter()
        .map(|service| (service.address.to_string(), service.port.to_string()))
        .collect();
    let mut family = |kind, name, help, figure: fn(&ServiceStatus) -> u64| {
        let samples = names
            .iter()
            .zip(services)
            .map(|((address, port), service)| {
                let labels: Labels<'_> = vec![("address", address), ("port", port)];
                (labels, figure(service))
            });
        page.family(kind, name, help, samples);
    };
    family(
        Kind::Gauge,
        "lbd_service_sessions",
        "Live sessions of a port of a virtual address in this node's flow table, as of the last sweep.",
        |of| of.sessions,
    );
    family(
        Kind::Gauge,
        "lbd_service_unique_sources",
        "Different client addresses among the live sessions of a port of a virtual address, as of the last sweep.",
        |of| of.unique_sources,
    );
    family(
        Kind::Counter,
        "lbd_service_steered_sessions",
        "Sessions of a port of a virtual address that were selected for a backend, since the XDP program was loaded.",
        |of| of.steered_sessions,
    );
}

fn flow_tables(page: &mut Page, status: &Status) {
    let tables = status.flows.each();
    page.family(
        Kind::Gauge,
        "lbd_flow_places",
        "Places for flows in the table of a family.",
        tables.map(|(family, table)| (vec![("family", family)], table.places)),
    );
    page.family(
        Kind::Gauge,
        "lbd_flows",
        "Flows in the table of a family by state, as of the last sweep. Half-open and unproven ones are claims, which give way to new sessions.",
        tables.iter().flat_map(|(family, table)| {
            let of = |(state, count)| (vec![("family", *family), ("state", state)], count);
            table.states().map(of)
        }),
    );
}

/// A figure of a backend, with its name and help.
type Figure = (
    Kind,
    &'static str,
    &'static str,
    fn(&BackendStatus) -> Option<Value>,
);

fn reported(of: &BackendStatus, figure: fn(&ReportedStatus) -> Option<u64>) -> Option<Value> {
    of.reported.as_ref().and_then(figure).map(Value::from)
}

/// What is one sample a backend. A figure that is not known has no sample.
const FIGURES: [Figure; 17] = [
    (
        Kind::Gauge,
        "lbd_backend_sessions",
        "Live sessions in this node's flow table.",
        |of| Some(of.sessions.into()),
    ),
    (
        Kind::Gauge,
        "lbd_backend_unique_sources",
        "Different client addresses among the live sessions, as of the last sweep.",
        |of| Some(of.unique_sources.into()),
    ),
    (
        Kind::Gauge,
        "lbd_backend_weight",
        "The effective weight; 0 takes no new session.",
        |of| Some((f64::from(of.weight_permille) / 1000.0).into()),
    ),
    (
        Kind::Gauge,
        "lbd_backend_configured_weight",
        "The weight in the configuration.",
        |of| Some(u64::from(of.weight).into()),
    ),
    (
        Kind::Gauge,
        "lbd_backend_accepting",
        "1 while new sessions go to the backend.",
        |of| Some(of.accepting.into()),
    ),
    (
        Kind::Gauge,
        "lbd_backend_resolved",
        "1 while the link-layer address on the way to the backend is known.",
        |of| Some(of.mac.is_some().into()),
    ),
    (
        Kind::Gauge,
        "lbd_backend_reported_queued_messages",
        "Messages that wait for delivery on the backend, as it says.",
        |of| reported(of, |by| by.queued),
    ),
    (
        Kind::Gauge,
        "lbd_backend_reported_deferred_messages",
        "Messages deferred on the backend, as it says.",
        |of| reported(of, |by| by.deferred),
    ),
    (
        Kind::Gauge,
        "lbd_backend_reported_sessions",
        "Open SMTP sessions on the backend, as it says.",
        |of| reported(of, |by| by.sessions),
    ),
    (
        Kind::Gauge,
        "lbd_backend_reported_unique_sources",
        "Different client addresses among the backend's sessions, as it says.",
        |of| reported(of, |by| by.unique_ips),
    ),
    (
        Kind::Gauge,
        "lbd_backend_reported_not_accepted_sessions",
        "Connections that wait for the backend's mail server to accept them, as it says.",
        |of| reported(of, |by| by.not_accepted),
    ),
    (
        Kind::Gauge,
        "lbd_backend_report_age_seconds",
        "Time since the backend last gave its figures.",
        |of| of.reported.as_ref().map(|by| by.age_s.into()),
    ),
    (
        Kind::Gauge,
        "lbd_backend_poll_failing",
        "1 while the backend's figures cannot be had.",
        |of| Some(of.poll_error.is_some().into()),
    ),
    (
        Kind::Counter,
        "lbd_backend_poll_failures",
        "Polls for the backend's figures that failed.",
        |of| Some(of.poll_failures.into()),
    ),
    (
        Kind::Counter,
        "lbd_backend_steered_sessions",
        "Sessions that were selected for the backend, since the XDP program was loaded.",
        |of| Some(of.steered.sessions.into()),
    ),
    (
        Kind::Counter,
        "lbd_backend_steered_frames",
        "Frames steered to the backend, since the XDP program was loaded.",
        |of| Some(of.steered.packets.into()),
    ),
    (
        Kind::Counter,
        "lbd_backend_steered_bytes",
        "Bytes steered to the backend, Ethernet headers included, since the XDP program was loaded.",
        |of| Some(of.steered.bytes.into()),
    ),
];

fn backends(page: &mut Page, backends: &[BackendStatus]) {
    for (kind, name, help, figure) in FIGURES {
        page.family(
            kind,
            name,
            help,
            backends
                .iter()
                .filter_map(|backend| Some((labels(backend), figure(backend)?))),
        );
    }
    page.family(
        Kind::Gauge,
        "lbd_backend_health",
        "1 for the state that the SMTP health check sees: up, full (421 or 4xx), not_serving (it answers, and the check fails), down (no connection) or unknown.",
        backends.iter().flat_map(|backend| {
            HEALTH.map(|state| {
                let mut labels = labels(backend);
                labels.push(("state", state));
                (labels, backend.health == state)
            })
        }),
    );
    page.family(
        Kind::Info,
        "lbd_backend_reason",
        "What set the backend's weight last; `lbd explain` says it with the numbers.",
        backends
            .iter()
            .filter(|backend| !backend.reason_kind.is_empty())
            .map(|backend| {
                let mut labels = labels(backend);
                labels.push(("reason", &backend.reason_kind));
                (labels, 1_u64)
            }),
    );
    page.family(
        Kind::Gauge,
        "lbd_backend_operator_order",
        "1 while an operator's order outranks the policy: a drain, or a weight set by hand.",
        backends.iter().filter_map(|backend| {
            let order = backend.operator.as_deref()?;
            let mut labels = labels(backend);
            labels.push(("order", if order == "drain" { order } else { "weight" }));
            Some((labels, 1_u64))
        }),
    );
    page.family(
        Kind::Counter,
        "lbd_backend_shut_offs",
        "Times that the backend stopped to take new sessions, by the reason.",
        backends.iter().flat_map(|backend| {
            backend.shut_offs.iter().map(move |(reason, times)| {
                let mut labels = labels(backend);
                labels.push(("reason", reason));
                (labels, *times)
            })
        }),
    );
}

fn labels(backend: &BackendStatus) -> Labels<'_> {
    vec![("backend", &backend.name), ("site", &backend.site)]
}

fn peers(page: &mut Page, status: &Status) {
    let channel = &status.channel;
    page.single(
        Kind::Gauge,
        "lbd_channel_up",
        "1 while this node tells its peers of sessions; without it a failover loses sessions.",
        channel.off.is_none(),
    );
    page.family(
        Kind::Gauge,
        "lbd_channel_peer_complete",
        "1 while this node has all sessions of the peer.",
        channel
            .peers
            .iter()
            .map(|peer| (vec![("peer", &*peer.name)], peer.complete)),
    );
    page.family(
        Kind::Gauge,
        "lbd_channel_peer_config_same",
        "1 while the peer was given the same configuration last as this node; 0 is one that missed a push.",
        channel.peers.iter().filter_map(|peer| {
            let is_same = peer.config? == ConfigComparison::Same;
            Some((vec![("peer", &*peer.name)], is_same))
        }),
    );
    page.family(
        Kind::Gauge,
        "lbd_channel_peer_silence_seconds",
        "Time since the peer was heard; nothing when it never was.",
        channel
            .peers
            .iter()
            .filter_map(|peer| Some((vec![("peer", &*peer.name)], peer.heard_s?))),
    );
}

fn history(page: &mut Page, status: &Status) {
    page.single(
        Kind::Gauge,
        "lbd_history_kept",
        "1 while the history that reports are made of is kept.",
        status.history.problem.is_none(),
    );
    page.single(
        Kind::Gauge,
        "lbd_history_bytes",
        "Bytes of the history's file that are in use.",
        status.history.used_bytes,
    );
}

fn counters(page: &mut Page, status: &Status) {
    for group in Group::ALL {
        let values = match group {
            Group::DataPlane => &status.counters,
            Group::Election => &status.election_counters,
            Group::Channel => &status.channel.counters,
            Group::History => &status.history.counters,
        };
        for (name, sentence) in group.terms() {
            if let Some(value) = values.get(name) {
                let name = format!("lbd_{}_{name}", group.name());
                page.single(Kind::Counter, &name, sentence, *value);
            }
        }
    }
}
