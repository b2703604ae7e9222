//! Asking a suspect for a sign of life.
//!
//! A check is patient and rare, so that a busy server is not taken for a dead one. Of a suspect it is
//! wanted to know at once, and again as soon as it answers, whether its stack lives: a connection
//! answers that in one round trip.
use std::{collections::HashMap, time::Duration};

use tokio::{sync::mpsc, task::AbortHandle};

use super::{Event, Probe, Target, check};

/// Between two questions.
const EVERY: Duration = Duration::from_millis(250);

/// A task for each suspect; all end when this is dropped.
#[derive(Debug)]
pub(super) struct Pulses<E> {
    events: mpsc::Sender<E>,
    known: HashMap<String, Target>,
    tasks: HashMap<String, AbortHandle>,
}

impl<E> Drop for Pulses<E> {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

impl<E: From<Event> + Send + 'static> Pulses<E> {
    pub(super) fn new(events: mpsc::Sender<E>) -> Self {
        Self {
            events,
            known: HashMap::new(),
            tasks: HashMap::new(),
        }
    }

    /// These are the backends from now on.
    pub(super) fn know(&mut self, targets: &[Target]) {
        let named = |target: &Target| (target.backend.clone(), target.clone());
        self.known = targets.iter().map(named).collect();
        let known = &self.known;
        self.tasks.retain(|name, task| {
            let stays = known.contains_key(name);
            if !stays {
                task.abort();
            }
            stays
        });
    }

    /// Asks one until it answers.
    pub(super) fn ask(&mut self, backend: &str) {
        let is_asked = self
            .tasks
            .get(backend)
            .is_some_and(|task| !task.is_finished());
        let Some(target) = self.known.get(backend).filter(|_| !is_asked) else {
            return;
        };
        let task = tokio::spawn(ask(target.clone(), self.events.clone()));
        self.tasks.insert(backend.to_owned(), task.abort_handle());
    }
}

async fn ask<E: From<Event>>(target: Target, events: mpsc::Sender<E>) {
    let mut is_told = false;
    loop {
        if let Some(connection) = check::ask(target.address).await {
            let name = target.backend.clone();
            let _ = events.send(Event::Answered(name).into()).await;
            // A visitor who leaves without a word would be a line in the server's log.
            if let (Some(stream), Probe::Smtp(settings)) = (connection, target.probe) {
                tokio::spawn(check::visit(stream, settings, target.timeout));
            }
            return;
        }
        if !std::mem::replace(&mut is_told, true) {
            let silent = Event::Silent(target.backend.clone());
            let _ = events.send(silent.into()).await;
        }
        tokio::time::sleep(EVERY).await;
    }
}
