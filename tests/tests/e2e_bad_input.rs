//! What a person gets wrong: a sentence for each, and a box that stays as it was.
use std::{fs, path::Path, process::Output};

use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{Lab, Snapshot, Spec},
};

/// A lab of one node with its configuration, and how the node looked before.
struct Box {
    cluster: Cluster,
    before: Snapshot,
    lab: Lab,
}

impl Box {
    fn new() -> Self {
        let lab = Lab::new(&Spec {
            nodes: 1,
            ..Spec::default()
        })
        .unwrap();
        let cluster = Cluster::new(&lab, Settings::default()).unwrap();
        let before = lab.nodes[0].snapshot().unwrap();
        Self {
            cluster,
            before,
            lab,
        }
    }

    /// Runs `lbd run`, which must end by itself with `code` and leave nothing behind.
    fn refuses(&self, what: &str, code: i32) -> String {
        let mut command = self.lab.nodes[0].command("timeout");
        command
            .arg("30")
            .arg(lbd_tests::cluster::lbd_binary().unwrap())
            .args(["run", "--config"])
            .arg(self.cluster.config(0));
        self.check(what, code, &command.output().unwrap())
    }

    fn check(&self, what: &str, code: i32, output: &Output) -> String {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("--- {what}:\n{stderr}");
        assert_eq!(output.status.code(), Some(code), "{what}: {stderr}");
        assert!(!stderr.contains("panicked"), "{what}: {stderr}");
        let after = self.lab.nodes[0].snapshot().unwrap();
        let left = self.before.differences(&after);
        assert_eq!(left, Vec::<String>::new(), "{what}: changed on the box");
        stderr
    }

    fn pin_dir(&self) -> &Path {
        self.cluster.pin_dir(0)
    }
}

/// The line of `text` that has `part` in it, from 1.
fn line_of(text: &str, part: &str) -> usize {
    let at = text.lines().position(|line| line.contains(part));
    at.unwrap_or_else(|| panic!("no {part:?} in:\n{text}")) + 1
}

#[test]
fn every_mistake_in_a_configuration_is_named_with_its_line() {
    let name = "every_mistake_in_a_configuration_is_named_with_its_line";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let on_box = Box::new();
    let good = fs::read_to_string(on_box.cluster.config(0)).unwrap();
    let vip = "virtual_addresses: [10.77.0.100/16";
    // What is written in place of what, and the line that the message has to name.
    let mistakes: [(&str, &str, &str, &str); 6] = [
        ("an unknown key", "  ports: [25]", "  prots: [25]", "prots:"),
        (
            "a duplicate VIP",
            vip,
            "virtual_addresses: [10.77.0.100/16, 10.77.0.100/16",
            "virtual_addresses:",
        ),
        ("a weight of -1", "weight: 100", "weight: -1", "weight: -1"),
        (
            "an address of the wrong family",
            "address: \"10.77.0.11\"",
            "address: \"fd00:77::11\"",
            "address: \"fd00:77::11\"",
        ),
        (
            "no backends",
            "      backends:\n        - {name: mx1, address: \"10.77.0.11\", weight: 100}\n",
            "      backends: []\n",
            "backends: []",
        ),
        (
            "a number for a name",
            "virtual_router_id: 51",
            "virtual_router_id: 300",
            "virtual_router_id:",
        ),
    ];
    for (what, from, to, marked) in mistakes {
        assert!(good.contains(from), "{from:?} in:\n{good}");
        let mut bad = good.replace(from, to);
        if what == "an address of the wrong family" {
            // A backend of a family that no VIP has.
            bad = bad.replace(", \"fd00:77::100/64\"", "");
        }
        fs::write(on_box.cluster.config(0), &bad).unwrap();
        let stderr = on_box.refuses(what, 3);
        let place = format!("lbd.yaml:{}:", line_of(&bad, marked));
        assert_eq!(stderr.matches("lbd.yaml:").count(), 1, "{what}: {stderr}");
        assert!(stderr.contains(&place), "{what}: {place} in {stderr}");
        assert!(!on_box.pin_dir().exists(), "{what}: something was pinned");
    }

    // All at once, apart from those that hide another: one error each.
    let mut bad = good.clone();
    let several = [0, 1, 2, 5];
    for index in several {
        let (_, from, to, _) = mistakes[index];
        bad = bad.replace(from, to);
    }
    fs::write(on_box.cluster.config(0), &bad).unwrap();
    let stderr = on_box.refuses("several mistakes", 3);
    assert_eq!(
        stderr.matches("lbd.yaml:").count(),
        several.len(),
        "{stderr}"
    );
    for index in several {
        let place = format!("lbd.yaml:{}:", line_of(&bad, mistakes[index].3));
        assert!(stderr.contains(&place), "{place} in {stderr}");
    }

    // `check` says the same.
    let output = on_box.cluster.lbd(0, &["check"]).unwrap();
    on_box.check("check", 3, &output);

    // The daemon waits for an interface that is not there yet; `check` names it.
    let bad = good.replace("interfaces: [eth0]", "interfaces: [eth7]");
    fs::write(on_box.cluster.config(0), &bad).unwrap();
    let output = on_box.cluster.lbd(0, &["check"]).unwrap();
    let stderr = on_box.check("a missing interface", 3, &output);
    let place = format!("lbd.yaml:{}:", line_of(&bad, "eth7"));
    assert!(stderr.contains(&place), "{place} in {stderr}");

    fs::remove_file(on_box.cluster.config(0)).unwrap();
    on_box.refuses("no configuration file", 3);
}

