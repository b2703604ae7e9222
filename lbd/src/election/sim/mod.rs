//! Two to eight machines on one virtual clock: kills, crashes, starts, stops, freezes, partitions,
//! loss, late timers and clock jumps, drawn from a seed.

mod faults;
mod verdict;
mod world;

use self::world::{MS, Random, World};
use crate::config::StartAs;
use crate::vrrp::Interval;

fn interval(random: &mut Random) -> Interval {
    Interval::from_centiseconds([1, 10, 100][random.index(3)]).unwrap()
}

/// Each seed is a cluster of two to eight with ten rounds of one to three disturbances.
fn one_master_after_anything(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut random = Random(seed ^ 0xe1ec);
        let count = 2 + random.index(7);
        let preempt = random.permille(700);
        let interval = interval(&mut random);
        let mut world = World::new(seed, count, interval, preempt);
        for node in 0..count {
            world.start(node, StartAs::Backup);
        }
        for _ in 0..10 {
            for _ in 0..=world.random.below(3) {
                world.disturb();
                let pause_ns = world.random.below(5 * interval.ns());
                world.run_for(pause_ns);
            }
            world.calm();
            world.run_for(world.settle_ns());
            world.assert_settled(seed, preempt);
        }
    }
}

#[test]
fn one_master_in_bounded_time_after_a_thousand_rounds_of_anything() {
    one_master_after_anything(0..100);
}

