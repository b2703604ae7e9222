//! What `forwarding: nat` needs of the box: it is the backends' gateway.
//!
//! **Forwarding** on lbd's interfaces, and on no other. `bpf_fib_lookup`, which finds the way of each
//! reply, refuses to answer for frames of an interface that does not forward (net/core/filter.c); and
//! what a backend sends by itself, mail above all, the kernel routes as for any gateway. An IPv6
//! interface that forwards takes no default route from router advertisements, unless its `accept_ra`
//! is 2 (Documentation/networking/ip-sysctl.rst).
//!
//! **No redirects.** To a backend on the segment of the next router the kernel would say that there
//! is a shorter way for what it routes; replies that took it would not be translated. Of `all` and the
//! interface's own value the kernel takes the larger, so both are 0. IPv6 has no such switch: there
//! the backends must not accept redirects.
//!
//! `rp_filter` is left alone: replies are taken before it, and what a backend sends by itself comes
//! in where the kernel would send to it.
use super::{Host, HostError};

impl Host {
    /// Makes the box a gateway between these interfaces, for as long as lbd runs.
    pub fn be_gateway(&mut self, interfaces: &[String], family: Family) -> Result<(), HostError> {
        // One that is not there (yet) is passed over.
        let interfaces = self.those_there(interfaces)?;
        for interface in &interfaces {
            let family = match family {
                Family::V4 => "ipv4",
                Family::V6 => "ipv6",
            };
            self.raise_sysctl(&format!("net/{family}/conf/{interface}/forwarding"), 1)?;
        }
        if family == Family::V4 {
            let scopes = std::iter::once("all").chain(interfaces.iter().copied());
            for scope in scopes {
                self.lower_sysctl(&format!("net/ipv4/conf/{scope}/send_redirects"), 0)?;
            }
        }
        Ok(())
    }
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}
