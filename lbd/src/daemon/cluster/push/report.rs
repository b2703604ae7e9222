//! What `lbd push --json` and `lbd push --list --json` print, and what they ask. The field names are a
//! contract.
use std::ffi::CStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::push::{Difference, Digest, Version};

/// What is asked of the daemon.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PushRequest {
    /// What to push, or pull.
    pub order: PushOrigin,
    /// Only as far as the peers' answers: nothing is changed.
    pub trial: bool,
    /// Peers that are left out.
    pub without: Vec<String>,
    /// What was shown to a person before: anything else is refused.
    pub expects: Option<Digest>,
    /// The user behind root, if there is one.
    pub sudo_user: Option<String>,
}

impl PushRequest {
    /// Whether this is what was shown to the person.
    pub(super) fn expects(&self, version: &Version) -> Result<(), String> {
        if self
            .expects
            .is_some_and(|expected| expected != version.digest)
        {
            return Err("it was edited since it was shown: review it again".to_owned());
        }
        Ok(())
    }
}

/// Which version of the configuration is pushed.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PushOrigin {
    /// What is in this node's files.
    Own,
    /// A version of before, by its number, or the last that is another one.
    Back(Option<u64>),
    /// What this peer was given last, for this node alone.
    From(String),
}

/// What `lbd push --json` prints.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PushReport {
    /// Whether the version counts from now on: every peer had accepted it. Never after a trial.
    pub pushed: bool,
    /// Whether this was only a trial.
    pub trial: bool,
    /// What was offered.
    pub version: Version,
    /// Why it was not pushed, as far as this node is concerned.
    pub trouble: Option<String>,
    /// What changes on this node: where it goes back, or takes what a peer has.
    pub here: Vec<Difference>,
    /// Every peer.
    pub peers: Vec<PeerReport>,
}

/// How far a peer is at the end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// It has it and is running it.
    Pushed,
    /// It has it but is not running it.
    Troubled,
    /// It has accepted it, then dropped it since it was a trial, or since not all have accepted.
    Accepted,
    /// It said no.
    Refused,
    /// It could not be talked to.
    Unreachable,
    /// It accepted and was lost before it said that it has it: it is behind, as far as this node knows.
    Behind,
    /// The operator left it out: it is behind.
    LeftOut,
}

/// A peer.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PeerReport {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub progress: Progress,
    /// Why it is no further.
    pub why: Option<String>,
    /// What it was given last, before.
    pub had: Option<Version>,
    /// Whether its files were edited since.
    pub edited: bool,
    /// What changes there.
    pub differences: Vec<Difference>,
}

/// What `lbd push --list --json` prints.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct StandingReport {
    /// This node.
    pub node: String,
    /// What it keeps, the one it was given last at the end.
    pub versions: Vec<Version>,
    /// Whether its files are something else than that version.
    pub edited: bool,
    /// Every peer.
    pub peers: Vec<PeerStanding>,
}

/// What a peer has.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PeerStanding {
    /// Its name.
    pub name: String,
    /// What it was given last.
    pub version: Option<Version>,
    /// Whether that is older than this node's.
    pub behind: bool,
    /// Whether its files were edited since.
    pub edited: bool,
    /// Why it does not run what it has, or could not be asked.
    pub trouble: Option<String>,
}

/// The name of a user, or `uid 1234`.
pub(super) fn user_name(uid: u32) -> String {
    let mut buffer = vec![0_u8; 4096];
    // SAFETY: passwd is plain data, for which zeroes are a valid value.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: all pointers are valid for the call; the buffer is as long as is said, and lives
    // until the name is copied.
    let failed = unsafe {
        libc::getpwuid_r(
            uid,
            &raw mut entry,
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            &raw mut found,
        )
    };
    if failed != 0 || found.is_null() {
        return format!("uid {uid}");
    }
    // SAFETY: the call succeeded: pw_name is a C string within the buffer.
    let name = unsafe { CStr::from_ptr(entry.pw_name) };
    name.to_string_lossy().into_owned()
}

/// Who gave an order, by what the kernel says of the other end of the control socket. Only root is
/// believed that a user is behind it.
pub(in crate::daemon) fn who(uid: Option<u32>, sudo_user: Option<&str>) -> String {
    let is_name = |name: &&str| {
        !name.is_empty()
            && name.len() <= 32
            && name
                .chars()
                .all(|c| c.is_alphanumeric() || "._-".contains(c))
    };
    match (uid, sudo_user.filter(is_name)) {
        (Some(0), Some(name)) if name != "root" => format!("{name} (sudo)"),
        (Some(uid), _) => user_name(uid),
        (None, _) => "an unknown user".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names() {
        assert_eq!(who(Some(0), None), "root");
        assert_eq!(who(Some(0), Some("alice")), "alice (sudo)");
        assert_eq!(who(Some(0), Some("a\nb")), "root");
        assert_eq!(who(Some(4_000_000_000), Some("alice")), "uid 4000000000");
    }
}
