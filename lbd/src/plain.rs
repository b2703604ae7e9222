//! Text from outside, before it reaches a log, a terminal or a page.
//!
//! A banner, an agent's note or a peer's answer may hold characters that do not show themselves but
//! change what is shown around them: a control sequence moves the cursor, a line separator forges a
//! line, a bidirectional override turns a sentence round (Unicode Technical Report 36, section 2.6).

/// Whether a character shows itself and nothing else: no control character (C0, DEL, C1), no line or
/// paragraph separator, no bidirectional or other invisible format character.
#[must_use]
pub(crate) fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{ad}' // soft hyphen
            | '\u{61c}' // Arabic letter mark
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}' // zero width, left-to-right and right-to-left marks
            | '\u{2028}'..='\u{202e}' // separators, embeddings, overrides
            | '\u{2060}'..='\u{206f}' // word joiner, isolates, deprecated formats
            | '\u{feff}' // byte order mark
            | '\u{fff9}'..='\u{fffb}' // interlinear annotation
            | '\u{e0000}'..='\u{e007f}' // tags
        )
}

/// A text without what is not plain.
#[must_use]
pub(crate) fn stripped(text: &str) -> String {
    text.chars().filter(|c| is_plain(*c)).collect()
}

/// The bytes of a whole text of lines, or of JSON, without what is not plain but for line ends and
/// tabs. The last guard, where text leaves the daemon: what gathers it has cut and escaped it already.
#[must_use]
pub(crate) fn lines(text: String) -> String {
    let may_stay = |c: char| is_plain(c) || matches!(c, '\n' | '\t');
    if text.chars().all(may_stay) {
        return text;
    }
    text.chars().filter(|c| may_stay(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_its_surroundings_is_stripped_and_every_script_stays() {
        for odd in [
            '\x1b',
            '\r',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{ad}',
            '\u{200e}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{feff}',
            '\u{e0041}',
        ] {
            assert_eq!(stripped(&format!("a{odd}b")), "ab", "{odd:?}");
            assert_eq!(lines(format!("a{odd}\n\tb")), "a\n\tb", "{odd:?}");
        }
        let scripts = "Zürich Ελλάδα Москва שלום مرحبا 東京 🙂";
        assert_eq!(stripped(scripts), scripts);
    }
}
