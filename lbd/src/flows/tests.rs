//! The table against a model, and under threads.
use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use lbd_common::flow::{FlowWord, ON_ITS_WAY_UNITS, flag, state};
use proptest::{collection::vec, prelude::*};

use super::{table::BUCKET_WORDS, *};

const NOW: u16 = 1000;
const BACKENDS: u16 = 8;

fn memory(buckets: usize) -> Vec<AtomicU64> {
    (0..buckets * BUCKET_WORDS)
        .map(|_| AtomicU64::new(0))
        .collect()
}

fn loads() -> Vec<AtomicU64> {
    (0..BACKENDS).map(|_| AtomicU64::new(0)).collect()
}

fn values(load: &[AtomicU64]) -> Vec<u64> {
    load.iter()
        .map(|load| load.load(Ordering::Relaxed))
        .collect()
}

fn key4(number: u32) -> Key4 {
    Key4 {
        source: Ipv4Addr::from(0x0a00_0000 + number),
        port: 40_000,
        vip_id: 7,
    }
}

fn key6(number: u32) -> Key6 {
    Key6 {
        source: Ipv4Addr::from(0x0a00_0000 + number).to_ipv6_mapped(),
        port: 40_000,
        vip_id: 7,
    }
}

fn open(backend: u16) -> NewFlow {
    NewFlow {
        backend,
        state: state::ESTABLISHED,
        flags: flag::COUNTED,
    }
}

fn sweep(v4: &Flows4<'_>, v6: &Flows6<'_>, load: &[AtomicU64], now: u16) -> SweepReport {
    Sweeper::default().sweep(v4, v6, load, now, Timeouts::default())
}

#[derive(Clone, Debug)]
enum Action {
    Insert(u32, u16, u8),
    Close(u32),
    Doom(u16),
    Pass(u16),
    Sweep,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (0_u32..40, 0..BACKENDS, state::HALF_OPEN..=state::ESTABLISHED)
            .prop_map(|(key, backend, state)| Action::Insert(key, backend, state)),
        2 => (0_u32..40).prop_map(Action::Close),
        1 => (0..BACKENDS).prop_map(Action::Doom),
        2 => (1_u16..40).prop_map(Action::Pass),
        1 => Just(Action::Sweep),
    ]
}

/// What a sweep leaves of the model.
fn sweep_model<K>(model: &mut HashMap<K, (NewFlow, u16)>, now: u16) {
    let timeouts = Timeouts::default();
    model.retain(|_, (flow, seen)| {
        now - *seen
            <= match flow.state {
                state::HALF_OPEN => timeouts.half_open,
                state::UNPROVEN if flow.flags == flag::CLIENT_ENDED => timeouts.unproven,
                state::UNPROVEN => timeouts.unproven_silent,
                state::ESTABLISHED | state::CLOSING => timeouts.established,
                _ => timeouts.doomed,
            }
    });
    for (flow, seen) in model.values_mut() {
        let is_claim = matches!(flow.state, state::HALF_OPEN | state::UNPROVEN);
        if is_claim && now - *seen >= ON_ITS_WAY_UNITS {
            flow.flags &= !flag::COUNTED;
        }
    }
}

