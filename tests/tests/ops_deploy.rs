//! What an operator puts on a box first: `lbd init`, and the Ansible role.
use std::{env, fs, path::Path, process::Command};

use lbd_tests::{
    cluster::lbd_binary,
    lab::{INTERFACE, Lab, Spec, addresses},
};

#[test]
fn init_writes_what_check_finds_right_and_replaces_nothing() {
    let name = "init_writes_what_check_finds_right_and_replaces_nothing";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 1,
        ..Spec::default()
    })
    .unwrap();
    let node = &lab.nodes[0];
    let lbd = lbd_binary().unwrap();
    let lbd = lbd.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lbd.yaml");
    let config = format!("--config={}", file.display());
    let vip = format!(
        "--virtual-address={}/{}",
        addresses::VIP4,
        addresses::PREFIX4
    );
    let said = node.output(lbd, &["init", &config, &vip]).unwrap();
    assert!(said.contains("cluster.key"), "{said}");
    let text = fs::read_to_string(&file).unwrap();
    println!("{text}");
    assert!(text.contains(&format!("interfaces: [\"{INTERFACE}\"]")));
    assert!(text.contains(&format!("channel: \"{}:9426\"", node.address4())));
    let checked = node.output(lbd, &["check", &config]).unwrap();
    assert!(checked.contains("is fine"), "{checked}");
    let key = fs::read(folder.path().join("cluster.key")).unwrap();
    let again = node
        .output(lbd, &["init", &config])
        .unwrap_err()
        .to_string();
    assert!(again.contains("is there already"), "{again}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    // The key of a cluster that this box joins.
    fs::remove_file(&file).unwrap();
    node.output(lbd, &["init", &config]).unwrap();
    assert_eq!(fs::read(folder.path().join("cluster.key")).unwrap(), key);
    let lacks = node
        .output(lbd, &["check", &config])
        .unwrap_err()
        .to_string();
    assert!(lacks.contains("virtual_addresses"), "{lacks}");
}

/// Runs the role on this machine as if it were the box mx1, with its files in `folder`: what the closing line
/// says.
fn play(folder: &Path, more: &[&str]) -> String {
    let lbd = lbd_binary().unwrap();
    let path = env::var("PATH").unwrap();
    let path = format!("{}:{path}", lbd.parent().unwrap().display());
    let roles = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/ansible/roles");
    let output = Command::new("ansible-playbook")
        .args(["-i", "inventory.yml", "site.yml"])
        .args(more)
        .current_dir(folder)
        .env("PATH", path)
        .env("ANSIBLE_ROLES_PATH", roles)
        .env("ANSIBLE_NOCOLOR", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    said.lines()
        .rfind(|line| line.contains("changed="))
        .unwrap()
        .to_owned()
}

#[test]
fn the_ansible_role_changes_nothing_when_checked_or_run_again() {
    let name = "the_ansible_role_changes_nothing_when_checked_or_run_again";
    if !lbd_tests::programs::or_skip(name, &["ansible-playbook"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let etc = folder.path().join("etc");
    fs::write(
        folder.path().join("site.yml"),
        "- hosts: all\n  roles: [lbd]\n",
    )
    .unwrap();
    let inventory = format!(
        "all:\n  hosts: {{mx1: {{ansible_connection: local, ansible_python_interpreter: /usr/bin/python3}}}}\n  vars:\n    \
         lbd_key: \"{}\"\n    lbd_folder: {}\n    lbd_user: root\n    lbd_service: false\n    \
         lbd_node: {{priority: 200, interfaces: [eth0]}}\n    \
         lbd_cluster: {{virtual_router_id: 51, virtual_addresses: [192.0.2.25/24], sites: \
         [{{name: here, backends: [{{name: mx1, address: 192.0.2.11}}]}}]}}\n",
        "0123456789abcdef".repeat(4),
        etc.display()
    );
    fs::write(folder.path().join("inventory.yml"), inventory).unwrap();
    let checked = play(folder.path(), &["--check"]);
    assert!(!etc.exists(), "--check changes nothing");
    assert!(checked.contains("changed=3"), "{checked}");
    assert!(play(folder.path(), &[]).contains("changed=3"));
    let written = fs::read_to_string(etc.join("lbd.yaml")).unwrap();
    assert!(
        written.contains("name: mx1") && written.contains("192.0.2.25/24"),
        "{written}"
    );
    assert!(play(folder.path(), &[]).contains("changed=0"));
    assert!(play(folder.path(), &["--check"]).contains("changed=0"));
}
