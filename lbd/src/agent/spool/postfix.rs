//! Postfix: a file a message, in the folder of its queue (Postfix Bottleneck Analysis, section "Postfix queue directories").

use std::io;
use std::path::Path;

use super::{Counts, ReadError, walk};

/// `hash_queue_depth` is 1 by default, for `deferred`; more than four levels are of no use.
const MAX_DEPTH: u32 = 4;

/// `maildrop` is work that waits for pickup, so it is queued. `hold` waits for a person, not for
/// this box, so it counts with the deferred ones.
const QUEUED: [&str; 3] = ["active", "incoming", "maildrop"];
const DEFERRED: [&str; 2] = ["deferred", "hold"];

pub(super) fn count(spool: &Path) -> Result<Counts, ReadError> {
    Ok(Counts {
        queued: files(spool, &QUEUED)?,
        deferred: Some(files(spool, &DEFERRED)?),
    })
}

fn files(spool: &Path, queues: &[&str]) -> Result<u64, ReadError> {
    let mut files = 0;
    for queue in queues {
        match walk(&spool.join(queue), MAX_DEPTH, &mut |_| files += 1) {
            // Without `active` it is no spool; any other queue that is not there has no message.
            Err(gone) if *queue != "active" && gone.error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
    }
    Ok(files)
}
