//! Whole frames in and out of a host's interface.
use std::{io, mem::MaybeUninit};

use anyhow::Result;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use crate::lab::{Host, INTERFACE};

/// A packet socket.
#[derive(Debug)]
pub struct Packets {
    socket: Socket,
    ifindex: libc::c_int,
}

impl Packets {
    /// Opens it inside a host.
    pub fn open(host: &Host) -> Result<Self> {
        Self::bound(host, libc::ETH_P_ALL)
    }

    /// One that hears nothing, and so costs nothing but what it sends.
    pub fn sender(host: &Host) -> Result<Self> {
        Self::bound(host, 0)
    }

    fn bound(host: &Host, ethertype: libc::c_int) -> Result<Self> {
        let index = libc::c_int::try_from(host.interface_index(INTERFACE)?)?;
        let socket = host.inside(|| {
            let kind = Type::RAW.cloexec().nonblocking();
            let socket = Socket::new(Domain::PACKET, kind, Some(Protocol::from(0)))?;
            socket.bind(&link_address(index, ethertype))?;
            io::Result::Ok(socket)
        })??;
        Ok(Self {
            socket,
            ifindex: index,
        })
    }

    /// Sends a whole frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket
            .send_to(frame, &link_address(self.ifindex, 0))
            .map(drop)
    }

    /// The next frame; `None` when nothing waits.
    pub fn next<'a>(&self, buffer: &'a mut [MaybeUninit<u8>]) -> io::Result<Option<&'a [u8]>> {
        match self.socket.recv(buffer) {
            // SAFETY: the kernel has written the first `length` bytes, at most all of the buffer.
            Ok(length) => Ok(Some(unsafe { buffer[..length].assume_init_ref() })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "constants, in the types of struct sockaddr_ll"
)]
fn link_address(ifindex: libc::c_int, ethertype: libc::c_int) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the kernel's socket addresses and smaller than the storage.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = (ethertype as u16).to_be();
    link.sll_ifindex = ifindex;
    // SAFETY: the storage holds a whole sockaddr_ll of family AF_PACKET.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}
