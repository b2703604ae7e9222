//! A netlink dump that blocks until it is complete.

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};

use crate::netlink_error::refusal;

/// The kernel fills datagrams up to this (`NLMSG_GOODSIZE` grows to the reader's buffer, at most
/// 32 KiB: `netlink_dump` in `net/netlink/af_netlink.c`).
const DATAGRAM_BYTES: usize = 32 * 1024;

/// Sends a dump request and calls `each` for every answer. `protocol` is a `NETLINK_` number.
pub(crate) fn dump<M>(protocol: isize, request: M, mut each: impl FnMut(M)) -> io::Result<()>
where
    M: NetlinkSerializable + NetlinkDeserializable,
{
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;

    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut datagram = vec![0; DATAGRAM_BYTES];
    loop {
        let length = match socket.recv(&mut &mut datagram[..], 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            length => length?.min(DATAGRAM_BYTES),
        };
        if answers(&datagram[..length], &mut each)? {
            return Ok(());
        }
    }
}

/// Reads the answers of one datagram. Whether they were the last.
pub(crate) fn answers<M>(datagram: &[u8], each: &mut impl FnMut(M)) -> io::Result<bool>
where
    M: NetlinkDeserializable,
{
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<M>::deserialize(rest)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        match message.payload {
            NetlinkPayload::InnerMessage(answer) => each(answer),
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => return Err(refusal(&error)),
            _ => {}
        }
        // Messages are aligned to four bytes, the last one of a datagram need not be.
        let step = (message.header.length as usize).next_multiple_of(4).max(16);
        rest = rest.get(step..).unwrap_or_default();
    }
    Ok(false)
}
