//! The flow tables, shared with the XDP program through memory.
