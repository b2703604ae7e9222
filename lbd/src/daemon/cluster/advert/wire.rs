//! The raw sockets of one family.
//!
//! Raw and not packet sockets: adverts pass the box's firewall as the operator wrote it.
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};

use super::recv;
use crate::vrrp::{GROUP_V4, GROUP_V6, PROTOCOL, TTL};

/// DSCP CS6, internetwork control: what keepalived and routers use.
const TRAFFIC_CLASS: u32 = 0xc0;
/// `TC_PRIO_CONTROL` of the kernel's queueing: before other traffic.
const QUEUE_PRIORITY: u32 = 7;

/// The longest advert: 255 IPv6 addresses and a trailer, with an IPv4 header's 60 bytes to spare.
const PACKET_BYTES: usize = 8 + 255 * 16 + 28 + 60;

/// A packet of protocol 112.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) ttl: u8,
    pub(super) payload: Vec<u8>,
}

/// Sends from one address, hears what comes to the group or to us.
#[derive(Debug)]
pub(super) struct Wire {
    source: IpAddr,
    ifindex: u32,
    /// Bound to the source; a filter keeps its own queue empty.
    sender: Socket,
    receiver: Socket,
}

impl Wire {
    /// Opens the sockets and joins the group of `source`'s family on the interface.
    pub(super) fn open(source: IpAddr, ifindex: u32) -> io::Result<Self> {
        let domain = if source.is_ipv4() {
            Domain::IPV4
        } else {
            Domain::IPV6
        };
        let kind = Type::RAW.cloexec().nonblocking();
        let socket = || Socket::new(domain, kind, Some(Protocol::from(i32::from(PROTOCOL))));
        let (sender, receiver) = (socket()?, socket()?);
        sender.attach_filter(&[SockFilter::new(0x06, 0, 0, 0)])?;
        sender.set_priority(QUEUE_PRIORITY)?;
        let index = NonZeroU32::new(ifindex);
        match source {
            IpAddr::V4(address) => {
                for socket in [&sender, &receiver] {
                    socket.bind_device_by_index_v4(index)?;
                }
                sender.set_multicast_ttl_v4(u32::from(TTL))?;
                sender.set_ttl_v4(u32::from(TTL))?;
                sender.set_tos_v4(TRAFFIC_CLASS)?;
                sender.set_multicast_loop_v4(false)?;
                sender.bind(&SocketAddr::from((address, 0)).into())?;
                receiver
                    .join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(ifindex))?;
            }
            IpAddr::V6(address) => {
                for socket in [&sender, &receiver] {
                    socket.bind_device_by_index_v6(index)?;
                }
                sender.set_multicast_if_v6(ifindex)?;
                sender.set_multicast_hops_v6(u32::from(TTL))?;
                sender.set_unicast_hops_v6(u32::from(TTL))?;
                sender.set_tclass_v6(TRAFFIC_CLASS)?;
                sender.set_multicast_loop_v6(false)?;
                sender.bind(&scoped(address, ifindex).into())?;
                receiver.set_recv_hoplimit_v6(true)?;
                recv::set_recv_packet_info_v6(&receiver)?;
                receiver.join_multicast_v6(&GROUP_V6, ifindex)?;
            }
        }
        Ok(Self {
            source,
            ifindex,
            sender,
            receiver,
        })
    }

    pub(super) fn source(&self) -> IpAddr {
        self.source
    }

    /// The group of this family.
    pub(super) fn group(&self) -> IpAddr {
        match self.source {
            IpAddr::V4(_) => GROUP_V4.into(),
            IpAddr::V6(_) => GROUP_V6.into(),
        }
    }

    pub(super) fn send(&self, message: &[u8], to: IpAddr) -> io::Result<()> {
        let to = match to {
            IpAddr::V4(address) => SocketAddr::from((address, 0)),
            IpAddr::V6(address) => scoped(address, self.ifindex),
        };
        self.sender.send_to(message, &to.into())?;
        Ok(())
    }

    /// The next packet; `None` when nothing waits.
    pub(super) fn next(&self) -> io::Result<Option<Packet>> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); PACKET_BYTES];
        let received = match recv::receive(&self.receiver, &mut buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(match received.source {
            IpAddr::V4(_) => of_ipv4(&received),
            IpAddr::V6(_) => Packet {
                source: received.source,
                destination: received.destination.unwrap_or(received.source),
                // Without the control message nothing proves where it came from.
                ttl: received.hop_limit.unwrap_or(0),
                payload: received.bytes.to_vec(),
            },
        }))
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

fn scoped(address: Ipv6Addr, ifindex: u32) -> SocketAddr {
    let scope = if address.is_unicast_link_local() || address.is_multicast() {
        ifindex
    } else {
        0
    };
    SocketAddrV6::new(address, 0, 0, scope).into()
}

/// A raw IPv4 socket gives the whole packet. The kernel has checked its header (`ip_rcv`), so what
/// does not fit here cannot come; it counts as an empty payload.
fn of_ipv4(received: &recv::Received<'_>) -> Packet {
    let bytes = received.bytes;
    let header_bytes = bytes
        .first()
        .map_or(0, |first| usize::from(first & 0xf) * 4);
    let destination = bytes
        .get(16..20)
        .and_then(<[u8]>::first_chunk::<4>)
        .map_or(Ipv4Addr::UNSPECIFIED, |octets| Ipv4Addr::from(*octets));
    Packet {
        source: received.source,
        destination: destination.into(),
        ttl: bytes.get(8).copied().unwrap_or(0),
        payload: bytes.get(header_bytes..).unwrap_or_default().to_vec(),
    }
}
