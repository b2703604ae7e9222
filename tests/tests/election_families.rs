//! keepalived with another say in each family than lbd's one election for both.
use std::{
    net::IpAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use lbd_tests::election::{Member, Probe, Router, Setup, holds, longest_silence, wait_until};
use lbd_tests::lab::{Lab, Spec};

const ELECT_NODE: &str = env!("CARGO_BIN_EXE_elect-node");
const VIP4: &str = "10.77.0.100";
const VIP6: &str = "fd00:77::100";
const LINK_LOCAL: &str = "fe80::100";

fn runs(name: &str) -> bool {
    lbd_tests::root_or_skip(name) && lbd_tests::programs::or_skip(name, &["keepalived"])
}

fn lab(clients: u8) -> Result<Lab> {
    Lab::new(&Spec {
        clients,
        nodes: 2,
        sources: 1,
    })
}

fn vips(vips: &[&str]) -> Result<Vec<IpAddr>> {
    Ok(vips
        .iter()
        .map(|vip| vip.parse())
        .collect::<Result<_, _>>()?)
}

/// keepalived's IPv4 instance has a lower priority than lbd and its IPv6 instance a higher one: lbd yields
/// both, and keepalived's IPv4 instance takes over by lbd's priority 0, not by its silence.
#[test]
fn lbd_leaves_the_family_that_it_would_win_too() -> Result<()> {
    if !runs("lbd_leaves_the_family_that_it_would_win_too") {
        return Ok(());
    }
    let lab = lab(1)?;
    let [ours, theirs] = &lab.nodes[..] else {
        unreachable!("two nodes")
    };
    let mut setup = Setup::new(&vips(&[VIP4, LINK_LOCAL, VIP6])?, 100);
    setup.priority6 = Some(250);
    let elect_node = Path::new(ELECT_NODE);
    let vip: IpAddr = VIP4.parse()?;
    let node = Member::start(&lab, ours, Router::Lbd, &setup, 200, elect_node)?;
    wait_until("lbd is master", || holds(ours, vip))?;
    let probe = Probe::start(lab.client(), vip, &lab.nodes)?;
    let begin = Instant::now();
    let keepalived = Member::start(&lab, theirs, Router::Keepalived, &setup, 100, elect_node)?;
    wait_until("keepalived has the IPv4 address", || holds(theirs, vip))
        .map_err(|e| e.context(keepalived.log()).context(node.log()))?;
    thread::sleep(Duration::from_millis(700));
    let end = Instant::now();
    // The last ones' answers are on their way.
    thread::sleep(Duration::from_millis(300));
    assert!(!holds(ours, vip)?, "lbd has yielded both families");
    let answers = probe.finish()?;
    let silence = longest_silence(&answers, begin, end);
    // What the IPv4 instance waits when it is told nothing: 3 intervals and its skew.
    let unheard = Duration::from_millis(3609);
    println!(
        "IPv4 was unserved for {} ms; without a word {} ms",
        silence.as_millis(),
        unheard.as_millis()
    );
    assert!(silence * 2 < unheard, "{silence:?}");
    assert_eq!(answers.last().map(|answer| answer.by), Some(1));
    Ok(())
}

#[test]
fn a_master_of_one_family_is_said_so() -> Result<()> {
    if !runs("a_master_of_one_family_is_said_so") {
        return Ok(());
    }
    let lab = lab(0)?;
    let elect_node = Path::new(ELECT_NODE);
    let theirs = Setup::new(&vips(&[VIP4])?, 10);
    let ours = Setup::new(&vips(&[VIP4, VIP6])?, 10);
    let [first, second] = &lab.nodes[..] else {
        unreachable!("two nodes")
    };
    let _keepalived = Member::start(&lab, second, Router::Keepalived, &theirs, 250, elect_node)?;
    let node = Member::start(&lab, first, Router::Lbd, &ours, 200, elect_node)?;
    wait_until("the family without a master is said", || {
        Ok(node.log().contains("sends no IPv6 adverts"))
    })
    .map_err(|e| e.context(node.log()))
}

/// keepalived 2.2 drops adverts with another number of addresses than its own list has; 2.3 complains.
#[test]
fn a_link_local_address_that_keepalived_lacks_is_said_and_can_be_left_out() -> Result<()> {
    if !runs("a_link_local_address_that_keepalived_lacks_is_said_and_can_be_left_out") {
        return Ok(());
    }
    let lab = lab(0)?;
    let elect_node = Path::new(ELECT_NODE);
    let vip: IpAddr = VIP6.parse()?;
    let mut setup = Setup::new(&[vip], 10);
    let [ours, theirs] = &lab.nodes[..] else {
        unreachable!("two nodes")
    };
    let keepalived = Member::start(&lab, theirs, Router::Keepalived, &setup, 100, elect_node)?;
    wait_until("keepalived, alone, is master", || holds(theirs, vip))?;
    let mut node = Member::start(&lab, ours, Router::Lbd, &setup, 200, elect_node)?;
    wait_until("the remedy is said", || {
        Ok(node
            .log()
            .contains("set cluster.advertise_link_local: false"))
    })
    .map_err(|e| e.context(node.log()))?;
    let (dropped, complained_of) = (
        "received an unexpected ip number count 2",
        "expected 1 VIPs but received 2",
    );
    wait_until("keepalived tells of lbd's adverts", || {
        let log = keepalived.log();
        Ok(log.contains(dropped) || log.contains(complained_of))
    })
    .map_err(|e| e.context(keepalived.log()))?;
    if keepalived.log().contains(dropped) {
        assert!(holds(theirs, vip)?, "there are two masters");
    }
    node.stop();

    setup.advertise_link_local = false;
    let node = Member::start(&lab, ours, Router::Lbd, &setup, 200, elect_node)?;
    wait_until("lbd alone has the address", || {
        Ok(holds(ours, vip)? && !holds(theirs, vip)?)
    })
    .map_err(|e| e.context(keepalived.log()).context(node.log()))
}
