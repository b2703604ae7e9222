//! For `lbd/fuzz` only: what it has to reach behind the interface of a module.
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_sock_diag::SockDiagMessage;

use crate::{agent::netlink, channel::Keys};

/// Where a datagram of the cluster channel names its key.
const KEY_NUMBER_AT: usize = 3;

/// The message as a signed datagram, with any content.
#[must_use]
pub fn signed(keys: &Keys, mut message: Vec<u8>) -> Vec<u8> {
    if let Some(number) = message.get_mut(KEY_NUMBER_AT) {
        *number = keys.signing_number();
    }
    let signature = keys.sign(&message);
    message.extend(signature);
    message
}

/// Reads the bytes as a datagram of rtnetlink and of sock_diag.
pub fn netlink_answers(datagram: &[u8]) {
    let _ = netlink::answers(datagram, &mut |answer: RouteNetlinkMessage| drop(answer));
    let _ = netlink::answers(datagram, &mut |answer: SockDiagMessage| drop(answer));
}
