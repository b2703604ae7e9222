//! Sendmail: a control file `qf...` a message, in the queue folder, or for several queues in
//! folders below it, which may have a `qf` folder each.

use std::path::Path;

use super::{Counts, ReadError, walk};

/// `mqueue/q1/qf`.
const MAX_DEPTH: u32 = 2;

/// All messages count as queued: nothing in a name says that a message was tried.
pub(super) fn count(queue: &Path) -> Result<Counts, ReadError> {
    let mut queued = 0;
    walk(queue, MAX_DEPTH, &mut |entry| {
        queued += u64::from(entry.file_name().as_encoded_bytes().starts_with(b"qf"));
    })?;
    Ok(Counts {
        queued,
        deferred: None,
    })
}
