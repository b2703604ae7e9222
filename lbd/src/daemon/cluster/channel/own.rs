//! The sessions of this box's own kernel, as records for the peers and for this node's own table.
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
};

use tracing::{info, warn};

use super::listeners::{LOOK_NS, lacking};

use crate::{
    agent::may_translate,
    channel::{Change, FlowRecord, NoListener},
    sockets::{Event, OpenSessions, Session, Sockets, SocketsError, listeners, snapshot},
    units::{Endpoint, Sockets as Bound},
};

/// Sessions on other ports that are kept in mind: more than a mail server has.
const ELSEWHERE: usize = 1 << 16;
/// For [`snapshot`].
const EVERY_PORT: [u16; 1] = [0];
/// Sessions that a step of a walk takes: of IPv4, and what one of IPv6 counts as.
const STEP: usize = 65;
const OF_IPV6: usize = 3;

/// Where this box's sessions end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::daemon) struct Home {
    /// This box's address as a backend.
    pub(in crate::daemon) address: IpAddr,
    /// Behind `nat`: the port that every service's sessions come to; `None` is the service's own.
    pub(in crate::daemon) port: Option<NonZeroU16>,
    /// Behind `nat`: sessions that another box directs come to `address`.
    pub(in crate::daemon) is_translated: bool,
    /// The virtual addresses and ports.
    pub(in crate::daemon) services: BTreeSet<SocketAddr>,
}

impl Home {
    /// How the cluster knows a session. One with the box's own address came by `nat`, and where several
    /// services end at one port it may be of any of them: a word that fits no flow changes nothing.
    fn records(&self, session: Session, change: Change) -> impl Iterator<Item = FlowRecord> {
        let Session { client, local } = session;
        let is_virtual = self.services.contains(&local);
        let is_own = !is_virtual && local.ip() == self.address;
        let port = self.port;
        let services = self.services.iter().copied().filter(move |vip| {
            let own_port = port.map_or(vip.port(), NonZeroU16::get);
            *vip == local || is_own && own_port == local.port()
        });
        let sockets = if is_own {
            Bound::Own { port }
        } else {
            Bound::Virtual
        };
        let backend = Endpoint {
            address: self.address,
            sockets,
        };
        services.map(move |vip| FlowRecord {
            change,
            source: client,
            vip,
            backend,
        })
    }

    /// The session that a record of [`Self::records`] is about.
    fn session(&self, record: &FlowRecord) -> Session {
        let local = match record.backend.sockets {
            Bound::Virtual => record.vip,
            Bound::Own { port } => {
                let port = port.map_or(record.vip.port(), NonZeroU16::get);
                SocketAddr::new(self.address, port)
            }
        };
        Session {
            client: record.source,
            local,
        }
    }

    /// Where connections of a service come, if they are translated.
    pub(super) fn translated(&self, vip: SocketAddr) -> Option<SocketAddr> {
        let port = self.port.map_or(vip.port(), NonZeroU16::get);
        self.is_translated
            .then(|| SocketAddr::new(self.address, port))
    }

    /// Whether a session's own end is one that services have.
    fn may_serve(&self, session: &Session) -> bool {
        self.services.contains(&session.local) || self.ports().contains(&session.local.port())
    }

    fn ports(&self) -> BTreeSet<u16> {
        let services = self.services.iter().map(SocketAddr::port);
        services.chain(self.port.map(NonZeroU16::get)).collect()
    }
}

/// The program, and what it has told.
#[derive(Debug, Default)]
pub(super) struct Own {
    home: Option<Home>,
    sockets: Option<Sockets>,
    /// Why there is no program.
    off: Option<String>,
    open: OpenSessions,
    /// Sessions on other ports, by client: one may be a service's that this box redirects (nftables), and
    /// then a director knows its client.
    elsewhere: HashMap<SocketAddr, Session>,
    /// Those of them that are known to be a service's: which.
    redirected: HashMap<Session, SocketAddr>,
    lost: u64,
    /// For which services no socket of this box listens.
    lacks: NoListener,
    /// When to look for that again; 0 is now.
    look_ns: u64,
}

/// What the program has told since the last time.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// For the peers and the own table.
    pub(super) records: Vec<FlowRecord>,
    /// Clients of new sessions on other ports.
    pub(super) elsewhere: Vec<SocketAddr>,
    /// It told anything.
    pub(super) some: bool,
}

