//! The one part of the configuration that touches files: reads the file itself, the keys and the
//! lists that it names.
use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use super::{
    Config,
    address::Network,
    error::ConfigError,
    lists, parse,
    secrets::ClusterKeys,
    source::{Complaint, Source},
    yaml,
};
use crate::trust::Trusted;

const MAX_KEY_FILE_BYTES: u64 = 64 << 10;
pub(super) const MAX_LIST_BYTES: u64 = 64 << 20;

/// Reads a configuration and what it names: see [`Config::load`].
pub(super) fn load(path: &Path) -> Result<Config, Vec<ConfigError>> {
    let origin = path.display().to_string();
    let text = read(path, yaml::MAX_BYTES as u64).map_err(|problem| {
        let complaint = Complaint::new(problem, "name the configuration with --config F");
        vec![Source::new("", &origin).error_at(None, "", complaint)]
    })?;
    load_text(&text, &origin, &|_| None)
}

/// The same of a text, where some lists are not what their files say: see [`Config::load_offered`].
pub(super) fn load_text(
    text: &str,
    origin: &str,
    lists: &dyn Fn(&Path) -> Option<Vec<u8>>,
) -> Result<Config, Vec<ConfigError>> {
    let mut config = parse::parse(text, origin)?;
    let mut errors = Vec::new();
    if let Some(file) = config.cluster.secret_file.clone() {
        match keys(&file) {
            Ok(keys) => config.keys = Some(keys),
            Err(complaint) => errors.push(config.error("cluster.secret_file", complaint)),
        }
    }
    let access = config.cluster.access.clone();
    for (key, networks, file, list) in [
        (
            "allow_file",
            access.allow,
            access.allow_file,
            &mut config.allowed,
        ),
        (
            "deny_file",
            access.deny,
            access.deny_file,
            &mut config.denied,
        ),
    ] {
        *list = networks;
        let more = file.map_or(Ok(Vec::new()), |file| {
            let key = format!("cluster.access.{key}");
            networks_of(&file, lists(&file), &config.source, &key)
        });
        match more {
            Ok(more) => list.extend(more),
            Err(more) => errors.extend(more),
        }
    }
    if errors.is_empty() {
        return Ok(config);
    }
    Err(errors)
}

fn keys(file: &Path) -> Result<ClusterKeys, Complaint> {
    let shown = file.display();
    let hint = format!(
        "make one with `(umask 077; openssl rand -hex 32 > {shown})` and copy it to every box"
    );
    let metadata = fs::metadata(file)
        .map_err(|error| Complaint::new(format!("{shown} cannot be read: {error}"), &*hint))?;
    let trusted = Trusted::of_this_process();
    private(&metadata, &trusted).map_err(|problem| {
        let hint = format!("run `chown root {shown} && chmod 600 {shown}`");
        Complaint::new(format!("{shown} {problem}"), hint)
    })?;
    trusted.check(file).map_err(|problem| {
        let hint =
            "a key that others can replace protects nothing: keep it where only root or lbd can write";
        Complaint::new(format!("{shown} is not safe: {problem}"), hint)
    })?;
    let text = read(file, MAX_KEY_FILE_BYTES).map_err(|problem| Complaint::new(problem, &*hint))?;
    ClusterKeys::parse(&text).map_err(|error| Complaint::new(format!("{shown}: {error}"), hint))
}

/// A key that others can read or replace is none.
fn private(metadata: &Metadata, trusted: &Trusted) -> Result<(), String> {
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(format!("is open to others (mode {mode:o})"));
    }
    if !trusted.owns(metadata.uid()) {
        return Err(format!("belongs to another user (uid {})", metadata.uid()));
    }
    Ok(())
}

fn networks_of(
    file: &Path,
    offered: Option<Vec<u8>>,
    config: &Source,
    path: &str,
) -> Result<Vec<Network>, Vec<ConfigError>> {
    let text = match offered {
        Some(bytes) => text_of(file, bytes, MAX_LIST_BYTES),
        None => read(file, MAX_LIST_BYTES),
    };
    let text = text.map_err(|problem| {
        let complaint = Complaint::new(
            problem,
            "name a file with one network per line, or use null",
        );
        vec![config.error(path, complaint)]
    })?;
    lists::parse(&text, &file.display().to_string())
}

/// A regular file's text; the error is a sentence.
fn read(path: &Path, max_bytes: u64) -> Result<String, String> {
    let shown = path.display();
    let text = || -> io::Result<Result<String, String>> {
        // A pipe or a device would be waited for.
        if !fs::metadata(path)?.is_file() {
            return Ok(Err(format!("{shown} is not a regular file")));
        }
        let mut bytes = Vec::new();
        File::open(path)?
            .take(max_bytes + 1)
            .read_to_end(&mut bytes)?;
        Ok(text_of(path, bytes, max_bytes))
    };
    text().unwrap_or_else(|error| Err(format!("{shown} cannot be read: {error}")))
}

