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
    /// It does not serve.
    Down(Reason),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("it takes mail"),
            Self::Full { stage, code, text } => {
                write!(f, "it answered {stage} with {code} {text}")
            }
            Self::Down(reason) => reason.fmt(f),
        }
    }
}

/// Why a backend does not serve.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Reason {
    /// No connection: the operating system's words.
    #[error("no connection: {0}")]
    Connect(String),
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
    #[error("its answer to {stage} is no SMTP reply: {what}")]
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
    /// STARTTLS was asked for and EHLO does not offer it.
    #[error("it does not offer STARTTLS")]
    NoStartTls,
}