impl Own {
    /// Whether peers hear of every session of this box.
    pub(super) fn tells(&self) -> bool {
        self.home.is_some() && self.sockets.is_some()
    }

    /// Why they do not, where they should.
    pub(super) fn off(&self) -> Option<&str> {
        self.off.as_deref()
    }

    /// How many sessions are open here.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Serves from here from now on; `None` on a box that is no backend. Returns what that changes.
    pub(super) fn follow(&mut self, home: Option<Home>) -> Vec<FlowRecord> {
        if self.home == home && (home.is_none() || self.sockets.is_some()) {
            return Vec::new();
        }
        self.home = home;
        self.look_ns = 0;
        if self.home.is_none() {
            *self = Self::default();
            return Vec::new();
        }
        // Sessions of services that are no longer served need no end.
        self.open = OpenSessions::default();
        self.redirected = HashMap::new();
        self.look_again()
    }

    /// Takes a snapshot for the truth, as after a loss. What the program tells from now on comes after it.
    fn look_again(&mut self) -> Vec<FlowRecord> {
        let Some(home) = &self.home else {
            return Vec::new();
        };
        match Self::look(&mut self.sockets, home) {
            Ok((sessions, lost)) => {
                if self.off.take().is_some() {
                    info!("this box reports its own sessions again");
                }
                self.lost = lost;
                let (mut services, mut others) = (HashSet::new(), HashMap::new());
                let mut redirected = HashMap::new();
                for session in sessions {
                    if home.may_serve(&session) {
                        services.insert(session);
                    } else if let Some(vip) = self.redirected.get(&session) {
                        redirected.insert(session, *vip);
                        services.insert(Session {
                            local: *vip,
                            ..session
                        });
                    } else if others.len() < ELSEWHERE {
                        others.insert(session.client, session);
                    }
                }
                (self.elsewhere, self.redirected) = (others, redirected);
                let (opened, ended) = self.open.replace(services);
                let ended = ended.into_iter().map(|session| (session, Change::Ended));
                let opened = opened.into_iter().map(|session| (session, Change::Held));
                ended
                    .chain(opened)
                    .flat_map(|(session, change)| home.records(session, change))
                    .collect()
            }
            Err(error) => {
                let why = format!("this box cannot report its own sessions: {error}");
                if self.off.as_ref() != Some(&why) {
                    warn!("{why}");
                }
                (self.off, self.sockets) = (Some(why), None);
                Vec::new()
            }
        }
    }

    fn look(
        sockets: &mut Option<Sockets>,
        home: &Home,
    ) -> Result<(HashSet<Session>, u64), SocketsError> {
        let attached = match sockets.take() {
            Some(attached) => attached,
            None => Sockets::attach()?,
        };
        let attached = sockets.insert(attached);
        attached.watch(&home.ports(), true)?;
        let lost = attached.lost();
        // After a loss, what is in the buffer may begin a session whose end is not there.
        attached.by_ref().for_each(drop);
        let found = snapshot(&EVERY_PORT.into()).map_err(SocketsError::Snapshot)?;
        Ok((found.sessions, lost))
    }

    /// What the program has told since the last time, at most so much of it.
    pub(super) fn hear(&mut self, most: usize) -> Heard {
        let mut heard = Heard::default();
        let (Some(home), Some(sockets)) = (&self.home, &mut self.sockets) else {
            return heard;
        };
        for event in sockets.take(most) {
            heard.some = true;
            match event {
                Event::Opened(session) if home.may_serve(&session) => {
                    self.open.insert(session);
                    heard
                        .records
                        .extend(home.records(session, Change::Confirmed));
                }
                Event::Opened(session) => {
                    if self.elsewhere.len() < ELSEWHERE {
                        self.elsewhere.insert(session.client, session);
                        heard.elsewhere.push(session.client);
                    }
                }
                Event::Ended(session) => {
                    let service = self.redirected.remove(&session);
                    if self.elsewhere.get(&session.client) == Some(&session) {
                        self.elsewhere.remove(&session.client);
                    }
                    let local = service.unwrap_or(session.local);
                    let session = Session { local, ..session };
                    self.open.remove(&session);
                    heard.records.extend(home.records(session, Change::Ended));
                }
                Event::Listener(_) => self.look_ns = 0,
            }
        }
        heard
    }