#[test]
fn without_privileges_a_sentence_says_so() {
    let Some(_turn) = lbd_tests::turn("without_privileges_a_sentence_says_so") else {
        return;
    };
    let on_box = Box::new();
    // A program that a user other than root may start.
    let binary = on_box.lab.folder().join("lbd");
    fs::copy(lbd_tests::cluster::lbd_binary().unwrap(), &binary).unwrap();
    let mut command = on_box.lab.nodes[0].command("timeout");
    command
        .args([
            "30",
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ])
        .arg(binary)
        .args(["run", "--config"])
        .arg(on_box.cluster.config(0));
    let stderr = on_box.check("no privileges", 1, &command.output().unwrap());
    assert!(
        stderr.contains("root") || stderr.contains("CAP_"),
        "{stderr}"
    );
    assert!(!on_box.pin_dir().exists());
}

#[test]
fn a_foreign_xdp_program_is_left_alone() {
    let Some(_turn) = lbd_tests::turn("a_foreign_xdp_program_is_left_alone") else {
        return;
    };
    let mut on_box = Box::new();
    on_box.lab.attach_foreign_xdp(&on_box.lab.nodes[0]).unwrap();
    on_box.before = on_box.lab.nodes[0].snapshot().unwrap();
    let stderr = on_box.refuses("XDP attached by something else", 1);
    assert!(stderr.contains("eth0"), "{stderr}");
    assert!(!on_box.pin_dir().exists(), "something was pinned");
}

#[test]
fn pins_of_another_version_are_refused() {
    let Some(_turn) = lbd_tests::turn("pins_of_another_version_are_refused") else {
        return;
    };
    let on_box = Box::new();
    fs::create_dir_all(on_box.pin_dir()).unwrap();
    let pin = on_box.pin_dir().join("DIRECTOR");
    // The map's name with another layout: 8 bytes instead of a cache line.
    let pin_text = pin.display().to_string();
    let arguments = [
        "map", "create", &pin_text, "type", "array", "key", "4", "value", "8", "entries", "1",
        "name", "DIRECTOR",
    ];
    on_box.lab.nodes[0].output("bpftool", &arguments).unwrap();
    let stderr = on_box.refuses("a pin directory of another version", 1);
    assert!(stderr.contains("cleanup"), "{stderr}");
    let pins: Vec<_> = fs::read_dir(on_box.pin_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(pins, ["DIRECTOR"], "nothing was added to them");
}

#[test]
fn a_pin_directory_that_is_no_bpf_file_system_is_refused() {
    let Some(_turn) = lbd_tests::turn("a_pin_directory_that_is_no_bpf_file_system_is_refused")
    else {
        return;
    };
    let on_box = Box::new();
    let folder = on_box.lab.folder().join("pins");
    let text = fs::read_to_string(on_box.cluster.config(0)).unwrap();
    let pin_dir = on_box.pin_dir().display().to_string();
    let text = text.replace(&pin_dir, &folder.display().to_string());
    fs::write(on_box.cluster.config(0), text).unwrap();
    let stderr = on_box.refuses("no BPF file system", 1);
    assert!(stderr.contains("pins"), "{stderr}");
}
