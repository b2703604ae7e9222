use std::fs;

use super::*;

/// Makes a spool of empty files.
fn spool(system: MailSystem, files: &[&str]) -> (tempfile::TempDir, Spool) {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let path = folder.path().to_owned();
    (folder, Spool { system, path })
}

/// The second after which `16VDhn` and what is later counts as fresh.
const NOW: u64 = 1_012_231_703 + 15 * 60;

fn counted(spool: Spool) -> (Option<u64>, Option<u64>) {
    let queues = count(&Choice::These(vec![spool]), NOW);
    assert_eq!(queues.notes, Vec::<String>::new());
    (queues.queued, queues.deferred)
}

#[test]
fn postfix_queues_are_told_apart() {
    let (_folder, spool) = spool(
        MailSystem::Postfix,
        &[
            "active/4XyZ1",
            "active/4XyZ2",
            "incoming/4XyZ3",
            "maildrop/4XyZ4",
            "deferred/A/A1",
            "deferred/A/A2",
            "deferred/0/B/0B1",
            "hold/4XyZ5",
            // Logs and sockets, not messages.
            "defer/A/A1",
            "bounce/x",
            "public/showq",
            "pid/master.pid",
        ],
    );
    assert_eq!(counted(spool), (Some(4), Some(4)));
}

/// The start of an `-H` file as Exim 4.96 writes it.
fn exim_head(flag: &str) -> String {
    format!(
        "16VDhn-0001bo-00-H\nDebian-exim 101 104\n<a@example.com>\n1012231703 0\n\
         -received_time_usec .330144\n-body_linecount 1\n{flag}XX\n1\nb@example.org\n\n"
    )
}

#[test]
fn exim_messages_are_told_apart_by_age_and_by_the_first_try_also_in_a_split_spool() {
    let (folder, spool) = spool(
        MailSystem::Exim,
        &[
            "input/16VDhn-0001bo-00-H",
            "input/16VDhn-0001bo-00-D",
            "input/n/16VDhm-0001bo-00-H",
            "input/n/16VDhm-0001bo-00-D",
            "input/z/16VDhz-0001bo-00-H",
            "input/z/16VDhz-0001bo-00-J",
            "msglog/16VDhn-0001bo-00-H",
        ],
    );
    let write = |file: &str, flag| fs::write(folder.path().join(file), exim_head(flag)).unwrap();
    write("input/16VDhn-0001bo-00-H", "-deliver_firsttime\n");
    write("input/z/16VDhz-0001bo-00-H", "-deliver_firsttime\n");
    assert_eq!(counted(spool.clone()), (Some(2), Some(1)));
    // A minute old, tried once, put off.
    write("input/z/16VDhz-0001bo-00-H", "");
    assert_eq!(counted(spool), (Some(1), Some(2)));
}

#[test]
fn exim_queues_with_a_name_count() {
    let (folder, spool) = spool(
        MailSystem::Exim,
        &[
            "input/16VDhz-0001bo-00-H",
            "lists/input/16VDhz-0001bp-00-H",
            "lists/input/a/16VDhz-0001bq-00-H",
            "lists/msglog/16VDhz-0001bp-00",
            "slow/input/16VDhm-0001bo-00-H",
            "db/retry",
        ],
    );
    assert_eq!(counted(spool.clone()), (Some(3), Some(1)));
    // Only queues with a name had messages so far.
    fs::remove_dir_all(folder.path().join("input")).unwrap();
    assert_eq!(counted(spool), (Some(2), Some(1)));
}

#[test]
fn an_exim_spool_that_never_had_a_message_has_none() {
    let (_folder, spool) = spool(MailSystem::Exim, &["db/retry"]);
    assert_eq!(counted(spool.clone()), (Some(0), Some(0)));
    let gone = Spool {
        path: spool.path.join("nowhere"),
        ..spool
    };
    let queues = count(&Choice::These(vec![gone]), NOW);
    assert_eq!(queues.queued, None);
    assert!(queues.notes[0].contains("nowhere"), "{:?}", queues.notes);
}

#[test]
fn folders_behind_a_link_count_and_a_link_to_nowhere_is_said() {
    let (folder, spool) = spool(
        MailSystem::Postfix,
        &["active/1", "deferred/0/01", "elsewhere/A1", "elsewhere/A2"],
    );
    let (target, link) = (
        folder.path().join("elsewhere"),
        folder.path().join("deferred/A"),
    );
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert_eq!(counted(spool.clone()), (Some(1), Some(3)));
    fs::remove_dir_all(target).unwrap();
    let queues = count(&Choice::These(vec![spool]), NOW);
    assert_eq!((queues.queued, queues.deferred), (None, None));
    assert!(queues.notes[0].contains("deferred/A"), "{:?}", queues.notes);
}

#[test]
fn sendmail_messages_are_counted_by_their_control_files() {
    let (_folder, spool) = spool(
        MailSystem::Sendmail,
        &[
            "qf0A1",
            "df0A1",
            "xf0A1",
            "q1/qf0A2",
            "q1/df0A2",
            "q2/qf/qf0A3",
            "q2/df/df0A3",
        ],
    );
    assert_eq!(counted(spool), (Some(3), None));
}

#[test]
fn several_spools_are_summed() {
    let (_a, one) = spool(MailSystem::Sendmail, &["qf1"]);
    let (_b, two) = spool(MailSystem::Exim, &["input/x-H"]);
    let queues = count(&Choice::These(vec![one, two]), NOW);
    assert_eq!((queues.queued, queues.deferred), (Some(2), Some(0)));
    assert_eq!(queues.mta, Some("sendmail"));
}

#[test]
fn half_a_spool_is_no_figure() {
    let table: [(&[&str], &str); 2] = [
        (&["incoming/1"], "active"),
        // A file where a folder should be.
        (&["active/1", "incoming"], "incoming"),
    ];
    for (files, culprit) in table {
        let (_folder, spool) = spool(MailSystem::Postfix, files);
        let queues = count(&Choice::These(vec![spool]), NOW);
        assert_eq!((queues.queued, queues.deferred), (None, None));
        assert!(queues.notes[0].contains(culprit), "{:?}", queues.notes);
    }
}

#[test]
fn no_queue_at_all_is_zero_by_choice_only() {
    let queues = count(&Choice::None, NOW);
    assert_eq!((queues.queued, queues.deferred), (Some(0), Some(0)));
}

#[test]
fn a_spool_is_named_by_system_by_folder_or_by_both() {
    let (folder, postfix) = spool(MailSystem::Postfix, &["active/1"]);
    let path = folder.path().display();
    assert_eq!(path.to_string().parse(), Ok(postfix.clone()));
    assert_eq!(format!("postfix:{path}").parse(), Ok(postfix));
    let exim: Spool = "exim".parse().unwrap();
    assert_eq!(exim.system, MailSystem::Exim);
    assert!(
        matches!("qmail:/x".parse::<Spool>(), Err(SpoolError::System(name)) if name == "qmail")
    );
    let (empty, _) = spool(MailSystem::Sendmail, &["x/y"]);
    let path = empty.path().display().to_string();
    assert_eq!(path.parse::<Spool>(), Err(SpoolError::Unrecognized(path)));
}
