//! The side that takes: nothing changes before a commit, and what was staged is installed or
//! dropped.
use std::{collections::VecDeque, path::Component};

use super::{Answer, Difference, Piece, Record, Request, Standing, Versions};
use crate::config::{MAX_LIST_BYTES, MAX_TEXT_BYTES};

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Answer.
    Say(Answer),
    /// Keep the next bytes of this piece. After its `last` ones look whether it is what its digest
    /// says; [`Taker::stored`] follows then.
    Store {
        /// Of which piece.
        piece: Piece,
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether these are the last.
        last: bool,
    },
    /// Check the version against this box and stage it; [`Taker::laid`] follows.
    Lay(Box<Record>),
    /// Put in place what is laid out, and take it over; [`Taker::swapped`] follows.
    Swap,
    /// Remove what is laid out, and the pieces that no version needs.
    Drop,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum State {
    Idle,
    /// Pieces will follow, the first of them first.
    Storing {
        record: Box<Record>,
        to_come: VecDeque<Piece>,
        stored: u64,
    },
    Laying,
    Laid,
    Swapping,
}

/// One connection's offers, one after another.
#[derive(Clone, Debug)]
pub struct Taker {
    state: State,
}

impl Default for Taker {
    fn default() -> Self {
        Self { state: State::Idle }
    }
}

impl Taker {
    /// A request that concerns an offer. `has`: whether the bytes of a piece are here.
    /// The error is a caller that does not keep to the protocol: the connection ends.
    pub fn request(
        &mut self,
        request: Request,
        history: &Versions,
        has: &dyn Fn(&Piece) -> bool,
    ) -> Result<Vec<Output>, &'static str> {
        match (request, std::mem::replace(&mut self.state, State::Idle)) {
            (Request::Offer(record), State::Idle) => Ok(self.offered(record, history, has)),
            (Request::Commit, State::Laid) => {
                self.state = State::Swapping;
                Ok(vec![Output::Swap])
            }
            (Request::Abort, State::Laid) => Ok(vec![Output::Drop, Output::Say(Answer::Dropped)]),
            (Request::Abort, State::Idle) => Ok(vec![Output::Say(Answer::Dropped)]),
            (_, state) => {
                self.state = state;
                Err("that is not expected now")
            }
        }
    }

    fn offered(
        &mut self,
        record: Box<Record>,
        history: &Versions,
        has: &dyn Fn(&Piece) -> bool,
    ) -> Vec<Output> {
        let refused = unsound(&record).or_else(|| history.refuses(&record.version));
        if let Some(why) = refused {
            return vec![refuse(why, Vec::new())];
        }
        let pieces = record.content.pieces().into_iter();
        let to_come: VecDeque<Piece> = pieces.filter(|piece| !has(piece)).collect();
        let need = Answer::Need(to_come.iter().map(|piece| piece.digest).collect());
        let mut outputs = vec![Output::Say(need)];
        if to_come.is_empty() {
            self.state = State::Laying;
            outputs.push(Output::Lay(record));
            return outputs;
        }
        self.state = State::Storing {
            record,
            to_come,
            stored: 0,
        };
        // An empty piece has no bytes that could come.
        outputs.extend(self.store(Vec::new()));
        outputs
    }

    /// Bytes of the expected piece. The error is as that of [`Self::request`].
    pub fn bytes(&mut self, bytes: Vec<u8>) -> Result<Vec<Output>, &'static str> {
        let State::Storing {
            to_come, stored, ..
        } = &self.state
        else {
            return Err("bytes that were not requested");
        };
        let left = to_come.front().map_or(0, |piece| piece.bytes - stored);
        if bytes.is_empty() || bytes.len() as u64 > left {
            return Err("more bytes than the piece has");
        }
        Ok(self.store(bytes))
    }

    fn store(&mut self, bytes: Vec<u8>) -> Vec<Output> {
        let State::Storing {
            to_come, stored, ..
        } = &mut self.state
        else {
            return Vec::new();
        };
        let Some(piece) = to_come.front().copied() else {
            return Vec::new();
        };
        *stored += bytes.len() as u64;
        let last = *stored == piece.bytes;
        if bytes.is_empty() && !last {
            return Vec::new();
        }
        vec![Output::Store { piece, bytes, last }]
    }

    /// What became of a piece whose last bytes came: it is here, or a sentence.
    #[must_use]
    pub fn stored(&mut self, result: Result<(), String>) -> Vec<Output> {
        let State::Storing {
            record,
            to_come,
            stored,
        } = &mut self.state
        else {
            return Vec::new();
        };
        if let Err(why) = result {
            self.state = State::Idle;
            return vec![Output::Drop, refuse(why, Vec::new())];
        }
        to_come.pop_front();
        *stored = 0;
        if to_come.is_empty() {
            let record = record.clone();
            self.state = State::Laying;
            return vec![Output::Lay(record)];
        }
        self.store(Vec::new())
    }

    /// What became of [`Output::Lay`]: what the node had, or a sentence; and what changes.
    #[must_use]
    pub fn laid(
        &mut self,
        laid: Result<Standing, String>,
        differences: Vec<Difference>,
    ) -> Vec<Output> {
        if self.state != State::Laying {
            return Vec::new();
        }
        match laid {
            Ok(standing) => {
                self.state = State::Laid;
                vec![Output::Say(Answer::Accepted {
                    standing: Box::new(standing),
                    differences,
                })]
            }
            Err(why) => {
                self.state = State::Idle;
                vec![Output::Drop, refuse(why, differences)]
            }
        }
    }

    /// What became of [`Output::Swap`]: it is in place, with what troubles the node since; or a
    /// sentence, and nothing was changed.
    #[must_use]
    pub fn swapped(&mut self, swapped: Result<Option<String>, String>) -> Vec<Output> {
        if self.state != State::Swapping {
            return Vec::new();
        }
        self.state = State::Idle;
        match swapped {
            Ok(trouble) => vec![Output::Say(Answer::Committed { trouble })],
            Err(why) => vec![Output::Drop, refuse(why, Vec::new())],
        }
    }

    /// Whether no offer is being dealt with.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// The connection is gone. What is being put in place is put in place: [`Self::swapped`] follows.
    #[must_use]
    pub fn lost(&mut self) -> Vec<Output> {
        match self.state {
            State::Idle | State::Swapping => Vec::new(),
            State::Storing { .. } | State::Laying | State::Laid => {
                self.state = State::Idle;
                vec![Output::Drop]
            }
        }
    }
}

