//! Everything lbd changes on a box is put back: on exit, by `cleanup`, and after kill -9.
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use lbd::host::{self, Change, Host, HostError, Outcome, VipSocket, journal, vip};
use lbd_tests::lab::{self, INTERFACE, Lab, Spec};

use super::support::vips;

const SYSCTLS: [&str; 4] = [
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/all/arp_announce",
    "net/ipv4/conf/eth0/arp_ignore",
    "net/ipv4/conf/eth0/arp_announce",
];

fn lab() -> Lab {
    let spec = Spec {
        clients: 1,
        nodes: 1,
        sources: 1,
    };
    let lab = Lab::new(&spec).unwrap();
    // Values that lbd must not take for the usual ones: not quite enough, and enough already.
    lab.nodes[0]
        .set_sysctls(&[(SYSCTLS[3], "1"), (SYSCTLS[0], "1")])
        .unwrap();
    lab.nodes[0].settle().unwrap();
    lab
}

/// All of the node that lbd may change.
fn state(node: &lab::Host) -> Vec<String> {
    let mut state: Vec<_> = SYSCTLS
        .iter()
        .map(|key| node.sysctl(key).unwrap())
        .collect();
    state.push(node.ip("-o addr show").unwrap());
    state.push(node.ip("route show table all").unwrap());
    state.push(node.ip("-6 route show table all").unwrap());
    state
}

/// What the daemon does at its start.
fn set_up(journal: &Path, pin: &Path, vips: &[IpAddr]) -> Host {
    let (mut host, _) = Host::open(journal).unwrap();
    host.suppress_arp(&[INTERFACE.to_owned()]).unwrap();
    let path = pin.to_owned();
    host.make(&Change::Pin { path }).unwrap();
    pin_a_map(&pin.join("VIPS"));
    for &address in vips {
        host.hold_vip(address).unwrap();
        host.make(&vip::change(address, INTERFACE)).unwrap();
    }
    let links = host::links::Links::read().unwrap();
    let ifindex = links.named(INTERFACE).unwrap().ifindex;
    let mut socket = VipSocket::open().unwrap();
    for vip in vips {
        socket.add(*vip, ifindex, 600).unwrap();
    }
    host
}

