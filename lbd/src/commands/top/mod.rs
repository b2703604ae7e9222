//! `lbd top`: the state as it changes, and drains by a key.
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::{
    io::IsTerminal as _,
    path::Path,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use hyper::Method;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::client;
use crate::daemon::{
    observe::{
        recent::{Happening, History},
        status::Status,
    },
    operator::order::OperatorRequest,
};
use state::{Input, Key, Output, Top};

/// Arguments of `lbd top`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Seconds between two updates.
    #[arg(long, value_name = "S", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

/// How long a key may wait to be seen.
const KEYS: Duration = Duration::from_millis(50);

pub(super) fn run(config: &Path, args: &Args) -> anyhow::Result<()> {
    if !std::io::stdout().is_terminal() {
        bail!("`lbd top` needs a terminal; `lbd status` prints the state once");
    }
    let socket = super::config_file::control_socket(config)?;
    // Before the screen is taken: a daemon that does not run is a sentence, not an empty screen.
    let history: History = client::request(&socket, Method::GET, "/history", None)?;
    let (seen, inputs) = mpsc::channel();
    let (order, orders) = mpsc::channel();
    let interval = Duration::from_secs(args.interval);
    // It ends with the process: its last request is not awaited.
    thread::spawn(move || look(&socket, interval, &orders, &seen));
    let mut terminal = ratatui::init();
    let result = show(&mut terminal, Top::new(&history), &inputs, &order);
    ratatui::restore();
    result
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    mut top: Top,
    inputs: &Receiver<Input>,
    order: &Sender<OperatorRequest>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        terminal.draw(|frame| view::draw(&top, frame))?;
        let input = loop {
            if let Ok(input) = inputs.try_recv() {
                break input;
            }
            if event::poll(KEYS)? {
                match event::read()? {
                    Event::Key(pressed) if pressed.kind != KeyEventKind::Release => {
                        if let Some(key) = key(pressed.code, pressed.modifiers) {
                            break Input::Key(key);
                        }
                    }
                    Event::Resize(..) => break Input::Resized,
                    _ => {}
                }
            }
        };
        match top.update(begun.elapsed(), input) {
            Output::Nothing => {}
            Output::Quit => return Ok(()),
            Output::Order(request) => order.send(request)?,
        }
    }
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
    match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Char('q')),
        KeyCode::Char(character) => Some(Key::Char(character)),
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        KeyCode::Esc => Some(Key::Escape),
        _ => None,
    }
}

/// Asks the daemon in turns, and at once after an order.
fn look(
    socket: &Path,
    interval: Duration,
    orders: &Receiver<OperatorRequest>,
    seen: &Sender<Input>,
) {
    let mut last_id = 0;
    loop {
        let input = match ask(socket, &mut last_id) {
            Ok((status, events)) => Input::Seen(Box::new(status), events),
            Err(error) => Input::Failed(format!("{error:#}")),
        };
        if seen.send(input).is_err() {
            return;
        }
        match orders.recv_timeout(interval) {
            Ok(request) => {
                if seen
                    .send(Input::Answered(carry_out(socket, &request)))
                    .is_err()
                {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn ask(socket: &Path, last_id: &mut u64) -> anyhow::Result<(Status, Vec<Happening>)> {
    let status: Status = client::request(socket, Method::GET, "/status", None)?;
    let path = format!("/events?after={last_id}");
    let mut events: Vec<Happening> = client::request(socket, Method::GET, &path, None)?;
    // A daemon that was started anew counts from 1 again.
    if events.is_empty() && *last_id > 0 {
        let all: Vec<Happening> = client::request(socket, Method::GET, "/events", None)?;
        if all.last().is_none_or(|last| last.id < *last_id) {
            events = all;
        }
    }
    if let Some(last) = events.last() {
        *last_id = last.id;
    }
    Ok((status, events))
}

fn carry_out(socket: &Path, request: &OperatorRequest) -> Result<String, String> {
    let body = serde_json::to_value(request).map_err(|error| error.to_string())?;
    client::request(socket, Method::POST, "/operator", Some(&body))
        .map_err(|error| format!("{error:#}"))
}
