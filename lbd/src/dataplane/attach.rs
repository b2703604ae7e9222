//! The program on its interfaces, by links that are pinned.
use std::{io, os::fd::AsFd as _, path::Path};

use aya::programs::{
    ProgramError, Xdp,
    links::{FdLink, LinkError, PinnedLink},
    xdp::{XdpLink, XdpMode as AyaMode},
};

use tracing::warn;

use super::{
    bpf,
    error::{DataPlaneError, Result},
    pins::{self, PinDir, Undo, pin_error},
    refusal,
    spec::{XdpChoice, XdpMode},
    xdp_state::{self, Interface},
};

/// The change to make on one interface.
#[derive(Debug)]
pub(super) struct Plan {
    interface: Interface,
    /// Our link is attached, in this mode.
    ours: Option<XdpMode>,
}

/// The program on one interface.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) interface: Interface,
    pub(super) mode: XdpMode,
    /// Why it is not native, where that was tried first: the driver's words.
    pub(super) native_refused: Option<String>,
}

/// Looks at all interfaces before anything is touched.
pub(super) fn plan(pins: &PinDir, names: &[String]) -> Result<Vec<Plan>> {
    interfaces(names)?
        .into_iter()
        .map(|interface| plan_one(pins, interface))
        .collect()
}

/// The interfaces of these names that there are, at least one. One that is not there yet is attached to
/// once it is.
pub(super) fn interfaces(names: &[String]) -> Result<Vec<Interface>> {
    if names.is_empty() {
        return Err(DataPlaneError::NoInterface);
    }
    let mut there = Vec::new();
    for name in names {
        let found = xdp_state::interface(name).map_err(|error| {
            DataPlaneError::Load(format!("looking up interface {name}: {error}"))
        })?;
        there.extend(found);
    }
    if there.is_empty() {
        return Err(DataPlaneError::UnknownInterface {
            interface: names[0].clone(),
        });
    }
    Ok(there)
}

