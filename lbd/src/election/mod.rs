//! Who is master: a machine without a clock.
