//! The backend's half of every session, from the kernel that has it.
//!
//! A director sees what a client sends, and anyone can forge that. This program runs where the box's TCP
//! changes a socket's state, at a session's beginning and end and never for a frame, and tells the
//! daemon of sessions on the served ports. What else was weighed:
//!
//! - `sock_ops` in the root cgroup must have asked each socket for its state changes when it was opened:
//!   it says nothing of the sessions that were open before, and needs the cgroup v2 file system.
//! - sock_diag's `SKNLGRP_INET_TCP_DESTROY` tells of ends alone, and only when the server has closed its
//!   descriptor, which may be minutes after the client's reset.
//! - the same tracepoint by its text format (`sock/inet_sock_set_state`) has no network namespace in it,
//!   and needs tracefs.
//!
//! The kernel's structs are read at offsets that the loader finds in the kernel's BTF and freezes into the
//! constants below; the verifier checks each of these reads against the same BTF.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("lbd-sock is loaded by lbd, it does not run by itself");
}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        Global,
        bindings::BPF_RB_NO_WAKEUP,
        btf_maps::{Array, PerCpuArray, RingBuf},
        helpers::generated::bpf_skc_to_tcp_sock,
        macros::{btf_map, btf_tracepoint},
        programs::BtfTracePointContext,
    };
    use lbd_common::sock::{
        SOCK_EVENT_BYTES, SOCK_PORT_WORDS, SockEvent, TELL_ALL, change, port_bit, port_word,
    };

    /// `struct sock_common`, at the start of every socket: where the fields lie, in bytes.
    #[unsafe(no_mangle)]
    static SKC_FAMILY: Global<u32> = Global::new(0);
    #[unsafe(no_mangle)]
    static SKC_DPORT: Global<u32> = Global::new(0);
    #[unsafe(no_mangle)]
    static SKC_DADDR: Global<u32> = Global::new(0);
    #[unsafe(no_mangle)]
    static SKC_RCV_SADDR: Global<u32> = Global::new(0);
    #[unsafe(no_mangle)]
    static SKC_V6_DADDR: Global<u32> = Global::new(0);
    #[unsafe(no_mangle)]
    static SKC_V6_RCV_SADDR: Global<u32> = Global::new(0);
    #[unsafe(no_mangle)]
    static SKC_NET: Global<u32> = Global::new(0);
    /// `struct inet_sock`. Not `skc_num`, which the kernel has cleared by the time at which a reset
    /// socket is closed (`tcp_set_state()` of net/ipv4/tcp.c).
    #[unsafe(no_mangle)]
    static INET_SPORT: Global<u32> = Global::new(0);
    /// `struct net`: the number of the namespace.
    #[unsafe(no_mangle)]
    static NET_INUM: Global<u32> = Global::new(0);
    /// The number of the daemon's own network namespace.
    #[unsafe(no_mangle)]
    static OWN_INUM: Global<u32> = Global::new(0);

    #[btf_map]
    // Of [`SockEvent`]; libbpf takes no value type for a ring buffer.
    static SOCK_EVENTS: RingBuf<(), { SOCK_EVENT_BYTES as usize }> = RingBuf::new();
    #[btf_map]
    static SOCK_PORTS: Array<u64, { SOCK_PORT_WORDS as usize }> = Array::new();
    #[btf_map]
    static SOCK_LOST: PerCpuArray<u64, 1> = PerCpuArray::new();

    /// Of include/net/tcp_states.h.
    mod tcp {
        pub(super) const ESTABLISHED: i32 = 1;
        pub(super) const SYN_RECV: i32 = 3;
        pub(super) const CLOSE: i32 = 7;
        pub(super) const CLOSE_WAIT: i32 = 8;
        pub(super) const LISTEN: i32 = 10;
    }

    const AF_INET: u16 = 2;

    /// What a change of state is, if it is told. A session is over when its server has closed it: what
    /// follows (FIN_WAIT, TIME_WAIT) is TCP's alone, and no load. One that its client has closed
    /// (CLOSE_WAIT) is not over before its server does so too.
    #[inline(always)]
    fn kind(old: i32, new: i32) -> Option<u8> {
        let is_open = |state| state == tcp::ESTABLISHED || state == tcp::CLOSE_WAIT;
        if old == tcp::SYN_RECV && new == tcp::ESTABLISHED {
            return Some(change::OPENED);
        }
        if (is_open(old) || old == tcp::SYN_RECV) && !is_open(new) {
            return Some(change::ENDED);
        }
        // A socket for a new session is a copy of the listener's: that one goes from LISTEN to SYN_RECV.
        let stops = old == tcp::LISTEN && new == tcp::CLOSE;
        (new == tcp::LISTEN || stops).then_some(change::LISTENER)
    }

    #[btf_tracepoint(function = "inet_sock_set_state")]
    fn lbd_sock(ctx: BtfTracePointContext) -> i32 {
        let _ = tell(&ctx);
        0
    }

    #[inline(always)]
    fn tell(ctx: &BtfTracePointContext) -> Option<()> {
        let change = kind(ctx.arg(1), ctx.arg(2))?;
        let socket: *mut core::ffi::c_void = ctx.arg(0);
        // SAFETY: the tracepoint hands a socket, which lives while this runs.
        let socket = unsafe { bpf_skc_to_tcp_sock(socket) } as *const u8;
        if socket.is_null() {
            return None;
        }
        // SAFETY: offsets of these fields in this kernel's structs; the verifier has checked them.
        let port_be: u16 = unsafe { field(socket, &INET_SPORT) };
        let is_served = ports(port_word(port_be)) & port_bit(port_be) != 0;
        if !is_served && (change == change::LISTENER || ports(TELL_ALL) == 0) {
            return None;
        }
        // SAFETY: as above. The namespace lives as long as its sockets.
        let inum: u32 = unsafe {
            let net: *const u8 = field(socket, &SKC_NET);
            field(net, &NET_INUM)
        };
        if inum != OWN_INUM.load() {
            return None;
        }
        let Some(mut entry) = SOCK_EVENTS.reserve_untyped::<SockEvent>(0) else {
            if let Some(lost) = SOCK_LOST.get_ptr_mut(0) {
                // SAFETY: this CPU's own copy.
                unsafe { *lost = (*lost).wrapping_add(1) };
            }
            return None;
        };
        entry.write(event(socket, port_be, change, (ctx.arg(1), ctx.arg(2))));
        // A wake-up costs more than all the rest: microseconds, where this is an emulated machine's
        // interrupt. The daemon looks by itself some fifty times a second.
        entry.submit(BPF_RB_NO_WAKEUP as u64);
        Some(())
    }

    /// A word of `SOCK_PORTS`.
    #[inline(always)]
    fn ports(word: u32) -> u64 {
        SOCK_PORTS.get(word).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn event(
        socket: *const u8,
        local_port_be: u16,
        change: u8,
        (old, new): (i32, i32),
    ) -> SockEvent {
        // SAFETY: see `tell`.
        let (family, remote_port_be): (u16, u16) =
            unsafe { (field(socket, &SKC_FAMILY), field(socket, &SKC_DPORT)) };
        // SAFETY: likewise; an IPv4 socket has no IPv6 addresses, and they are not read.
        let (remote, local) = unsafe {
            if family == AF_INET {
                (
                    [field(socket, &SKC_DADDR), 0, 0, 0],
                    [field(socket, &SKC_RCV_SADDR), 0, 0, 0],
                )
            } else {
                (
                    words(socket, &SKC_V6_DADDR),
                    words(socket, &SKC_V6_RCV_SADDR),
                )
            }
        };
        SockEvent {
            remote,
            local,
            remote_port_be,
            local_port_be,
            family: if family == AF_INET { 4 } else { 6 },
            change,
            old_state: old as u8,
            new_state: new as u8,
        }
    }

    /// A field of a kernel's struct.
    ///
    /// # Safety
    /// `at` is the offset of a field of `T` in what `object` points to.
    #[inline(always)]
    unsafe fn field<T: Copy>(object: *const u8, at: &Global<u32>) -> T {
        // SAFETY: by the caller's word.
        unsafe { object.add(at.load() as usize).cast::<T>().read_volatile() }
    }

    /// Four words of an IPv6 address.
    ///
    /// # Safety
    /// As of [`field`].
    #[inline(always)]
    unsafe fn words(object: *const u8, at: &Global<u32>) -> [u32; 4] {
        // SAFETY: by the caller's word.
        unsafe {
            let address = object.add(at.load() as usize).cast::<u32>();
            [
                address.read_volatile(),
                address.add(1).read_volatile(),
                address.add(2).read_volatile(),
                address.add(3).read_volatile(),
            ]
        }
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

#[cfg(all(target_arch = "bpf", not(test)))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
