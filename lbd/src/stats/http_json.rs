//! Any JSON: a pointer (RFC 6901) for each figure says where it stands.
//!
//! `KumoMTA`'s `/metrics.json`, say, gives `sessions: /connection_count/value/service/esmtp_listener`.

use std::fmt;

use super::{Figures, Sample, SampleError, own_json};

/// A JSON pointer, as in `/queues/active/length`; empty for the whole document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pointer(String);

/// Why a text is no JSON pointer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PointerError {
    /// RFC 6901 section 3: each token is prefixed by `/`.
    #[error("a JSON pointer starts with /: write /{0}")]
    NoSlash(String),
    /// RFC 6901 section 3: `~` is followed by 0 or 1.
    #[error("in a JSON pointer ~ is written ~0 and / within a name ~1")]
    Escape,
}

impl Pointer {
    /// Checks a pointer's form.
    pub fn new(text: &str) -> Result<Self, PointerError> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(PointerError::NoSlash(text.to_owned()));
        }
        let well_escaped = |rest: &str| rest.starts_with(['0', '1']);
        if !text.split('~').skip(1).all(well_escaped) {
            return Err(PointerError::Escape);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the figures that `pointers` name; each must be there. A number in quotes is a number too:
/// many interfaces write one so.
pub fn parse(answer: &[u8], pointers: &Figures<Pointer>) -> Result<Sample, SampleError> {
    let document = own_json::json(answer)?;
    let mut sample = Sample::default();
    for (figure, pointer) in pointers.iter() {
        let value = document
            .pointer(&pointer.0)
            .ok_or_else(|| SampleError::Missing {
                sought: format!("{figure} (JSON pointer {pointer})"),
            })?;
        let quoted = value.as_str().and_then(|text| text.trim().parse().ok());
        let count = match quoted {
            Some(number) => figure.count(number)?,
            None => own_json::count(figure, value)?,
        };
        sample.set(figure, count);
    }
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Figure;
    use super::*;

    fn queued_at(pointer: &str) -> Figures<Pointer> {
        Figures::new([(Figure::Queued, Pointer::new(pointer).unwrap())])
    }

    #[test]
    fn figures_are_found_by_their_pointers() {
        let answer = br#"{"queue": {"active": 7, "a/b": "8"}, "smtp": [{"open": 41.0}]}"#;
        let table = [
            ("/queue/active", Ok(7)),
            ("/queue/a~1b", Ok(8)),
            ("/smtp/0/open", Ok(41)),
            ("/smtp/1/open", Err("missing")),
            ("/queue", Err("not_a_number")),
            ("", Err("not_a_number")),
        ];
        for (pointer, expected) in table {
            let got = parse(answer, &queued_at(pointer))
                .map(|sample| sample.queued.unwrap())
                .map_err(|error| error.kind());
            assert_eq!(got, expected, "{pointer}");
        }
    }

    #[test]
    fn the_pointer_for_kumomta_fits_its_answer() {
        let answer = include_bytes!("../../testdata/stats/kumomta.json");
        let pointer = Pointer::new("/connection_count/value/service/esmtp_listener").unwrap();
        let sample = parse(answer, &Figures::new([(Figure::Sessions, pointer)])).unwrap();
        assert_eq!(sample.sessions, Some(41));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table: [(&[u8], &str); 8] = [
            (b"", "empty"),
            (b"\xff\xfe", "not_text"),
            (b"{\"q\":", "malformed"),
            (b"{\"q\":-3}", "negative"),
            (b"{\"q\":\"NaN\"}", "not_a_number"),
            (b"{\"q\":\"inf\"}", "too_large"),
            (b"{\"q\":99999999999}", "too_large"),
            (b"{\"q\":null}", "not_a_number"),
        ];
        for (answer, kind) in table {
            let error = parse(answer, &queued_at("/q")).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
        }
    }

    #[test]
    fn a_pointer_that_could_never_match_is_refused() {
        assert_eq!(
            Pointer::new("queue"),
            Err(PointerError::NoSlash("queue".into()))
        );
        assert_eq!(Pointer::new("/a~2"), Err(PointerError::Escape));
        assert_eq!(Pointer::new("/a~"), Err(PointerError::Escape));
        assert!(Pointer::new("/~01").is_ok());
    }

    proptest! {
        #[test]
        fn no_answer_panics(answer: Vec<u8>, pointer: String) {
            if let Ok(pointer) = Pointer::new(&pointer) {
                let _ = parse(&answer, &Figures::new([(Figure::Queued, pointer)]));
            }
        }
    }
}
