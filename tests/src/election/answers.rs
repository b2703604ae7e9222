//! Who answers ARP and neighbour solicitations for the VIPs: asked all the time, by frames of our
//! own, so that no cache stands between.
use std::{
    io,
    mem::MaybeUninit,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use lbd::{
    units::Mac,
    vrrp::{
        announce::{AddressClaim, parse_claim},
        question::question,
    },
};

use super::packets::Packets;
use crate::lab::Host;

/// Between two questions for an address.
const EVERY: Duration = Duration::from_millis(2);

/// An answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answered {
    /// When it was heard.
    pub at: Instant,
    /// For which address.
    pub vip: IpAddr,
    /// By whom.
    pub by: Mac,
}

/// Asks from a client until it is finished.
#[derive(Debug)]
pub struct Asker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Answered>>>,
}

impl Asker {
    /// Begins.
    pub fn start(client: &Host, vips: &[IpAddr]) -> Result<Self> {
        let packets = Packets::open(client)?;
        let mut frames = Vec::new();
        for vip in vips {
            let own: IpAddr = match vip {
                IpAddr::V4(_) => client.address4().into(),
                IpAddr::V6(_) => client.address6().into(),
            };
            frames.push(question(*vip, own, client.mac).context("of another family")?);
        }
        let (vips, own) = (vips.to_vec(), client.mac);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut answers = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                for frame in &frames {
                    packets.send(frame)?;
                }
                thread::sleep(EVERY);
                hear(&packets, own, &vips, &mut answers)?;
            }
            Ok(answers)
        });
        Ok(Self { stop, thread })
    }

    /// Ends it; the answers in the order in which they came.
    pub fn finish(self) -> Result<Vec<Answered>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the asker's thread panicked"))?
    }
}

fn hear(packets: &Packets, own: Mac, vips: &[IpAddr], to: &mut Vec<Answered>) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 256];
    while let Some(frame) = packets.next(&mut buffer)? {
        if let Some(AddressClaim { address, mac }) = parse_claim(frame)
            && mac != own
            && vips.contains(&address)
        {
            to.push(Answered {
                at: Instant::now(),
                vip: address,
                by: mac,
            });
        }
    }
    Ok(())
}
