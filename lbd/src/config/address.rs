//! Addresses with a prefix length.
use std::{fmt, net::IpAddr};

use serde::{Serialize, Serializer};

/// A virtual address and the prefix length it is added with.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// Bits: 0 to 32, or to 128.
    pub prefix_len: u8,
}

/// A network: what an allow or deny list holds. The bits beyond the prefix are 0.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Network {
    address: IpAddr,
    prefix_len: u8,
}

impl Network {
    /// The network of `prefix_len` bits that holds `address`; longer prefixes are cut to the family's.
    #[must_use]
    pub fn of(address: IpAddr, prefix_len: u8) -> Self {
        let prefix_len = prefix_len.min(bits(address));
        let address = match address {
            IpAddr::V4(a) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(prefix_len))
                    .unwrap_or(0);
                IpAddr::V4((a.to_bits() & mask).into())
            }
            IpAddr::V6(a) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(prefix_len))
                    .unwrap_or(0);
                IpAddr::V6((a.to_bits() & mask).into())
            }
        };
        Self {
            address,
            prefix_len,
        }
    }

    /// Its first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Bits: 0 to 32, or to 128.
    #[must_use]
    pub fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// Whether it holds `address`.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        Self::of(address.to_canonical(), self.prefix_len) == self
    }
}

/// An IPv4 network in IPv6's clothes (`::ffff:198.51.100.0/120`, RFC 4291, section 2.5.5.2), as programs
/// with one socket for both families print their clients, is the IPv4 network: no frame has the other.
pub(super) fn canonical((address, prefix_len): (IpAddr, u8)) -> (IpAddr, u8) {
    match (address.to_canonical(), prefix_len.checked_sub(96)) {
        (IpAddr::V4(v4), Some(prefix_len)) if address.is_ipv6() => (v4.into(), prefix_len),
        _ => (address, prefix_len),
    }
}

/// Why a text is no address with a prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PrefixError {
    /// The part before the slash.
    #[error("it is no IPv4 or IPv6 address")]
    Address,
    /// The part after the slash.
    #[error("the prefix length is not a number from 0 to {0}")]
    Length(u8),
    /// Of a network.
    #[error("it has bits set beyond its prefix; write {0}, or one address without a slash")]
    Beyond(Network),
}

/// Reads `192.0.2.25/24`; without a slash the prefix is the whole address.
pub(super) fn parse(text: &str) -> Result<(IpAddr, u8), PrefixError> {
    let (address, prefix_len) = match text.split_once('/') {
        Some((address, prefix_len)) => (address, Some(prefix_len)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| PrefixError::Address)?;
    let most = bits(address);
    let prefix_len = match prefix_len {
        None => most,
        // `+24` is a number to Rust, not to a person.
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => text
            .parse()
            .ok()
            .filter(|len| *len <= most)
            .ok_or(PrefixError::Length(most))?,
        Some(_) => return Err(PrefixError::Length(most)),
    };
    Ok((address, prefix_len))
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// As its `Display` writes it; without a slash the prefix is the whole address.
impl std::str::FromStr for VirtualAddress {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, prefix_len) = parse(text)?;
        Ok(Self {
            address,
            prefix_len,
        })
    }
}

/// As [`Network`]'s `Display` writes it; bits beyond the prefix are a mistake.
impl std::str::FromStr for Network {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, prefix_len) = canonical(parse(text)?);
        let network = Self::of(address, prefix_len);
        if network.address() == address {
            Ok(network)
        } else {
            Err(PrefixError::Beyond(network))
        }
    }
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl Serialize for VirtualAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_length_is_a_plain_number_of_the_family() {
        for text in [
            "192.0.2.1/33",
            "::/129",
            "::/+1",
            "::/",
            "::/ 1",
            "10.0.0.0/1/1",
            "10.0.0.0/256",
        ] {
            assert!(matches!(parse(text), Err(PrefixError::Length(_))), "{text}");
        }
        for text in ["", "/", "/24", "10.0.0/24", "example.org", "[::1]/64"] {
            assert_eq!(parse(text), Err(PrefixError::Address), "{text}");
        }
    }

    #[test]
    fn a_mapped_network_is_the_ipv4_network() {
        for (text, expected) in [
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("::ffff:c633:6407/128", "198.51.100.7"),
            ("::ffff:198.51.100.0/120", "198.51.100.0/24"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network, expected.parse().unwrap(), "{text}");
            assert!(network.contains("::ffff:198.51.100.7".parse().unwrap()));
            assert!(network.contains("198.51.100.7".parse().unwrap()));
        }
        let wide: Network = "::/0".parse().unwrap();
        assert!(wide.address().is_ipv6(), "all of IPv6 is not all of IPv4");
    }

    proptest! {
        #[test]
        fn a_network_holds_what_shares_its_prefix(bits: u128, other: u128, len in 0..=128_u8, v4: bool) {
            let make = |bits: u128| -> IpAddr {
                if v4 {
                    IpAddr::V4(u32::try_from(bits >> 96).unwrap_or(0).into())
                } else {
                    IpAddr::V6(bits.into())
                }
            };
            let len = if v4 { len.min(32) } else { len };
            let network = Network::of(make(bits), len);
            let same_prefix = len == 0 || (bits ^ other) >> (128 - len) == 0;
            prop_assert!(network.contains(make(bits)));
            prop_assert_eq!(network.contains(make(other)), same_prefix);
            prop_assert_eq!(parse(&network.to_string()), Ok((network.address(), len)));
        }
    }
}
