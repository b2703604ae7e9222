//! `access.allow_file` and `access.deny_file`: a network a line, `#` or `;` begins a comment. So the text of
//! Spamhaus DROP is a list as it comes.
//!
//! Whoever writes the configuration chooses the file, and the mistakes reach the log, the status and
//! the peers. So they never repeat what a file says that is no list: it may be anything.
use std::net::IpAddr;

use super::{
    address::Network,
    error::{ConfigError, Place},
    reader::MAX_ERRORS,
    source::{Complaint, Source},
    values,
};

/// What begins a comment.
const COMMENT: [char; 2] = ['#', ';'];
/// What some editors begin a text with.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads the text of a list. The error has every line that is wrong, up to a hundred of them.
pub(super) fn parse(text: &str, origin: &str) -> Result<Vec<Network>, Vec<ConfigError>> {
    let mut networks = Vec::new();
    let mut wrong = Vec::new();
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    for (line, content) in (1..).zip(text.lines()) {
        let entry = content.split(COMMENT).next().unwrap_or_default();
        let word = entry.trim();
        if word.is_empty() {
            continue;
        }
        match values::network(word) {
            Ok(network) => networks.push(network),
            Err(complaint) => {
                let blanks = entry.len() - entry.trim_start().len();
                // Blanks that `trim` knows are a character each for the column's purpose.
                let column = u32::try_from(entry[..blanks].chars().count()).unwrap_or(0) + 1;
                wrong.push((Place { line, column }, discreet(word, complaint)));
                if wrong.len() == MAX_ERRORS {
                    break;
                }
            }
        }
    }
    if wrong.is_empty() {
        return Ok(networks);
    }
    // Without the text: no error shows a line of it.
    let source = Source::new("", origin);
    let error = |(place, complaint)| source.error_at(Some(place), "", complaint);
    Err(wrong.into_iter().map(error).collect())
}

/// The kind of mistake. Only a network whose address has too many bits is repeated: it is nothing but
/// an address.
fn discreet(word: &str, complaint: Complaint) -> Complaint {
    let address = word.split_once('/').map_or(word, |(address, _)| address);
    let is_prefix = |text: &str| text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    let has_prefix = word
        .split_once('/')
        .is_none_or(|(_, prefix)| is_prefix(prefix));
    if has_prefix && address.parse::<IpAddr>().is_ok() {
        return complaint;
    }
    Complaint::new(
        "this line is not a network",
        "write an address or a network a line, 198.51.100.0/24 or 2001:db8::/32; `#` or `;` begins a comment",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_line_by_line() {
        let text = "# spammers\n198.51.100.0/24  # a range\n\n\t203.0.113.7\r\n2001:db8::/32\n";
        let networks = parse(text, "deny").unwrap();
        let shown: Vec<String> = networks.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            ["198.51.100.0/24", "203.0.113.7/32", "2001:db8::/32"]
        );
    }

    #[test]
    fn the_text_of_spamhaus_drop_is_a_list() {
        let text = "; Spamhaus DROP List 2026/11/28 - (c) 2026 The Spamhaus Project\n; Last-Modified: Sat\n\
                    198.51.100.0/24 ; SBL256894\n2001:db8::/32 ; SBL1\n";
        assert_eq!(parse(text, "drop").unwrap().len(), 2);
    }

    #[test]
    fn every_wrong_line_is_told() {
        let errors = parse("10.0.0.0/8\n  10.0.0.1/8\nhost.example\n::/129\n", "deny").unwrap_err();
        let places: Vec<(u32, u32)> = errors
            .iter()
            .filter_map(|e| e.place.map(|p| (p.line, p.column)))
            .collect();
        assert_eq!(places, [(2, 3), (3, 1), (4, 1)]);
        assert!(errors[0].hint.contains("10.0.0.0/8"), "{}", errors[0]);
    }
}
