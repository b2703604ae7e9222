//! The clients whose way back is followed: those to whom a reply of a `nat` backend found no MAC.
//!
//! The XDP program asks the kernel's neighbour table for each reply, and leaves no trace there. So an
//! entry that nothing else uses goes stale and then away; whoever was told of once is followed from
//! then on, as backends are, and the kernel keeps asking for the hop. Behind one router any client
//! stands for all. Pure.
use std::{collections::VecDeque, net::IpAddr};

/// Clients that are followed; the one told of longest ago goes first.
const CLIENTS: usize = 64;

/// The followed clients.
#[derive(Debug, Default)]
pub(in crate::daemon) struct ReplyWays {
    clients: VecDeque<IpAddr>,
}

impl ReplyWays {
    /// Takes up clients; true if that changes who is followed.
    pub(in crate::daemon) fn add(&mut self, clients: impl IntoIterator<Item = IpAddr>) -> bool {
        let mut changed = false;
        for client in clients {
            if self.clients.contains(&client) {
                continue;
            }
            if self.clients.len() == CLIENTS {
                self.clients.pop_front();
            }
            self.clients.push_back(client);
            changed = true;
        }
        changed
    }

    /// All of them.
    pub(in crate::daemon) fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.clients.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_last_told_are_followed_each_once() {
        let client = |n: u32| IpAddr::from(Ipv4Addr::from(n));
        let mut ways = ReplyWays::default();
        assert!(ways.add([client(1), client(2), client(1)]));
        assert!(!ways.add([client(2)]));
        assert_eq!(ways.iter().count(), 2);
        assert!(ways.add((3..100).map(client)));
        assert_eq!(ways.iter().count(), CLIENTS);
        assert!(ways.iter().any(|other| other == client(99)));
        assert!(ways.iter().all(|other| other != client(1)));
    }
}
