//! The server: what RFC 5321 asks of the receiving side, and knobs to make it slow or full.
use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream, tcp::OwnedWriteHalf},
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::spool::Spool;
use crate::lab::{
    Host,
    addresses::{VIP4, VIP6, is_node},
};

/// How often the spool is worked on.
const SPOOL_TICK: Duration = Duration::from_millis(50);
/// Messages delivered a second when nothing else is said: no queue.
const DEFAULT_RATE: f64 = 1000.0;
/// A client that says nothing for so long is let go (RFC 5321, 4.5.3.2.7).
const PATIENCE: Duration = Duration::from_mins(5);
/// The longest line that is read (RFC 5321, 4.5.3.1.6 allows 1000).
const MAX_LINE: u64 = 2000;

/// A server on port 25 of a host; it ends with its handle.
pub struct Server {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<io::Result<io::Result<()>>>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, sessions) = (&self.shared.name, self.sessions());
        write!(f, "Server {{ {name}, {sessions} sessions }}")
    }
}

/// How a server answers a health check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Checks {
    /// As it answers anyone.
    Served,
    /// 554 instead of a banner.
    Refused,
    /// 550 for any recipient.
    NoSuchRecipient,
    /// Without a banner, as long as the client waits.
    Mute,
}

#[derive(Debug)]
struct Shared {
    name: String,
    /// Sessions come to the host's own address: the balancer translates them.
    behind_nat: bool,
    /// What who comes to the host's own address, as health checks do, is told: [`Checks`] as a number.
    checks: AtomicU8,
    /// Microseconds before a message is accepted.
    delay_us: AtomicU64,
    /// Messages delivered a second: the bits of an f64.
    rate_bits: AtomicU64,
    sessions: AtomicU64,
    messages: AtomicU64,
    open: AtomicUsize,
    queued: AtomicUsize,
    /// Sessions through the VIP by the address they came from.
    peers: Mutex<HashMap<IpAddr, u64>>,
    spool: Mutex<Option<Spool>>,
}

impl Server {
    /// Starts one on port 25 of every address of `host`, with its queue in `spool`.
    pub fn start(host: &Host, spool: Option<&Path>) -> Result<Self> {
        Self::start_as(host, spool, false)
    }

    /// Starts one without a queue on each of `hosts`.
    pub fn start_all(hosts: &[Host]) -> Result<Vec<Self>> {
        hosts.iter().map(|host| Self::start(host, None)).collect()
    }

    /// Starts one to which the balancer translates: every client's session counts as one through
    /// the VIP.
    pub fn start_behind_nat(host: &Host) -> Result<Self> {
        Self::start_as(host, None, true)
    }

    fn start_as(host: &Host, spool: Option<&Path>, behind_nat: bool) -> Result<Self> {
        let spool = spool.map(Spool::new).transpose()?;
        let shared = Arc::new(Shared {
            name: host.name.clone(),
            behind_nat,
            checks: AtomicU8::new(Checks::Served as u8),
            delay_us: AtomicU64::new(0),
            rate_bits: AtomicU64::new(DEFAULT_RATE.to_bits()),
            sessions: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            peers: Mutex::new(HashMap::new()),
            spool: Mutex::new(spool),
        });
        let (stop, stopped) = watch::channel(false);
        let listener = host
            .inside(listen)?
            .with_context(|| format!("{}: cannot listen on port 25", host.name))?;
        let thread = host.runtime({
            let shared = Arc::clone(&shared);
            move || serve(listener, shared, stopped)
        })?;
        Ok(Self {
            shared,
            stop,
            thread: Some(thread),
        })
    }

    /// How long the server thinks about each message before it accepts it.
    pub fn set_delay(&self, delay: Duration) {
        let us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.shared.delay_us.store(us, Ordering::Relaxed);
    }

    /// What health checks, which go to the host's own address, are told from now on.
    pub fn answer_checks(&self, with: Checks) {
        self.shared.checks.store(with as u8, Ordering::Relaxed);
    }

    /// How many messages a second leave the queue.
    pub fn set_rate(&self, per_second: f64) {
        let bits = per_second.to_bits();
        self.shared.rate_bits.store(bits, Ordering::Relaxed);
    }

