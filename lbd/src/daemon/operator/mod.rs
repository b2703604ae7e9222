//! What people ask and order: the control socket, weight overrides, drains, denials and queries.
//!
//! From `lbd drain` to the maps:
//! ```text
//! control              takes the request from the socket, and waits for the answer
//! request              carries it to the event loop
//! command              orders that came together are done together: saved (orders), told to the peers, given to
//!                      the members, and obeyed by steering::weigh
//! ```
//! A denial goes the same way, by [`access`] and `change_access` into the program's lists. A query of flows is
//! answered off the event loop ([`flow_query`]).
pub mod access;
mod change_access;
mod command;
pub mod control;
pub(in crate::daemon) mod denials;
pub mod feeds;
pub mod flow_query;
mod latest;
pub(in crate::daemon) mod notify;
pub mod openapi;
pub mod order;
pub(in crate::daemon) mod orders;
pub(in crate::daemon) mod request;
pub(in crate::daemon) mod run_trace;
pub mod trace;

use self::{denials::Denials, feeds::Feeds, order::Ordered, orders::Orders};
use super::cluster::channel::ChannelHandle;

/// How often peers are told all orders again: a datagram may be lost.
const TELL_NS: u64 = 5_000_000_000;

/// What operators have ordered, on this node or another.
#[derive(Debug)]
pub(in crate::daemon) struct Operators {
    orders: Orders,
    denials: Denials,
    feeds: Feeds,
    /// Orders that have not been answered yet.
    waiting: Vec<Ordered>,
    told_ns: u64,
    /// When the trace ends that runs or is prepared.
    trace_until_ns: Option<u64>,
}

impl Operators {
    pub(in crate::daemon) fn new(orders: Orders, denials: Denials, feeds: Feeds) -> Self {
        Self {
            orders,
            denials,
            feeds,
            waiting: Vec::new(),
            told_ns: 0,
            trace_until_ns: None,
        }
    }

    pub(in crate::daemon) fn orders(&self) -> &Orders {
        &self.orders
    }

    /// An order is done with those that come with it: see [`Self::operate_if_due`].
    pub(in crate::daemon) fn push(&mut self, ordered: Ordered) {
        self.waiting.push(ordered);
    }

    /// Tells the peers again, when it is time.
    pub(in crate::daemon) fn tell_peers_if_due(&mut self, channel: &ChannelHandle, now_ns: u64) {
        if now_ns >= self.told_ns + TELL_NS {
            self.told_ns = now_ns;
            channel.tell_orders(self.orders.records());
            channel.tell_denials(self.denials.next_part());
        }
    }

    /// Tells a peer that has just come everything.
    pub(in crate::daemon) fn tell_all(&self, channel: &ChannelHandle) {
        channel.tell_orders(self.orders.records());
        channel.tell_denials(self.denials.records());
    }
}
