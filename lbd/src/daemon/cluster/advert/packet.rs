//! Packet sockets: announcements out, rivals' claims in.
use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::settings::Placed;
use crate::units::Mac;
use crate::vrrp::announce::{AddressClaim, announcement_by, parse_claim};
use crate::vrrp::question::question;

/// The longest frame of interest: a neighbour advertisement with a few options.
const FRAME_BYTES: usize = 256;

/// Sends announcements, and questions on one interface, and waits for nothing.
#[derive(Debug)]
pub(super) struct Announcer {
    socket: Socket,
    ifindex: u32,
}

impl Announcer {
    pub(super) fn open(ifindex: u32) -> io::Result<Self> {
        // Protocol 0: it receives nothing.
        let kind = Type::RAW.cloexec().nonblocking();
        let socket = Socket::new(Domain::PACKET, kind, None)?;
        Ok(Self { socket, ifindex })
    }

    /// Says where a virtual address is, on the interface where it belongs.
    pub(super) fn announce(&self, vip: &Placed) -> io::Result<()> {
        self.announce_at(vip, vip.mac)
    }

    /// Says that a virtual address is at another box.
    pub(super) fn announce_at(&self, vip: &Placed, mac: Mac) -> io::Result<()> {
        let frame = announcement_by(vip.address, mac, vip.mac);
        // The addresses are in the frame; the kernel wants the interface only.
        self.socket.send_to(&frame, &link_address(vip.ifindex, 0))?;
        Ok(())
    }

    /// Asks the box that has `address`, from our address `own`; false when that is of another family.
    pub(super) fn ask(&self, address: IpAddr, own: IpAddr, mac: Mac) -> io::Result<bool> {
        let Some(frame) = question(address, own, mac) else {
            return Ok(false);
        };
        self.socket
            .send_to(&frame, &link_address(self.ifindex, 0))?;
        Ok(true)
    }
}

/// Hears who claims an address, in one family.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
}

impl Listener {
    /// ARP.
    pub(super) fn arp(ifindex: u32) -> io::Result<Self> {
        Self::open(ifindex, libc::ETH_P_ARP, None)
    }

    /// Neighbour advertisements: what else there is of IPv6 is filtered in the kernel.
    pub(super) fn neighbour_advertisements(ifindex: u32) -> io::Result<Self> {
        Self::open(ifindex, libc::ETH_P_IPV6, Some(&NEIGHBOUR_ADVERTISEMENTS))
    }

    fn open(ifindex: u32, ethertype: libc::c_int, filter: Option<&[Step]>) -> io::Result<Self> {
        // Bound last, so that nothing comes before the filter is there.
        let socket = Socket::new(
            Domain::PACKET,
            Type::RAW.cloexec().nonblocking(),
            Some(Protocol::from(0)),
        )?;
        if let Some(filter) = filter {
            let steps: Vec<socket2::SockFilter> = filter
                .iter()
                .map(|step| socket2::SockFilter::new(step.0, step.1, step.2, step.3))
                .collect();
            socket.attach_filter(&steps)?;
        }
        socket.bind(&link_address(ifindex, ethertype))?;
        Ok(Self { socket })
    }

    /// The next frame, and what it claims; `None` when nothing waits. One frame at a time: the caller
    /// counts also those that claim nothing, so that a flood of them keeps it from nothing.
    #[expect(
        clippy::option_option,
        reason = "the outer one is a frame, the inner what it claims"
    )]
    pub(super) fn next(&self) -> io::Result<Option<Option<AddressClaim>>> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); FRAME_BYTES];
        let length = match self.socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        // SAFETY: the kernel has written the first `length` bytes, at most all of the buffer.
        let frame = unsafe { buffer[..length].assume_init_ref() };
        Ok(Some(parse_claim(frame)))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Code, jumps when true and false, operand: `struct sock_filter`.
struct Step(u16, u8, u8, u32);

/// Classic BPF: next header 58 at byte 20 of the frame, type 136 at byte 54.
const NEIGHBOUR_ADVERTISEMENTS: [Step; 6] = [
    Step(0x30, 0, 0, 20),
    Step(0x15, 0, 3, 58),
    Step(0x30, 0, 0, 54),
    Step(0x15, 0, 1, 136),
    Step(0x06, 0, 0, u32::MAX),
    Step(0x06, 0, 0, 0),
];

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "constants and interface numbers, in the types of struct sockaddr_ll"
)]
fn link_address(ifindex: u32, ethertype: libc::c_int) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the kernel's socket addresses and smaller than the storage.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = (ethertype as u16).to_be();
    link.sll_ifindex = ifindex as libc::c_int;
    // SAFETY: the storage holds a whole sockaddr_ll of family AF_PACKET.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}
