//! Peers whose virtual router has a MAC of its own that never changes: FRR's vrrpd, and keepalived with
//! `use_vmac`. Whoever yields to such a one has to tell the clients, since the winner sees no change.
use std::{
    net::Ipv4Addr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lbd_tests::{
    election::{
        Member, Probe, Router, Setup,
        frr::{self, Frr},
        holds, longest_silence, wait_until,
    },
    lab::{Cut, Host, Lab, Spec},
};

const ELECT_NODE: &str = env!("CARGO_BIN_EXE_elect-node");
const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const LAB: Spec = Spec {
    clients: 1,
    nodes: 2,
    sources: 1,
};

fn may_run(test: &str, programs: &[&str]) -> bool {
    lbd_tests::root_or_skip(test) && lbd_tests::programs::or_skip(test, programs)
}

fn lbd(lab: &Lab, centiseconds: u16, priority: u8) -> Result<Member> {
    let setup = Setup::new(&[VIP.into()], centiseconds);
    let (host, program) = (&lab.nodes[0], Path::new(ELECT_NODE));
    Member::start(lab, host, Router::Lbd, &setup, priority, program)
}

/// Cuts the other router off, which stays master in its own eyes, and lets it back: what clients miss
/// when lbd yields to it, in addition to what they missed until lbd took over. `is_master` says whether the
/// other one is.
fn yield_to(what: &str, lab: &Lab, is_master: impl Fn(&Host) -> Result<bool>) -> Result<()> {
    let [ours, theirs] = &lab.nodes[..] else {
        unreachable!("two nodes")
    };
    let vip = VIP.into();
    wait_until("the other router is master", || is_master(theirs))?;
    let node = lbd(lab, 100, 200)?;
    wait_until("lbd hears it", || Ok(node.log().contains("leader: ")))
        .map_err(|error| error.context(node.log()))?;
    let probe = Probe::start(lab.client(), vip, &lab.nodes)?;
    thread::sleep(Duration::from_secs(1));
    let cut = Instant::now();
    lab.cut(theirs, Cut::Port)?;
    wait_until("lbd takes over", || holds(ours, vip)).map_err(|error| error.context(node.log()))?;
    // Long enough for every cache to have its MAC.
    thread::sleep(Duration::from_secs(2));
    ensure!(is_master(theirs)?, "{what} is no master any more");
    let healed = Instant::now();
    lab.restore(theirs)?;
    wait_until("lbd yields", || Ok(!holds(ours, vip)?))
        .map_err(|error| error.context(node.log()))?;
    thread::sleep(Duration::from_secs(5));
    let end = Instant::now();
    let answers = probe.finish()?;
    let takeover = longest_silence(&answers, cut, healed);
    let yielded = longest_silence(&answers, healed, end);
    println!(
        "{what}: unserved for {:.3} s until lbd took over, for {:.3} s when it yielded",
        takeover.as_secs_f64(),
        yielded.as_secs_f64()
    );
    ensure!(
        answers
            .iter()
            .any(|answer| answer.sent < healed && answer.by == 0),
        "lbd never served"
    );
    let last = answers.last().map(|answer| answer.by);
    ensure!(
        last == Some(1),
        "{what} does not serve at the end: {last:?}"
    );
    ensure!(
        yielded * 3 < takeover,
        "a yield is no takeover: {yielded:?} against {takeover:?}\n{}",
        node.log()
    );
    Ok(())
}

#[test]
fn yielding_to_frr_leaves_no_client_with_the_old_mac() -> Result<()> {
    let test = "yielding_to_frr_leaves_no_client_with_the_old_mac";
    if !may_run(test, &frr::PROGRAMS) {
        return Ok(());
    }
    let lab = Lab::new(&LAB)?;
    let frr = Frr::start(&lab, &lab.nodes[1], VIP, 254, 1000)?;
    frr.wait_for_advert(&lab.nodes[0])?;
    yield_to("FRR", &lab, Frr::is_master).map_err(|error| error.context(frr.log()))
}

#[test]
fn yielding_to_keepalived_with_a_virtual_mac_leaves_no_client_with_the_old_mac() -> Result<()> {
    let test = "yielding_to_keepalived_with_a_virtual_mac_leaves_no_client_with_the_old_mac";
    if !may_run(test, &["keepalived"]) {
        return Ok(());
    }
    let lab = Lab::new(&LAB)?;
    let setup = Setup {
        virtual_mac: true,
        ..Setup::new(&[VIP.into()], 100)
    };
    let (host, program) = (&lab.nodes[1], Path::new(ELECT_NODE));
    let keepalived = Member::start(&lab, host, Router::Keepalived, &setup, 254, program)?;
    let is_master = |host: &Host| -> Result<bool> {
        let shown = host.ip(&format!("-oneline address show to {VIP}"))?;
        Ok(!shown.trim().is_empty())
    };
    yield_to("keepalived", &lab, is_master).map_err(|error| error.context(keepalived.log()))
}

/// The start of lbd falls anywhere between two adverts of the slower master.
#[test]
fn fast_adverts_take_nothing_over_from_a_slow_frr_that_is_unheard_yet() -> Result<()> {
    let test = "fast_adverts_take_nothing_over_from_a_slow_frr_that_is_unheard_yet";
    if !may_run(test, &frr::PROGRAMS) {
        return Ok(());
    }
    let lab = Lab::new(&LAB)?;
    let frr = Frr::start(&lab, &lab.nodes[1], VIP, 254, 1000)?;
    frr.wait_for_advert(&lab.nodes[0])?;
    for start in 0..4 {
        thread::sleep(Duration::from_millis(170 * start));
        let node = lbd(&lab, 10, 200)?;
        wait_until("lbd hears FRR", || {
            let log = node.log();
            ensure!(!log.contains("master:"), "lbd took over:\n{log}");
            Ok(log.contains("leader: "))
        })
        .map_err(|error| error.context(node.log()))?;
        ensure!(Frr::is_master(&lab.nodes[1])?, "{}", frr.log());
    }
    Ok(())
}

#[test]
fn frr_as_a_backup_takes_over_from_lbd_and_gives_way_to_it() -> Result<()> {
    let test = "frr_as_a_backup_takes_over_from_lbd_and_gives_way_to_it";
    if !may_run(test, &frr::PROGRAMS) {
        return Ok(());
    }
    let lab = Lab::new(&LAB)?;
    let [ours, theirs] = &lab.nodes[..] else {
        unreachable!("two nodes")
    };
    let alone =
        |held: bool| Ok(holds(ours, VIP.into())? == held && Frr::is_master(theirs)? != held);
    let frr = Frr::start(&lab, theirs, VIP, 100, 100)?;
    frr.wait_for_advert(ours)?;
    let wait =
        |what, held| wait_until(what, || alone(held)).map_err(|error| error.context(frr.log()));
    wait("FRR, alone, is master", false)?;
    let mut node = lbd(&lab, 10, 200)?;
    wait("lbd takes over by priority", true)?;
    node.kill();
    wait("FRR takes over from a killed lbd", false)?;
    let mut node = lbd(&lab, 10, 200)?;
    wait("lbd takes over again", true)?;
    node.stop();
    wait("FRR takes over from an lbd that stopped", false)?;
    let log = node.log();
    for complaint in ["dropped", "different list of virtual addresses", "not sent"] {
        ensure!(!log.contains(complaint), "{complaint:?} in\n{log}");
    }
    Ok(())
}
