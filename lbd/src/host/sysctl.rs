//! Sysctls of this network namespace, by their path below /proc/sys (`net/ipv4/conf/all/arp_ignore`).
//!
//! Paths and not dotted names: an interface may be called `eth0.100`.
use std::io;
use std::path::{Component, Path, PathBuf};

use super::HostError;

/// Reads a sysctl that holds one number.
pub fn read(key: &str) -> Result<u32, HostError> {
    let value = path_of(key)
        .and_then(std::fs::read_to_string)
        .map_err(|error| HostError::Sysctl {
            verb: "read",
            key: key.to_owned(),
            error,
        })?;
    let value = value.trim();
    value.parse().map_err(|_| HostError::SysctlValue {
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

/// Writes a sysctl.
pub(super) fn write(key: &str, value: u32) -> Result<(), HostError> {
    path_of(key)
        .and_then(|path| std::fs::write(path, value.to_string()))
        .map_err(|error| HostError::Sysctl {
            verb: "write",
            key: key.to_owned(),
            error,
        })
}

/// Whether an error says that the sysctl is not there, for example because its interface is gone.
pub(super) fn is_gone(error: &HostError) -> bool {
    matches!(error, HostError::Sysctl { error, .. } if error.kind() == io::ErrorKind::NotFound)
}

/// A key comes from code, or from a journal that may be damaged: it stays in /proc/sys.
fn path_of(key: &str) -> io::Result<PathBuf> {
    let relative = Path::new(key);
    let stays = relative
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    if key.is_empty() || !stays {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a path below /proc/sys",
        ));
    }
    Ok(Path::new("/proc/sys").join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_leave_proc_sys() {
        for key in ["", "/etc/passwd", "../etc/passwd", "net/../../etc/passwd"] {
            assert!(path_of(key).is_err(), "{key:?}");
        }
        assert_eq!(
            path_of("net/ipv4/conf/eth0.100/arp_ignore").unwrap(),
            Path::new("/proc/sys/net/ipv4/conf/eth0.100/arp_ignore")
        );
    }

    #[test]
    fn a_sysctl_that_is_text_is_refused_with_its_value() {
        let error = read("kernel/ostype").unwrap_err();
        assert!(error.to_string().contains("\"Linux\""), "{error}");
    }
}
