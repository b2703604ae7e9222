//! Every kind of change lbd makes to the box, how it is made and how it is undone.
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressScope;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use serde::{Deserialize, Serialize};

use super::links;
use super::netlink::Netlink;
use super::{HostError, sysctl, vip};
use crate::dataplane::{DataPlane, DataPlaneError};

/// One change. This list is complete: lbd makes no other.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// A sysctl has another value. Put back only while it still has ours.
    Sysctl {
        /// Its path below /proc/sys.
        key: String,
        /// Its value before.
        old: u32,
        /// Ours.
        new: u32,
    },
    /// An address that stays: the VIP on `lo`.
    Address {
        /// The address, as a /32 or /128.
        address: IpAddr,
        /// The interface's name.
        interface: String,
    },
    /// The VIP may be on this interface, as a lease that [`vip::VipSocket`] adds and renews.
    Lease {
        /// The address, as a /32 or /128.
        address: IpAddr,
        /// The interface's name.
        interface: String,
    },
    /// An XDP program on an interface that is not held by a link (kernels before 5.9), and so stays
    /// when its loader dies. One that is held by a link goes with the link's [`Change::Pin`].
    Xdp {
        /// The interface's name.
        interface: String,
        /// The program's id.
        program_id: u32,
    },
    /// lbd's folder in bpffs, with its maps, program and links. What others pinned there stays.
    Pin {
        /// The folder.
        path: PathBuf,
    },
    /// A socket in the file system, such as the control socket. Anything else of that name stays.
    File {
        /// Where.
        path: PathBuf,
    },
}

/// How an undoing went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is as it was before.
    Undone,
    /// It was gone already.
    Gone,
    /// It was changed by another hand since, and stays.
    LeftAlone(String),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sysctl { key, old, new } => write!(f, "sysctl {key} {old} -> {new}"),
            Self::Address { address, interface } => write!(f, "address {address} on {interface}"),
            Self::Lease { address, interface } => write!(f, "VIP {address} on {interface}"),
            Self::Xdp {
                interface,
                program_id,
            } => write!(f, "XDP program {program_id} on {interface}"),
            Self::Pin { path } => write!(f, "pin {}", path.display()),
            Self::File { path } => write!(f, "file {}", path.display()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undone => f.write_str("undone"),
            Self::Gone => f.write_str("was gone already"),
            Self::LeftAlone(reason) => write!(f, "left alone: {reason}"),
        }
    }
}

impl Change {
    /// Whether both are about the same thing, so that one entry of the journal stands for both.
    pub(super) fn is_about_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sysctl { key: a, .. }, Self::Sysctl { key: b, .. }) => a == b,
            _ => self == other,
        }
    }

    pub(super) fn make(&self, netlink: &mut Netlink) -> Result<(), HostError> {
        match self {
            Self::Sysctl { key, new, .. } => sysctl::write(key, *new),
            Self::Address { address, interface } => add_address(netlink, *address, interface),
            // Their owners make these.
            Self::Lease { .. } | Self::Xdp { .. } | Self::Pin { .. } | Self::File { .. } => Ok(()),
        }
    }

    pub(super) fn undo(&self, netlink: &mut Netlink) -> Result<Outcome, HostError> {
        match self {
            Self::Sysctl { key, old, new } => restore_sysctl(key, *old, *new),
            Self::Address { address, interface } => remove_address(netlink, *address, interface),
            Self::Lease { address, interface } => end_lease(netlink, *address, interface),
            Self::Xdp {
                interface,
                program_id,
            } => detach_xdp(netlink, interface, *program_id),
            Self::Pin { path } => remove_pins(path),
            Self::File { path } => remove_socket(path),
        }
    }
}

fn restore_sysctl(key: &str, old: u32, new: u32) -> Result<Outcome, HostError> {
    match sysctl::read(key) {
        Err(error) if sysctl::is_gone(&error) => Ok(Outcome::Gone),
        Err(error) => Err(error),
        Ok(current) if current == new => sysctl::write(key, old).map(|()| Outcome::Undone),
        Ok(current) if current == old => Ok(Outcome::Gone),
        Ok(current) => Ok(Outcome::LeftAlone(format!(
            "it is {current} now, and lbd had set it to {new}"
        ))),
    }
}

