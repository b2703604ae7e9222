//! Counters, each with the sentence that says what it means.

/// Declares a struct of counters from one list, so that fields, names and sentences cannot disagree.
macro_rules! counters {
    ($(#[$meta:meta])* $name:ident: $(#[doc = $doc:literal] $field:ident,)+) => {
        $(#[$meta])*
        pub struct $name {
            $(#[doc = $doc] pub $field: u64,)+
        }

        impl $name {
            /// The sums with another's counters.
            #[must_use]
            pub fn with(&self, other: &Self) -> Self {
                Self {
                    $($field: self.$field + other.$field,)+
                }
            }

            /// Each counter's name, its value and its sentence.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64, &'static str)> {
                [$((stringify!($field), self.$field, $doc.trim_ascii()),)+].into_iter()
            }
        }
    };
}

pub(crate) use counters;
