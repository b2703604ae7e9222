//! Which addresses and ports are served.
use lbd_common::{
    hash::{MAX_PROBE, slot_u32, slot_v6},
    maps::VIP_SLOTS,
    vip::{MAX_PORTS, Vip},
};

use super::{
    atomic,
    maps::{SERVICE_SESSIONS, VIPS},
};

/// The VIP with this IPv4 address.
#[inline(always)]
pub(crate) fn vip4(address: u32) -> Option<&'static Vip> {
    let home = slot_u32(address, VIP_SLOTS);
    for distance in 0..MAX_PROBE {
        let vip = VIPS.get((home + distance) & (VIP_SLOTS - 1))?;
        if vip.family == 0 {
            return None;
        }
        if vip.address[0] == address && vip.family == 4 {
            return Some(vip);
        }
    }
    None
}

/// The VIP with this IPv6 address.
#[inline(always)]
pub(crate) fn vip6(address: [u32; 4]) -> Option<&'static Vip> {
    let home = slot_v6(address, VIP_SLOTS);
    for distance in 0..MAX_PROBE {
        let vip = VIPS.get((home + distance) & (VIP_SLOTS - 1))?;
        if vip.family == 0 {
            return None;
        }
        if vip.address == address && vip.family == 6 {
            return Some(vip);
        }
    }
    None
}

/// The VIP id of a served port.
#[inline(always)]
pub(crate) fn service(vip: &Vip, port_be: u16) -> Option<u16> {
    for served in &vip.ports {
        if served.port_be == port_be {
            // Port 0 ends the list; it is never served.
            return (port_be != 0).then_some(served.id);
        }
    }
    const { assert!(MAX_PORTS == 8, "the loop above is unrolled") };
    None
}

/// Counts a session of a service that was selected for a backend.
#[inline(always)]
pub(crate) fn count_session(vip_id: u16) {
    if let Some(sessions) = SERVICE_SESSIONS.get_ptr_mut(vip_id as u32) {
        // SAFETY: a live, aligned map value.
        unsafe { atomic::add(sessions, 1) };
    }
}
