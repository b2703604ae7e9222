//! The Ethernet header with its tags, while what is behind it changes its length.
use lbd_common::backend::Backend;
use lbd_ebpf::{
    frame::{Frame, put_u16, put_u32, u16_at, u32_at},
    parse::Link,
};

use crate::packet::Packet;

/// A MAC as two words in memory order.
#[derive(Clone, Copy)]
struct Mac(u32, u16);

/// An Ethernet header without the type of what follows.
pub(crate) struct Ethernet {
    to: Mac,
    from: Mac,
    /// Each with its own type before it.
    tags: [u32; 2],
    tag_count: u32,
}

impl Ethernet {
    /// The frame's. Every frame with an IP header has 22 bytes.
    #[inline(always)]
    pub(crate) fn of(packet: &Packet, link: &Link) -> Option<Self> {
        let head = packet.window::<22>(0)?;
        Some(Self {
            to: Mac(u32_at(head, 0), u16_at(head, 4)),
            from: Mac(u32_at(head, 6), u16_at(head, 10)),
            tags: [u32_at(head, 12), u32_at(head, 16)],
            tag_count: match link.network {
                14 => 0,
                18 => 1,
                _ => 2,
            },
        })
    }

    /// To a backend's next hop. The tags are those of the segment that the frame came from: on
    /// another interface they would name something else, and there the frame goes without.
    #[inline(always)]
    pub(crate) fn towards(self, backend: &Backend, ingress_ifindex: u32) -> Self {
        let stays = backend.ifindex == ingress_ifindex;
        Self {
            to: Mac(u32_at(&backend.mac, 0), u16_at(&backend.mac, 4)),
            from: Mac(
                u32_at(&backend.source_mac, 0),
                u16_at(&backend.source_mac, 4),
            ),
            tag_count: if stays { self.tag_count } else { 0 },
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

    /// Its bytes.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        match self.tag_count {
            0 => 14,
            1 => 18,
            _ => 22,
        }
    }

    /// Writes it to the start of the frame; `None` if that is too short.
    #[inline(always)]
    pub(crate) fn write(&self, packet: &mut Packet, ethertype: u16) -> Option<()> {
        let head = packet.window_mut::<22>(0)?;
        put_u32(head, 0, self.to.0);
        put_u16(head, 4, self.to.1);
        put_u32(head, 6, self.from.0);
        put_u16(head, 10, self.from.1);
        match self.tag_count {
            0 => put_u16(head, 12, ethertype),
            1 => {
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
