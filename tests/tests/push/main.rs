//! `lbd push`: to all peers or to none, in every kind of failure.
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::MetadataExt as _,
    time::Instant,
};

use lbd::push::{Answer, Content, List, Piece, Record, Request, Version, bytes, message};
use lbd_tests::cluster::{Disk, Status, random_secret};
use serde_json::Value;

use self::{
    by_hand::ByHand,
    world::{MASTER, World, write_key},
};

mod by_hand;
mod world;

const SOURCE: &str = "203.0.113.7";

fn lines(entries: impl Iterator<Item = String>) -> String {
    entries.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn a_push_reaches_all_peers_or_none_and_goes_back() {
    let name = "a_push_reaches_all_peers_or_none_and_goes_back";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut world = World::new(4, |_| {});
    it_reaches_all_peers(&world);
    none_changes_where_one_refuses(&world);
    who_was_away_catches_up(&mut world);
    it_goes_back(&world);
    the_next_master_goes_on(&mut world);
}

fn it_reaches_all_peers(world: &World) {
    let peers = 1..world.cluster.len();

    // The peers' own part is their own: it stays byte for byte, with its comments.
    for peer in peers.clone() {
        let file = world.cluster.config(peer);
        let text = fs::read_to_string(&file).unwrap();
        let own = text.replace("node:\n", "# this box's own\nnode:\n  # said here\n");
        fs::write(&file, own).unwrap();
    }
    world.deny(&format!("198.51.100.0/24\n{SOURCE}\n"), 2);
    world.edit_config(
        "  ports: [25]\n",
        "  ports: [25]   # and no other\n  idle: {closing: 20s}\n",
    );
    let before = world.everything();
    let shown = world.pushed(&["push", "--dry-run"]);
    for expected in [
        "+203.0.113.7",
        "-# none yet",
        "+  idle: {closing: 20s}",
        "would take it",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in: {shown}");
    }
    assert_eq!(world.everything(), before, "a trial changed something");

    let said = world.pushed(&["push"]);
    println!("{said}");
    for peer in peers.clone() {
        assert!(world.denies(peer, SOURCE), "{} admits it", world.name(peer));
        let text = fs::read_to_string(world.cluster.config(peer)).unwrap();
        assert!(
            text.contains("# and no other\n  idle: {closing: 20s}"),
            "{text}"
        );
        let (own, _) = before[peer].0.split_once("cluster:\n").unwrap();
        assert!(text.starts_with(own), "{text}");
        let mode = fs::metadata(world.cluster.config(peer)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(world.standing(MASTER, peer)["behind"], false);
    }
}

fn none_changes_where_one_refuses(world: &World) {
    // Not from a backup, and not without a peer that exists.
    let (done, said) = world.lbd(1, &["push"]);
    assert!(!done && said.contains("not the master"), "{said}");
    world.refused(&["push", "--without", "mx9"], &["there is no peer mx9"]);

    // One whose own part contradicts: the others take nothing either.
    world.edit_config(
        "\"10.77.0.14\", weight: 100",
        "\"10.77.0.14\", weight: 100, forwarding: nat, port: 2525",
    );
    let mx4 = world.name(3).to_owned();
    world.refused(
        &["push"],
        &[
            &format!("{mx4}: refuses"),
            "cannot change the port",
            "nothing was changed anywhere",
        ],
    );
    world.edit_config(", forwarding: nat, port: 2525", "");

    // A file there that is no list, though the cluster part names it.
    let allow = world.own.path("allow").display().to_string();
    fs::write(world.own.of(world.name(MASTER), "allow"), "192.0.2.200\n").unwrap();
    fs::write(world.own.of(world.name(1), "allow"), "something dear\n").unwrap();
    world.edit_config(
        "{deny_file: ",
        &format!("{{allow_file: {allow}, deny_file: "),
    );
    world.refused(&["push"], &["is not overwritten"]);
    world.edit_config(&format!("allow_file: {allow}, "), "");
    // What is no list any more where one is kept, is put right.
    fs::write(world.own.of(world.name(1), "deny"), "oops\n").unwrap();
}

fn who_was_away_catches_up(world: &mut World) {
    // Half of the peers are down.
    world.deny("192.0.2.1\n", 1);
    world.cluster.kill(2);
    world.cluster.kill(3);
    world.refused(&["push"], &["cannot be reached", "--without"]);
    let (away, gone) = (world.name(2).to_owned(), world.name(3).to_owned());
    world.pushed(&["push", "--without", &away, "--without", &gone]);
    assert!(world.denies(1, "192.0.2.1"));
    world.cluster.start(2).unwrap();
    world.cluster.start(3).unwrap();
    world.wait("the ones that were away are behind", || {
        [2, 3]
            .iter()
            .all(|peer| world.standing(MASTER, *peer)["behind"] == true)
    });
    let list = world.pushed(&["push", "--list"]);
    println!("{list}");
    assert!(list.contains("behind"), "{list}");
    // Each node says so of the others, without being asked to call them.
    for (node, other, expected) in [
        (MASTER, 2, "behind"),
        (MASTER, 1, "same"),
        (1, 3, "behind"),
        (2, MASTER, "ahead"),
        (2, 3, "same"),
    ] {
        world.wait("status tells who is behind", || {
            world.config_of(node, other) == expected
        });
    }
    let shown = world.pushed(&["status"]);
    let said = format!("{away} is behind at version 1: run `lbd push` to update it\n");
    assert!(shown.contains(&said), "{shown}");
    // One catches up by itself, the other by the next push, which makes no new version.
    let (done, said) = world.lbd(2, &["push", "--from", world.name(MASTER)]);
    assert!(done, "{said}");
    assert!(world.denies(2, "192.0.2.1"));
    let report = world.json(MASTER, &["push", "--json"]);
    assert_eq!(
        (&report["pushed"], &report["version"]["number"]),
        (&Value::Bool(true), &Value::from(2))
    );
    assert!(world.denies(3, "192.0.2.1"));
    for peer in [2, 3] {
        assert_eq!(world.standing(MASTER, peer)["behind"], false);
        world.wait("no node is behind", || {
            world.config_of(MASTER, peer) == "same"
        });
    }
    assert!(!world.pushed(&["status"]).contains("behind"));
}

fn it_goes_back(world: &World) {
    // On all nodes, the master too. An edit that was never pushed is not lost by it.
    world.deny("192.0.2.98\n192.0.2.99\n", 2);
    world.refused(&["push", "--back"], &["never pushed", "--back=N"]);
    world.deny("192.0.2.1\n", 1);
    let said = world.pushed(&["push", "--back"]);
    println!("{said}");
    for node in 0..world.cluster.len() {
        assert!(world.denies(node, SOURCE), "{said}");
        assert!(!world.denies(node, "192.0.2.1"), "{said}");
    }
    let versions = world.json(MASTER, &["push", "--list", "--json"])["versions"].clone();
    assert_eq!(versions[3]["back_to"], 1, "{versions}");
    assert_eq!(
        (&versions[3]["by"], &versions[3]["on"]),
        (&"root".into(), &world.name(MASTER).into())
    );
    // And to the very first.
    world.pushed(&["push", "--back=0"]);
    for node in 0..world.cluster.len() {
        assert!(!world.denies(node, SOURCE));
    }
}

fn the_next_master_goes_on(world: &mut World) {
    // It knows all of it.
    world.cluster.kill(MASTER);
    world
        .cluster
        .wait_status(1, "the next is the master", Status::is_master)
        .unwrap();
    let (done, said) = world.lbd(1, &["push", "--back", "--without", world.name(MASTER)]);
    assert!(done, "{said}");
    assert!(world.denies(3, SOURCE));
    // And the first, back as the master, does not undo what it has not heard of.
    world.cluster.start(MASTER).unwrap();
    world
        .cluster
        .wait_status(MASTER, "the best again", Status::is_master)
        .unwrap();
    world.refused(&["push"], &["refuses", "later than", "lbd push --from"]);
    world.pushed(&["push", "--from", world.name(1)]);
    assert!(world.denies(MASTER, SOURCE));
    world.pushed(&["push"]);
}

#[test]
fn a_wrong_key_a_full_disk_and_a_locked_file_change_nothing() {
    let name = "a_wrong_key_a_full_disk_and_a_locked_file_change_nothing";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut world = World::new(3, |own| own.set_disk("mx3", Disk::SmallState(64)).unwrap());

    // More than fits the disk of one.
    let long = lines((0..20_000_u32).map(|n| format!("10.0.{}.{}", n >> 8, n & 255)));
    world.deny(&long, 20_000);
    world.refused(
        &["push"],
        &[
            "mx3: refuses",
            "No space left",
            "mx2: accepted it, then dropped it",
        ],
    );
    // What was in its way is out of it: a short one fits.
    world.deny(&format!("{SOURCE}\n"), 1);
    world.pushed(&["push"]);

    // One that may not write its own file.
    world.cluster.kill(2);
    world.own.set_disk("mx3", Disk::ReadOnly).unwrap();
    world.cluster.start(2).unwrap();
    world.cluster.wait_ready().unwrap();
    world.deny("192.0.2.1\n", 1);
    world.refused(
        &["push"],
        &["mx3: refuses", "cannot be written", "Read-only"],
    );

    // Another key.
    world.cluster.kill(1);
    write_key(&world.own, &world.lab.nodes[1], &random_secret().unwrap());
    world.cluster.start(1).unwrap();
    world.cluster.wait_status(1, "it runs", |_| true).unwrap();
    world.refused(
        &["push", "--without", "mx3"],
        &["mx2: cannot be reached", "secret_file differs"],
    );
    let list = world.pushed(&["push", "--list"]);
    assert!(list.contains("mx2"), "{list}");
    write_key(&world.own, &world.lab.nodes[1], &world.secret);
    world.wait("the key is taken over live", || {
        world.standing(MASTER, 1)["trouble"].is_null()
    });

    // A file of the master's own that cannot be taken apart.
    let file = world.cluster.config(MASTER);
    let plain = fs::read_to_string(&file).unwrap();
    let tied = plain
        .replace("  priority: 200\n", "  priority: &p 200\n")
        .replace("weight: 100}", "weight: *p}");
    assert_ne!(tied, plain);
    let loaded = world.loaded();
    fs::write(&file, tied).unwrap();
    world.wait("it runs", || world.loaded() != loaded);
    world.refused(&["push", "--without", "mx3"], &["anchor"]);
    fs::write(&file, plain).unwrap();

    // Strangers: noise, silence, half a call, and HTTP all the while.
    let nodes = &world.lab.nodes;
    let at = (nodes[1].address4(), 9426);
    nodes[0]
        .inside(|| {
            let mut silent: Vec<TcpStream> = Vec::new();
            for index in 0_u8..40 {
                let mut stream = TcpStream::connect(at).unwrap();
                let noise = [&b"\xf1lbd"[..], &[index; 57]].concat();
                let count = usize::from(index) * 2;
                stream.write_all(&noise[..count.min(noise.len())]).unwrap();
                silent.push(stream);
            }
            let mut http = TcpStream::connect(at).unwrap();
            http.write_all(b"GET /stats HTTP/1.1\r\nHost: mx2\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            http.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        })
        .unwrap();
    world.wait("the master runs its own file again", || {
        let (done, _) = world.lbd(MASTER, &["push", "--without", "mx3"]);
        done
    });
    assert!(world.denies(1, "192.0.2.1"));
}

#[test]
fn a_death_between_the_phases_changes_nothing_and_who_missed_the_commit_catches_up() {
    let name = "a_death_between_the_phases_changes_nothing_and_who_missed_the_commit_catches_up";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut world = World::new(3, |_| {});
    let text = fs::read_to_string(world.cluster.config(MASTER)).unwrap();
    let cluster = lbd::config::cluster_part(&text).unwrap();
    let list = format!("{SOURCE}\n");
    let texts = [cluster.as_bytes(), list.as_bytes()];
    let record = |number, list: &str| {
        let content = Content {
            cluster: Piece::of(cluster.as_bytes()),
            lists: vec![List {
                path: world.own.path("deny"),
                piece: Piece::of(list.as_bytes()),
            }],
        };
        Record {
            version: Version {
                number,
                digest: content.digest(),
                by: "anna".to_owned(),
                on: "mx1".to_owned(),
                at_unix_s: 1_800_000_000,
                back_to: None,
            },
            content,
        }
    };
    let (first, second) = (record(1, &list), record(2, "192.0.2.1\n"));
    let before = world.everything();

    // The one that takes dies when it has accepted.
    let mut pusher = ByHand::call(&world, MASTER, 1);
    let answer = pusher.offer(&first, &texts);
    assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    assert_ne!(world.everything(), before, "stored, not in use yet");
    world.cluster.kill(1);
    world.cluster.start(1).unwrap();
    world.cluster.wait_ready().unwrap();
    assert_eq!(
        world.everything(),
        before,
        "a restart drops what was not committed"
    );
    assert!(!world.denies(1, SOURCE));

    // The one that pushes dies when it was accepted; another operator may push then.
    let mut pusher = ByHand::call(&world, MASTER, 1);
    let answer = pusher.offer(&first, &texts);
    assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    let mut other = ByHand::call(&world, MASTER, 1);
    other.send(&message(&Request::Offer(Box::new(first.clone()))));
    let answer = other.hear();
    assert!(
        matches!(&answer, Answer::Refused { why, .. } if why.contains("under way")),
        "{answer:?}"
    );
    drop(pusher);
    world.wait("what lay there is gone", || world.everything() == before);

    // It dies between the first commit and the second.
    let mut pushers = [1, 2].map(|peer| ByHand::call(&world, MASTER, peer));
    for pusher in &mut pushers {
        let answer = pusher.offer(&first, &texts);
        assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    }
    assert_eq!(pushers[0].commit(), Answer::Committed { trouble: None });
    drop(pushers);
    assert!(world.denies(1, SOURCE));
    world.wait("the other has dropped it", || {
        world.everything()[2] == before[2]
    });
    assert!(!world.denies(2, SOURCE));
    // Everybody can see who is behind; the master is as well, and is not to undo it.
    assert_eq!(world.standing(1, 2)["behind"], true);
    assert_eq!(world.standing(1, MASTER)["behind"], true);
    world.deny("192.0.2.1\n", 1);
    let (done, said) = world.lbd(MASTER, &["push", "--dry-run"]);
    println!("{said}");
    assert!(
        done,
        "the same number by another hand may be replaced: {said}"
    );
    let (done, said) = world.lbd(2, &["push", "--from", "mx2"]);
    assert!(done, "{said}");
    assert!(world.denies(2, SOURCE));
    assert_eq!(world.standing(1, 2)["behind"], false);

    // Out of turn: commits of nothing, bytes that were not requested. The daemon lives on.
    for body in [message(&Request::Commit), bytes(b"x"), b"?".to_vec()] {
        let mut rude = ByHand::call(&world, MASTER, 2);
        rude.send(&body);
        assert_eq!(
            rude.stream.read(&mut [0; 1]).unwrap_or(0),
            0,
            "the connection ends"
        );
    }
    // And what is not what it says.
    let mut liar = ByHand::call(&world, MASTER, 2);
    liar.send(&message(&Request::Offer(Box::new(second))));
    assert!(matches!(liar.hear(), Answer::Need(_)));
    liar.send(&bytes(b"192.0.2.7\n"));
    let answer = liar.hear();
    assert!(
        matches!(&answer, Answer::Refused { why, .. } if why.contains("announced")),
        "{answer:?}"
    );
    assert!(world.cluster.is_running(2));
}

#[test]
fn a_hundred_thousand_denials_are_pushed() {
    let name = "a_hundred_thousand_denials_are_pushed";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let world = World::new(4, |_| {});
    let list = |from: u32| {
        let entries = (from..from + 100_000).map(|n| n * 3);
        lines(entries.map(|n| format!("11.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)))
    };
    world.deny(&list(0), 100_000);
    let begun = Instant::now();
    let said = world.pushed(&["push"]);
    println!(
        "100,000 new entries to 3 peers, effective there: {:?}",
        begun.elapsed()
    );
    assert!(said.contains("+100000 -2"), "{said}");
    assert!(said.lines().count() < 60, "{said}");
    world.deny(&list(1_000), 100_000);
    let begun = Instant::now();
    let said = world.pushed(&["push"]);
    println!(
        "1,000 of the 100,000 replaced, to 3 peers: {:?}",
        begun.elapsed()
    );
    assert!(said.contains("+1000 -1000"), "{said}");
    for peer in 1..world.cluster.len() {
        assert!(world.denies(peer, "11.0.11.184"), "the first of the list");
        assert!(!world.denies(peer, "11.0.0.0"));
    }
    let begun = Instant::now();
    world.pushed(&["push", "--back"]);
    println!("and back: {:?}", begun.elapsed());
}
