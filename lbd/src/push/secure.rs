//! What a push speaks through: proof of the cluster's key on both sides, and encrypted frames.
//!
//! The handshake and the frames are Noise (`Noise_NNpsk0_25519_ChaChaPoly_SHA256`, by the `snow` crate),
//! with a key derived from the cluster's as the pre-shared one. Around it stands what tells a person why a
//! call was refused:
//!
//! ```text
//! caller    MAGIC 4 | version 1 | key 8 | caller 8 | called 8 | Noise: psk, e 48
//! called    status 1 | Noise: e, ee 48
//! caller    a frame without a body: only who has the key could make it for this connection
//! both      length 4 | Noise messages of length and body, at most 65,535 bytes each
//! ```
//! All that precedes the caller's Noise message is its prologue, so none of it can be changed on the way.
//! A recording opens nothing, no frame can be left out, doubled, moved or sent back, and who steals the
//! cluster's key later cannot read what was recorded. Before the caller's proof nothing of variable length
//! is read, and nothing is kept but what is above. Numbers are in network byte order.
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use snow::{Builder, HandshakeState, TransportState};
use thiserror::Error;

use crate::channel::SenderId;

/// What a push begins with; no HTTP request begins with its first byte.
pub const MAGIC: [u8; 4] = *b"\xf1lbd";
/// Of the protocol. Version 1 signed its frames by a scheme of its own, and did not encrypt them.
pub const VERSION: u8 = 2;
/// Bytes of the caller's first message that every version has.
pub const HEAD_BYTES: usize = 4 + 1;
/// Bytes of the caller's first message.
pub const CALL_BYTES: usize = PROLOGUE_BYTES + NOISE_BYTES;
/// Bytes of the called one's answer.
pub const REPLY_BYTES: usize = 1 + NOISE_BYTES;
/// Bytes of the caller's second message.
pub const PROOF_BYTES: usize = TAG_BYTES;
/// The longest body of a frame.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

const PROLOGUE_BYTES: usize = HEAD_BYTES + 8 + 8 + 8;
/// An ephemeral key and the tag of an empty payload.
const NOISE_BYTES: usize = 32 + TAG_BYTES;
const TAG_BYTES: usize = 16;
/// What fits into one Noise message (the specification's section 3).
const PART_BYTES: usize = 65_535 - TAG_BYTES;
const LENGTH_BYTES: usize = 4;
const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
/// Why a handshake can be built.
const COMPLETE: &str = "the pattern needs a pre-shared key and nothing else";
/// What version 1 reads as an answer.
const REPLY_BYTES_OF_VERSION_1: usize = 65;

/// Why a connection is not spoken through.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Refused {
    /// Another protocol, or none.
    #[error("it speaks another protocol; is it an lbd that accepts pushes?")]
    NotOurs,
    /// Another version.
    #[error("it speaks another version of the push protocol; this lbd speaks {VERSION}")]
    Version,
    /// The caller's key is not in the called node's file.
    #[error("it does not have the key that this node signs with: cluster.secret_file differs")]
    UnknownKey,
    /// For a node of another name.
    #[error(
        "it is a node with another name: `node.name` or the address in `cluster.sites` differs"
    )]
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
    #[error("a frame was changed on the way")]
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
    name.copy_from_slice(&derived(key, b"lbd push: which key")[..8]);
    name
}

/// A key for one purpose, which says nothing about the cluster's or about one for another purpose.
fn derived(key: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    // Padded to SHA-256's block, as HMAC does with a shorter key (RFC 2104, section 2).
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let mut hmac: Hmac<Sha256> = Hmac::new(&block.into());
    hmac.update(purpose);
    hmac.finalize().into_bytes().into()
}

/// The key that both sides of a push put into the handshake.
fn pre_shared(key: &[u8; 32]) -> [u8; 32] {
    derived(key, b"lbd push: pre-shared key of Noise")
}

/// One side's handshake before it is known which side.
fn noise<'a>(pre_shared: &'a [u8; 32], prologue: &'a [u8]) -> Builder<'a> {
    let pattern = PATTERN.parse().expect("the pattern is one that snow knows");
    Builder::new(pattern)
        .psk(0, pre_shared)
        .and_then(|builder| builder.prologue(prologue))
        .expect("each is set once")
}

