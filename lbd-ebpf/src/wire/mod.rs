//! Headers and checksums: read and written in place, the same in the kernel and on the host.
pub mod checksum;
pub mod field;
pub mod frame;
pub mod header;
pub mod mark;
pub mod parse;
pub mod part;
pub mod quote;
