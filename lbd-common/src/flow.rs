//! The flow table: cache-line buckets in a BPF array, two candidate buckets a flow.
//!
//! A slot is a key and one 8-byte [`FlowWord`] that is read and replaced whole. The protocol that
//! keeps a reader from ever taking another flow's backend:
//!
//! - *claim*: compare-and-swap the word from a free (or displaceable) value to `CLAIMING` with the
//!   new flow's tag; then write the key; then store the final word.
//! - *read*: compare the key, load the word, accept it only if it is live and its tag is the
//!   reader's own, then compare the key once more.
//! - *change* (promote, mark, end, touch, expire): compare-and-swap the word. Who wins counts `LOAD`.
//!
//! # Memory model
//!
//! The protocol needs two orders: a writer's claim, key and final word become visible in that order, and
//! a reader loads key, word and key in that order.
//!
//! | | the daemon (`lbd/src/flows/table.rs`) | the XDP program |
//! |---|---|---|
//! | changes the word | compare-exchange, `AcqRel` | `BPF_CMPXCHG`: fully ordered, as the kernel defines it |
//! | writes the key | `Release` stores, between two compare-exchanges | plain stores, between two `BPF_CMPXCHG` |
//! | reads key, word, key | `Acquire` loads | plain (volatile) loads: kept in order by the compiler only |
//!
//! *x86*: plain loads are not reordered with loads, nor plain stores with stores (TSO). Both sides get both
//! orders, and the walk of all interleavings in `lbd/src/flows/interleavings.rs` covers what can happen.
//!
//! *arm64*: the daemon's orders hold, and so do the writers' orders on both sides, because the full barriers
//! of `BPF_CMPXCHG` enclose the key. Nothing orders the plain loads of the XDP program's reader: BPF had no
//! load-acquire before Linux 6.15. It may therefore see the key of the old flow with the word of the new one,
//! or the reverse. The tag in the word, 16 bits of the flow's hash, is what is left then: such a frame is
//! missteered only if the slot changes hands during the lookup and both flows have the same tag.
mod key;
mod rules;

pub use key::{parts4, parts6, words4, words6};
pub use rules::{
    FINE_SHIFT, ON_ITS_WAY_UNITS, PROVING_FRAMES, RESEND_FINE, RESEND_UNSURE_FINE, age, fine_age,
    is_kept, is_live, keep_order,
};

/// Values of [`FlowWord::state`].
///
/// A state says what is *known*. What a client's frames say is a claim: a stranger can forge them. Only
/// the backend's box knows (by its kernel's socket, or by what it replies where the replies pass the
/// director).
///
/// ```text
///   SYN ───▶ HALF_OPEN ──the client's ACK──▶ UNPROVEN ◀── adopted mid-flow frame
///                │                              │
///                │      the box has it, or      │      the box has it (its kernel; a reply through
///                │      its peer says so        │      `nat`), or no lbd there and PROVING_FRAMES
///                └────────────────┐  ┌──────────┘      with payload came from the client
///                                 ▼  ▼
///                             ESTABLISHED ◀──payload──┐
///                                 │  │                │
///                                 │  └──FIN, RST──▶ CLOSING    a mark: no lbd at the backend
///       the box has ended it      │                   │
///                                 ▼                   │
///   SYN begins anew ◀────────── ENDED ◀───────────────┘
///
///   denied, or its backend is dead:  any state ──▶ DOOMED    the next frame is answered with RST
///   not heard for the state's timeout:  any state ──▶ FREE   by the sweep
/// ```
/// A FIN or RST of a client of a box that runs lbd sets [`flag::CLIENT_ENDED`] and changes no state. A reply
/// through `nat` that ends a session ends it in each of the first four states.
pub mod state {
    /// Nothing here.
    pub const FREE: u8 = 0;
    /// Being written: the key must not be read, and the sweep frees the slot if it stays so.
    pub const CLAIMING: u8 = 1;
    /// A SYN was steered; the client has not answered yet.
    pub const HALF_OPEN: u8 = 2;
    /// The client's first ACK was seen, or a mid-flow frame was adopted; no box has confirmed the
    /// session. `FlowWord::seen` stays when it became so.
    pub const UNPROVEN: u8 = 3;
    /// The backend's box has confirmed it; for a backend without lbd, see [`super::PROVING_FRAMES`].
    pub const ESTABLISHED: u8 = 4;
    /// It was established, and FIN or RST came in its client's name. A mark and no end: TCP ignores
    /// what is out of its window (RFC 5961, section 3.2). The client's next payload takes it away.
    pub const CLOSING: u8 = 5;
    /// The backend's box has ended it: trailing frames follow it, a SYN starts anew.
    pub const ENDED: u8 = 6;
    /// Denied or dead: the next frame is answered with RST.
    pub const DOOMED: u8 = 7;
}

/// Bits of [`FlowWord::flags`]. The high four have another meaning in each state: see
/// [`FlowWord::fine`].
pub mod flag {
    /// This flow is counted in `LOAD`. Cleared, by compare-and-swap, by whoever un-counts it.
    pub const COUNTED: u8 = 1;
    /// Came from a peer over the cluster channel, and no frame of it was noted here since.
    pub const FROM_PEER: u8 = 2;
    /// A mid-flow frame made it, not a SYN.
    pub const ADOPTED: u8 = 4;
    /// FIN or RST came in the client's name, and was counted.
    pub const CLIENT_ENDED: u8 = 8;
}

