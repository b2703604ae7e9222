//! The whole simulator: repeatable, complete, and telling the seed's story.
use super::scenario::{Change, Event, Scenario};
use super::*;
use crate::policy::Settings;

fn short(name: &str, duration_s: f64) -> Scenario {
    let mut scenario = scenarios::named(name).expect("built in");
    scenario.duration_s = duration_s;
    scenario.events.retain(|event| event.at_s < duration_s);
    scenario
}

fn options(scenarios: Vec<Scenario>, strategies: &[Strategy], threads: usize) -> Options {
    Options {
        scenarios,
        strategies: strategies.to_vec(),
        first_seed: 3,
        seeds: 2,
        settings: Settings::default(),
        threads,
    }
}

#[test]
fn the_report_does_not_depend_on_threads() {
    let report = |threads| {
        let scenarios = vec![short("seed-story", 30.0), short("tune-bursts", 30.0)];
        let report = run(&options(scenarios, &Strategy::ALL, threads));
        serde_json::to_string(&report).expect("plain data")
    };
    assert_eq!(report(1), report(3));
}

#[test]
fn every_message_arrives_in_every_scenario() {
    let mut scenario = short("tune-slow", 120.0);
    let event = |at_s, node, change| Event { at_s, node, change };
    scenario.events = vec![
        event(10.0, 0, Change::Stop),
        event(20.0, 1, Change::FailFast(true)),
        event(30.0, 2, Change::DeliverySpeed(0.1)),
        event(50.0, 0, Change::Start),
        event(60.0, 3, Change::Stop),
        event(80.0, 1, Change::FailFast(false)),
        event(90.0, 3, Change::Start),
    ];
    for strategy in Strategy::ALL {
        let outcome = run_one(&scenario, strategy, 5, &Settings::default());
        assert_eq!(outcome.undelivered, 0, "{outcome:?}");
        assert!(
            outcome.retried > 0 && outcome.messages > 4000,
            "{outcome:?}"
        );
    }
}

#[test]
fn the_seeds_story_is_told() {
    let scenario = short("seed-story", 600.0);
    let outcome = |strategy| run_one(&scenario, strategy, 9, &Settings::default());
    let round_robin = outcome(Strategy::RoundRobin);
    assert!(round_robin.busiest_sessions > 200, "{round_robin:?}");
    assert!(round_robin.idle_part >= 0.5, "{round_robin:?}");
    let least = outcome(Strategy::LeastConnection);
    assert!(
        least.longest_queue > 3 * round_robin.longest_queue,
        "{least:?}"
    );
    let seed = outcome(Strategy::SeedRoundRobin);
    assert!(
        seed.busiest_sessions < 200 && seed.longest_queue < least.longest_queue,
        "{seed:?}"
    );
    assert!(
        seed.slowdown_p99 < round_robin.slowdown_p99 / 2.0,
        "{seed:?}"
    );
    let queue_aware = outcome(Strategy::QueueAware);
    assert!(
        queue_aware.slowdown_p99 < seed.slowdown_p99 / 2.0,
        "{queue_aware:?}"
    );
    assert_eq!(queue_aware.flaps, 0, "{queue_aware:?}");
}

#[test]
fn a_queue_in_the_choice_keeps_queues_short() {
    let scenario = short("tune-slow", 600.0);
    let outcome = |strategy| run_one(&scenario, strategy, 2, &Settings::default());
    let weights = outcome(Strategy::QueueAware);
    let told = outcome(Strategy::QueueTermTold);
    assert!(
        told.slowdown_p99 < weights.slowdown_p99 * 0.75,
        "{told:?} {weights:?}"
    );
    assert!(
        told.longest_queue * 2 < weights.longest_queue,
        "{told:?} {weights:?}"
    );
}

#[test]
fn a_box_that_turns_all_mail_away_is_no_magnet() {
    let mut scenario = short("tune-turned-away", 300.0);
    scenario.events.truncate(1);
    let outcome = |strategy| run_one(&scenario, strategy, 2, &Settings::default());
    let by_counts = outcome(Strategy::TwoChoice);
    let queue_aware = outcome(Strategy::QueueTermTold);
    assert!(by_counts.retried > 500, "{by_counts:?}");
    assert!(
        queue_aware.retried * 5 < by_counts.retried,
        "{queue_aware:?}"
    );
}

#[test]
fn yesterdays_sessions_are_delivered() {
    let csv: String = (0..500).fold(String::new(), |csv, i| {
        format!("{csv}{},{},{},{}\n", i / 5, 2, 9000, i32::from(i % 4 != 0))
    });
    let mut scenario = short("tune-real", 300.0);
    scenario.traffic.replay = replay::Replay::parse(&csv).ok();
    let outcome = run_one(&scenario, Strategy::QueueTermTold, 1, &Settings::default());
    assert_eq!(
        (outcome.messages, outcome.undelivered),
        (125, 0),
        "{outcome:?}"
    );
}

#[test]
fn table_and_plot_show_every_row() {
    let options = options(vec![short("tune-bursts", 20.0)], &Strategy::ALL, 2);
    let report = run(&options);
    let table = render::table(&report, &options.scenarios);
    let svg = plot::svg(&report, &options.scenarios);
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for strategy in Strategy::ALL {
        assert!(table.contains(strategy.name()), "{table}");
        assert!(svg.contains(strategy.name()), "{svg}");
    }
}
