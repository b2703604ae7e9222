//! The Internet checksum (RFC 1071), with and without the pseudo-header.
use std::net::IpAddr;

use super::PROTOCOL;

/// What an IPv4 advert's checksum covers.
///
/// RFC 9568 5.2.8 leaves the pseudo-header out for IPv4; RFC 5798, keepalived and FRR put it in,
/// and keepalived 2.2.7 drops the other form. IPv6 has one form only, with the pseudo-header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ChecksumForm {
    /// Pseudo-header and message.
    #[default]
    WithPseudoHeader,
    /// The message alone.
    MessageOnly,
}

/// A running one's complement sum of 16-bit words.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds bytes; an odd last one is the high half of a word, so only the last part may be odd.
    pub(crate) fn add(mut self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<2>();
        for word in words {
            self.0 += u64::from(u16::from_be_bytes(*word));
        }
        if let [last] = rest {
            self.0 += u64::from(*last) << 8;
        }
        self
    }

    /// Adds the pseudo-header of RFC 9293 3.1 or RFC 8200 8.1; both sum to the same words.
    pub(crate) fn add_pseudo(
        self,
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        length: usize,
    ) -> Self {
        let mut sum = self.add_address(source).add_address(destination);
        sum.0 += u64::from(protocol) + length as u64;
        sum
    }

    fn add_address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => self.add(&a.octets()),
            IpAddr::V6(a) => self.add(&a.octets()),
        }
    }

    /// The complement of the folded sum. Over a message that holds its right checksum it is 0.
    #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits before")]
    pub(crate) fn complement(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

/// The checksum of `message`, whose own checksum field must be zero, or the proof of a received
/// one, which is 0 when right.
pub(crate) fn of_advert(
    source: IpAddr,
    destination: IpAddr,
    message: &[u8],
    form: ChecksumForm,
) -> u16 {
    let sum = Sum::default().add(message);
    match form {
        ChecksumForm::MessageOnly if source.is_ipv4() => sum.complement(),
        _ => sum
            .add_pseudo(source, destination, PROTOCOL, message.len())
            .complement(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_are_added_back() {
        // RFC 1071, section 3.
        let sum = Sum::default().add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.complement(), !0xddf2);
        assert_eq!(Sum::default().add(&vec![0xff; 65_536]).complement(), 0);
    }

    #[test]
    fn an_odd_byte_is_the_high_half_of_a_word() {
        assert_eq!(Sum::default().add(&[0xab]).complement(), !0xab00);
    }
}