    /// For which services no socket of this box listens.
    pub(super) fn lacks(&self) -> &NoListener {
        &self.lacks
    }

    /// Looks for that, at news from the kernel and now and then. Returns whether it has changed.
    pub(super) fn look_for_listeners(&mut self, now_ns: u64) -> bool {
        let Some(home) = self.home.as_ref().filter(|_| now_ns >= self.look_ns) else {
            return false;
        };
        self.look_ns = now_ns + LOOK_NS;
        // Who cannot tell claims nothing.
        let lacking = listeners(&home.ports()).map_or_else(
            |_| Vec::new(),
            |found| {
                let is_redirected = |vip| self.redirected.values().any(|it| *it == vip);
                lacking(home, &found, is_redirected)
            },
        );
        let refuses = !lacking.is_empty() && !may_translate();
        let lacks = NoListener::new(refuses, lacking);
        let is_news = self.lacks != lacks;
        self.lacks = lacks;
        is_news
    }

    /// Whether this client has a session here on a port that is no service's.
    pub(super) fn has_elsewhere(&self, client: SocketAddr) -> bool {
        self.elsewhere.contains_key(&client)
    }

    /// The clients that have.
    pub(super) fn all_elsewhere(&self) -> Vec<SocketAddr> {
        self.elsewhere.keys().copied().collect()
    }

    /// A director has steered this client's session with a service to this box, which has it on another
    /// port: it is that service's.
    pub(super) fn claim(&mut self, client: SocketAddr, vip: SocketAddr) -> Option<FlowRecord> {
        let session = self.elsewhere.remove(&client)?;
        self.redirected.insert(session, vip);
        let session = Session { client, local: vip };
        self.open.insert(session);
        let home = self.home.as_ref()?;
        home.records(session, Change::Confirmed).next()
    }

    /// Looks for losses, now and then.
    pub(super) fn check(&mut self) -> Vec<FlowRecord> {
        let lost = self.sockets.as_ref().map(Sockets::lost);
        if lost.is_none_or(|lost| lost == self.lost) {
            return Vec::new();
        }
        warn!(
            "the kernel reported sessions faster than they were read: scanning all of them again"
        );
        self.look_again()
    }

    /// What a record of this box's own is by now.
    pub(super) fn present(&self, record: &FlowRecord) -> FlowRecord {
        let session = self.home.as_ref().map(|home| home.session(record));
        let is_open = session.is_some_and(|session| self.open.contains(&session));
        let change = match record.change {
            _ if !is_open => Change::Ended,
            // That it has begun is more than that it is there.
            Change::Confirmed => Change::Confirmed,
            _ => Change::Held,
        };
        FlowRecord { change, ..*record }
    }

    /// Every open session of some places, for a peer that has none of them.
    pub(super) fn in_places(&self, from: usize, to: usize) -> Vec<FlowRecord> {
        let Some(home) = &self.home else {
            return Vec::new();
        };
        let sessions = self.open.in_places(from, to);
        sessions
            .flat_map(|session| home.records(session, Change::Held))
            .collect()
    }

    /// The sessions of one part of all places, of so many.
    pub(super) fn part(&self, part: usize, of: usize) -> Vec<FlowRecord> {
        let at = |part: usize| self.open.places() * part.min(of) / of.max(1);
        self.in_places(at(part), at(part + 1))
    }

