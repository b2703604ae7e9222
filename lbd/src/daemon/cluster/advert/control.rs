//! What the election moves: the data plane's lease and the addresses.
use std::error::Error;
use std::net::IpAddr;

use crate::host::VipSocket;

/// The data plane's lease. Called on the advert thread: no system call, no lock.
pub trait LeaseControl: Send {
    /// Serve new sessions and ARP/ND for the VIPs until `until_ns` of `CLOCK_BOOTTIME`.
    fn hold(&self, until_ns: u64);
    /// Serve nothing new from now on.
    fn release(&self);
}

/// Why an address could not be added or removed.
pub type VipError = Box<dyn Error + Send + Sync>;

/// The virtual addresses on the box. Called on a thread of its own, which may wait: another
/// process can hold the kernel's configuration lock for seconds.
pub trait VipControl: Send {
    /// Adds the address to interface `ifindex` for `valid_s` seconds, or renews it. It must not wait
    /// for duplicate address detection.
    fn hold(&mut self, address: IpAddr, ifindex: u32, valid_s: u32) -> Result<(), VipError>;
    /// Removes the address from interface `ifindex`; one that is not there is fine, and so is an
    /// interface that is gone.
    fn remove(&mut self, address: IpAddr, ifindex: u32) -> Result<(), VipError>;
}

/// The addresses of interfaces, by rtnetlink.
#[derive(Debug)]
pub struct InterfaceVips {
    socket: VipSocket,
}

impl InterfaceVips {
    /// Puts addresses on interfaces of the network namespace in which `socket` was opened.
    #[must_use]
    pub fn new(socket: VipSocket) -> Self {
        Self { socket }
    }
}

impl VipControl for InterfaceVips {
    fn hold(&mut self, address: IpAddr, ifindex: u32, valid_s: u32) -> Result<(), VipError> {
        self.socket.renew(address, ifindex, valid_s)?;
        Ok(())
    }

    fn remove(&mut self, address: IpAddr, ifindex: u32) -> Result<(), VipError> {
        self.socket.remove(address, ifindex)?;
        Ok(())
    }
}
