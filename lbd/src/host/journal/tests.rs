use proptest::prelude::*;

use super::*;

fn sysctl(key: &str, old: u32, new: u32) -> Change {
    Change::Sysctl {
        key: key.into(),
        old,
        new,
    }
}

fn pin(name: &str) -> Change {
    Change::Pin {
        path: Path::new("/sys/fs/bpf/lbd").join(name),
    }
}

fn opened(path: &Path) -> (Journal, Recovered) {
    Journal::open(path).unwrap()
}

fn listed(journal: &Journal) -> Vec<Change> {
    journal.changes().cloned().collect()
}

#[test]
fn what_was_made_and_not_undone_is_found_by_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = path_in(&dir.path().join("made/by/open"));
    let (mut journal, recovered) = opened(&path);
    assert_eq!(recovered, Recovered::default());
    let (gone, _) = journal.record(&pin("A")).unwrap();
    journal.record(&pin("B")).unwrap();
    journal.record(&sysctl("net/x", 0, 1)).unwrap();
    journal.settle(gone).unwrap();
    drop(journal);

    let (journal, recovered) = opened(&path);
    assert_eq!(recovered.changes, [pin("B"), sysctl("net/x", 0, 1)]);
    assert_eq!(listed(&journal), recovered.changes);
}

#[test]
fn undoing_goes_backwards_and_spares_what_was_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let path = path_in(dir.path());
    let (mut journal, _) = opened(&path);
    for name in ["A", "B", "C"] {
        journal.record(&pin(name)).unwrap();
    }
    drop(journal);

    let (mut journal, _) = opened(&path);
    let changes = |list: Vec<(u64, Change)>| list.into_iter().map(|(_, c)| c).collect::<Vec<_>>();
    assert_eq!(journal.record(&pin("B")).unwrap(), (1, false));
    assert_eq!(changes(journal.newest_first(false)), [pin("C"), pin("A")]);
    assert_eq!(
        changes(journal.newest_first(true)),
        [pin("C"), pin("B"), pin("A")]
    );
}

#[test]
fn a_sysctl_is_listed_once_and_its_latest_line_counts() {
    let dir = tempfile::tempdir().unwrap();
    let path = path_in(dir.path());
    let (mut journal, _) = opened(&path);
    assert_eq!(journal.record(&sysctl("net/x", 0, 1)).unwrap(), (0, true));
    assert_eq!(journal.record(&sysctl("net/x", 0, 2)).unwrap(), (0, false));
    assert_eq!(journal.sysctl_old("net/x"), Some(0));
    assert_eq!(journal.sysctl_old("net/y"), None);
    drop(journal);
    let (_, recovered) = opened(&path);
    assert_eq!(recovered.changes, [sysctl("net/x", 0, 2)]);
}

#[test]
fn one_process_at_a_time_holds_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let path = path_in(dir.path());
    let (journal, _) = opened(&path);
    let second = Journal::open(&path);
    assert!(matches!(second, Err(HostError::JournalBusy(_))));
    drop(journal);
    opened(&path);
}

#[test]
fn an_empty_list_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = path_in(dir.path());
    let (mut journal, _) = opened(&path);
    let (id, _) = journal.record(&pin("A")).unwrap();
    journal.settle(id).unwrap();
    journal.remove();
    assert!(!path.exists());

    let (mut journal, _) = opened(&path);
    journal.record(&pin("A")).unwrap();
    journal.remove();
    assert!(path.exists(), "a list that is not empty stays");
}

#[test]
fn a_reboot_ends_every_change() {
    let dir = tempfile::tempdir().unwrap();
    let path = path_in(dir.path());
    let (mut journal, _) = opened(&path);
    journal.record(&sysctl("net/x", 0, 1)).unwrap();
    drop(journal);
    let boot_id = Scope::of_this_process().unwrap().boot_id;
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&boot_id, "of-an-earlier-boot")).unwrap();

    let (journal, recovered) = opened(&path);
    assert_eq!((recovered.of_another_boot, listed(&journal)), (1, vec![]));
    drop(journal);
    assert_eq!(opened(&path).1, Recovered::default());
}

