//! A client's segment, as every stage after [`super::classify`] has it.
use lbd_ebpf::wire::parse::tcp_flag;

use crate::xdp::{
    family::{Family, Key, V4, V6, key4, key6},
    forward::translate::Ends,
    tables::vip::{service, vip4, vip6},
};

/// A TCP segment for a served port of a VIP, which no box of the cluster has steered here.
pub(crate) struct ForVip<const K: usize> {
    /// Who talks to which VIP.
    pub(crate) key: Key<K>,
    /// Of the key.
    pub(crate) hash: u64,
    /// Bits of [`tcp_flag`].
    pub(crate) flags: u8,
    /// Whether it carries data.
    pub(crate) has_payload: bool,
    /// The port of the VIP. Network byte order.
    pub(crate) port_be: u16,
    /// Whether it is the first part of a packet that comes in several.
    pub(crate) is_part: bool,
}

impl<const K: usize> ForVip<K> {
    /// Stands for the session of this key, as if a segment with these flags had come.
    #[inline(always)]
    pub(crate) fn named(key: Key<K>, hash: u64, flags: u8) -> Self {
        Self {
            key,
            hash,
            flags,
            has_payload: false,
            port_be: 0,
            is_part: false,
        }
    }

    /// What it does, as a number that a function of its own can take.
    #[inline(always)]
    pub(crate) fn what(&self) -> u32 {
        self.flags as u32 | (self.has_payload as u32) << 8
    }

    /// Stands for a segment of this key that does `what`.
    #[inline(always)]
    pub(crate) fn from_what(key: Key<K>, what: u32) -> Self {
        Self {
            key,
            hash: 0,
            flags: what as u8,
            has_payload: what & 1 << 8 != 0,
            port_be: 0,
            is_part: false,
        }
    }

    /// Whether the client asks for a new connection.
    #[inline(always)]
    pub(crate) fn is_syn(&self) -> bool {
        self.flags & (tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST | tcp_flag::FIN)
            == tcp_flag::SYN
    }

    /// Whether it ends the session at once.
    #[inline(always)]
    pub(crate) fn is_reset(&self) -> bool {
        self.flags & tcp_flag::RST != 0
    }

    /// Whether it is a segment of a session that goes on.
    #[inline(always)]
    pub(crate) fn is_data(&self) -> bool {
        self.flags & (tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST | tcp_flag::FIN)
            == tcp_flag::ACK
    }
}

/// The frame of an IPv4 segment with these ends, as far as it is known by them.
#[inline(always)]
pub(crate) fn frame4(ends: &Ends) -> Option<ForVip<1>> {
    let vip_id = service(vip4(ends.destination[0])?, ends.destination_port_be)?;
    let key = key4(ends.source[0], ends.source_port_be, vip_id);
    Some(ForVip::named(key, V4::hash(&key), ends.flags))
}

/// Likewise, IPv6.
#[inline(always)]
pub(crate) fn frame6(ends: &Ends) -> Option<ForVip<3>> {
    let vip_id = service(vip6(ends.destination)?, ends.destination_port_be)?;
    let key = key6(ends.source, ends.source_port_be, vip_id);
    Some(ForVip::named(key, V6::hash(&key), ends.flags))
}
