//! What the compiled program must not contain.
use std::{fs, path::PathBuf, process::Command};

use lbd_tests::xdp::object;

/// The newest `llvm-objdump` there is; none is said on stderr.
fn objdump() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin/llvm-objdump"))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    if found.is_empty() {
        eprintln!("skipped: no_packet_pays_for_a_memory_function needs llvm-objdump");
    }
    found.pop()
}

#[test]
fn no_packet_pays_for_a_memory_function() {
    let Some(objdump) = objdump() else {
        return;
    };
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
