//! The interfaces: whether they can send and receive, and whether the program is on them.
use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};

use super::{
    program_watch::{Look, ProgramWatch, Stopped},
    suspend::SuspendDetector,
};
use crate::{
    config::{self, Config},
    daemon::{
        clock,
        cluster::{Cluster, election_view::ElectionView},
        context::Context,
        log_failure::log_failure,
        observe::{
            recent::{Kind, Severity},
            record::Observed,
        },
    },
    dataplane::{DataPlane, LoadOptions, XdpChoice},
    host::links::{LinkChange, Links},
};

/// `node.interfaces`, and the program on them.
#[derive(Debug)]
pub(in crate::daemon) struct Interfaces {
    /// Whether each of them can send and receive.
    usable: BTreeMap<String, bool>,
    /// Those of them that are not there (yet).
    waited_for: BTreeSet<String>,
    /// Whether the program is attached to each of them.
    is_attached: bool,
    /// Whether the program runs where it is attached.
    program_watch: ProgramWatch,
    /// Why it could not be attached again.
    attach_refused: Option<String>,
    /// Whether the machine was suspended.
    suspended: SuspendDetector,
}

impl Interfaces {
    /// Not looked at yet; the program has just been attached.
    pub(in crate::daemon) fn new(names: &[String]) -> Self {
        Self {
            usable: names.iter().map(|name| (name.clone(), false)).collect(),
            waited_for: BTreeSet::new(),
            is_attached: true,
            program_watch: ProgramWatch::default(),
            attach_refused: None,
            suspended: SuspendDetector::default(),
        }
    }

    pub(in crate::daemon) fn is_usable(&self, name: &str) -> bool {
        self.usable.get(name) == Some(&true)
    }

    /// Whether all of them can send and receive.
    pub(in crate::daemon) fn are_usable(&self) -> bool {
        self.usable.values().all(|usable| *usable)
    }

    pub(in crate::daemon) fn is_attached(&self) -> bool {
        self.is_attached
    }

    fn tell(&self, election: &mut ElectionView) {
        election.tell_interfaces(self.is_attached, self.are_usable());
    }