/// Pins a map there, unless a dead process did.
fn pin_a_map(path: &Path) {
    if path.exists() {
        return;
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let status = Command::new("bpftool")
        .args(["map", "create"])
        .arg(path)
        .args("type array key 4 value 4 entries 1 name any".split(' '))
        .status()
        .unwrap();
    assert!(status.success());
}

/// The journal, and the folder for pins. (A folder's name in bpffs has no dot.)
fn paths(lab: &Lab) -> (PathBuf, PathBuf) {
    let pins = Path::new("/sys/fs/bpf").join(format!("{}-host", lab.prefix()));
    (journal::path_in(lab.folder()), pins)
}

#[test]
fn an_orderly_exit_puts_everything_back() {
    if !lbd_tests::root_or_skip("an_orderly_exit_puts_everything_back") {
        return;
    }
    let lab = lab();
    let node = &lab.nodes[0];
    let (journal, pin) = paths(&lab);
    let before = state(node);
    let host = node.inside(|| set_up(&journal, &pin, &vips())).unwrap();
    let sysctls: Vec<_> = SYSCTLS
        .iter()
        .map(|key| node.sysctl(key).unwrap())
        .collect();
    assert_eq!(sysctls, ["1", "2", "1", "2"]);
    let listed = std::fs::read_to_string(&journal).unwrap();
    assert!(!listed.contains(SYSCTLS[0]), "it was high enough: {listed}");
    let undone = node.inside(move || host.undo_all()).unwrap();
    assert!(undone.is_complete(), "{undone:?}");
    assert!(
        undone
            .settled
            .iter()
            .all(|(_, how)| *how == Outcome::Undone),
        "{undone:?}"
    );
    assert_eq!(state(node), before);
    assert!(!pin.exists() && !journal.exists());
}

/// Runs this very test in a process inside the node; that one sets up and kills itself.
fn killed_after_set_up(lab: &Lab, test: &str) {
    let status = lab.nodes[0]
        .command(std::env::current_exe().unwrap())
        .args(["--exact", &format!("journal::{test}")])
        .env("LBD_HOST_JOURNAL", paths(lab).0)
        .env("LBD_HOST_PINS", paths(lab).1)
        .output()
        .unwrap()
        .status;
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{status:?}");
}

/// In that process: sets up and never returns.
fn set_up_and_die_if_asked() {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    if let (Some(journal), Some(pins)) = (path("LBD_HOST_JOURNAL"), path("LBD_HOST_PINS")) {
        let _host = set_up(&journal, &pins, &vips());
        // SAFETY: kill takes plain numbers; the process is our own.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

#[test]
fn cleanup_puts_back_what_a_killed_process_left() {
    set_up_and_die_if_asked();
    if !lbd_tests::root_or_skip("cleanup_puts_back_what_a_killed_process_left") {
        return;
    }
    let lab = lab();
    let node = &lab.nodes[0];
    let (journal, pin) = paths(&lab);
    let before = state(node);
    killed_after_set_up(&lab, "cleanup_puts_back_what_a_killed_process_left");
    assert_ne!(state(node), before);
    assert!(pin.exists());
    let (undone, recovered) = node.inside(|| host::cleanup(&journal)).unwrap().unwrap();
    assert!(undone.is_complete(), "{undone:?}");
    assert_eq!(undone.settled.len(), recovered.changes.len());
    assert_eq!(state(node), before);
    assert!(!pin.exists() && !journal.exists());
    let (undone, _) = node.inside(|| host::cleanup(&journal)).unwrap().unwrap();
    assert!(undone.settled.is_empty(), "twice is as good as once");
}

#[test]
fn the_next_process_keeps_what_it_wants_and_undoes_the_rest() {
    set_up_and_die_if_asked();
    if !lbd_tests::root_or_skip("the_next_process_keeps_what_it_wants_and_undoes_the_rest") {
        return;
    }
    let lab = lab();
    let node = &lab.nodes[0];
    let (journal, pin) = paths(&lab);
    let before = state(node);
    killed_after_set_up(
        &lab,
        "the_next_process_keeps_what_it_wants_and_undoes_the_rest",
    );
    let [kept, dropped] = vips();
    let mut host = node.inside(|| set_up(&journal, &pin, &[kept])).unwrap();
    let has = |interface: &str, vip: IpAddr| {
        let addresses = node.ip(&format!("addr show dev {interface}")).unwrap();
        addresses.contains(&format!(" {vip}/"))
    };
    assert!(has("lo", dropped) && has(INTERFACE, dropped), "until told");
    let undone = node.inside(|| host.undo_unclaimed()).unwrap();
    assert_eq!(undone.settled.len(), 2, "{undone:?}");
    for interface in ["lo", INTERFACE] {
        assert!(
            has(interface, kept) && !has(interface, dropped),
            "{interface}"
        );
    }
    assert!(pin.exists());
    // The values to go back to are those from before the process that was killed.
    assert!(node.inside(move || host.undo_all()).unwrap().is_complete());
    assert_eq!(state(node), before);
}

#[test]
fn a_value_that_was_changed_since_is_left_alone() {
    if !lbd_tests::root_or_skip("a_value_that_was_changed_since_is_left_alone") {
        return;
    }
    let lab = lab();
    let node = &lab.nodes[0];
    let (journal, pin) = paths(&lab);
    let host = node.inside(|| set_up(&journal, &pin, &vips())).unwrap();
    node.set_sysctls(&[(SYSCTLS[2], "8"), (SYSCTLS[3], "1")])
        .unwrap();
    node.ip(&format!("addr del {}/32 dev lo", vips()[0]))
        .unwrap();
    let undone = node.inside(move || host.undo_all()).unwrap();
    assert!(undone.is_complete(), "{undone:?}");
    let outcome = |text: &str| {
        let found = undone
            .settled
            .iter()
            .find(|(change, _)| change.to_string().starts_with(text));
        found.map(|(_, outcome)| outcome.clone())
    };
    let left = outcome("sysctl net/ipv4/conf/eth0/arp_ignore");
    assert!(matches!(left, Some(Outcome::LeftAlone(_))), "{left:?}");
    assert_eq!(
        outcome("sysctl net/ipv4/conf/eth0/arp_announce"),
        Some(Outcome::Gone)
    );
    assert_eq!(
        outcome(&format!("address {} on lo", vips()[0])),
        Some(Outcome::Gone)
    );
    assert_eq!(node.sysctl(SYSCTLS[2]).unwrap(), "8");
}

#[test]
fn a_change_that_failed_is_not_listed() {
    if !lbd_tests::root_or_skip("a_change_that_failed_is_not_listed") {
        return;
    }
    let lab = lab();
    let (journal, _) = paths(&lab);
    lab.nodes[0]
        .inside(|| {
            let (mut host, _) = Host::open(&journal).unwrap();
            let refused = host.make(&Change::Address {
                address: vips()[0],
                interface: "nosuch0".to_owned(),
            });
            assert!(matches!(refused, Err(HostError::NoInterface(name)) if name == "nosuch0"));
            assert_eq!(host.changes().count(), 0);
            // One that is not there yet is left out: the daemon waits for it.
            host.suppress_arp(&["nosuch0".to_owned()]).unwrap();
            let listed: Vec<String> = host.changes().map(|change| format!("{change:?}")).collect();
            assert!(!listed.concat().contains("nosuch0"), "{listed:?}");
            assert!(host.undo_all().is_complete());
        })
        .unwrap();
}

#[test]
fn an_arp_ignore_that_would_make_the_wrong_box_answer_is_refused() {
    if !lbd_tests::root_or_skip("an_arp_ignore_that_would_make_the_wrong_box_answer_is_refused") {
        return;
    }
    let lab = lab();
    let node = &lab.nodes[0];
    let (journal, _) = paths(&lab);
    node.set_sysctls(&[(SYSCTLS[2], "3")]).unwrap();
    let before = state(node);
    node.inside(|| {
        let (mut host, _) = Host::open(&journal).unwrap();
        let refused = host.suppress_arp(&[INTERFACE.to_owned()]);
        let Err(HostError::ArpIgnore { key, value: 3 }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(key, SYSCTLS[2]);
    })
    .unwrap();
    assert_eq!(state(node), before);
}

#[test]
fn an_xdp_program_without_a_link_is_detached_and_another_one_is_not() {
    if !lbd_tests::root_or_skip("an_xdp_program_without_a_link_is_detached_and_another_one_is_not")
    {
        return;
    }
    // The lab attaches a program to the ports of its bridge in just that way.
    let lab = lab();
    let (journal, _) = paths(&lab);
    let interface = "p-mx1".to_owned();
    lab.switch
        .inside(|| {
            let attached = || {
                let links = host::links::Links::read().unwrap();
                links.named(&interface).unwrap().xdp_program_id
            };
            let program_id = attached().expect("the lab attached a program");
            for (listed, outcome) in [
                (program_id + 1, None),
                (program_id, Some(Outcome::Undone)),
                (program_id, Some(Outcome::Gone)),
            ] {
                let change = Change::Xdp {
                    interface: interface.clone(),
                    program_id: listed,
                };
                let (mut host, _) = Host::open(&journal).unwrap();
                host.make(&change).unwrap();
                let undone = host.undo_all();
                let how = &undone.settled[0].1;
                match outcome {
                    Some(outcome) => assert_eq!(*how, outcome),
                    None => assert!(matches!(how, Outcome::LeftAlone(_)), "{how:?}"),
                }
                assert_eq!(attached().is_some(), listed != program_id);
            }
        })
        .unwrap();
}

#[test]
fn nothing_is_removed_that_lbd_did_not_make() {
    if !lbd_tests::root_or_skip("nothing_is_removed_that_lbd_did_not_make") {
        return;
    }
    let lab = lab();
    let (journal, pins) = paths(&lab);
    let theirs = lab.folder().join("THEIRS");
    std::fs::write(&theirs, "precious").unwrap();
    pin_a_map(&pins.join("another-program"));
    pin_a_map(&pins.join("FLOWS4"));
    let folder = lab.folder().to_owned();
    let (mut host, _) = Host::open(&journal).unwrap();
    // What a configuration with wrong paths would list.
    for path in [folder, pins.clone()] {
        host.make(&Change::Pin { path }).unwrap();
    }
    let path = theirs.clone();
    host.make(&Change::File { path }).unwrap();
    let undone = host.undo_all();
    assert!(undone.is_complete(), "{undone:?}");
    let left = |(_, outcome): &(Change, Outcome)| matches!(outcome, Outcome::LeftAlone(_));
    assert!(undone.settled.iter().all(left), "{undone:?}");
    assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "precious");
    assert!(pins.join("another-program").exists() && !pins.join("FLOWS4").exists());
    std::fs::remove_dir_all(&pins).unwrap();
}
