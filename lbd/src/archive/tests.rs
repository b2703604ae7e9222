//! Files that are written, cut, filled and damaged.
use std::{
    io::{BufRead as _, BufReader},
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::history::{DAY, Denied, Happened, Refusal, Reigned, Row, Sample, begin_of};

const BOUNDS: Bounds = Bounds {
    keep: Duration::from_hours(24 * 31),
    most_bytes: 64 << 20,
};

fn sample(minute: u32, backend: &str, seconds: u8, opened: u64) -> Row {
    Row::Sample(Sample {
        node: "mx1".to_owned(),
        since_unix_s: 1_790_000_000,
        minute,
        backend: backend.to_owned(),
        seconds,
        opened,
        bytes: opened * 40_000,
        sessions: 120,
        sessions_max: 180,
        sources: 90,
        queued: Some(1500),
        weight_permille: 87_500,
        off_s: 0,
        reason: "loaded".to_owned(),
    })
}

fn reigned(node: &str, minute: u32) -> Row {
    Row::Reigned(Reigned {
        node: node.to_owned(),
        since_unix_s: 1_790_000_000,
        minute,
        seconds: 60,
        ..Reigned::default()
    })
}

fn some_of_each(minute: u32) -> Vec<Row> {
    vec![
        reigned("mx1", minute),
        sample(minute, "mx1", 60, 9),
        Row::Denied(Denied {
            node: "mx1".to_owned(),
            minute,
            source: IpAddr::from([198, 51, 100, 7]),
            refusal: Refusal::Rate,
            frames: 12,
        }),
        Row::Happened(Happened {
            node: "mx1".to_owned(),
            unix_s: begin_of(minute) + 7,
            kind: "shut-off".to_owned(),
            subject: "mx1".to_owned(),
            text: "mx1 takes no new sessions".to_owned(),
            as_master: true,
        }),
    ]
}

fn fresh(folder: &tempfile::TempDir) -> Archive {
    let (archive, aside) = Archive::open(&folder.path().join(FILE), BOUNDS).unwrap();
    assert_eq!(aside, None);
    archive
}

#[test]
fn rows_come_back_as_they_were_also_to_a_reader_beside() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = fresh(&folder);
    let rows = some_of_each(1000);
    assert_eq!(archive.write(&rows).unwrap(), 4);
    assert_eq!(archive.write(&rows).unwrap(), 0, "twice is once");
    let reader = Archive::open_read_only(archive.path()).unwrap();
    for archive in [&archive, &reader] {
        assert_eq!(archive.rows(0..2000, None).unwrap(), rows);
        assert_eq!(archive.rows(0..2000, Some("mx1")).unwrap(), rows);
        assert_eq!(archive.rows(0..2000, Some("mx2")).unwrap(), []);
        assert_eq!(archive.rows(1001..2000, None).unwrap(), []);
        assert_eq!(archive.nodes(0..2000).unwrap(), ["mx1"]);
        assert_eq!(archive.span().unwrap(), Some((1000, 1000)));
    }
    let mode = fs::metadata(archive.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Ids are given in the order of writing, numbers are in the order of names.
#[test]
fn kept_rows_are_the_same_rows_with_numbers_in_the_order_of_names() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = fresh(&folder);
    let mut written = Vec::new();
    for minute in 1000..1003 {
        written.extend(some_of_each(minute));
        for (backend, opened) in [("z", 5), ("a", 6), ("", 7), ("mx10", 8)] {
            written.push(sample(minute, backend, 60, opened));
        }
    }
    archive.write(&written).unwrap();
    let kept = archive.rows_in(&(1000..1002)).unwrap();
    assert!(
        kept.names.is_sorted() && kept.names.len() == 7,
        "{:?}",
        kept.names
    );
    let mut read: Vec<Row> = Vec::new();
    read.extend(kept.reigned.iter().cloned().map(Row::Reigned));
    read.extend(kept.samples.iter().map(|sample| {
        let name = |id| kept.name(id).to_owned();
        Row::Sample(Sample {
            node: name(sample.node),
            since_unix_s: sample.since_unix_s,
            minute: sample.minute,
            backend: name(sample.backend),
            seconds: sample.seconds,
            opened: sample.opened,
            bytes: sample.bytes,
            sessions: sample.sessions,
            sessions_max: sample.sessions_max,
            sources: sample.sources,
            queued: sample.queued,
            weight_permille: sample.weight_permille,
            off_s: sample.off_s,
            reason: name(sample.reason),
        })
    }));
    read.extend(kept.denied.iter().cloned().map(Row::Denied));
    read.extend(kept.happened.iter().cloned().map(Row::Happened));
    assert_eq!(read, archive.rows(1000..1002, None).unwrap());
    assert_eq!(read.len(), 2 * 8);
}

#[test]
fn the_later_version_of_a_row_stays_in_any_order() {
    let versions = [
        sample(5, "a", 10, 3),
        sample(5, "a", 20, 3),
        sample(5, "a", 20, 4),
    ];
    let digest = versions[2].digest();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = fresh(&folder);
        for index in order {
            archive.write(&versions[index..=index]).unwrap();
        }
        assert_eq!(archive.rows(0..10, None).unwrap(), [versions[2].clone()]);
        assert_eq!(archive.digests(0..10, "mx1").unwrap(), [(5, digest)]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Two nodes that got the same rows in any order and number agree on every digest.
    #[test]
    fn sets_of_rows_have_one_digest(
        rows in proptest::collection::vec((0_u32..5, 0_usize..3, 1_u8..=60, 0_u64..9), 1..60),
        seed: u64,
    ) {
        let rows: Vec<Row> = rows
            .into_iter()
            .map(|(minute, backend, seconds, opened)| {
                sample(minute, ["a", "b", "c"][backend], seconds, opened)
            })
            .collect();
        let mut shuffled = rows.clone();
        shuffled.sort_by_key(|row| row.digest() ^ seed);
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut one = fresh(&folders[0]);
        one.write(&rows).unwrap();
        let mut other = fresh(&folders[1]);
        for part in shuffled.chunks(7) {
            other.write(part).unwrap();
        }
        // Each file gives its own numbers to the backends.
        let sorted = |archive: &Archive| {
            let mut rows = archive.rows(0..9, None).unwrap();
            rows.sort_by_key(Row::digest);
            rows
        };
        prop_assert_eq!(sorted(&one), sorted(&other));
        prop_assert_eq!(one.digests(0..9, "mx1").unwrap(), other.digests(0..9, "mx1").unwrap());
    }

    /// After any writes, what is kept is neither too old nor too much, and is the latest.
    #[test]
    fn bounds_hold(
        days in proptest::collection::vec((0_u32..40, 0_u32..1440, 1_u32..600), 1..12),
        keep_days in 1_u64..35,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let bounds = Bounds {
            keep: Duration::from_hours(24 * keep_days),
            most_bytes: 256 << 10,
        };
        let (mut archive, _) = Archive::open(&folder.path().join(FILE), bounds).unwrap();
        let mut last = 0;
        for (day, minute, count) in days {
            let first = day * DAY + minute;
            last = last.max(first + count - 1);
            let minutes: Vec<u32> = (first..first + count).collect();
            let mut from = 0;
            for some in minutes.chunks(50) {
                let rows: Vec<Row> = some.iter().copied().flat_map(some_of_each).collect();
                archive.write(&rows).unwrap();
                from = archive.prune(bounds, last).unwrap();
            }
            prop_assert!(archive.used_bytes().unwrap() <= bounds.most_bytes);
            let span = archive.span().unwrap();
            if let Some((oldest, _)) = span {
                prop_assert!(oldest >= from && oldest >= bounds.oldest(last));
            }
        }
        let size = fs::metadata(archive.path()).unwrap().len();
        prop_assert!(size <= 2 * bounds.most_bytes, "{} bytes", size);
    }
}

#[test]
fn a_file_that_is_full_says_so_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds {
        most_bytes: 256 << 10,
        ..BOUNDS
    };
    let (mut archive, _) = Archive::open(&folder.path().join(FILE), bounds).unwrap();
    let mut minute = 0;
    let error = loop {
        let rows: Vec<Row> = (minute..minute + 100).flat_map(some_of_each).collect();
        match archive.write(&rows) {
            Ok(_) => minute += 100,
            Err(error) => break error,
        }
        assert!(minute < 1_000_000, "it never fills");
    };
    assert!(error.is_full() && !error.is_damage(), "{error}");
    assert_eq!(
        archive.span().unwrap(),
        Some((0, minute - 1)),
        "all or none"
    );
    archive.prune(bounds, minute).unwrap();
    assert!(archive.write(&some_of_each(minute)).unwrap() > 0);
}

#[test]
fn a_damaged_file_is_moved_aside_and_a_new_one_begun() {
    type Damage = fn(&mut Vec<u8>);
    let damage: [(&str, Damage); 4] = [
        ("no database", |bytes| {
            *bytes = b"hello, this is no database".repeat(100);
        }),
        ("a torn head", |bytes| bytes[..100].fill(0xff)),
        ("holes", |bytes| {
            let length = bytes.len();
            bytes[4096..length / 2].fill(0x5a);
        }),
        ("a lost end", |bytes| bytes.truncate(bytes.len() / 2)),
    ];
    for (what, damage) in damage {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = fresh(&folder);
        let rows: Vec<Row> = (0..500).flat_map(some_of_each).collect();
        archive.write(&rows).unwrap();
        let path = archive.path().to_owned();
        drop(archive);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let (mut archive, aside) = Archive::open(&path, BOUNDS).unwrap();
        let aside = aside.expect(what);
        assert_eq!(fs::read(aside).unwrap(), bytes, "{what}");
        assert_eq!(archive.span().unwrap(), None, "{what}");
        assert_eq!(archive.write(&some_of_each(1)).unwrap(), 4, "{what}");
    }
}

#[test]
fn a_later_form_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let archive = fresh(&folder);
    archive
        .connection
        .pragma_update(None, "user_version", 2)
        .unwrap();
    let path = archive.path().to_owned();
    drop(archive);
    for error in [
        Archive::open(&path, BOUNDS).unwrap_err(),
        Archive::open_read_only(&path).unwrap_err(),
    ] {
        assert!(matches!(error, ArchiveError::Newer { found: 2, .. }));
        assert!(error.to_string().contains("install the lbd that wrote it"));
    }
}

