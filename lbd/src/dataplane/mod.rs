//! The one place that owns the XDP program and its maps.

pub mod object;