/// Runs the actions on a table that is large enough to displace nothing, and on a reference map.
fn agrees_with_model<K: FlowKey + std::hash::Hash>(
    key: impl Fn(u32) -> K,
    sweep_table: impl Fn(&Flows<'_, K>, &[AtomicU64], u16) -> SweepReport,
    actions: Vec<Action>,
) -> Result<(), TestCaseError> {
    let (words, load) = (memory(256), loads());
    let flows = Flows::<K>::new(&words, &load);
    let mut model: HashMap<K, (NewFlow, u16)> = HashMap::new();
    let mut now = NOW;
    for action in actions {
        match action {
            Action::Insert(number, backend, state) => {
                let new = NewFlow {
                    state,
                    ..open(backend)
                };
                let known = model.contains_key(&key(number));
                let outcome = flows.insert(key(number), new, now);
                prop_assert_eq!(matches!(outcome, Insert::Exists(_)), known);
                prop_assert!(outcome != Insert::NoRoom);
                model.entry(key(number)).or_insert((new, now));
            }
            Action::Close(number) => {
                let known = flows.close(key(number), now);
                prop_assert_eq!(known, model.contains_key(&key(number)));
                if let Some((flow, seen)) = model.get_mut(&key(number)) {
                    if flow.state == state::ESTABLISHED {
                        (flow.state, *seen) = (state::CLOSING, now);
                    }
                    if flow.state < state::DOOMED {
                        flow.flags = flag::CLIENT_ENDED;
                    }
                }
            }
            Action::Doom(backend) => {
                let doomed = flows.doom(now, |flow| flow.word.backend == backend);
                let mut expected = 0;
                for (flow, seen) in model.values_mut() {
                    if flow.backend == backend && flow.state != state::DOOMED {
                        (flow.state, flow.flags, *seen) = (state::DOOMED, 0, now);
                        expected += 1;
                    }
                }
                prop_assert_eq!(doomed, expected);
            }
            Action::Pass(units) => now += units,
            Action::Sweep => {
                let before = model.len();
                sweep_model(&mut model, now);
                let report = sweep_table(&flows, &load, now);
                prop_assert_eq!(report.expired, (before - model.len()) as u64);
                for id in 0..BACKENDS {
                    let of = |state, flags| {
                        let is = |flow: &NewFlow| {
                            flow.backend == id && flow.state == state && flow.flags & flags == flags
                        };
                        model.values().filter(|(flow, _)| is(flow)).count() as u64
                    };
                    let found = report.backend(id);
                    let proven = of(state::ESTABLISHED, flag::COUNTED);
                    let sessions = proven + of(state::UNPROVEN, flag::COUNTED);
                    prop_assert_eq!((found.sessions, found.proven), (sessions, proven));
                    prop_assert_eq!(found.half_open, of(state::HALF_OPEN, 0));
                    prop_assert_eq!(found.unique_sources, sessions);
                    prop_assert_eq!(found.proven_sources, proven);
                }
            }
        }
        for id in 0..BACKENDS {
            let counted = model
                .values()
                .filter(|(flow, _)| flow.backend == id && flow.flags & flag::COUNTED != 0)
                .count();
            prop_assert_eq!(
                load[usize::from(id)].load(Ordering::Relaxed),
                counted as u64
            );
        }
        for number in 0..40 {
            let found = flows
                .lookup(key(number))
                .map(|word| (word.backend, word.state));
            let expected = model
                .get(&key(number))
                .map(|(flow, _)| (flow.backend, flow.state));
            prop_assert_eq!(found, expected);
        }
        prop_assert_eq!(flows.iter().count(), model.len());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_ipv4_table_is_a_map_with_timeouts(actions in vec(action(), 1..60)) {
        let (other, none) = (memory(1), loads());
        let other = Flows6::new(&other, &none);
        agrees_with_model(key4, |flows, load, now| sweep(flows, &other, load, now), actions)?;
    }

    #[test]
    fn the_ipv6_table_is_a_map_with_timeouts(actions in vec(action(), 1..60)) {
        let (other, none) = (memory(1), loads());
        let other = Flows4::new(&other, &none);
        agrees_with_model(key6, |flows, load, now| sweep(&other, flows, load, now), actions)?;
    }
}

#[test]
fn an_open_session_is_never_displaced() {
    let (words, load) = (memory(1), loads());
    let flows = Flows4::new(&words, &load);
    for number in 0..4 {
        assert_eq!(flows.insert(key4(number), open(1), NOW), Insert::Inserted);
    }
    assert_eq!(flows.insert(key4(9), open(2), NOW), Insert::NoRoom);
    for number in 0..4 {
        assert_eq!(flows.lookup(key4(number)).map(|word| word.backend), Some(1));
    }
    assert_eq!(values(&load)[..3], [0, 4, 0]);
}

/// With the same keys each time; of a million, some four find no place.
#[test]
fn a_table_half_full_has_a_place_for_nearly_every_flow() {
    const FLOWS: u32 = 31_000;
    let (words, load) = (memory(1 << 14), loads());
    let flows = Flows4::new(&words, &load);
    let placed = (0..FLOWS)
        .filter(|number| flows.insert(key4(*number), open(1), NOW) == Insert::Inserted)
        .count();
    assert!(placed + 1 >= FLOWS as usize, "{placed} of {FLOWS}");
}

#[test]
fn a_half_open_flow_gives_its_place_and_its_count() {
    let (words, load) = (memory(1), loads());
    let flows = Flows4::new(&words, &load);
    for number in 0..4 {
        let half_open = NewFlow {
            state: state::HALF_OPEN,
            ..open(1)
        };
        flows.insert(key4(number), half_open, NOW);
    }
    assert_eq!(flows.insert(key4(9), open(2), NOW), Insert::Inserted);
    assert_eq!(values(&load)[..3], [0, 3, 1]);
    assert_eq!(flows.iter().count(), 4);
}

#[test]
fn a_sweep_repairs_what_writers_left() {
    let (words, load) = (memory(4), loads());
    let flows = Flows4::new(&words, &load);
    let other = memory(1);
    let other = Flows6::new(&other, &load);
    let claim = |seen| {
        FlowWord {
            state: state::CLAIMING,
            seen,
            ..FlowWord::default()
        }
        .to_bits()
    };
    words[1].store(claim(NOW - 100), Ordering::Relaxed);
    words[9].store(claim(NOW - 1), Ordering::Relaxed);
    let impossible = FlowWord {
        state: 77,
        seen: NOW,
        ..FlowWord::default()
    };
    words[17].store(impossible.to_bits(), Ordering::Relaxed);
    let unkeyed = FlowWord {
        state: state::ESTABLISHED,
        backend: u16::MAX,
        seen: NOW,
        ..FlowWord::default()
    };
    words[25].store(unkeyed.to_bits(), Ordering::Relaxed);
    let report = sweep(&flows, &other, &load, NOW);
    assert_eq!(
        (report.stuck_freed, report.impossible, report.expired),
        (1, 2, 0)
    );
    assert_eq!(
        words[9].load(Ordering::Relaxed),
        claim(NOW - 1),
        "a claim may be in the making"
    );
}

#[test]
fn the_second_entry_of_a_flow_is_removed() {
    // One bucket: both entries are in it, and every sweep looks there.
    let (words, load) = (memory(1), loads());
    let flows = Flows4::new(&words, &load);
    let other = memory(1);
    let other = Flows6::new(&other, &load);
    flows.insert(key4(1), open(3), NOW);
    for at in 0..2 {
        words[4 + at].store(words[at].load(Ordering::Relaxed), Ordering::Relaxed);
    }
    load[3].fetch_add(1, Ordering::Relaxed);
    let report = sweep(&flows, &other, &load, NOW);
    assert_eq!(report.duplicates, 1);
    assert_eq!(flows.iter().count(), 1);
    assert_eq!(flows.lookup(key4(1)).map(|word| word.backend), Some(3));
    assert_eq!(values(&load)[3], 1);
}

#[test]
fn the_services_asked_for_are_counted_apart() {
    let (words, load) = (memory(4), loads());
    let flows = Flows4::new(&words, &load);
    let other = memory(1);
    let other = Flows6::new(&other, &load);
    let of = |vip_id, port| Key4 {
        port,
        vip_id,
        ..key4(1)
    };
    // Two sessions of one source, at two backends.
    flows.insert(of(25, 1000), open(3), NOW);
    flows.insert(of(25, 1001), open(4), NOW);
    flows.insert(of(587, 1000), open(3), NOW);
    flows.insert(of(99, 1000), open(3), NOW);
    let mut sweeper = Sweeper::default();
    sweeper.services.extend([25, 465, 587]);
    let service = |sessions, unique_sources| ServiceFlows {
        sessions,
        unique_sources,
    };
    for _ in 0..2 {
        let report = sweeper.sweep(&flows, &other, &load, NOW, Timeouts::default());
        assert_eq!(
            report.services,
            [service(2, 1), service(0, 0), service(1, 1)]
        );
    }
}

#[test]
fn load_is_corrected_when_it_has_drifted() {
    let (words, load) = (memory(4), loads());
    let flows = Flows4::new(&words, &load);
    let other = memory(1);
    let other = Flows6::new(&other, &load);
    flows.insert(key4(1), open(3), NOW);
    load[3].store(12, Ordering::Relaxed);
    load[4].store(u64::MAX, Ordering::Relaxed);
    let mut sweeper = Sweeper::default();
    let mut corrections = Vec::new();
    for _ in 0..4 {
        let report = sweeper.sweep(&flows, &other, &load, NOW, Timeouts::default());
        corrections.extend(report.corrections);
    }
    assert_eq!(corrections, [(3, -11), (4, 1)]);
    assert_eq!(values(&load)[3..5], [1, 0]);
}

#[test]
fn flows_beyond_a_backends_own_figure_do_not_count_and_do_again() {
    let (words, load) = (memory(256), loads());
    let (v4, none) = (Flows4::new(&words, &load), memory(256));
    let v6 = Flows6::new(&none, &load);
    for number in 0..100 {
        v4.insert(key4(number), open(3), NOW);
    }
    let mut sweeper = Sweeper::default();
    let mut swept = |excess: u64, speaks: bool| {
        sweeper.excess = vec![0, 0, 0, excess];
        sweeper.speaks = vec![if speaks { u64::MAX } else { 0 }; 4];
        let report = sweeper.sweep(&v4, &v6, &load, NOW, Timeouts::default());
        let backend = report.backend(3);
        assert_eq!(backend.established, 100, "all of them stay");
        assert_eq!(backend.proven, backend.sessions);
        (backend.proven, values(&load)[3])
    };
    assert_eq!(swept(0, false), (100, 100));
    assert_eq!(swept(90, false), (10, 10));
    assert_eq!(swept(95, false), (5, 5));
    assert_eq!(swept(60, false), (40, 40));
    assert_eq!(
        swept(60, true),
        (100, 100),
        "a box that tells bounds them itself"
    );
    assert_eq!(swept(1000, false), (0, 0));
    assert_eq!(swept(0, false), (100, 100));
}

#[test]
fn a_clock_behind_the_writers_expires_nothing() {
    let (words, load) = (memory(4), loads());
    let flows = Flows4::new(&words, &load);
    let other = memory(1);
    let other = Flows6::new(&other, &load);
    flows.insert(key4(1), open(3), NOW + 1);
    assert_eq!(sweep(&flows, &other, &load, NOW).expired, 0);
    // And around the counter's end.
    flows.insert(key4(2), open(3), u16::MAX);
    assert_eq!(sweep(&flows, &other, &load, NOW).expired, 0);
    assert_eq!(sweep(&flows, &other, &load, 5000).expired, 2);
}

#[test]
fn ids_in_use_are_those_of_flows() {
    let (words, load) = (memory(4), loads());
    let (words6, flows) = (memory(4), Flows4::new(&words, &load));
    let flows6 = Flows6::new(&words6, &load);
    flows.insert(key4(1), open(3), NOW);
    flows6.insert(
        Key6 {
            vip_id: 9,
            ..key6(1)
        },
        open(5),
        NOW,
    );
    let ids = IdsInUse::of(&words, &words6);
    assert_eq!(ids.backends.into_iter().collect::<Vec<_>>(), [3, 5]);
    assert_eq!(ids.vips.into_iter().collect::<Vec<_>>(), [7, 9]);
}

/// A flow's only right backend: a function of its key.
fn backend_of(number: u32) -> u16 {
    u16::try_from(number % u32::from(BACKENDS)).unwrap()
}

/// Writers, closers and readers on a table with far too few places, and a sweeper alongside.
fn stress<K: FlowKey>(
    key: impl Fn(u32) -> K + Sync,
    sweep_table: impl Fn(&mut Sweeper, &Flows<'_, K>, &[AtomicU64], u16) -> SweepReport + Sync,
) {
    const KEYS: u32 = 64;
    const ROUNDS: u32 = 40_000;
    let (words, load) = (memory(2), loads());
    let flows = Flows::<K>::new(&words, &load);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..3_u32)
            .map(|worker| {
                let (flows, key) = (&flows, &key);
                scope.spawn(move || {
                    let mut random = u64::from(worker) + 1;
                    for round in 0..ROUNDS {
                        random = lbd_common::hash::mix(random.wrapping_add(u64::from(round)));
                        let number = u32::try_from(random % u64::from(KEYS)).unwrap();
                        let half_open = NewFlow {
                            state: state::HALF_OPEN,
                            ..open(backend_of(number))
                        };
                        match random >> 32 & 7 {
                            0..3 => {
                                flows.insert(key(number), half_open, NOW);
                            }
                            3 => {
                                flows.insert(key(number), open(backend_of(number)), NOW);
                            }
                            4 => {
                                flows.close(key(number), NOW);
                            }
                            _ => {
                                if let Some(word) = flows.lookup(key(number)) {
                                    assert_eq!(
                                        word.backend,
                                        backend_of(number),
                                        "another flow's backend"
                                    );
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut sweeper = Sweeper::default();
            let mut now = NOW;
            while !done.load(Ordering::Relaxed) {
                // Half of the sweeps find everything closing or half-open expired.
                now = if now == NOW { NOW + 35 } else { NOW };
                sweep_table(&mut sweeper, &flows, &load, now);
                for flow in flows.iter() {
                    let number = (0..KEYS).find(|number| key(*number) == flow.key);
                    let number = number.expect("a key that was never inserted");
                    assert_eq!(flow.word.backend, backend_of(number));
                }
            }
        });
        let ended: Vec<_> = workers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok));
    });
    // All is quiet: what is counted is what is there, at the latest after the third sweep.
    let mut sweeper = Sweeper::default();
    for _ in 0..3 {
        sweep_table(&mut sweeper, &flows, &load, NOW);
    }
    let mut counted = vec![0; usize::from(BACKENDS)];
    // By the words themselves: one whose claim was freed under its writer may stand next to another
    // flow's key, where no reader finds it; it counts until it is idle all the same.
    for slot in words.chunks(Flows::<K>::slot_words()) {
        let word = FlowWord::from_bits(slot[slot.len() - 1].load(Ordering::Relaxed));
        if word.flags & flag::COUNTED != 0 {
            counted[usize::from(word.backend)] += 1;
        }
    }
    assert_eq!(values(&load), counted, "LOAD is not exact");
    // And every place can be had again.
    sweep_table(&mut sweeper, &flows, &load, NOW + 5000);
    assert!(
        words
            .chunks(Flows::<K>::slot_words())
            .all(|slot| slot[slot.len() - 1].load(Ordering::Relaxed) == 0),
        "a slot leaked"
    );
    assert_eq!(values(&load), vec![0; usize::from(BACKENDS)]);
}

#[test]
fn threads_never_see_another_flows_backend_in_the_ipv4_table() {
    let (other, none) = (memory(1), loads());
    let other = Flows6::new(&other, &none);
    stress(key4, |sweeper, flows, load, now| {
        sweeper.sweep(flows, &other, load, now, Timeouts::default())
    });
}

#[test]
fn threads_never_see_another_flows_backend_in_the_ipv6_table() {
    let (other, none) = (memory(1), loads());
    let other = Flows4::new(&other, &none);
    stress(key6, |sweeper, flows, load, now| {
        sweeper.sweep(&other, flows, load, now, Timeouts::default())
    });
}