/// The caller's side until both are sure.
pub struct Caller {
    call: [u8; CALL_BYTES],
    handshake: HandshakeState,
}

impl Caller {
    /// `key` signs.
    #[must_use]
    pub fn new(key: &[u8; 32], caller: SenderId, called: SenderId) -> Self {
        let mut call = [0; CALL_BYTES];
        call[..4].copy_from_slice(&MAGIC);
        call[4] = VERSION;
        call[5..13].copy_from_slice(&name_of(key));
        call[13..21].copy_from_slice(&caller.0.to_be_bytes());
        call[21..29].copy_from_slice(&called.0.to_be_bytes());
        let (prologue, message) = call.split_at_mut(PROLOGUE_BYTES);
        let pre_shared = pre_shared(key);
        let mut handshake = noise(&pre_shared, prologue)
            .build_initiator()
            .expect(COMPLETE);
        handshake
            .write_message(&[], message)
            .expect("the first message fits");
        Self { call, handshake }
    }

    /// The first message.
    #[must_use]
    pub fn call(&self) -> &[u8; CALL_BYTES] {
        &self.call
    }

    /// Judges the answer: the proof to send, and how to go on.
    pub fn prove(
        mut self,
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
        self.handshake
            .read_message(&reply[1..], &mut [])
            .map_err(|_| Refused::Proof)?;
        let mut channel = Channel::new(self.handshake)?;
        let mut proof = [0; PROOF_BYTES];
        channel
            .transport
            .write_message(&[], &mut proof)
            .map_err(|_| Refused::Proof)?;
        Ok((proof, channel))
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
    reply: [u8; REPLY_BYTES],
    handshake: HandshakeState,
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
    pub reply: Option<Vec<u8>>,
}

impl TurnedDown {
    fn silently(why: Refused) -> Self {
        Self { why, reply: None }
    }

    fn with(why: Refused, status: u8, bytes: usize) -> Self {
        let mut reply = vec![0; bytes];
        reply[0] = status;
        Self {
            why,
            reply: Some(reply),
        }
    }
}

impl Called {
    /// Judges the part of a call that every version has, before the rest is waited for.
    pub fn judge_head(head: [u8; HEAD_BYTES]) -> Result<(), TurnedDown> {
        let [magic @ .., version] = head;
        if magic != MAGIC {
            return Err(TurnedDown::silently(Refused::NotOurs));
        }
        if version != VERSION {
            let bytes = REPLY_BYTES_OF_VERSION_1.max(REPLY_BYTES);
            return Err(TurnedDown::with(Refused::Version, status::VERSION, bytes));
        }
        Ok(())
    }

    /// Judges a call. `keys`: all that verify; `own`: this node.
    pub fn answer(
        call: &[u8; CALL_BYTES],
        keys: &[[u8; 32]],
        own: SenderId,
    ) -> Result<Self, TurnedDown> {
        let (prologue, message) = call.split_at(PROLOGUE_BYTES);
        let mut head = [0; HEAD_BYTES];
        head.copy_from_slice(&prologue[..HEAD_BYTES]);
        Self::judge_head(head)?;
        let turned_down = |why, status| TurnedDown::with(why, status, REPLY_BYTES);
        let named = keys.iter().find(|key| name_of(key) == prologue[5..13]);
        let Some(key) = named else {
            return Err(turned_down(Refused::UnknownKey, status::UNKNOWN_KEY));
        };
        if prologue[21..29] != own.0.to_be_bytes() {
            return Err(turned_down(Refused::OtherNode, status::OTHER_NODE));
        }
        let pre_shared = pre_shared(key);
        let mut handshake = noise(&pre_shared, prologue)
            .build_responder()
            .expect(COMPLETE);
        let mut reply = [0; REPLY_BYTES];
        reply[0] = status::WELCOME;
        handshake
            .read_message(message, &mut [])
            .and_then(|_| handshake.write_message(&[], &mut reply[1..]))
            .map_err(|_| TurnedDown::silently(Refused::Proof))?;
        Ok(Self { reply, handshake })
    }

    /// The answer.
    #[must_use]
    pub fn reply(&self) -> &[u8; REPLY_BYTES] {
        &self.reply
    }

