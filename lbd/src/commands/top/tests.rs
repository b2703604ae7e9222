//! Keys and answers against what the screen shows.
use std::time::Duration;

use ratatui::{Terminal, backend::TestBackend};

use super::{
    state::{Input, Key, Output, Top},
    view,
};
use crate::daemon::{
    observe::{
        recent::{BackendHistory, Happening, History, Kind},
        status::{
            Status,
            tests::{backend, small},
        },
    },
    operator::order::Order,
};

fn two_sites() -> Status {
    let mut status = small();
    let mut other = backend("mx9", 7);
    other.site = "there".to_owned();
    other.accepting = false;
    other.reason = "shut off: 70 unique sources, site average 10 + 50".to_owned();
    status.backends = vec![backend("mx1", 12), backend("mx2", 0), other];
    status
}

fn seen(status: Status) -> Input {
    let event = Happening {
        id: 1,
        unix_s: 0,
        kind: Kind::ShutOff,
        subject: Some("mx9".to_owned()),
        text: "mx9 takes no new sessions".to_owned(),
    };
    Input::Seen(Box::new(status), vec![event])
}

fn screen(top: &Top, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(top, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    (0..height)
        .map(|y| {
            let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
            line.trim_end().to_owned()
        })
        .collect()
}

fn started() -> Top {
    let mut top = Top::new(&History::default());
    let at = Duration::from_secs(10);
    assert!(matches!(top.update(at, seen(two_sites())), Output::Nothing));
    top
}

fn press(top: &mut Top, key: Key) -> Output {
    top.update(Duration::from_secs(20), Input::Key(key))
}

#[test]
fn backends_stand_under_their_sites_with_figures_reasons_and_events() {
    let mut top = started();
    let mut later = two_sites();
    later.backends[0].steered.sessions += 50;
    let mut behind = later.channel.peers[0].clone();
    behind.name = "mx3".to_owned();
    behind.config_version = Some(4);
    behind.config = Some(crate::daemon::observe::status::ConfigComparison::Behind);
    later.channel.peers.push(behind);
    top.update(Duration::from_secs(15), seen(later));
    let lines = screen(&top, 120, 24);
    let line = |wanted: &str| {
        let found = lines.iter().position(|line| line.contains(wanted));
        found.unwrap_or_else(|| panic!("{wanted}: {lines:#?}"))
    };
    assert!(line("site here") < line("mx1  ") && line("mx2  ") < line("site there"));
    assert!(line("site there") < line("mx9  "));
    let first = &lines[line("mx1  ")];
    for part in ["up", "75.0", "12", "10", "7", "10.0", "██"] {
        assert!(first.contains(part), "{part}: {first}");
    }
    assert!(lines[line("mx9  ")].contains("shut off: 70 unique sources"));
    assert!(lines[line("peers")].contains("mx2 complete  mx3 behind at version 4"));
    assert!(lines[line("1970-01-01 00:00:00")].contains("mx9 takes no new sessions"));
    assert!(lines[23].contains("d drain"));
}

#[test]
fn a_drain_asks_first_and_only_y_is_yes() {
    let mut top = started();
    press(&mut top, Key::Down);
    assert!(matches!(press(&mut top, Key::Char('d')), Output::Nothing));
    let foot = screen(&top, 80, 20).pop().unwrap();
    assert!(foot.contains("Drain mx2"), "{foot}");
    // Anything else is no; the key that would quit does not quit either.
    for key in [Key::Char('d'), Key::Char('q'), Key::Escape, Key::Down] {
        top.update(Duration::ZERO, Input::Key(Key::Char('d')));
        assert!(top.question().is_some() || key == Key::Char('d'));
        assert!(matches!(press(&mut top, key), Output::Nothing), "{key:?}");
        if top.question().is_some() {
            press(&mut top, Key::Char('n'));
        }
    }
    press(&mut top, Key::Char('u'));
    match press(&mut top, Key::Char('y')) {
        Output::Order(request) => {
            assert_eq!(
                (request.backend.as_str(), request.order),
                ("mx2", Order::Release)
            );
        }
        other => panic!("{other:?}"),
    }
    top.update(
        Duration::ZERO,
        Input::Answered(Err("there is no backend mx2".to_owned())),
    );
    assert!(screen(&top, 80, 20)[19].contains("there is no backend"));
}

#[test]
fn the_choice_stays_within_the_backends() {
    let mut top = started();
    press(&mut top, Key::Up);
    assert_eq!(top.selected(), 0);
    for _ in 0..9 {
        press(&mut top, Key::Char('j'));
    }
    assert_eq!(top.selected(), 2);
    // Two backends go: the choice moves to one that is there.
    top.update(Duration::from_secs(30), seen(small()));
    assert_eq!(top.selected(), 0);
    assert!(matches!(press(&mut top, Key::Char('q')), Output::Quit));
}

#[test]
fn a_daemon_that_does_not_answer_is_said_and_the_last_state_stays() {
    let mut top = Top::new(&History::default());
    top.update(
        Duration::ZERO,
        Input::Failed("no daemon answers".to_owned()),
    );
    assert!(screen(&top, 80, 20)[0].contains("no daemon answers"));
    let mut top = started();
    top.update(
        Duration::ZERO,
        Input::Failed("no daemon answers".to_owned()),
    );
    let lines = screen(&top, 80, 20);
    assert!(lines[19].contains("no daemon answers") && lines[0].contains("mx1 master"));
}

#[test]
fn any_screen_is_drawn_also_a_tiny_one_and_one_with_100_backends() {
    let mut top = started();
    for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 100)] {
        screen(&top, width, height);
    }
    let mut many = small();
    many.backends = (0..100)
        .map(|number| backend(&format!("mx{number}"), number))
        .collect();
    top.update(Duration::from_secs(40), seen(many));
    for _ in 0..99 {
        press(&mut top, Key::Down);
    }
    let lines = screen(&top, 80, 24);
    assert!(
        lines.iter().any(|line| line.starts_with("mx99 ")),
        "{lines:#?}"
    );
}

#[test]
fn trends_begin_with_what_the_daemon_remembers() {
    let mut history = History::default();
    let sessions = (0..100).map(Some).collect();
    history.backends.insert(
        "mx1".to_owned(),
        BackendHistory {
            sessions,
            ..BackendHistory::default()
        },
    );
    let top = Top::new(&history);
    let trend: Vec<u64> = top.trend("mx1").collect();
    assert_eq!((trend.len(), trend[0], trend[59]), (60, 40, 99));
}
