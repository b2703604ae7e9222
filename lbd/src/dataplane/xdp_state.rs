//! What the kernel says is attached to an interface.
use std::io;

use aya::programs::loaded_programs;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkExtentMask, LinkMessage, LinkXdp, XdpAttached},
};

use super::{netlink, spec::XdpMode};
use crate::netlink_error::refusal;

/// An interface by name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) ifindex: u32,
    /// The attached program, if any.
    pub(super) attached: Option<Attached>,
}

/// An attached XDP program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Attached {
    pub(super) mode: XdpMode,
    pub(super) program_id: u32,
}

/// Asks for one interface of this network namespace; `None` when there is none of that name.
pub(super) fn interface(name: &str) -> io::Result<Option<Interface>> {
    // Statistics are most of the answer, and are not needed here.
    let link = get_link(name, Some(LinkExtentMask::SkipStats))?;
    Ok(link.map(|link| Interface {
        name: name.to_owned(),
        ifindex: link.header.index,
        attached: attached(&link),
    }))
}

/// The number of an interface, and the frames that its driver has counted as received; `None` when there is
/// none of that name, or its driver counts none.
pub(super) fn received(name: &str) -> io::Result<Option<(u32, u64)>> {
    Ok(get_link(name, None)?.and_then(|link| {
        let packets = link
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::Stats64(stats) => Some(stats.rx_packets),
                _ => None,
            })?;
        Some((link.header.index, packets))
    }))
}

fn get_link(name: &str, mask: Option<LinkExtentMask>) -> io::Result<Option<LinkMessage>> {
    // Longer is an altname at most, and the kernel answers ERANGE to it here.
    if name.len() >= libc::IFNAMSIZ {
        return Ok(None);
    }
    let mut request = LinkMessage::default();
    let mask = mask.map(|mask| LinkAttribute::ExtMask(vec![mask]));
    request.attributes = [LinkAttribute::IfName(name.to_owned())]
        .into_iter()
        .chain(mask)
        .collect();
    match netlink::request(RouteNetlinkMessage::GetLink(request), 0)? {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Ok(Some(link)),
        NetlinkPayload::Error(error) => match refusal(&error) {
            error if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            error => Err(error),
        },
        other => Err(io::Error::other(format!("the kernel answered {other:?}"))),
    }
}

fn attached(link: &LinkMessage) -> Option<Attached> {
    let xdp = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Xdp(xdp) => Some(xdp),
            _ => None,
        })?;
    let mode = xdp.iter().find_map(|entry| match entry {
        LinkXdp::Attached(XdpAttached::None) => None,
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(XdpMode::Generic),
        // Offloaded and multiple programs are not lbd's: the program id shows it.
        LinkXdp::Attached(_) => Some(XdpMode::Native),
        _ => None,
    })?;
    let program_id = xdp.iter().find_map(|entry| match entry {
        LinkXdp::ProgId(id)
        | LinkXdp::DrvProgId(id)
        | LinkXdp::SkbProgId(id)
        | LinkXdp::HwProgId(id) => Some(*id),
        _ => None,
    });
    Some(Attached {
        mode,
        program_id: program_id.unwrap_or(0),
    })
}

/// `id 12, my_filter`.
pub(super) fn describe_program(id: u32) -> String {
    let name = loaded_programs()
        .flatten()
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned))
        .filter(|name| !name.is_empty());
    match name {
        Some(name) => format!("id {id}, {name}"),
        None => format!("id {id}"),
    }
}
