//! The thread that moves addresses and announces them, in the order it is told.
//!
//! Adding an address waits while another process holds the kernel's configuration lock; the advert
//! thread must not. An announcement follows its address, so both are done here.
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::control::VipControl;
use super::event::Notice;
use super::packet::Announcer;
use super::realtime;
use crate::units::Mac;

/// What is to be done.
#[derive(Debug)]
enum Task {
    /// Add or renew.
    Hold {
        addresses: Vec<IpAddr>,
        valid_s: u32,
    },
    /// Remove.
    Remove { addresses: Vec<IpAddr> },
    /// Say where they are.
    Announce {
        addresses: Vec<IpAddr>,
        ifindex: u32,
        mac: Mac,
    },
}

/// The advert thread's end. Dropped, it ends the thread after what was asked before.
#[derive(Debug)]
pub(super) struct Hands {
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl Hands {
    pub(super) fn spawn(
        mut vips: Box<dyn VipControl>,
        tell: impl Fn(Notice) + Send + 'static,
    ) -> io::Result<Self> {
        let (tasks, queue) = channel();
        let thread = std::thread::Builder::new()
            .name("lbd-vip".into())
            .spawn(move || work(&queue, vips.as_mut(), &tell))?;
        Ok(Self {
            tasks: Some(tasks),
            thread: Some(thread),
        })
    }

    pub(super) fn hold(&self, addresses: &[IpAddr], valid_s: u32) {
        let addresses = addresses.to_vec();
        self.ask(Task::Hold { addresses, valid_s });
    }

    pub(super) fn remove(&self, addresses: &[IpAddr]) {
        let addresses = addresses.to_vec();
        self.ask(Task::Remove { addresses });
    }

    pub(super) fn announce(&self, addresses: &[IpAddr], ifindex: u32, mac: Mac) {
        let addresses = addresses.to_vec();
        self.ask(Task::Announce {
            addresses,
            ifindex,
            mac,
        });
    }

    fn ask(&self, task: Task) {
        if let Some(tasks) = &self.tasks {
            // The other end lives as long as this one: only a panic there ends it before.
            let _ = tasks.send(task);
        }
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(queue: &Receiver<Task>, vips: &mut dyn VipControl, tell: &dyn Fn(Notice)) {
    // Told by the advert thread already, which asks for the same.
    let _ = realtime::prioritize();
    let mut announcer: Option<Announcer> = None;
    for task in queue {
        match task {
            Task::Hold { addresses, valid_s } => {
                for address in addresses {
                    if let Err(error) = vips.hold(address, valid_s) {
                        tell(Notice::Vip { address, error });
                    }
                }
            }
            Task::Remove { addresses } => {
                for address in addresses {
                    if let Err(error) = vips.remove(address) {
                        tell(Notice::Vip { address, error });
                    }
                }
            }
            Task::Announce {
                addresses,
                ifindex,
                mac,
            } => {
                if announcer.as_ref().is_none_or(|a| a.ifindex() != ifindex) {
                    announcer = Announcer::open(ifindex)
                        .inspect_err(|error| tell(Notice::NoPacketSocket(copy(error))))
                        .ok();
                }
                if let Some(announcer) = &announcer {
                    for address in addresses {
                        if let Err(error) = announcer.announce(address, mac) {
                            tell(Notice::NoPacketSocket(error));
                        }
                    }
                }
            }
        }
    }
}

/// An error is told by value, and an `io::Error` cannot be cloned.
fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(
        || io::Error::from(error.kind()),
        io::Error::from_raw_os_error,
    )
}
