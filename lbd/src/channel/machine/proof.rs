//! Whether a datagram is of the present life of its sender, and what one may cost before that is known.
use std::num::NonZeroU64;

use sha2::{Digest as _, Sha256};

use super::{Channel, Output};
use crate::channel::{
    datagram::{Body, Datagram, Epoch, Proof, Refused, Unverified},
    retransmit::Content,
};

/// Between two answers to a peer that does not know our epoch, so that a forger cannot make us flood it.
const ANSWER_NS: u64 = 100_000_000;
/// The same to one that asks us to show that we are no recording.
const PROVE_NS: u64 = 10_000_000;
/// A number to be said again is good for so long, and as long again.
const NONCE_NS: u64 = 2_000_000_000;

impl Channel {
    /// What a life of a peer has to say again to show that it is no recording. It follows from both
    /// lives, from the life of the peer that is believed now, and from the time: nothing is kept for
    /// lives that may not exist, and an answer kept back ends no life that began after it. Anyone may
    /// foresee it, since a peer says it again only where this node has signed it.
    pub(super) fn nonce(&self, index: usize, life: Epoch, slot: u64) -> Option<NonZeroU64> {
        let link = &self.links[index];
        let mut digest = Sha256::new();
        digest.update(self.epoch.0.get().to_be_bytes());
        digest.update(link.id.0.to_be_bytes());
        digest.update(link.epoch().map_or(0, |known| known.0.get()).to_be_bytes());
        digest.update(life.0.get().to_be_bytes());
        digest.update(slot.to_be_bytes());
        let digest = digest.finalize();
        let number = digest[..8]
            .iter()
            .fold(0, |all, byte| all << 8 | u64::from(*byte));
        NonZeroU64::new(number)
    }

    /// Whether a datagram of a life that is not known says what that life was asked for.
    pub(super) fn is_proved(&self, index: usize, datagram: &Datagram, now_ns: u64) -> bool {
        let Body::Hello { proof, .. } = &datagram.body else {
            return false;
        };
        let slot = now_ns / NONCE_NS;
        proof.answer.is_some()
            && [slot, slot.saturating_sub(1)]
                .into_iter()
                .any(|slot| proof.answer == self.nonce(index, datagram.epoch, slot))
    }

    /// The sender does not know this start of ours, or speaks to a former one, or this node does not know
    /// that start of its: says who we are, and asks it to show that it is no recording. It is
    /// believed nothing until it has.
    pub(super) fn introduce(
        &mut self,
        index: usize,
        datagram: &Datagram,
        now_ns: u64,
    ) -> Result<Vec<Output>, Refused> {
        let asked = match &datagram.body {
            Body::Hello { proof, .. } if datagram.to_epoch == Some(self.epoch) => proof.challenge,
            _ => None,
        };
        let link = &mut self.links[index];
        let (last_ns, pause_ns) = match asked {
            Some(_) => (&mut link.proved_ns, PROVE_NS),
            None => (&mut link.answered_ns, ANSWER_NS),
        };
        let is_due = last_ns.is_none_or(|last| now_ns.saturating_sub(last) >= pause_ns);
        if !is_due {
            return Err(Refused::OtherEpoch);
        }
        *last_ns = Some(now_ns);
        let proof = Proof {
            challenge: self.nonce(index, datagram.epoch, now_ns / NONCE_NS),
            answer: asked,
        };
        let hello = self.hello_body(index, false, proof, Vec::new(), now_ns);
        Ok(vec![self.signed(
            index,
            Some(datagram.epoch),
            hello,
            Content::Word,
        )])
    }

    /// Refuses what a peer sends beyond its limit before it costs an HMAC and before its number counts
    /// as heard, so that it is asked for again. Returns whether it claims to be part of a table.
    ///
    /// The claims are not verified here, and false ones gain nothing without a key: only a verified
    /// datagram that was not heard before counts against the limit, neither a forged one nor a recording.
    /// So while a peer sends what it may, nothing in its name is refused here. Above the limit this refuses
    /// what it would refuse after the HMAC, by the same fields, and also what is forged.
    pub(super) fn refuse_flood(&mut self, bytes: &[u8], now_ns: u64) -> Result<bool, Refused> {
        let Some(claim) = Unverified::read(bytes) else {
            return Ok(false);
        };
        let index = self.index(claim.sender);
        if let Some(index) = index.filter(|_| claim.to_epoch == Some(self.epoch))
            && self.links[index].is_flooded(claim.is_table, now_ns)
        {
            return Err(Refused::Flood);
        }
        Ok(claim.is_table)
    }
}
