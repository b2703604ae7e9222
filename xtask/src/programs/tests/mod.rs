//! Reads every source of the workspace for programs that it starts, and holds them to the table.
mod places;
mod rust;
mod shell;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{Set, Source, TABLE, named, of};

/// A program that a line of a file starts, or what stands there for its name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Start {
    Named(String),
    /// An expression: `places::VARIABLES` says what it may be.
    By(String),
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file below the workspace's own folders that starts programs, by its path from the top.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = places::FOLDERS
        .iter()
        .map(|name| workspace().join(name))
        .collect();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().unwrap() != "target" {
                    folders.push(path);
                }
                continue;
            }
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            let path = path.strip_prefix(workspace()).unwrap();
            if places::EMULATED == path.as_os_str() {
                continue;
            }
            let is_code = path
                .extension()
                .is_some_and(|extension| extension == "rs" || extension == "sh");
            if is_code || text.starts_with("#!") {
                found.push((path.display().to_string(), text));
            }
        }
    }
    found.sort();
    found
}

fn starts(path: &str, text: &str) -> BTreeSet<Start> {
    if Path::new(path)
        .extension()
        .is_none_or(|extension| extension != "rs")
    {
        let named = shell::programs(text);
        return named.into_iter().map(Start::Named).collect();
    }
    rust::starts(text)
}

/// What is wrong with a file's programs, a sentence each.
fn faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(sets) = places::sets(path) else {
        return vec![format!("{path}: say in places.rs which sets run it")];
    };
    let mut names = BTreeSet::new();
    for start in starts(path, text) {
        match start {
            Start::Named(name) => drop(names.insert(name)),
            Start::By(expression) => match places::variable(path, &expression) {
                Some(them) => names.extend(them.iter().map(|name| (*name).to_owned())),
                None => faults.push(format!(
                    "{path}: starts `{expression}`: say in places.rs which program that is"
                )),
            },
        }
    }
    for name in names {
        let name = name.rsplit('/').next().unwrap_or(&name);
        if places::OWN.contains(&name) {
            continue;
        }
        let Some(program) = named(name) else {
            faults.push(format!("{path}: starts `{name}`, which the table lacks"));
            continue;
        };
        match program.source {
            Source::Base | Source::Rust => {}
            Source::Box if path.starts_with("lbd/") => {}
            Source::Found if path.starts_with("xtask/src/setup/") => {}
            // The operator's own, where the daemon runs.
            _ if path.starts_with("lbd/") && places::ON_A_BOX.contains(&name) => {}
            _ => {
                let lacking = sets.iter().filter(|set| !program.is_of(**set));
                faults.extend(lacking.map(|set| {
                    format!("{path}: starts `{name}`, which the set {set:?} does not name")
                }));
            }
        }
    }
    faults
}

