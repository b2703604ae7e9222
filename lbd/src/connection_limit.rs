//! Places for the connections of strangers, so that no stranger's take another's.
//!
//! Each address has so many places, and all strangers together have so many. When all are taken, the
//! address that holds the most loses its oldest to an address that holds fewer. The boxes of the
//! cluster and this box itself are not strangers: they have places of their own, a number for
//! each of them. At its own limit an address takes the place of its own oldest connection.
use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Of one stranger: a browser's pages and a scraper behind one address.
const EACH: usize = 24;
/// Of all strangers.
const STRANGERS: usize = 128;
/// Of one box of the cluster: polls, a push, and scrapers that come through a proxy on the box itself.
const KNOWN: usize = 64;

type Id = u64;

/// Who has how many. Pure.
#[derive(Debug, Default)]
struct Places {
    last: Id,
    strangers: HashMap<IpAddr, VecDeque<Id>>,
    known: HashMap<IpAddr, VecDeque<Id>>,
}

/// What becomes of a connection that has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Admission {
    /// It has a place, perhaps one that another connection loses.
    Place { id: Id, loses: Option<Id> },
    /// As many addresses as there are places have one each.
    None,
}

impl Places {
    fn give(&mut self, from: IpAddr, is_known: bool) -> Admission {
        let from = who(from);
        let loses = if is_known {
            full(&self.known, from, KNOWN).then_some((true, from))
        } else if full(&self.strangers, from, EACH) {
            Some((false, from))
        } else if self.strangers.values().map(VecDeque::len).sum::<usize>() >= STRANGERS {
            let own = self.strangers.get(&from).map_or(0, VecDeque::len);
            let most = self.strangers.iter().max_by_key(|(_, held)| held.len());
            match most {
                Some((address, held)) if held.len() > own + 1 => Some((false, *address)),
                // No address holds two more: a stranger that has a place already moves its own.
                _ if own > 0 => Some((false, from)),
                _ => return Admission::None,
            }
        } else {
            None
        };
        let loses = loses.and_then(|(is_known, address)| self.take_oldest(address, is_known));
        self.last += 1;
        let table = if is_known {
            &mut self.known
        } else {
            &mut self.strangers
        };
        table.entry(from).or_default().push_back(self.last);
        Admission::Place {
            id: self.last,
            loses,
        }
    }

    fn take_oldest(&mut self, address: IpAddr, is_known: bool) -> Option<Id> {
        let table = if is_known {
            &mut self.known
        } else {
            &mut self.strangers
        };
        let held = table.get_mut(&address)?;
        let oldest = held.pop_front();
        if held.is_empty() {
            table.remove(&address);
        }
        oldest
    }

    fn leave(&mut self, from: IpAddr, id: Id) {
        let from = who(from);
        for table in [&mut self.strangers, &mut self.known] {
            if let Some(held) = table.get_mut(&from) {
                held.retain(|one| *one != id);
                if held.is_empty() {
                    table.remove(&from);
                }
            }
        }
    }
}

fn full(table: &HashMap<IpAddr, VecDeque<Id>>, address: IpAddr, most: usize) -> bool {
    table.get(&address).is_some_and(|held| held.len() >= most)
}

/// The sender that an address stands for: a host has a whole /64 of IPv6 to choose from.
fn who(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        IpAddr::V4(v4) => v4.into(),
    }
}

/// The places of one listener.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionLimit(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    places: Places,
    /// Dropped to tell a connection that it has lost its place.
    permits: HashMap<Id, oneshot::Sender<()>>,
}

