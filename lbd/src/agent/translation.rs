//! Whether connections may be handed to another address, port or network namespace before the kernel looks
//! for a listening socket: then that no socket listens on a port says nothing of what comes to it.
use std::{fs, io};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_*` of include/uapi/linux/netfilter.
const GET_CHAIN: u16 = 10 << 8 | 4;
const NEW_CHAIN: u16 = 10 << 8 | 3;
/// `NFTA_CHAIN_HOOK`, `NFTA_HOOK_HOOKNUM` and `NFTA_CHAIN_TYPE`.
const CHAIN_HOOK: u16 = 4;
const HOOK_NUMBER: u16 = 1;
const CHAIN_TYPE: u16 = 7;
/// `NF_INET_PRE_ROUTING`.
const PREROUTING: u32 = 0;
/// Of include/uapi/linux/netlink.h.
const REQUEST_DUMP: u16 = 1 | 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NESTED: u16 = 0x8000;
/// `struct nlmsghdr`, `struct nfgenmsg` and `struct nlattr`.
const HEADER_BYTES: usize = 16;
const FAMILY_BYTES: usize = 4;
const ATTRIBUTE_BYTES: usize = 4;

/// Rules of old iptables: which tables they are in.
const IPTABLES: [&str; 2] = [
    "/proc/thread-self/net/ip_tables_names",
    "/proc/thread-self/net/ip6_tables_names",
];

/// Whether nftables or iptables have a chain in this thread's network namespace that translates what comes in.
/// True where that cannot be found out.
#[must_use]
pub fn may_translate() -> bool {
    let by_iptables = IPTABLES.iter().any(|path| {
        let names = fs::read_to_string(path).unwrap_or_default();
        names.lines().any(|name| name == "nat")
    });
    by_iptables || by_nftables().unwrap_or(true)
}

fn by_nftables() -> io::Result<bool> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = Vec::new();
    let length = HEADER_BYTES + FAMILY_BYTES;
    request.extend(u32::try_from(length).unwrap_or_default().to_ne_bytes());
    request.extend(GET_CHAIN.to_ne_bytes());
    request.extend(REQUEST_DUMP.to_ne_bytes());
    // Sequence, port, and of every family.
    request.extend([0; 8 + FAMILY_BYTES]);
    socket.send(&request, 0)?;
    let mut datagram = vec![0; 32 * 1024];
    let mut found = false;
    loop {
        let length = match socket.recv(&mut &mut datagram[..], 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            length => length?.min(datagram.len()),
        };
        match read(&datagram[..length], &mut found) {
            Read::More => {}
            Read::Done => return Ok(found),
            // A kernel without nf_tables.
            Read::Failed(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOPROTOOPT) => return Ok(false),
            Read::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
            Read::Damaged => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// What a datagram of the answer is.
#[derive(Debug, Eq, PartialEq)]
enum Read {
    More,
    Done,
    Failed(i32),
    Damaged,
}

/// Reads one datagram; `found` becomes true by a chain that translates what comes in.
fn read(mut datagram: &[u8], found: &mut bool) -> Read {
    while let Some(length) = word(datagram) {
        let Some(message) = datagram.get(HEADER_BYTES..length as usize) else {
            return Read::Damaged;
        };
        match u16::from_ne_bytes([datagram[4], datagram[5]]) {
            NLMSG_DONE => return Read::Done,
            NLMSG_ERROR => {
                let errno = word(message).map_or(0, u32::cast_signed);
                return Read::Failed(errno.wrapping_neg());
            }
            NEW_CHAIN => *found |= translates(message.get(FAMILY_BYTES..).unwrap_or_default()),
            _ => {}
        }
        let step = (length as usize).next_multiple_of(4);
        datagram = datagram.get(step..).unwrap_or_default();
    }
    Read::More
}

/// Whether the chain of these attributes is a `nat` chain at prerouting.
fn translates(chain: &[u8]) -> bool {
    let kind = attribute(chain, CHAIN_TYPE).unwrap_or_default();
    let hook = attribute(chain, CHAIN_HOOK).and_then(|hook| attribute(hook, HOOK_NUMBER));
    let number = hook.and_then(|number| Some(u32::from_be_bytes(*number.first_chunk()?)));
    kind.strip_suffix(&[0]).unwrap_or(kind) == b"nat" && number == Some(PREROUTING)
}

fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some([low, high, kind_low, kind_high]) = attributes.first_chunk() {
        let length = usize::from(u16::from_ne_bytes([*low, *high]));
        let value = attributes.get(ATTRIBUTE_BYTES..length)?;
        if u16::from_ne_bytes([*kind_low, *kind_high]) & !NESTED == wanted {
            return Some(value);
        }
        attributes = attributes
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    None
}

fn word(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(ATTRIBUTE_BYTES + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_BYTES + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes
    }

    fn chain(kind: &[u8], hook: u32) -> Vec<u8> {
        let hook = with_attribute(HOOK_NUMBER, &hook.to_be_bytes());
        let attributes = [
            vec![0; FAMILY_BYTES],
            with_attribute(1, b"table\0"),
            with_attribute(CHAIN_HOOK | NESTED, &hook),
            with_attribute(CHAIN_TYPE, kind),
        ];
        message(NEW_CHAIN, &attributes.concat())
    }

    #[test]
    fn a_nat_chain_at_prerouting_translates_what_comes_in_and_no_other_does() {
        for (kind, hook, expected) in [
            (&b"nat\0"[..], 0, true),
            (b"nat\0", 4, false),
            (b"filter\0", 0, false),
        ] {
            let mut found = false;
            let datagram = [chain(b"route\0", 3), chain(kind, hook)].concat();
            assert_eq!(read(&datagram, &mut found), Read::More);
            assert_eq!(found, expected, "{kind:?} {hook}");
        }
        let done = message(NLMSG_DONE, &[0; 4]);
        assert_eq!(read(&done, &mut false), Read::Done);
        let refused = message(NLMSG_ERROR, &(-libc::EPERM).to_ne_bytes());
        assert_eq!(read(&refused, &mut false), Read::Failed(libc::EPERM));
    }

    #[test]
    fn damaged_answers_end() {
        let whole = chain(b"nat\0", 0);
        for length in 0..whole.len() {
            let _ = read(&whole[..length], &mut false);
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] = 0;
            let _ = read(&bytes, &mut false);
        }
    }
}