#[test]
fn every_program_that_the_workspace_starts_is_in_the_table_and_in_its_sets() {
    let faults: Vec<String> = sources()
        .iter()
        .flat_map(|(path, text)| faults(path, text))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_program_of_the_table_is_started() {
    let mut started = BTreeSet::new();
    for (path, text) in sources() {
        for start in starts(&path, &text) {
            match start {
                Start::Named(name) => {
                    started.insert(name.rsplit('/').next().unwrap_or(&name).to_owned());
                }
                Start::By(expression) => {
                    let them = places::variable(&path, &expression).unwrap_or_default();
                    started.extend(them.iter().map(|name| (*name).to_owned()));
                }
            }
        }
    }
    started.extend(places::ELSEWHERE.iter().map(|name| (*name).to_owned()));
    let idle: Vec<&str> = TABLE
        .iter()
        .map(|program| program.name)
        .filter(|name| !started.contains(*name))
        .collect();
    assert!(idle.is_empty(), "started nowhere: {idle:?}");
}

#[test]
fn a_program_that_is_not_in_the_table_is_found_however_it_is_started() {
    let path = "tests/src/lab/mod.rs";
    for text in [
        r#"Command::new("tcpdump").arg("-i");"#,
        r#"std::process::Command::new( "tcpdump" )"#,
        r#"host.output("tcpdump", &["-i", "eth0"])?;"#,
        r#"lab.switch.output(
            "tcpdump",
            &["-K", port])"#,
        r#"self.host.command("tcpdump")"#,
        r#"process::quietly("tcpdump", &[], &[])"#,
        r#"quietly_within(LONG, "tcpdump", &[], &[])"#,
        r#"machine.run(&["tcpdump", "-i"])"#,
        r#"let words = ["tcpdump", "-i"]; machine.output(&words)"#,
        r#"let mut words = vec!["tcpdump"]; machine.run(&words)"#,
        r#"host.command("timeout").args(["5", "tcpdump"]).output()"#,
        r#"let arguments = ["120", "tcpdump", "-i"]; host.output("timeout", &arguments)"#,
        r#"let mut c = host.command("nice"); c.args(["-n", "-10", "tcpdump"]).args(["-i"]); c.spawn()"#,
        r#"host.command("unshare").args(["--mount", "tcpdump"]).spawn()"#,
        r#"Command::new("sh").args(["-c", "x=1 tcpdump -i"])"#,
        r#"Command::new("sh").arg("-c").arg("for a in 1 2; do tcpdump $a; done")"#,
        "const CLEAN: &str = r#\"\ncase $x in a) tcpdump ;; esac\n\"#; Command::new(\"sh\").args([\"-c\", CLEAN, \"lab\"])",
        "const C: &str = \"echo a | tcpdump\"; let script = format!(\"read x\\n{C}\"); Command::new(\"sh\").args([\"-c\", &script])",
        r#"let s = "a | tcpdump"; let list = vec!["-c", s]; quietly("sh", &list, &[])"#,
        r#"let s = "set -e; x=$(tcpdump -i)"; Command::new("sh").args(["-c", s])"#,
    ] {
        let faults = faults(path, text);
        assert!(
            faults
                .iter()
                .any(|fault| fault.contains("`tcpdump`, which the table lacks")),
            "{text}: {faults:?}"
        );
    }
    let fault = faults(path, "Command::new(tool)");
    assert!(fault[0].contains("`tool`: say in places.rs"), "{fault:?}");
}

#[test]
fn a_program_that_its_set_does_not_name_is_found() {
    // The fault of the first show: the lab started ethtool, and only the tests' list had it.
    let fault = faults(
        "tests/src/lab/mod.rs",
        r#"host.output("bpftool", &["map"])"#,
    );
    assert!(
        fault
            .iter()
            .any(|fault| fault.contains("`bpftool`, which the set Lab does not name")),
        "{fault:?}"
    );
    let none: Vec<String> = Vec::new();
    assert_eq!(
        faults(
            "tests/tests/dataplane_load.rs",
            r#"host.output("bpftool", &["map"])"#
        ),
        none
    );
}

#[test]
fn text_that_starts_nothing_is_left_alone() {
    for text in [
        r#"// Command::new("tcpdump")"#,
        r#"/* host.output("tcpdump", &[]) */"#,
        r#"let text = "Command::new(\"tcpdump\")";"#,
        r#"dialogue.command("QUIT", "221").await"#,
        r#"cluster.command(index, &["status"]).output()"#,
        "Command::new(\"sh\").args([\"-c\", \"# tcpdump\\n[ -n \\\"$2\\\" ] || exit 1; echo 'a; tcpdump'\"])",
    ] {
        let found = faults("tests/src/lab/mod.rs", text);
        assert!(found.is_empty(), "{text}: {found:?}");
    }
}

#[test]
fn a_program_stands_in_the_table_once_and_says_what_it_is_for() {
    let names: BTreeSet<&str> = TABLE.iter().map(|program| program.name).collect();
    assert_eq!(names.len(), TABLE.len());
    for program in TABLE {
        assert!(!program.purpose.is_empty(), "{}", program.name);
        let both = program
            .essential
            .iter()
            .find(|set| program.wanted.contains(set));
        assert!(both.is_none(), "{}: {both:?} twice", program.name);
        let installed = program.package().is_some()
            || matches!(program.source, Source::Component(_) | Source::Cargo);
        let of_a_set = !program.essential.is_empty() || !program.wanted.is_empty();
        assert_eq!(installed, of_a_set, "{}", program.name);
    }
}

#[test]
fn nothing_essential_is_ever_only_unpacked_or_fetched_from_crates_io() {
    for program in TABLE.iter().filter(|program| !program.essential.is_empty()) {
        assert!(
            matches!(program.source, Source::Package(_) | Source::Component(_)),
            "{}",
            program.name
        );
    }
}

#[test]
fn the_show_needs_no_mail_system() {
    let packages: BTreeSet<_> = of(Set::Lab).filter_map(super::Program::package).collect();
    assert_eq!(
        packages.into_iter().collect::<Vec<_>>(),
        ["iproute2", "mount", "util-linux"]
    );
}
