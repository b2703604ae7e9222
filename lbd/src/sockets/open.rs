//! Which sessions are open here: a set that can be read in parts while it changes.
use std::collections::{HashMap, HashSet};

use super::Session;

/// The open sessions of this box, each in a place that it keeps. Pure.
#[derive(Clone, Debug, Default)]
pub struct OpenSessions {
    places: Vec<Option<Session>>,
    free: Vec<usize>,
    index: HashMap<Session, usize>,
}

impl OpenSessions {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Whether a session is open.
    #[must_use]
    pub fn contains(&self, session: &Session) -> bool {
        self.index.contains_key(session)
    }

    /// A session was opened; false when it was open already.
    pub fn insert(&mut self, session: Session) -> bool {
        if self.contains(&session) {
            return false;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(session);
        self.index.insert(session, place);
        true
    }

    /// A session has ended; false when none such was open.
    pub fn remove(&mut self, session: &Session) -> bool {
        let Some(place) = self.index.remove(session) else {
            return false;
        };
        self.places[place] = None;
        self.free.push(place);
        true
    }

    /// Takes what is open by a snapshot for the truth. Returns what was opened and what has ended by it.
    pub fn replace(&mut self, open: HashSet<Session>) -> (Vec<Session>, Vec<Session>) {
        let ended: Vec<Session> = self
            .index
            .keys()
            .filter(|session| !open.contains(session))
            .copied()
            .collect();
        for session in &ended {
            self.remove(session);
        }
        let opened = open.into_iter().filter(|session| self.insert(*session));
        (opened.collect(), ended)
    }

    /// Places up to this one may be taken.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// The sessions in some places: from one up to another, which is left out. All places are all
    /// sessions; one that stays open stays in its place.
    pub fn in_places(&self, from: usize, to: usize) -> impl Iterator<Item = Session> {
        let to = to.min(self.places.len());
        self.places[from.min(to)..to].iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn session(port: u16) -> Session {
        Session {
            client: ([198, 51, 100, 7], port).into(),
            local: ([192, 0, 2, 25], 25).into(),
        }
    }

    proptest! {
        #[test]
        fn it_is_a_set_whose_parts_are_the_whole(
            changes in proptest::collection::vec((any::<bool>(), 1_u16..20), 0..200),
            cut in 0_usize..30,
        ) {
            let (mut open, mut expected) = (OpenSessions::default(), BTreeSet::new());
            for (opens, port) in changes {
                let session = session(port);
                if opens {
                    prop_assert_eq!(open.insert(session), expected.insert(session));
                } else {
                    prop_assert_eq!(open.remove(&session), expected.remove(&session));
                }
                prop_assert_eq!(open.contains(&session), opens);
            }
            prop_assert_eq!(open.len(), expected.len());
            let parts: Vec<Session> =
                open.in_places(0, cut).chain(open.in_places(cut, open.places())).collect();
            prop_assert_eq!(parts.len(), expected.len());
            prop_assert_eq!(parts.into_iter().collect::<BTreeSet<_>>(), expected);
        }
    }

    #[test]
    fn a_snapshot_says_what_began_and_what_ended_unseen() {
        let mut open = OpenSessions::default();
        for port in 1..=3 {
            open.insert(session(port));
        }
        let (opened, ended) = open.replace([2, 3, 4].map(session).into());
        assert_eq!((opened, ended), (vec![session(4)], vec![session(1)]));
        assert_eq!(
            open.replace([2, 3, 4].map(session).into()),
            (vec![], vec![])
        );
        assert_eq!(open.len(), 3);
    }
}
