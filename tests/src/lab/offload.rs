//! What an interface does by itself for its host, switched as `ethtool -K` does.
use std::{io, os::fd::AsRawFd};

use anyhow::{Context, Result};

use super::host::Host;

/// One request of `SIOCETHTOOL` that sets a feature, by its number in linux/ethtool.h.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Offload {
    /// Checksums of what is sent: `tx`, `ETHTOOL_STXCSUM`.
    TxChecksum = 0x17,
    /// TCP segments larger than a frame: `tso`, `ETHTOOL_STSO`.
    TcpSegmentation = 0x1f,
    /// The same of any protocol: `gso`, `ETHTOOL_SGSO`.
    GenericSegmentation = 0x24,
    /// Received segments put together: `gro`, `ETHTOOL_SGRO`.
    GenericReceive = 0x2c,
}

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

impl Host {
    /// Switches offloads of an interface, in this order: a later one may need an earlier one.
    pub fn set_offloads(&self, interface: &str, them: &[(Offload, bool)]) -> Result<()> {
        let set = |(offload, on): &(Offload, bool)| {
            request(interface, *offload as u32, u32::from(*on)).map(drop)
        };
        self.inside(|| them.iter().try_for_each(set))?
            .with_context(|| format!("{}: cannot set offloads of {interface}", self.name))
    }

    /// Whether an interface does that by itself.
    pub fn offload(&self, interface: &str, offload: Offload) -> Result<bool> {
        // Each request that reads a feature stands right before the one that sets it.
        self.inside(|| request(interface, offload as u32 - 1, 0))?
            .map(|data| data != 0)
            .with_context(|| format!("{}: cannot read offloads of {interface}", self.name))
    }
}

/// Asks the kernel in the network namespace of the calling thread; what is in the value afterwards.
fn request(interface: &str, command: u32, data: u32) -> io::Result<u32> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    // SAFETY: an ifreq of zeroes is valid: it holds numbers, bytes and pointers that may be null.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays for the zero at the end.
    if interface.len() >= request.ifr_name.len() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    let mut value = Value { command, data };
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the kernel reads the request and writes the value it points to; both outlive the call.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result == 0 {
        return Ok(value.data);
    }
    Err(io::Error::last_os_error())
}
