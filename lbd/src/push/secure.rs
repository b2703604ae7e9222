//! What a push speaks through: proof of the cluster's key on both sides, and signed frames.
//!
//! ```text
//! caller    MAGIC 4 | version 1 | key 8 | caller 8 | called 8 | nonce 32
//! called    status 1 | nonce 32 | HMAC(key, "called" + all before it) 32
//! caller    HMAC(key, "caller" + all before it) 32
//! both      length 4 | body | HMAC(that direction's key, number 8 + length + body) 32, and so on
//! ```
//! A direction's key is an HMAC over the three messages, so it is another one for each connection: a
//! recording opens nothing, and no frame can be left out, doubled, moved or sent back. Before the
//! caller's proof nothing of variable length is read, and nothing is kept but what is above. Nothing is
//! hidden from who can listen: the configuration is no secret, and the key file is not sent.
//! Numbers are in network byte order.
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use thiserror::Error;

use crate::channel::SenderId;

/// What a push begins with; no HTTP request begins with its first byte.
pub const MAGIC: [u8; 4] = *b"\xf1lbd";
/// Of the protocol.
pub const VERSION: u8 = 1;
/// Bytes of the caller's first message.
pub const CALL_BYTES: usize = 4 + 1 + 8 + 8 + 8 + NONCE_BYTES;
/// Bytes of the called one's answer.
pub const REPLY_BYTES: usize = 1 + NONCE_BYTES + PROOF_BYTES;
/// Bytes of the caller's second message, and of every frame's signature.
pub const PROOF_BYTES: usize = 32;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 32;
/// The longest body of a frame.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// A number that is used once.
pub type Nonce = [u8; NONCE_BYTES];

/// Why a connection is not spoken through.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Refused {
    /// Another protocol, or none.
    #[error("it speaks another protocol; is it an lbd that takes pushes?")]
    NotOurs,
    /// Another version.
    #[error("it speaks another version of the push protocol; this lbd speaks {VERSION}")]
    Version,
    /// The caller's key is not in the called node's file.
    #[error("it does not have the key that this node signs with: cluster.secret_file differs")]
    UnknownKey,
    /// For a node of another name.
    #[error("it is a node of another name: `node.name` or the address in `cluster.sites` differs")]
    OtherNode,
    /// A proof that is wrong.
    #[error(
        "its proof of the cluster's key is wrong: cluster.secret_file differs, or it is forged"
    )]
    Proof,
    /// A frame that is longer than allowed.
    #[error("a frame of {bytes} bytes, more than {MAX_FRAME_BYTES}")]
    Long {
        /// As its head says.
        bytes: usize,
    },
    /// A frame that is not as it was sent.
    #[error("a frame's signature is wrong: it was changed on the way")]
    Frame,
}

mod status {
    pub(super) const WELCOME: u8 = 0;
    pub(super) const VERSION: u8 = 1;
    pub(super) const UNKNOWN_KEY: u8 = 2;
    pub(super) const OTHER_NODE: u8 = 3;
}

/// What names a key to who has it. It says nothing about the key.
fn name_of(key: &[u8; 32]) -> [u8; 8] {
    let mut name = [0; 8];
    name.copy_from_slice(&hmac(key, &[b"lbd push: which key"])[..8]);
    name
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; PROOF_BYTES] {
    signer(key, parts).finalize().into_bytes().into()
}

fn signer(key: &[u8; 32], parts: &[&[u8]]) -> Hmac<Sha256> {
    // Padded to SHA-256's block, as HMAC does with a shorter key (RFC 2104, section 2).
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let mut hmac: Hmac<Sha256> = Hmac::new(&block.into());
    for part in parts {
        hmac.update(part);
    }
    hmac
}

/// The caller's side until both are sure.
#[derive(Clone)]
pub struct Caller {
    key: [u8; 32],
    call: [u8; CALL_BYTES],
}

impl Caller {
    /// `key` signs; `nonce` must be random and new.
    #[must_use]
    pub fn new(key: &[u8; 32], caller: SenderId, called: SenderId, nonce: &Nonce) -> Self {
        let mut call = Vec::with_capacity(CALL_BYTES);
        call.extend(MAGIC);
        call.push(VERSION);
        call.extend(name_of(key));
        call.extend(caller.0.to_be_bytes());
        call.extend(called.0.to_be_bytes());
        call.extend(nonce);
        let mut bytes = [0; CALL_BYTES];
        bytes.copy_from_slice(&call);
        Self {
            key: *key,
            call: bytes,
        }
    }

