//! The task: a socket, a clock, and [`crate::channel::Channel`] between them.
use std::{
    io,
    net::SocketAddr,
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, sync::mpsc, time};
use tracing::warn;

use super::{Event, clock, event};
use crate::channel::{Channel, Counters, Epoch, FlowRecord, Keys, Output, PeerStatus, SenderId};

/// Datagrams of flows sent in one turn, and how often there is one: 28 Mbyte a second at most, which
/// is what a peer's receive buffer takes without loss.
const BURST: usize = 20;
const TURN: Duration = Duration::from_millis(1);
/// How often hellos are looked for.
const TICK: Duration = Duration::from_millis(20);
/// The receive buffer: the bursts of some peers while the task waits for a CPU.
const RECEIVE_BYTES: usize = 4 << 20;
/// The election must find room in the conductor's queue, however many flows come.
const ROOM_KEPT: usize = 512;
/// Between two complaints in the log.
const COMPLAINT_NS: u64 = 10_000_000_000;

/// What the conductor wants.
#[derive(Debug)]
pub(super) enum Order {
    /// Tell every peer.
    Flows(Vec<FlowRecord>),
    /// Every live flow, for the peer that asked.
    Table {
        peer: SenderId,
        records: Vec<FlowRecord>,
    },
    /// Ask every peer for its table.
    Join,
    /// Another configuration.
    Configure {
        keys: Keys,
        peers: Vec<(String, SocketAddr)>,
    },
}

/// What the task knows, for people.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) counters: Counters,
    pub(super) peers: Vec<PeerStatus>,
}

type Started = (mpsc::UnboundedSender<Order>, Arc<Mutex<Snapshot>>);

/// Binds the socket and starts the task, inside the runtime.
pub(super) fn start(
    name: &str,
    address: SocketAddr,
    keys: Keys,
    peers: &[(String, SocketAddr)],
    events: mpsc::Sender<event::Event>,
) -> io::Result<Started> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    let mut channel = Channel::new(name, new_epoch(), keys.clone(), clock::boottime_ns());
    channel.configure(keys, peers);
    let (orders, ordered) = mpsc::unbounded_channel();
    let snapshot = Arc::new(Mutex::new(Snapshot::default()));
    let task = Task {
        socket,
        channel,
        events,
        snapshot: Arc::clone(&snapshot),
        is_joining: false,
        send_failed: 0,
        complained_ns: None,
    };
    tokio::spawn(task.run(ordered));
    Ok((orders, snapshot))
}

/// Nanoseconds since 1970 differ from start to start, even where the clock is set back in between.
fn new_epoch() -> Epoch {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    Epoch(NonZeroU64::new(ns).unwrap_or(NonZeroU64::MIN))
}

struct Task {
    socket: UdpSocket,
    channel: Channel,
    events: mpsc::Sender<event::Event>,
    snapshot: Arc<Mutex<Snapshot>>,
    is_joining: bool,
    send_failed: u64,
    complained_ns: Option<u64>,
}

impl Task {
    /// Ends when the conductor, or its wish for a channel, is gone.
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut ticks = time::interval(TICK);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut turns = time::interval(TURN);
        turns.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut bytes = vec![0; 2048];
        loop {
            let go_on = tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                received = self.socket.recv_from(&mut bytes) => match received {
                    Ok((length, from)) => self.receive(&bytes[..length], from).await,
                    // An ICMP error of a peer that does not listen.
                    Err(_) => true,
                },
                _ = ticks.tick() => self.tick().await,
                _ = turns.tick(), if self.channel.has_flows() => {
                    self.send_flows().await;
                    true
                }
            };
            if !go_on {
                return;
            }
        }
    }

    async fn obey(&mut self, order: Order) -> bool {
        let now_ns = clock::boottime_ns();
        match order {
            Order::Flows(records) => self.channel.queue(records, now_ns),
            Order::Table { peer, records } => self.channel.queue_table(peer, records),
            Order::Configure { keys, peers } => self.channel.configure(keys, &peers),
            Order::Join => {
                self.is_joining = true;
                let hellos = self.channel.join(now_ns);
                return self.perform(hellos).await;
            }
        }
        true
    }

    async fn receive(&mut self, bytes: &[u8], from: SocketAddr) -> bool {
        let now_ns = clock::boottime_ns();
        match self.channel.receive(bytes, now_ns) {
            Ok(outputs) => self.perform(outputs).await,
            Err(refused) => {
                let is_due = self
                    .complained_ns
                    .is_none_or(|last| now_ns.saturating_sub(last) >= COMPLAINT_NS);
                if is_due {
                    self.complained_ns = Some(now_ns);
                    warn!("cluster channel: a datagram of {from} is refused: {refused}");
                }
                true
            }
        }
    }

    async fn tick(&mut self) -> bool {
        let now_ns = clock::boottime_ns();
        let hellos = self.channel.tick(now_ns);
        let mut go_on = self.perform(hellos).await;
        if self.is_joining && self.channel.has_joined(now_ns) {
            self.is_joining = false;
            go_on &= self.tell(Event::Joined).await;
        }
        let mut counters = self.channel.counters();
        counters.send_failed = self.send_failed;
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Snapshot {
            counters,
            peers: self.channel.peers(),
        };
        go_on
    }

    async fn send_flows(&mut self) {
        for _ in 0..BURST {
            match self.channel.next_flows() {
                Some(Output::Send { to, bytes }) => self.send(to, &bytes).await,
                _ => return,
            }
        }
    }

    async fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        // A datagram that is not sent is one that is lost: the peer sees the gap.
        if self.socket.send_to(bytes, to).await.is_err() {
            self.send_failed += 1;
        }
    }

    async fn perform(&mut self, outputs: Vec<Output>) -> bool {
        for output in outputs {
            let go_on = match output {
                Output::Send { to, bytes } => {
                    self.send(to, &bytes).await;
                    true
                }
                Output::Learn { part, records } => self.tell(Event::Learn { part, records }).await,
                Output::TableWanted { peer } => self.tell(Event::TableWanted { peer }).await,
            };
            if !go_on {
                return false;
            }
        }
        true
    }

    /// False when the conductor is gone.
    async fn tell(&mut self, event: Event) -> bool {
        while self.events.capacity() < ROOM_KEPT && !self.events.is_closed() {
            time::sleep(TURN).await;
        }
        self.events.send(event::Event::Channel(event)).await.is_ok()
    }
}
