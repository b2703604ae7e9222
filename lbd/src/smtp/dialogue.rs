//! The dialogue: banner, EHLO, perhaps MAIL and RCPT, perhaps STARTTLS, QUIT.

use std::time::Duration;

use super::reply::{Reader, Reply};
use super::verdict::{Reason, Stage, Verdict};

/// What a health check says and expects.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Our name in EHLO.
    pub helo: String,
    /// Whether and how the connection must become one of TLS.
    pub tls: Tls,
    /// A sender and a recipient that the backend must accept; RSET follows, never DATA.
    pub probe: Option<Envelope>,
    /// How long to wait.
    pub timeouts: Timeouts,
}

/// How a connection becomes one of TLS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Tls {
    /// It does not.
    #[default]
    Off,
    /// EHLO must offer STARTTLS (RFC 3207); the handshake comes last, and QUIT after it.
    StartTls,
    /// The handshake comes first, before the banner (RFC 8314, section 3.3).
    Implicit,
}

/// The addresses of a MAIL/RCPT probe, without angle brackets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    /// Empty for the null sender, `<>`.
    pub from: String,
    /// The recipient.
    pub to: String,
}

/// How long to wait for each answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// For the whole banner. Postscreen's `postscreen_greet_wait` holds its last line back for 6 s.
    pub banner: Duration,
    /// For each other reply.
    pub reply: Duration,
    /// For the reply to QUIT, once the verdict is known.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            banner: Duration::from_secs(10),
            reply: Duration::from_secs(10),
            quit: Duration::from_secs(1),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            helo: "localhost".into(),
            tls: Tls::Off,
            probe: None,
            timeouts: Timeouts::default(),
        }
    }
}

/// What the shell should do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Write these bytes, then ask again.
    Send(Vec<u8>),
    /// Read, and call [`Dialogue::feed`], or [`Dialogue::closed`] at the end of the stream, or
    /// [`Dialogue::timed_out`] when `within` has passed since this action was first given.
    Read {
        /// From the last send (or the connect) on, not from the last byte.
        within: Duration,
    },
    /// Do the handshake of TLS on the connection and speak within it from then on. Then call
    /// [`Dialogue::secured`], or [`Dialogue::tls_failed`], or [`Dialogue::timed_out`] after `within`.
    Handshake {
        /// From now on.
        within: Duration,
    },
    /// Close the connection.
    Done(Verdict),
}

/// One health check on one connection.
///
/// After the banner, QUIT is sent and its answer awaited for a moment, so that the
/// backend's log has no "lost connection". Before the banner nothing may be sent: RFC 5321 section
/// 4.3.1, and postscreen bans who speaks first.
#[derive(Clone, Debug)]
pub struct Dialogue {
    settings: Settings,
    reader: Reader,
    stage: Stage,
    /// HELO was sent because EHLO is not known there.
    helo: bool,
    /// What to send next.
    outgoing: Option<Vec<u8>>,
    verdict: Option<Verdict>,
    over: bool,
}

