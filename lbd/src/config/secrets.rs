//! `cluster.secret_file`: the keys of the cluster.
//!
//! A key a line, 64 hex digits, `#` begins a comment. The first signs, all verify: a new key is
//! added last on every box, then moved to the first place on every box, then the old one removed.
use std::fmt;

/// More keys than a roll-over needs, so that a wrong file is noticed.
const MAX_KEYS: usize = 8;

/// The keys, at least one. Printing it shows none of them.
#[derive(Clone, Eq, PartialEq)]
pub struct ClusterKeys {
    keys: Vec<[u8; 32]>,
}

/// Why a text holds no keys. It never repeats what the file says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// Nothing but comments and blank lines.
    #[error("it has no key")]
    Empty,
    /// Not 64 hex digits.
    #[error("line {line} is not a key of 64 hex digits")]
    Line {
        /// From 1.
        line: usize,
    },
    /// One byte repeated: made by hand, not by chance.
    #[error("line {line} is one byte repeated, which anyone can guess")]
    Weak {
        /// From 1.
        line: usize,
    },
    /// The same key twice.
    #[error("line {line} repeats a key")]
    Repeated {
        /// From 1.
        line: usize,
    },
    /// More than a roll-over needs.
    #[error("it has more than {MAX_KEYS} keys")]
    Many,
}

impl ClusterKeys {
    /// Reads the text of a key file.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        // What some editors begin a text with.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.split('#').next().unwrap_or_default().trim();
            if text.is_empty() {
                continue;
            }
            let key = from_hex(text).ok_or(KeyError::Line { line })?;
            if key.iter().all(|byte| *byte == key[0]) {
                return Err(KeyError::Weak { line });
            }
            if keys.contains(&key) {
                return Err(KeyError::Repeated { line });
            }
            if keys.len() == MAX_KEYS {
                return Err(KeyError::Many);
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(KeyError::Empty);
        }
        Ok(Self { keys })
    }

    /// The key that signs.
    #[must_use]
    pub fn signing(&self) -> &[u8; 32] {
        // `parse` keeps at least one.
        &self.keys[0]
    }

    /// The keys that verify, the signing one first.
    #[must_use]
    pub fn verifying(&self) -> &[[u8; 32]] {
        &self.keys
    }
}

impl fmt::Debug for ClusterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterKeys({} keys)", self.keys.len())
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(key)
}

fn nibble(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn the_first_key_signs_and_all_verify() {
        let other = KEY.replace("1f", "AF");
        let keys = ClusterKeys::parse(&format!("# ours\n{KEY} # old\n\n {other}\n")).unwrap();
        assert_eq!(keys.signing()[31], 0x1f);
        assert_eq!(keys.verifying().len(), 2);
        assert_eq!(keys.verifying()[1][31], 0xaf);
    }

    #[test]
    fn each_wrong_file_is_told_by_its_line() {
        let repeated = format!("{KEY}\n#\n{}\n", KEY.to_uppercase());
        let many: Vec<String> = (0..9).map(|i| format!("{i}{}", &KEY[1..])).collect();
        let many = many.join("\n");
        for (text, error) in [
            ("", KeyError::Empty),
            ("# nothing\n\n", KeyError::Empty),
            ("secret", KeyError::Line { line: 1 }),
            (&format!("\n{KEY}0"), KeyError::Line { line: 2 }),
            (&KEY.replace("00", "é"), KeyError::Line { line: 1 }),
            (&"a".repeat(64), KeyError::Weak { line: 1 }),
            (&repeated, KeyError::Repeated { line: 3 }),
            (&many, KeyError::Many),
        ] {
            assert_eq!(ClusterKeys::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn neither_errors_nor_debug_show_a_key() {
        let keys = ClusterKeys::parse(KEY).unwrap();
        assert_eq!(format!("{keys:?}"), "ClusterKeys(1 keys)");
        let error = ClusterKeys::parse(&KEY[1..]).unwrap_err();
        assert!(!error.to_string().contains("0102"));
    }

    proptest! {
        #[test]
        fn any_text_is_keys_or_an_error(text in "\\PC*") {
            let _ = ClusterKeys::parse(&text);
        }
    }
}
