//! The interfaces: whether they can send and receive, and whether the program is on them.
use tracing::{info, warn};

use super::{
    program_watch::{Look, Stopped},
    start::load_options,
};
use crate::{
    channel::Station,
    config,
    daemon::{
        clock,
        event_loop::EventLoop,
        observe::recent::{Kind, Severity},
    },
    host::{
        self,
        links::{LinkChange, Links},
    },
    units::Mac,
};

impl EventLoop {
    /// How the interfaces are now; from then on [`Self::link`] hears of changes. Frames may be
    /// redirected between them.
    pub(in crate::daemon) fn look_at_links(&mut self) -> anyhow::Result<()> {
        let links = Links::read()?;
        let mut devices = Vec::new();
        for (name, usable) in &mut self.links_usable {
            let Ok(link) = links.named(name) else {
                *usable = false;
                if self.waited_for.insert(name.clone()) {
                    warn!(
                        "{name} of node.interfaces is not there: it is taken as soon as it is, all else \
                         runs, and this box is no master meanwhile"
                    );
                }
                continue;
            };
            self.waited_for.remove(name);
            *usable = link.is_usable();
            devices.push(link.ifindex);
        }
        self.plane.set_devices(&devices)?;
        let own = links.own_macs(&self.config.node.interfaces);
        self.plane.set_own_macs(&own)?;
        Ok(())
    }

    /// Tells the peers with which MACs this box sends, and which of them stands for the address that they
    /// know it by.
    pub(in crate::daemon) fn tell_station(&mut self) {
        self.log_failure("what the peers are told of this box's MACs", |event_loop| {
            let config = &event_loop.config;
            let own = config.own_backend().map(|backend| backend.address);
            let own = own.or(config.node.channel.map(|channel| channel.ip()));
            let links = Links::read()?;
            let home = links
                .iter()
                .find(|link| !link.loopback && own.is_some_and(|own| link.has(own)));
            let macs = links.own_macs(&config.node.interfaces);
            let macs: Vec<Mac> = macs.into_iter().map(|(_, mac)| mac).collect();
            let station = Station::new(home.and_then(|link| link.mac), &macs);
            event_loop.channel.tell_station(station);
            Ok(())
        });
    }

    /// Frames come for the MAC that an interface has now: a bond's changes with its active port, a cloud's
    /// with the network card. The virtual addresses are announced with it.
    fn receive_on(&mut self) {
        self.log_failure("the MACs of node.interfaces", |event_loop| {
            let own = Links::read()?.own_macs(&event_loop.config.node.interfaces);
            if event_loop.plane.set_own_macs(&own)? {
                info!("frames for this box are now addressed to other MACs");
                event_loop.reconfigure_election()?;
            }
            Ok(())
        });
        self.tell_station();
    }

    pub(in crate::daemon) fn link(&mut self, change: &LinkChange) {
        self.receive_on();
        let (name, usable) = match change {
            LinkChange::Now(link) => (&link.name, link.is_usable()),
            LinkChange::Gone { name, .. } => (name, false),
        };
        let Some(known) = self.links_usable.get_mut(name) else {
            return;
        };
        if *known != usable {
            *known = usable;
            let said = format!("{name} is {}", if usable { "up" } else { "down" });
            let severity = if usable {
                Severity::Info
            } else {
                Severity::Warn
            };
            let name = name.clone();
            self.happened(severity, Kind::Link, Some(&name), said);
            self.look_at_attachment();
            self.tell_election_of_health();
        }
    }

    /// An interface that was waited for may come by another name than the one in the file.
    pub(in crate::daemon) fn look_for_other_names(&mut self) {
        if self.waited_for.is_empty() {
            return;
        }
        self.log_failure("the names of node.interfaces", |event_loop| {
            let facts = host::facts(&event_loop.config)?;
            if !config::name_interfaces(&mut event_loop.config, &facts) {
                return Ok(());
            }
            let names = &event_loop.config.node.interfaces;
            event_loop.links_usable = names
                .iter()
                .map(|name| {
                    (
                        name.clone(),
                        event_loop.links_usable.get(name) == Some(&true),
                    )
                })
                .collect();
            event_loop.waited_for.retain(|name| names.contains(name));
            event_loop
                .backend_tasks
                .follow(&event_loop.config, &event_loop.config_path);
            event_loop.look_at_links()?;
            event_loop.look_at_attachment();
            Ok(())
        });
    }

