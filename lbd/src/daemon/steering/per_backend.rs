//! One task a backend, and the moments at which it does its work.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use lbd_common::hash::mix;
use tokio::task::AbortHandle;

/// The running tasks, by backend. All are aborted when this is dropped.
#[derive(Debug)]
pub(in crate::daemon) struct PerBackend<T> {
    tasks: HashMap<String, (T, Task)>,
}

/// Aborts its task when dropped.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: PartialEq> PerBackend<T> {
    pub(in crate::daemon) fn new() -> Self {
        Self {
            tasks: HashMap::new(),
        }
    }

    /// Makes `wanted` the tasks that run: what is not wanted any more is aborted, what is new or
    /// changed is started, and what stays the same goes on undisturbed.
    pub(in crate::daemon) fn replace(
        &mut self,
        wanted: impl IntoIterator<Item = (String, T)>,
        mut start: impl FnMut(&str, &T) -> AbortHandle,
    ) {
        let mut before = std::mem::take(&mut self.tasks);
        for (backend, target) in wanted {
            let task = match before.remove(&backend) {
                Some((same, task)) if same == target => task,
                changed => {
                    drop(changed);
                    Task(start(&backend, &target))
                }
            };
            self.tasks.insert(backend, (target, task));
        }
    }
}

/// Spreads the work of many tasks over time, so that a thousand backends are not asked at once.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Jitter {
    state: u64,
}

impl Jitter {
    /// Different in every task and every run.
    pub(in crate::daemon) fn new() -> Self {
        Self::seeded(RandomState::new().build_hasher().finish())
    }

    pub(in crate::daemon) fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Until the first time: up to a tenth of the interval, for the first figures are missed most.
    pub(in crate::daemon) fn first(&mut self, interval: Duration) -> Duration {
        interval.mul_f64(0.1 * self.unit())
    }

    /// Until the next time: the interval, a tenth more or less.
    pub(in crate::daemon) fn next(&mut self, interval: Duration) -> Duration {
        interval.mul_f64(0.9 + 0.2 * self.unit())
    }

    /// From 0 up to 1.
    fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let high = u32::try_from(mix(self.state) >> 32).unwrap_or(u32::MAX);
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn moments_spread_around_the_interval() {
        let mut jitter = Jitter::seeded(7);
        let first = jitter.first(INTERVAL);
        assert!(first < INTERVAL / 10, "{first:?}");
        let times: Vec<_> = (0..1000).map(|_| jitter.next(INTERVAL)).collect();
        assert!(times.iter().all(|time| (9..=11).contains(&time.as_secs())));
        let mean = times.iter().sum::<Duration>() / 1000;
        assert!(mean.abs_diff(INTERVAL) < INTERVAL / 50, "{mean:?}");
        let early = times.iter().filter(|time| **time < INTERVAL).count();
        assert!((400..600).contains(&early), "{early} of 1000 are early");
    }

    #[test]
    fn what_stays_the_same_is_not_restarted_and_what_goes_is_aborted() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut tasks = PerBackend::new();
            let started = RefCell::new(Vec::new());
            let mut replace = |wanted: &[(&str, u32)]| {
                let wanted = wanted
                    .iter()
                    .map(|(name, target)| ((*name).to_owned(), *target));
                tasks.replace(wanted, |backend, _| {
                    let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
                    started
                        .borrow_mut()
                        .push((backend.to_owned(), task.clone()));
                    task
                });
            };
            replace(&[("a", 1), ("b", 1), ("c", 1)]);
            replace(&[("a", 1), ("b", 2)]);
            tokio::task::yield_now().await;
            let state: Vec<_> = started
                .borrow()
                .iter()
                .map(|(name, task)| (name.clone(), task.is_finished()))
                .collect();
            let expected = [("a", false), ("b", true), ("c", true), ("b", false)];
            assert_eq!(state, expected.map(|(name, over)| (name.to_owned(), over)));
        });
    }
}
