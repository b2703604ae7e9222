//! `lbd report --mail` with a real Postfix: what it hands over is what lies in the mailbox.
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lbd_tests::{cluster::lbd_binary, history::keep_yesterday, postfix::server::Postfix};

const MAIN_CF: &str = "myhostname = box.lbd.test
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
virtual_mailbox_domains = lbd.test
virtual_mailbox_base = FOLDER/mail
virtual_mailbox_maps = inline:{postmaster@lbd.test=inbox/}
virtual_uid_maps = static:UID
virtual_gid_maps = static:UID
virtual_minimum_uid = 1
";

const MASTER_CF: &str = "pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
postlog unix-dgram n - n - 1 postlogd
";

/// A box that was the master yesterday, for a tenth of the day.
struct MailBox {
    folder: tempfile::TempDir,
}

impl MailBox {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Self { folder };
        let state = made.path("state");
        fs::create_dir(&state).unwrap();
        let config = format!(
            "node: {{name: mx1, interfaces: [eth0], state_dir: {}}}
cluster:
  virtual_router_id: 51
  virtual_addresses: [192.0.2.25/24]
  sites: [{{name: here, backends: [{{name: mx1, address: 192.0.2.11}}]}}]
",
            state.display()
        );
        fs::write(made.path("lbd.yaml"), config).unwrap();
        keep_yesterday(&state, "mx1", 144).unwrap();
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `lbd report` of yesterday, with more arguments and a mail system's configuration.
    fn report(&self, conf: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(lbd_binary().unwrap());
        command
            .args(["report", "--day", "yesterday"])
            .args(arguments)
            .arg("--config")
            .arg(self.path("lbd.yaml"))
            .env("TZ", "UTC")
            .env("MAIL_CONFIG", conf);
        command.output().unwrap()
    }

    /// What it prints with these arguments.
    fn printed(&self, arguments: &[&str]) -> String {
        let output = self.report(Path::new("/nowhere"), arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A program that stands for sendmail.
    fn sendmail(&self, script: &str) -> String {
        let path = self.path("sendmail");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }
}

/// The header of this name; there is one.
fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    let mut found = head.lines().filter_map(|line| line.strip_prefix(&*prefix));
    let value = found.next().unwrap_or_else(|| panic!("no {name}:\n{head}"));
    assert_eq!(found.next(), None, "two of {name}:\n{head}");
    value
}

/// The parts of a multipart body, each its type and its decoded text.
fn parts(body: &str, boundary: &str) -> Vec<(String, String)> {
    let (inside, _) = body.split_once(&format!("--{boundary}--")).unwrap();
    let begin = format!("--{boundary}\n");
    let parts = inside.split(&begin).skip(1);
    let part = |part: &str| {
        let (head, text) = part.split_once("\n\n").unwrap();
        assert_eq!(header(head, "Content-Transfer-Encoding"), "base64");
        let text: String = text.split_whitespace().collect();
        let text = String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
        (header(head, "Content-Type").to_owned(), text)
    };
    parts.map(part).collect()
}

#[test]
fn a_report_lies_in_the_mailbox_as_it_was_made() {
    if !lbd_tests::root_or_skip("a_report_lies_in_the_mailbox_as_it_was_made") {
        return;
    }
    if !lbd_tests::programs::or_skip("a_report_lies_in_the_mailbox_as_it_was_made", &["postfix"]) {
        return;
    }
    let own = MailBox::new();
    let folder = own.path("postfix");
    fs::create_dir_all(folder.join("mail")).unwrap();
    fs::set_permissions(own.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // The mailbox belongs to an ordinary user.
    let nobody = 65_534;
    std::os::unix::fs::chown(folder.join("mail"), Some(nobody), Some(nobody)).unwrap();
    let main = MAIN_CF.replace("UID", &nobody.to_string());
    let postfix = Postfix::start(&folder, &main, MASTER_CF).unwrap();

    // The page has the minute in which it was made.
    let before = own.printed(&["--html", "-"]);
    let output = own.report(&postfix.conf(), &["--mail", "postmaster@lbd.test"]);
    assert!(output.status.success(), "{output:?}\n{}", postfix.log());
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b""[..], &b""[..])
    );
    let after = own.printed(&["--html", "-"]);

    let inbox = folder.join("mail/inbox/new");
    let mails = || fs::read_dir(&inbox).map_or(0, Iterator::count);
    lbd_tests::until("the mail is in the mailbox", || mails() == 1);
    let mail = fs::read_dir(&inbox).unwrap().next().unwrap().unwrap();
    assert_eq!(mail.metadata().unwrap().uid(), nobody);
    let mail = fs::read_to_string(mail.path()).unwrap();

    let (head, body) = mail.split_once("\n\n").unwrap();
    let from = header(head, "From");
    assert!(from.contains("lbd on mx1"), "{from}");
    assert_eq!(header(head, "To"), "postmaster@lbd.test");
    let subject = header(head, "Subject");
    assert!(subject.ends_with(" sessions"), "{subject}");
    assert!(header(head, "Date").ends_with(" +0000"), "{head}");
    assert_eq!(header(head, "MIME-Version"), "1.0");
    // So that no vacation notice answers it.
    assert_eq!(header(head, "Auto-Submitted"), "auto-generated");
    header(head, "Message-Id");
    let kind = header(head, "Content-Type");
    let boundary = kind.strip_prefix("multipart/alternative; boundary=\"");
    let boundary = boundary.and_then(|kind| kind.strip_suffix('"')).unwrap();
    let parts = parts(body, boundary);
    let [(plain, text), (html, page)] = &parts[..] else {
        panic!("{} parts", parts.len());
    };
    assert_eq!(plain, "text/plain; charset=utf-8");
    assert_eq!(html, "text/html; charset=utf-8");
    assert!(*page == before || *page == after, "not the page:\n{page}");
    assert_eq!(text.trim_end(), own.printed(&[]).trim_end());
    println!(
        "a mail of {} bytes arrived: \"{subject}\", {from}; the page has {} bytes",
        mail.len(),
        page.len()
    );
}

#[test]
fn a_mail_that_is_not_taken_is_a_failure_that_says_why() {
    let own = MailBox::new();
    let nowhere = Path::new("/nowhere");
    // The mail system's own words, and its status.
    let says = own.sendmail("cat >/dev/null; echo 'postdrop: warning: no room' >&2; exit 75");
    let missing = own.path("missing").display().to_string();
    for (sendmail, expected) in [
        (
            &says,
            "did not accept the mail (exit status: 75): postdrop: warning: no room",
        ),
        (
            &missing,
            "cannot be run: --mail needs a mail system on this box: No such file",
        ),
    ] {
        let output = own.report(nowhere, &["--mail", "root", "--sendmail", sendmail]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(
            said.starts_with("lbd: ") && said.contains(sendmail),
            "{said}"
        );
    }
    // Postfix's own sendmail, whose configuration is not there.
    if Path::new("/usr/sbin/postdrop").exists() {
        let output = own.report(nowhere, &["--mail", "root"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("/usr/sbin/sendmail did not accept the mail"),
            "{said}"
        );
        assert!(said.contains("/nowhere/main.cf"), "{said}");
    }
    // What is no address is not handed to it.
    let touched = own.path("touched");
    let touches = own.sendmail(&format!("touch {}", touched.display()));
    let output = own.report(nowhere, &["--mail=-oQ/tmp", "--sendmail", &touches]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("\"-oQ/tmp\" is not a mail address"), "{said}");
    assert!(!output.status.success() && !touched.exists());
}
