//! The thread that moves addresses, in the order it is told.
//!
//! Adding an address waits while another process holds the kernel's configuration lock (RTNL), for
//! tens of milliseconds when a namespace or an interface goes away; the advert thread must not. It
//! announces an address itself, once this thread has put it there: an announcement that waited
//! behind the renewal of a lease would leave the clients at a rival.
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::control::VipControl;
use super::event::Notice;
use super::realtime;
use super::settings::Placed;
use super::wake::Bell;
use crate::daemon::clock::boottime_ns;
use crate::daemon::log_limiter::LogLimiter;

/// What to do.
#[derive(Debug)]
enum Task {
    /// Add or renew.
    Hold {
        vips: Vec<Placed>,
        valid_s: u32,
        ticket: Ticket,
    },
    /// Remove.
    Remove { vips: Vec<Placed> },
}

/// Names one [`AddressMover::hold`].
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Ticket(u64);

/// The advert thread's end. Dropped, it ends the thread after what was asked before.
#[derive(Debug)]
pub(super) struct AddressMover {
    tasks: Option<Sender<Task>>,
    /// The last ticket given out.
    last: Ticket,
    /// The last ticket whose addresses are there.
    done: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl AddressMover {
    pub(super) fn spawn(
        mut vips: Box<dyn VipControl>,
        bell: Bell,
        tell: impl Fn(Notice) + Send + 'static,
    ) -> io::Result<Self> {
        let (tasks, queue) = channel();
        let done = Arc::new(AtomicU64::new(0));
        let doing = Arc::clone(&done);
        let thread = std::thread::Builder::new()
            .name("lbd-vip".into())
            .spawn(move || work(&queue, vips.as_mut(), &doing, &bell, &tell))?;
        Ok(Self {
            tasks: Some(tasks),
            last: Ticket::default(),
            done,
            thread: Some(thread),
        })
    }

    /// The bell rings when they are there (or could not be put there).
    pub(super) fn hold(&mut self, vips: Vec<Placed>, valid_s: u32) -> Ticket {
        self.last.0 += 1;
        let ticket = self.last;
        self.ask(Task::Hold {
            vips,
            valid_s,
            ticket,
        });
        ticket
    }

    /// Whether what was asked with this ticket is done.
    pub(super) fn is_done(&self, ticket: Ticket) -> bool {
        self.done.load(Ordering::Acquire) >= ticket.0
    }

    pub(super) fn remove(&self, vips: Vec<Placed>) {
        self.ask(Task::Remove { vips });
    }

    fn ask(&self, task: Task) {
        if let Some(tasks) = &self.tasks {
            // The other end lives as long as this one: only a panic there ends it before.
            let _ = tasks.send(task);
        }
    }
}

impl Drop for AddressMover {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(
    queue: &Receiver<Task>,
    control: &mut dyn VipControl,
    done: &AtomicU64,
    bell: &Bell,
    tell: &dyn Fn(Notice),
) {
    // Told by the advert thread already, which asks for the same.
    let _ = realtime::prioritize();
    let mut log = LogLimiter::default();
    let mut complain = |notice: Notice| {
        if log.allows(notice.kind(), Notice::EVERY_NS, boottime_ns()) {
            tell(notice);
        }
    };
    for task in queue {
        match task {
            Task::Hold {
                vips,
                valid_s,
                ticket,
            } => {
                for vip in vips {
                    if let Err(error) = control.hold(vip.address, vip.ifindex, valid_s) {
                        let address = vip.address;
                        complain(Notice::Vip { address, error });
                    }
                }
                done.store(ticket.0, Ordering::Release);
                bell.ring();
            }
            Task::Remove { vips } => {
                for vip in vips {
                    if let Err(error) = control.remove(vip.address, vip.ifindex) {
                        let address = vip.address;
                        complain(Notice::Vip { address, error });
                    }
                }
            }
        }
    }
}
