//! `node.notify`: a program that is told of this node's role and of the backends' health.
//!
//! It runs in the background, once at a time, and nothing waits for it. While it runs, of each subject only the
//! last state waits: a role that went away and came back is told as it is now.
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{runtime::Handle, sync::Notify};
use tracing::{info, warn};

use super::super::steering::poll::hook;
use crate::config::Config;

/// How long the program may take; then it is ended, with all that it started.
const WITHIN: Duration = Duration::from_secs(30);

/// The same while the daemon stops, for all that is still to be told.
const AT_THE_END: Duration = Duration::from_secs(5);
/// How often it is looked whether the program has ended, then.
const LOOK: Duration = Duration::from_millis(10);

/// What the program is told, on its standard input as JSON and in its environment.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(in crate::daemon) struct Notice {
    /// `role` or `health`.
    pub(in crate::daemon) event: &'static str,
    /// `node.name`.
    pub(in crate::daemon) node: String,
    /// `master` or `backup`: this node's role now.
    pub(in crate::daemon) role: &'static str,
    /// Why, as the log says it.
    pub(in crate::daemon) reason: String,
    pub(in crate::daemon) virtual_addresses: Vec<String>,
    /// Who was master before, where that is known.
    pub(in crate::daemon) former_master: Option<String>,
    /// The backend whose health changed.
    pub(in crate::daemon) backend: Option<String>,
    /// Its health now: `up`, `full`, `not_serving`, `down`.
    pub(in crate::daemon) health: Option<&'static str>,
}

impl Notice {
    /// Of any event, on a node that is master or not.
    pub(in crate::daemon) fn new(
        config: &Config,
        is_master: bool,
        event: &'static str,
        reason: String,
    ) -> Self {
        let vips = config.cluster.virtual_addresses.iter();
        Self {
            event,
            node: config.node.name.clone(),
            role: if is_master { "master" } else { "backup" },
            reason,
            virtual_addresses: vips.map(|vip| vip.address.to_string()).collect(),
            former_master: None,
            backend: None,
            health: None,
        }
    }
}

impl Notice {
    fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            ("LBD_EVENT", self.event.to_owned()),
            ("LBD_NODE", self.node.clone()),
            ("LBD_ROLE", self.role.to_owned()),
            ("LBD_REASON", self.reason.clone()),
            ("LBD_VIPS", self.virtual_addresses.join(" ")),
            ("LBD_FORMER_MASTER", text(&self.former_master)),
            ("LBD_BACKEND", text(&self.backend)),
            ("LBD_HEALTH", self.health.unwrap_or_default().to_owned()),
        ]
    }
}

/// Hands notices to the task that runs the program.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Notifier {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    told: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Empty: none.
    program: Vec<String>,
    notices: VecDeque<Notice>,
    /// It is being told of one.
    is_running: bool,
}

impl Notifier {
    /// Starts the task; it ends with the runtime.
    pub(in crate::daemon) fn start(runtime: &Handle) -> Self {
        let shared = Arc::new(Shared::default());
        let notifier = Self {
            shared: Arc::clone(&shared),
        };
        runtime.spawn(async move {
            loop {
                shared.told.notified().await;
                while let Some((program, notice)) = shared.next() {
                    run(&program, &notice).await;
                    shared.lock().is_running = false;
                }
            }
        });
        notifier
    }

    /// Runs this program from now on, or none.
    pub(in crate::daemon) fn follow(&self, program: &[String]) {
        let mut waiting = self.shared.lock();
        waiting.program = program.to_vec();
        if waiting.program.is_empty() {
            waiting.notices.clear();
        }
    }

    /// The program is told this, as soon as it has ended with what it was told before.
    pub(in crate::daemon) fn tell(&self, notice: Notice) {
        let mut waiting = self.shared.lock();
        if waiting.program.is_empty() {
            return;
        }
        let is_older =
            |other: &Notice| (other.event, &other.backend) == (notice.event, &notice.backend);
        waiting.notices.retain(|other| !is_older(other));
        waiting.notices.push_back(notice);
        drop(waiting);
        self.shared.told.notify_one();
    }

