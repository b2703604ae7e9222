//! For which services this box has a listening socket of its own, and what to say where one lacks. Pure.
use std::{collections::BTreeSet, net::SocketAddr};

use super::own::Home;
use crate::{agent::Listener, channel::NoListener};

/// Between two looks without news from the kernel: rules that translate come and go without a word.
pub(super) const LOOK_NS: u64 = 1_000_000_000;

/// The services of a box for which none of these sockets listens. `is_redirected` says of which a session was
/// seen to begin at another port of this box.
pub(super) fn lacking(
    home: &Home,
    listeners: &[Listener],
    is_redirected: impl Fn(SocketAddr) -> bool,
) -> Vec<SocketAddr> {
    let listens = |at: SocketAddr| {
        let mut listeners = listeners.iter();
        listeners.any(|listener| listener.address.port() == at.port() && listener.serves(at.ip()))
    };
    let services = home.services.iter().copied();
    let lacks = |vip: &SocketAddr| {
        let own = home.translated(*vip).filter(|own| listens(*own));
        own.is_none() && !listens(*vip) && !is_redirected(*vip)
    };
    services.filter(lacks).collect()
}

/// What an operator is told of a box without some listeners, if anything; `services` are all that there are.
pub(super) fn sentence(name: &str, lacks: &NoListener, services: &[SocketAddr]) -> Option<String> {
    let (mut whole, mut named) = (BTreeSet::new(), BTreeSet::new());
    // What a peer names that is none of ours is no matter here.
    let known = lacks.services.iter().filter(|it| services.contains(it));
    for service in known {
        let port = service.port();
        let mut same_port = services.iter().filter(|other| other.port() == port);
        if same_port.all(|other| lacks.services.contains(other)) {
            whole.insert(format!("port {port}"));
        } else {
            named.insert(format!("{} port {port}", service.ip()));
        }
    }
    let what: Vec<String> = whole.into_iter().chain(named).collect();
    if what.is_empty() {
        return None;
    }
    let what = what.join(", ");
    Some(if lacks.refuses {
        format!("{name} takes no sessions for {what}: no listener")
    } else {
        format!(
            "{name} has no listener for {what}, but rules that may hand these connections to a container: \
             lbd knows their sessions by what the clients send alone"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    const SERVICES: [&str; 3] = ["192.0.2.25:25", "192.0.2.25:587", "[2001:db8::25]:25"];

    fn at(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|it| it.parse().unwrap()).collect()
    }

    fn home(nat: Option<u16>) -> Home {
        Home {
            address: [192, 0, 2, 11].into(),
            port: nat.and_then(NonZeroU16::new),
            is_translated: nat.is_some(),
            services: at(&SERVICES).into_iter().collect(),
        }
    }

    #[test]
    fn a_service_needs_a_listener_where_its_connections_come() {
        let own_port = NonZeroU16::MIN.get();
        for (nat, listeners, expected) in [
            (None, &["0.0.0.0:25", "[::]:25", "0.0.0.0:587"][..], &[][..]),
            (None, &["0.0.0.0:25", "0.0.0.0:587"], &["[2001:db8::25]:25"]),
            (None, &["[::]:25"], &["192.0.2.25:587"]),
            (None, &["[::]:587", "192.0.2.25:25"], &["[2001:db8::25]:25"]),
            (
                None,
                &["127.0.0.1:25", "[::]:587", "[2001:db8::25]:25"],
                &["192.0.2.25:25"],
            ),
            // Its own address is where translated ones come, and no others.
            (
                None,
                &["192.0.2.11:25", "[::]:587", "[2001:db8::25]:25"],
                &["192.0.2.25:25"],
            ),
            (Some(0), &["192.0.2.11:25", "[::]:587"], &[]),
            (Some(own_port), &["192.0.2.11:1"], &[]),
            (Some(own_port), &["192.0.2.11:25"], &SERVICES),
            (None, &[], &SERVICES),
        ] {
            let sockets: Vec<Listener> = at(listeners)
                .into_iter()
                .map(|address| Listener {
                    address,
                    only_v6: false,
                })
                .collect();
            let found = lacking(&home(nat), &sockets, |_| false);
            assert_eq!(found, at(expected), "{nat:?} {listeners:?}");
        }
        let redirected = |vip: SocketAddr| vip.port() == 587;
        let found = lacking(&home(None), &[], redirected);
        assert_eq!(found, at(&[SERVICES[0], SERVICES[2]]));
    }

    #[test]
    fn a_port_is_named_and_an_address_where_the_others_listen() {
        let services = at(&SERVICES);
        let said = |refuses, lacks: &[&str]| {
            sentence("mx2", &NoListener::new(refuses, at(lacks)), &services)
        };
        assert_eq!(said(true, &[]), None);
        assert_eq!(said(true, &["192.0.2.26:25"]), None, "none of ours");
        let port = said(true, &["192.0.2.25:587"]).unwrap();
        assert_eq!(port, "mx2 takes no sessions for port 587: no listener");
        let family = said(true, &["[2001:db8::25]:25"]).unwrap();
        assert!(
            family.contains("for 2001:db8::25 port 25: no listener"),
            "{family}"
        );
        let unsure = said(false, &SERVICES).unwrap();
        assert!(
            unsure.starts_with("mx2 has no listener for port 25, port 587, but rules"),
            "{unsure}"
        );
    }
}
