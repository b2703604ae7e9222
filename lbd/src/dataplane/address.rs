//! Addresses as the maps hold them: four words in memory order, an IPv4 address in the first.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The words of an address.
pub fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [u32::from_ne_bytes(address.octets()), 0, 0, 0],
        IpAddr::V6(address) => {
            let mut words = [0; 4];
            for (word, bytes) in words.iter_mut().zip(address.octets().chunks_exact(4)) {
                *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
            words
        }
    }
}

/// 4 or 6.
pub fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 6,
    }
}

/// The address that `words` are, when `family` is 4 or 6.
pub fn from_words(family: u32, words: [u32; 4]) -> Option<IpAddr> {
    match family {
        4 => Some(Ipv4Addr::from(words[0].to_ne_bytes()).into()),
        6 => {
            let mut octets = [0; 16];
            for (bytes, word) in octets.chunks_exact_mut(4).zip(words) {
                bytes.copy_from_slice(&word.to_ne_bytes());
            }
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_comes_back(address: IpAddr) {
            let back = from_words(u32::from(family(address)), words(address));
            prop_assert_eq!(back, Some(address));
        }
    }

    #[test]
    fn words_lie_in_memory_as_in_the_header() {
        let bytes: Vec<u8> = words("192.0.2.25".parse().unwrap())
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        assert_eq!(bytes[..4], [192, 0, 2, 25]);
        assert_eq!(bytes[4..], [0; 12]);
    }

    #[test]
    fn a_free_slot_has_no_address() {
        assert_eq!(from_words(0, [1, 2, 3, 4]), None);
    }
}
