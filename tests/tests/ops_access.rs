//! What an operator changes by hand: denials and list files, live, kept, and over when their time is.
use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{Lab, Spec, addresses},
    smtp::{
        client::{self, Outcome, Session},
        server::Server,
    },
    until,
};
use serde_json::Value;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

struct World {
    lab: Lab,
    _servers: Vec<Server>,
    cluster: Cluster,
    master: usize,
}

impl World {
    fn new(more: impl Fn(&Lab) -> String) -> Self {
        let lab = Lab::new(&Spec::default()).unwrap();
        let servers = Server::start_all(&lab.nodes).unwrap();
        let settings = Settings {
            more: more(&lab),
            ipv6: false,
            ..Settings::default()
        };
        let mut cluster = Cluster::started(&lab, settings).unwrap();
        let master = cluster.wait_ready().unwrap();
        Self {
            lab,
            _servers: servers,
            cluster,
            master,
        }
    }

    fn lbd(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.cluster.lbd(self.master, arguments).unwrap();
        (output.status.success(), text(&output))
    }

    /// The same with a text on its standard input.
    fn fed(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let mut command = self.cluster.command(self.master, arguments);
        command.stdin(Stdio::piped());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        (output.status.success(), text(&output))
    }

    /// The sets of feeds, with their sizes.
    fn sets(&self) -> Vec<(String, u64)> {
        let access = self.json(&["access", "--json"]);
        let sets = access["sets"].as_array().unwrap().iter();
        sets.map(|set| {
            let name = set["name"].as_str().unwrap().to_owned();
            (name, set["networks"].as_u64().unwrap())
        })
        .collect()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.cluster.lbd(self.master, arguments).unwrap();
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Whether a session through the VIP is served.
    fn served(&self) -> bool {
        let client = self.lab.client();
        let session = Session {
            patience: Duration::from_millis(1500),
            ..Session::new(client.address4().into(), (addresses::VIP4, 25).into())
        };
        let outcome = client
            .runtime(async move || client::run(&session).await)
            .unwrap()
            .join()
            .unwrap()
            .unwrap();
        matches!(outcome, Outcome::Served { .. })
    }
}

#[test]
fn a_denial_by_hand_acts_at_once_is_kept_over_a_restart_and_ends() {
    let name = "a_denial_by_hand_acts_at_once_is_kept_over_a_restart_and_ends";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut world = World::new(|_| "  access: {allow: [10.99.0.0/16]}\n".to_owned());
    let source = world.lab.client().address4().to_string();
    assert!(world.served());

    let (done, said) = world.lbd(&["deny", &source]);
    assert!(
        done && said.contains("is denied until `lbd undeny`"),
        "{said}"
    );
    assert!(!world.served(), "a denied source is served");
    let judged = world.json(&["access", &source, "--json"]);
    assert_eq!(judged["source"]["admitted"], false, "{judged}");

    // A stop and a start: the file has it.
    assert!(world.cluster.stop(world.master).unwrap().success());
    world.cluster.start(world.master).unwrap();
    world.master = {
        let best = world.master;
        world
            .cluster
            .wait_status(best, "master again", lbd_tests::cluster::Status::is_master)
            .unwrap();
        best
    };
    assert!(!world.served(), "a restart forgot the denial");

    let (done, said) = world.lbd(&["undeny", &source]);
    assert!(done && said.contains("no longer denied"), "{said}");
    until("served again", || world.served());

    // One that ends by itself.
    let (done, said) = world.lbd(&["deny", &format!("{source}/32"), "--for", "2s"]);
    assert!(done && said.contains("for 2s"), "{said}");
    until("the denial is over", || {
        let by_hand = world.json(&["access", "--json"])["by_hand"].clone();
        by_hand.as_array().unwrap().is_empty()
    });
    until("served again", || world.served());

    // What makes no sense is said, and changes nothing.
    for (arguments, expected) in [
        (vec!["deny", "nonsense"], "neither an address nor a network"),
        (vec!["deny", "10.1.0.0/8"], "bits set beyond its prefix"),
        (
            vec!["deny", "192.0.2.1", "--for", "soon"],
            "give a duration",
        ),
        (vec!["deny", "10.99.1.1"], "overrides a denial"),
        (vec!["undeny", "203.0.113.99"], "is not denied by hand"),
    ] {
        let (done, said) = world.lbd(&arguments);
        assert!(!done && said.contains(expected), "{arguments:?}: {said}");
    }
    assert!(world.served());
}

#[test]
fn an_edited_list_file_acts_and_a_broken_one_does_not() {
    let name = "an_edited_list_file_acts_and_a_broken_one_does_not";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let folder = |lab: &Lab| lab.folder().join("lists");
    let world = World::new(|lab| {
        let lists = folder(lab);
        fs::create_dir_all(&lists).unwrap();
        fs::write(lists.join("deny"), "# none yet\n").unwrap();
        format!(
            "  access: {{deny_file: {}}}\n",
            lists.join("deny").display()
        )
    });
    let (deny, source) = (
        folder(&world.lab).join("deny"),
        world.lab.client().address4(),
    );
    assert!(world.served());

    // As editors do: a new file over the old one.
    let aside = deny.with_extension("new");
    fs::write(&aside, format!("198.51.100.0/24\n{source}\n")).unwrap();
    fs::rename(&aside, &deny).unwrap();
    until("denied by the file", || !world.served());
    assert_eq!(world.json(&["access", "--json"])["denied"], 2);

    // A broken one is refused with its line, and what ran before runs on.
    fs::write(&deny, "198.51.100.0/24\nnonsense\n").unwrap();
    until("refused", || {
        let refused = world.json(&["status", "--json"])["config"]["refused"].clone();
        refused.as_str().is_some_and(|text| text.contains(":2:1"))
    });
    assert!(!world.served(), "a broken list opened the door");

    fs::write(&deny, "198.51.100.0/24\n").unwrap();
    until("admitted again", || world.served());
}

#[test]
fn flows_are_listed_filtered_and_counted() {
    let name = "flows_are_listed_filtered_and_counted";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let world = World::new(|_| String::new());
    let client = world.lab.client();
    let session = Session {
        pause: Duration::from_secs(8),
        ..Session::new(client.address4().into(), (addresses::VIP4, 25).into())
    };
    let running = client
        .runtime(async move || {
            let mut sessions = tokio::task::JoinSet::new();
            for _ in 0..12 {
                let session = session.clone();
                sessions.spawn(async move { client::run(&session).await });
            }
            sessions.join_all().await
        })
        .unwrap();
    until("12 established flows", || {
        let flows = world.json(&["flows", "--state", "established", "--json"]);
        flows["matched"] == 12
    });
    let all = world.json(&["flows", "--state", "established", "--limit", "5", "--json"]);
    assert_eq!(all["flows"].as_array().unwrap().len(), 5);
    let of_backends: u64 = world
        .lab
        .nodes
        .iter()
        .map(|node| {
            let of = [
                "flows",
                "--state",
                "established",
                "--backend",
                &node.name,
                "--json",
            ];
            world.json(&of)["matched"].as_u64().unwrap()
        })
        .sum();
    assert_eq!(of_backends, 12);
    let by_source = world.json(&["flows", "--by-source", "--state", "established", "--json"]);
    assert_eq!(by_source["sources"][0]["flows"], 12, "{by_source}");
    let (done, said) = world.lbd(&["flows", "--backend", "nobody"]);
    assert!(!done && said.contains("the backends are"), "{said}");
    drop(running.join());
}

#[test]
fn a_feed_of_a_hundred_thousand_replaces_its_own_set_alone() {
    let name = "a_feed_of_a_hundred_thousand_replaces_its_own_set_alone";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut world = World::new(|_| String::new());
    let source = world.lab.client().address4().to_string();
    assert!(world.served());
    let mut feed = String::from("; Spamhaus DROP List\n");
    for i in 0..99_999_u32 {
        let address = std::net::Ipv4Addr::from(0x0b00_0000 + i * 7);
        writeln!(feed, "{address}/32 ; SBL{i}").unwrap();
    }
    writeln!(feed, "::ffff:{source} ; as some programs write it").unwrap();

    let (done, said) = world.fed(&["deny", "--file", "-", "--set", "ban"], "192.0.2.99\n");
    assert!(done, "{said}");
    let began = Instant::now();
    let (done, said) = world.fed(&["deny", "--file", "-", "--set", "drop"], &feed);
    let took = began.elapsed();
    assert!(done, "{said}");
    println!("a feed of 100,000 took {took:?}: {}", said.trim());
    let both = [("ban".to_owned(), 1), ("drop".to_owned(), 100_000)];
    assert_eq!(world.sets(), both);
    assert!(!world.served(), "a source of the feed is served");

    // A download that failed, and a page in place of a list.
    let (done, said) = world.fed(&["deny", "--file", "-", "--set", "drop"], "; nothing\n");
    assert!(!done && said.contains("--allow-empty"), "{said}");
    let (done, said) = world.fed(&["deny", "--file", "-", "--set", "drop"], "<html>\n");
    assert!(!done && said.contains("nothing was changed"), "{said}");
    assert_eq!(world.sets(), both);

    // A restart keeps it; the next feed replaces it.
    assert!(world.cluster.stop(world.master).unwrap().success());
    world.cluster.start(world.master).unwrap();
    world.cluster.wait_ready().unwrap();
    // Sets stay on the node that was fed: it has to be the master again.
    world
        .cluster
        .wait_status(world.master, "master again", Status::is_master)
        .unwrap();
    assert_eq!(world.sets(), both);
    assert!(!world.served(), "a restart forgot the feed");
    let smaller = feed.rsplit_once("::ffff:").unwrap().0;
    let began = Instant::now();
    let (done, said) = world.fed(&["deny", "--file", "-", "--set", "drop"], smaller);
    assert!(done, "{said}");
    println!("its successor took {:?}: {}", began.elapsed(), said.trim());
    until("served again", || world.served());

    let path = world.lab.folder().join("drop.txt");
    fs::write(&path, smaller).unwrap();
    let path = path.to_str().unwrap();
    let (done, said) = world.lbd(&["undeny", "--file", path, "--set", "drop"]);
    assert!(done, "{said}");
    assert_eq!(world.sets(), both[..1]);
    let empty = ["deny", "--file", "-", "--set", "ban", "--allow-empty"];
    let (done, said) = world.fed(&empty, "");
    assert!(done, "{said}");
    assert!(world.sets().is_empty());
}

/// The value of a key in fail2ban's action, for this jail and source.
fn fail2ban(key: &str, source: &str) -> String {
    let action = include_str!("../../deploy/fail2ban/action.d/lbd.conf");
    let line = action
        .lines()
        .find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
    let line = line.expect(key);
    line.replace("<ip>", source).replace("<name>", "postfix")
}

#[test]
fn the_recipes_of_fail2ban_and_crowdsec_ban_and_let_in_again() {
    let name = "the_recipes_of_fail2ban_and_crowdsec_ban_and_let_in_again";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let world = World::new(|_| String::new());
    let source = world.lab.client().address4().to_string();
    // As on a box, where `lbd` is in PATH and knows its configuration.
    let folder = world.lab.folder().join("bin");
    fs::create_dir(&folder).unwrap();
    let lbd = folder.join("lbd");
    let own = world.cluster.command(world.master, &[]);
    let words = std::iter::once(own.get_program()).chain(own.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    fs::write(
        &lbd,
        format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")),
    )
    .unwrap();
    fs::set_permissions(&lbd, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let run = |line: &str| {
        let output = std::process::Command::new("sh")
            .args(["-c", line])
            .env("PATH", &path)
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{line}: {}", text(&output));
    };
    let set = |name: &str, size| [(name.to_owned(), size)];

    // A jail starts, bans, lets in, bans again and ends.
    run(&fail2ban("actionstart", &source));
    run(&fail2ban("actionban", &source));
    assert_eq!(world.sets(), set("fail2ban-postfix", 1));
    assert!(!world.served(), "a banned source is served");
    run(&fail2ban("actionunban", &source));
    until("served after the unban", || world.served());
    for end in ["actionflush", "actionstop"] {
        run(&fail2ban("actionban", &source));
        assert!(!world.served(), "a banned source is served");
        run(&fail2ban(end, &source));
        assert!(world.sets().is_empty(), "{end}: {:?}", world.sets());
        until("served after the jail's end", || world.served());
    }

    // A decision is added, and taken back; then one ends by its own time, and is taken back after that.
    let bouncer = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/crowdsec/lbd-bouncer"
    );
    let add =
        |seconds| format!("{bouncer} add {source} {seconds} crowdsecurity/postfix-spam '{{}}'");
    let del = format!("{bouncer} del {source} 0 crowdsecurity/postfix-spam '{{}}'");
    run(&add(3600));
    assert_eq!(world.sets(), set("crowdsec", 1));
    assert!(!world.served(), "a banned source is served");
    run(&del);
    until("served after the decision is taken back", || world.served());
    run(&add(2));
    until("served after the decision's time", || world.served());
    run(&del);
}

#[test]
fn a_command_whose_reader_has_gone_ends_quietly() {
    let name = "a_command_whose_reader_has_gone_ends_quietly";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let world = World::new(|_| String::new());
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["flows"],
        &["flows", "--json"],
        &["access"],
        &["explain"],
        &["flows", "--help"],
        &["completions", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = world.cluster.command(world.master, arguments);
        let output = command.stdout(writer).output().unwrap();
        let said = text(&output);
        assert!(output.status.success(), "{arguments:?}: {said}");
        assert_eq!(said, "", "{arguments:?}");
    }
}
