mod away;
mod contested;
mod doubt;
mod families;
mod preempt;
mod properties;
mod rivals;
mod table;
mod timers;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use super::timing::{handover_ns, lease_ns, master_down_ns, skew_ns};
use super::*;
use crate::config::{NoHealthyBackend, StartAs};
use crate::units::Priority;
use crate::vrrp::Interval;

pub(super) const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
const OURS: Priority = Priority(150);

pub(super) fn config(priority: Priority, families: Families) -> Config {
    Config {
        priority,
        interval: Interval::DEFAULT,
        start_as: StartAs::Backup,
        preempt: true,
        preempt_delay_ns: 0,
        sync_timeout_ns: 5 * SECOND,
        no_healthy_backend: NoHealthyBackend::LowerPriority,
        announce: AnnounceConfig {
            count: 2,
            gap_ns: 100 * MS,
            repeat_ns: 0,
        },
        families,
        enforces: false,
        has_channel: true,
    }
}

fn ours() -> Config {
    let families = Families {
        v4: Some(Ipv4Addr::new(192, 0, 2, 12)),
        v6: Some("fe80::12".parse().unwrap()),
    };
    config(OURS, families)
}

pub(super) fn handle(machine: &mut Machine, now_ns: u64, input: Input) -> Vec<Output> {
    let mut outputs = Vec::new();
    machine.handle(now_ns, input, &mut outputs);
    outputs
}

/// A machine that has started at time 0 and was told that all is well.
fn started(config: Config) -> Machine {
    let mut machine = Machine::new(config, 0);
    handle(&mut machine, 0, Input::Health(Health::GOOD));
    handle(
        &mut machine,
        0,
        Input::Start {
            found: Found::Nothing,
        },
    );
    machine
}

/// A machine that has just become master; and when.
fn master(config: Config) -> (Machine, u64) {
    let mut machine = started(config);
    let now = machine.deadline_ns().unwrap();
    handle(&mut machine, now, Input::Timer);
    assert!(machine.is_master());
    (machine, now)
}

fn heard(from: &str, priority: u8) -> Input {
    Input::Advert(Heard {
        from: from.parse().unwrap(),
        priority: Priority(priority),
        interval: Interval::DEFAULT,
        leased: false,
    })
}

/// Outputs in a few words.
fn words(outputs: &[Output]) -> String {
    let mut text = String::new();
    for output in outputs {
        let sep = if text.is_empty() { "" } else { ", " };
        let _ = match output {
            Output::SendAdvert { priority, .. } => write!(text, "{sep}advert {}", priority.0),
            Output::LeaveFamily { family, .. } => write!(text, "{sep}leave {family}"),
            Output::HoldLease { .. } => write!(text, "{sep}hold"),
            Output::ReleaseLease => write!(text, "{sep}release"),
            Output::BecomeMaster { why } => write!(text, "{sep}master {why:?}"),
            Output::BecomeBackup { why } => write!(text, "{sep}backup {why:?}"),
            Output::Announce => write!(text, "{sep}announce"),
            Output::WantSync => write!(text, "{sep}sync"),
            // Questions are the matter of `doubt` alone.
            Output::Probe { .. } | Output::AskWitnesses { .. } | Output::Notice(_) => Ok(()),
            Output::AskAddresses => write!(text, "{sep}ask"),
            Output::Isolated => write!(text, "{sep}isolated"),
            Output::Rejoined => write!(text, "{sep}rejoined"),
        };
    }
    text
}

const NO_LINK: Health = Health {
    link: false,
    ..Health::GOOD
};
const NO_PROGRAM: Health = Health {
    data_plane: false,
    ..Health::GOOD
};
const NO_BACKEND: Health = Health {
    backends: false,
    ..Health::GOOD
};
const LOW: &str = "192.0.2.11";
const HIGH: &str = "192.0.2.13";
