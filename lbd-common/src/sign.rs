//! What tells whether a backend's box lives, and how far its word goes.

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
}

/// An entry of `SIGNS`, by backend id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sign {
    /// When the box last gave a sign of life: an advert, a datagram of the channel, a confirmed session,
    /// an answered health check (the daemon writes it), or a reply of a `nat` backend (the program
    /// does). Nanoseconds of `CLOCK_MONOTONIC`; 0 is never.
    pub last_ns: u64,
    /// SYNs that came again while the backend gave no sign of life since they came first. Anybody can
    /// send those: a reason to look at it, and no proof.
    pub unanswered: u64,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Reserved, 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Sign>() == 24 && align_of::<Sign>() == 8);