    /// How the interfaces are now; from then on [`Self::link`] hears of changes. Frames may be
    /// redirected between them.
    pub(in crate::daemon) fn look_at_links(
        &mut self,
        config: &Config,
        plane: &mut DataPlane,
    ) -> anyhow::Result<()> {
        let links = Links::read()?;
        let mut devices = Vec::new();
        for (name, usable) in &mut self.usable {
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
        plane.set_devices(&devices)?;
        let own = links.own_macs(&config.node.interfaces);
        plane.set_own_macs(&own)?;
        Ok(())
    }

    /// Frames come for the MAC that an interface has now: a bond's changes with its active port, a cloud's
    /// with the network card. The virtual addresses are announced with it.
    fn receive_on(config: &Config, plane: &mut DataPlane, cluster: &Cluster) -> anyhow::Result<()> {
        let own = Links::read()?.own_macs(&config.node.interfaces);
        if plane.set_own_macs(&own)? {
            info!("frames for this box are now addressed to other MACs");
            cluster.reconfigure_election(config)?;
        }
        Ok(())
    }

    /// Takes in a change of an interface. Returns whether one of these went up or down.
    pub(in crate::daemon) fn link(
        &mut self,
        change: &LinkChange,
        context: &mut Context<'_>,
    ) -> bool {
        let received = Self::receive_on(context.config, context.plane, context.cluster);
        log_failure("the MACs of node.interfaces", received);
        context.cluster.tell_station(context.config);
        let (name, usable) = match change {
            LinkChange::Now(link) => (&link.name, link.is_usable()),
            LinkChange::Gone { name, .. } => (name, false),
        };
        let Some(known) = self.usable.get_mut(name) else {
            return false;
        };
        if std::mem::replace(known, usable) == usable {
            return false;
        }
        let said = format!("{name} is {}", if usable { "up" } else { "down" });
        let severity = if usable {
            Severity::Info
        } else {
            Severity::Warn
        };
        context
            .observed
            .happened(severity, Kind::Link, Some(name), said);
        self.tell(&mut context.cluster.election);
        true
    }

    /// Whether one is waited for, which may come by another name than the one in the file.
    pub(in crate::daemon) fn is_any_waited_for(&self) -> bool {
        !self.waited_for.is_empty()
    }

    /// The same interfaces by the names that they have now.
    pub(in crate::daemon) fn rename(&mut self, names: &[String]) {
        self.usable = names
            .iter()
            .map(|name| (name.clone(), self.is_usable(name)))
            .collect();
        self.waited_for.retain(|name| names.contains(name));
    }

    /// After a suspend the program may be attached in name only: it is taken off, to be attached anew.
    /// Returns whether the machine was suspended.
    pub(in crate::daemon) fn look_at_suspend(
        &mut self,
        plane: &mut DataPlane,
        now_ns: u64,
    ) -> bool {
        let Some(slept_ns) = self.suspended.look(now_ns, clock::monotonic_ns()) else {
            return false;
        };
        warn!(
            "the machine was suspended for {} s: attaching the XDP program again",
            slept_ns / 1_000_000_000
        );
        log_failure("detaching the XDP program", plane.take_off());
        true
    }

    /// Asks on each interface whether the program runs, and takes it off where it does not:
    /// [`Self::has_lost_program`] finds it, and it is attached anew.
    pub(in crate::daemon) fn look_at_program(&mut self, context: &mut Context<'_>, now_ns: u64) {
        let names = &context.config.node.interfaces;
        self.program_watch.keep(names);
        let mut proven = Vec::new();
        for name in names {
            if !self.is_attached || !self.is_usable(name) {
                continue;
            }
            let Some((ifindex, received)) = context.plane.received(name) else {
                continue;
            };
            let has_run = context.plane.has_run(ifindex);
            if has_run {
                proven.push(ifindex);
            }
            let look = Look {
                ifindex,
                received,
                has_run,
            };
            if let Some(stopped) = self.program_watch.look(name, look, now_ns) {
                take_off_stopped(name, stopped, context.plane, context.observed);
            }
        }
        let is_asking = self.program_watch.is_asking(now_ns);
        let asked = context.plane.take_every_frame(is_asking);
        log_failure("asking whether the XDP program runs", asked);
        for ifindex in proven {
            context.plane.ask_for_proof(ifindex);
        }
    }

    /// Whether the program has to be attached again: another program may have detached it, or an interface
    /// was made anew. Without it this box must not be master.
    pub(in crate::daemon) fn has_lost_program(
        &mut self,
        config: &Config,
        plane: &DataPlane,
        election: &mut ElectionView,
    ) -> bool {
        let mut present = config.node.interfaces.iter().filter(|name| {
            // One that is gone or down is the link's fault, and nothing can be attached to it.
            self.is_usable(name)
        });
        let is_attached = present.all(|name| plane.is_attached(name));
        if is_attached && self.is_attached {
            return false;
        }
        if self.is_attached {
            warn!("the XDP program is no longer attached to each of node.interfaces");
        }
        self.is_attached = is_attached;
        self.tell(election);
        !is_attached
    }

    /// What became of attaching it again.
    pub(in crate::daemon) fn attached_again(
        &mut self,
        outcome: anyhow::Result<()>,
        election: &mut ElectionView,
    ) {
        let refused = outcome.err().map(|error| format!("{error:#}"));
        match &refused {
            None => {
                self.is_attached = true;
                info!("the XDP program is attached again");
                self.tell(election);
            }
            Some(why) if refused != self.attach_refused => {
                warn!("the XDP program cannot be attached again, retrying every second: {why}");
            }
            Some(_) => {}
        }
        self.attach_refused = refused;
    }
}

/// Takes the program off an interface where it does not run.
fn take_off_stopped(name: &str, stopped: Stopped, plane: &mut DataPlane, observed: &mut Observed) {
    let frames = stopped.frames;
    let remedy = if stopped.again {
        ", as before: set node.xdp to generic if its driver cannot run it"
    } else {
        ""
    };
    observed.happened(
        Severity::Warn,
        Kind::Link,
        Some(name),
        format!(
            "the XDP program is attached to {name} and does not run: it saw none of {frames} frames that \
             came in; attaching it anew{remedy}"
        ),
    );
    log_failure("detaching the XDP program", plane.take_off_one(name));
}

/// How the program is loaded and attached, by the configuration.
pub(in crate::daemon) fn load_options(config: &Config) -> LoadOptions {
    let node = &config.node;
    LoadOptions {
        pin_dir: node.pin_dir.clone(),
        interfaces: node.interfaces.clone(),
        xdp: match node.xdp {
            config::Xdp::Auto => XdpChoice::Auto,
            config::Xdp::Native => XdpChoice::Native,
            config::Xdp::Generic => XdpChoice::Generic,
        },
        flows4_buckets: node.buckets4(),
        flows6_buckets: node.buckets6(),
    }
}
