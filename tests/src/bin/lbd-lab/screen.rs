//! What a person sees: a picture that is drawn again and again, or a log without a terminal.
use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    time::{Duration, Instant},
};

/// Columns of the picture.
const WIDTH: usize = 80;
/// Columns of a bar.
const BAR: usize = 22;
/// Events in the picture.
const SHOWN_EVENTS: usize = 9;
/// Between two lines of figures in a log.
const LOG_INTERVAL: Duration = Duration::from_secs(2);

/// One moment.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) title: String,
    pub(super) elapsed: Duration,
    /// How long it goes on, when that is known.
    pub(super) length: Option<Duration>,
    pub(super) nodes: Vec<Node>,
    pub(super) started: u64,
    pub(super) completed: u64,
    pub(super) open: u64,
    pub(super) failed: u64,
}

/// A node in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) weight_permille: Option<u32>,
    pub(super) accepting: bool,
    pub(super) open: usize,
    pub(super) served: u64,
    pub(super) queued: usize,
    pub(super) reason: String,
}

/// What its daemon is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Role {
    Master,
    #[default]
    Backup,
    Dead,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) at: Duration,
    pub(super) text: String,
}

/// Where it is shown.
#[derive(Debug)]
pub(super) struct Screen {
    picture: bool,
    colour: bool,
    /// Standard output is kept for the result.
    to_stderr: bool,
    /// Lines of the picture that is on the screen now.
    drawn: usize,
    logged_events: usize,
    logged_at: Option<Instant>,
}

impl Screen {
    /// A picture on a terminal, a log elsewhere.
    pub(super) fn new(to_stderr: bool) -> Self {
        let picture = if to_stderr {
            io::stderr().is_terminal()
        } else {
            io::stdout().is_terminal()
        };
        Self {
            picture,
            colour: picture && std::env::var_os("NO_COLOR").is_none(),
            to_stderr,
            drawn: 0,
            logged_events: 0,
            logged_at: None,
        }
    }

    /// Prints a line that stays.
    pub(super) fn say(&mut self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    /// Shows the moment.
    pub(super) fn show(&mut self, view: &View, events: &[Event]) {
        if self.picture {
            let picture = picture(view, events, self.colour);
            // Up to where the last one began, and clear from there.
            let back = match self.drawn {
                0 => String::new(),
                lines => format!("\x1b[{lines}F\x1b[J"),
            };
            self.drawn = picture.lines().count();
            self.write(&format!("{back}{picture}"));
            return;
        }
        let mut text = String::new();
        for event in &events[self.logged_events..] {
            let _ = writeln!(text, "{:>6.1} s  {}", event.at.as_secs_f64(), event.text);
        }
        self.logged_events = events.len();
        if self.logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            self.logged_at = Some(Instant::now());
            text.push_str(&figures(view));
        }
        self.write(&text);
    }

    fn write(&self, text: &str) {
        // The reader is gone: the run itself goes on to its end.
        let _ = if self.to_stderr {
            io::stderr().write_all(text.as_bytes())
        } else {
            let mut stdout = io::stdout().lock();
            stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush())
        };
    }
}

/// The figures in one line of a log.
fn figures(view: &View) -> String {
    let mut line = format!("{:>6.1} s ", view.elapsed.as_secs_f64());
    for node in &view.nodes {
        let star = if node.role == Role::Master { "*" } else { "" };
        let (name, open, queued) = (&node.name, node.open, node.queued);
        let weight = weight(node);
        let _ = write!(line, " {name}{star} {open} open w {weight} q {queued} |");
    }
    let _ = writeln!(line, " {} served, {} failed", view.completed, view.failed);
    line
}

fn weight(node: &Node) -> String {
    match node.weight_permille {
        Some(_) if !node.accepting => "off".to_owned(),
        Some(permille) => format!("{:.0}", f64::from(permille) / 1000.0),
        None => "-".to_owned(),
    }
}

fn picture(view: &View, events: &[Event], colour: bool) -> String {
    let paint = |code: &str, text: String| {
        if colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text
        }
    };
    let clock = match view.length {
        Some(length) => format!(
            "{:.0} of {:.0} s",
            view.elapsed.as_secs_f64(),
            length.as_secs_f64()
        ),
        None => format!("{:.0} s", view.elapsed.as_secs_f64()),
    };
    let room = WIDTH - clock.chars().count() - 1;
    let mut text = format!("{:<room$} {clock}\n\n", cut(&view.title, room));
    let head = format!(
        " {:<6}{:<8}{:>6}  {:<BAR$}{:>6}{:>9}{:>8}",
        "node", "role", "weight", "open sessions", "", "served", "queue"
    );
    text.push_str(&paint("2", head));
    text.push('\n');
    let most = view.nodes.iter().map(|node| node.open).max().unwrap_or(0);
    for node in &view.nodes {
        let (role, role_colour) = match node.role {
            Role::Master => ("master", "1;32"),
            Role::Backup => ("backup", "0"),
            Role::Dead => ("dead", "1;31"),
        };
        let weight_colour = if node.accepting { "0" } else { "1;31" };
        let _ = writeln!(
            text,
            " {:<6}{}{}  {}{:>6}{:>9}{:>8}",
            cut(&node.name, 6),
            paint(role_colour, format!("{role:<8}")),
            paint(weight_colour, format!("{:>6}", weight(node))),
            paint("36", bar(node.open, most)),
            node.open,
            node.served,
            node.queued,
        );
        let reason = format!("       {}", cut(&node.reason, WIDTH - 8));
        text.push_str(&paint("2", reason));
        text.push('\n');
    }
    let failed = format!("{} failed", view.failed);
    let failed = paint(if view.failed == 0 { "32" } else { "1;31" }, failed);
    let _ = writeln!(
        text,
        "\n {} sessions: {} served, {} open, {failed}\n",
        view.started, view.completed, view.open
    );
    for event in &events[events.len().saturating_sub(SHOWN_EVENTS)..] {
        let line = format!("{:>6.1} s  {}", event.at.as_secs_f64(), event.text);
        let _ = writeln!(text, "{}", cut(&line, WIDTH - 1));
    }
    text
}

/// A bar of [`BAR`] columns, full for `most`, in eighths of a column.
fn bar(value: usize, most: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = value * BAR * 8 / most.max(20);
    let bar = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    format!("{bar:<BAR$}")
}

/// At most `columns` characters.
fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let node = |name: &str, open, queued| Node {
            name: name.to_owned(),
            weight_permille: Some(100_000),
            accepting: true,
            open,
            queued,
            served: 123_456,
            reason: "a reason that is long enough to be cut somewhere ".repeat(4),
            ..Node::default()
        };
        View {
            title: "a title that is long enough to be cut somewhere ".repeat(4),
            elapsed: Duration::from_secs(12),
            length: Some(Duration::from_secs(30)),
            nodes: vec![node("mx1", 7, 0), node("mx2", 1000, 99_999)],
            started: 100_000,
            ..View::default()
        }
    }

    #[test]
    fn no_line_of_the_picture_is_wider_than_the_terminal() {
        let event = Event {
            at: Duration::from_secs(3),
            text: "an event that is long enough to be cut ".repeat(4),
        };
        let picture = picture(&view(), &[event], false);
        for line in picture.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(picture.contains("mx2"));
    }

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        let filled = |value, most| bar(value, most).trim_end().chars().count();
        assert_eq!(
            (filled(0, 100), filled(50, 100), filled(100, 100)),
            (0, BAR / 2, BAR)
        );
        // A handful of sessions is not drawn as a crowd.
        assert!(filled(3, 3) < BAR / 4);
    }
}
