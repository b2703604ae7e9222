//! What the README claims of the policy, with one seed of the simulator's evaluation scenarios;
//! `lbd simulate` is the whole claim, with 20 seeds and confidence intervals.
use lbd::policy::Settings;
use lbd::simulate::scenarios::{Purpose, all};
use lbd::simulate::{Options, Report, Strategy, run};

fn evaluation() -> Report {
    run(&Options {
        scenarios: all(Purpose::Evaluation),
        strategies: vec![Strategy::SeedRoundRobin, Strategy::QueueAware],
        first_seed: 77,
        seeds: 1,
        settings: Settings::default(),
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    })
}

#[test]
fn queue_aware_halves_the_seeds_p99_without_a_flap() {
    let report = evaluation();
    let rows: Vec<_> = report
        .rows
        .iter()
        .filter(|row| row.strategy == Strategy::QueueAware)
        .collect();
    assert!(rows.len() >= 5);
    for row in rows {
        let ratio = row.p99_to_seed.expect("the seed's rule was run");
        assert!(ratio.mean <= 0.5, "{}: {ratio:?}", row.scenario);
        assert_eq!(row.flaps, 0, "{}", row.scenario);
        assert_eq!(row.undelivered, 0, "{}", row.scenario);
    }
}
