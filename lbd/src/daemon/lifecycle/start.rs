//! From a configuration to a running daemon, and from there back to the box as it was.
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tracing::{info, warn};

use super::{
    interfaces::load_options, listeners::Listeners, program_log, running::Running, undone::complete,
};
use crate::{
    agent::{Agent, AgentConfig},
    config::Config,
    daemon::{
        clock,
        cluster::{
            Cluster, channel,
            push::{Post, Store},
        },
        event::Event,
        event_loop::{End, EventLoop},
        observe::{
            history::{self, Historian},
            record::Observed,
        },
        operator::{Operators, denials::Denials, feeds::Feeds, notify::Notifier, orders::Orders},
        steering::{Steering, backend_tasks::BackendTasks},
    },
    dataplane::DataPlane,
    host::{self, Host, Recovered},
    trust::Trusted,
};

/// How often the event loop looks whether something is due.
const TICK: Duration = Duration::from_millis(50);
/// Events that may wait for the event loop; beyond, the tasks that send them wait.
const EVENTS: usize = 1024;

/// Runs until a signal ends it.
///
/// `store`: the versions of `node.state_dir`, or why there are none to keep.
pub fn run(path: &Path, config: Config, store: Result<Store, String>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the async runtime did not start")?;
    // Before anything is changed: a daemon that runs already answers here.
    let listeners = runtime.block_on(Listeners::bind(&config))?;
    let agent = Agent::new(AgentConfig::from(&config));
    let state_dir = config.node.state_dir.display();
    Trusted::of_this_process()
        .check(&config.node.state_dir)
        .map_err(|why| anyhow!("node.state_dir {state_dir} is not safe: {why}"))?;
    let orders = Orders::load(&config.node.state_dir)?;
    let denials = Denials::load(&config.node.state_dir)?;
    let feeds = Feeds::load(&config.node.state_dir)?;
    let (host, recovered) = Host::open(&journal(&config))?;
    warn_of(&recovered);
    let mut plane = DataPlane::load(&load_options(&config))?;
    if let Some(log) = plane.program_log() {
        runtime.spawn(program_log::follow(log));
    }

    let (sender, events) = mpsc::channel(EVENTS);
    let backend_tasks = BackendTasks::start(runtime.handle(), &config, &sender, agent.clone())?;
    let told = sender.clone();
    let (hand, ordered) = history::Hand::new();
    let keeper = hand.clone();
    let tell = move |event| match history::pass_on(&keeper, event) {
        Some(event) => told.try_send(Event::Channel(event)).is_ok(),
        None => true,
    };
    let channel = channel::ChannelHandle::start(plane.events(), plane.flows(), tell)
        .context("the cluster channel's thread did not start")?;
    let peers = channel
        .teller()
        .context("the cluster channel's thread has ended")?;
    let historian = Historian::start(&config, (hand, ordered), peers)
        .context("the history's thread did not start")?;
    let post = Post::new(store, path, &config.node.name, sender.clone());
    let steering = Steering::new(&config, backend_tasks);
    let mut event_loop = EventLoop::new(
        Running::new(path, config),
        (plane, host),
        steering,
        Cluster::new(channel, clock::boottime_ns()),
        Operators::new(orders, denials, feeds),
        Observed::new(historian, Notifier::start(runtime.handle())),
    );
    event_loop.follow_version(post.version());
    if let Err(error) = event_loop.begin(&sender) {
        event_loop.leave(End::Stop, || true)?;
        return Err(error);
    }
    let (event_loop, end) = conduct(
        &runtime,
        (listeners, agent, post),
        event_loop,
        &sender,
        events,
    )?;
    let is_urgent = second_signal(&runtime);
    event_loop.leave(end, is_urgent)
}

/// `lbd cleanup`: undoes what a daemon that is gone has left. Says what it did.
pub fn cleanup(config: &Config) -> anyhow::Result<Vec<String>> {
    let mut done = Vec::new();
    let (links, pins) = DataPlane::cleanup(&config.node.pin_dir)?;
    if links + pins > 0 {
        let pin_dir = config.node.pin_dir.display();
        done.push(format!(
            "{pin_dir}: removed {links} XDP links and {pins} other pins"
        ));
    }
    let (undone, recovered) = host::cleanup(&journal(config))?;
    warn_of(&recovered);
    for (change, outcome) in &undone.settled {
        done.push(format!("{change}: {outcome}"));
    }
    complete(&undone)?;
    if done.is_empty() {
        done.push("nothing to clean up".to_owned());
    }
    Ok(done)
}

/// Starts the event loop's thread and everything that feeds it; returns when a signal came.
fn conduct(
    runtime: &tokio::runtime::Runtime,
    (listeners, agent, post): (Listeners, Agent, Arc<Post>),
    event_loop: EventLoop,
    sender: &mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
) -> anyhow::Result<(EventLoop, End)> {
    let (node, known) = event_loop.guarded();
    listeners.serve(runtime.handle(), sender, agent, &post, node, known);
    runtime.spawn(tick(sender.clone()));
    let thread = thread::Builder::new()
        .name("lbd-event-loop".to_owned())
        .spawn(move || event_loop.run(events))
        .context("the event loop's thread did not start")?;
    let _ = sd_notify::notify(&[
        sd_notify::NotifyState::Ready,
        // Takes back what was said while something was waited for.
        sd_notify::NotifyState::Status("running"),
    ]);
    let end = runtime.block_on(async {
        let end = tokio::select! {
            end = wait_for_signal(sender) => end?,
            // The event loop is gone without having been told: it panicked.
            () = sender.closed() => End::Stop,
        };
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let _ = sender.send(Event::Stop).await;
        anyhow::Ok(end)
    })?;
    let event_loop = thread.join().map_err(|_| {
        anyhow!(
            "the event loop panicked, which is a bug in lbd; run `lbd cleanup` to undo what it left"
        )
    })?;
    Ok((event_loop, end))
}

/// The changes are void after a reboot, and so is /run.
pub(in crate::daemon) fn journal(config: &Config) -> PathBuf {
    config.node.control.with_extension("journal")
}

fn warn_of(recovered: &Recovered) {
    if !recovered.changes.is_empty() {
        info!(
            "an earlier lbd left {} changes, which are adopted or undone",
            recovered.changes.len()
        );
    }
    if let Some((path, count)) = &recovered.of_another_namespace {
        warn!(
            "{count} changes of an lbd in another network namespace were moved to {}",
            path.display()
        );
    }
    if recovered.damaged_lines > 0 {
        warn!(
            "{} lines of the journal of changes could not be read",
            recovered.damaged_lines
        );
    }
}

/// Whether a signal has come since: who sends a second one waits for no session.
fn second_signal(runtime: &tokio::runtime::Runtime) -> impl Fn() -> bool + use<> {
    let (told, tells) = tokio::sync::watch::channel(false);
    runtime.spawn(async move {
        let kinds = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        );
        let (Ok(mut terminate), Ok(mut interrupt)) = kinds else {
            return;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.send_replace(true);
    });
    move || *tells.borrow()
}

async fn tick(sender: mpsc::Sender<Event>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        if sender.send(Event::Tick).await.is_err() {
            return;
        }
    }
}

async fn wait_for_signal(sender: &mpsc::Sender<Event>) -> std::io::Result<End> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut hand_over = signal(SignalKind::user_defined2())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(End::Stop),
            _ = interrupt.recv() => return Ok(End::Stop),
            _ = hand_over.recv() => return Ok(End::HandOver),
            _ = hang_up.recv() => drop(sender.send(Event::ConfigEdited).await),
        }
    }
}
