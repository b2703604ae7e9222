//! What the cluster knows of a backend besides its address and its weight: whether its box lives, how far
//! its word goes, what waits there already, and how much it takes.

/// Bits of [`Sign::flags`].
pub mod flag {
    /// What the cluster knows speaks against it: it gets no new session while another backend can take
    /// it, and its half-open flows move with the client's next SYN. Open sessions stay.
    pub const SUSPECT: u32 = 1;
    /// Its box tells this one of every session that its kernel opens and ends, at once, and is heard at
    /// least each second. Its word counts, and a client's FIN or RST means nothing.
    pub const SPEAKS: u32 = 2;
    /// Its box runs lbd: a SYN that is steered to it is marked, by which the box knows it from that of a
    /// client, and the mark is taken off there.
    pub const TAKES_MARK: u32 = 4;
    /// The services in [`Sign::no_listener`](super::Sign::no_listener) are refused by its box: nothing there
    /// hands them to another stack. It gets no new session of them while another backend can take it.
    pub const REFUSES: u32 = 8;
}

/// The bit of a service in [`Sign::no_listener`]. Where there are more than 64 services, several share one.
#[inline(always)]
#[must_use]
pub const fn service_bit(vip_id: u16) -> u64 {
    1 << (vip_id & 63)
}

/// An entry of `SIGNS`, by backend id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sign {
    /// When the box last gave a sign of life: an advert, a datagram of the channel, a confirmed session,
    /// an answered health check (the daemon writes it), or a reply of a `nat` backend (the program
    /// does). Nanoseconds of `CLOCK_MONOTONIC`; 0 is never.
    pub last_ns: u64,
    /// SYNs that came again while the backend gave no sign of life since they came first. Any host can
    /// send those: a reason to look at it, and no proof.
    pub unanswered: u64,
    /// Bits of [`flag`].
    pub flags: u32,
    /// What the box's queue counts for in addition to its open sessions, in sessions. Written by the daemon, every
    /// second; 0 where nothing fresh is known.
    pub queued_sessions: u32,
    /// Sessions that it takes at most; 0 is no limit.
    pub session_limit: u32,
    /// Reserved, 0.
    pub reserved: u32,
    /// Services, by [`service_bit`], for which its box says that it has no listening socket of its own. Of
    /// their sessions it cannot speak.
    pub no_listener: u64,
    /// Sessions with it that the program itself has found proven: by what the backend replied, or by what the
    /// client of one that tells nothing went on to send.
    pub proven: u64,
    /// Reserved, 0.
    pub reserved_words: [u64; 2],
}

// A cache line each: the choice reads all that it needs of a backend here at once, and a reply of one
// backend does not take the line of another away.
const _: () = assert!(size_of::<Sign>() == 64 && align_of::<Sign>() == 8);
