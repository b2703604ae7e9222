//! A row of a fixture table.
use std::time::Duration;

use anyhow::{Result, ensure};
use lbd_common::{
    backend::state as backend_state,
    counters::Reason,
    director::{Director, role},
    flow::{flag, state},
};

use super::{
    icmp::Icmp,
    packet::{OUR_MAC, Segment, check_sums},
    tunnel::{Tunnelled, in4, in6},
    world::{A, TUNNEL4, World, backend_mac, verdict},
};

/// A change to the state before the packet comes.
#[derive(Clone, Copy, Debug)]
pub enum Given {
    /// The client has a flow.
    Flow(Flow),
    /// Both buckets of the client's flow are full of flows in this state on backend [`A`].
    FullOf(u8),
    /// Another box is the master.
    Backup,
    /// The lease has run out.
    LeaseOver,
    /// A field of the director's entry.
    Director(fn(&mut Director)),
    /// A backend's state.
    Is(u16, u8),
    /// A backend's weight in permille.
    Weight(u16, u32),
    /// A backend's live sessions.
    Load(u16, u64),
    /// What a backend's queue counts for, in sessions.
    Queued(u16, u32),
    /// Sessions that a backend takes at most.
    Limit(u16, u32),
    /// The client's ring candidates.
    Candidates(u16, u16),
    /// Anything else.
    Do(fn(&mut World) -> Result<()>),
}

/// The client's flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Flow {
    /// Backend id.
    pub backend: u16,
    /// One of [`state`].
    pub state: u8,
    /// Bits of [`flag`].
    pub flags: u8,
}

/// A SYN was steered.
#[must_use]
pub fn half(backend: u16) -> Flow {
    Flow {
        backend,
        state: state::HALF_OPEN,
        flags: flag::COUNTED,
    }
}

/// An open session.
#[must_use]
pub fn open(backend: u16) -> Flow {
    Flow {
        backend,
        state: state::ESTABLISHED,
        flags: flag::COUNTED,
    }
}

/// A session that the client says is open.
#[must_use]
pub fn unproven(backend: u16) -> Flow {
    Flow {
        backend,
        state: state::UNPROVEN,
        flags: flag::COUNTED,
    }
}

/// An unproven session whose client has sent so many frames with payload.
#[must_use]
pub fn going_on(backend: u16, frames: u8) -> Flow {
    let flow = unproven(backend);
    Flow {
        flags: flow.flags | frames << 4,
        ..flow
    }
}

/// The same flow, which does not count.
#[must_use]
pub fn uncounted(flow: Flow) -> Flow {
    Flow {
        flags: flow.flags & !flag::COUNTED,
        ..flow
    }
}

/// The same flow, whose client, or a forger, has sent FIN or RST.
#[must_use]
pub fn hung_up(flow: Flow) -> Flow {
    Flow {
        flags: flow.flags | flag::CLIENT_ENDED,
        ..flow
    }
}

/// A session that its backend has ended.
#[must_use]
pub fn ended(backend: u16) -> Flow {
    Flow {
        backend,
        state: state::ENDED,
        flags: 0,
    }
}

/// An established session that its client seems to have ended.
#[must_use]
pub fn closing(backend: u16) -> Flow {
    Flow {
        backend,
        state: state::CLOSING,
        flags: flag::CLIENT_ENDED,
    }
}

/// A session that the sweep has condemned.
#[must_use]
pub fn doomed(backend: u16) -> Flow {
    Flow {
        backend,
        state: state::DOOMED,
        flags: 0,
    }
}

/// What the program should do with the packet.
#[derive(Clone, Debug)]
pub enum Out {
    /// `XDP_PASS`, the packet as it came.
    Pass,
    /// `XDP_DROP`.
    Drop,
    /// `XDP_TX` to a backend: the packet as it came, but for the MACs.
    To(u16),
    /// `XDP_REDIRECT` to a backend, likewise.
    Far(u16),
    /// `XDP_TX` to a backend: the IP packet as it came, in an outer header, behind the same tags.
    Tunnel(u16),
    /// `XDP_REDIRECT` to a backend: likewise, without tags.
    FarTunnel(u16),
    /// `XDP_PASS`, counted for the local backend.
    Local(u16),
    /// `XDP_TX` of the RST that answers it.
    Reset,
    /// `XDP_TX` of this packet.
    Tx(Vec<u8>),
    /// `XDP_REDIRECT` of this packet.
    Redirect(Vec<u8>),
    /// `XDP_PASS` of this packet.
    PassChanged(Vec<u8>),
}

