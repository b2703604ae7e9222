//! What lbd changes on a box, and that it is put back.
use std::{
    fs,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{Lab, Snapshot, Spec, addresses},
    postfix::{Sink, smtp_source},
};

fn snapshots(lab: &Lab) -> Vec<Snapshot> {
    let snapshot = |host: &lbd_tests::lab::Host| host.snapshot().unwrap();
    lab.nodes.iter().map(snapshot).collect()
}

fn assert_as_before(lab: &Lab, before: &[Snapshot], what: &str) {
    for (node, before) in lab.nodes.iter().zip(before) {
        let left = before.differences(&node.snapshot().unwrap());
        assert_eq!(left, Vec::<String>::new(), "{}: after {what}", node.name);
    }
}

#[test]
fn a_stopped_daemon_leaves_the_box_as_it_was() {
    let Some(_turn) = lbd_tests::turn("a_stopped_daemon_leaves_the_box_as_it_was") else {
        return;
    };
    if !lbd_tests::programs::or_skip(
        "a_stopped_daemon_leaves_the_box_as_it_was",
        &["smtp-source", "smtp-sink"],
    ) {
        return;
    }
    let lab = Lab::new(&Spec {
        nodes: 2,
        ..Spec::default()
    })
    .unwrap();
    let before = snapshots(&lab);
    let start = |host| Sink::start(host, lab.folder()).unwrap();
    let _sinks: Vec<Sink> = lab.nodes.iter().map(start).collect();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let vip = SocketAddr::new(addresses::VIP4.into(), 25);
    smtp_source(lab.client(), vip, 100, 10).unwrap();
    let during = before[0].differences(&lab.nodes[0].snapshot().unwrap());
    println!(
        "{} things differ on {} while lbd runs",
        during.len(),
        lab.nodes[0].name
    );
    assert!(!during.is_empty(), "the snapshot sees nothing");
    for index in 0..cluster.len() {
        let status = cluster.stop(index).unwrap();
        assert!(status.success(), "{status}: {}", cluster.log(index));
    }
    // What outlives a stop on purpose, so that a restart loses no session, `cleanup` takes away.
    for index in 0..cluster.len() {
        let output = cluster.lbd(index, &["cleanup"]).unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!cluster.pin_dir(index).exists(), "pins are left");
    }
    assert_as_before(&lab, &before, "stop and cleanup");
}

#[test]
fn cleanup_after_a_kill_leaves_the_box_as_it_was() {
    let Some(_turn) = lbd_tests::turn("cleanup_after_a_kill_leaves_the_box_as_it_was") else {
        return;
    };
    if !lbd_tests::programs::or_skip(
        "cleanup_after_a_kill_leaves_the_box_as_it_was",
        &["smtp-source", "smtp-sink"],
    ) {
        return;
    }
    let lab = Lab::new(&Spec {
        nodes: 2,
        ..Spec::default()
    })
    .unwrap();
    let before = snapshots(&lab);
    let start = |host| Sink::start(host, lab.folder()).unwrap();
    let _sinks: Vec<Sink> = lab.nodes.iter().map(start).collect();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    for index in 0..cluster.len() {
        cluster.kill(index);
    }
    for index in 0..cluster.len() {
        let output = cluster.lbd(index, &["cleanup"]).unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!cluster.pin_dir(index).exists(), "pins are left");
    }
    assert_as_before(&lab, &before, "kill -9 and cleanup");
    // A second time there is nothing to do, and that is fine.
    let output = cluster.lbd(0, &["cleanup"]).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn an_edit_is_picked_up_live_and_a_bad_one_is_refused() {
    let Some(_turn) = lbd_tests::turn("an_edit_is_picked_up_live_and_a_bad_one_is_refused") else {
        return;
    };
    if !lbd_tests::programs::or_skip(
        "an_edit_is_picked_up_live_and_a_bad_one_is_refused",
        &["smtp-source", "smtp-sink"],
    ) {
        return;
    }
    let lab = Lab::new(&Spec::default()).unwrap();
    let start = |host| Sink::start(host, lab.folder()).unwrap();
    let sinks: Vec<Sink> = lab.nodes.iter().map(start).collect();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let master = cluster.wait_ready().unwrap();
    let vip = SocketAddr::new(addresses::VIP4.into(), 25);

    // Weight 0 while sessions run: none fails, and the node gets no more.
    cluster.settings.weights = vec![100, 100, 0];
    let client = lab.client().clone();
    let senders = std::thread::spawn(move || smtp_source(&client, vip, 1500, 10));
    std::thread::sleep(Duration::from_millis(300));
    cluster.write_configs().unwrap();
    cluster
        .wait_status(master, "weight 0", |status| {
            status.backend("mx3").unwrap().weight_permille == 0
        })
        .unwrap();
    senders.join().unwrap().unwrap();
    let count = |sink: &Sink| sink.messages().unwrap().values().sum::<u64>();
    let before = count(&sinks[2]);
    smtp_source(lab.client(), vip, 300, 10).unwrap();
    assert_eq!(count(&sinks[2]), before, "weight 0 takes no new session");
    println!("1,500 sessions across a live change of weights: none failed");

    // A bad edit: the running configuration stays, and the status says why.
    let good = fs::read_to_string(cluster.config(master)).unwrap();
    fs::write(
        cluster.config(master),
        good.replace("weight: 0", "weight: -1"),
    )
    .unwrap();
    let refused = |value: &serde_json::Value| value["config"]["refused"].is_string();
    let raw = || {
        // The command line itself reads the file: ask through a copy of the good one.
        let copy = lab.folder().join("good.yaml");
        fs::write(&copy, &good).unwrap();
        let mut command = lab.nodes[master].command(lbd_tests::cluster::lbd_binary().unwrap());
        let output = command
            .args(["status", "--json", "--config"])
            .arg(copy)
            .output()
            .unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default()
    };
    let told = (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        refused(&raw())
    });
    assert!(
        told,
        "the status does not say that the file was refused: {:#}",
        raw()
    );
    smtp_source(lab.client(), vip, 300, 10).unwrap();
    assert_eq!(count(&sinks[2]), before, "the running configuration stayed");
    println!("a bad edit was refused: {}", raw()["config"]["refused"]);
    let holders = cluster.holders(IpAddr::from(addresses::VIP4)).unwrap();
    assert_eq!(holders, [master], "the virtual address stayed");
}

