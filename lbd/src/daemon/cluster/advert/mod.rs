//! The advert thread: the election's machine with its sockets, away from everything that waits.
//!
//! It has a real-time priority and locked memory where the box allows it, and talks to the daemon
//! through channels only. What it moves it is given: the data plane's lease ([`LeaseControl`], a
//! store to shared memory) and the addresses ([`VipControl`], on a second thread, since the kernel
//! may let it wait). The order is: advert, lease and role, addresses, announcement.
//!
//! From an advert to the address:
//! ```text
//! wire, recv        the raw socket of a family
//! thread::hear      checks the advert and its key ──▶ election::Input
//! election          Machine::handle ──▶ Outputs, in order
//! thread::speak     sends adverts, holds or releases the lease (control), announces (packet)
//! address_mover     adds and removes the addresses
//! event             what the event loop is told: cluster::elected
//! ```

mod address_mover;
mod control;
mod event;
mod packet;
mod realtime;
mod recv;
mod relays;
mod settings;
mod thread;
pub(in crate::daemon) mod wake;
mod wire;

pub use control::{InterfaceVips, LeaseControl, VipControl, VipError};
pub use event::{Event, Notice, WireCounters};
pub use settings::{Authenticate, Interface, Placed, Settings};

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use arc_swap::ArcSwapOption;
use serde::Serialize;

use crate::election::{Counters, Found, Health, Status};
use crate::vrrp::PeerClock;

/// Said to the thread.
#[derive(Debug)]
pub enum Command {
    /// What is well and what is not.
    Health(Health),
    /// The answer to [`Event::WantSync`].
    SyncDone,
    /// Another configuration: sockets are opened anew where they must be.
    Reconfigure(Box<Settings>),
    /// Where adverts of nodes come from that serve no longer than their lease: all that the cluster
    /// channel hears.
    Leased(Vec<IpAddr>),
    /// What the nodes' wall clocks show, as the cluster channel knows it.
    Clocks(Vec<PeerClock>),
    /// Say priority 0 if master, remove the addresses, end.
    Stop,
    /// End, and leave addresses and lease to a successor on this box.
    HandOver,
}

/// What the thread knows, for `status` and `/metrics`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct View {
    /// The machine's state.
    pub status: Status,
    /// The machine's counters.
    pub election: Counters,
    /// The sockets' counters.
    pub wire: WireCounters,
    /// When this was so, by `CLOCK_BOOTTIME`; at most a second or an interval ago.
    pub at_ns: u64,
}

/// The thread's handle. Dropped, it stops the thread as [`Command::Stop`] does, and waits for it.
#[derive(Debug)]
pub struct AdvertThread {
    commands: Sender<Command>,
    bell: wake::Bell,
    view: Arc<ArcSwapOption<View>>,
    thread: Option<JoinHandle<()>>,
}

impl AdvertThread {
    /// Starts the election in the network namespace of the calling thread.
    ///
    /// `health` and `found` are what is known at the start; `tell` is called on the thread and must
    /// not wait. Sockets that cannot be opened yet (no address, interface down) are tried again
    /// each second; the link counts as down while no family has one.
    pub fn spawn(
        settings: Settings,
        health: Health,
        found: Found,
        lease: Box<dyn LeaseControl>,
        vips: Box<dyn VipControl>,
        tell: impl Fn(Event) + Send + Clone + 'static,
    ) -> io::Result<Self> {
        let (commands, queue) = channel();
        let bell = wake::Bell::new()?;
        let view = Arc::new(ArcSwapOption::empty());
        let told = tell.clone();
        let addresses_by = address_mover::AddressMover::spawn(vips, bell.clone(), move |notice| {
            told(Event::Notice(notice));
        })?;
        let worker = thread::Worker::new(
            settings,
            lease,
            addresses_by,
            queue,
            bell.clone(),
            Arc::clone(&view),
            Box::new(tell),
        )?;
        let thread = std::thread::Builder::new()
            .name("lbd-advert".into())
            .spawn(move || worker.run(health, found))?;
        Ok(Self {
            commands,
            bell,
            view,
            thread: Some(thread),
        })
    }

    /// Tells the thread something; it acts within microseconds.
    pub fn send(&self, command: Command) {
        // A thread that has ended has nothing left to be told.
        let _ = self.commands.send(command);
        self.bell.ring();
    }

    /// What the thread knew last; `None` before it has begun.
    #[must_use]
    pub fn view(&self) -> Option<Arc<View>> {
        self.view.load_full()
    }

    /// Hands mastership over and waits until the addresses are gone.
    pub fn stop(mut self) {
        self.end(Command::Stop);
    }

    /// Ends; the addresses and the lease stay for a successor on this box.
    pub fn hand_over(mut self) {
        self.end(Command::HandOver);
    }

    fn end(&mut self, how: Command) {
        if let Some(thread) = self.thread.take() {
            self.send(how);
            // Its panic was reported by the panic hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}

impl Drop for AdvertThread {
    fn drop(&mut self) {
        self.end(Command::Stop);
    }
}
