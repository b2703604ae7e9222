//! A datagram to the VIP each millisecond, and who answered when.
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use crate::lab::Host;

const PORT: u16 = 7;

/// A probe that was answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// When the probe was sent.
    pub sent: Instant,
    /// Which of the hosts answered, by its place in the list.
    pub by: u8,
}

/// Asks one VIP from a client; every host given answers for what reaches it.
#[derive(Debug)]
pub struct Probe {
    stop: Arc<AtomicBool>,
    echoes: Vec<JoinHandle<()>>,
    receiver: JoinHandle<Vec<Answer>>,
    sender: JoinHandle<()>,
}

impl Probe {
    /// Begins.
    pub fn start(client: &Host, vip: IpAddr, hosts: &[Host]) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let any: IpAddr = match vip {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let bind = |host: &Host, port| -> Result<UdpSocket> {
            let socket = host.inside(|| UdpSocket::bind((any, port)))??;
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
            Ok(socket)
        };
        let mut echoes = Vec::new();
        for (by, host) in (0u8..).zip(hosts) {
            let socket = bind(host, PORT)?;
            let stop = Arc::clone(&stop);
            echoes.push(thread::spawn(move || echo(&socket, by, &stop)));
        }
        let socket = bind(client, 0)?;
        let (sending, stopped) = (socket.try_clone()?, Arc::clone(&stop));
        let begin = Instant::now();
        let sender = thread::spawn(move || {
            ask(&sending, SocketAddr::new(vip, PORT), begin, &stopped);
        });
        let stopped = Arc::clone(&stop);
        let receiver = thread::spawn(move || hear(&socket, begin, &stopped));
        Ok(Self {
            stop,
            echoes,
            receiver,
            sender,
        })
    }

    /// Ends it; the answers in the order in which the probes were sent.
    pub fn finish(self) -> Result<Vec<Answer>> {
        self.stop.store(true, Ordering::Relaxed);
        let panicked = |_| anyhow!("a probe's thread panicked");
        self.sender.join().map_err(panicked)?;
        let mut answers = self.receiver.join().map_err(panicked)?;
        for echo in self.echoes {
            echo.join().map_err(panicked)?;
        }
        answers.sort_by_key(|answer| answer.sent);
        Ok(answers)
    }
}

/// A probe that waits for a CPU measures the box, not the outage. Where it is not allowed, the
/// figures are upper bounds.
fn prioritize() {
    let parameters = libc::sched_param { sched_priority: 50 };
    // SAFETY: the parameters outlive the call; 0 names the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
}

fn echo(socket: &UdpSocket, by: u8, stop: &AtomicBool) {
    prioritize();
    let mut buffer = [0; 9];
    while !stop.load(Ordering::Relaxed) {
        // A time-out, or an ICMP error of an earlier answer: neither ends it.
        if let Ok((8, from)) = socket.recv_from(&mut buffer) {
            buffer[8] = by;
            let _ = socket.send_to(&buffer, from);
        }
    }
}

fn ask(socket: &UdpSocket, vip: SocketAddr, begin: Instant, stop: &AtomicBool) {
    prioritize();
    while !stop.load(Ordering::Relaxed) {
        let sent_us = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        // No connection: the next one may succeed.
        let _ = socket.send_to(&sent_us.to_be_bytes(), vip);
        thread::sleep(Duration::from_millis(1));
    }
}

fn hear(socket: &UdpSocket, begin: Instant, stop: &AtomicBool) -> Vec<Answer> {
    prioritize();
    let mut answers = Vec::new();
    let mut buffer = [0; 9];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((9, _)) = socket.recv_from(&mut buffer) {
            let [sent @ .., by] = buffer;
            let sent = begin + Duration::from_micros(u64::from_be_bytes(sent));
            answers.push(Answer { sent, by });
        }
    }
    answers
}

/// The longest time without an answered probe between two moments.
#[must_use]
pub fn longest_silence(answers: &[Answer], from: Instant, to: Instant) -> Duration {
    let mut last = from;
    let mut longest = Duration::ZERO;
    for answer in answers
        .iter()
        .filter(|answer| (from..to).contains(&answer.sent))
    {
        longest = longest.max(answer.sent - last);
        last = answer.sent;
    }
    longest.max(to - last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_first_moment_to_the_last() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let answers = [10, 11, 40, 41].map(|ms| Answer {
            sent: at(ms),
            by: 0,
        });
        let silence = |from, to| longest_silence(&answers, at(from), at(to)).as_millis();
        assert_eq!(silence(10, 42), 29);
        assert_eq!(silence(0, 12), 10);
        assert_eq!(silence(41, 100), 59);
        assert_eq!(longest_silence(&[], at(0), at(7)).as_millis(), 7);
    }
}
