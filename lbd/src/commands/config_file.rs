//! The configuration file of a command, and where it says that the daemon answers.
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    config::{self, Config, ConfigError},
    host,
};

/// `node.control` where the configuration does not say otherwise.
const DEFAULT_CONTROL: &str = "/run/lbd/lbd.sock";

/// The mistakes of a configuration file, a line each.
#[derive(Debug)]
pub(super) struct InvalidConfig(pub(super) Vec<ConfigError>);

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let s = if count == 1 { "" } else { "s" };
        write!(f, "the configuration has {count} error{s}")?;
        self.0
            .iter()
            .try_for_each(|mistake| write!(f, "\n{mistake}"))
    }
}

impl std::error::Error for InvalidConfig {}

/// Reads and parses a configuration file.
pub(super) fn load(path: &Path) -> anyhow::Result<Config> {
    Ok(Config::load(path).map_err(InvalidConfig)?)
}

/// Parses a configuration without the files that it names.
pub(super) fn parse(path: &Path) -> anyhow::Result<Config> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("{}; name the configuration with --config F", path.display()))?;
    Ok(Config::parse(&text, &path.display().to_string()).map_err(InvalidConfig)?)
}

/// Where the daemon answers. A running daemon must be reachable even while its file is being edited: of
/// a file with mistakes only `node.control` counts, else the usual place.
pub(super) fn control_socket(path: &Path) -> anyhow::Result<PathBuf> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("{}; name the configuration with --config F", path.display()))?;
    if let Ok(config) = Config::parse(&text, &path.display().to_string()) {
        return Ok(config.node.control);
    }
    let socket = written_control(&text).unwrap_or_else(|| PathBuf::from(DEFAULT_CONTROL));
    eprintln!(
        "lbd: {} has errors, which `lbd check` lists; asking the daemon at {} anyway",
        path.display(),
        socket.display()
    );
    Ok(socket)
}

/// `node.control` of a text that is YAML at least.
fn written_control(text: &str) -> Option<PathBuf> {
    let yaml: serde_json::Value = serde_yaml::from_str(text).ok()?;
    yaml["node"]["control"].as_str().map(PathBuf::from)
}

/// The same, and everything it names is on this box.
pub(super) fn load_for_this_box(path: &Path) -> anyhow::Result<(Config, Vec<ConfigError>)> {
    let mut config = load(path)?;
    let facts = host::facts(&config)?;
    config::name_interfaces(&mut config, &facts);
    let mistakes = config::check_host(&config, &facts);
    if mistakes.is_empty() {
        let warnings = config::host_warnings(&config, &facts);
        Ok((config, warnings))
    } else {
        Err(InvalidConfig(mistakes).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_is_found_also_by_a_file_with_mistakes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lbd.yaml");
        for (text, expected) in [
            (
                "node: {name: a, control: /tmp/x.sock, oops: 1}",
                "/tmp/x.sock",
            ),
            ("node: {name: a}", DEFAULT_CONTROL),
            ("node: {{{", DEFAULT_CONTROL),
            (include_str!("../../../deploy/lbd.yaml"), DEFAULT_CONTROL),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(
                control_socket(&file).unwrap(),
                Path::new(expected),
                "{text}"
            );
        }
        let error = control_socket(Path::new("/nowhere/lbd.yaml")).unwrap_err();
        assert!(format!("{error:#}").contains("--config"), "{error:#}");
    }
}