/// A row. Its fields are what [`row`] takes.
#[derive(Clone, Debug)]
pub struct Row {
    name: &'static str,
    packet: Vec<u8>,
    segment: Option<Segment>,
    given: Vec<Given>,
    out: Out,
    counts: Vec<Reason>,
    after: Option<Flow>,
}

/// What a row takes as its packet.
pub trait Frame {
    /// The frame's bytes, and what it was built of.
    fn frame(self) -> (Vec<u8>, Option<Segment>);
}

impl Frame for Segment {
    fn frame(self) -> (Vec<u8>, Option<Segment>) {
        (self.bytes(), Some(self))
    }
}

impl Frame for Tunnelled {
    fn frame(self) -> (Vec<u8>, Option<Segment>) {
        (self.bytes(), None)
    }
}

impl Frame for Icmp {
    fn frame(self) -> (Vec<u8>, Option<Segment>) {
        (self.bytes(), None)
    }
}

impl Frame for Vec<u8> {
    fn frame(self) -> (Vec<u8>, Option<Segment>) {
        (self, None)
    }
}

/// A row: description, packet in, state before, verdict with the packet out, the counters that go
/// up (each by one, no other), and the client's flow after.
#[must_use]
pub fn row<const G: usize, const C: usize>(
    name: &'static str,
    packet: impl Frame,
    given: [Given; G],
    out: Out,
    counts: [Reason; C],
    after: impl Into<Option<Flow>>,
) -> Row {
    let (packet, segment) = packet.frame();
    Row {
        name,
        packet,
        segment,
        given: given.to_vec(),
        out,
        counts: counts.to_vec(),
        after: after.into(),
    }
}

