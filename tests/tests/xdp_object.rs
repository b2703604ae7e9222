//! What the compiled program must not contain.
use std::{fs, process::Command};

use lbd_tests::{programs, xdp::object};

#[test]
fn no_packet_pays_for_a_memory_function() {
    let name = "no_packet_pays_for_a_memory_function";
    if !programs::or_skip(name, &["llvm-objdump"]) {
        return;
    }
    let objdump = programs::find("llvm-objdump").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lbd-xdp");
    fs::write(&path, object::LBD).unwrap();
    let output = Command::new(objdump)
        .args(["-d", "-r", "--no-show-raw-insn"])
        .arg(&path)
        .output()
        .unwrap();
    let listing = String::from_utf8(output.stdout).unwrap();
    assert!(listing.contains("<lbd>:"), "no program in the listing");
    let mut function = "";
    let mut calls = Vec::new();
    for line in listing.lines() {
        if let Some((_, name)) = line
            .strip_suffix(">:")
            .and_then(|line| line.split_once('<'))
        {
            function = name;
        }
        let relocated = line.contains("R_BPF_64_32");
        let memory = ["memcpy", "memset", "memmove", "memcmp", "bcmp"];
        let called = |name: &&str| {
            line.split_whitespace().last() == Some(name) || line.contains(&format!("<{name}>"))
        };
        if (relocated || line.contains("call")) && memory.iter().any(called) {
            calls.push(format!("{function}: {}", line.trim()));
        }
    }
    assert!(calls.is_empty(), "{calls:#?}");
}
