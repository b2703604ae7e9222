//! Every order in which the steps of a few parties at one slot can happen.
//!
//! A party is a list of steps, each one access of shared memory, as the protocol of
//! [`lbd_common::flow`] has them; the program's and the daemon's are the same. The walk visits every
//! state that some interleaving of three parties leads to. It assumes sequential consistency; what the
//! hardware adds to that is written down under *Memory model* in [`lbd_common::flow`].
use std::collections::HashSet;

use lbd_common::flow::{FlowWord, state};

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
    /// Displaces a half-open flow, as an insert does.
    Writer(Flow),
    /// Looks a flow up.
    Reader(Flow),
    /// Frees every slot it finds, claims included: the sweep at its most aggressive.
    Sweeper,
    /// Closes a flow that it looks up.
    Closer(Flow),
}

/// Where a party is, and what it has read.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    step: u8,
    seen: FlowWord,
    ended: bool,
}

fn live(word: FlowWord) -> bool {
    (state::HALF_OPEN..=state::DOOMED).contains(&word.state)
}

/// One step of a party. `Err` when a reader takes another flow's backend.
fn step(party: Party, at: &mut Progress, world: &mut World) -> Result<(), String> {
    let now = at.step;
    at.step += 1;
    match party {
        Party::Writer(flow) => write(flow, now, at, world),
        Party::Reader(flow) => {
            if find(flow, now, at, world) && now == 5 {
                at.ended = true;
                if at.seen.backend != flow.backend {
                    return Err(format!("{flow:?} was sent to {}", at.seen.backend));
                }
            }
        }
        Party::Sweeper if now == 0 => at.seen = world.word,
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

fn write(flow: Flow, now: u8, at: &mut Progress, world: &mut World) {
    let word = FlowWord {
        backend: flow.backend,
        state: state::HALF_OPEN,
        flags: 1,
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
            at.ended = world.word.state == state::CLAIMING;
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
    if old.flags != 0 {
        world.load[usize::from(old.backend)] -= 1;
    }
}

/// A state of everything, to know it again.
type Visit = ([u8; 2], u64, [i8; 4], [(u8, u64, bool); 3]);

fn visit(world: &World, at: &[Progress; 3]) -> Visit {
    let at = at.map(|party| (party.step, party.seen.to_bits(), party.ended));
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
    if live(world.word) && world.word.flags != 0 {
        counted[usize::from(world.word.backend)] = 1;
    }
    if at.iter().all(|party| party.ended) && world.load != counted {
        return Err(format!("LOAD is not exact: {world:?}"));
    }
    Ok(())
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