#[test]
fn what_another_program_takes_from_a_backend_is_put_back() {
    let Some(_turn) = lbd_tests::turn("what_another_program_takes_from_a_backend_is_put_back")
    else {
        return;
    };
    if !lbd_tests::programs::or_skip(
        "what_another_program_takes_from_a_backend_is_put_back",
        &["smtp-sink"],
    ) {
        return;
    }
    let lab = Lab::new(&Spec {
        nodes: 2,
        ..Spec::default()
    })
    .unwrap();
    let start = |host| Sink::start(host, lab.folder()).unwrap();
    let _sinks: Vec<Sink> = lab.nodes.iter().map(start).collect();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let master = cluster.wait_ready().unwrap();
    let backup = 1 - master;
    let node = &lab.nodes[backup];
    let vip = addresses::VIP4;
    let ignores = || {
        let read = || fs::read_to_string("/proc/sys/net/ipv4/conf/all/arp_ignore").unwrap();
        node.inside(read).unwrap()
    };
    assert_eq!(ignores().trim(), "1");

    // By hand, and as `sysctl --system` of a package's installation does.
    node.set_sysctls(&[("net.ipv4.conf.all.arp_ignore", "0")])
        .unwrap();
    node.ip(&format!("addr del {vip}/32 dev lo")).unwrap();
    node.ip(&format!("addr del {}/128 dev lo", addresses::VIP6))
        .unwrap();
    let is_back = || {
        let on_lo = node.ip("-oneline addr show dev lo").unwrap();
        [vip.to_string(), addresses::VIP6.to_string()]
            .iter()
            .all(|vip| on_lo.contains(vip.as_str()))
            && ignores().trim() == "1"
    };
    let started = std::time::Instant::now();
    while !is_back() {
        assert!(started.elapsed() < Duration::from_mins(1), "not put back");
        std::thread::sleep(Duration::from_millis(50));
    }
    let log = cluster.log(backup);
    for said in [
        format!("{vip} was taken off lo"),
        "arp_ignore was lowered".to_owned(),
    ] {
        assert_eq!(log.matches(&said).count(), 1, "{said}: {log}");
    }
}

#[test]
fn what_is_not_there_at_boot_is_waited_for() {
    let Some(_turn) = lbd_tests::turn("what_is_not_there_at_boot_is_waited_for") else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 1,
        ..Spec::default()
    })
    .unwrap();
    let node = &lab.nodes[0];
    let mut cluster = Cluster::new(&lab, Settings::default()).unwrap();
    // The interface's other name, and one that comes late, by another name too.
    node.ip("link property add dev eth0 altname lbdwan0")
        .unwrap();
    cluster
        .edit(
            "interfaces: [eth0]",
            "interfaces: [lbdwan0, a-late-interface0]",
        )
        .unwrap();
    let own = node.addresses(false)[0].to_string();
    let shown = node.ip("-4 -oneline addr show dev eth0").unwrap();
    let with_prefix = |word: &&str| word.starts_with(&own);
    let own = shown.split_whitespace().find(with_prefix).unwrap();
    node.ip(&format!("addr del {own} dev eth0")).unwrap();
    cluster.start(0).unwrap();
    let wait = |what: &str, is_so: &mut dyn FnMut() -> bool| {
        let started = std::time::Instant::now();
        while !is_so() {
            assert!(started.elapsed() < Duration::from_mins(1), "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let lacks = "this box lacks what lbd needs";
    wait("nothing was said", &mut || cluster.log(0).contains(lacks));
    assert!(cluster.is_running(0));
    node.ip(&format!("addr add {own} dev eth0")).unwrap();
    cluster
        .wait_status(0, "running without the second interface", |status| {
            status.interfaces.len() == 2 && status.interfaces[1].xdp_mode == "none"
        })
        .unwrap();
    node.ip_batch(
        "link add lateveth type veth peer name latepeer\n\
         link property add dev lateveth altname a-late-interface0\n\
         link set lateveth up\n\
         link set latepeer up\n",
    )
    .unwrap();
    cluster
        .wait_status(0, "attached to both, and master", |status| {
            status.is_master() && status.interfaces[1].xdp_mode != "none"
        })
        .unwrap();
    let log = cluster.log(0);
    for said in [lacks, "a-late-interface0 of node.interfaces is not there"] {
        assert_eq!(log.matches(said).count(), 1, "{said}: {log}");
    }
}
