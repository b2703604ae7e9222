//! `lbd completions`, `lbd manuals` and `lbd schemas`: what packages are made with, from the very
//! command line and types of this program.
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap_complete::Shell;

use crate::{
    daemon::{
        cluster::push::{PushReport, StandingReport},
        observe::{
            recent::{Happening, History},
            status::Status,
        },
        operator::{access::AccessStatus, flow_query::FlowList},
    },
    policy::explain::Explanation,
    report::Report,
    simulate,
    trace::TraceLine,
};

/// Arguments of `lbd completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// Which shell. The output belongs where it looks for completions.
    shell: Shell,
}

/// Arguments of `lbd manuals` and `lbd schemas`.
#[derive(Debug, clap::Args)]
pub(super) struct Into {
    /// The folder to write into; it is made if need be.
    folder: PathBuf,
}

pub(super) fn completions(args: &Completions, program: &mut clap::Command) {
    clap_complete::generate(args.shell, program, "lbd", &mut io::stdout());
}

/// A page of section 8 for the program and for each command.
pub(super) fn manuals(args: &Into, program: clap::Command) -> anyhow::Result<()> {
    for (name, page) in pages(program)? {
        write(&args.folder, &name, &page)?;
    }
    Ok(())
}

/// A JSON Schema for each command that prints JSON.
pub(super) fn schemas(args: &Into) -> anyhow::Result<()> {
    for (name, schema) in all_schemas() {
        let text = serde_json::to_string_pretty(&schema)? + "\n";
        write(&args.folder, &format!("{name}.json"), text.as_bytes())?;
    }
    Ok(())
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = folder.join(name);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, bytes))
        .with_context(|| format!("{} could not be written", path.display()))
}

fn pages(mut program: clap::Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    program.build();
    let mut pages = Vec::new();
    let visible = program
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help");
    for command in std::iter::once(&program).chain(visible) {
        let name = match command.get_name() {
            "lbd" => "lbd".to_owned(),
            command => format!("lbd-{command}"),
        };
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone())
            .section("8")
            .manual("lbd")
            .render(&mut page)?;
        pages.push((format!("{name}.8"), page));
    }
    Ok(pages)
}

fn all_schemas() -> [(&'static str, schemars::Schema); 11] {
    [
        ("status", schemars::schema_for!(Status)),
        ("access", schemars::schema_for!(AccessStatus)),
        ("flows", schemars::schema_for!(FlowList)),
        ("events", schemars::schema_for!(Vec<Happening>)),
        ("history", schemars::schema_for!(History)),
        ("report", schemars::schema_for!(Report)),
        ("explain", schemars::schema_for!(Explanation)),
        ("simulate", schemars::schema_for!(simulate::Report)),
        ("trace", schemars::schema_for!(TraceLine)),
        ("push", schemars::schema_for!(PushReport)),
        ("push-list", schemars::schema_for!(StandingReport)),
    ]
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::commands::Cli;

    /// `LBD_WRITE=1 cargo test --workspace --lib schemas` writes them anew.
    #[test]
    fn the_schemas_in_deploy_are_those_of_the_types() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/schemas");
        if std::env::var_os("LBD_WRITE").is_some() {
            schemas(&Into {
                folder: folder.clone(),
            })
            .unwrap();
        }
        for (name, schema) in all_schemas() {
            let file = folder.join(format!("{name}.json"));
            let text = fs::read_to_string(&file).unwrap();
            let written: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(written, schema.to_value(), "{}", file.display());
        }
    }

    #[test]
    fn every_field_of_the_json_is_described() {
        for (name, schema) in all_schemas() {
            described(name, &schema.to_value());
        }
    }

    fn described(path: &str, schema: &serde_json::Value) {
        if let Some(properties) = schema["properties"].as_object() {
            for (name, property) in properties {
                let has = property["description"].is_string();
                assert!(has, "{path}.{name}");
            }
        }
        for (name, part) in schema["$defs"].as_object().into_iter().flatten() {
            described(&format!("{path}.{name}"), part);
        }
    }

    #[test]
    fn there_is_a_page_for_every_command() {
        let pages = pages(Cli::command()).unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["lbd.8", "lbd-run.8", "lbd-deny.8", "lbd-push.8"] {
            assert!(names.contains(&name), "{names:?}");
        }
        for (name, page) in &pages {
            let text = String::from_utf8_lossy(page);
            assert!(
                text.contains(".SH SYNOPSIS") && text.contains(".SH NAME"),
                "{name}"
            );
        }
    }

    #[test]
    fn completions_know_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "lbd", &mut text);
            let text = String::from_utf8(text).unwrap();
            for word in ["undrain", "by-source", "half-open"] {
                assert!(text.contains(word), "{shell}: {word}");
            }
        }
    }
}
