//! A box of an active-active pair, the master and half of the mail servers at once, is cut off for good.
use std::{net::Ipv4Addr, path::Path, thread, time::Duration, time::Instant};

use anyhow::Result;
use lbd_tests::{
    cluster::{Cluster, Settings},
    election::{Member, Router, Setup, holds, wait_until},
    lab::{Cut, Lab, Spec, addresses},
    smtp::server::Server,
    steady::{Ended, Steady},
};

use crate::{
    Pace,
    report::{Line, Spread, Table},
    rivals::Service,
};

const VIP: Ipv4Addr = addresses::VIP4;
const PER_SECOND: u32 = 20;
/// Longer than any sender waits for a box that is well.
const SLOW: Duration = Duration::from_secs(3);
/// After the cut: long enough for health checks with lbd's defaults, and to see that it works.
fn watched(pace: Pace) -> Duration {
    match pace {
        Pace::Full => Duration::from_mins(1),
        Pace::Quick => Duration::from_secs(10),
    }
}

const CONTESTANTS: [(bool, &str); 2] = [(true, "lbd dsr"), (false, "keepalived, nftables dsr")];
/// Between adverts: in centiseconds, and as in lbd's file.
const INTERVALS: [(u16, &str); 2] = [(100, "1s"), (10, "100ms")];

/// What is measured, in a sentence.
pub(crate) const METHOD: &str = " Two boxes that are directors and mail servers at once: the master is cut \
     off at its switch port for good, while 20 new sessions a second are begun. Bad: of those that were \
     begun after the cut, as many as the title says, those that failed within 30 s, or took longer than 3 s beyond the \
     takeover.";

pub(crate) fn table(pace: Pace) -> Result<Table> {
    let watched = watched(pace);
    let mut lines = Vec::new();
    for (is_lbd, name) in CONTESTANTS {
        let mut cells = Vec::new();
        for (centiseconds, interval) in INTERVALS {
            let mut bad = Vec::new();
            for _ in 0..pace.rounds(3) {
                let lab = Lab::new(&Spec {
                    clients: 1,
                    nodes: 2,
                    sources: 20,
                })?;
                let servers = Server::start_all(&lab.nodes)?;
                bad.push(if is_lbd {
                    let cluster = lbd(&lab, interval)?;
                    let bad = death(&lab, watched)?;
                    drop(cluster);
                    bad
                } else {
                    let boxes = keepalived(&lab, centiseconds)?;
                    let bad = death(&lab, watched)?;
                    drop(boxes);
                    bad
                });
                drop(servers);
            }
            cells.push(Spread::of(bad));
        }
        let name = name.to_owned();
        lines.push(Line { name, cells });
    }
    Ok(Table {
        title: format!(
            "new sessions that failed or took longer than 3 s, of {}",
            u64::from(PER_SECOND) * watched.as_secs()
        ),
        columns: INTERVALS.map(|(_, interval)| interval.to_owned()).to_vec(),
        lines,
        reference: None,
    })
}

/// Cuts the first box off; how many new sessions that hurt.
fn death(lab: &Lab, watched: Duration) -> Result<f64> {
    let client = lab.client();
    let sources = client.addresses(false);
    wait_until("the first is master", || holds(&lab.nodes[0], VIP.into()))?;
    let steady = Steady::start(client, sources, (VIP, 25).into(), PER_SECOND)?;
    wait_until("mail flows", || Ok(steady.served() > 40))?;
    let cut = Instant::now();
    lab.cut(&lab.nodes[0], Cut::Port)?;
    wait_until("the second is master", || holds(&lab.nodes[1], VIP.into()))?;
    let master = Instant::now();
    thread::sleep(watched.saturating_sub(cut.elapsed()));
    let ended = steady.finish();
    let is_bad = |ended: &&Ended| {
        let over = ended.began + ended.took;
        let beyond = over.saturating_duration_since(ended.began.max(master));
        ended.began >= cut && (ended.outcome.is_err() || beyond > SLOW)
    };
    let bad = u32::try_from(ended.iter().filter(is_bad).count()).unwrap_or(u32::MAX);
    Ok(bad.into())
}

/// With its defaults, but for what is compared.
fn lbd(lab: &Lab, interval: &'static str) -> Result<Cluster> {
    let settings = Settings {
        advertisement_interval: interval,
        stats_interval: "10s",
        health: "{}".to_owned(),
        policy: "{}".to_owned(),
        ipv6: false,
        ..Settings::default()
    };
    let cluster = Cluster::started(lab, settings)?;
    cluster.wait_status(0, "the peer is known", |status| {
        status.channel.peers.iter().all(|peer| peer.complete)
    })?;
    Ok(cluster)
}

fn keepalived(lab: &Lab, centiseconds: u16) -> Result<Vec<Member>> {
    for host in &lab.nodes {
        lab.make_plain(host)?;
    }
    let service = Service {
        vip: VIP,
        backends: &lab.nodes,
    };
    service.on_loopbacks()?;
    let setup = Setup::new(&[VIP.into()], centiseconds);
    let mut boxes = Vec::new();
    for (host, priority) in lab.nodes.iter().zip([200, 150]) {
        service.nftables_dsr_to_itself_too(host)?;
        let router = Router::Keepalived;
        boxes.push(Member::start(
            lab,
            host,
            router,
            &setup,
            priority,
            Path::new(""),
        )?);
    }
    Ok(boxes)
}
