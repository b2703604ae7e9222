//! Whether this box's own stack has a session.
//!
//! A socket is looked for only where sockets say something: a mail server behind a port redirection
//! of the box's own (in a container, say) has its sockets elsewhere, and to this stack every session
//! would look like another socket's, even with a listener of the redirection's on the same port. So a
//! service's missing sockets count as missing only while some were found.
use aya_ebpf::{
    bindings::{
        BPF_F_CURRENT_NETNS, BPF_TCP_LISTEN, bpf_sock, bpf_sock_tuple,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2,
        xdp_md,
    },
    helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp, bpf_tcp_check_syncookie},
    programs::XdpContext,
};
use lbd_common::maps::{OWN_NOTED_NS, OWN_TRUSTED_NS};
use lbd_ebpf::wire::{
    field::{ipv4, ipv6, tcp},
    frame::Frame,
    mark,
    parse::{Ipv4, Ipv6, Tcp, tcp_flag},
};

use super::segment::ForVip;
use crate::xdp::{
    code,
    family::Family,
    forward::translate::Place,
    packet::Packet,
    tables::{
        clock,
        maps::OWN_SEEN,
        vip::{service, vip4, vip6},
    },
};

/// Whose the session of a segment for a VIP is, by [`code::WHOSE`].
#[inline(always)]
pub(crate) fn find(packet: &Packet) -> u32 {
    find_socket(packet.context().ctx)
}

/// Keeps in mind that sessions of this service have sockets here, with one look a minute: the director
/// passes its own sessions up without a look, and is handed frames as soon as another one directs.
#[inline(always)]
pub(crate) fn note<const K: usize, F: Family<K>>(packet: &Packet, frame: &ForVip<K>) {
    let (_, _, vip_id) = F::parts(&frame.key);
    if frame.is_data() && age(vip_id).is_none_or(|age| age > OWN_NOTED_NS) {
        find(packet);
    }
}

/// Nanoseconds since an own socket of this service was noted; `None` if none ever was.
#[inline(always)]
fn age(vip_id: u16) -> Option<u64> {
    let seen = OWN_SEEN.get_ptr_mut(vip_id as u32)?;
    // SAFETY: a live, aligned map value, that other CPUs use too: read whole.
    let seen = unsafe { seen.read_volatile() };
    // A time to come is now.
    let age = clock::coarse_ns().wrapping_sub(seen).cast_signed().max(0);
    (seen != 0).then_some(age as u64)
}

/// A function of its own, that parses the frame anew: the kernel verifies it once, and it keeps
/// nothing on the stack while the frame is sent on.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn find_socket(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    whose(&packet).unwrap_or(code::UNKNOWN)
}

#[inline(always)]
fn whose(packet: &Packet) -> Option<u32> {
    let place = Place::find(packet)?;
    let tcp = Tcp(packet.window(place.transport)?);
    let marked = if mark::is_set(tcp.0) { code::MARKED } else { 0 };
    if tcp.flags() & tcp_flag::SYN != 0 {
        let others = tcp_flag::ACK | tcp_flag::RST | tcp_flag::FIN;
        let begins = tcp.flags() & others == 0;
        return Some(code::UNKNOWN | marked | if begins { code::BEGINS } else { 0 });
    }
    let vip = if place.is_v4 {
        vip4(Ipv4::at(packet, place.network)?.destination())
    } else {
        vip6(Ipv6::at(packet, place.network)?.destination())
    };
    let vip_id = service(vip?, tcp.destination_port_be())?;
    if has_socket(packet, place)? {
        if age(vip_id).is_none_or(|age| age > OWN_NOTED_NS)
            && let Some(seen) = OWN_SEEN.get_ptr_mut(vip_id as u32)
        {
            // SAFETY: as in `age`; whichever CPU writes last wrote the truth.
            unsafe { seen.write_volatile(clock::coarse_ns()) };
        }
        return Some(code::OWN | marked);
    }
    let is_told = age(vip_id).is_some_and(|age| age < OWN_TRUSTED_NS);
    Some(if is_told {
        code::NOT_OWN | marked
    } else {
        code::UNKNOWN | marked
    })
}

/// As the kernel wants what is copied to the stack by words of eight bytes.
#[repr(C, align(8))]
struct Aligned<T>(T);

/// Whether the session has a socket here: an open one, a half-open one, or one that waits for the
/// last segments. A listener is none, unless the segment answers a SYN cookie of it.
///
/// What names the socket goes straight from the packet to where the helper reads it, because the
/// kernel allows little stack.
#[inline(always)]
fn has_socket(packet: &Packet, place: Place) -> Option<bool> {
    let socket = if place.is_v4 {
        let ip = Ipv4::at(packet, place.network)?;
        let tcp = Tcp(packet.window(place.transport)?);
        let mut tuple = Aligned(bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 {
            saddr: ip.source(),
            daddr: ip.destination(),
            sport: tcp.source_port_be(),
            dport: tcp.destination_port_be(),
        });
        look_up(packet, (&raw mut tuple).cast(), 12)
    } else {
        let ip = Ipv6::at(packet, place.network)?;
        let tcp = Tcp(packet.window(place.transport)?);
        let mut tuple = Aligned(bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 {
            saddr: ip.source(),
            daddr: ip.destination(),
            sport: tcp.source_port_be(),
            dport: tcp.destination_port_be(),
        });
        look_up(packet, (&raw mut tuple).cast(), 36)
    };
    if socket.is_null() {
        return Some(false);
    }
    // SAFETY: the helper gave a socket, which the kernel keeps until it is released.
    let is_listener = unsafe { (*socket).state } == BPF_TCP_LISTEN;
    let has = !is_listener || answers_cookie(packet, place, socket);
    // SAFETY: as above, once.
    unsafe { bpf_sk_release(socket.cast()) };
    Some(has)
}

#[inline(always)]
fn look_up(packet: &Packet, tuple: *mut bpf_sock_tuple, bytes: u32) -> *mut bpf_sock {
    let (ctx, netns) = (packet.context().ctx, BPF_F_CURRENT_NETNS as i64 as u64);
    // SAFETY: the tuple has as many bytes, which the helper only reads.
    unsafe { bpf_skc_lookup_tcp(ctx.cast(), tuple, bytes, netns, 0) }
}

/// Whether a segment answers a SYN cookie that the listener has sent (in a flood it keeps no half-open
/// sockets): it is about to become a session here.
#[inline(always)]
fn answers_cookie(packet: &Packet, place: Place, listener: *mut bpf_sock) -> bool {
    let Some(tcp) = packet.window::<{ tcp::HEADER }>(place.transport) else {
        return false;
    };
    let (tcp, tcp_bytes) = (tcp.as_ptr().cast_mut().cast(), tcp::HEADER as u32);
    let answers = if place.is_v4 {
        let Some(ip) = packet.window::<{ ipv4::HEADER }>(place.network) else {
            return false;
        };
        let (ip, ip_bytes) = (ip.as_ptr().cast_mut().cast(), ipv4::HEADER as u32);
        // SAFETY: both headers have as many bytes, which the helper only reads.
        unsafe { bpf_tcp_check_syncookie(listener.cast(), ip, ip_bytes, tcp, tcp_bytes) }
    } else {
        let Some(ip) = packet.window::<{ ipv6::HEADER }>(place.network) else {
            return false;
        };
        let (ip, ip_bytes) = (ip.as_ptr().cast_mut().cast(), ipv6::HEADER as u32);
        // SAFETY: as above.
        unsafe { bpf_tcp_check_syncookie(listener.cast(), ip, ip_bytes, tcp, tcp_bytes) }
    };
    answers == 0
}
