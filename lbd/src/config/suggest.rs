//! The known word that a misspelt one was meant to be.

/// Characters of a key that a message repeats.
const SHOWN_CHARS: usize = 60;

/// The nearest of `known`, when it is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // A word this long is no misspelling, and the comparison is quadratic.
    if word.len() > SHOWN_CHARS {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    let distance = |known: &str| edit_distance(&word, known);
    let best = known.iter().copied().min_by_key(|known| distance(known))?;
    (distance(best) <= best.len().max(word.len()) / 3).then_some(best)
}

/// A text cut to what fits a message.
pub(super) fn shortened(text: &str) -> String {
    if text.chars().count() <= SHOWN_CHARS {
        return text.escape_debug().to_string();
    }
    let head: String = text.chars().take(SHOWN_CHARS).collect();
    format!("{}...", head.escape_debug())
}

/// Insertions, deletions and replacements that turn one into the other (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_the_known_one() {
        let known = ["priority", "interfaces", "start_as", "xdp"];
        for (word, expected) in [
            ("prioritty", Some("priority")),
            ("Priority", Some("priority")),
            ("start-as", Some("start_as")),
            ("interface", Some("interfaces")),
            ("xpd", None),
            ("weight", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1_000_000), &known), None);
        assert_eq!(nearest("priority", &[]), None);
    }

    #[test]
    fn a_long_or_unprintable_word_is_cut_for_a_message() {
        assert_eq!(shortened(&"y".repeat(1000)).len(), SHOWN_CHARS + 3);
        assert_eq!(shortened("a\x1b[31m"), "a\\u{1b}[31m");
    }
}