    /// The place behind those from one on whose sessions fill a datagram, and whether it is the last.
    pub(super) fn step(&self, from: usize) -> (usize, bool) {
        let (mut to, mut filled, end) = (from, 0, self.open.places());
        while to < end && filled < STEP {
            for session in self.open.in_places(to, to + 1) {
                filled += if session.client.is_ipv4() { 1 } else { OF_IPV6 };
            }
            to += 1;
        }
        (to, to >= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(port: Option<u16>) -> Home {
        Home {
            address: [192, 0, 2, 11].into(),
            port: port.and_then(NonZeroU16::new),
            is_translated: port.is_some(),
            services: ["192.0.2.25:25", "192.0.2.25:587", "[2001:db8::25]:25"]
                .map(|service| service.parse().unwrap())
                .into(),
        }
    }

    fn session(local: &str) -> Session {
        Session {
            client: "198.51.100.7:4000".parse().unwrap(),
            local: local.parse().unwrap(),
        }
    }

    #[test]
    fn a_session_is_of_the_services_that_its_own_address_may_be_of() {
        let table = [
            (
                None,
                "192.0.2.25:25",
                vec![("192.0.2.25:25", Bound::Virtual)],
            ),
            (None, "192.0.2.25:26", vec![]),
            (None, "192.0.2.12:25", vec![]),
            (
                None,
                "192.0.2.11:587",
                vec![("192.0.2.25:587", Bound::Own { port: None })],
            ),
            (Some(2525), "192.0.2.11:25", vec![]),
            (
                Some(2525),
                "192.0.2.11:2525",
                ["192.0.2.25:25", "192.0.2.25:587", "[2001:db8::25]:25"]
                    .map(|vip| {
                        let port = NonZeroU16::new(2525);
                        (vip, Bound::Own { port })
                    })
                    .to_vec(),
            ),
        ];
        for (port, local, expected) in table {
            let (home, session) = (home(port), session(local));
            let records: Vec<FlowRecord> = home.records(session, Change::Confirmed).collect();
            let found: Vec<_> = records
                .iter()
                .map(|record| (record.vip.to_string(), record.backend.sockets))
                .collect();
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(vip, sockets)| (vip.to_owned(), sockets))
                .collect();
            assert_eq!(found, expected, "{local}");
            for record in &records {
                assert_eq!(home.session(record), session, "and back");
            }
        }
    }

    #[test]
    fn a_session_that_is_redirected_to_another_port_is_its_services_until_it_ends() {
        let mut own = Own {
            home: Some(home(None)),
            ..Own::default()
        };
        let (session, vip) = (session("192.0.2.11:2525"), "192.0.2.25:25".parse().unwrap());
        assert!(!home(None).may_serve(&session));
        own.elsewhere.insert(session.client, session);
        assert_eq!(own.claim(([198, 51, 100, 8], 4000).into(), vip), None);
        let record = own.claim(session.client, vip).unwrap();
        assert_eq!((record.change, record.vip), (Change::Confirmed, vip));
        assert!(!own.has_elsewhere(session.client));
        assert_eq!(own.present(&record), record, "it is open");
        assert_eq!(own.in_places(0, 9).len(), 1);
        assert_eq!(own.claim(session.client, vip), None, "once");
    }

    #[test]
    fn what_is_told_again_is_whether_it_is_open() {
        let mut own = Own {
            home: Some(home(None)),
            ..Own::default()
        };
        let open = session("192.0.2.25:25");
        own.open.insert(open);
        let record = |local, change| {
            let home = home(None);
            let record = home.records(session(local), change).next();
            record.unwrap()
        };
        for (local, was, is) in [
            ("192.0.2.25:25", Change::Confirmed, Change::Confirmed),
            ("192.0.2.25:25", Change::Held, Change::Held),
            ("192.0.2.25:25", Change::Ended, Change::Held),
            ("192.0.2.25:587", Change::Confirmed, Change::Ended),
            ("192.0.2.25:587", Change::Held, Change::Ended),
        ] {
            assert_eq!(own.present(&record(local, was)), record(local, is));
        }
    }

    #[test]
    fn steps_and_parts_go_through_every_session_once() {
        let mut own = Own {
            home: Some(home(None)),
            ..Own::default()
        };
        for port in 1..=1000 {
            let client = if port % 3 == 0 {
                SocketAddr::new("2001:db8::7".parse().unwrap(), port)
            } else {
                SocketAddr::new([198, 51, 100, 7].into(), port)
            };
            let local = session("192.0.2.25:25").local;
            own.open.insert(Session { client, local });
        }
        let (mut from, mut told) = (0, BTreeSet::new());
        loop {
            let (to, is_last) = own.step(from);
            told.extend(own.in_places(from, to).iter().map(|record| record.source));
            from = to;
            if is_last {
                break;
            }
        }
        assert_eq!(told.len(), 1000);
        let parts: usize = (0..7).map(|part| own.part(part, 7).len()).sum();
        assert_eq!(parts, 1000);
    }
}
