//! Exim: two files a message, `ID-H` and `ID-D`, in `input` or one folder below it
//! (`split_spool_directory`). A named queue has an `input` of its own below a folder of its name
//! (Exim specification, section 50.6 "Named queues").

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::{Counts, ReadError, walk};

/// A message that is still there after the first retry interval of the default configuration (15
/// minutes) waits for another box, or for a queue runner: its file need not be opened.
const DEFERRED_AFTER_S: u64 = 15 * 60;

/// Files of younger messages that one count opens, at about 10 microseconds each. Messages beyond it
/// are told apart by their age.
const MAX_OPENED: u32 = 10_000;

/// How much of a file is looked at: the flags stand before the recipients.
const HEAD_BYTES: u64 = 16 << 10;

/// The line of an `-H` file that goes away with the first delivery that was tried (`deliver.c`,
/// `deliver_firsttime`).
const NEVER_TRIED: &[u8] = b"\n-deliver_firsttime\n";

pub(super) fn count(spool: &Path, now_unix_s: u64) -> Result<Counts, ReadError> {
    let mut counting = Counting {
        now_unix_s,
        opened: 0,
        queued: 0,
        deferred: 0,
        unread: None,
    };
    for input in inputs(spool)? {
        walk(&input, 1, &mut |entry| {
            let name = entry.file_name();
            if let Some(id) = name.to_str().and_then(|name| name.strip_suffix("-H")) {
                counting.message(id, &entry.path());
            }
        })?;
    }
    match counting.unread {
        Some(error) => Err(error),
        None => Ok(Counts {
            queued: counting.queued,
            deferred: Some(counting.deferred),
        }),
    }
}

/// The folders with messages: Exim makes each with its first message, so there may be none.
fn inputs(spool: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let failed = |error| ReadError::new(spool, error);
    let mut inputs = vec![spool.join("input")];
    for entry in fs::read_dir(spool).map_err(failed)? {
        inputs.push(entry.map_err(failed)?.path().join("input"));
    }
    let mut there = Vec::new();
    for input in inputs {
        match fs::metadata(&input) {
            Ok(metadata) if metadata.is_dir() => there.push(input),
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(ReadError::new(&input, error)),
        }
    }
    Ok(there)
}

struct Counting {
    now_unix_s: u64,
    opened: u32,
    queued: u64,
    deferred: u64,
    /// The first message whose file could not be read.
    unread: Option<ReadError>,
}

impl Counting {
    fn message(&mut self, id: &str, file: &Path) {
        let old = received_unix_s(id).is_some_and(|at| at + DEFERRED_AFTER_S < self.now_unix_s);
        if old {
            self.deferred += 1;
        } else if self.opened == MAX_OPENED {
            self.queued += 1;
        } else {
            self.opened += 1;
            match was_tried(file) {
                Ok(true) => self.deferred += 1,
                Ok(false) => self.queued += 1,
                // Delivered meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    self.unread.get_or_insert(ReadError::new(file, error));
                }
            }
        }
    }
}

/// Whether a delivery of the message was tried: it is still there, so it was put off.
fn was_tried(file: &Path) -> std::io::Result<bool> {
    let mut head = Vec::new();
    File::open(file)?.take(HEAD_BYTES).read_to_end(&mut head)?;
    // One that is being written is empty for a moment.
    let never = head.is_empty()
        || head
            .windows(NEVER_TRIED.len())
            .any(|line| line == NEVER_TRIED);
    Ok(!never)
}

/// When a message came: the first six characters of its id are seconds since 1970 in base 62
/// (Exim specification, section 3.4 "Message identification").
fn received_unix_s(id: &str) -> Option<u64> {
    let seconds = id.get(..6).filter(|_| id[6..].starts_with('-'))?;
    seconds.bytes().try_fold(0, |sum, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'Z' => digit - b'A' + 10,
            b'a'..=b'z' => digit - b'a' + 36,
            _ => return None,
        };
        Some(sum * 62 + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_its_message_came() {
        let table = [
            ("000000-000001-00", Some(0)),
            ("00000z-000001-00", Some(61)),
            ("000010-000001-00", Some(62)),
            // January 2002, and January 2024 with the longer ids since Exim 4.97.
            ("16VDhn-0001bo-00", Some(1_012_231_703)),
            ("1rKG6z-0000000ABCD-0123", Some(1_704_107_137)),
            ("16VDh", None),
            ("16VDhn0001bo-00", None),
            ("16V-hn-0001bo-00", None),
            ("äääää", None),
        ];
        for (id, expected) in table {
            assert_eq!(received_unix_s(id), expected, "{id}");
        }
    }
}