/// `FlowWord::seen` counts in units of 2^30 ns (1.07 s) of `CLOCK_MONOTONIC`, and wraps after 19.5 h.
pub const SEEN_SHIFT: u32 = 30;

/// How old the last note of a flow's client becomes before a frame renews it, in the units of
/// `FlowWord::seen`: 4.3 s. A compare-and-swap is dear, and timeouts are longer by far.
pub const NOTED_UNITS: u16 = 4;

/// All that is known of a flow but its key. Read and replaced whole, as a `u64`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FlowWord {
    /// Backend id.
    pub backend: u16,
    /// One of [`state`].
    pub state: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Bits of the key's hash that do not choose the bucket.
    pub tag: u16,
    /// When the client was last heard: see [`SEEN_SHIFT`].
    pub seen: u16,
}

impl FlowWord {
    /// The word as the table's atomic operations take it.
    #[inline(always)]
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.backend as u64
            | (self.state as u64) << 16
            | (self.flags as u64) << 24
            | (self.tag as u64) << 32
            | (self.seen as u64) << 48
    }

    /// The inverse of [`Self::to_bits`].
    #[inline(always)]
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            backend: bits as u16,
            state: (bits >> 16) as u8,
            flags: (bits >> 24) as u8,
            tag: (bits >> 32) as u16,
            seen: (bits >> 48) as u16,
        }
    }

    /// The high four bits of its flags. Half-open: the sixteenths of a unit at which its SYN came, below
    /// `seen`. Unproven: frames with payload so far, up to [`PROVING_FRAMES`]. Otherwise 0.
    #[inline(always)]
    #[must_use]
    pub const fn fine(self) -> u8 {
        self.flags >> 4
    }

    /// The same with other high bits of its flags.
    #[inline(always)]
    #[must_use]
    pub const fn with_fine(self, fine: u8) -> Self {
        Self {
            flags: self.flags & 0xf | fine << 4,
            ..self
        }
    }
}

/// An IPv4 flow: source address, source port and VIP id in 8 bytes (see [`hash4`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Slot4 {
    /// Memory order, as in the IP header.
    pub source: u32,
    /// Network byte order.
    pub port_be: u16,
    /// [`crate::vip::VipPort::id`].
    pub vip_id: u16,
    /// The rest.
    pub word: FlowWord,
}

/// An IPv6 flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Slot6 {
    /// Memory order, as in the IP header.
    pub source: [u32; 4],
    /// Network byte order.
    pub port_be: u16,
    /// [`crate::vip::VipPort::id`].
    pub vip_id: u16,
    /// Reserved, 0.
    pub reserved: u32,
    /// The rest.
    pub word: FlowWord,
}

/// One cache line of `FLOWS4`.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bucket4 {
    /// Four flows.
    pub slots: [Slot4; 4],
}

/// One cache line of `FLOWS6`.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bucket6 {
    /// Two flows.
    pub slots: [Slot6; 2],
}

const _: () = assert!(size_of::<FlowWord>() == 8 && align_of::<FlowWord>() == 8);
const _: () = assert!(size_of::<Bucket4>() == 64 && size_of::<Bucket6>() == 64);

/// Buckets of `FLOWS4` by default: room for 2,097,152 flows, so that 1,000,000 find their place.
pub const BUCKETS4: u32 = 1 << 19;
/// Buckets of `FLOWS6` by default: room for 2,097,152 flows.
pub const BUCKETS6: u32 = 1 << 20;

/// The hash of an IPv4 flow: chooses its buckets, its tag and its ring candidates.
#[inline(always)]
#[must_use]
pub const fn hash4(source: u32, port_be: u16, vip_id: u16) -> u64 {
    crate::hash::mix((source as u64) << 32 | (port_be as u64) << 16 | vip_id as u64)
}

/// The hash of an IPv6 flow.
#[inline(always)]
#[must_use]
pub const fn hash6(source: [u32; 4], port_be: u16, vip_id: u16) -> u64 {
    let high = crate::hash::mix((source[0] as u64) << 32 | source[1] as u64);
    let low = (source[2] as u64) << 32 | source[3] as u64;
    let rest = crate::hash::mix(high ^ low);
    crate::hash::mix(rest ^ ((port_be as u64) << 16 | vip_id as u64))
}

/// The two candidate buckets in a table of `mask + 1` buckets.
#[inline(always)]
#[must_use]
pub const fn buckets(hash: u64, mask: u32) -> (u32, u32) {
    (hash as u32 & mask, (hash >> 32) as u32 & mask)
}

/// The tag: the hash's bits 22 to 31 and 54 to 59, above those that choose a default bucket.
#[inline(always)]
#[must_use]
pub const fn tag(hash: u64) -> u16 {
    (((hash >> 22) & 0x3ff) | ((hash >> 44) & 0xfc00)) as u16
}
