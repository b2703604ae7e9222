//! Text for a terminal: columns, lines of at most 80, and colour on a terminal.
use std::io::IsTerminal as _;

/// Nothing that lbd prints for people is wider.
pub(super) const WIDTH: usize = 80;

/// On which side of its column a text stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Left,
    Right,
}

/// What a colour says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tone {
    Good,
    Warning,
    Bad,
    /// Less important.
    Faint,
}

/// Whether and how to colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Paint {
    coloured: bool,
}

impl Paint {
    /// Colour only on a terminal, and not against the person's wish (<https://no-color.org>).
    pub(super) fn for_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            coloured: std::io::stdout().is_terminal() && !unwanted && !dumb,
        }
    }

    /// For who has no terminal.
    pub(super) const PLAIN: Self = Self { coloured: false };

    #[cfg(test)]
    pub(super) const COLOURED: Self = Self { coloured: true };

    pub(super) fn tone(self, tone: Tone, text: &str) -> String {
        if !self.coloured {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => 32,
            Tone::Warning => 33,
            Tone::Bad => 31,
            Tone::Faint => 2,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// A column: its title, the most it takes, and its side.
pub(super) type Column = (&'static str, usize, Side);

/// One row. Texts that are too long are cut; what is beyond the last column's text is no blank.
pub(super) fn row<const N: usize>(columns: &[Column; N], cells: [&str; N]) -> String {
    let mut line = String::new();
    for ((_, width, side), cell) in columns.iter().zip(cells) {
        let cell = cut(cell, *width);
        let blanks = " ".repeat(width - cell.chars().count());
        if !line.is_empty() {
            line.push(' ');
        }
        match side {
            Side::Left => line.extend([cell.as_str(), &blanks]),
            Side::Right => line.extend([blanks.as_str(), &cell]),
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// The titles of the columns.
pub(super) fn titles<const N: usize>(columns: &[Column; N]) -> String {
    row(columns, columns.map(|(title, _, _)| title))
}

/// A text in at most so many columns; `…` stands for what is cut.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars()
        .take(columns.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// A sentence in lines of at most [`WIDTH`], each after `indent` blanks.
pub(super) fn wrapped(text: &str, indent: usize) -> String {
    let mut out = String::new();
    for part in text.lines() {
        let mut used = 0;
        for word in part.split_whitespace() {
            let length = word.chars().count();
            if used > 0 && indent + used + 1 + length > WIDTH {
                out.push('\n');
                used = 0;
            }
            if used == 0 {
                out.push_str(&" ".repeat(indent));
            } else {
                out.push(' ');
                used += 1;
            }
            out.push_str(word);
            used += length;
        }
        out.push('\n');
    }
    out
}

/// A span of time as a person says it, in its largest unit.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_in_their_columns_and_are_cut_to_them() {
        let columns = [("NAME", 6, Side::Left), ("N", 4, Side::Right)];
        assert_eq!(titles(&columns), "NAME      N");
        assert_eq!(row(&columns, ["a", "7"]), "a         7");
        assert_eq!(row(&columns, ["a-very-long", "12345"]), "a-ver… 123…");
    }

    #[test]
    fn sentences_are_wrapped_within_the_width() {
        let text = "word ".repeat(60);
        for line in wrapped(&text, 8).lines() {
            assert!(line.chars().count() <= WIDTH && line.starts_with("        word"));
        }
        assert_eq!(wrapped("a b", 2), "  a b\n");
    }

    #[test]
    fn colour_is_for_terminals_only() {
        assert_eq!(Paint::PLAIN.tone(Tone::Bad, "down"), "down");
        assert_eq!(
            Paint::COLOURED.tone(Tone::Bad, "down"),
            "\x1b[31mdown\x1b[0m"
        );
    }

    #[test]
    fn ages_take_the_largest_unit_that_is_not_zero() {
        assert_eq!(age(59), "59 s");
        assert_eq!(age(60), "1 min");
        assert_eq!(age(7200), "2 h");
        assert_eq!(age(200_000), "2 d");
    }
}
