//! The side that pushes: all peers accept, or none changes.
use std::collections::BTreeMap;

/// How far a peer is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PeerState {
    /// It was offered the version and has not answered.
    Asked,
    /// It has laid it out, and waits.
    Accepted,
    /// It said no: a sentence.
    Refused(String),
    /// It cannot be talked to: a sentence.
    Unreachable(String),
    /// It was told to drop it.
    Dropped,
    /// It was told to put it in place, and has not answered.
    Committing,
    /// It has it.
    Committed {
        /// Why it does not run all the same.
        trouble: Option<String>,
    },
    /// It accepted and was lost before it answered the commit: it is behind, unless it did it.
    Missed(String),
}

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Put the version on this node's record, durably; [`Pusher::recorded`] follows.
    Record,
    /// Tell this peer to put it in place; [`Pusher::committed`] follows.
    Commit(String),
    /// Tell this peer to drop it.
    Abort(String),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Offering,
    Recording,
    Committing,
    Over,
}

/// One push, from the offer to its end.
#[derive(Clone, Debug)]
pub struct Pusher {
    phase: Phase,
    is_trial: bool,
    is_recorded: bool,
    peers: BTreeMap<String, PeerState>,
    /// Why this node could not record it.
    own_trouble: Option<String>,
}

impl Pusher {
    /// Everyone was offered the version. A trial ends with the answers. Without peers there is
    /// nothing to wait for: see [`Self::begin`].
    #[must_use]
    pub fn new(peers: impl IntoIterator<Item = String>, is_trial: bool) -> Self {
        Self {
            phase: Phase::Offering,
            is_trial,
            is_recorded: false,
            peers: peers
                .into_iter()
                .map(|name| (name, PeerState::Asked))
                .collect(),
            own_trouble: None,
        }
    }

    /// What to do where no peer was asked.
    #[must_use]
    pub fn begin(&mut self) -> Vec<Output> {
        self.decide()
    }

    /// A peer's answer to the offer: accepted, or the state that it is in otherwise.
    #[must_use]
    pub fn answered(&mut self, peer: &str, answer: Result<(), PeerState>) -> Vec<Output> {
        if self.phase != Phase::Offering || self.peers.get(peer) != Some(&PeerState::Asked) {
            return Vec::new();
        }
        let state = answer.err().unwrap_or(PeerState::Accepted);
        self.peers.insert(peer.to_owned(), state);
        self.decide()
    }

    fn decide(&mut self) -> Vec<Output> {
        let mut states = self.peers.values();
        if self.phase != Phase::Offering || states.any(|state| *state == PeerState::Asked) {
            return Vec::new();
        }
        let all_accept = self
            .peers
            .values()
            .all(|state| *state == PeerState::Accepted);
        if all_accept && !self.is_trial {
            self.phase = Phase::Recording;
            return vec![Output::Record];
        }
        self.abort()
    }

    /// What became of [`Output::Record`].
    #[must_use]
    pub fn recorded(&mut self, recorded: Result<(), String>) -> Vec<Output> {
        if self.phase != Phase::Recording {
            return Vec::new();
        }
        if let Err(why) = recorded {
            self.own_trouble = Some(why);
            return self.abort();
        }
        self.is_recorded = true;
        self.phase = if self.peers.is_empty() {
            Phase::Over
        } else {
            Phase::Committing
        };
        self.peers
            .values_mut()
            .for_each(|state| *state = PeerState::Committing);
        self.peers.keys().cloned().map(Output::Commit).collect()
    }

    /// What became of [`Output::Commit`]: done, with what troubles the peer since; or why nothing is
    /// known.
    pub fn committed(&mut self, peer: &str, committed: Result<Option<String>, String>) {
        if self.peers.get(peer) != Some(&PeerState::Committing) {
            return;
        }
        let state = match committed {
            Ok(trouble) => PeerState::Committed { trouble },
            Err(why) => PeerState::Missed(why),
        };
        self.peers.insert(peer.to_owned(), state);
        if self
            .peers
            .values()
            .all(|state| *state != PeerState::Committing)
        {
            self.phase = Phase::Over;
        }
    }

    fn abort(&mut self) -> Vec<Output> {
        self.phase = Phase::Over;
        let mut outputs = Vec::new();
        for (name, state) in &mut self.peers {
            if *state == PeerState::Accepted {
                *state = PeerState::Dropped;
                outputs.push(Output::Abort(name.clone()));
            }
        }
        outputs
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the version counts: from its record on it does.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    /// Why this node could not record it.
    #[must_use]
    pub fn own_trouble(&self) -> Option<&str> {
        self.own_trouble.as_deref()
    }

    /// How far each peer is.
    #[must_use]
    pub fn peers(&self) -> &BTreeMap<String, PeerState> {
        &self.peers
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("mx{n}")).collect()
    }

