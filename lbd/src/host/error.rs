//! Everything that can go wrong between lbd and the box, each with what to do.
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// Why the box could not be read or changed.
///
/// Each sentence holds its cause, so none is a `source`: with `{:#}` it would be said twice.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No netlink socket.
    #[error("cannot open a netlink socket: {0}")]
    Socket(io::Error),
    /// The kernel refused a request.
    #[error("the kernel refused to {request}: {error}{}", hint(error))]
    Refused {
        /// What was asked, as the end of a sentence: "add 192.0.2.25 to interface 3".
        request: String,
        /// The kernel's reason.
        error: io::Error,
    },
    /// The kernel did not answer in time: something holds its configuration lock for seconds.
    #[error("the kernel did not answer the request to {request}: {error}")]
    Unanswered {
        /// What was asked.
        request: String,
        /// How the wait ended.
        error: io::Error,
    },
    /// An answer that is not what rtnetlink(7) says.
    #[error("the kernel's answer to the request to {request} makes no sense: {reason}")]
    Malformed {
        /// What was asked.
        request: String,
        /// What was wrong with the answer.
        reason: String,
    },
    /// An interface that is not there.
    #[error(
        "there is no interface {0} here: `ip link` lists the existing ones, node.interfaces names those to use"
    )]
    NoInterface(String),
    /// A VIP that cannot be put on an interface.
    #[error("{0} is not an address a VIP can have: it must be a unicast address of one host")]
    NotAnAddress(IpAddr),
    /// A sysctl that cannot be read or written.
    #[error("cannot {verb} the sysctl {key}: {error}{}", hint(error))]
    Sysctl {
        /// "read" or "write".
        verb: &'static str,
        /// The sysctl's path below /proc/sys.
        key: String,
        /// The reason.
        error: io::Error,
    },
    /// A sysctl that is not a number.
    #[error("the sysctl {key} is \"{value}\", and lbd knows only numbers there")]
    SysctlValue {
        /// The sysctl's path below /proc/sys.
        key: String,
        /// What it holds.
        value: String,
    },
    /// An `arp_ignore` with which the wrong boxes answer for the VIP, or none.
    #[error(
        "the sysctl {key} is {value}, with which the wrong boxes would answer for the VIP, or none: set it to 1 or 2"
    )]
    ArpIgnore {
        /// The sysctl's path below /proc/sys.
        key: String,
        /// Its value, above 2.
        value: u32,
    },
    /// The journal cannot be read or written. Nothing is changed that cannot be recorded.
    #[error("cannot {verb} the journal {path}, which lists what to undo: {error}")]
    Journal {
        /// "open", "read" or "write".
        verb: &'static str,
        /// The journal.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// Another process holds the journal.
    #[error("{0} is in use by another lbd on this box: stop that one first")]
    JournalBusy(PathBuf),
    /// A pin or a file that cannot be removed.
    #[error("cannot remove {path}: {error}{}", hint(error))]
    Remove {
        /// What should have been removed.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
}

/// What to do about the one reason that people meet most.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (lbd needs root, or CAP_NET_ADMIN)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let error = HostError::Unanswered {
            request: "list the interfaces".to_owned(),
            error: io::Error::other("too late"),
        };
        let said = format!("{:#}", anyhow::Error::new(error));
        assert_eq!(said.matches("too late").count(), 1, "{said}");
    }
}
