//! What a dialogue ends with.

use std::fmt;
use std::time::Duration;

/// Where in the dialogue something happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Waiting for the 220.
    Banner,
    /// After EHLO, or HELO where EHLO is not known.
    Ehlo,
    /// After MAIL FROM.
    Mail,
    /// After RCPT TO.
    Rcpt,
    /// After RSET.
    Rset,
    /// After STARTTLS.
    StartTls,
    /// In the handshake of TLS.
    Tls,
    /// After QUIT.
    Quit,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Banner => "the banner",
            Self::Ehlo => "EHLO",
            Self::Mail => "MAIL FROM",
            Self::Rcpt => "RCPT TO",
            Self::Rset => "RSET",
            Self::StartTls => "STARTTLS",
            Self::Tls => "the TLS handshake",
            Self::Quit => "QUIT",
        })
    }
}

/// What one health check found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It speaks SMTP and takes mail.
    Up,
    /// It lives, but said 421 or another 4xx: nothing new for now, and nothing to cut.
    Full {
        /// Where it said so.
        stage: Stage,
        /// 400 to 499.
        code: u16,
        /// Its own words, at most 200 characters, without control characters.
        text: String,
    },
    /// It answers, and does not serve as it should: nothing new for it. Its open sessions may be
    /// well, so nothing is cut.
    NotServing(Reason),
    /// No connection came about.
    Dead(NoConnection),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("it takes mail"),
            Self::Full { stage, code, text } => {
                write!(f, "it answered {stage} with {code} {text}")
            }
            Self::NotServing(reason) => reason.fmt(f),
            Self::Dead(why) => why.fmt(f),
        }
    }
}

/// Why no connection came about, in the operating system's words.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoConnection {
    /// A reset came back: a stack lives there, and nothing listens on the port.
    #[error("no connection: {0}")]
    Refused(String),
    /// Nothing came back in time, or no way leads there. This may also be the fault of the box that
    /// asks.
    #[error("no connection: {0}")]
    Silent(String),
}

/// Why a backend that answers does not serve.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Reason {
    /// The connection broke: the operating system's words.
    #[error("the connection broke: {0}")]
    Broke(String),
    /// This box could not even try: the operating system's words. No word on the backend.
    #[error("the check could not start: {0}")]
    NotTried(String),
    /// A 5xx, or a code that fits no state of the dialogue.
    #[error("it answered {stage} with {code} {text}")]
    Refused {
        /// Where.
        stage: Stage,
        /// The reply's code.
        code: u16,
        /// Its own words, at most 200 characters, without control characters.
        text: String,
    },
    /// What came is not an SMTP reply.
    #[error("its answer to {stage} is not an SMTP reply: {what}")]
    Malformed {
        /// Where.
        stage: Stage,
        /// What is wrong with it.
        what: String,
    },
    /// It closed the connection.
    #[error("it closed the connection at {stage}")]
    Closed {
        /// Where.
        stage: Stage,
    },
    /// It did not answer in time.
    #[error("no answer to {stage} within {} s", after.as_secs_f64())]
    TimedOut {
        /// Where.
        stage: Stage,
        /// How long it was waited for.
        after: Duration,
    },
    /// The handshake of TLS failed.
    #[error("its TLS handshake fails: {0}")]
    Tls(String),
    /// STARTTLS was asked for and EHLO does not offer it.
    #[error("it does not offer STARTTLS")]
    NoStartTls,
}
