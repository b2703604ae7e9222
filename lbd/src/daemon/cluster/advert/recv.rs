//! `recvmsg` with the two control messages that an IPv6 advert is judged by.
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::ptr;

use socket2::{SockAddrStorage, Socket};

/// One datagram.
#[derive(Debug)]
pub(super) struct Received<'a> {
    pub(super) source: IpAddr,
    /// IPv6 only.
    pub(super) destination: Option<IpAddr>,
    /// IPv6 only.
    pub(super) hop_limit: Option<u8>,
    pub(super) bytes: &'a [u8],
}

/// Room for `IPV6_PKTINFO` and `IPV6_HOPLIMIT`, aligned as control messages want it.
#[repr(C, align(8))]
struct Control([u8; 128]);

/// Has each packet come with the address it was sent to.
pub(super) fn set_recv_packet_info_v6(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVPKTINFO,
            (&raw const on).cast(),
            socklen::<libc::c_int>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Receives one datagram; it is cut where `buffer` ends.
pub(super) fn receive<'a>(
    socket: &Socket,
    buffer: &'a mut [MaybeUninit<u8>],
) -> io::Result<Received<'a>> {
    let mut storage = SockAddrStorage::zeroed();
    let mut control = Control([0; 128]);
    let mut vector = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zeros is a valid msghdr.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = ptr::from_mut(&mut storage).cast();
    message.msg_namelen = storage.size_of();
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    // SAFETY: every pointer in `message` is to a local that outlives the call, with its length.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has written an address of that length.
    let address = unsafe { socket2::SockAddr::new(storage, message.msg_namelen) };
    let source = address
        .as_socket()
        .ok_or_else(|| io::Error::other("a packet without a source address"))?
        .ip();
    let (destination, hop_limit) = control_messages(&message);
    // SAFETY: the kernel has written the first `length` bytes of the buffer, at most all of it.
    let bytes = unsafe { buffer[..length].assume_init_ref() };
    Ok(Received {
        source,
        destination,
        hop_limit,
        bytes,
    })
}

fn control_messages(message: &libc::msghdr) -> (Option<IpAddr>, Option<u8>) {
    let (mut destination, mut hop_limit) = (None, None);
    // SAFETY: the kernel has filled the control buffer that `message` points to, and it still
    // lives; CMSG_FIRSTHDR and CMSG_NXTHDR stay within its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: not null, so it is a whole header in the control buffer.
        let (level, kind, length) = unsafe {
            (
                (*header).cmsg_level,
                (*header).cmsg_type,
                (*header).cmsg_len,
            )
        };
        // SAFETY: as above; the data follow the header.
        let data = unsafe { libc::CMSG_DATA(header) };
        if level == libc::IPPROTO_IPV6
            && kind == libc::IPV6_PKTINFO
            && length >= cmsg_len::<libc::in6_pktinfo>()
        {
            // SAFETY: the message is long enough for the structure; it may be unaligned.
            let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
            destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
        } else if level == libc::IPPROTO_IPV6
            && kind == libc::IPV6_HOPLIMIT
            && length >= cmsg_len::<libc::c_int>()
        {
            // SAFETY: the message is long enough for an int; it may be unaligned.
            let hops = unsafe { data.cast::<libc::c_int>().read_unaligned() };
            hop_limit = u8::try_from(hops).ok();
        }
        // SAFETY: `header` is within the control buffer of `message`.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    (destination, hop_limit)
}

fn cmsg_len<T>() -> usize {
    // SAFETY: computes a length, reads nothing.
    unsafe { libc::CMSG_LEN(socklen::<T>()) as usize }
}

#[expect(clippy::cast_possible_truncation, reason = "structures of a few bytes")]
const fn socklen<T>() -> u32 {
    size_of::<T>() as u32
}
