//! Tells systemd that the event loop lives: one that hangs is started anew.
use sd_notify::NotifyState;

/// When the next word is due.
#[derive(Debug)]
pub(in crate::daemon) struct Watchdog {
    /// `None`: there is no watchdog.
    every_ns: Option<u64>,
    due_ns: u64,
}

impl Watchdog {
    /// As `WatchdogSec=` of the unit says.
    pub(in crate::daemon) fn of_systemd() -> Self {
        let limit = sd_notify::watchdog_enabled();
        Self::every(limit.map(|limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Half the limit, as `sd_watchdog_enabled(3)` advises.
    fn every(limit_ns: Option<u64>) -> Self {
        Self {
            every_ns: limit_ns.map(|limit_ns| limit_ns / 2),
            due_ns: 0,
        }
    }

    /// Says so when it is time.
    pub(in crate::daemon) fn tick(&mut self, now_ns: u64) {
        if self.is_due(now_ns) {
            // systemd that went away cannot be helped from here.
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
    }

    fn is_due(&mut self, now_ns: u64) -> bool {
        let Some(every_ns) = self.every_ns else {
            return false;
        };
        let due = now_ns >= self.due_ns;
        if due {
            self.due_ns = now_ns + every_ns;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_due_twice_within_the_limit_and_never_without_one() {
        let mut watchdog = Watchdog::every(Some(10));
        let due = (100..110).filter(|now| watchdog.is_due(*now)).count();
        assert_eq!(due, 2);
        let mut watchdog = Watchdog::every(None);
        assert!((100..110).all(|now| !watchdog.is_due(now)));
    }
}
