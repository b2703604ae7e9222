//! From weights to the Maglev ring, and keys to open-addressed slots.
