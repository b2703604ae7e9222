//! The report as a mail, in text and HTML.
use std::{
    fmt::Write as _,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use super::{
    figure::{count, times},
    html, text,
};
use crate::{
    commands::table::Paint,
    plain::is_plain,
    report::{Day, Report},
};

/// RFC 2045, section 6.8: lines of encoded text.
const LINE: usize = 76;

/// An address that sendmail takes for an address and for nothing else.
pub(super) fn check(address: &str) -> anyhow::Result<()> {
    let is_plain = |c: char| is_plain(c) && !c.is_whitespace() && !matches!(c, '<' | '>' | ',');
    ensure!(
        !address.is_empty() && !address.starts_with('-') && address.chars().all(is_plain),
        "\"{}\" is not a mail address",
        address.escape_debug()
    );
    Ok(())
}

/// The message without `From`, which the mail system knows better.
pub(super) fn message(report: &Report, day: &Day, to: &str) -> String {
    let plain = text::render(report, day, Paint::PLAIN);
    let page = html::page(report, day);
    // A line that is in neither part: both are encoded.
    let digest = Sha256::digest(page.as_bytes());
    let boundary = digest[..12].iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let mut message = format!(
        "To: {to}\nSubject: {}\nDate: {}\nMIME-Version: 1.0\nAuto-Submitted: auto-generated\n\
         Content-Type: multipart/alternative; boundary=\"lbd-{boundary}\"\n\n",
        subject(report),
        day.mail_date(report.made_unix_s)
    );
    for (kind, part) in [("plain", plain), ("html", page)] {
        let _ = write!(
            message,
            "--lbd-{boundary}\nContent-Type: text/{kind}; charset=utf-8\n\
             Content-Transfer-Encoding: base64\n\n"
        );
        let encoded = STANDARD.encode(part);
        for chunk in encoded.as_bytes().chunks(LINE) {
            // Base64 is ASCII.
            message.push_str(std::str::from_utf8(chunk).unwrap_or_default());
            message.push('\n');
        }
    }
    let _ = writeln!(message, "--lbd-{boundary}--");
    message
}

/// The day in a line. Names in a configuration are ASCII, and so is this.
fn subject(report: &Report) -> String {
    let failovers = report.failovers.iter().filter(|one| one.from != one.to);
    let mut parts = vec![format!("{} sessions", count(report.total.sessions))];
    if !report.two_masters.is_empty() {
        parts.push("two masters".to_owned());
    }
    let lost = report.total.turned_away + report.total.reset;
    if lost > 0 {
        parts.push(format!("{} lost", count(lost)));
    }
    for (number, what) in [
        (failovers.count(), "failover"),
        (report.shut_offs.len(), "shut-off"),
    ] {
        if number > 0 {
            parts.push(times(number, what));
        }
    }
    format!("lbd {}: {}", report.day, parts.join(", "))
}

/// Gives the message to sendmail, and waits for its word.
pub(super) fn hand_over(
    sendmail: &Path,
    node: &str,
    address: &str,
    message: &str,
) -> anyhow::Result<()> {
    let mut child = Command::new(sendmail)
        .args(["-i", "-F", &format!("lbd on {node}"), "--", address])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!(
                "{} cannot be run: --mail needs a mail system on this box",
                sendmail.display()
            )
        })?;
    let written = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(message.as_bytes()),
        None => Ok(()),
    };
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} did not accept the mail ({}): {}",
            sendmail.display(),
            output.status,
            said.trim()
        );
    }
    written.with_context(|| format!("{} did not read the mail", sendmail.display()))
}