fn plan_one(pins: &PinDir, interface: Interface) -> Result<Plan> {
    let path = pins.link(&interface.name);
    let ours = match bpf::open_pin(&path) {
        // 0: the interface that the link was made for is gone, and one of its name was made since.
        Ok(link) => {
            bpf::link_ifindex(link.as_fd()).map_err(|source| pin_error("reading", &path, source))?
                == interface.ifindex
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(pin_error("opening", &path, error)),
    };
    match interface.attached {
        Some(attached) if ours => Ok(Plan {
            interface,
            ours: Some(attached.mode),
        }),
        Some(attached) => Err(DataPlaneError::ForeignXdp {
            program: xdp_state::describe_program(attached.program_id),
            interface: interface.name,
        }),
        None => Ok(Plan {
            interface,
            ours: None,
        }),
    }
}

/// Whether our link is attached to the interface of this name.
pub(super) fn is_ours(pins: &PinDir, name: &str) -> bool {
    let Ok(Some(interface)) = xdp_state::interface(name) else {
        return false;
    };
    plan_one(pins, interface).is_ok_and(|plan| plan.ours.is_some())
}

/// Attaches `program` to every interface, new ones first: what can fail comes before the running
/// program is replaced. Returns each interface with its mode.
pub(super) fn attach(
    program: &mut Xdp,
    pins: &PinDir,
    plans: Vec<Plan>,
    choice: XdpChoice,
    undo: &mut Undo,
) -> Result<Vec<Attachment>> {
    let (running, new): (Vec<Plan>, Vec<Plan>) =
        plans.into_iter().partition(|plan| plan.ours.is_some());
    let mut attached = Vec::new();
    for Plan { interface, .. } in new {
        let path = pins.link(&interface.name);
        pins::remove_link(&path)?;
        attached.push(attach_new(program, interface, &path, choice, undo)?);
    }
    for Plan { interface, ours } in running {
        let path = pins.link(&interface.name);
        let attachment = match (ours, choice) {
            (Some(XdpMode::Generic), XdpChoice::Native)
            | (Some(XdpMode::Native), XdpChoice::Generic)
            | (None, _) => {
                // The kernel has one mode at a time on an interface: a moment without the program.
                pins::remove_link(&path)?;
                let former = interface.clone();
                match attach_new(program, interface, &path, choice, undo) {
                    Ok(attachment) => attachment,
                    Err(error) => {
                        if let Some(mode) = ours {
                            restore(program, &former, &path, mode);
                        }
                        return Err(error);
                    }
                }
            }
            (Some(mode), _) => {
                replace(program, &path)
                    .map_err(|error| attach_error(&interface, mode, error, None))?;
                Attachment {
                    interface,
                    mode,
                    native_refused: None,
                }
            }
        };
        attached.push(attachment);
    }
    Ok(attached)
}

/// Removes the links of interfaces that are not among `attached`.
pub(super) fn detach_others(pins: &PinDir, attached: &[Attachment]) -> Result<()> {
    let keep: Vec<_> = attached
        .iter()
        .map(|attachment| pins.link(&attachment.interface.name))
        .collect();
    for link in pins.links()? {
        if !keep.contains(&link) {
            pins::remove_link(&link)?;
        }
    }
    Ok(())
}

fn attach_new(
    program: &mut Xdp,
    interface: Interface,
    path: &Path,
    choice: XdpChoice,
    undo: &mut Undo,
) -> Result<Attachment> {
    let modes: &[XdpMode] = match choice {
        XdpChoice::Auto => &[XdpMode::Native, XdpMode::Generic],
        XdpChoice::Native => &[XdpMode::Native],
        XdpChoice::Generic => &[XdpMode::Generic],
    };
    let mut refused = None;
    for &mode in modes {
        match link(program, interface.ifindex, mode) {
            Ok(link) => {
                undo.link(path.to_owned());
                link.pin(path)
                    .map_err(|error| pin_error("pinning", path, io::Error::other(error)))?;
                let native_refused = refused.as_ref().map(DataPlaneError::to_string);
                if let Some(refused) = &native_refused {
                    warn!("{refused}; it runs in generic mode, which is slower");
                }
                return Ok(Attachment {
                    interface,
                    mode,
                    native_refused,
                });
            }
            Err(error) => {
                let driver = match mode {
                    XdpMode::Native => refusal::driver_words(program, interface.ifindex),
                    XdpMode::Generic => None,
                };
                refused = Some(attach_error(&interface, mode, error, driver));
            }
        }
    }
    Err(refused.unwrap_or(DataPlaneError::NoInterface))
}

/// Attaches as it was before another mode was tried. A failure here is not reported: the
/// mode that was refused is what the operator hears of.
fn restore(program: &mut Xdp, interface: &Interface, path: &Path, mode: XdpMode) {
    if let Ok(link) = link(program, interface.ifindex, mode) {
        let _ = link.pin(path);
    }
}

fn link(program: &mut Xdp, ifindex: u32, mode: XdpMode) -> io::Result<FdLink> {
    let mode = match mode {
        XdpMode::Native => AyaMode::Driver,
        XdpMode::Generic => AyaMode::Skb,
    };
    let id = program
        .attach_to_if_index(ifindex, mode)
        .map_err(program_error)?;
    let link = program.take_link(id).map_err(program_error)?;
    // A kernel without XDP links would have given a netlink attachment, which ends with us.
    FdLink::try_from(link).map_err(link_error)
}

/// Puts `program` in the place of the one that runs, between two packets. The pin names the link
/// whichever program it has: there is no moment without it.
pub(super) fn replace(program: &mut Xdp, path: &Path) -> io::Result<()> {
    let link = FdLink::from(PinnedLink::from_pin(path).map_err(link_error)?);
    let link = XdpLink::try_from(link).map_err(link_error)?;
    let id = program.attach_to_link(link).map_err(program_error)?;
    program.take_link(id).map(drop).map_err(program_error)
}

fn program_error(error: ProgramError) -> io::Error {
    match error {
        ProgramError::SyscallError(error) => error.io_error,
        other => io::Error::other(other),
    }
}

fn link_error(error: LinkError) -> io::Error {
    match error {
        LinkError::SyscallError(error) => error.io_error,
        other => io::Error::other(other),
    }
}

fn attach_error(
    interface: &Interface,
    mode: XdpMode,
    error: io::Error,
    driver: Option<String>,
) -> DataPlaneError {
    let hint = match (error.raw_os_error(), mode) {
        (Some(libc::EPERM), _) => return DataPlaneError::NoPrivileges,
        (Some(libc::EOPNOTSUPP), XdpMode::Native) => {
            "; its driver has no XDP: set node.xdp to auto or generic"
        }
        (Some(libc::EINVAL | libc::ERANGE | libc::ENOSPC | libc::EMSGSIZE), XdpMode::Native) => {
            "; its MTU or queues may not suit XDP (`dmesg` may say more): lower the MTU, or set node.xdp to generic"
        }
        (Some(libc::EBUSY), _) => "; another program was attached meanwhile: start again",
        _ => "",
    };
    DataPlaneError::Attach {
        interface: interface.name.clone(),
        mode,
        error,
        driver: driver.map_or_else(String::new, |words| {
            format!(", its driver says \"{words}\"")
        }),
        hint,
    }
}