fn refuse(why: String, differences: Vec<Difference>) -> Output {
    Output::Say(Answer::Refused { why, differences })
}

/// Why an offer is none that an lbd makes.
fn unsound(record: &Record) -> Option<String> {
    let content = &record.content;
    let paths = content.lists.iter().map(|list| &list.path);
    let is_plain = |path: &std::path::PathBuf| {
        let mut parts = path.components();
        parts.next() == Some(Component::RootDir)
            && parts.all(|part| matches!(part, Component::Normal(_)))
            && path.as_os_str().len() < 4096
    };
    let problem = if content.digest() != record.version.digest {
        "its digest is not that of its content"
    } else if content.cluster.bytes > MAX_TEXT_BYTES
        || content
            .lists
            .iter()
            .any(|list| list.piece.bytes > MAX_LIST_BYTES)
    {
        "a part of it is larger than a configuration may be"
    } else if !paths.clone().is_sorted_by(|a, b| a < b) || content.lists.len() > 2 {
        "its lists are not in order, or too many"
    } else if !paths.clone().all(is_plain) {
        "a list's path is not plain: start it with / and leave out `..`"
    } else {
        return None;
    };
    Some(format!("the offer is not valid: {problem}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::history::tests::record, *};

    fn offer(record: &Record) -> Request {
        Request::Offer(Box::new(record.clone()))
    }

    #[test]
    fn pieces_come_are_laid_out_and_put_in_place() {
        let (mut taker, record) = (Taker::default(), record(4, "cluster: 1\n"));
        let history = Versions::default();
        let pieces = record.content.pieces();
        let outputs = taker.request(offer(&record), &history, &|_| false).unwrap();
        let need = pieces.iter().map(|piece| piece.digest).collect();
        assert_eq!(outputs, [Output::Say(Answer::Need(need))]);
        let store = |piece, bytes: &[u8], last| Output::Store {
            piece,
            bytes: bytes.to_vec(),
            last,
        };
        let first = taker.bytes(b"cluster".to_vec()).unwrap();
        assert_eq!(first, [store(pieces[0], b"cluster", false)]);
        assert!(taker.bytes(b": 1\nmore".to_vec()).is_err());
        let last = taker.bytes(b": 1\n".to_vec()).unwrap();
        assert_eq!(last, [store(pieces[0], b": 1\n", true)]);
        assert_eq!(taker.stored(Ok(())), []);
        taker.bytes(b"192.0.2.1\n".to_vec()).unwrap();
        assert_eq!(taker.stored(Ok(())), [Output::Lay(Box::new(record))]);
        assert!(
            taker.request(Request::Commit, &history, &|_| true).is_err(),
            "not laid out yet"
        );
        let outputs = taker.laid(Ok(Standing::default()), Vec::new());
        assert!(matches!(
            outputs[..],
            [Output::Say(Answer::Accepted { .. })]
        ));
        let outputs = taker.request(Request::Commit, &history, &|_| true);
        assert_eq!(outputs, Ok(vec![Output::Swap]));
        assert_eq!(
            taker.swapped(Ok(None)),
            [Output::Say(Answer::Committed { trouble: None })]
        );
        assert_eq!(taker.lost(), []);
    }

    #[test]
    fn what_is_here_is_not_asked_for_and_what_is_empty_does_not_come() {
        let mut record = record(4, "");
        let mut taker = Taker::default();
        let outputs = taker
            .request(offer(&record), &Versions::default(), &|_| true)
            .unwrap();
        assert_eq!(outputs[0], Output::Say(Answer::Need(Vec::new())));
        assert_eq!(outputs[1], Output::Lay(Box::new(record.clone())));
        record.content.lists.clear();
        record.version.digest = record.content.digest();
        let mut taker = Taker::default();
        let outputs = taker
            .request(offer(&record), &Versions::default(), &|_| false)
            .unwrap();
        assert!(
            matches!(outputs[1], Output::Store { last: true, .. }),
            "{outputs:?}"
        );
    }

    #[test]
    fn what_no_lbd_would_offer_is_refused() {
        let history = Versions::default().with(record(7, "b")).history;
        let changed = |change: &dyn Fn(&mut Record)| {
            let mut record = record(8, "a");
            change(&mut record);
            record.version.digest = record.content.digest();
            record
        };
        let mut forged = record(8, "a");
        forged.version.digest = record(8, "b").version.digest;
        for (record, expected) in [
            (forged, "digest"),
            (record(6, "a"), "later"),
            (changed(&|r| r.content.cluster.bytes = u64::MAX), "larger"),
            (
                changed(&|r| r.content.lists[0].path = "deny".into()),
                "not plain",
            ),
            (
                changed(&|r| r.content.lists[0].path = "/a/../etc/deny".into()),
                "not plain",
            ),
            (
                changed(&|r| r.content.lists.push(r.content.lists[0].clone())),
                "not in order",
            ),
        ] {
            let mut taker = Taker::default();
            let outputs = taker.request(offer(&record), &history, &|_| false).unwrap();
            let [Output::Say(Answer::Refused { why, .. })] = &outputs[..] else {
                panic!("{outputs:?}");
            };
            assert!(why.contains(expected), "{why}");
        }
    }

    #[derive(Clone, Debug)]
    enum Event {
        Offer(bool),
        Commit,
        Abort,
        Bytes(usize),
        Stored(bool),
        Laid(bool),
        Swapped(bool),
        Lost,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            any::<bool>().prop_map(Event::Offer),
            Just(Event::Commit),
            Just(Event::Abort),
            (0..12usize).prop_map(Event::Bytes),
            prop::bool::weighted(0.8).prop_map(Event::Stored),
            prop::bool::weighted(0.8).prop_map(Event::Laid),
            any::<bool>().prop_map(Event::Swapped),
            prop::bool::weighted(0.1).prop_map(|_| Event::Lost),
        ]
    }

    proptest! {
        /// For any input in any order: a swap only of what was staged and accepted, and only
        /// after a commit; and in the end everything that was begun is installed or dropped, once.
        #[test]
        fn what_was_begun_is_put_in_place_or_dropped(events in proptest::collection::vec(event(), 0..80)) {
            let (mut taker, history) = (Taker::default(), Versions::default());
            let (mut begun, mut laid) = (false, false);
            for event in events.into_iter().chain([Event::Swapped(true), Event::Lost]) {
                let is_commit = matches!(event, Event::Commit);
                let is_here = matches!(event, Event::Offer(true));
                let outputs = match event {
                    Event::Offer(has) => taker.request(offer(&record(1, "abc")), &history, &|_| has).unwrap_or_default(),
                    Event::Commit => taker.request(Request::Commit, &history, &|_| true).unwrap_or_default(),
                    Event::Abort => taker.request(Request::Abort, &history, &|_| true).unwrap_or_default(),
                    Event::Bytes(count) => taker.bytes(vec![b'x'; count]).unwrap_or_default(),
                    Event::Stored(yes) => taker.stored(if yes { Ok(()) } else { Err(String::new()) }),
                    Event::Laid(yes) => taker.laid(if yes { Ok(Standing::default()) } else { Err(String::new()) }, Vec::new()),
                    Event::Swapped(yes) => taker.swapped(if yes { Ok(None) } else { Err(String::new()) }),
                    Event::Lost => taker.lost(),
                };
                for output in outputs {
                    match output {
                        Output::Say(Answer::Need(_)) => {
                            prop_assert!(!begun);
                            begun = true;
                        }
                        Output::Lay(_) => prop_assert!(begun && (is_here || !laid)),
                        Output::Say(Answer::Accepted { .. }) => laid = true,
                        Output::Swap => prop_assert!(begun && laid && is_commit),
                        Output::Drop => {
                            prop_assert!(begun);
                            (begun, laid) = (false, false);
                        }
                        Output::Say(Answer::Committed { .. }) => (begun, laid) = (false, false),
                        Output::Store { .. } => prop_assert!(begun && !laid),
                        Output::Say(_) => {}
                    }
                }
            }
            prop_assert!(!begun, "left lying about");
        }
    }
}
