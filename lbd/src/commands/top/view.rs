//! The screen of `lbd top`.
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Paragraph, Row, Table, TableState},
};

use super::state::Top;
use crate::{
    commands::{
        table::{age, cut},
        time,
    },
    daemon::observe::status::{BackendStatus, Status},
};

/// Columns of the trend.
const TREND: usize = 16;
const EVENTS: u16 = 7;
const KEYS: &str = "↑↓ choose  d drain  u undrain  q quit";

pub(super) fn draw(top: &Top, frame: &mut Frame<'_>) {
    let Some(status) = top.status() else {
        let waiting = top.failed().unwrap_or("asking the daemon…");
        frame.render_widget(Paragraph::new(waiting), frame.area());
        return;
    };
    let head = head(status);
    let height = u16::try_from(head.len()).unwrap_or(u16::MAX);
    let [above, middle, below, foot] = Layout::vertical([
        Constraint::Length(height),
        Constraint::Min(4),
        Constraint::Length(EVENTS),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(head), above);
    backends(top, status, frame, middle);
    events(top, frame, below);
    frame.render_widget(Paragraph::new(footer(top)), foot);
}

fn head(status: &Status) -> Vec<Line<'_>> {
    let election = &status.election;
    let style = if status.role == "master" {
        Style::new().fg(Color::Green).add_modifier(Modifier::BOLD)
    } else {
        Style::new().add_modifier(Modifier::BOLD)
    };
    let master = match &status.master {
        Some(master) if *master != status.node => format!(", master {master}"),
        Some(_) => String::new(),
        None => ", no master".to_owned(),
    };
    let sessions: u64 = status.backends.iter().map(|backend| backend.sessions).sum();
    let mut lines = vec![
        Line::from(vec![
            Span::styled(format!("{} {}", status.node, status.role), style),
            Span::raw(format!(
                " for {}{master}: {}",
                age(election.since_s),
                election.reason
            )),
        ]),
        Line::raw(format!(
            "{sessions} sessions, up {}, priority {}",
            age(status.uptime_s),
            election.priority
        )),
    ];
    let peers: Vec<Span<'_>> = match &status.channel.off {
        Some(why) => vec![Span::styled(
            format!("channel off: {why}"),
            Style::new().fg(Color::Yellow),
        )],
        None => status
            .channel
            .peers
            .iter()
            .flat_map(|peer| {
                let (said, colour) = match (peer.heard_s, peer.complete) {
                    (None, _) => ("never heard".to_owned(), Color::Red),
                    (Some(silent_s), _) if silent_s > 5.0 => {
                        (format!("silent for {silent_s:.0} s"), Color::Red)
                    }
                    (Some(_), false) => ("flows incomplete".to_owned(), Color::Yellow),
                    (Some(_), true) => ("complete".to_owned(), Color::Green),
                };
                let (said, colour) = match peer.config_differs() {
                    Some(differs) if colour == Color::Green => (differs, Color::Yellow),
                    Some(differs) => (format!("{said}, {differs}"), colour),
                    None => (said, colour),
                };
                [
                    Span::raw(format!("{} ", peer.name)),
                    Span::styled(said, Style::new().fg(colour)),
                    Span::raw("  "),
                ]
            })
            .collect(),
    };
    lines.push(Line::from([vec![Span::raw("peers  ")], peers].concat()));
    if status.config.refused.is_some() {
        lines.push(Line::styled(
            "the configuration file was refused; `lbd check` says why",
            Style::new().fg(Color::Red),
        ));
    }
    lines
}

fn backends(top: &Top, status: &Status, frame: &mut Frame<'_>, area: Rect) {
    let mut rows = Vec::new();
    let mut chosen = 0;
    let mut site = None;
    for (index, backend) in status.backends.iter().enumerate() {
        if site != Some(&backend.site) {
            site = Some(&backend.site);
            rows.push(
                Row::new([format!("site {}", backend.site)])
                    .style(Style::new().add_modifier(Modifier::DIM)),
            );
        }
        if index == top.selected() {
            chosen = rows.len();
        }
        rows.push(row(top, backend));
    }
    let widths = [
        Constraint::Length(12),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(16),
        Constraint::Min(0),
    ];
    let titles = [
        "BACKEND", "HEALTH", "WEIGHT", "SESSION", "SOURCES", " QUEUED", " NEW/S", "TREND", "REASON",
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(titles).style(Style::new().add_modifier(Modifier::BOLD)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::new().borders(Borders::TOP));
    let mut state = TableState::default().with_selected(Some(chosen));
    frame.render_stateful_widget(table, area, &mut state);
}

fn row<'a>(top: &Top, backend: &'a BackendStatus) -> Row<'a> {
    let queued = backend.reported.as_ref().and_then(|by| by.queued);
    let or_dash = |figure: Option<String>| figure.unwrap_or_else(|| "-".to_owned());
    let style = match (backend.health.as_str(), backend.accepting) {
        ("down", _) => Style::new().fg(Color::Red),
        (_, false) | ("full", _) => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    };
    Row::new([
        cut(&backend.name, 12),
        backend.health.clone(),
        format!("{:>6.1}", f64::from(backend.weight_permille) / 1000.0),
        format!("{:>7}", backend.sessions),
        format!("{:>7}", backend.unique_sources),
        format!("{:>7}", or_dash(queued.map(|queued| queued.to_string()))),
        format!(
            "{:>6}",
            or_dash(top.rate(&backend.name).map(|rate| format!("{rate:.1}")))
        ),
        sparkline(&top.trend(&backend.name).collect::<Vec<_>>()),
        backend.reason.clone(),
    ])
    .style(style)
}

/// The last figures as blocks, the highest as the full one.
fn sparkline(figures: &[u64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let last = &figures[figures.len().saturating_sub(TREND)..];
    let highest = last.iter().copied().max().unwrap_or(0).max(1);
    let block = |figure: &u64| {
        let step = u128::from(*figure) * 7 / u128::from(highest);
        BLOCKS[usize::try_from(step).unwrap_or(7).min(7)]
    };
    last.iter().map(block).collect()
}

fn events(top: &Top, frame: &mut Frame<'_>, area: Rect) {
    let lines: Vec<Line<'_>> = top
        .events()
        .take(usize::from(area.height))
        .map(|event| Line::raw(format!("{}  {}", time::utc(event.unix_s), event.text)))
        .collect();
    let block = Block::new().borders(Borders::TOP).title("events");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn footer(top: &Top) -> Line<'_> {
    let bad = Style::new().fg(Color::Red);
    if let Some(question) = top.question() {
        return Line::styled(question, Style::new().add_modifier(Modifier::REVERSED));
    }
    match (top.failed(), top.answer()) {
        (Some(failed), _) => Line::styled(failed, bad),
        (None, Some(Ok(done))) => Line::styled(done, Style::new().fg(Color::Green)),
        (None, Some(Err(refused))) => Line::styled(refused, bad),
        (None, None) => Line::raw(KEYS),
    }
}
