//! What a backend reports, and the formats it may come in.
