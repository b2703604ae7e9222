//! Every order in which the steps of a few parties at one slot can happen.
//!
//! A party is a list of steps, each one access of shared memory, as the protocol of
//! [`lbd_common::flow`] has them; the program's and the daemon's are the same. The walk visits every
//! state that some interleaving of three parties leads to. It assumes sequential consistency; what the
//! hardware adds to that is written down under *Memory model* in [`lbd_common::flow`].
use std::collections::HashSet;

use lbd_common::flow::{FlowWord, flag, state};

/// The slot, its backend's count, and what happened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct World {
    key: [u8; 2],
    word: FlowWord,
    /// By backend id.
    load: [i8; 4],
}

/// A flow: the key's two words, the tag, and the only right backend.
#[derive(Clone, Copy, Debug)]
struct Flow {
    key: [u8; 2],
    tag: u16,
    backend: u16,
}

const A: Flow = Flow {
    key: [1, 1],
    tag: 11,
    backend: 1,
};
/// Shares half of its key with A.
const B: Flow = Flow {
    key: [1, 2],
    tag: 12,
    backend: 2,
};

#[derive(Clone, Copy, Debug)]
enum Party {
    /// Displaces what no box has confirmed, as an insert does.
    Writer(Flow),
    /// Inserts a session that a box has confirmed where there is no flow.
    Lister(Flow),
    /// Looks a flow up.
    Reader(Flow),
    /// Frees every slot it finds, claims included: the sweep at its most aggressive.
    Sweeper,
    /// Closes a flow that it looks up.
    Closer(Flow),
    /// A client's frames, or a stranger's: the answer to the handshake, then RST, which marks at most.
    Client(Flow),
    /// A box's word: its kernel has opened the session, and then ends it or not.
    Box(Flow, Session),
    /// The sweep once a claim has had its time: it counts no longer.
    Lapse,
}

/// How far a session goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Session {
    Stays,
    Ends,
}

/// Where a party is, and what it has read.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    step: u8,
    seen: FlowWord,
    ended: bool,
    /// Changes that it has made.
    done: u8,
}

fn live(word: FlowWord) -> bool {
    (state::HALF_OPEN..=state::DOOMED).contains(&word.state)
}

/// One step of a party. `Err` when a reader takes another flow's backend.
fn step(party: Party, at: &mut Progress, world: &mut World) -> Result<(), String> {
    let now = at.step;
    at.step += 1;
    match party {
        Party::Writer(flow) => write(flow, state::HALF_OPEN, now, at, world),
        Party::Lister(flow) => write(flow, state::ESTABLISHED, now, at, world),
        Party::Client(flow) => change(flow, now, at, world, client),
        Party::Box(flow, session) => {
            let word = |seen, done| said_by_box(flow, session, seen, done);
            change(flow, now, at, world, word);
        }
        Party::Sweeper | Party::Lapse if now == 0 => at.seen = world.word,
        Party::Lapse => {
            at.ended = true;
            let is_claim = matches!(at.seen.state, state::HALF_OPEN | state::UNPROVEN);
            if is_claim {
                let lapsed = FlowWord {
                    flags: at.seen.flags & !flag::COUNTED,
                    ..at.seen
                };
                replace(world, at.seen, lapsed);
            }
        }
        Party::Reader(flow) => {
            if find(flow, now, at, world) && now == 5 {
                at.ended = true;
                if at.seen.backend != flow.backend {
                    return Err(format!("{flow:?} was sent to {}", at.seen.backend));
                }
            }
        }
        Party::Sweeper => {
            at.ended = true;
            if at.seen.state != state::FREE && swap(world, at.seen, FlowWord::default()) {
                uncount(world, at.seen);
            }
        }
        Party::Closer(flow) => {
            if now < 6 {
                find(flow, now, at, world);
            } else {
                at.ended = true;
                let closing = FlowWord {
                    state: state::CLOSING,
                    flags: 0,
                    ..at.seen
                };
                if swap(world, at.seen, closing) {
                    uncount(world, at.seen);
                }
            }
        }
    }
    Ok(())
}

/// Steps 0 to 5 of a look-up; false when it has failed, which ends the party.
fn find(flow: Flow, now: u8, at: &mut Progress, world: &World) -> bool {
    let goes_on = match now {
        0 | 1 => world.key[usize::from(now)] == flow.key[usize::from(now)],
        2 => {
            at.seen = world.word;
            live(at.seen) && at.seen.tag == flow.tag
        }
        3 | 4 => world.key[usize::from(now - 3)] == flow.key[usize::from(now - 3)],
        _ => true,
    };
    at.ended |= !goes_on;
    goes_on
}

