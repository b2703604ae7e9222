//! The Ethernet header with its tags, once what is behind it has another length: the old one stands
//! some bytes further on, and is written anew at the frame's start.
//!
//! Read and written after the frame's start has moved, so that nothing of it is kept on the stack
//! while that happens.
use lbd_common::backend::Backend;
use lbd_ebpf::wire::frame::{Frame, put_u16, put_u32, u16_at, u32_at};

use crate::xdp::packet::Packet;

/// Bytes of the longest: with two tags.
const LONGEST: usize = 22;

/// A MAC as two words in memory order.
#[derive(Clone, Copy)]
struct Mac(u32, u16);

/// An Ethernet header without the type of what follows.
pub(crate) struct Ethernet {
    to: Mac,
    from: Mac,
    /// Each with its own type before it.
    tags: [u32; 2],
    /// 14, 18 or 22 bytes.
    length: usize,
}

impl Ethernet {
    /// The header that stands at `offset`, with as many of its tags as `length` bytes have. A frame
    /// with an IP header has 22 bytes there in any case.
    #[inline(always)]
    pub(crate) fn at(packet: &Packet, offset: usize, length: usize) -> Option<Self> {
        let head = packet.window::<LONGEST>(offset)?;
        Some(Self {
            to: Mac(u32_at(head, 0), u16_at(head, 4)),
            from: Mac(u32_at(head, 6), u16_at(head, 10)),
            tags: [u32_at(head, 12), u32_at(head, 16)],
            length,
        })
    }

    /// To a backend's next hop.
    #[inline(always)]
    pub(crate) fn towards(self, backend: &Backend) -> Self {
        Self {
            to: Mac(u32_at(&backend.mac, 0), u16_at(&backend.mac, 4)),
            from: Mac(
                u32_at(&backend.source_mac, 0),
                u16_at(&backend.source_mac, 4),
            ),
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
        put_u32(head, 0, self.to.0);
        put_u16(head, 4, self.to.1);
        put_u32(head, 6, self.from.0);
        put_u16(head, 10, self.from.1);
        match self.length {
            14 => put_u16(head, 12, ethertype),
            18 => {
                put_u32(head, 12, self.tags[0]);
                put_u16(head, 16, ethertype);
            }
            _ => {
                put_u32(head, 12, self.tags[0]);
                put_u32(head, 16, self.tags[1]);
                put_u16(head, 20, ethertype);
            }
        }
        Some(())
    }
}
