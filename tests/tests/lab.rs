//! The lab itself: hosts reach each other, and nothing of it stays.
use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use lbd_tests::{
    cluster::lbd_binary,
    lab::{Cut, Lab, Offload, Spec},
    programs::find,
};
use xtask::programs::{Set, Source, TABLE};

fn exists(namespace: &str) -> bool {
    Path::new("/run/netns").join(namespace).exists()
}

#[test]
fn hosts_reach_each_other_until_their_link_is_cut() {
    if !lbd_tests::root_or_skip("hosts_reach_each_other_until_their_link_is_cut") {
        return;
    }
    let lab = Lab::new(&Spec::default()).unwrap();
    let node = &lab.nodes[1];
    let any = || TcpListener::bind((Ipv6Addr::UNSPECIFIED, 25)).unwrap();
    let _listener = node.inside(any).unwrap();
    let connect = |address: IpAddr, patience: Duration| {
        let connect = || TcpStream::connect_timeout(&SocketAddr::new(address, 25), patience);
        lab.client().inside(connect).unwrap()
    };
    let (long, short) = (Duration::from_secs(5), Duration::from_millis(300));
    let addresses: [IpAddr; 2] = [node.address4().into(), node.address6().into()];
    for cut in [Cut::Carrier, Cut::Silent] {
        for address in addresses {
            connect(address, long).unwrap();
        }
        lab.cut(node, cut).unwrap();
        connect(addresses[0], short).unwrap_err();
        let carrier = node.ip("link show eth0").unwrap().contains("NO-CARRIER");
        assert_eq!(carrier, cut == Cut::Carrier, "{cut:?}");
        lab.restore(node).unwrap();
    }
    connect(addresses[0], long).unwrap();
}

#[test]
fn frames_to_a_node_have_their_checksums() {
    if !lbd_tests::root_or_skip("frames_to_a_node_have_their_checksums") {
        return;
    }
    let lab = Lab::new(&Spec::default()).unwrap();
    let sums = |host: &str| {
        lab.switch
            .offload(&format!("p-{host}"), Offload::TxChecksum)
            .unwrap()
    };
    assert!(!sums(&lab.nodes[0].name) && !sums(&lab.nodes[2].name));
    lab.make_plain(&lab.nodes[0]).unwrap();
    assert!(sums(&lab.nodes[0].name) && !sums(&lab.nodes[2].name));
    lab.switch
        .offload("no-such-port", Offload::TxChecksum)
        .unwrap_err();
}

/// A folder with the programs of a set alone, for a PATH.
fn only(set: Set) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let programs = TABLE
        .iter()
        .filter(|program| program.is_of(set) || program.source == Source::Base);
    for program in programs {
        if let Some(file) = find(program.name) {
            std::os::unix::fs::symlink(file, folder.path().join(program.name)).unwrap();
        }
    }
    folder
}

#[test]
fn the_show_starts_no_program_that_its_set_lacks() {
    if !lbd_tests::root_or_skip("the_show_starts_no_program_that_its_set_lacks") {
        return;
    }
    let _: std::path::PathBuf = lbd_binary().unwrap();
    let programs = only(Set::Lab);
    let output = Command::new(env!("CARGO_BIN_EXE_lbd-lab"))
        .args(["run", "--for", "6s", "--json"])
        .env("PATH", programs.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn nothing_of_a_lab_stays() {
    if !lbd_tests::root_or_skip("nothing_of_a_lab_stays") {
        return;
    }
    let lab = Lab::new(&Spec::default()).unwrap();
    let (namespace, folder) = (lab.nodes[0].namespace.clone(), lab.folder().to_path_buf());
    let mut sleep = lab.nodes[0].command("sleep");
    let mut sleep = lab.nodes[0].spawn(sleep.arg("1000")).unwrap();
    assert!(exists(&namespace) && folder.is_dir() && sleep.status().is_none());
    drop(lab);
    assert!(!exists(&namespace) && !folder.exists());
    // The lab killed what ran in it; the handle only finds out.
    assert!(sleep.wait(Duration::from_secs(5)).is_some());
}

#[test]
fn a_killed_process_leaves_no_lab() {
    if !lbd_tests::root_or_skip("a_killed_process_leaves_no_lab") {
        return;
    }
    // This very test again in a process of its own, which kills itself in the middle.
    if std::env::var_os("LBD_LAB_DIES").is_some() {
        let lab = Lab::new(&Spec::default()).unwrap();
        println!("namespace {}", lab.nodes[0].namespace);
        // SAFETY: kill takes plain numbers; the process is our own.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_process_leaves_no_lab", "--nocapture"])
        .env("LBD_LAB_DIES", "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let namespace = stdout
        .split_whitespace()
        .skip_while(|word| *word != "namespace")
        .nth(1)
        .unwrap_or_else(|| panic!("no lab was built: {stdout}"));
    let gone = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        !exists(namespace)
    });
    assert!(gone, "{namespace} is still there");
}