/// A look-up and a change of what it found, and again where another was faster, until nothing is left to do.
fn change(
    flow: Flow,
    now: u8,
    at: &mut Progress,
    world: &mut World,
    to: impl Fn(FlowWord, u8) -> Option<FlowWord>,
) {
    if now < 6 {
        find(flow, now, at, world);
        return;
    }
    let Some(word) = to(at.seen, at.done) else {
        at.ended = true;
        return;
    };
    at.done += u8::from(replace(world, at.seen, word));
    at.step = 0;
}

/// What the next frame of a client makes of a word: see `note` and `client_ends` of the program.
fn client(seen: FlowWord, _done: u8) -> Option<FlowWord> {
    match seen.state {
        state::HALF_OPEN => Some(FlowWord {
            state: state::UNPROVEN,
            flags: flag::COUNTED,
            ..seen
        }),
        state::UNPROVEN | state::ESTABLISHED if seen.flags & flag::CLIENT_ENDED == 0 => {
            Some(FlowWord {
                flags: seen.flags | flag::CLIENT_ENDED,
                ..seen
            })
        }
        _ => None,
    }
}

/// What a box's word makes of one: see `Flows::confirm` and `Flows::end`.
fn said_by_box(flow: Flow, session: Session, seen: FlowWord, done: u8) -> Option<FlowWord> {
    match (done, session) {
        (0, _) => Some(FlowWord {
            backend: flow.backend,
            state: state::ESTABLISHED,
            flags: flag::COUNTED,
            ..seen
        }),
        (1, Session::Ends) if matches!(seen.state, state::ESTABLISHED | state::CLOSING) => {
            Some(FlowWord {
                state: state::ENDED,
                flags: 0,
                ..seen
            })
        }
        _ => None,
    }
}

/// Changes a word, and counts by what the two say.
fn replace(world: &mut World, old: FlowWord, new: FlowWord) -> bool {
    let changed = swap(world, old, new);
    if changed {
        uncount(world, old);
        world.load[usize::from(new.backend)] += i8::from(new.flags & flag::COUNTED != 0);
    }
    changed
}

fn write(flow: Flow, state: u8, now: u8, at: &mut Progress, world: &mut World) {
    let word = FlowWord {
        backend: flow.backend,
        state,
        flags: flag::COUNTED,
        tag: flow.tag,
        seen: 7,
    };
    let claim = FlowWord {
        state: state::CLAIMING,
        flags: 0,
        ..word
    };
    match now {
        0 => {
            at.seen = world.word;
            at.ended = matches!(world.word.state, state::CLAIMING | state::ESTABLISHED);
        }
        1 => {
            at.ended = !swap(world, at.seen, claim);
            if !at.ended {
                uncount(world, at.seen);
            }
        }
        2 | 3 => world.key[usize::from(now - 2)] = flow.key[usize::from(now - 2)],
        _ => {
            at.ended = true;
            if swap(world, claim, word) {
                world.load[usize::from(flow.backend)] += 1;
            }
        }
    }
}

fn swap(world: &mut World, old: FlowWord, new: FlowWord) -> bool {
    let same = world.word == old;
    if same {
        world.word = new;
    }
    same
}

fn uncount(world: &mut World, old: FlowWord) {
    if old.flags & flag::COUNTED != 0 {
        world.load[usize::from(old.backend)] -= 1;
    }
}

/// A state of everything, to know it again.
type Visit = ([u8; 2], u64, [i8; 4], [(u8, u64, bool, u8); 3]);

fn visit(world: &World, at: &[Progress; 3]) -> Visit {
    let at = at.map(|party| (party.step, party.seen.to_bits(), party.ended, party.done));
    (world.key, world.word.to_bits(), world.load, at)
}

/// Walks every interleaving from here on, noting the states it comes through.
fn explore(
    parties: &[Party; 3],
    at: [Progress; 3],
    world: World,
    visited: &mut HashSet<Visit>,
) -> Result<(), String> {
    if !visited.insert(visit(&world, &at)) {
        return Ok(());
    }
    for turn in (0..parties.len()).filter(|turn| !at[*turn].ended) {
        let (mut at, mut world) = (at, world);
        step(parties[turn], &mut at[turn], &mut world)?;
        explore(parties, at, world, visited)?;
    }
    let mut counted = [0; 4];
    if live(world.word) && world.word.flags & flag::COUNTED != 0 {
        counted[usize::from(world.word.backend)] = 1;
    }
    if at.iter().all(|party| party.ended) && world.load != counted {
        return Err(format!("LOAD is not exact: {world:?}"));
    }
    if at.iter().all(|party| party.ended) {
        for (party, at) in parties.iter().zip(&at) {
            is_as_its_box_says(*party, *at, &world)?;
        }
    }
    Ok(())
}