fn text_of(path: &Path, bytes: Vec<u8>, max_bytes: u64) -> Result<String, String> {
    let shown = path.display();
    if bytes.len() as u64 > max_bytes {
        return Err(format!("{shown} is larger than {max_bytes} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        format!("{shown} is no UTF-8 text (byte {byte})")
    })
}

/// Reads a list of networks that is in no file of the configuration.
pub(super) fn list(bytes: &[u8], origin: &str) -> Result<Vec<Network>, Vec<ConfigError>> {
    let text = text_of(Path::new(origin), bytes.to_vec(), MAX_LIST_BYTES).map_err(|problem| {
        let complaint = Complaint::new(problem, "give a network a line");
        vec![Source::new("", origin).error_at(None, "", complaint)]
    })?;
    lists::parse(&text, origin)
}

/// Whether a text is a list of networks, as those that `cluster.access` names.
pub(super) fn is_list(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| lists::parse(text, "").is_ok())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn write(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn config_with(dir: &Path, line: &str) -> PathBuf {
        let text = format!(
            "node: {{name: a, interfaces: [eth0]}}\ncluster:\n  {line}\n  virtual_router_id: 1\n  \
             virtual_addresses: [192.0.2.25/24]\n  sites: [{{name: s, backends: [{{name: a, \
             address: 192.0.2.11}}]}}]\n"
        );
        write(dir, "lbd.yaml", &text, 0o644)
    }

    fn error_of(path: &Path) -> String {
        let errors = Config::load(path).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors[0].to_string()
    }

    #[test]
    fn keys_are_loaded_when_only_the_owner_can_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let keys = write(dir.path(), "cluster.key", KEY, 0o600);
        let config = config_with(dir.path(), &format!("secret_file: {}", keys.display()));
        let config = Config::load(&config).unwrap();
        assert_eq!(config.keys().unwrap().signing()[31], 0x1f);
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, text, problem) in [
            (0o640, KEY, "is open to others (mode 640)"),
            (0o604, KEY, "is open to others (mode 604)"),
            (0o600, "0123", "line 1 is not a key of 64 hex digits"),
        ] {
            let keys = write(dir.path(), "cluster.key", text, mode);
            let config = config_with(dir.path(), &format!("secret_file: {}", keys.display()));
            let error = error_of(&config);
            assert!(
                error.contains("lbd.yaml:3:16: cluster.secret_file: "),
                "{error}"
            );
            assert!(
                error.contains(problem) && !error.contains("0123"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_key_file_that_others_can_replace_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let keys = write(&open, "cluster.key", KEY, 0o600);
        let config = config_with(dir.path(), &format!("secret_file: {}", keys.display()));
        let error = error_of(&config);
        assert!(
            error.contains("open can be written by others (mode 777)"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_file_is_one_error() {
        let dir = tempfile::tempdir().unwrap();
        for key in ["secret_file: ", "access: {deny_file: "] {
            let close = if key.contains('{') { "}" } else { "" };
            let config = config_with(dir.path(), &format!("{key}/nowhere/at/all{close}"));
            let error = error_of(&config);
            assert!(error.contains("/nowhere/at/all cannot be read"), "{error}");
        }
        assert!(error_of(Path::new("/nowhere/lbd.yaml")).contains("--config"));
        assert!(error_of(Path::new("/dev/zero")).contains("not a regular file"));
    }

    #[test]
    fn lists_are_joined_with_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let list = write(dir.path(), "deny", "198.51.100.0/24\n", 0o644);
        let line = format!(
            "access: {{deny: [203.0.113.7], deny_file: {}}}",
            list.display()
        );
        let path = config_with(dir.path(), &line);
        let config = Config::load(&path).unwrap();
        let denied: Vec<String> = config.denied().iter().map(ToString::to_string).collect();
        assert_eq!(denied, ["203.0.113.7/32", "198.51.100.0/24"]);
        write(dir.path(), "deny", "# none\nnonsense\n", 0o644);
        assert!(error_of(&path).contains("deny:2:1: "));
    }

    #[test]
    fn what_a_file_says_that_is_no_list_is_never_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let list = write(
            dir.path(),
            "shadow",
            &format!("root:$6$salt$hash:1:\nnobody\n192.0.2.1/99secret\n{KEY}\n"),
            0o600,
        );
        let path = config_with(
            dir.path(),
            &format!("access: {{deny_file: {}}}", list.display()),
        );
        let errors = Config::load(&path).unwrap_err();
        assert_eq!(errors.len(), 4, "{errors:?}");
        for error in &errors {
            let told = format!("{error} {error:?}");
            for secret in ["root", "hash", "nobody", "secret", "0102"] {
                assert!(!told.contains(secret), "{told}");
            }
        }
        assert!(
            errors[2].to_string().contains("shadow:3:1: "),
            "{}",
            errors[2]
        );
    }

    #[test]
    fn a_byte_order_mark_is_passed_over_in_keys_and_lists() {
        let dir = tempfile::tempdir().unwrap();
        let list = write(dir.path(), "deny", "\u{feff}198.51.100.0/24\n", 0o644);
        let keys = write(dir.path(), "key", &format!("\u{feff}{KEY}\n"), 0o600);
        let line = format!(
            "access: {{deny_file: {}}}\n  secret_file: {}",
            list.display(),
            keys.display()
        );
        let config = Config::load(&config_with(dir.path(), &line)).unwrap();
        assert_eq!(config.denied().len(), 1);
        assert_eq!(config.keys().unwrap().signing()[31], 0x1f);
    }
}
