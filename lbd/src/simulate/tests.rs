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
fn every_message_arrives_whatever_happens() {
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
