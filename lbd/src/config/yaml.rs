//! From text to a tree in which every value knows its line and column.
//!
//! The tree is read by [`super::reader`] instead of serde's derive, since a derived reader stops at
//! the first mistake and a person wants to see all of them.
use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_yaml::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Spanned};

use super::error::Place;

/// The largest file that is read, in bytes.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What stands there.
#[derive(Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A word, number or string, as written.
    Text(String),
    List(Vec<Located>),
    /// In the order of the file; a key may stand in it twice.
    Map(Vec<(Key, Located)>),
}

/// A key of a map and where it stands.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) name: String,
}

/// Why a text is no YAML.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) place: Option<Place>,
    pub(super) problem: String,
}

/// Reads one YAML document. `None` when there is nothing in it.
pub(super) fn parse(text: &str) -> Result<Located, SyntaxError> {
    // No configuration needs what these limits refuse; without them a few bytes of anchors or
    // brackets take gigabytes or the stack.
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: 24,
            flow_nesting_limit: 24,
            max_nodes: 400_000,
            max_events: 1_000_000,
            max_anchors: 64,
            max_aliases: 256,
            max_recorded_anchor_events: 20_000,
            max_recorded_anchor_bytes: 1 << 20,
            max_documents: 1,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: 20_000,
            max_replay_stack_depth: 8,
        },
        // A key that is given twice is this crate's own error, with both places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        with_snippet: false,
    };
    serde_yaml::from_str_with_options::<Spanned<Raw>>(text, options)
        .map(|raw| located(raw, text))
        .map_err(|error| SyntaxError {
            place: error.location().and_then(place_of),
            problem: without_place(error.without_snippet().to_string()),
        })
}

/// Cuts the place off the reader's message: it is told apart.
fn without_place(mut message: String) -> String {
    if let Some(end) = message.rfind(" at line ") {
        message.truncate(end);
    }
    message
}

/// A value as the YAML reader hands it over.
enum Raw {
    Null,
    Text(String),
    /// A word that YAML takes for a number or a truth value: the file's spelling is what counts
    /// (`off` is a word here), so it is taken from the text. The reader's own form is the fallback.
    Spelled(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn located(raw: Spanned<Raw>, text: &str) -> Located {
    let place = place_of(raw.referenced).or_else(|| place_of(raw.defined));
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Text(text),
        Raw::Spelled(other) => Value::Text(spelling(raw.defined, text).unwrap_or(other)),
        Raw::List(items) => {
            Value::List(items.into_iter().map(|item| located(item, text)).collect())
        }
        Raw::Map(entries) => {
            let entries = entries.into_iter().map(|(key, value)| {
                let key = Key {
                    place: place_of(key.referenced).unwrap_or(START),
                    name: key.value,
                };
                (key, located(value, text))
            });
            Value::Map(entries.collect())
        }
    };
    Located {
        place: place.unwrap_or(START),
        value,
    }
}

const START: Place = Place { line: 1, column: 1 };

fn place_of(location: Location) -> Option<Place> {
    let line = u32::try_from(location.line()).ok()?;
    let column = u32::try_from(location.column()).ok()?;
    (line > 0).then_some(Place { line, column })
}

fn spelling(location: Location, text: &str) -> Option<String> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let len = usize::try_from(location.span().byte_len()?).ok()?;
    let spelled = text.get(start..start.checked_add(len)?)?.trim();
    (!spelled.is_empty()).then(|| spelled.to_owned())
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Spelled(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Spelled(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Spelled(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Spelled(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