impl ConnectionLimit {
    /// A place for a connection from this address, if it gets one.
    pub(crate) fn enter(&self, from: IpAddr, is_known: bool) -> Option<Permit> {
        let mut state = self.state();
        let Admission::Place { id, loses } = state.places.give(from, is_known) else {
            return None;
        };
        let (keep, lost) = oneshot::channel();
        state.permits.insert(id, keep);
        if let Some(loses) = loses {
            state.permits.remove(&loses);
        }
        drop(state);
        Some(Permit {
            lost,
            from,
            id,
            limit: self.clone(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit {
    /// Ends when the place goes to another connection.
    pub(crate) lost: oneshot::Receiver<()>,
    from: IpAddr,
    id: Id,
    limit: ConnectionLimit,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limit.state();
        state.places.leave(self.from, self.id);
        state.permits.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: usize) -> IpAddr {
        IpAddr::from([198, 51, 100, u8::try_from(n).unwrap()])
    }

    fn id(given: Admission) -> Id {
        match given {
            Admission::Place { id, .. } => id,
            Admission::None => panic!("no place"),
        }
    }

    #[test]
    fn one_stranger_takes_no_other_strangers_places() {
        let mut places = Places::default();
        let first = id(places.give(host(1), false));
        for _ in 1..EACH {
            let given = places.give(host(1), false);
            assert!(
                matches!(given, Admission::Place { loses: None, .. }),
                "{given:?}"
            );
        }
        let more = places.give(host(1), false);
        assert!(
            matches!(more, Admission::Place { loses: Some(it), .. } if it == first),
            "{more:?}"
        );
        let other = places.give(host(2), false);
        assert!(
            matches!(other, Admission::Place { loses: None, .. }),
            "{other:?}"
        );
    }

    #[test]
    fn whoever_holds_the_most_makes_room() {
        let mut places = Places::default();
        for n in 0..STRANGERS {
            id(places.give(host(n / EACH), false));
        }
        // Each newcomer gets a place, one of those who hold the most.
        for n in 100..200 {
            let given = places.give(host(n), false);
            assert!(
                matches!(given, Admission::Place { loses: Some(_), .. }),
                "{n}: {given:?}"
            );
        }
        let held = |places: &Places, n| places.strangers.get(&host(n)).map_or(0, VecDeque::len);
        assert!((100..200).all(|n| held(&places, n) == 1));
        assert_eq!(
            places.strangers.values().map(VecDeque::len).sum::<usize>(),
            STRANGERS
        );
    }

    #[test]
    fn as_many_addresses_as_places_leave_none_but_for_the_known() {
        let mut places = Places::default();
        for n in 0..STRANGERS {
            id(places.give(host(n), false));
        }
        assert_eq!(places.give(host(200), false), Admission::None);
        assert!(matches!(
            places.give(host(7), false),
            Admission::Place { loses: Some(_), .. }
        ));
        let known = places.give(host(200), true);
        assert!(
            matches!(known, Admission::Place { loses: None, .. }),
            "{known:?}"
        );
    }

    #[test]
    fn a_place_that_is_left_is_free_again() {
        let mut places = Places::default();
        for known in [false, true] {
            let ids: Vec<Id> = (0..20).map(|n| id(places.give(host(n), known))).collect();
            for (n, id) in ids.into_iter().enumerate() {
                places.leave(host(n), id);
            }
        }
        assert!(places.strangers.is_empty() && places.known.is_empty());
    }

    #[test]
    fn an_ipv6_host_is_its_network_and_a_mapped_address_is_an_ipv4_one() {
        let who = |text: &str| super::who(text.parse().unwrap()).to_string();
        assert_eq!(who("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(who("::ffff:192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn a_seat_is_told_that_it_is_lost() {
        let limit = ConnectionLimit::default();
        let mut first = limit.enter(host(1), false).unwrap();
        let rest: Vec<Permit> = (1..EACH)
            .map(|_| limit.enter(host(1), false).unwrap())
            .collect();
        assert_eq!(
            first.lost.try_recv(),
            Err(oneshot::error::TryRecvError::Empty)
        );
        let _one_more = limit.enter(host(1), false).unwrap();
        assert_eq!(
            first.lost.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        );
        drop((first, rest));
        assert_eq!(limit.state().permits.len(), 1);
    }
}
