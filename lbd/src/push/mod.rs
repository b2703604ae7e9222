//! Handing the cluster's configuration to every node: the `cluster:` part and the lists it names.
//!
//! All of it is pure; `daemon::push` has the sockets and files. A push has two phases:
//!
//! 1. The master *offers* a [`Record`]: who, when, and the digests of the new files. Each peer asks
//!    for the pieces that it does not have, puts the part into its own file's text, checks the whole
//!    as `lbd check` and a reload would, writes everything next to its place on disk, and answers with
//!    a verdict and with what would change.
//! 2. When all have accepted, the master puts the version on record and says *commit*: each peer
//!    renames what it has laid out and takes it over live. Otherwise, or when the connection ends,
//!    a peer drops it.
//!
//! [`Pusher`] and [`Taker`] are the two sides of that. A peer that accepted and did not hear the
//! commit has dropped it: it is *behind*, which it reports when asked, and the next push brings
//! it up. No peer ever waits for a decision that is lost.
//!
//! [`secure`] is what they speak through: Noise, with a pre-shared key derived from the cluster's.
mod difference;
mod digest;
mod history;
mod message;
mod pusher;
pub mod secure;
mod taker;

pub use difference::Difference;
pub use digest::{Digest, Digester};
pub use history::{KEPT_BYTES, KEPT_VERSIONS, Retained, Versions};
pub use message::{Answer, Body, MessageError, Request, Standing, bytes, message, parse};
pub use pusher::{Output as PusherOutput, PeerState, Pusher};
pub use taker::{Output as TakerOutput, Taker};

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of the cluster's configurations, and whose.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Version {
    /// One more than the version before. 0 is what a node had before anything was pushed.
    pub number: u64,
    /// Of all its content: the same digest is the same configuration.
    pub digest: Digest,
    /// The user who gave the order.
    pub by: String,
    /// The node on which it was given.
    pub on: String,
    /// When, in seconds since 1970.
    pub at_unix_s: u64,
    /// The version whose content this one brings back.
    pub back_to: Option<u64>,
}

/// A version and what it consists of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Record {
    /// Which.
    pub version: Version,
    /// Of what.
    pub content: Content,
}

/// What is handed on, by digests.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Content {
    /// The text of `cluster:`.
    pub cluster: Piece,
    /// The lists that it names, in the order of their paths.
    pub lists: Vec<List>,
}

/// A text, by its digest.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Piece {
    /// Of its bytes.
    pub digest: Digest,
    /// How many bytes it has.
    pub bytes: u64,
}

/// A list, and the file that it is kept in on every node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct List {
    /// As the cluster part names it.
    pub path: PathBuf,
    /// Its text.
    pub piece: Piece,
}

impl Piece {
    /// The piece that these bytes are.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            digest: Digest::of(bytes),
            bytes: bytes.len() as u64,
        }
    }
}

impl Content {
    /// The digest of all of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut digester = Digester::default();
        digester.add(b"lbd configuration 1\n");
        digester.add(&self.cluster.digest.0);
        for list in &self.lists {
            let path = list.path.as_os_str().as_encoded_bytes();
            digester.add(&(path.len() as u64).to_be_bytes());
            digester.add(path);
            digester.add(&list.piece.digest.0);
        }
        digester.finish()
    }

    /// Every piece, each digest once.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        let mut pieces = vec![self.cluster];
        for list in &self.lists {
            if pieces.iter().all(|known| known.digest != list.piece.digest) {
                pieces.push(list.piece);
            }
        }
        pieces
    }
}
