//! `lbd report`.
//!
//! It reads the history's file itself, so that it answers also when the daemon is down.
mod figure;
mod html;
mod mail;
mod plot;
#[cfg(test)]
mod tests;
mod text;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use hyper::Method;
use jiff::tz::TimeZone;

use super::{client, table::Paint};
use crate::{
    archive::{self, Archive},
    config::Config,
    daemon::observe::status::Status,
    history::{begin_of, minute_of},
    replace_file::replace_file,
    report::{self, Day, Report},
};

/// Flags of `lbd report`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// `today`, `yesterday`, or a date: a day of this box's time zone, or of the one in TZ.
    #[arg(long, value_name = "D", default_value = "today")]
    day: String,
    /// Print one JSON object.
    #[arg(long, conflicts_with = "html")]
    json: bool,
    /// Write one self-contained HTML page with plots; `-` prints it.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Mail it to this address through sendmail, as text and HTML.
    #[arg(long, value_name = "ADDR")]
    mail: Option<String>,
    /// Do nothing unless this box is the master now: for a timer on every box.
    #[arg(long)]
    if_master: bool,
    /// The program that takes the mail.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/usr/sbin/sendmail",
        hide = true
    )]
    sendmail: PathBuf,
}

pub(super) fn run(config: &Path, args: &Args) -> anyhow::Result<()> {
    if args.if_master && !is_master(config)? {
        eprintln!("lbd: this box is not the master: the report is the master's to make");
        return Ok(());
    }
    if let Some(address) = &args.mail {
        mail::check(address)?;
    }
    let (state_dir, node) = places(config)?;
    let now = unix_s();
    let zone = TimeZone::system();
    let day = Day::parse(&args.day, now, &zone)?;
    let report = report_of(&state_dir, &node, &day, now)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    if let Some(file) = &args.html {
        write_page(file, &html::page(&report, &day))?;
    }
    if let Some(address) = &args.mail {
        let message = mail::message(&report, &day, address);
        mail::hand_over(&args.sendmail, &node, address, &message)?;
    }
    if !args.json && args.html.is_none() && args.mail.is_none() {
        print!("{}", text::render(&report, &day, Paint::for_stdout()));
    }
    Ok(())
}

/// The day's report, or why there is none.
fn report_of(state_dir: &Path, node: &str, day: &Day, now: u64) -> anyhow::Result<Report> {
    let archive = Archive::open_read_only(&state_dir.join(archive::FILE))?;
    let minutes = minute_of(day.begin_unix_s)..minute_of(day.end_unix_s + 59);
    let rows = archive.rows_in(&minutes)?;
    if let Some(report) = report::build(rows, day, node, now) {
        return Ok(report);
    }
    let date = day.date;
    if day.begin_unix_s > now {
        bail!("{date} has not begun here ({})", day.zone_name());
    }
    let Some((first, last)) = archive.span()? else {
        bail!("there is no report for {date}: nothing has been kept yet");
    };
    bail!(
        "there is no report for {date}: no master has left figures of that day; there are some from {} to {}",
        day.moment(begin_of(first)),
        day.moment(begin_of(last))
    );
}

/// `node.state_dir` and `node.name`. A file with mistakes that are elsewhere tells them all the same.
fn places(config: &Path) -> anyhow::Result<(PathBuf, String)> {
    let text = fs::read_to_string(config).with_context(|| {
        format!(
            "{}; name the configuration with --config F",
            config.display()
        )
    })?;
    let config = Config::parse(&text, &config.display().to_string())
        .map_err(super::config_file::InvalidConfig)?;
    Ok((config.node.state_dir, config.node.name))
}

fn is_master(config: &Path) -> anyhow::Result<bool> {
    let socket = super::config_file::control_socket(config)?;
    let status: Status = client::request(&socket, Method::GET, "/status", None)?;
    Ok(status.role == "master")
}

fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// In one step: a reader finds the page before or this one.
fn write_page(file: &Path, page: &str) -> anyhow::Result<()> {
    if file == Path::new("-") {
        return Ok(io::stdout().write_all(page.as_bytes())?);
    }
    replace_file(file, |writer| writer.write_all(page.as_bytes()))
        .with_context(|| format!("{} could not be written", file.display()))
}
