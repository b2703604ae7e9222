//! Enums whose variants have names in the file.
use std::fmt;

use super::source::Complaint;

/// An enum with a name in the file for each variant.
pub(super) trait Choice: Copy + Eq + 'static {
    /// Every variant with its name.
    const NAMES: &'static [(&'static str, Self)];

    /// This variant's name.
    fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, variant)| *variant == self);
        found.map_or("", |(name, _)| name)
    }
}

/// Reads a choice by its name.
pub(super) fn read<T: Choice>(text: &str) -> Result<T, Complaint> {
    let found = T::NAMES.iter().find(|(name, _)| *name == text);
    found.map(|(_, variant)| *variant).ok_or_else(|| {
        Complaint::new(
            format!("{text:?} is not one of its values"),
            format!("give one of: {}", Names::<T>::new()),
        )
    })
}

/// The names of a choice, with commas between.
struct Names<T>(std::marker::PhantomData<T>);

impl<T> Names<T> {
    fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T: Choice> fmt::Display for Names<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, _)) in T::NAMES.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

/// Declares an enum together with its names in the file.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $text:literal ),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        $vis enum $name { $( $(#[$variant_meta])* $variant ),+ }

        impl $crate::config::choice::Choice for $name {
            const NAMES: &'static [(&'static str, Self)] = &[ $( ($text, Self::$variant) ),+ ];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($crate::config::choice::Choice::name(*self))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}
pub(super) use choice;
