//! What the history counts.
use crate::counters::counters;

counters! {
    /// What became of rows, since the daemon started.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    Counters:
    /// Rows of this node that were kept. Expected: one for each backend every ten seconds on the master.
    rows_recorded,
    /// Rows of peers that were new here and were kept. Expected.
    rows_learned,
    /// Rows that could not be kept. Worry: the disk is full or the file cannot be written; `lbd status` says why.
    rows_failed,
    /// Rows of peers for minutes that are not yet. Worry: the nodes' clocks differ by more than ten minutes.
    rows_refused,
    /// Rows and questions that were dropped because the history thread was busy. Worry when it grows: the disk is too slow. Peers give the rows back.
    overrun,
    /// Questions for the rows of an hour of which a peer had others. Expected after a node was away.
    gaps_asked_for,
    /// Rows that were sent to a peer that asked. Expected after a node was away.
    rows_sent,
    /// Times that the file was damaged and a new one begun. Worry: look at the disk.
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
