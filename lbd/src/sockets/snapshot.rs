//! What is open, and what listens, at one moment: by sock_diag.
use std::{
    collections::{BTreeSet, HashSet},
    io,
    net::SocketAddr,
};

use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP, TCP_LISTEN},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::Session;
use crate::agent::{Listener, netlink};

/// The sockets of the served ports.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Sessions, also those that wait to be accepted: what the program tells of, from its beginning to
    /// its end.
    pub sessions: HashSet<Session>,
    /// Where something listens.
    pub listeners: Vec<Listener>,
}

/// Asks the kernel for every socket whose own port is one of these, in this thread's network namespace;
/// 0 stands for every port.
pub fn snapshot(ports: &BTreeSet<u16>) -> io::Result<Snapshot> {
    let mut found = Snapshot::default();
    let states = StateFlags::ESTABLISHED | StateFlags::CLOSE_WAIT | StateFlags::LISTEN;
    each(ports, &states, |socket| {
        if let Some(listener) = listener(socket) {
            found.listeners.push(listener);
            return;
        }
        let id = &socket.header.socket_id;
        found.sessions.insert(Session {
            client: canonical(SocketAddr::new(id.destination_address, id.destination_port)),
            local: canonical(SocketAddr::new(id.source_address, id.source_port)),
        });
    })?;
    Ok(found)
}

/// Where something listens on these ports, in this thread's network namespace.
pub fn listeners(ports: &BTreeSet<u16>) -> io::Result<Vec<Listener>> {
    let mut found = Vec::new();
    each(ports, &StateFlags::LISTEN, |socket| {
        found.extend(listener(socket));
    })?;
    Ok(found)
}

/// What a socket listens at, if it does.
fn listener(socket: &InetResponse) -> Option<Listener> {
    let id = &socket.header.socket_id;
    (socket.header.state == TCP_LISTEN).then(|| Listener {
        address: SocketAddr::new(id.source_address, id.source_port),
        only_v6: socket.nlas.contains(&Nla::SkV6Only(true)),
    })
}

fn each(
    ports: &BTreeSet<u16>,
    states: &StateFlags,
    mut each: impl FnMut(&InetResponse),
) -> io::Result<()> {
    for port in ports {
        for (family, mut socket_id) in [
            (AF_INET, SocketId::new_v4()),
            (AF_INET6, SocketId::new_v6()),
        ] {
            // The kernel compares the port itself, and 0 with none (`inet_diag_dump_icsk()` of net/ipv4/inet_diag.c).
            socket_id.source_port = *port;
            let request = SockDiagMessage::InetRequest(InetRequest {
                family,
                protocol: IPPROTO_TCP,
                extensions: ExtensionFlags::empty(),
                states: states.clone(),
                socket_id,
            });
            netlink::dump(NETLINK_SOCK_DIAG, request, |answer| {
                if let SockDiagMessage::InetResponse(socket) = answer {
                    each(&socket);
                }
            })?;
        }
    }
    Ok(())
}

/// A socket for both families has IPv4-mapped addresses.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn sessions_of_a_socket_for_both_families_are_of_their_clients_family() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let clients = ["127.0.0.1", "::1"].map(|host| TcpStream::connect((host, port)).unwrap());
        let expected: HashSet<Session> = clients
            .iter()
            .map(|client| Session {
                client: client.local_addr().unwrap(),
                local: client.peer_addr().unwrap(),
            })
            .collect();
        let found = snapshot(&[port].into()).unwrap();
        assert_eq!(found.sessions, expected);
        assert_eq!(found.listeners.len(), 1);
    }
}
