//! The BPF program at the tracepoint, and what it tells.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
};

use aya::{
    Btf, Ebpf, EbpfLoader, Endianness,
    maps::{Array, MapData, PerCpuArray, RingBuf},
    programs::BtfTracePoint,
};
use lbd_common::sock::{
    SOCK_EVENTS, SOCK_LOST, SOCK_PORT_WORDS, SOCK_PORTS, SockEvent, TELL_ALL, change, port_bit,
    port_word,
};
use thiserror::Error;

use super::{Event, Session, offsets::Offsets, snapshot::canonical};
use crate::dataplane::{address, plain::Plain as _};

/// The ELF object with the program `lbd_sock` and its maps, aligned as the ELF reader wants it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lbd-sock"));

const PROGRAM: &str = "lbd_sock";
const TRACEPOINT: &str = "inet_sock_set_state";
/// The kernel's own types, the same in every mount of sysfs.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Why this box cannot tell of its sessions. It goes on without: its peers then know them by their
/// clients' half alone, as those of a backend without lbd.
#[derive(Debug, Error)]
pub enum SocketsError {
    /// The kernel was built without `CONFIG_DEBUG_INFO_BTF`.
    #[error("{KERNEL_BTF} cannot be read: {0}")]
    NoBtf(io::Error),
    /// The kernel's types are not as lbd knows them.
    #[error("the kernel's BTF {0}")]
    Btf(String),
    /// Which namespace this is is not known.
    #[error("/proc/thread-self/ns/net cannot be read: {0}")]
    NoNamespace(io::Error),
    /// sock_diag did not say which sessions are open.
    #[error("sock_diag did not say which sessions are open: {0}")]
    Snapshot(io::Error),
    /// The kernel refused the program, or a map of it.
    #[error("the program at {TRACEPOINT} was refused: {0}")]
    Refused(String),
}

/// The program while it is attached. As an iterator it ends when there is nothing more to read for now.
/// It wakes no task when there is: poll it some fifty times a second.
pub struct Sockets {
    events: RingBuf<MapData>,
    ports: Array<MapData, u64>,
    /// What is in `ports`, where it is not 0.
    watched: BTreeMap<u32, u64>,
    lost: PerCpuArray<MapData, u64>,
    /// Dropped, it takes the program off.
    _ebpf: Ebpf,
}

impl Sockets {
    /// Attaches the program for the network namespace of this thread. It tells nothing until
    /// [`Self::watch`] names ports.
    pub fn attach() -> Result<Self, SocketsError> {
        let btf = fs::read(KERNEL_BTF).map_err(SocketsError::NoBtf)?;
        let offsets = Offsets::of(&btf).map_err(SocketsError::Btf)?;
        let own = fs::metadata("/proc/thread-self/ns/net").map_err(SocketsError::NoNamespace)?;
        // `struct ns_common.inum` is an `unsigned int`, which nsfs shows as the inode's number.
        let own_inum = u32::try_from(own.ino())
            .map_err(|error| SocketsError::NoNamespace(io::Error::other(error)))?;
        let constants = [
            ("SKC_FAMILY", offsets.family),
            ("SKC_DPORT", offsets.remote_port),
            ("SKC_DADDR", offsets.remote4),
            ("SKC_RCV_SADDR", offsets.local4),
            ("SKC_V6_DADDR", offsets.remote6),
            ("SKC_V6_RCV_SADDR", offsets.local6),
            ("SKC_NET", offsets.net),
            ("INET_SPORT", offsets.local_port),
            ("NET_INUM", offsets.inum),
            ("OWN_INUM", own_inum),
        ];
        let mut loader = EbpfLoader::new();
        for (name, value) in &constants {
            loader.override_global(name, value, true);
        }
        let mut ebpf = loader.load(OBJECT).map_err(refused)?;
        let program: &mut BtfTracePoint = ebpf
            .program_mut(PROGRAM)
            .ok_or_else(|| SocketsError::Refused(format!("the object has no {PROGRAM}")))?
            .try_into()
            .map_err(refused)?;
        let btf = Btf::parse(&btf, Endianness::default()).map_err(refused)?;
        program.load(TRACEPOINT, &btf).map_err(refused)?;
        program.attach().map_err(refused)?;
        let mut take = |name: &'static str| {
            ebpf.take_map(name)
                .ok_or_else(|| SocketsError::Refused(format!("the object has no map {name}")))
        };
        Ok(Self {
            events: take(SOCK_EVENTS)?.try_into().map_err(refused)?,
            ports: take(SOCK_PORTS)?.try_into().map_err(refused)?,
            watched: BTreeMap::new(),
            lost: take(SOCK_LOST)?.try_into().map_err(refused)?,
            _ebpf: ebpf,
        })
    }

    /// Tells of exactly these ports from now on; with `others`, also of sessions on every other port.
    pub fn watch(&mut self, ports: &BTreeSet<u16>, others: bool) -> Result<(), SocketsError> {
        let mut wanted: BTreeMap<u32, u64> = others.then_some((TELL_ALL, 1)).into_iter().collect();
        for port in ports.iter().map(|port| port.to_be()) {
            *wanted.entry(port_word(port)).or_default() |= port_bit(port);
        }
        for word in 0..SOCK_PORT_WORDS {
            let bits = wanted.get(&word);
            if bits != self.watched.get(&word) {
                let bits = bits.copied().unwrap_or(0);
                self.ports.set(word, bits, 0).map_err(refused)?;
            }
        }
        self.watched = wanted;
        Ok(())
    }

    /// How many events found no room since the program was attached.
    pub fn lost(&self) -> u64 {
        let copies = self.lost.get(&0, 0);
        copies.map_or(0, |copies| copies.iter().sum())
    }
}