    /// The first message.
    #[must_use]
    pub fn call(&self) -> &[u8; CALL_BYTES] {
        &self.call
    }

    /// Judges the answer: the proof to send, and how to go on.
    pub fn prove(
        &self,
        reply: &[u8; REPLY_BYTES],
    ) -> Result<([u8; PROOF_BYTES], Channel), Refused> {
        // A refusal is unsigned: who could forge it could as well cut the line.
        match reply[0] {
            status::WELCOME => {}
            status::VERSION => return Err(Refused::Version),
            status::UNKNOWN_KEY => return Err(Refused::UnknownKey),
            status::OTHER_NODE => return Err(Refused::OtherNode),
            _ => return Err(Refused::NotOurs),
        }
        let (head, proof) = reply.split_at(1 + NONCE_BYTES);
        signer(&self.key, &[b"lbd push: called", &self.call, head])
            .verify_slice(proof)
            .map_err(|_| Refused::Proof)?;
        let mine = hmac(&self.key, &[b"lbd push: caller", &self.call, reply]);
        let [to_called, to_caller] = directions(&self.key, &self.call, reply, &mine);
        Ok((mine, Channel::new(to_called, to_caller)))
    }
}

impl std::fmt::Debug for Caller {
    /// Without the key, which must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Caller")
    }
}

/// The called one's side until both are sure.
pub struct Called {
    key: [u8; 32],
    call: [u8; CALL_BYTES],
    reply: [u8; REPLY_BYTES],
}

impl std::fmt::Debug for Called {
    /// Without the key, which must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Called")
    }
}

/// Why a call is turned down, and the bytes that say so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TurnedDown {
    /// For the log.
    pub why: Refused,
    /// For the caller; nothing for who speaks something else.
    pub reply: Option<[u8; REPLY_BYTES]>,
}

impl Called {
    /// Judges a call. `keys`: all that verify; `own`: this node; `nonce` must be random and new.
    pub fn answer(
        call: &[u8; CALL_BYTES],
        keys: &[[u8; 32]],
        own: SenderId,
        nonce: &Nonce,
    ) -> Result<Self, TurnedDown> {
        if call[..4] != MAGIC {
            return Err(TurnedDown {
                why: Refused::NotOurs,
                reply: None,
            });
        }
        let turned_down = |why, status| {
            let mut reply = [0; REPLY_BYTES];
            reply[0] = status;
            TurnedDown {
                why,
                reply: Some(reply),
            }
        };
        if call[4] != VERSION {
            return Err(turned_down(Refused::Version, status::VERSION));
        }
        let named = keys.iter().find(|key| name_of(key) == call[5..13]);
        let Some(key) = named else {
            return Err(turned_down(Refused::UnknownKey, status::UNKNOWN_KEY));
        };
        if call[21..29] != own.0.to_be_bytes() {
            return Err(turned_down(Refused::OtherNode, status::OTHER_NODE));
        }
        let mut reply = [0; REPLY_BYTES];
        reply[0] = status::WELCOME;
        reply[1..=NONCE_BYTES].copy_from_slice(nonce);
        let proof = hmac(key, &[b"lbd push: called", call, &reply[..=NONCE_BYTES]]);
        reply[1 + NONCE_BYTES..].copy_from_slice(&proof);
        Ok(Self {
            key: *key,
            call: *call,
            reply,
        })
    }

    /// The answer.
    #[must_use]
    pub fn reply(&self) -> &[u8; REPLY_BYTES] {
        &self.reply
    }

    /// Judges the caller's proof.
    pub fn admit(&self, proof: &[u8; PROOF_BYTES]) -> Result<Channel, Refused> {
        signer(&self.key, &[b"lbd push: caller", &self.call, &self.reply])
            .verify_slice(proof)
            .map_err(|_| Refused::Proof)?;
        let [to_called, to_caller] = directions(&self.key, &self.call, &self.reply, proof);
        Ok(Channel::new(to_caller, to_called))
    }
}

