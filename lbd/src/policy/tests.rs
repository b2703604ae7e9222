//! What must hold under either rule.
use super::*;
use crate::units::{Weight, WeightPermille};

fn site(connections: &[u64]) -> SiteInput {
    let backends = connections.iter().enumerate().map(|(i, connections)| {
        let id = BackendId(u16::try_from(i).expect("few"));
        let mut backend = BackendInput::new(id, format!("mx{}", i + 1), Weight(100));
        backend.polled = Some(Polled {
            age_ns: 0,
            figures: Figures {
                unique_ips: Some(*connections),
                queued: Some(0),
                ..Figures::default()
            },
        });
        backend
    });
    SiteInput {
        name: "dallas".to_owned(),
        spill: Vec::new(),
        backends: backends.collect(),
    }
}

fn input(kind: Kind, sites: Vec<SiteInput>) -> Input {
    Input {
        now_ns: 1_000_000_000_000,
        settings: Settings {
            kind,
            ..Settings::default()
        },
        mode: Mode::ActiveActive,
        sites,
    }
}

#[test]
fn weight_is_zero_exactly_when_not_accepting() {
    for kind in [Kind::Seed, Kind::QueueAware] {
        let output = Policy::new().step(&input(kind, vec![site(&[251, 10, 10, 450])]));
        for decision in output.decisions() {
            assert_eq!(decision.accepting, decision.weight > WeightPermille(0));
        }
        assert!(output.decisions().any(|decision| !decision.accepting));
    }
}
