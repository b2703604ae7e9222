//! What the two sides of a push say, as the bodies of frames.
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::{Difference, Digest, Record, Version};

/// Of the one that calls.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// What do you have? [`Answer::Standing`].
    Standing,
    /// Take this: [`Answer::Need`], then the pieces in that order, then [`Answer::Accepted`]; or
    /// [`Answer::Refused`] at any point.
    Offer(Box<Record>),
    /// Put in place what you have accepted: [`Answer::Committed`].
    Commit,
    /// Drop it: [`Answer::Dropped`]. So does the end of the connection.
    Abort,
    /// Hand over what you have: [`Answer::Latest`].
    Fetch,
    /// After that: these pieces, in this order.
    Need(Vec<Digest>),
}

/// Of the one that was called.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// What it has.
    Standing(Box<Standing>),
    /// It does not have these.
    Need(Vec<Digest>),
    /// All of it is checked and staged.
    Accepted {
        /// What it had.
        standing: Box<Standing>,
        /// What a commit will change.
        differences: Vec<Difference>,
    },
    /// It takes nothing of it.
    Refused {
        /// A sentence.
        why: String,
        /// What it would have changed, as far as it came.
        differences: Vec<Difference>,
    },
    /// It is in place.
    Committed {
        /// Why it does not run all the same.
        trouble: Option<String>,
    },
    /// Nothing lies there any more.
    Dropped,
    /// The version that it was given last.
    Latest(Box<Record>),
}

/// What a node has of the cluster's configuration.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Standing {
    /// What it was given last.
    pub version: Option<Version>,
    /// Of what is in its files now; `None` while they cannot be read as a configuration.
    pub digest: Option<Digest>,
    /// Why it does not run what is in its files.
    pub trouble: Option<String>,
}

impl Standing {
    /// Whether its files are what it was given last.
    #[must_use]
    pub fn is_edited(&self) -> bool {
        let given = self.version.as_ref().map(|version| version.digest);
        given.is_some() && given != self.digest
    }

    /// Whether it has this version, in its files and on its record.
    #[must_use]
    pub fn has(&self, version: &Version) -> bool {
        let given = self.version.as_ref();
        given.is_some_and(|given| (given.number, given.digest) == (version.number, version.digest))
            && !self.is_edited()
    }
}

/// The body of a frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body<'a, T> {
    /// A message.
    Message(T),
    /// The next bytes of a piece.
    Bytes(&'a [u8]),
}

/// A frame's body that is neither a message of this version nor bytes of a piece.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("a message that this lbd does not understand: {0}")]
pub struct MessageError(String);

const MESSAGE: u8 = b'm';
const BYTES: u8 = b'b';

/// A message as the body of a frame.
#[must_use]
pub fn message<T: Serialize>(message: &T) -> Vec<u8> {
    let mut body = vec![MESSAGE];
    // Plain data with text keys, which JSON always takes.
    body.extend(serde_json::to_vec(message).unwrap_or_default());
    body
}

/// Bytes of a piece as the body of a frame.
#[must_use]
pub fn bytes(part: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(1 + part.len());
    body.push(BYTES);
    body.extend(part);
    body
}

/// What the body of a frame is.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<Body<'_, T>, MessageError> {
    match body.split_first() {
        Some((&MESSAGE, json)) => serde_json::from_slice(json)
            .map(Body::Message)
            .map_err(|error| MessageError(error.to_string())),
        Some((&BYTES, bytes)) => Ok(Body::Bytes(bytes)),
        _ => Err(MessageError("its kind is not known".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::history::tests::record, *};

    #[test]
    fn what_is_said_is_understood() {
        let offer = Request::Offer(Box::new(record(3, "a")));
        let body = message(&offer);
        assert_eq!(parse(&body), Ok(Body::Message(offer)));
        let part = bytes(b"part");
        assert_eq!(parse::<Answer>(&part), Ok(Body::Bytes(&b"part"[..])));
    }

    #[test]
    fn an_edit_is_seen_by_the_digest() {
        let version = record(3, "a").version;
        let mut standing = Standing {
            digest: Some(version.digest),
            version: Some(version.clone()),
            trouble: None,
        };
        assert!(standing.has(&version) && !standing.is_edited());
        assert!(!standing.has(&record(4, "a").version) && !standing.has(&record(3, "b").version));
        standing.digest = None;
        assert!(standing.is_edited() && !standing.has(&version));
        assert!(!Standing::default().is_edited());
    }

    proptest! {
        #[test]
        fn any_body_is_something_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse::<Request>(&body);
            let _ = parse::<Answer>(&body);
        }
    }
}