/// At the end a session is what its box has said last of it; what came in its client's name does not count.
fn is_as_its_box_says(party: Party, at: Progress, world: &World) -> Result<(), String> {
    let Party::Box(flow, session) = party else {
        return Ok(());
    };
    let (word, is_its) = (
        world.word,
        world.key == flow.key && world.word.tag == flow.tag,
    );
    let counts = is_its && word.flags & flag::COUNTED != 0;
    match (at.done, session) {
        (1, Session::Stays) if !(counts && word.state == state::ESTABLISHED) => {
            Err(format!("it is open, and is {word:?}"))
        }
        (2, Session::Ends) if is_its && word.state == state::ESTABLISHED => {
            Err(format!("it has ended, and is {word:?}"))
        }
        _ => Ok(()),
    }
}

fn holding(flow: Flow) -> World {
    let mut world = World::default();
    let mut writer = Progress::default();
    while !writer.ended {
        step(Party::Writer(flow), &mut writer, &mut world).unwrap();
    }
    world
}

#[test]
fn no_order_of_steps_gives_another_flows_backend_or_a_wrong_load() {
    let others = [
        Party::Writer(A),
        Party::Writer(B),
        Party::Sweeper,
        Party::Closer(A),
        Party::Closer(B),
    ];
    let mut visited = HashSet::new();
    let mut states = 0;
    for world in [World::default(), holding(A), holding(B)] {
        for first in others {
            for second in others {
                for third in [Party::Reader(A), Party::Reader(B), Party::Sweeper] {
                    let parties = [first, second, third];
                    visited.clear();
                    let explored = explore(&parties, Default::default(), world, &mut visited);
                    assert_eq!(explored, Ok(()), "{parties:?} from {world:?}");
                    states += visited.len();
                }
            }
        }
    }
    assert!(states > 10_000, "only {states} states were visited");
}

/// A sweep that frees everything and a box's second session on the same ends are left out: they end a session
/// rightly.
#[test]
fn in_every_order_a_session_is_what_its_box_says_and_load_is_exact() {
    let said = [Session::Stays, Session::Ends].map(|session| Party::Box(A, session));
    let others = [
        Party::Client(A),
        Party::Client(B),
        Party::Lapse,
        Party::Writer(B),
        Party::Lister(B),
        Party::Reader(A),
        Party::Reader(B),
    ];
    let (mut visited, mut states) = (HashSet::new(), 0);
    for world in [World::default(), holding(A), holding(B)] {
        for first in said {
            for second in others {
                for third in others {
                    let parties = [first, second, third];
                    visited.clear();
                    let explored = explore(&parties, Default::default(), world, &mut visited);
                    assert_eq!(explored, Ok(()), "{parties:?} from {world:?}");
                    states += visited.len();
                }
            }
        }
    }
    println!("{states} states");
    assert!(states > 10_000, "only {states} states were visited");
}

/// The walk would notice a mark that ends a session, and a sweep that takes a session for a claim.
#[test]
fn the_walk_finds_a_session_that_something_but_its_box_ends() {
    let parties = [
        Party::Box(A, Session::Stays),
        Party::Closer(A),
        Party::Lapse,
    ];
    let explored = explore(
        &parties,
        Default::default(),
        holding(A),
        &mut HashSet::new(),
    );
    assert!(explored.is_err_and(|error| error.starts_with("it is open")));
}

#[test]
fn the_walk_finds_what_a_shared_tag_lets_through() {
    // A writer has claimed the slot and halts; a sweep takes it for dead and frees the claim.
    let halted = Progress {
        step: 2,
        ..Progress::default()
    };
    let walk = |other: Flow| {
        let parties = [Party::Writer(A), Party::Writer(other), Party::Reader(A)];
        let at = [halted, Progress::default(), Progress::default()];
        explore(&parties, at, World::default(), &mut HashSet::new())
    };
    assert_eq!(walk(B), Ok(()));
    // The tag alone keeps the word of one from the key of the other then.
    assert!(walk(Flow { tag: A.tag, ..B }).is_err());
}