#[test]
fn what_is_not_there_is_named() {
    let error = Archive::open_read_only(Path::new("/nowhere/history.db")).unwrap_err();
    assert!(error.to_string().contains("`lbd run` begins it"), "{error}");
}

/// `cargo test --workspace --lib what_a_day_takes -- --nocapture` prints the figure.
#[test]
fn what_a_day_takes() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = fresh(&folder);
    let names: Vec<String> = (0..20).map(|number| format!("mx{number}")).collect();
    let first = 29_800_000;
    for minute in first..first + DAY {
        let mut rows = vec![reigned("mx1", minute)];
        rows.extend(names.iter().map(|name| sample(minute, name, 60, 300)));
        archive.write(&rows).unwrap();
    }
    let used = archive.used_bytes().unwrap();
    let a_backend = used / names.len() as u64;
    println!(
        "{} backends for a day: {used} bytes, {a_backend} a backend, {} a row",
        names.len(),
        a_backend / u64::from(DAY)
    );
    assert!(a_backend < 120_000, "{a_backend}");
}

/// Writes until it is killed: the child of the test below.
#[test]
fn a_child_that_writes() {
    let Some(path) = std::env::var_os("LBD_ARCHIVE_CHILD") else {
        return;
    };
    let (mut archive, aside) = Archive::open(Path::new(&path), BOUNDS).unwrap();
    assert_eq!(aside, None);
    let mut minute = archive.span().unwrap().map_or(0, |(_, last)| last + 1);
    loop {
        archive.write(&some_of_each(minute)).unwrap();
        archive.prune(BOUNDS, minute).unwrap();
        println!("wrote {minute}");
        minute += 1;
    }
}

#[test]
fn a_file_outlives_kill_9_in_a_loop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut kept = 0;
    for round in 0..20_u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "archive::tests::a_child_that_writes",
                "--nocapture",
            ])
            .env("LBD_ARCHIVE_CHILD", &path)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Until it writes, then for some while that is another each time.
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut said = said.lines().map(Result::unwrap);
        assert!(
            said.any(|line| line.starts_with("wrote ")),
            "it never writes"
        );
        // It must not wait for a reader.
        let listener = std::thread::spawn(move || said.count());
        std::thread::sleep(Duration::from_micros(round * 2711 % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        listener.join().unwrap();
        let (archive, aside) = Archive::open(&path, BOUNDS).unwrap();
        assert_eq!(aside, None, "round {round}");
        let (first, last) = archive.span().unwrap().unwrap();
        assert!(first == 0 && last >= kept, "{first} {last} {kept}");
        // All or none of each minute.
        let rows = archive.rows(0..last + 1, None).unwrap();
        assert_eq!(rows.len(), 4 * (last as usize + 1));
        kept = last;
    }
    println!("20 kills, {kept} minutes, none lost");
}