    #[test]
    fn all_accept_and_all_commit() {
        let mut pusher = Pusher::new(names(2), false);
        assert_eq!(pusher.begin(), []);
        assert_eq!(pusher.answered("mx0", Ok(())), []);
        assert_eq!(pusher.answered("mx1", Ok(())), [Output::Record]);
        let commits = pusher.recorded(Ok(()));
        assert_eq!(
            commits,
            names(2).into_iter().map(Output::Commit).collect::<Vec<_>>()
        );
        pusher.committed("mx0", Ok(None));
        assert!(!pusher.is_over());
        pusher.committed("mx1", Err("gone".to_owned()));
        assert!(pusher.is_over() && pusher.is_recorded());
        assert_eq!(pusher.peers()["mx1"], PeerState::Missed("gone".to_owned()));
    }

    #[test]
    fn one_that_says_no_stops_it_for_all() {
        let no = PeerState::Refused("no".to_owned());
        let mut pusher = Pusher::new(names(3), false);
        for (peer, answer) in [("mx0", Ok(())), ("mx1", Err(no.clone()))] {
            assert_eq!(pusher.answered(peer, answer), []);
        }
        let aborts = ["mx0", "mx2"].map(|name| Output::Abort(name.to_owned()));
        assert_eq!(pusher.answered("mx2", Ok(())), aborts);
        assert!(pusher.is_over() && !pusher.is_recorded());
        assert_eq!(pusher.recorded(Ok(())), [], "too late");
        assert_eq!(pusher.peers()["mx1"], no);
    }

    #[test]
    fn a_trial_commits_nothing_and_a_disk_that_is_full_here_neither() {
        let mut trial = Pusher::new(names(1), true);
        assert_eq!(
            trial.answered("mx0", Ok(())),
            [Output::Abort("mx0".to_owned())]
        );
        let mut full = Pusher::new(names(1), false);
        assert_eq!(full.answered("mx0", Ok(())), [Output::Record]);
        assert_eq!(
            full.recorded(Err("full".to_owned())),
            [Output::Abort("mx0".to_owned())]
        );
        assert_eq!(full.own_trouble(), Some("full"));
        let mut alone = Pusher::new([], false);
        assert_eq!(alone.begin(), [Output::Record]);
        assert_eq!(alone.recorded(Ok(())), []);
        assert!(alone.is_over());
    }

    #[derive(Clone, Debug)]
    enum Event {
        Answered(usize, bool),
        Recorded(bool),
        Committed(usize, bool),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0..4usize, prop::bool::weighted(0.9))
                .prop_map(|(peer, yes)| Event::Answered(peer, yes)),
            any::<bool>().prop_map(Event::Recorded),
            (0..4usize, any::<bool>()).prop_map(|(peer, yes)| Event::Committed(peer, yes)),
        ]
    }

    proptest! {
        /// For any input in any order: a commit only after all accepted and the record was made; no peer
        /// gets both a commit and an abort, nor two of either.
        #[test]
        fn nothing_is_done_by_halves(count in 1..4usize, events in proptest::collection::vec(event(), 0..40)) {
            let names = names(count);
            let mut pusher = Pusher::new(names.clone(), false);
            let (mut accepted, mut recorded) = (std::collections::BTreeSet::new(), false);
            let mut told: BTreeMap<String, bool> = BTreeMap::new();
            for event in events {
                let outputs = match event {
                    Event::Answered(peer, yes) => {
                        let Some(name) = names.get(peer) else { continue };
                        let was_asked = pusher.peers()[name] == PeerState::Asked;
                        if yes && was_asked {
                            accepted.insert(name.clone());
                        }
                        pusher.answered(name, if yes { Ok(()) } else { Err(PeerState::Refused(String::new())) })
                    }
                    Event::Recorded(yes) => {
                        recorded |= yes;
                        pusher.recorded(if yes { Ok(()) } else { Err(String::new()) })
                    }
                    Event::Committed(peer, yes) => {
                        if let Some(name) = names.get(peer) {
                            pusher.committed(name, if yes { Ok(None) } else { Err(String::new()) });
                        }
                        Vec::new()
                    }
                };
                for output in outputs {
                    let (name, is_commit) = match output {
                        Output::Record => {
                            prop_assert_eq!(accepted.len(), count);
                            continue;
                        }
                        Output::Commit(name) => (name, true),
                        Output::Abort(name) => (name, false),
                    };
                    prop_assert!(!is_commit || (accepted.len() == count && recorded));
                    prop_assert!(accepted.contains(&name));
                    prop_assert_eq!(told.insert(name, is_commit), None);
                }
            }
            if pusher.is_over() {
                // No node that accepted is left waiting.
                prop_assert_eq!(told.len(), accepted.len());
                prop_assert!(told.values().all(|is_commit| *is_commit == pusher.is_recorded()));
            }
        }
    }
}
