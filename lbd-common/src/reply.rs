//! What the replies of `nat` backends are translated back to.

/// Services (virtual address and port) that can stand before one address and port of a backend.
pub const MAX_REPLY_SERVICES: usize = 8;

/// A key of `REPLIES`: where a `nat` backend serves, and so where its replies come from.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ReplyKey {
    /// The backend's address: four words in memory order; an IPv4 address is in word 0.
    pub address: [u32; 4],
    /// The port that it serves, in network byte order.
    pub port_be: u16,
    /// 4 or 6.
    pub family: u16,
}

/// A service whose sessions are translated to a backend.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ReplyService {
    /// The virtual address: four words in memory order; an IPv4 address is in word 0.
    pub address: [u32; 4],
    /// Its port, in network byte order.
    pub port_be: u16,
    /// [`crate::vip::VipPort::id`]; 0 ends the list.
    pub id: u16,
}

/// An entry of `REPLIES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Reply {
    /// Backend id.
    pub backend: u32,
    /// The services, of which the flow table knows the right one for a client's address and port.
    pub services: [ReplyService; MAX_REPLY_SERVICES],
}

const _: () = assert!(size_of::<ReplyKey>() == 20 && align_of::<ReplyKey>() == 4);
const _: () = assert!(size_of::<ReplyService>() == 20 && size_of::<Reply>() == 164);
