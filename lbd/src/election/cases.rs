//! Recorded cases: a folder each, `config.yaml` and `events.jsonl` in, `expected.jsonl` out,
//! replayed whole. A line of `events` is `{"at_ns": .., "input": ..}`; its line of `expected` has
//! the outputs in order and the deadline after them.
//!
//! After a change that is meant, `LBD_RECORD=1 cargo test -p lbd --lib election::cases` writes
//! `expected.jsonl` anew: read the difference before it is committed.
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Deserialize)]
struct Step {
    at_ns: u64,
    input: Input,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Expected {
    outputs: Vec<Output>,
    deadline_ns: Option<u64>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/election")
}

fn lines<T: serde::de::DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| {
            serde_json::from_str(line)
                .unwrap_or_else(|e| panic!("{}, line {}: {e}", path.display(), i + 1))
        })
        .collect()
}

fn config(case: &Path) -> Config {
    let path = case.join("config.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let file = crate::config::Config::parse(&text, &path.display().to_string())
        .unwrap_or_else(|errors| panic!("{}: {errors:?}", path.display()));
    let families = Families {
        v4: Some("10.99.0.2".parse().unwrap())
            .filter(|_| !file.cluster.virtual_addresses_v4().is_empty()),
        v6: Some("fe80::2".parse().unwrap())
            .filter(|_| !file.cluster.virtual_addresses_v6().is_empty()),
    };
    Config::of(&file, families)
}

#[test]
fn every_recorded_case_replays() {
    let mut cases: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(cases.len() >= 8, "the recorded cases are there");
    for case in cases {
        let mut machine = Machine::new(config(&case), 0);
        machine.handle(0, Input::Health(Health::GOOD), &mut Vec::new());
        let mut got = Vec::new();
        for Step { at_ns, input } in lines(&case.join("events.jsonl")) {
            let mut outputs = Vec::new();
            machine.handle(at_ns, input, &mut outputs);
            got.push(Expected {
                outputs,
                deadline_ns: machine.deadline_ns(),
            });
        }
        let path = case.join("expected.jsonl");
        if std::env::var_os("LBD_RECORD").is_some() {
            let text: String = got
                .iter()
                .map(|line| serde_json::to_string(line).unwrap() + "\n")
                .collect();
            fs::write(&path, text).unwrap();
        }
        let expected: Vec<Expected> = lines(&path);
        assert_eq!(got.len(), expected.len(), "{}", case.display());
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert_eq!(got, expected, "{}, event {}", case.display(), i + 1);
        }
    }
}
