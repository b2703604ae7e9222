//! What the history counts.
use crate::counters::counters;

counters! {
    /// What became of rows, since the daemon started.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    Counters:
    /// Rows of this node that were written. Expected: one for each backend every ten seconds on the master.
    rows_recorded,
    /// Rows of peers that were new here and were written. Expected.
    rows_learned,
    /// Rows that could not be written. Worry: the disk is full or the file cannot be written; `lbd status` says why.
    rows_failed,
    /// Rows of peers for minutes in the future. Worry: the nodes' clocks differ by more than ten minutes.
    rows_refused,
    /// Rows and requests dropped because the history thread was busy. Worry when it grows: the disk is too slow. Peers return the rows.
    overrun,
    /// Requests for the rows of an hour in which a peer had different ones. Expected after a node was away.
    gaps_asked_for,
    /// Rows that were sent to a peer that asked. Expected after a node was away.
    rows_sent,
    /// Times that the file was damaged and a new one was started. Worry: check the disk.
    files_damaged,
}

#[cfg(test)]
mod tests {
    use super::Counters;

    #[test]
    fn every_counter_says_whether_to_worry() {
        for (name, _, sentence) in Counters::default().iter() {
            assert!(
                sentence.contains("Worry") || sentence.contains("Expected"),
                "{name}: {sentence}"
            );
        }
    }
}