    /// Judges the caller's proof.
    pub fn admit(self, proof: &[u8; PROOF_BYTES]) -> Result<Channel, Refused> {
        let mut channel = Channel::new(self.handshake)?;
        channel
            .transport
            .read_message(proof, &mut [])
            .map_err(|_| Refused::Proof)?;
        Ok(channel)
    }
}

/// A connection on which both sides are sure: encrypts what goes out, decrypts and verifies what comes in.
pub struct Channel {
    transport: TransportState,
}

impl std::fmt::Debug for Channel {
    /// Without its keys, which must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Channel")
    }
}

impl Channel {
    fn new(handshake: HandshakeState) -> Result<Self, Refused> {
        let transport = handshake
            .into_transport_mode()
            .map_err(|_| Refused::Proof)?;
        Ok(Self { transport })
    }

    /// The next frame to send. A body beyond [`MAX_FRAME_BYTES`] is refused.
    pub fn seal(&mut self, body: &[u8]) -> Result<Vec<u8>, Refused> {
        let head = length(body.len())?.to_be_bytes();
        // The length once more, under encryption: a frame that ends early is no shorter frame.
        let mut clear = Vec::with_capacity(LENGTH_BYTES + body.len());
        clear.extend(head);
        clear.extend(body);
        let mut frame = head.to_vec();
        for part in clear.chunks(PART_BYTES) {
            let begin = frame.len();
            frame.resize(begin + part.len() + TAG_BYTES, 0);
            self.transport
                .write_message(part, &mut frame[begin..])
                .map_err(|_| Refused::Frame)?;
        }
        Ok(frame)
    }

    /// Bytes that follow a frame's head.
    pub fn bytes_after(head: [u8; LENGTH_BYTES]) -> Result<usize, Refused> {
        let bytes = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
        length(bytes)?;
        let clear = LENGTH_BYTES + bytes;
        Ok(clear + clear.div_ceil(PART_BYTES) * TAG_BYTES)
    }