    /// Sessions that came through the VIP; health checks go to the host's own address.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.shared.sessions.load(Ordering::Relaxed)
    }

    /// Messages accepted in them.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.shared.messages.load(Ordering::Relaxed)
    }

    /// Sessions through the VIP that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Messages in the queue.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.queued.load(Ordering::Relaxed)
    }

    /// Sessions through the VIP by the address they came from.
    #[must_use]
    pub fn peers(&self) -> HashMap<IpAddr, u64> {
        lock(&self.shared.peers).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is counts and files: as good after a panic as before it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen() -> io::Result<std::net::TcpListener> {
    // The listener has to exist before any runtime: sessions may come once `start` has returned.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v6()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 25)))?;
        socket.listen(4096)?.into_std()
    })
}

async fn serve(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut ticks = interval(SPOOL_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut worked = Instant::now();
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return Ok(()),
            accepted = listener.accept() => {
                // A client that was gone before we looked is no reason to stop.
                if let Ok((stream, peer)) = accepted {
                    tokio::spawn(session(stream, peer, Arc::clone(&shared)));
                }
            }
            now = ticks.tick() => {
                work(&shared, now - worked)?;
                worked = now;
            }
        }
    }
}

fn work(shared: &Shared, elapsed: Duration) -> io::Result<()> {
    let rate = f64::from_bits(shared.rate_bits.load(Ordering::Relaxed));
    let mut spool = lock(&shared.spool);
    if let Some(spool) = spool.as_mut() {
        spool.work(elapsed.as_secs_f64(), rate)?;
        shared.queued.store(spool.len(), Ordering::Relaxed);
    }
    Ok(())
}

async fn session(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    // A socket of both families names IPv4 addresses ::ffff:a.b.c.d.
    let local = stream.local_addr().map(|local| local.ip().to_canonical());
    let vips = [IpAddr::from(VIP4), IpAddr::from(VIP6)];
    let through_vip = local.is_ok_and(|local| vips.contains(&local))
        || shared.behind_nat && !is_node(peer.ip().to_canonical());
    if through_vip {
        shared.sessions.fetch_add(1, Ordering::Relaxed);
        shared.open.fetch_add(1, Ordering::Relaxed);
        let mut peers = lock(&shared.peers);
        *peers.entry(peer.ip().to_canonical()).or_default() += 1;
    }
    // How a session ended is the client's to report.
    let _ = dialogue(stream, &shared, through_vip).await;
    if through_vip {
        shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn dialogue(stream: TcpStream, shared: &Shared, through_vip: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let name = &shared.name;
    let asks = |how| !through_vip && shared.checks.load(Ordering::Relaxed) == how as u8;
    if asks(Checks::Refused) {
        return reply(&mut writer, "554 no service for you").await;
    }
    if asks(Checks::Mute) {
        return reader.read_u8().await.map(drop);
    }
    reply(&mut writer, &format!("220 {name} ESMTP")).await?;
    let mut line = String::new();
    loop {
        line.clear();
        let mut limited = (&mut reader).take(MAX_LINE);
        if timeout(PATIENCE, limited.read_line(&mut line)).await?? == 0 {
            return Ok(());
        }
        let verb: String = line.chars().take(4).collect();
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" => reply(&mut writer, &format!("250-{name}\r\n250 8BITMIME")).await?,
            "RCPT" if asks(Checks::NoSuchRecipient) => {
                reply(&mut writer, "550 no such user").await?;
            }
            "MAIL" | "RCPT" | "RSET" | "NOOP" => reply(&mut writer, "250 ok").await?,
            "DATA" => {
                reply(&mut writer, "354 end with a dot").await?;
                let message = timeout(PATIENCE, read_message(&mut reader)).await??;
                sleep(Duration::from_micros(
                    shared.delay_us.load(Ordering::Relaxed),
                ))
                .await;
                if let Some(spool) = lock(&shared.spool).as_mut() {
                    spool.accept(&message)?;
                }
                if through_vip {
                    shared.messages.fetch_add(1, Ordering::Relaxed);
                }
                reply(&mut writer, "250 queued").await?;
            }
            "QUIT" => return reply(&mut writer, "221 bye").await,
            _ => reply(&mut writer, "502 not known").await?,
        }
    }
}

async fn reply(writer: &mut OwnedWriteHalf, text: &str) -> io::Result<()> {
    writer.write_all(format!("{text}\r\n").as_bytes()).await
}

/// Reads up to the line with a single dot, and keeps the dots that were doubled.
async fn read_message(reader: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let start = message.len();
        if reader.read_until(b'\n', &mut message).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if &message[start..] == b".\r\n" {
            message.truncate(start);
            return Ok(message);
        }
    }
}
