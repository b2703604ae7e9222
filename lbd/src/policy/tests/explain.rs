//! The words an operator reads, recorded whole.
use super::*;

/// A backend in most of the states there are.
fn round_of_three() -> (Input, Output) {
    let mut dallas = site("dallas", 0, &[251, 60, 60, 60, 60, 60, 60, 60]);
    let polled = |backend: &mut BackendInput, figures| {
        backend.polled = Some(Polled { age_ns: 0, figures });
    };
    polled(&mut dallas.backends[1], figures(70, 40));
    dallas.backends[2].operator = Some(Override::Drain);
    dallas.backends[3].operator = Some(Override::Weight(Weight(30)));
    dallas.backends[4].health = Health {
        state: HealthState::Down,
        since_ns: START_NS - 130 * SECOND_NS,
    };
    dallas.backends[4].health_reason = Some("no connection: refused".to_owned());
    dallas.backends[5].weight = Weight(0);
    dallas.backends[6].polled.as_mut().expect("set").age_ns = 45 * SECOND_NS;
    dallas.spill = vec!["austin".to_owned()];
    let input = input(Kind::QueueAware, vec![dallas, site("austin", 10, &[5, 5])]);
    let output = Policy::new().step(&input);
    (input, output)
}

fn recorded(name: &str, got: &str) {
    let path = format!("{}/testdata/policy/{name}", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, expected, "\n{name} should read:\n{got}");
}

#[test]
fn text_reads_as_recorded() {
    let (input, output) = round_of_three();
    recorded(
        "explain.txt",
        &crate::policy::explain::text(&input, &output, None),
    );
}

#[test]
fn json_reads_as_recorded() {
    let (input, output) = round_of_three();
    let explanation = crate::policy::explain::explanation(&input, &output, Some("mx1"));
    let json = serde_json::to_value(explanation).unwrap();
    let json = serde_json::to_string_pretty(&json).expect("plain data") + "\n";
    recorded("explain-mx1.json", &json);
}

#[test]
fn one_backend_can_be_asked_for() {
    let (input, output) = round_of_three();
    let text = crate::policy::explain::text(&input, &output, Some("mx3"));
    assert!(text.contains("mx3") && !text.contains("mx2"), "{text}");
    assert!(crate::policy::explain::text(&input, &output, Some("mx99")).is_empty());
}

#[test]
fn the_seeds_shut_off_is_said_with_its_numbers() {
    let output = judged(Kind::Seed, &[120, 40, 40, 40]);
    assert_eq!(
        output.sites[0].backends[0].reason.to_string(),
        "shut off: 120 unique sources, site average 60 + 50; 3 of 4 servers stay active"
    );
}
