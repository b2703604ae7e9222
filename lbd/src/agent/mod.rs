//! This box's own figures: spool entries and sessions, and the formats that serve them.
