//! From weights to the Maglev ring, and keys to open-addressed slots.
mod dead_band;
mod maglev;
mod select;
pub mod slots;
#[cfg(test)]
mod tests;

pub use dead_band::{lets_the_same, worth_rebuilding};
pub use maglev::{Entry, Ring, SLOTS};
pub use select::{Standing, choose};
