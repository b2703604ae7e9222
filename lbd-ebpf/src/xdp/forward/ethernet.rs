//! The Ethernet header with its tags, once what is behind it has another length: the old one stands
//! some bytes further on, and is written anew at the frame's start.
//!
//! Read and written after the frame's start has moved, so that nothing of it is kept on the stack
//! while that happens.
use lbd_common::backend::Backend;
use lbd_ebpf::wire::{
    field::ethernet::{DESTINATION, HEADER, MAC_TAIL, SOURCE, TAG, TYPE},
    frame::{Frame, put_u16, put_u32, u16_at, u32_at},
};

use crate::xdp::packet::Packet;

/// Bytes of a header with one tag.
const ONE_TAG: usize = HEADER + TAG;
/// Bytes of the longest: with two tags.
const LONGEST: usize = HEADER + 2 * TAG;
/// Where a second tag is, or the type behind one.
const SECOND: usize = TYPE + TAG;
/// Where the type behind two tags is.
const THIRD: usize = SECOND + TAG;

/// A MAC as two words in memory order.
#[derive(Clone, Copy)]
struct Mac(u32, u16);

impl Mac {
    #[inline(always)]
    fn at<const N: usize>(bytes: &[u8; N], at: usize) -> Self {
        Self(u32_at(bytes, at), u16_at(bytes, at + MAC_TAIL))
    }

    #[inline(always)]
    fn put<const N: usize>(self, bytes: &mut [u8; N], at: usize) {
        put_u32(bytes, at, self.0);
        put_u16(bytes, at + MAC_TAIL, self.1);
    }
}

/// An Ethernet header without the type of what follows.
pub(crate) struct Ethernet {
    to: Mac,
    from: Mac,
    /// Each with its own type before it.
    tags: [u32; 2],
    /// [`HEADER`], [`ONE_TAG`] or [`LONGEST`].
    length: usize,
}

impl Ethernet {
    /// The header that stands at `offset`, with as many of its tags as `length` bytes have. A frame
    /// with an IP header has [`LONGEST`] bytes there in any case.
    #[inline(always)]
    pub(crate) fn at(packet: &Packet, offset: usize, length: usize) -> Option<Self> {
        let head = packet.window::<LONGEST>(offset)?;
        Some(Self {
            to: Mac::at(head, DESTINATION),
            from: Mac::at(head, SOURCE),
            tags: [u32_at(head, TYPE), u32_at(head, SECOND)],
            length,
        })
    }

    /// To a backend's next hop.
    #[inline(always)]
    pub(crate) fn towards(self, backend: &Backend) -> Self {
        Self {
            to: Mac::at(&backend.mac, 0),
            from: Mac::at(&backend.source_mac, 0),
            ..self
        }
    }

    /// Back to where it came from.
    #[inline(always)]
    pub(crate) fn answered(self) -> Self {
        Self {
            to: self.from,
            from: self.to,
            ..self
        }
    }

    /// Writes it to the start of the frame; `None` if that is too short.
    #[inline(always)]
    pub(crate) fn write(&self, packet: &mut Packet, ethertype: u16) -> Option<()> {
        let head = packet.window_mut::<LONGEST>(0)?;
        self.to.put(head, DESTINATION);
        self.from.put(head, SOURCE);
        match self.length {
            HEADER => put_u16(head, TYPE, ethertype),
            ONE_TAG => {
                put_u32(head, TYPE, self.tags[0]);
                put_u16(head, SECOND, ethertype);
            }
            _ => {
                put_u32(head, TYPE, self.tags[0]);
                put_u32(head, SECOND, self.tags[1]);
                put_u16(head, THIRD, ethertype);
            }
        }
        Some(())
    }
}