    /// After a suspend the program may be attached in name only: it is taken off, and attached anew.
    pub(in crate::daemon) fn look_at_suspend(&mut self, now_ns: u64) {
        let Some(slept_ns) = self.suspended.look(now_ns, clock::monotonic_ns()) else {
            return;
        };
        warn!(
            "the machine was suspended for {} s: attaching the XDP program again",
            slept_ns / 1_000_000_000
        );
        self.log_failure("detaching the XDP program", |event_loop| {
            Ok(event_loop.plane.take_off()?)
        });
        self.doubt_verdicts(false, now_ns);
    }

    /// Asks on each interface whether the program runs, and takes it off where it does not:
    /// [`Self::look_at_attachment`] attaches it anew.
    pub(in crate::daemon) fn look_at_program(&mut self, now_ns: u64) {
        let names = self.config.node.interfaces.clone();
        self.program_watch.keep(&names);
        let mut proven = Vec::new();
        for name in &names {
            if !self.is_attached || self.links_usable.get(name) != Some(&true) {
                continue;
            }
            let Some((ifindex, received)) = self.plane.received(name) else {
                continue;
            };
            let has_run = self.plane.has_run(ifindex);
            if has_run {
                proven.push(ifindex);
            }
            let look = Look {
                ifindex,
                received,
                has_run,
            };
            if let Some(stopped) = self.program_watch.look(name, look, now_ns) {
                self.attach_anew(name, stopped);
            }
        }
        let is_asking = self.program_watch.is_asking(now_ns);
        self.log_failure("asking whether the XDP program runs", |event_loop| {
            Ok(event_loop.plane.take_every_frame(is_asking)?)
        });
        for ifindex in proven {
            self.plane.ask_for_proof(ifindex);
        }
    }

    fn attach_anew(&mut self, name: &str, stopped: Stopped) {
        let frames = stopped.frames;
        let remedy = if stopped.again {
            ", as before: set node.xdp to generic if its driver cannot run it"
        } else {
            ""
        };
        self.happened(
            Severity::Warn,
            Kind::Link,
            Some(name),
            format!(
                "the XDP program is attached to {name} and does not run: it saw none of {frames} frames that \
                 came in; attaching it anew{remedy}"
            ),
        );
        self.log_failure("detaching the XDP program", |event_loop| {
            Ok(event_loop.plane.take_off_one(name)?)
        });
    }

    /// Somebody may have detached the program, or an interface was made anew: without it this box
    /// must not be master, and it is attached again.
    pub(in crate::daemon) fn look_at_attachment(&mut self) {
        let mut present = self.config.node.interfaces.iter().filter(|name| {
            // One that is gone or down is the link's fault, and nothing can be attached to it.
            self.links_usable.get(*name) == Some(&true)
        });
        let is_attached = present.all(|name| self.plane.is_attached(name));
        if is_attached == self.is_attached && is_attached {
            return;
        }
        if self.is_attached {
            warn!("the XDP program is no longer attached to each of node.interfaces");
        }
        self.is_attached = is_attached;
        self.tell_election_of_health();
        if is_attached {
            return;
        }
        let refused = self.attach_again().err().map(|error| format!("{error:#}"));
        if let Some(why) = refused.as_ref().filter(|_| refused != self.attach_refused) {
            warn!("the XDP program cannot be attached again, retrying every second: {why}");
        }
        self.attach_refused = refused;
    }

    fn attach_again(&mut self) -> anyhow::Result<()> {
        self.plane.attach_again(&load_options(&self.config))?;
        // An interface that was made anew has another number, and none of our settings.
        self.look_at_links()?;
        let cluster = self.config.cluster.clone();
        self.configure(Some(&cluster))?;
        self.reconfigure_election()?;
        self.is_attached = true;
        info!("the XDP program is attached again");
        self.tell_election_of_health();
        Ok(())
    }
}