#[test]
fn changes_of_another_namespace_are_put_aside_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let path = path_in(dir.path());
    let (mut journal, _) = opened(&path);
    journal.record(&pin("A")).unwrap();
    drop(journal);
    let here = format!(":{}}}", Scope::of_this_process().unwrap().net_namespace);
    let text = std::fs::read_to_string(&path).unwrap();
    let elsewhere = text.replace(&here, ":1}");
    std::fs::write(&path, &elsewhere).unwrap();

    let (journal, recovered) = opened(&path);
    let (aside, count) = recovered.of_another_namespace.unwrap();
    assert_eq!((count, listed(&journal)), (1, vec![]));
    assert_eq!(std::fs::read_to_string(aside).unwrap(), elsewhere);
}

#[test]
fn a_damaged_line_costs_itself_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = path_in(dir.path());
    let (mut journal, _) = opened(&path);
    for name in ["A", "B", "C"] {
        journal.record(&pin(name)).unwrap();
    }
    drop(journal);
    let mut bytes = std::fs::read(&path).unwrap();
    let b = bytes.windows(5).position(|w| w == b"lbd/B").unwrap();
    bytes[b] = 0xff;
    std::fs::write(&path, bytes).unwrap();
    let (_, recovered) = opened(&path);
    assert_eq!(recovered.changes, [pin("A"), pin("C")]);
    assert_eq!(recovered.damaged_lines, 1);
}

/// A history of makings and undoings, the text it left, and what stood after each line.
fn history(steps: &[(u64, bool)]) -> (Vec<u8>, Vec<(usize, Vec<u64>)>) {
    let mut text = Vec::new();
    let mut standing = std::collections::BTreeSet::new();
    let mut after = vec![(0, vec![])];
    for &(id, make) in steps {
        let line = if make {
            standing.insert(id);
            let change = pin(&id.to_string());
            Line::Made { id, change }
        } else {
            standing.remove(&id);
            Line::Undone { id }
        };
        serde_json::to_writer(&mut text, &line).unwrap();
        text.push(b'\n');
        after.push((text.len(), standing.iter().copied().collect()));
    }
    (text, after)
}

proptest! {
    /// Wherever a crash cuts the file, every line that was whole counts and nothing else does.
    #[test]
    fn a_cut_anywhere_leaves_the_state_of_the_last_whole_line(
        steps in proptest::collection::vec((0u64..6, any::<bool>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let (text, after) = history(&steps);
        let cut = cut.index(text.len() + 1);
        let replayed = replay(&text[..cut]);
        let (bytes, standing) = after.iter().rev().find(|(end, _)| *end <= cut).unwrap();
        prop_assert_eq!(replayed.complete_bytes, *bytes as u64);
        prop_assert_eq!(replayed.entries.into_keys().collect::<Vec<_>>(), standing.clone());
        prop_assert_eq!(replayed.damaged_lines, 0);
    }

    #[test]
    fn no_bytes_stop_the_reading(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let replayed = replay(&bytes);
        prop_assert!(replayed.complete_bytes <= bytes.len() as u64);
    }

    /// The next line must begin at a line's start, or it would be lost with the half one.
    #[test]
    fn what_is_recorded_after_a_cut_is_not_lost(cut in 0usize..400) {
        let dir = tempfile::tempdir().unwrap();
        let path = path_in(dir.path());
        let (mut journal, _) = opened(&path);
        journal.record(&pin("A")).unwrap();
        journal.record(&pin("B")).unwrap();
        drop(journal);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..cut.min(bytes.len())]).unwrap();
        let (mut journal, _) = opened(&path);
        journal.record(&pin("C")).unwrap();
        drop(journal);
        let (_, recovered) = opened(&path);
        prop_assert!(recovered.changes.contains(&pin("C")), "{recovered:?}");
        prop_assert_eq!(recovered.damaged_lines, 0);
    }
}
