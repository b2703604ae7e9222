//! Why a driver refuses the program: the kernel has words for it only on the older way to attach.
use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, RawFd},
};

use aya::programs::Xdp;
use netlink_packet_core::{NLM_F_ACK, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage, LinkXdp},
};

use super::netlink;
use crate::plain;

/// `XDP_FLAGS_UPDATE_IF_NOEXIST` and `XDP_FLAGS_DRV_MODE` of `linux/if_link.h`.
const ONLY_NEW: u32 = 1;
const NATIVE: u32 = 1 << 2;
/// `NLMSGERR_ATTR_MSG` of `linux/netlink.h`: the text of an extended acknowledgement.
const TEXT: u16 = 1;
/// The two bits of an attribute's type that are flags.
const TYPE_FLAGS: u16 = 0xc000;
/// The header of the request, which the answer repeats before its attributes.
const HEADER_BYTES: usize = 16;

/// What the driver of an interface says to the program in native mode. It is asked once more, by netlink:
/// a link's refusal is a number alone (`bpf_xdp_link_attach` of net/core/dev.c keeps the text to itself).
pub(super) fn driver_words(program: &Xdp, ifindex: u32) -> Option<String> {
    let fd = program.fd().ok()?.as_fd().as_raw_fd();
    match set(ifindex, fd, ONLY_NEW | NATIVE).ok()? {
        Answer::Refused(words) => words,
        Answer::Taken => {
            // It takes it now, after all: the caller has decided otherwise.
            let _ = set(ifindex, -1, NATIVE);
            None
        }
    }
}

/// What the kernel answers.
enum Answer {
    Taken,
    /// With its text, if it has one.
    Refused(Option<String>),
}

/// Attaches by netlink.
fn set(ifindex: u32, fd: RawFd, flags: u32) -> io::Result<Answer> {
    let mut request = LinkMessage::default();
    request.header.index = ifindex;
    let xdp = vec![LinkXdp::Fd(fd), LinkXdp::Flags(flags)];
    request.attributes = vec![LinkAttribute::Xdp(xdp)];
    let answer = netlink::request(RouteNetlinkMessage::SetLink(request), NLM_F_ACK)?;
    Ok(match answer {
        NetlinkPayload::Error(error) if error.code.is_some() => {
            Answer::Refused(text(error.header.get(HEADER_BYTES..).unwrap_or_default()))
        }
        _ => Answer::Taken,
    })
}

/// The text among the attributes of an extended acknowledgement.
fn text(mut attributes: &[u8]) -> Option<String> {
    while let [l0, l1, t0, t1, rest @ ..] = attributes {
        let length = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let kind = u16::from_ne_bytes([*t0, *t1]) & !TYPE_FLAGS;
        let value = rest.get(..length.checked_sub(4)?)?;
        if kind == TEXT {
            let value = value.split(|byte| *byte == 0).next()?;
            let words = String::from_utf8_lossy(value).into_owned();
            return Some(plain::lines(words).trim().to_owned()).filter(|words| !words.is_empty());
        }
        // Attributes are padded to four bytes (NLA_ALIGN); the last one's padding may be missing.
        attributes = attributes
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn the_text_is_found_among_other_attributes() {
        let words = b"veth: Peer MTU is too large to set XDP\0";
        let both = [attribute(2, &[0; 6]), attribute(TEXT, words)].concat();
        let found = text(&both).unwrap();
        assert_eq!(found, "veth: Peer MTU is too large to set XDP");
        let mut unpadded = attribute(TEXT, b"no\0");
        unpadded.truncate(7);
        assert_eq!(text(&unpadded).as_deref(), Some("no"));
    }

    #[test]
    fn what_is_no_attribute_has_no_text() {
        for bytes in [
            &[][..],
            &[1],
            &[0, 0, 1, 0],
            &[200, 0, 1, 0, b'x'],
            &attribute(TEXT, b"\0"),
        ] {
            assert_eq!(text(bytes), None, "{bytes:?}");
        }
    }
}
