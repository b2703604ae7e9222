//! Never fewer than a part of a site's servers active.

/// A backend that a rule would shut off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Suspect {
    /// Its place in the site.
    pub(super) index: usize,
    /// It answers 421: sessions sent there are refused anyway, so it goes first.
    pub(super) full: bool,
    /// It is shut off already: changing places with another would be a flap.
    pub(super) was_off: bool,
    /// How far over its limit it is; the worst goes first.
    pub(super) excess: f64,
}

/// The servers that must stay active: the part rounded up, and at least one.
pub(super) fn required(servers: usize, min_active: f64) -> usize {
    let exact = super::site::to_f64(servers as u64) * min_active.clamp(0.0, 1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and `servers`"
    )]
    let rounded = exact.ceil() as usize;
    rounded.max(1)
}

/// Splits the suspects into those to shut off and those to keep, by place in the site.
///
/// The test is made after the removal: `unsuspected + kept` never falls below [`required`], unless
/// there are not so many left to choose from.
pub(super) fn split(
    mut suspects: Vec<Suspect>,
    unsuspected: usize,
    servers: usize,
    min_active: f64,
) -> (Vec<usize>, Vec<usize>) {
    suspects.sort_by(|a, b| {
        (b.full, b.was_off)
            .cmp(&(a.full, a.was_off))
            .then(b.excess.total_cmp(&a.excess))
            .then(a.index.cmp(&b.index))
    });
    let required = required(servers, min_active);
    let spare = (unsuspected + suspects.len()).saturating_sub(required);
    let kept = suspects.split_off(spare.min(suspects.len()));
    let indices = |suspects: Vec<Suspect>| suspects.iter().map(|suspect| suspect.index).collect();
    (indices(suspects), indices(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect(index: usize, was_off: bool, excess: f64) -> Suspect {
        Suspect {
            index,
            full: false,
            was_off,
            excess,
        }
    }

    #[test]
    fn half_is_rounded_up_and_one_is_the_least() {
        for (servers, min_active, expected) in [
            (4, 0.5, 2),
            (5, 0.5, 3),
            (1, 0.5, 1),
            (2, 0.0, 1),
            (3, 1.0, 3),
            (3, 7.0, 3),
        ] {
            assert_eq!(
                required(servers, min_active),
                expected,
                "{servers} {min_active}"
            );
        }
    }

    #[test]
    fn the_worst_goes_first_and_half_stays() {
        let suspects = vec![
            suspect(0, false, 1.0),
            suspect(1, false, 9.0),
            suspect(2, false, 5.0),
        ];
        assert_eq!(split(suspects, 1, 4, 0.5), (vec![1, 2], vec![0]));
    }

    #[test]
    fn who_is_off_stays_off_before_another_goes() {
        let suspects = vec![suspect(0, false, 9.0), suspect(1, true, 1.0)];
        assert_eq!(split(suspects, 0, 2, 0.5), (vec![1], vec![0]));
    }

    #[test]
    fn no_backend_is_shut_off_when_too_few_are_left() {
        let suspects = vec![suspect(0, false, 9.0), suspect(1, true, 1.0)];
        assert_eq!(split(suspects, 0, 4, 0.5), (vec![], vec![1, 0]));
    }

    #[test]
    fn full_goes_before_loaded() {
        let mut full = suspect(1, false, 0.0);
        full.full = true;
        assert_eq!(
            split(vec![suspect(0, true, 9.0), full], 0, 2, 0.5),
            (vec![1], vec![0])
        );
    }
}
