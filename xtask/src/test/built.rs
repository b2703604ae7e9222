//! The test programs that cargo built.
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;

use crate::{
    outcome::Outcome,
    process::{self, Stream},
};

/// One program, with the tests of one file or one crate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TestProgram {
    /// As cargo's `--test` takes it, or the crate's.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// The folder of its package, in which cargo would start it.
    pub(crate) package: PathBuf,
    /// Whether it is a file of the package's `tests` folder, not the tests next to the code of a crate.
    pub(crate) is_integration: bool,
}

impl TestProgram {
    /// From one of cargo's messages, when it tells of a program with tests.
    fn of(message: &str) -> Option<Self> {
        if !message.starts_with(r#"{"reason":"compiler-artifact""#)
            // The profile's: a target's says that it may have tests.
            || !message.contains(r#""test":true},"features":"#)
        {
            return None;
        }
        // The target's name: the package's stands in its id.
        let (_, target) = message.split_once(r#""target":{"#)?;
        Some(Self {
            name: field(target, "name")?.to_owned(),
            path: field(message, "executable")?.into(),
            package: Path::new(field(message, "manifest_path")?)
                .parent()?
                .to_owned(),
            is_integration: target.starts_with(r#""kind":["test"]"#),
        })
    }

    /// Whether it is one of the package in that folder of the workspace.
    pub(crate) fn is_of(&self, package: &str) -> bool {
        self.package.ends_with(package)
    }

    /// The program, as `cargo test` would start it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.package);
        command.env("CARGO_MANIFEST_DIR", &self.package);
        command
    }
}

/// A string of a JSON object. Paths with escapes in them are not read.
fn field<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{name}\":\""))?;
    let (value, _) = rest.split_once('"')?;
    (!value.contains('\\')).then_some(value)
}

/// Runs a `cargo test --no-run` and says what it built, by name. One that does not compile is a failure,
/// and keeps the others from nothing.
pub(crate) fn build(mut cargo: Command, outcome: &mut Outcome) -> Result<Vec<TestProgram>> {
    cargo.arg("--message-format=json-render-diagnostics");
    let mut built = Vec::new();
    let status = process::run(cargo, Duration::MAX, |stream, line| match stream {
        Stream::Out => built.extend(TestProgram::of(line)),
        Stream::Err => process::echo(stream, line),
    })?;
    if !status.success() {
        let what = "some of the programs do not compile";
        process::echo(Stream::Err, &format!("{what}: {}", process::ending(status)));
        outcome.fail();
    }
    built.sort_by(|a, b| (&a.package, &a.name).cmp(&(&b.package, &b.name)));
    Ok(built)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(test: bool, executable: &str) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"path+file:///w/tests#lbd-tests@0.1.0","manifest_path":"/w/tests/Cargo.toml","target":{{"kind":["test"],"crate_types":["bin"],"name":"xdp_steer","src_path":"/w/tests/tests/xdp_steer.rs","edition":"2024","doc":false,"doctest":false,"test":true}},"profile":{{"opt_level":"0","debuginfo":1,"debug_assertions":true,"overflow_checks":true,"test":{test}}},"features":[],"filenames":["/t/deps/xdp_steer-1f"],"executable":{executable},"fresh":true}}"#
        )
    }

    #[test]
    fn a_program_is_read_from_cargo_s_message() {
        let program = TestProgram::of(&message(true, r#""/t/deps/xdp_steer-1f""#)).unwrap();
        let expected = TestProgram {
            name: "xdp_steer".to_owned(),
            path: "/t/deps/xdp_steer-1f".into(),
            package: "/w/tests".into(),
            is_integration: true,
        };
        assert_eq!(program, expected);
        assert!(program.is_of("tests") && !program.is_of("lbd"));
    }

    #[test]
    fn what_is_no_test_program_is_left_out() {
        for message in [
            message(true, "null"),
            // The daemon itself, which the tests start.
            message(false, r#""/t/lbd""#),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
            String::new(),
        ] {
            assert_eq!(TestProgram::of(&message), None, "{message}");
        }
    }
}