    /// Waits until the program has been told all that there is, but not for long: the daemon ends.
    pub(in crate::daemon) fn finish(&self) {
        let begun = Instant::now();
        let is_busy = || {
            let waiting = self.shared.lock();
            waiting.is_running || !waiting.notices.is_empty()
        };
        while is_busy() {
            if begun.elapsed() >= AT_THE_END {
                warn!(
                    "node.notify did not end within {} s of the stop and is ended",
                    AT_THE_END.as_secs()
                );
                return;
            }
            thread::sleep(LOOK);
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<(Vec<String>, Notice)> {
        let mut waiting = self.lock();
        let notice = waiting.notices.pop_front()?;
        waiting.is_running = true;
        Some((waiting.program.clone(), notice))
    }
}

async fn run(program: &[String], notice: &Notice) {
    // Plain data with text keys.
    let input = serde_json::to_vec(notice).unwrap_or_default();
    let environment = notice.environment();
    let run = hook(program, &environment, &input);
    let subject = notice.backend.as_deref().unwrap_or(notice.role);
    match tokio::time::timeout(WITHIN, run).await {
        Ok(Ok(())) => info!("node.notify was told of {}: {subject}", notice.event),
        Ok(Err(error)) => warn!("node.notify, told of {}: {subject}: {error}", notice.event),
        Err(_) => warn!(
            "node.notify, told of {}: {subject}: {} did not end within {} s and was ended",
            notice.event,
            program.first().map_or("it", String::as_str),
            WITHIN.as_secs()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn notice(role: &'static str, reason: &str) -> Notice {
        Notice {
            event: "role",
            node: "mx1".to_owned(),
            role,
            reason: reason.to_owned(),
            virtual_addresses: vec!["192.0.2.25".to_owned(), "2001:db8::25".to_owned()],
            former_master: Some("mx2".to_owned()),
            backend: None,
            health: None,
        }
    }

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn with_notifier(script: &str, test: impl FnOnce(&Notifier)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let notifier = Notifier::start(runtime.handle());
        notifier.follow(&shell(script));
        test(&notifier);
    }

    /// Waits until the file has that many lines.
    fn lines(file: &Path, count: usize) -> Vec<String> {
        let started = Instant::now();
        loop {
            let text = fs::read_to_string(file).unwrap_or_default();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            if lines.len() >= count {
                return lines;
            }
            assert!(started.elapsed().as_secs() < 60, "{lines:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn the_program_is_told_in_its_environment_and_on_its_input() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let script = format!(
            "read -r json; printf '%s\\n' \"$LBD_EVENT $LBD_ROLE by $LBD_FORMER_MASTER at $LBD_VIPS: $LBD_REASON|$json\" >> {}",
            out.display()
        );
        with_notifier(&script, |notifier| {
            notifier.tell(notice("master", "it is \"quiet\""));
            let line = lines(&out, 1).remove(0);
            let (said, json) = line.split_once('|').unwrap();
            assert_eq!(
                said,
                "role master by mx2 at 192.0.2.25 2001:db8::25: it is \"quiet\""
            );
            let json: serde_json::Value = serde_json::from_str(json).unwrap();
            assert_eq!(json["role"], "master");
            assert_eq!(json["virtual_addresses"][1], "2001:db8::25");
        });
    }

    #[test]
    fn one_runs_after_another_and_of_many_changes_the_last_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (out, gate) = (folder.path().join("out"), folder.path().join("gate"));
        let script = format!(
            "echo \"$LBD_REASON$LBD_BACKEND\" >> {out}; while [ ! -e {gate} ]; do sleep 0.01; done",
            out = out.display(),
            gate = gate.display()
        );
        with_notifier(&script, |notifier| {
            notifier.tell(notice("master", "first"));
            lines(&out, 1);
            for number in 0..100 {
                notifier.tell(notice("backup", &format!("flapped {number}")));
            }
            let mut health = notice("backup", "");
            (health.event, health.backend) = ("health", Some("mx2".to_owned()));
            notifier.tell(health);
            notifier.tell(notice("master", "last"));
            fs::write(&gate, "").unwrap();
            assert_eq!(lines(&out, 3), ["first", "mx2", "last"]);
        });
    }

    #[test]
    fn at_the_end_all_that_waits_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let script = format!(
            "sleep 0.1; echo \"$LBD_REASON$LBD_BACKEND\" >> {}",
            out.display()
        );
        with_notifier(&script, |notifier| {
            notifier.finish();
            notifier.tell(notice("master", "first"));
            lines(&out, 1);
            let mut health = notice("master", "");
            (health.event, health.backend) = ("health", Some("mx2".to_owned()));
            notifier.tell(health);
            notifier.tell(notice("backup", "stopped"));
            notifier.finish();
            let said = fs::read_to_string(&out).unwrap();
            assert_eq!(said, "first\nmx2\nstopped\n");
        });
    }

    #[test]
    fn a_program_that_fails_or_is_none_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let script = format!("echo \"$LBD_REASON\" >> {}; exit 3", out.display());
        with_notifier(&script, |notifier| {
            notifier.tell(notice("master", "a"));
            lines(&out, 1);
            notifier.follow(&["/nonexistent/program".to_owned()]);
            notifier.tell(notice("backup", "b"));
            notifier.follow(&[]);
            notifier.tell(notice("backup", "c"));
            notifier.follow(&shell(&script));
            notifier.tell(notice("master", "d"));
            assert_eq!(lines(&out, 2), ["a", "d"]);
        });
    }
}
