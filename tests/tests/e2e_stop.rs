//! A box whose lbd is stopped in order while its mail server runs on: it leaves like a drain.
use std::{net::SocketAddr, thread, time::Duration};

use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{Cut, Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
    steady::Steady,
    until,
};

const HELD: usize = 40;
const PER_SECOND: u32 = 50;

/// What happens to the sessions of the box that stops.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stop {
    /// Its sessions end while it waits.
    SessionsEnd,
    /// They do not.
    SessionsStay,
    /// They end, and the box goes off the network and comes back.
    Reboot,
}

/// Stops the lbd of a box in the midst of new sessions.
fn stop(is_master: bool, how: Stop) {
    let lab = Lab::new(&Spec {
        nodes: 2,
        sources: 50,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    until("every node knows every other", || {
        cluster
            .statuses()
            .iter()
            .flatten()
            .filter(|status| status.knows_all_peers())
            .count()
            == 2
    });
    let master = cluster.master().unwrap();
    let stopped = if is_master { master } else { 1 - master };
    let (client, name) = (lab.client(), lab.nodes[stopped].name.clone());
    let vip = addresses::VIP4.into();
    let held = Held::open_to(client, vip, HELD).unwrap();
    let (mut there, mut elsewhere): (Vec<Held>, Vec<Held>) =
        held.into_iter().partition(|held| held.by() == name);
    assert!(there.len() > 5, "{} at {name}", there.len());
    let sources = client.addresses(false);
    let steady = Steady::start(client, sources, SocketAddr::new(vip, 25), PER_SECOND).unwrap();
    until("mail flows", || steady.served() > 100);
    let alive_while_it_waits = thread::scope(|scope| {
        let stopping = scope.spawn(|| cluster.stop(stopped).unwrap());
        thread::sleep(Duration::from_secs(2));
        let alive = survivors(&mut there);
        if how != Stop::SessionsStay {
            there.clear();
        }
        stopping.join().unwrap();
        alive
    });
    if how == Stop::Reboot {
        lab.cut(&lab.nodes[stopped], Cut::Carrier).unwrap();
    }
    let served = steady.served();
    until("mail flows on", || steady.served() > served + 150);
    if how == Stop::Reboot {
        lab.restore(&lab.nodes[stopped]).unwrap();
        cluster.start(stopped).unwrap();
        wait_accepting(&cluster, 1 - stopped, &name);
        let served = steady.served();
        until("mail flows on", || steady.served() > served + 150);
    }
    let ended = steady.finish();
    let failed: Vec<_> = ended
        .iter()
        .filter(|ended| ended.outcome.is_err())
        .collect();
    let lived_on = survivors(&mut elsewhere);
    println!(
        "{name} ({}) is stopped: {} of {} new sessions failed; {alive_while_it_waits} of its own went on \
         while it waited; {lived_on} of {} elsewhere live",
        if is_master { "master" } else { "backup" },
        failed.len(),
        ended.len(),
        elsewhere.len()
    );
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(lived_on, elsewhere.len());
    assert!(alive_while_it_waits > 5, "{alive_while_it_waits}");
    if how == Stop::SessionsStay {
        // What its wait was too short for is told so, and does not hang.
        let status = cluster.wait_status(1 - stopped, "it is down", |status| {
            status.backend(&name).unwrap().health == "down"
        });
        let reason = status.unwrap().backend(&name).unwrap().reason.clone();
        assert!(reason.contains("was stopped"), "{reason}");
        let kinds: Vec<_> = there
            .iter_mut()
            .map(|held| held.check().unwrap_err().kind())
            .collect();
        let reset = std::io::ErrorKind::ConnectionReset;
        assert!(kinds.iter().all(|kind| *kind == reset), "{kinds:?}");
    }
    if how != Stop::Reboot {
        cluster.start(stopped).unwrap();
        wait_accepting(&cluster, 1 - stopped, &name);
    }
}

fn wait_accepting(cluster: &Cluster, node: usize, name: &str) {
    cluster
        .wait_status(node, "it is back", |status| {
            status.backend(name).unwrap().accepting
        })
        .unwrap();
}

#[test]
fn a_stopped_backup_costs_no_new_session_and_waits_for_its_own() {
    let name = "a_stopped_backup_costs_no_new_session_and_waits_for_its_own";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    stop(false, Stop::SessionsEnd);
}

#[test]
fn a_stopped_master_costs_no_new_session_and_resets_what_it_cannot_wait_for() {
    let name = "a_stopped_master_costs_no_new_session_and_resets_what_it_cannot_wait_for";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    stop(true, Stop::SessionsStay);
}

#[test]
fn a_backup_that_reboots_costs_no_new_session() {
    let name = "a_backup_that_reboots_costs_no_new_session";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    stop(false, Stop::Reboot);
}

#[test]
fn a_master_that_reboots_costs_no_new_session() {
    let name = "a_master_that_reboots_costs_no_new_session";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    stop(true, Stop::Reboot);
}
