//! keepalived as a peer, with its ordinary configuration for version 3.
use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;
use lbd_tests::election::{Member, Router, Setup, holds, wait_until};
use lbd_tests::lab::{Lab, Spec};

const ELECT_NODE: &str = env!("CARGO_BIN_EXE_elect-node");

/// keepalived is master, lbd takes over by priority; lbd is killed, keepalived takes over; lbd
/// comes back, and stops; keepalived takes over.
fn back_and_forth(vips: &[IpAddr]) -> Result<()> {
    let lab = Lab::new(&Spec {
        clients: 0,
        nodes: 2,
        sources: 0,
    })?;
    let setup = Setup::new(vips, 10);
    let [ours, theirs] = &lab.nodes[..] else {
        unreachable!("two nodes")
    };
    let lbd = || Member::start(&lab, ours, Router::Lbd, &setup, 200, Path::new(ELECT_NODE));
    let all = |host, held: bool| -> Result<bool> {
        for vip in vips {
            if holds(host, *vip)? != held {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let keepalived = Member::start(
        &lab,
        theirs,
        Router::Keepalived,
        &setup,
        100,
        Path::new(ELECT_NODE),
    )?;
    wait_until("keepalived, alone, is master", || all(theirs, true))?;

    let mut node = lbd()?;
    let ours_alone = || Ok(all(ours, true)? && all(theirs, false)?);
    wait_until("lbd takes over by priority", ours_alone)
        .map_err(|e| e.context(keepalived.log()).context(node.log()))?;
    node.kill();
    wait_until("keepalived takes over from a killed lbd", || {
        all(theirs, true)
    })?;
    wait_until("a killed lbd's addresses go by themselves", || {
        all(ours, false)
    })?;

    let mut node = lbd()?;
    wait_until("lbd takes over again", ours_alone)?;
    node.stop();
    assert!(
        all(ours, false)?,
        "lbd that stopped has left the addresses there"
    );
    wait_until("keepalived takes over from an lbd that stopped", || {
        all(theirs, true)
    })?;

    let log = node.log();
    for complaint in ["dropped", "different list of virtual addresses", "not sent"] {
        assert!(!log.contains(complaint), "{complaint:?} in\n{log}");
    }
    let log = keepalived.log();
    for complaint in ["checksum", "mismatch", "invalid", "expected"] {
        assert!(
            !log.to_lowercase().contains(complaint),
            "{complaint:?} in\n{log}"
        );
    }
    Ok(())
}

#[test]
fn keepalived_and_lbd_take_over_from_each_other_in_ipv4() -> Result<()> {
    if !lbd_tests::root_or_skip("keepalived_and_lbd_take_over_from_each_other_in_ipv4") {
        return Ok(());
    }
    if !lbd_tests::programs::or_skip(
        "keepalived_and_lbd_take_over_from_each_other_in_ipv4",
        &["keepalived"],
    ) {
        return Ok(());
    }
    back_and_forth(&["10.77.0.100".parse()?])
}

#[test]
fn keepalived_and_lbd_take_over_from_each_other_in_ipv6() -> Result<()> {
    if !lbd_tests::root_or_skip("keepalived_and_lbd_take_over_from_each_other_in_ipv6") {
        return Ok(());
    }
    if !lbd_tests::programs::or_skip(
        "keepalived_and_lbd_take_over_from_each_other_in_ipv6",
        &["keepalived"],
    ) {
        return Ok(());
    }
    back_and_forth(&["fe80::100".parse()?, "fd00:77::100".parse()?])
}

#[test]
fn a_list_that_differs_from_keepalived_s_is_said_so() -> Result<()> {
    if !lbd_tests::root_or_skip("a_list_that_differs_from_keepalived_s_is_said_so") {
        return Ok(());
    }
    if !lbd_tests::programs::or_skip(
        "a_list_that_differs_from_keepalived_s_is_said_so",
        &["keepalived"],
    ) {
        return Ok(());
    }
    let lab = Lab::new(&Spec {
        clients: 0,
        nodes: 2,
        sources: 0,
    })?;
    let vip: IpAddr = "10.77.0.100".parse()?;
    let theirs = Setup::new(&[vip], 10);
    let ours = Setup::new(&[vip, "10.77.0.101".parse()?], 10);
    let elect_node = Path::new(ELECT_NODE);
    let _keepalived = Member::start(
        &lab,
        &lab.nodes[1],
        Router::Keepalived,
        &theirs,
        200,
        elect_node,
    )?;
    let node = Member::start(&lab, &lab.nodes[0], Router::Lbd, &ours, 100, elect_node)?;
    wait_until("the difference is said", || {
        Ok(node
            .log()
            .contains("advertises a different list of virtual addresses"))
    })
}