fn add_address(netlink: &mut Netlink, address: IpAddr, interface: &str) -> Result<(), HostError> {
    let ifindex = links::read(netlink)?.named(interface)?.ifindex;
    let mut message = vip::host_address(address, ifindex)?;
    // Scope host: the kernel takes no source address for the outside from it (IPv4), and IPv6 gives
    // `lo` that scope by itself.
    message.header.scope = AddressScope::Host;
    netlink.change(
        RouteNetlinkMessage::NewAddress(message),
        NLM_F_CREATE | NLM_F_REPLACE,
        || format!("add {address} to {interface}"),
    )
}

fn remove_address(
    netlink: &mut Netlink,
    address: IpAddr,
    interface: &str,
) -> Result<Outcome, HostError> {
    let links = links::read(netlink)?;
    let Ok(link) = links.named(interface) else {
        return Ok(Outcome::Gone);
    };
    let removed = vip::remove(netlink, address, link.ifindex)?;
    Ok(if removed {
        Outcome::Undone
    } else {
        Outcome::Gone
    })
}

fn end_lease(
    netlink: &mut Netlink,
    address: IpAddr,
    interface: &str,
) -> Result<Outcome, HostError> {
    let links = links::read(netlink)?;
    let Ok(link) = links.named(interface) else {
        return Ok(Outcome::Gone);
    };
    let held = link
        .addresses
        .iter()
        .find(|held| held.address == address && held.excludes_lease());
    match held {
        None => Ok(Outcome::Gone),
        Some(held) if held.valid_s.is_none() => Ok(Outcome::LeftAlone(format!(
            "{address} is configured permanently on {interface}"
        ))),
        Some(_) => remove_address(netlink, address, interface),
    }
}

fn detach_xdp(
    netlink: &mut Netlink,
    interface: &str,
    program_id: u32,
) -> Result<Outcome, HostError> {
    let links = links::read(netlink)?;
    let Ok(link) = links.named(interface) else {
        return Ok(Outcome::Gone);
    };
    match link.xdp_program_id {
        None => return Ok(Outcome::Gone),
        Some(id) if id != program_id => {
            return Ok(Outcome::LeftAlone(format!(
                "{interface} has XDP program {id} now, and lbd's was {program_id}"
            )));
        }
        Some(_) => {}
    }
    let mut message = LinkMessage::default();
    message.header.index = link.ifindex;
    message.attributes = vec![LinkAttribute::Xdp(vec![LinkXdp::Fd(-1)])];
    netlink.change(RouteNetlinkMessage::SetLink(message), 0, || {
        format!("detach XDP program {program_id} from {interface}")
    })?;
    Ok(Outcome::Undone)
}

/// A wrong path in a configuration must not delete unrelated files: only what lbd pins is removed, and
/// only on bpffs.
fn remove_pins(folder: &Path) -> Result<Outcome, HostError> {
    if !folder.exists() {
        return Ok(Outcome::Gone);
    }
    match DataPlane::cleanup(folder) {
        Ok(_) if folder.exists() => Ok(Outcome::LeftAlone(
            "it holds what lbd did not pin".to_owned(),
        )),
        Ok(_) => Ok(Outcome::Undone),
        Err(DataPlaneError::NotBpffs { .. }) => {
            Ok(Outcome::LeftAlone("it is not on bpffs".to_owned()))
        }
        Err(error) => Err(HostError::Remove {
            path: folder.to_owned(),
            error: io::Error::other(error),
        }),
    }
}

fn remove_socket(path: &Path) -> Result<Outcome, HostError> {
    let removed = fs::symlink_metadata(path).and_then(|metadata| {
        if metadata.file_type().is_socket() {
            fs::remove_file(path).map(|()| Outcome::Undone)
        } else {
            Ok(Outcome::LeftAlone("it is not a socket".to_owned()))
        }
    });
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Outcome::Gone),
        removed => removed.map_err(|error| HostError::Remove {
            path: path.to_owned(),
            error,
        }),
    }
}