fn directions(key: &[u8; 32], call: &[u8], reply: &[u8], proof: &[u8]) -> [[u8; 32]; 2] {
    [&b"lbd push: to called"[..], b"lbd push: to caller"]
        .map(|direction| hmac(key, &[direction, call, reply, proof]))
}

/// A connection on which both sides are sure: signs what goes out, verifies what comes in.
pub struct Channel {
    sends: Direction,
    hears: Direction,
}

struct Direction {
    key: [u8; 32],
    /// Of the next frame.
    number: u64,
}

impl std::fmt::Debug for Channel {
    /// Without its keys, which must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Channel({}, {})", self.sends.number, self.hears.number)
    }
}

impl Channel {
    fn new(sends: [u8; 32], hears: [u8; 32]) -> Self {
        let direction = |key| Direction { key, number: 0 };
        Self {
            sends: direction(sends),
            hears: direction(hears),
        }
    }

    /// The next frame to send. A body beyond [`MAX_FRAME_BYTES`] is refused.
    pub fn seal(&mut self, body: &[u8]) -> Result<Vec<u8>, Refused> {
        let length = length(body.len())?.to_be_bytes();
        let signature = self.sends.next(length, body).finalize().into_bytes();
        let mut frame = Vec::with_capacity(4 + body.len() + PROOF_BYTES);
        frame.extend(length);
        frame.extend(body);
        frame.extend(signature);
        Ok(frame)
    }

    /// Bytes that follow a frame's head: its body and its signature.
    pub fn bytes_after(head: [u8; 4]) -> Result<usize, Refused> {
        let bytes = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
        length(bytes)?;
        Ok(bytes + PROOF_BYTES)
    }

    /// Verifies what follows the head; the body.
    pub fn open<'a>(&mut self, head: [u8; 4], rest: &'a [u8]) -> Result<&'a [u8], Refused> {
        if rest.len() != Self::bytes_after(head)? {
            return Err(Refused::Frame);
        }
        let (body, signature) = rest.split_at(rest.len() - PROOF_BYTES);
        self.hears
            .next(head, body)
            .verify_slice(signature)
            .map_err(|_| Refused::Frame)?;
        Ok(body)
    }
}

impl Direction {
    fn next(&mut self, head: [u8; 4], body: &[u8]) -> Hmac<Sha256> {
        let number = self.number.to_be_bytes();
        self.number += 1;
        signer(&self.key, &[&number, &head, body])
    }
}

