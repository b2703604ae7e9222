//! Sessions on the mail ports, by sock_diag: what `ss` reads, without its text.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{
    AF_INET, AF_INET6, IPPROTO_TCP, TCP_CLOSE_WAIT, TCP_ESTABLISHED, TCP_LISTEN,
};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::netlink;

/// What was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    /// Conversations, also those that wait to be accepted.
    pub(super) sessions: u64,
    /// Those that wait.
    pub(super) not_accepted: u64,
    /// Where something listens.
    pub(super) listeners: Vec<Listener>,
    sources: HashSet<IpAddr>,
}

/// A listening socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listener {
    /// What it is bound to.
    pub address: SocketAddr,
    /// An IPv6 wildcard that takes no IPv4.
    pub only_v6: bool,
}

impl Listener {
    /// Whether a connection to this address, on the listener's port, would reach it.
    pub fn serves(&self, address: IpAddr) -> bool {
        let own = self.address.ip();
        if own == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            return address.is_ipv6() || !self.only_v6;
        }
        own.to_canonical() == address || (own.to_canonical().is_unspecified() && address.is_ipv4())
    }
}

impl Tally {
    /// Different clients among the sessions.
    pub(super) fn unique_ips(&self) -> u64 {
        self.sources.len() as u64
    }

    fn add(&mut self, socket: &InetResponse) {
        let SocketId {
            source_address,
            source_port,
            destination_address,
            ..
        } = socket.header.socket_id;
        match socket.header.state {
            TCP_LISTEN => {
                let only_v6 = socket.nlas.contains(&Nla::SkV6Only(true));
                let address = SocketAddr::new(source_address, source_port);
                self.listeners.push(Listener { address, only_v6 });
            }
            TCP_ESTABLISHED | TCP_CLOSE_WAIT => {
                self.sessions += 1;
                // `accept` gives a socket its inode; one that was closed again has none either, but
                // is in another state.
                self.not_accepted += u64::from(socket.header.inode == 0);
                self.sources.insert(destination_address.to_canonical());
            }
            _ => {}
        }
    }
}

/// Looks at every socket whose own port is one of `ports`, on any local address (the VIP too).
pub(super) fn tally(ports: &[u16]) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let states = StateFlags::ESTABLISHED | StateFlags::CLOSE_WAIT | StateFlags::LISTEN;
    each_socket(ports, &states, |socket| tally.add(socket))?;
    Ok(tally)
}

/// Open sessions with these addresses on these ports.
pub(super) fn open(addresses: &[IpAddr], ports: &[u16]) -> io::Result<u64> {
    let mut open = 0;
    let states = StateFlags::ESTABLISHED | StateFlags::CLOSE_WAIT;
    each_socket(ports, &states, |socket| {
        let own = socket.header.socket_id.source_address.to_canonical();
        open += u64::from(addresses.contains(&own));
    })?;
    Ok(open)
}

fn each_socket(
    ports: &[u16],
    states: &StateFlags,
    mut each: impl FnMut(&InetResponse),
) -> io::Result<()> {
    let ports: HashSet<u16> = ports.iter().copied().collect();
    for port in ports {
        for (family, mut socket_id) in [
            (AF_INET, SocketId::new_v4()),
            (AF_INET6, SocketId::new_v6()),
        ] {
            // The kernel compares the port itself (net/ipv4/inet_diag.c, `inet_diag_dump_icsk`).
            socket_id.source_port = port;
            let request = InetRequest {
                family,
                protocol: IPPROTO_TCP,
                extensions: ExtensionFlags::empty(),
                states: states.clone(),
                socket_id,
            };
            let request = SockDiagMessage::InetRequest(request);
            netlink::dump(NETLINK_SOCK_DIAG, request, |answer| {
                if let SockDiagMessage::InetResponse(socket) = answer {
                    each(&socket);
                }
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_listener_serves_what_its_address_covers() {
        let table = [
            ("0.0.0.0:25", false, "192.0.2.1", true),
            ("0.0.0.0:25", false, "2001:db8::1", false),
            ("192.0.2.1:25", false, "192.0.2.1", true),
            ("192.0.2.1:25", false, "192.0.2.2", false),
            ("[::]:25", false, "192.0.2.1", true),
            ("[::]:25", true, "192.0.2.1", false),
            ("[::]:25", true, "2001:db8::1", true),
            ("[::ffff:192.0.2.1]:25", false, "192.0.2.1", true),
            ("[::ffff:0.0.0.0]:25", false, "192.0.2.1", true),
            ("[::ffff:0.0.0.0]:25", false, "2001:db8::1", false),
            ("[2001:db8::1]:25", false, "2001:db8::1", true),
        ];
        for (address, only_v6, vip, expected) in table {
            let address = address.parse().unwrap();
            let listener = Listener { address, only_v6 };
            let vip: IpAddr = vip.parse().unwrap();
            assert_eq!(listener.serves(vip), expected, "{listener:?} {vip}");
        }
    }

    #[test]
    fn sessions_are_counted_in_both_families_and_before_they_are_accepted() {
        // Dual-stack: its IPv4 clients are IPv4-mapped IPv6 addresses.
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connect = |host: &str| TcpStream::connect((host, port)).unwrap();
        let _clients = [
            connect("127.0.0.1"),
            connect("127.0.0.1"),
            connect("127.0.0.2"),
            connect("::1"),
        ];
        let found = tally(&[port, port]).unwrap();
        // All came from 127.0.0.1 or ::1 (the kernel chooses the source by the destination, so
        // 127.0.0.2 is talked to from 127.0.0.1).
        assert_eq!(
            (found.sessions, found.not_accepted, found.unique_ips()),
            (4, 4, 2)
        );
        assert_eq!(found.listeners.len(), 1);

        let _accepted = listener.accept().unwrap();
        let found = tally(&[port]).unwrap();
        assert_eq!((found.sessions, found.not_accepted), (4, 3));
    }

    #[test]
    fn an_unused_port_has_no_sessions() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert_eq!(tally(&[port]).unwrap(), Tally::default());
        assert_eq!(tally(&[]).unwrap(), Tally::default());
    }
}