/// Runs a table. Every row is run; the failures are told together.
///
/// # Panics
/// When a row fails.
pub fn check(world: &mut World, rows: impl IntoIterator<Item = Row>) {
    let mut failures = Vec::new();
    let mut count = 0;
    for row in rows {
        count += 1;
        if let Err(error) = run(world, &row) {
            failures.push(format!("{}: {error:#}", row.name));
        }
    }
    assert!(count > 0, "an empty table proves nothing");
    assert!(
        failures.is_empty(),
        "{} of {count} rows failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn run(world: &mut World, row: &Row) -> Result<()> {
    world.reset()?;
    for given in &row.given {
        give(world, *given)?;
    }
    let (action, out) = world.run(&row.packet)?;
    let (wanted, packet) = expected(row, &out);
    ensure!(
        action == wanted,
        "verdict {action} instead of {wanted}, {:?}",
        world.counters()?
    );
    if action != verdict::DROP {
        ensure!(
            out == packet,
            "packet out\n{}\ninstead of\n{}",
            hex(&out),
            hex(&packet)
        );
    }
    // A row may spoil its packet's sums on purpose; then they stay so.
    if action != verdict::DROP && (out.len() != row.packet.len() || check_sums(&row.packet).is_ok())
    {
        check_sums(&out).map_err(anyhow::Error::msg)?;
    }
    let mut counted: Vec<&str> = Vec::new();
    for (reason, times) in world.counters()? {
        ensure!(times == 1, "{} counted {times} times", reason.name());
        counted.push(reason.name());
    }
    let mut counts: Vec<&str> = row.counts.iter().map(|reason| reason.name()).collect();
    counts.sort_unstable();
    counted.sort_unstable();
    ensure!(
        counted == counts,
        "counted {counted:?} instead of {counts:?}"
    );
    for id in 0..8 {
        let stats = world.stats(id)?;
        let steered = matches!(row.out, Out::To(to) | Out::Far(to) | Out::Tunnel(to) | Out::FarTunnel(to) | Out::Local(to) if to == id);
        let unknown = matches!(
            row.out,
            Out::Tx(_) | Out::Redirect(_) | Out::PassChanged(_) | Out::Drop
        );
        ensure!(
            unknown || stats.packets == u64::from(steered),
            "{} packets counted for backend {id}",
            stats.packets
        );
        ensure!(
            unknown || stats.bytes == u64::from(steered) * row.packet.len() as u64,
            "{} bytes counted for backend {id}",
            stats.bytes
        );
    }
    let flows = world.client_flows(if is_v6(&row.packet) { 6 } else { 4 })?;
    ensure!(flows.len() <= 1, "the client has {} flows", flows.len());
    let flow = flows.first().map(|word| Flow {
        backend: word.backend,
        state: word.state,
        // When a half-open flow began is no matter of the row.
        flags: if word.state == state::HALF_OPEN {
            word.with_fine(0).flags
        } else {
            word.flags
        },
    });
    ensure!(
        flow == row.after,
        "flow {flow:?} instead of {:?}",
        row.after
    );
    Ok(())
}

fn is_v6(packet: &[u8]) -> bool {
    let mut at = 12;
    while packet.len() > at + 5 && packet[at..at + 2] == [0x81, 0] {
        at += 4;
    }
    packet.len() > at + 2 && packet[at..at + 2] == [0x86, 0xdd]
}

/// The frame in its tunnel to a backend. The flow label is taken from `out`: it is a hash.
fn in_tunnel(id: u16, row: &Row, with_tags: bool, out: &[u8]) -> Vec<u8> {
    let packet = &row.packet;
    let mut network = 14;
    let mut tags = Vec::new();
    while packet[network - 2..network] == [0x81, 0] {
        tags.push(u16::from_be_bytes([packet[network], packet[network + 1]]));
        network += 4;
    }
    if !with_tags {
        tags.clear();
    }
    let inner = &packet[network..];
    let outer = if id == TUNNEL4 {
        in4(inner)
    } else {
        let at = 14 + 4 * tags.len();
        let label = out.get(at..at + 4).map_or(0, |word| {
            u32::from_be_bytes([0, word[1] & 0xf, word[2], word[3]])
        });
        in6(inner).flow_label(label)
    };
    let outer = outer.outwards().between(OUR_MAC, backend_mac(id));
    outer.tagged(&tags).bytes()
}

fn expected(row: &Row, out: &[u8]) -> (u32, Vec<u8>) {
    let to = |id| {
        let mut packet = row.packet.clone();
        packet[..6].copy_from_slice(&backend_mac(id));
        packet[6..12].copy_from_slice(&OUR_MAC);
        packet
    };
    match &row.out {
        Out::Pass | Out::Local(_) => (verdict::PASS, row.packet.clone()),
        Out::Drop => (verdict::DROP, Vec::new()),
        Out::To(id) => (verdict::TX, to(*id)),
        Out::Far(id) => (verdict::REDIRECT, to(*id)),
        Out::Tunnel(id) => (verdict::TX, in_tunnel(*id, row, true, out)),
        Out::FarTunnel(id) => (verdict::REDIRECT, in_tunnel(*id, row, false, out)),
        Out::Reset => {
            let segment = row.segment.as_ref().map(|segment| segment.reset().bytes());
            (verdict::TX, segment.unwrap_or_default())
        }
        Out::Tx(packet) => (verdict::TX, packet.clone()),
        Out::Redirect(packet) => (verdict::REDIRECT, packet.clone()),
        Out::PassChanged(packet) => (verdict::PASS, packet.clone()),
    }
}

fn give(world: &mut World, given: Given) -> Result<()> {
    match given {
        Given::Flow(flow) => {
            if flow == half(flow.backend) {
                return world.half_open(flow.backend, Duration::ZERO);
            }
            if flow.flags & flag::COUNTED != 0 {
                world.set_load(flow.backend, 1)?;
            }
            world.flow(flow.backend, flow.state, flow.flags, 0)
        }
        Given::FullOf(state) => {
            world.set_load(A, 8)?;
            world.fill(A, state, flag::COUNTED, 0)
        }
        Given::Backup => world.director(|director| director.role = role::BACKUP),
        Given::LeaseOver => world.director(|director| director.lease_until_ns = 1),
        Given::Director(change) => world.director(change),
        Given::Is(id, state) => {
            ensure!(state <= backend_state::DEAD, "no such state");
            world.change_backend(id, |backend| backend.state = state)
        }
        Given::Weight(id, permille) => world.weight(id, permille),
        Given::Load(id, sessions) => world.set_load(id, sessions),
        Given::Queued(id, sessions) => world.queued(id, sessions),
        Given::Limit(id, sessions) => world.session_limit(id, sessions),
        Given::Candidates(first, second) => world.candidates(first, second),
        Given::Do(change) => change(world),
    }
}

/// A frame for people, 16 bytes a line.
fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(16)
        .map(|line| {
            let bytes: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("  {}", bytes.join(" "))
        })
        .collect::<Vec<_>>()
        .join("\n")
}
