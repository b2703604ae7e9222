//! `access.allow_file` and `access.deny_file`: a network a line, `#` begins a comment.
use super::{
    address::Network,
    error::{ConfigError, Place},
    reader::MAX_ERRORS,
    source::Source,
    values,
};

/// Reads the text of a list. The error has every line that is wrong, up to a hundred of them.
pub(super) fn parse(text: &str, origin: &str) -> Result<Vec<Network>, Vec<ConfigError>> {
    let mut networks = Vec::new();
    let mut wrong = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let entry = content.split('#').next().unwrap_or_default();
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
                wrong.push((Place { line, column }, complaint));
                if wrong.len() == MAX_ERRORS {
                    break;
                }
            }
        }
    }
    if wrong.is_empty() {
        return Ok(networks);
    }
    let source = Source::new(text, origin);
    let error = |(place, complaint)| source.error_at(Some(place), "", complaint);
    Err(wrong.into_iter().map(error).collect())
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
