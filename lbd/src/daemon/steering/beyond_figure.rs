//! How many of a backend's flows are more than it has sessions, by its own figure. Pure.
//!
//! The director sees only the client's half of a session with a backend that has no lbd. A stranger can
//! send all of that, and a server that resets its client is not seen to. What such a backend reports
//! bounds what its flows may claim; between two reports the difference stays, so that new sessions count
//! at once.

/// A backend's figure of its own sessions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::daemon) struct Figure {
    /// When it came; tells one from the next.
    pub(in crate::daemon) at_ns: u64,
    pub(in crate::daemon) sessions: u64,
}

/// Established flows that do not count.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::daemon) struct BeyondFigure {
    at_ns: u64,
    excess: u64,
}

impl BeyondFigure {
    /// Takes the figure that there is, if it is fresh and the box does not tell of its sessions one by
    /// one, and how many flows are established.
    pub(in crate::daemon) fn update(&mut self, figure: Option<Figure>, established: u64) {
        let Some(Figure { at_ns, sessions }) = figure else {
            *self = Self::default();
            return;
        };
        if at_ns == self.at_ns {
            return;
        }
        // The two are not of the same moment. A quarter is what begins and ends in a second on a busy
        // box; a box without sessions leaves room for none.
        let believed = sessions.saturating_add(sessions / 4);
        *self = Self {
            at_ns,
            excess: established.saturating_sub(believed),
        };
    }

    /// How many flows are not to count.
    pub(in crate::daemon) fn excess(self) -> u64 {
        self.excess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(figures: &[Option<(u64, u64)>], established: u64) -> u64 {
        let mut beyond = BeyondFigure::default();
        for figure in figures {
            let figure = figure.map(|(at_ns, sessions)| Figure { at_ns, sessions });
            beyond.update(figure, established);
        }
        beyond.excess()
    }

    #[test]
    fn flows_beyond_the_figure_do_not_count_while_it_is_fresh() {
        assert_eq!(after(&[Some((1, 0))], 1), 1, "one ghost");
        assert_eq!(after(&[Some((1, 8))], 5000), 4990);
        assert_eq!(after(&[Some((1, 100))], 125), 0, "of another moment");
        assert_eq!(after(&[None], 5000), 0, "no figure bounds nothing");
        assert_eq!(after(&[Some((1, 0)), None], 5000), 0, "it is too old");
    }

    #[test]
    fn sessions_that_began_since_the_figure_count() {
        let mut beyond = BeyondFigure::default();
        let figure = Some(Figure {
            at_ns: 1,
            sessions: 4,
        });
        beyond.update(figure, 10);
        assert_eq!(beyond.excess(), 5);
        beyond.update(figure, 40);
        assert_eq!(beyond.excess(), 5, "thirty new ones");
    }
}
