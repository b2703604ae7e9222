//! Blocking requests to rtnetlink: one at a time, each answered before the next.
use std::io;
use std::os::fd::AsRawFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::HostError;
use crate::netlink_error::refusal;

/// How long an answer may take, in seconds. The kernel answers within the send itself unless
/// another process holds its configuration lock (RTNL): milliseconds, seldom a second.
const ANSWER_WITHIN_S: i64 = 5;

/// How often a dump is repeated that the kernel says was cut across by a change.
const DUMP_TRIES: u32 = 4;

/// A connection to rtnetlink in the network namespace of the thread that opened it.
pub(super) struct Netlink {
    socket: Socket,
    sequence_number: u32,
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Netlink")
            .field("fd", &self.socket.as_raw_fd())
            .finish_non_exhaustive()
    }
}

/// How an exchange ended without an answer to pass on.
enum Failure {
    /// The kernel said no.
    Refused(io::Error),
    /// Nothing came.
    Unanswered(io::Error),
    /// What came could not be read.
    Malformed(String),
}

impl Netlink {
    pub(super) fn open() -> Result<Self, HostError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(HostError::Socket)?;
        socket.bind_auto().map_err(HostError::Socket)?;
        socket
            .connect(&SocketAddr::new(0, 0))
            .map_err(HostError::Socket)?;
        answer_timeout(&socket).map_err(HostError::Socket)?;
        // Lets the kernel filter a dump by interface; one older than 4.20 sends everything, and
        // every caller filters again.
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self {
            socket,
            sequence_number: 0,
        })
    }

    /// Asks for a change; `flags` are `NLM_F_CREATE` and the like. `request` ends a sentence.
    pub(super) fn change(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        request: impl Fn() -> String,
    ) -> Result<(), HostError> {
        self.exchange(message, flags)
            .map(drop)
            .map_err(|failure| failure.of(request()))
    }

    /// Asks for one thing.
    pub(super) fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        request: impl Fn() -> String,
    ) -> Result<Vec<RouteNetlinkMessage>, HostError> {
        self.exchange(message, 0)
            .map(|(answers, _)| answers)
            .map_err(|failure| failure.of(request()))
    }

    /// Asks for all objects of a kind.
    pub(super) fn dump(
        &mut self,
        message: &RouteNetlinkMessage,
        request: impl Fn() -> String,
    ) -> Result<Vec<RouteNetlinkMessage>, HostError> {
        for _ in 1..DUMP_TRIES {
            let (answers, interrupted) = self
                .exchange(message.clone(), NLM_F_DUMP)
                .map_err(|failure| failure.of(request()))?;
            if !interrupted {
                return Ok(answers);
            }
        }
        // The table changes all the time: what there is now is as good as what a fifth try gives.
        self.exchange(message.clone(), NLM_F_DUMP)
            .map(|(answers, _)| answers)
            .map_err(|failure| failure.of(request()))
    }

    fn exchange(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(Vec<RouteNetlinkMessage>, bool), Failure> {
        self.sequence_number = self.sequence_number.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = self.sequence_number;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        retried(|| self.socket.send(&bytes, 0)).map_err(Failure::Unanswered)?;
        self.answers()
    }

    /// Reads until the acknowledgement or the end of the dump; answers to an earlier request that
    /// timed out are passed over.
    fn answers(&mut self) -> Result<(Vec<RouteNetlinkMessage>, bool), Failure> {
        let mut answers = Vec::new();
        let mut interrupted = false;
        loop {
            let (datagram, _) =
                retried(|| self.socket.recv_from_full()).map_err(Failure::Unanswered)?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let (message, after) = split(rest)?;
                rest = after;
                if message.header.sequence_number != self.sequence_number {
                    continue;
                }
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    NetlinkPayload::Done(_) => return Ok((answers, interrupted)),
                    NetlinkPayload::Error(error) if error.code.is_none() => {
                        return Ok((answers, interrupted));
                    }
                    NetlinkPayload::Error(error) => return Err(Failure::Refused(refusal(&error))),
                    _ => {}
                }
            }
        }
    }
}

impl Failure {
    fn of(self, request: String) -> HostError {
        match self {
            Self::Refused(error) => HostError::Refused { request, error },
            Self::Unanswered(error) => HostError::Unanswered { request, error },
            Self::Malformed(reason) => HostError::Malformed { request, reason },
        }
    }
}

/// The first message of a datagram, and what follows it.
fn split(bytes: &[u8]) -> Result<(NetlinkMessage<RouteNetlinkMessage>, &[u8]), Failure> {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes)
        .map_err(|error| Failure::Malformed(error.to_string()))?;
    let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
    // Messages are padded to four bytes (NLMSG_ALIGN); the last one's padding may be missing.
    let aligned = length.saturating_add(3) & !3;
    Ok((message, bytes.get(aligned..).unwrap_or_default()))
}

/// Again when a signal came in between: the advert thread must not take one for a refusal.
fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn answer_timeout(socket: &Socket) -> io::Result<()> {
    let timeout = libc::timeval {
        tv_sec: ANSWER_WITHIN_S,
        tv_usec: 0,
    };
    let length = libc::socklen_t::try_from(size_of_val(&timeout)).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open while `socket` lives, and the pointer and length describe
    // `timeout`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const timeout).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
