//! Exim: two files a message, `ID-H` and `ID-D`, in `input` or one folder below it
//! (`split_spool_directory`).

use std::path::Path;

use super::{Counts, ReadError, walk};

/// Exim has one queue for all messages. One that is still there after the first retry interval of
/// the default configuration (15 minutes) was tried and put off: it waits for another box.
const DEFERRED_AFTER_S: u64 = 15 * 60;

pub(super) fn count(spool: &Path, now_unix_s: u64) -> Result<Counts, ReadError> {
    let mut queued = 0;
    let mut deferred = 0;
    walk(&spool.join("input"), 1, &mut |entry| {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_suffix("-H")) else {
            return;
        };
        let old = received_unix_s(id).is_some_and(|at| at + DEFERRED_AFTER_S < now_unix_s);
        if old {
            deferred += 1;
        } else {
            queued += 1;
        }
    })?;
    Ok(Counts {
        queued,
        deferred: Some(deferred),
    })
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
