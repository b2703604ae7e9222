//! The exit codes of the built program: 0 fine, 1 failed, 2 usage, 3 invalid configuration.
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// Cargo builds the program together with this test.
const LBD: &str = env!("CARGO_BIN_EXE_lbd");

const GOOD: &str = "node: {name: mx1, interfaces: [lo], queue: {system: none}}
cluster:
  virtual_router_id: 51
  virtual_addresses: [192.0.2.25/24]
  sites: [{name: here, backends: [{name: mx1, address: 192.0.2.11}]}]
";

fn lbd(config: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(LBD);
    command.args(arguments).arg("--config").arg(config);
    command.output().unwrap()
}

#[test]
fn what_reads_the_whole_configuration_ends_with_3_for_each_mistake_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lbd.yaml");
    // Where it is wrong, and what is said of that.
    let wrong = [
        (
            GOOD.replace("name: mx1, interfaces", "nme: mx1, interfaces"),
            "lbd.yaml:1:",
            "nme",
        ),
        (
            GOOD.replace("25/24", "25/33"),
            "lbd.yaml:4:",
            "192.0.2.25/33",
        ),
        ("node: {{{".to_owned(), "lbd.yaml:1:", "lbd.yaml"),
    ];
    // `agent` without `--once` would serve: a mistake must end it before it listens.
    let readers: [&[&str]; 6] = [
        &["agent"],
        &["agent", "--once"],
        &["check"],
        &["run"],
        &["cleanup"],
        &["report"],
    ];
    for (text, place, what) in &wrong {
        fs::write(&file, text).unwrap();
        for arguments in readers {
            let output = lbd(&file, arguments);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.code(),
                Some(3),
                "{arguments:?} {text}: {said}"
            );
            assert!(
                said.contains("the configuration has 1 error\n") && said.contains(place),
                "{arguments:?}: {said}"
            );
            assert!(said.contains(what), "{arguments:?}: {said}");
            assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
        }
    }
}

#[test]
fn the_agent_tells_a_mistake_a_failure_and_a_wrong_flag_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lbd.yaml");
    fs::write(&file, GOOD).unwrap();
    let missing = folder.path().join("missing.yaml");
    for (config, arguments, code, expected) in [
        (&file, &["agent", "--once"][..], 0, ""),
        (&missing, &["agent", "--once"], 1, "missing.yaml"),
        // An address of the documentation's, which this box does not have.
        (
            &file,
            &["agent", "--listen", "192.0.2.99:9426"],
            1,
            "--listen",
        ),
        (&file, &["agent", "--once", "--spool", "qmail"], 1, "qmail"),
        (&file, &["agent", "--ports", "smtp"], 2, "--ports"),
        (&file, &["agent", "--nonsense"], 2, "--nonsense"),
    ] {
        let output = lbd(config, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    let output = lbd(&file, &["agent", "--once"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["node"], "mx1", "{said}");
}

#[test]
fn every_command_ends_quietly_when_its_output_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lbd.yaml");
    fs::write(&file, GOOD).unwrap();
    for arguments in [
        &["check", "--file-only", "--print"][..],
        &["completions", "bash"],
        &["help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(LBD);
        command
            .args(arguments)
            .env("LBD_LOG", "error")
            .stdout(writer);
        if arguments[0] != "help" {
            command.arg("--config").arg(&file);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panic"), "{arguments:?}: {said}");
        assert_ne!(output.status.code(), Some(101), "{arguments:?}: {said}");
    }
}