/// The killed box's lease is over before another node takes over: without partition, loss or freeze two
/// boxes serve together for no longer than adverts travel.
#[test]
fn kills_and_starts_alone_never_leave_two_that_serve() {
    for seed in 0..100 {
        let mut random = Random(seed ^ 0x0ff);
        let count = 2 + random.index(7);
        let interval = interval(&mut random);
        let mut world = World::new(seed, count, interval, true);
        for node in 0..count {
            world.start(node, StartAs::Backup);
        }
        world.run_for(world.settle_ns());
        for _ in 0..10 {
            world.overlap_ns = 0;
            let node = world.random.index(count);
            match world.random.below(5) {
                0 => world.kill(node),
                1 => world.stop(node),
                2 => world.crash(node),
                3 => world.start(node, StartAs::Backup),
                _ => world.start(node, StartAs::Master),
            }
            world.run_for(world.settle_ns());
            world.assert_settled(seed, true);
            assert!(
                world.overlap_ns <= 3 * world.delay_ns,
                "seed {seed}: {} us\n{}",
                world.overlap_ns / 1000,
                world.trace.join("\n")
            );
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || {
        let mut world = World::new(7, 5, Interval::MIN, true);
        for node in 0..5 {
            world.start(node, StartAs::Backup);
        }
        for _ in 0..50 {
            world.disturb();
            world.run_for(20 * MS);
        }
        world.trace
    };
    let trace = run();
    assert!(trace.len() > 20);
    assert_eq!(trace, run());
}

/// A cluster of `count` that has settled at 10 ms adverts.
fn settled(seed: u64, count: usize) -> World {
    settle(World::new(seed, count, Interval::MIN, true))
}

fn settle(mut world: World) -> World {
    let count = world.nodes.len();
    for node in 0..count {
        world.start(node, StartAs::Backup);
    }
    world.run_for(world.settle_ns() + 1000 * MS);
    world
}

/// See `machine/doubt.rs`.
#[test]
fn a_box_that_is_off_is_replaced_within_two_and_a_half_intervals() {
    for seed in 0..100 {
        let mut world = settled(seed, 3);
        let master = world.master().unwrap();
        world.crash(master);
        world.run_for(5 * Interval::MIN.ns() / 2);
        let now = world.master();
        assert!(now.is_some() && now != Some(master), "seed {seed}: {now:?}");
    }
}

#[test]
fn a_box_whose_daemon_died_is_replaced_when_its_lease_ends_and_not_before() {
    for seed in 0..100 {
        let mut world = settled(seed, 3);
        let master = world.master().unwrap();
        world.kill(master);
        let end_ns = world.lease_end_ns(master);
        world.overlap_ns = 0;
        while world.now_ns < end_ns {
            world.run_for(MS / 10);
        }
        assert_eq!(world.overlap_ns, 0, "seed {seed}");
        world.run_for(5 * MS);
        let now = world.master();
        assert!(now.is_some() && now != Some(master), "seed {seed}: {now:?}");
    }
}

/// False takeovers under loss: the questions add less to those of three lost adverts than as many
/// again.
#[test]
fn loss_is_hardly_taken_for_death_more_often_than_without_questions() {
    let takeovers = |answers: bool| -> u64 {
        (0..100)
            .map(|seed| {
                let mut world = World::new(seed, 3, Interval::MIN, true);
                for node in &mut world.nodes {
                    // A master that returns adds takeovers of its own.
                    node.config.has_channel = false;
                }
                let mut world = settle(world);
                let before = world.takeovers();
                world.answers = answers;
                world.loss_permille = 350;
                world.run_for(2000 * MS);
                world.takeovers() - before
            })
            .sum()
    };
    let (with, without) = (takeovers(true), takeovers(false));
    assert!(without > 10, "the loss is felt: {without}");
    assert!(
        with < 2 * without,
        "{with} with questions, {without} without"
    );
}

/// See `machine/away.rs`: a cut of the master, its own and the others' sessions meanwhile, its return.
#[test]
fn a_master_that_was_cut_off_fetches_the_sessions_before_it_serves_again() {
    for seed in 0..100 {
        let mut random = Random(seed ^ 0xcafe);
        let mut world = settled(seed, 3);
        let master = world.master().unwrap();
        world.nodes[master].segment = 1;
        let interval_ns = Interval::MIN.ns();
        world.run_for((10 + random.below(100)) * interval_ns);
        let serves = |node: &world::Node| node.serves(world.now_ns);
        let serving = world.nodes.iter().filter(|node| serves(node)).count();
        assert_eq!(serving, 2, "seed {seed}: another one serves too");
        world.trace.clear();
        world.nodes[master].segment = 0;
        world.run_for(world.settle_ns() + 1000 * MS);
        let trace = world.trace.join("\n");
        let (rejoined, preempted) = (
            trace.find(&format!("{master} backup: Rejoined")),
            trace.find(&format!("{master} master: Preempted")),
        );
        assert!(rejoined.is_some(), "seed {seed}:\n{trace}");
        assert!(
            rejoined < preempted || preempted.is_none(),
            "seed {seed}:\n{trace}"
        );
        world.assert_settled(seed, true);
    }
}

/// A paused machine's clocks stand still, so it is master in its own eyes when it goes on, whoever has
/// served meanwhile. It has none of the sessions of in between: of lower priority it takes nothing from the box
/// that served, not for a moment, and of higher priority it fetches them before it serves again.
#[test]
fn a_master_that_was_paused_gives_way_to_the_one_that_served_meanwhile() {
    for seed in 0..200 {
        let mut random = Random(seed ^ 0x9a05e);
        let (lower, kept) = (random.permille(500), random.permille(500));
        let mut world = World::new(seed, 2, Interval::MIN, !lower);
        for (node, priority) in [(0, if lower { 100 } else { 200 }), (1, 150)] {
            world.nodes[node].config.priority = crate::units::Priority(priority);
            world.nodes[node].offset_ns += 60_000 * MS;
        }
        world.start(0, StartAs::Master);
        world.run_for(world.settle_ns() + 1000 * MS);
        world.start(1, StartAs::Backup);
        world.run_for(world.settle_ns() + 1000 * MS);
        assert_eq!(world.master(), Some(0), "seed {seed}");

        world.pause(0);
        let paused_ns = (10 + random.below(2000)) * Interval::MIN.ns();
        world.run_for(paused_ns);
        assert_eq!(world.master(), Some(1), "seed {seed}");
        (world.overlap_ns, world.trace) = (0, Vec::new());
        world.resume(0, paused_ns, kept);
        let interval_ns = Interval::MIN.ns();
        world.run_for(3 * interval_ns);
        let trace = world.trace.join("\n");
        if lower {
            assert_eq!(world.master(), Some(1), "seed {seed}:\n{trace}");
            assert!(!trace.contains("1 backup"), "seed {seed}:\n{trace}");
        } else {
            let rejoined = trace.find("0 backup: Rejoined");
            let preempted = trace.find("0 master: Preempted");
            assert!(rejoined.is_some(), "seed {seed}:\n{trace}");
            assert!(
                rejoined < preempted || preempted.is_none(),
                "seed {seed}:\n{trace}"
            );
        }
        assert!(
            world.overlap_ns <= interval_ns + 3 * world.delay_ns,
            "seed {seed}, lower {lower}: {} us\n{trace}",
            world.overlap_ns / 1000
        );
        world.run_for(world.settle_ns() + 1000 * MS);
        world.assert_settled(seed, !lower);
    }
}
