//! When what is found out of the backends says more of the finder.
//!
//! A check that fails for every backend at once is most likely wrong itself: a recipient that no server
//! knows, a STARTTLS that none offers, an access list that names the director. The same goes for
//! suspicion: a box that hears no other cannot judge the others. Where no better one is left there is
//! nothing to gain by taking all of them out.
use super::{BackendInput, HealthState, Input, Override, site::to_f64};

/// What of the findings counts in a step.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Trust {
    /// The checks are at fault: backends that answer them badly are taken for up.
    pub(super) checks_fail: Option<Failing>,
    /// Every backend that could take sessions is suspect: none is.
    pub(super) all_suspect: bool,
}

/// How many backends fail the check.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Failing {
    pub(super) failing: usize,
    /// Of so many that answer.
    pub(super) of: usize,
}

impl Trust {
    pub(super) fn of(input: &Input) -> Self {
        let candidates = || {
            let backends = input.sites.iter().flat_map(|site| &site.backends);
            backends.filter(|backend| could_serve(backend))
        };
        let trusted = || candidates().filter(|backend| backend.suspect.is_none());
        let failing = trusted().filter(|backend| backend.health.state == HealthState::NotServing);
        let failing = Failing {
            failing: failing.count(),
            of: trusted().count(),
        };
        let is_panic = input.settings.panic_threshold.is_some_and(|threshold| {
            failing.failing > 0
                && to_f64(failing.failing as u64) >= threshold * to_f64(failing.of as u64)
        });
        Self {
            checks_fail: is_panic.then_some(failing),
            all_suspect: candidates().count() > 0 && trusted().count() == 0,
        }
    }
}

impl Input {
    /// Whether so many checks fail together that they are taken to be wrong.
    #[must_use]
    pub fn checks_are_at_fault(&self) -> bool {
        Trust::of(self).checks_fail.is_some()
    }
}

/// Neither dead nor kept away by the configuration or an operator.
fn could_serve(backend: &BackendInput) -> bool {
    let weight = match backend.operator {
        Some(Override::Drain) => 0,
        Some(Override::Weight(weight)) => weight.0,
        None => backend.weight.0,
    };
    weight > 0 && backend.health.state != HealthState::Down
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Mode, Policy, Reason, Settings, Sign, SiteInput, Suspect};
    use crate::units::{BackendId, Weight};

    /// A letter a backend: `u`p, `n`ot serving, `d`own, `s`uspect, drained and not serving (`x`).
    fn input(letters: &str, panic_threshold: Option<f64>) -> Input {
        let backend = |(id, letter): (u16, char)| {
            let mut backend = BackendInput::new(BackendId(id), format!("mx{id}"), Weight(100));
            backend.health.state = match letter {
                'n' | 'x' => HealthState::NotServing,
                'd' => HealthState::Down,
                _ => HealthState::Up,
            };
            backend.health_reason = Some("554 no".to_owned());
            backend.operator = (letter == 'x').then_some(Override::Drain);
            backend.suspect = (letter == 's').then_some(Suspect {
                since_ns: 0,
                sign: Sign::Unanswered,
            });
            backend
        };
        Input {
            now_ns: 1,
            settings: Settings {
                panic_threshold,
                ..Settings::default()
            },
            mode: Mode::ActiveActive,
            sites: vec![SiteInput {
                name: "here".to_owned(),
                spill: Vec::new(),
                backends: (0..).zip(letters.chars()).map(backend).collect(),
            }],
        }
    }

    /// Who takes sessions.
    fn accepting(letters: &str, threshold: Option<f64>) -> String {
        let output = Policy::new().step(&input(letters, threshold));
        let each = output.decisions().zip(letters.chars());
        each.map(|(decision, letter)| if decision.accepting { letter } else { '-' })
            .collect()
    }

    #[test]
    fn a_check_that_fails_for_all_is_at_fault_itself() {
        for (letters, threshold, expected) in [
            ("unn", Some(1.0), "u--"),
            ("nnn", Some(1.0), "nnn"),
            ("n", Some(1.0), "n"),
            ("nnn", None, "---"),
            // The dead are no witnesses of the check, nor are those that take nothing anyway.
            ("nnd", Some(1.0), "nn-"),
            ("nnx", Some(1.0), "nn-"),
            ("ddd", Some(1.0), "---"),
            ("unn", Some(0.6), "unn"),
            ("uun", Some(0.6), "uu-"),
        ] {
            assert_eq!(
                accepting(letters, threshold),
                expected,
                "{letters} {threshold:?}"
            );
        }
        let output = Policy::new().step(&input("nn", Some(1.0)));
        let reason = &output.sites[0].backends[0].reason;
        assert!(matches!(
            reason,
            Reason::CheckAtFault {
                failing: 2,
                of: 2,
                ..
            }
        ));
        assert!(reason.to_string().contains("554 no"), "{reason}");
    }

    #[test]
    fn a_suspect_takes_nothing_while_there_is_another() {
        for (letters, expected) in [
            ("us", "u-"),
            ("ss", "ss"),
            ("sd", "s-"),
            ("sx", "s-"),
            // What answers badly still answers.
            ("sn", "-n"),
        ] {
            assert_eq!(accepting(letters, Some(1.0)), expected, "{letters}");
        }
    }

    #[test]
    fn a_suspect_that_is_cleared_has_its_full_weight_at_once() {
        let mut policy = Policy::new();
        policy.step(&input("uu", None));
        policy.step(&input("us", None));
        let output = policy.step(&input("uu", None));
        assert_eq!(output.sites[0].backends[1].weight, Weight(100).full());
    }
}