fn length(bytes: usize) -> Result<u32, Refused> {
    match u32::try_from(bytes) {
        Ok(length) if bytes <= MAX_FRAME_BYTES => Ok(length),
        _ => Err(Refused::Long { bytes }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn ids() -> (SenderId, SenderId) {
        (SenderId::of("mx1"), SenderId::of("mx2"))
    }

    fn met(keys: &[[u8; 32]]) -> Result<(Channel, Channel), Refused> {
        let (mx1, mx2) = ids();
        let caller = Caller::new(&KEY, mx1, mx2, &[1; 32]);
        let called = match Called::answer(caller.call(), keys, mx2, &[2; 32]) {
            Ok(called) => called,
            Err(down) => {
                let told = caller.prove(&down.reply.unwrap()).map(|_| ()).unwrap_err();
                assert_eq!(told, down.why, "the caller is told why");
                return Err(told);
            }
        };
        let (proof, ours) = caller.prove(called.reply())?;
        Ok((ours, called.admit(&proof)?))
    }

    fn heard(channel: &mut Channel, frame: &[u8]) -> Result<Vec<u8>, Refused> {
        let (head, rest) = frame.split_at(4);
        channel
            .open(head.try_into().unwrap(), rest)
            .map(<[u8]>::to_vec)
    }

    #[test]
    fn who_has_the_key_is_understood_both_ways() {
        let (mut a, mut b) = met(&[[9; 32], KEY]).unwrap();
        for text in ["one", "", "three"] {
            let frame = a.seal(text.as_bytes()).unwrap();
            assert_eq!(heard(&mut b, &frame).unwrap(), text.as_bytes());
            let frame = b.seal(text.as_bytes()).unwrap();
            assert_eq!(heard(&mut a, &frame).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn who_has_it_not_is_told_so() {
        assert_eq!(met(&[[9; 32]]).unwrap_err(), Refused::UnknownKey);
        let (mx1, mx2) = ids();
        let caller = Caller::new(&KEY, mx1, mx2, &[1; 32]);
        let other = Called::answer(caller.call(), &[KEY], SenderId::of("mx3"), &[2; 32]);
        assert_eq!(other.unwrap_err().why, Refused::OtherNode);
        // Who only knows the key's name proves nothing, on either side.
        let called = Called::answer(caller.call(), &[KEY], mx2, &[2; 32]).unwrap();
        assert_eq!(called.admit(&[0; 32]).unwrap_err(), Refused::Proof);
        let mut reply = *called.reply();
        reply[REPLY_BYTES - 1] ^= 1;
        assert_eq!(caller.prove(&reply).unwrap_err(), Refused::Proof);
        let mut later = *caller.call();
        later[4] += 1;
        assert_eq!(
            Called::answer(&later, &[KEY], mx2, &[2; 32])
                .unwrap_err()
                .why,
            Refused::Version
        );
        let http = *b"GET /stats HTTP/1.1\r\nHost: mx2\r\nUser-Agent: an older lbd\r\n....";
        let http: [u8; CALL_BYTES] = http[..CALL_BYTES].try_into().unwrap();
        let down = Called::answer(&http, &[KEY], mx2, &[2; 32]).unwrap_err();
        assert_eq!((down.why, down.reply), (Refused::NotOurs, None));
    }

    #[test]
    fn a_recording_is_worth_nothing() {
        let (mx1, mx2) = ids();
        let caller = Caller::new(&KEY, mx1, mx2, &[1; 32]);
        let called = Called::answer(caller.call(), &[KEY], mx2, &[2; 32]).unwrap();
        let (proof, mut ours) = caller.prove(called.reply()).unwrap();
        let frame = ours.seal(b"commit").unwrap();
        // The same call once more: another nonce, so neither the proof nor the frame is good.
        let again = Called::answer(caller.call(), &[KEY], mx2, &[3; 32]).unwrap();
        assert_eq!(again.admit(&proof).unwrap_err(), Refused::Proof);
        let (_, mut theirs) = met(&[KEY]).unwrap();
        assert!(
            heard(&mut theirs, &frame).is_ok(),
            "the very same connection"
        );
        assert_eq!(heard(&mut theirs, &frame), Err(Refused::Frame), "twice");
        let (mut a, mut b) = met(&[KEY]).unwrap();
        let back = a.seal(b"x").unwrap();
        assert_eq!(heard(&mut a, &back), Err(Refused::Frame), "sent back");
        let _left_out = a.seal(b"y").unwrap();
        let third = a.seal(b"z").unwrap();
        assert!(heard(&mut b, &back).is_ok());
        assert_eq!(heard(&mut b, &third), Err(Refused::Frame), "one left out");
    }

    #[test]
    fn frames_are_bounded() {
        let (mut a, _) = met(&[KEY]).unwrap();
        assert!(a.seal(&vec![0; MAX_FRAME_BYTES]).is_ok());
        let long = MAX_FRAME_BYTES + 1;
        assert_eq!(
            a.seal(&vec![0; long]).unwrap_err(),
            Refused::Long { bytes: long }
        );
        assert!(Channel::bytes_after([255; 4]).is_err());
    }

    proptest! {
        #[test]
        fn any_change_on_the_way_is_seen(body in proptest::collection::vec(any::<u8>(), 0..99), at: prop::sample::Index, bit in 0u8..8) {
            let (mut a, mut b) = met(&[KEY]).unwrap();
            let mut frame = a.seal(&body).unwrap();
            let at = at.index(frame.len());
            frame[at] ^= 1 << bit;
            prop_assert!(heard(&mut b, &frame).is_err());
        }

        #[test]
        fn any_call_is_answered_or_turned_down(call in proptest::collection::vec(any::<u8>(), CALL_BYTES)) {
            let call: [u8; CALL_BYTES] = call.try_into().unwrap();
            prop_assert!(Called::answer(&call, &[KEY], SenderId::of("mx2"), &[2; 32]).is_err());
        }
    }
}