    /// Decrypts and verifies what follows the head; the body.
    pub fn open(&mut self, head: [u8; LENGTH_BYTES], rest: &[u8]) -> Result<Vec<u8>, Refused> {
        if rest.len() != Self::bytes_after(head)? {
            return Err(Refused::Frame);
        }
        let mut clear = vec![0; rest.len()];
        let mut bytes = 0;
        for part in rest.chunks(PART_BYTES + TAG_BYTES) {
            bytes += self
                .transport
                .read_message(part, &mut clear[bytes..])
                .map_err(|_| Refused::Frame)?;
        }
        clear.truncate(bytes);
        if !clear.starts_with(&head) {
            return Err(Refused::Frame);
        }
        clear.drain(..LENGTH_BYTES);
        Ok(clear)
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

    fn caller() -> Caller {
        let (mx1, mx2) = ids();
        Caller::new(&KEY, mx1, mx2)
    }

    fn called(call: &[u8; CALL_BYTES]) -> Result<Called, TurnedDown> {
        Called::answer(call, &[KEY], ids().1)
    }

    fn met(keys: &[[u8; 32]]) -> Result<(Channel, Channel), Refused> {
        let caller = caller();
        let called = match Called::answer(caller.call(), keys, ids().1) {
            Ok(called) => called,
            Err(down) => {
                let reply = down.reply.unwrap().try_into().unwrap();
                let told = caller.prove(&reply).unwrap_err();
                assert_eq!(told, down.why, "the caller is told why");
                return Err(told);
            }
        };
        let (proof, ours) = caller.prove(called.reply())?;
        Ok((ours, called.admit(&proof)?))
    }

    fn heard(channel: &mut Channel, frame: &[u8]) -> Result<Vec<u8>, Refused> {
        let (head, rest) = frame.split_at(LENGTH_BYTES);
        channel.open(head.try_into().unwrap(), rest)
    }

    #[test]
    fn who_has_the_key_is_understood_both_ways() {
        let (mut a, mut b) = met(&[[9; 32], KEY]).unwrap();
        for body in [
            vec![1; 3],
            vec![],
            vec![2; PART_BYTES],
            vec![3; 3 * PART_BYTES],
        ] {
            let frame = a.seal(&body).unwrap();
            assert_eq!(heard(&mut b, &frame).unwrap(), body);
            let frame = b.seal(&body).unwrap();
            assert_eq!(heard(&mut a, &frame).unwrap(), body);
        }
    }

    #[test]
    fn who_listens_reads_nothing() {
        let (mut a, _) = met(&[KEY]).unwrap();
        let frame = a.seal(b"deny: 198.51.100.0/24").unwrap();
        assert!(!frame.windows(4).any(|bytes| bytes == b"deny"));
    }

    #[test]
    fn who_has_not_the_key_is_told_so() {
        assert_eq!(met(&[[9; 32]]).unwrap_err(), Refused::UnknownKey);
        let caller = caller();
        let other = Called::answer(caller.call(), &[KEY], SenderId::of("mx3"));
        assert_eq!(other.unwrap_err().why, Refused::OtherNode);
        // Who only knows the key's name proves nothing, on either side.
        let mut forged = *caller.call();
        forged[CALL_BYTES - 1] ^= 1;
        assert_eq!(
            called(&forged).unwrap_err(),
            TurnedDown::silently(Refused::Proof)
        );
        let answered = called(caller.call()).unwrap();
        let mut reply = *answered.reply();
        reply[REPLY_BYTES - 1] ^= 1;
        assert_eq!(
            answered.admit(&[0; PROOF_BYTES]).unwrap_err(),
            Refused::Proof
        );
        assert_eq!(caller.prove(&reply).unwrap_err(), Refused::Proof);
    }

    #[test]
    fn the_callers_name_cannot_be_changed_on_the_way() {
        let mut call = *caller().call();
        call[13] ^= 1;
        assert_eq!(called(&call).unwrap_err().why, Refused::Proof);
    }

    #[test]
    fn other_versions_and_protocols_are_told_apart_by_their_head() {
        let head = |version| {
            let [a, b, c, d] = MAGIC;
            Called::judge_head([a, b, c, d, version])
        };
        assert_eq!(head(VERSION), Ok(()));
        for version in [1, VERSION + 1] {
            let down = head(version).unwrap_err();
            assert_eq!(down.why, Refused::Version);
            let reply = down.reply.unwrap();
            assert_eq!(
                (reply[0], reply.len()),
                (status::VERSION, REPLY_BYTES_OF_VERSION_1)
            );
        }
        let down = Called::judge_head(*b"GET /").unwrap_err();
        assert_eq!(down, TurnedDown::silently(Refused::NotOurs));
    }

    #[test]
    fn a_recording_is_worth_nothing() {
        let caller = caller();
        let call = *caller.call();
        let answered = called(&call).unwrap();
        let (proof, mut ours) = caller.prove(answered.reply()).unwrap();
        let mut theirs = answered.admit(&proof).unwrap();
        // The same call once more: another ephemeral key, so neither the proof nor the frame is good.
        let again = called(&call).unwrap();
        assert_eq!(again.admit(&proof).unwrap_err(), Refused::Proof);
        let frame = ours.seal(b"commit").unwrap();
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
    fn a_frame_that_ends_after_one_of_its_parts_is_refused() {
        let (mut a, mut b) = met(&[KEY]).unwrap();
        let frame = a.seal(&vec![1; 2 * PART_BYTES]).unwrap();
        let shorter = u32::try_from(PART_BYTES - LENGTH_BYTES)
            .unwrap()
            .to_be_bytes();
        let rest = &frame[LENGTH_BYTES..][..Channel::bytes_after(shorter).unwrap()];
        assert_eq!(b.open(shorter, rest), Err(Refused::Frame));
    }

    #[test]
    fn frames_are_bounded() {
        let (mut a, mut b) = met(&[KEY]).unwrap();
        let frame = a.seal(&vec![0; MAX_FRAME_BYTES]).unwrap();
        assert_eq!(heard(&mut b, &frame).unwrap().len(), MAX_FRAME_BYTES);
        let long = MAX_FRAME_BYTES + 1;
        assert_eq!(
            a.seal(&vec![0; long]).unwrap_err(),
            Refused::Long { bytes: long }
        );
        assert!(Channel::bytes_after([255; LENGTH_BYTES]).is_err());
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
        fn any_call_is_turned_down(call in proptest::collection::vec(any::<u8>(), CALL_BYTES)) {
            let call: [u8; CALL_BYTES] = call.try_into().unwrap();
            prop_assert!(called(&call).is_err());
        }
    }
}
