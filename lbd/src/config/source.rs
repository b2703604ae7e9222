//! The file that is read: its lines, and where each value in it stands.
use std::collections::BTreeMap;

use super::error::{ConfigError, Place};

/// Why a value is refused, and what to write instead.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) problem: String,
    pub(super) hint: String,
}

impl Complaint {
    pub(super) fn new(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            hint: hint.into(),
        }
    }
}

/// A file: its name, its lines, and where each value in it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    origin: String,
    lines: Vec<String>,
    pub(super) places: BTreeMap<String, Place>,
}

impl Source {
    pub(super) fn new(text: &str, origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            lines: text.lines().map(str::to_owned).collect(),
            places: BTreeMap::new(),
        }
    }

    /// An error at a place.
    pub(super) fn error_at(
        &self,
        place: Option<Place>,
        path: &str,
        complaint: Complaint,
    ) -> ConfigError {
        let snippet = place.and_then(|place| {
            let line = usize::try_from(place.line).ok()?.checked_sub(1)?;
            self.lines.get(line).cloned()
        });
        ConfigError {
            origin: self.origin.clone(),
            place,
            path: path.to_owned(),
            problem: complaint.problem,
            hint: complaint.hint,
            snippet,
        }
    }

    /// An error at a key: where its value stands, or else where the nearest table above it does.
    pub(super) fn error(&self, path: &str, complaint: Complaint) -> ConfigError {
        let mut above = path;
        let place = loop {
            if let Some(place) = self.places.get(above) {
                break Some(*place);
            }
            match above.rfind(['.', '[']) {
                Some(end) => above = &above[..end],
                None => break None,
            }
        };
        self.error_at(place, path, complaint)
    }
}