impl Dialogue {
    /// A dialogue on a connection that was just made.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let stage = match settings.tls {
            Tls::Implicit => Stage::Tls,
            Tls::Off | Tls::StartTls => Stage::Banner,
        };
        Self {
            settings,
            reader: Reader::default(),
            stage,
            helo: false,
            outgoing: None,
            verdict: None,
            over: false,
        }
    }

    /// What to do now.
    pub fn next_action(&mut self) -> Action {
        if let Some(bytes) = self.outgoing.take() {
            return Action::Send(bytes);
        }
        if self.over {
            let fallback = Verdict::NotServing(Reason::Closed { stage: self.stage });
            return Action::Done(self.verdict.clone().unwrap_or(fallback));
        }
        let within = self.timeout();
        if self.stage == Stage::Tls {
            return Action::Handshake { within };
        }
        Action::Read { within }
    }

    /// How long the current reply may take.
    fn timeout(&self) -> Duration {
        let timeouts = &self.settings.timeouts;
        match self.stage {
            Stage::Banner | Stage::Tls => timeouts.banner,
            Stage::Quit => timeouts.quit,
            _ => timeouts.reply,
        }
    }

    /// Bytes that arrived.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        // What came in clear after the answer to STARTTLS is no part of the dialogue (RFC 3207, section 6).
        while !bytes.is_empty() && !self.over && self.stage != Stage::Tls {
            match self.reader.take(bytes) {
                Ok((taken, reply)) => {
                    bytes = &bytes[taken..];
                    if let Some(reply) = reply {
                        self.replied(&reply);
                    }
                }
                Err(what) => {
                    let stage = self.stage;
                    self.quit(Verdict::NotServing(Reason::Malformed { stage, what }));
                    return;
                }
            }
        }
    }

    /// The handshake of TLS is done.
    pub fn secured(&mut self) {
        self.reader = Reader::default();
        match self.settings.tls {
            Tls::Implicit => self.stage = Stage::Banner,
            Tls::Off | Tls::StartTls => self.quit(Verdict::Up),
        }
    }

    /// The handshake of TLS failed: the words of the one who ended it.
    pub fn tls_failed(&mut self, error: &str) {
        self.end(Verdict::NotServing(Reason::Tls(error.to_owned())));
    }

    /// The backend closed the connection.
    pub fn closed(&mut self) {
        let stage = self.stage;
        self.end(Verdict::NotServing(Reason::Closed { stage }));
    }

    /// The connection broke: the operating system's words.
    pub fn failed(&mut self, error: &str) {
        self.end(Verdict::NotServing(Reason::Broke(error.to_owned())));
    }

    /// The time of the last [`Action::Read`] has passed.
    pub fn timed_out(&mut self) {
        let (stage, after) = (self.stage, self.timeout());
        let verdict = Verdict::NotServing(Reason::TimedOut { stage, after });
        if matches!(stage, Stage::Banner | Stage::Tls) {
            self.end(verdict);
        } else {
            self.quit(verdict);
        }
    }

    fn replied(&mut self, reply: &Reply) {
        let stage = self.stage;
        match (stage, reply.code) {
            (Stage::Banner, 220) => {
                let hello = format!("EHLO {}", self.settings.helo);
                self.send(Stage::Ehlo, &hello);
            }
            (Stage::Ehlo, 250) => self.greeted(reply),
            // RFC 5321 section 3.2: a server that does not know EHLO is asked by HELO.
            (Stage::Ehlo, 500 | 502) if !self.helo => {
                self.helo = true;
                let hello = format!("HELO {}", self.settings.helo);
                self.send(Stage::Ehlo, &hello);
            }
            (Stage::Mail, 250) => {
                let to = self.settings.probe.as_ref().map_or("", |probe| &probe.to);
                let rcpt = format!("RCPT TO:<{to}>");
                self.send(Stage::Rcpt, &rcpt);
            }
            (Stage::Rcpt, 250 | 251) => {
                self.verdict = Some(Verdict::Up);
                self.send(Stage::Rset, "RSET");
            }
            (Stage::Rset, _) => self.end_well(),
            (Stage::StartTls, 220) => self.stage = Stage::Tls,
            // 454 is no overload here: its certificate or key is missing, and senders that insist on
            // TLS are turned away.
            (Stage::StartTls, code) if code != 421 => {
                let text = reply.text();
                self.quit(Verdict::NotServing(Reason::Refused { stage, code, text }));
            }
            (Stage::Quit, _) => self.over = true,
            (stage, code) => {
                let text = reply.text();
                let verdict = if (400..500).contains(&code) {
                    Verdict::Full { stage, code, text }
                } else {
                    Verdict::NotServing(Reason::Refused { stage, code, text })
                };
                if stage == Stage::Rcpt {
                    self.verdict = Some(verdict);
                    self.send(Stage::Rset, "RSET");
                } else {
                    self.quit(verdict);
                }
            }
        }
    }

    fn greeted(&mut self, reply: &Reply) {
        if self.settings.tls == Tls::StartTls && !reply.offers("STARTTLS") {
            self.quit(Verdict::NotServing(Reason::NoStartTls));
        } else if let Some(probe) = &self.settings.probe {
            let mail = format!("MAIL FROM:<{}>", probe.from);
            self.send(Stage::Mail, &mail);
        } else {
            self.end_well();
        }
    }

    /// All that was asked for was accepted, but for STARTTLS, which comes last.
    fn end_well(&mut self) {
        let accepted = self.verdict.as_ref().is_none_or(|all| *all == Verdict::Up);
        if self.settings.tls == Tls::StartTls && accepted {
            self.verdict = None;
            self.send(Stage::StartTls, "STARTTLS");
        } else {
            self.quit(Verdict::Up);
        }
    }

    fn send(&mut self, stage: Stage, command: &str) {
        // A line break in a configured name must not become a second command.
        let mut line: String = command.chars().filter(|c| !c.is_control()).collect();
        line.push_str("\r\n");
        self.stage = stage;
        self.outgoing = Some(line.into_bytes());
    }

    /// The verdict is known: leave politely. The first verdict stays.
    fn quit(&mut self, verdict: Verdict) {
        if self.stage == Stage::Quit {
            self.over = true;
            return;
        }
        self.verdict.get_or_insert(verdict);
        self.reader = Reader::default();
        self.send(Stage::Quit, "QUIT");
    }

    /// The connection is of no use any more.
    fn end(&mut self, verdict: Verdict) {
        self.verdict.get_or_insert(verdict);
        self.outgoing = None;
        self.over = true;
    }
}

#[cfg(test)]
#[path = "dialogue_tests.rs"]
mod tests;
