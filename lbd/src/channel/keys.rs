//! The cluster's keys, as the channel uses them.
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::datagram::Refused;

/// Bytes of a signature: the whole HMAC-SHA256.
pub(super) const SIGNATURE_BYTES: usize = 32;

/// Of the key that is derived for the channel.
const LABEL: &[u8] = b"lbd cluster channel";

/// The first signs, all verify.
#[derive(Clone)]
pub struct Keys {
    keys: Vec<(u8, Hmac<Sha256>)>,
}

impl std::fmt::Debug for Keys {
    /// Without the secrets, which must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({} keys)", self.keys.len())
    }
}

impl Keys {
    /// `signing` first, then every key that verifies.
    #[must_use]
    pub fn new(signing: &[u8; 32], verifying: &[[u8; 32]]) -> Self {
        let others = verifying.iter().filter(|key| *key != signing);
        let keys = std::iter::once(signing).chain(others);
        Self {
            keys: keys.map(numbered).collect(),
        }
    }

    /// The number of the key that signs.
    pub(crate) fn signing_number(&self) -> u8 {
        self.keys[0].0
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut hmac = self.keys[0].1.clone();
        hmac.update(message);
        hmac.finalize().into_bytes().into()
    }

    /// In constant time.
    pub(super) fn verify(
        &self,
        key_number: u8,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Refused> {
        // Two keys may have the same number; any of them will do.
        let mut known = false;
        for (number, hmac) in &self.keys {
            if *number == key_number {
                known = true;
                let mut hmac = hmac.clone();
                hmac.update(message);
                if hmac.verify_slice(signature).is_ok() {
                    return Ok(());
                }
            }
        }
        Err(if known {
            Refused::Forged
        } else {
            Refused::UnknownKey { number: key_number }
        })
    }
}

/// The channel's key that follows from one of the cluster's, with a number that every node derives
/// alike from it. What is signed on the channel says nothing elsewhere.
fn numbered(secret: &[u8; 32]) -> (u8, Hmac<Sha256>) {
    let mut derive = hmac(secret);
    derive.update(LABEL);
    let key: [u8; 32] = derive.finalize().into_bytes().into();
    (Sha256::digest(key)[0], hmac(&key))
}

fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    // Padded to SHA-256's block, as HMAC does with a shorter key (RFC 2104, section 2).
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    Hmac::new(&block.into())
}