impl Iterator for Sockets {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            let item = self.events.next()?;
            if item.len() >= size_of::<SockEvent>()
                && let Some(event) = decode(&SockEvent::read_from(&item))
            {
                return Some(event);
            }
        }
    }
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets")
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}

/// `None` when the fields are none that the program writes.
fn decode(event: &SockEvent) -> Option<Event> {
    let end = |words, port_be| {
        let ip = address::from_words(u32::from(event.family), words)?;
        Some(canonical(SocketAddr::new(ip, u16::from_be(port_be))))
    };
    let session = || {
        Some(Session {
            client: end(event.remote, event.remote_port_be)?,
            local: end(event.local, event.local_port_be)?,
        })
    };
    match event.change {
        change::OPENED => session().map(Event::Opened),
        change::ENDED => session().map(Event::Ended),
        change::LISTENER => Some(Event::Listener(u16::from_be(event.local_port_be))),
        _ => None,
    }
}

/// With its sources: the verifier's last words are what one needs.
fn refused(error: impl std::error::Error + 'static) -> SocketsError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    SocketsError::Refused(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENED: SockEvent = SockEvent {
        remote: [u32::from_ne_bytes([198, 51, 100, 7]), 0, 0, 0],
        local: [u32::from_ne_bytes([192, 0, 2, 25]), 0, 0, 0],
        remote_port_be: 40_000_u16.to_be(),
        local_port_be: 25_u16.to_be(),
        family: 4,
        change: change::OPENED,
        old_state: 3,
        new_state: 1,
    };

    #[test]
    fn an_entry_becomes_an_event_of_its_clients_family() {
        let session = Session {
            client: "198.51.100.7:40000".parse().unwrap(),
            local: "192.0.2.25:25".parse().unwrap(),
        };
        assert_eq!(decode(&OPENED), Some(Event::Opened(session)));
        let mapped = |[word, ..]: [u32; 4]| [0, 0, 0xffff_u32.to_be(), word];
        let both_families = SockEvent {
            remote: mapped(OPENED.remote),
            local: mapped(OPENED.local),
            family: 6,
            change: change::ENDED,
            ..OPENED
        };
        assert_eq!(decode(&both_families), Some(Event::Ended(session)));
        let listener = SockEvent {
            change: change::LISTENER,
            ..OPENED
        };
        assert_eq!(decode(&listener), Some(Event::Listener(25)));
    }

    #[test]
    fn an_unknown_change_or_family_is_no_event() {
        let change = SockEvent {
            change: 9,
            ..OPENED
        };
        let family = SockEvent {
            family: 5,
            ..OPENED
        };
        assert_eq!((decode(&change), decode(&family)), (None, None));
    }
}
